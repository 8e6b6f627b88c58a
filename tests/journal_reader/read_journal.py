#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent reader of a journal folder, written from journal/FORMAT.md alone.

It checks every checksum, the sequence and the chain, and prints what it found as JSON. It shares
no code with the Rust crate and needs nothing but Python 3.9. It never writes.

Usage: read_journal.py FOLDER. Ends 0, or 3 if the journal is damaged, or 1 if it can not tell.
"""

import json
import os
import re
import struct
import sys
import zlib

from blake3_plain import blake3

SEGMENT_NAME = re.compile(r"^\d{20}\.seg$")
SEGMENT_HEADER = struct.Struct("<8sHHI16sQQ32sI40sI")
BATCH_HEADER = struct.Struct("<4sIIIQQQB3sI")
RECORD_HEADER = struct.Struct("<HBBBBHII")
SEAL = struct.Struct("<4sIQQ32s4sI")
PACKED_HEADER = struct.Struct("<8sHHI16sQQII64sII")
MARK = struct.Struct("<8sHHI16sQ32s20sI")
BASELINE_HEADER = struct.Struct("<8sHHI16sQQ32sQI32sI")
BASELINE_NAME = re.compile(r"^baseline-(\d{20})\.state$")
TRAILER_BYTES = 36
BATCH_BYTES_MAX = 4 << 20
MIRROR_REACH = 4 << 20


class Damage(Exception):
    """The journal can not be believed from some place on."""

    def __init__(self, segment, offset, position, what):
        super().__init__(f"{segment} at byte {offset}, position {position}: {what}")
        self.report = {"segment": segment, "offset": offset, "position": position, "what": what}


class Newer(Exception):
    """Written by a later release."""


class Flaw(Exception):
    """These bytes are not the batch that should be here. `certain`: no tear does that."""

    def __init__(self, what, certain=False):
        super().__init__(what)
        self.certain = certain


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def crc32c(*parts):
    """CRC-32C (Castagnoli) over the parts, one after the other."""
    value = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            value = (value >> 8) ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def unpacked(name, data):
    """The plain bytes of a segment file, packed or not."""
    if data[:10] != b"TABLAOSG" + struct.pack("<H", 2) or len(data) < PACKED_HEADER.size:
        return data
    first = int(name[:20])
    fields = PACKED_HEADER.unpack_from(data)
    (_, _, length, codec, owner, position, plain_bytes, block_bytes, blocks, zeros,
     table_checksum, checksum) = fields
    if length != PACKED_HEADER.size or crc32c(data[:124]) != checksum:
        raise Damage(name, 0, first, "wrong header checksum")
    if codec != 1 or any(zeros):
        raise Newer(f"{name} is packed in a way that is not known")
    if position != first or block_bytes == 0 or -(-plain_bytes // block_bytes) != blocks:
        raise Damage(name, 0, first, "impossible header fields")
    at = length + 8 * blocks
    table = data[length:at]
    if len(table) < 8 * blocks or crc32c(owner, table) != table_checksum:
        raise Damage(name, length, first, "wrong checksum of the table of blocks")
    plain = []
    for index in range(blocks):
        size, checksum = struct.unpack_from("<II", table, 8 * index)
        block = data[at:at + size]
        if len(block) < size or crc32c(owner, block) != checksum:
            raise Damage(name, at, first, "wrong checksum of a packed block")
        plain.append(zlib.decompress(block))
        if len(plain[-1]) != min(block_bytes, plain_bytes - index * block_bytes):
            raise Damage(name, at, first, "a packed block has another size")
        at += size
    if at != len(data):
        raise Damage(name, at, first, "bytes behind the last block")
    return b"".join(plain)


def folder_of(folder, name):
    """Where a segment lies: here, or in the folder of cold segments."""
    return folder if os.path.exists(os.path.join(folder, name)) else cold_folder(folder)


def cold_folder(folder):
    """The folder of cold segments, or None."""
    try:
        with open(os.path.join(folder, "cold.path"), encoding="utf-8") as file:
            return file.read().rstrip()
    except FileNotFoundError:
        return None


class Segment:
    """The header of a segment file."""

    def __init__(self, name, data):
        self.name, self.bytes = name, len(data)
        data = self.data = unpacked(name, data)
        first = int(name[:20])
        if len(data) < SEGMENT_HEADER.size or data[:8] != b"TABLAOSG":
            raise Damage(name, 0, first, "not a segment header")
        length = struct.unpack_from("<H", data, 10)[0]
        if not SEGMENT_HEADER.size <= length <= len(data):
            raise Damage(name, 0, first, "impossible header length")
        if crc32c(data[:length - 4]) != struct.unpack_from("<I", data, length - 4)[0]:
            raise Damage(name, 0, first, "wrong header checksum")
        fields = SEGMENT_HEADER.unpack_from(data)
        (_, version, _, self.incarnation, self.id, self.first, _, self.chain, flags, zeros, _) = fields
        if version > 1:
            raise Newer(f"{name} has format {version}")
        if version < 1 or self.first != first or flags > 1 or any(zeros):
            raise Damage(name, 0, first, "impossible header fields")
        self.mirror = bool(flags & 1)


class Batch:
    """A batch whose two checksums are right."""

    def __init__(self, data, at, journal_id):
        header = data[at:at + BATCH_HEADER.size]
        if len(header) < BATCH_HEADER.size:
            raise Flaw("header cut short")
        (magic, self.length, self.count, self.incarnation, self.first, self.time,
         self.durable_upto, codec, zeros, checksum) = BATCH_HEADER.unpack(header)
        if magic != b"TBAT":
            raise Flaw("no batch begins here")
        if crc32c(journal_id, header[:44]) != checksum:
            raise Flaw("wrong header checksum")
        if codec != 0 or any(zeros):
            raise Newer("unknown codec or flags")
        smallest = BATCH_HEADER.size + TRAILER_BYTES
        if (not smallest <= self.length <= BATCH_BYTES_MAX or not 1 <= self.count <= 65536
                or self.first == 0 or self.durable_upto >= self.first):
            raise Flaw("impossible length or count", certain=True)
        if at + self.length > len(data):
            raise Flaw("longer than the file")
        end = at + self.length
        self.body = data[at + BATCH_HEADER.size:end - TRAILER_BYTES]
        if crc32c(journal_id, self.body) != struct.unpack_from("<I", data, end - TRAILER_BYTES)[0]:
            raise Flaw("wrong checksum of the records")
        self.chain = data[end - 32:end]

    def records(self):
        """Yields (kind, facts length, bytes for the chain)."""
        at = 0
        for _ in range(self.count):
            if at + RECORD_HEADER.size > len(self.body):
                raise Flaw("the records do not fit", certain=True)
            header = RECORD_HEADER.unpack_from(self.body, at)
            kind, version, flags, authority, zero, decision, after, length = header
            if flags > 3 or zero or authority > 1:
                raise Newer("unknown record flags")
            at += RECORD_HEADER.size
            facts, at = self._take(at, length)
            chained = struct.pack("<HBBBHI", kind, version, flags & 1, authority, decision, after)
            chained += blake3(facts)
            if flags & 1:
                if at + 4 > len(self.body):
                    raise Flaw("the records do not fit", certain=True)
                detail, at = self._take(at + 4, struct.unpack_from("<I", self.body, at)[0])
                if flags & 2 and len(detail) != 32:
                    raise Flaw("an erased detail is not a hash", certain=True)
                chained += detail if flags & 2 else blake3(detail)
            elif flags & 2:
                raise Flaw("an erased detail that never was", certain=True)
            yield kind, length, chained
        if at != len(self.body):
            raise Flaw("the records do not fit", certain=True)

    def _take(self, at, length):
        if at + length > len(self.body):
            raise Flaw("the records do not fit", certain=True)
        return self.body[at:at + length], at + length


def read_seal(segment, at):
    """The seal at this offset as (next position, chain value), or None."""
    data = segment.data[at:at + SEAL.size]
    if len(data) < SEAL.size or data[:4] != b"TSEL":
        return None
    _, _, following, _, chain, zeros, checksum = SEAL.unpack(data)
    if any(zeros) or crc32c(segment.id, data[:60]) != checksum:
        return None
    return following, chain


def read_mark(folder, journal_id):
    """The clean mark as (next position, chain value), or None."""
    try:
        with open(os.path.join(folder, "clean.mark"), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    if len(data) != MARK.size:
        return None
    magic, version, _, _, owner, following, chain, _, checksum = MARK.unpack(data)
    if (magic, version, owner) != (b"TABLAOCM", 1, journal_id) or crc32c(data[:92]) != checksum:
        return None
    return following, chain


def read_baselines(folder, journal_id):
    """What stands in for a retired beginning: chain values by position, each state checked."""
    found = {}
    for name in sorted(os.listdir(folder)):
        match = BASELINE_NAME.match(name)
        if not match:
            continue
        position = int(match.group(1))
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        head, state = data[:BASELINE_HEADER.size], data[BASELINE_HEADER.size:]
        if len(head) < BASELINE_HEADER.size or head[:8] != b"TABLAOBL":
            raise Damage(name, 0, position, "not a baseline")
        (_, version, length, _, owner, following, _, chain, state_bytes, _, digest,
         checksum) = BASELINE_HEADER.unpack(head)
        if crc32c(head[:124]) != checksum:
            raise Damage(name, 0, position, "wrong header checksum")
        if version != 1 or length != BASELINE_HEADER.size:
            raise Newer(f"{name} has version {version}")
        if owner != journal_id or following != position:
            raise Damage(name, 16, position, "of another journal or position")
        if len(state) != state_bytes or blake3(state) != digest:
            raise Damage(name, length, position, "the state is not what was saved")
        found[position] = chain
    return found


def was_synced(segment, start, position):
    """Looks behind a flaw for proof that the flawed bytes had once been synced."""
    data = segment.data
    for match in re.finditer(b"TBAT|TSEL", data[start:]):
        at = start + match.start()
        seal = read_seal(segment, at)
        if seal and seal[0] > position:
            return True
        try:
            batch = Batch(data, at, segment.id)
        except (Flaw, Newer):
            continue
        if segment.mirror:
            if batch.first > position and at - start >= MIRROR_REACH:
                return True
        elif batch.durable_upto >= position:
            return True
        if batch.first < position:
            return True
    return False


class Walk:
    """Reads a journal from its oldest segment to its newest."""

    def __init__(self, folder):
        cold = cold_folder(folder)
        listed = set(os.listdir(folder)) | set(os.listdir(cold) if cold else [])
        names = sorted(name for name in listed if SEGMENT_NAME.match(name))
        if not names:
            raise FileNotFoundError(f"{folder} has no segment")
        self.segments = []
        for name in names:
            with open(os.path.join(folder_of(folder, name), name), "rb") as file:
                self.segments.append(Segment(name, file.read()))
        oldest = self.segments[0]
        self.id, self.first = oldest.id, oldest.first
        self.next, self.chain, self.incarnation = oldest.first, oldest.chain, oldest.incarnation
        if oldest.first == 1 and self.chain != blake3(b"tablao journal 1" + self.id):
            raise Damage(oldest.name, 0, 1, "the chain does not begin with the journal's id")
        self.mark = read_mark(folder, self.id)
        self.baselines = read_baselines(folder, self.id)
        self.batches = self.records = self.facts_bytes = 0
        self.kinds, self.described, self.tail = {}, [], None

    def run(self):
        """Walks everything; raises Damage at the first thing that is wrong."""
        for segment in self.segments:
            newest = segment is self.segments[-1]
            started = (segment.id, segment.first, segment.chain)
            if started != (self.id, self.next, self.chain):
                raise Damage(segment.name, 0, self.next, "does not follow from the one before")
            self.incarnation = max(self.incarnation, segment.incarnation)
            end, sealed = self._batches(segment, newest)
            if not sealed and not newest:
                raise Damage(segment.name, end, self.next, "no seal, although another follows")
            self.described.append({
                "file": segment.name, "first": segment.first, "last": self.next - 1,
                "bytes": segment.bytes, "sealed": sealed,
            })
        # A baseline before the beginning was left by a crash while it was being replaced.
        late = [position for position in self.baselines if position >= self.first]
        if late:
            raise Damage(segment.name, end, min(late), "a baseline where no batch ends")
        if self.mark and self.mark[0] > self.next:
            raise Damage(segment.name, end, self.next, "shorter than when it was closed")

    def _batches(self, segment, newest):
        at, data = SEGMENT_HEADER.size, segment.data
        while True:
            if self.baselines.pop(self.next, self.chain) != self.chain:
                raise Damage(segment.name, at, self.next, "a baseline of another history")
            if self.mark and self.mark[0] == self.next and self.mark[1] != self.chain:
                raise Damage(segment.name, at, self.next, "another chain than when it was closed")
            if at == len(data):
                return at, False
            seal = read_seal(segment, at)
            if seal:
                if seal != (self.next, self.chain):
                    raise Damage(segment.name, at, self.next, "the seal continues elsewhere")
                if any(data[at + SEAL.size:]) or (not newest and at + SEAL.size < len(data)):
                    raise Damage(segment.name, at, self.next, "bytes behind the seal")
                return at + SEAL.size, True
            try:
                at += self._batch(Batch(data, at, self.id))
            except Flaw as flaw:
                shortened = self.mark is not None and self.mark[0] > self.next
                if not newest or flaw.certain or shortened or was_synced(segment, at, self.next):
                    raise Damage(segment.name, at, self.next, str(flaw)) from flaw
                if any(data[at:]):
                    self.tail = {"segment": segment.name, "offset": at, "what": str(flaw)}
                return at, False

    def _batch(self, batch):
        if batch.first != self.next:
            raise Flaw("out of sequence")
        if batch.incarnation < self.incarnation:
            raise Flaw("the incarnation fell", certain=True)
        chained = [self.chain, struct.pack(
            "<IIQQQ", batch.count, batch.incarnation, batch.first, batch.time, batch.durable_upto)]
        kinds, facts_bytes = [], 0
        for kind, length, piece in batch.records():
            chained.append(piece)
            kinds.append(kind)
            facts_bytes += length
        if blake3(b"".join(chained)) != batch.chain:
            raise Flaw("the chain does not follow")
        for kind in kinds:
            self.kinds[str(kind)] = self.kinds.get(str(kind), 0) + 1
        self.facts_bytes += facts_bytes
        self.batches += 1
        self.records += batch.count
        self.next += batch.count
        self.chain, self.incarnation = batch.chain, batch.incarnation
        return batch.length

    def report(self):
        """What was found, for people and programs."""
        return {
            "journal_id": self.id.hex(), "incarnation": self.incarnation,
            "first": self.first, "next": self.next, "batches": self.batches,
            "records": self.records, "facts_bytes": self.facts_bytes, "kinds": self.kinds,
            "chain": self.chain.hex(),
            "clean": self.tail is None and self.mark == (self.next, self.chain),
            "unfinished_tail": self.tail, "segments": self.described,
        }


def main(arguments):
    """The command line."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        walk = Walk(arguments[0])
        walk.run()
    except Damage as damage:
        print(json.dumps({"damage": damage.report}))
        return 3
    except (Newer, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(walk.report()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
