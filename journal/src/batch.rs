// SPDX-License-Identifier: GPL-3.0-or-later
//! A batch: the unit of durability, one or more whole decisions under one checksum and one link
//! of the chain.
//!
//! This file knows a batch's bytes and turns them into records; `encode` makes them from drafts.
//! It does no I/O and gives no verdict on what a flaw means. Layout: FORMAT.md, sections "Batch" and "Chain".

use crate::flaw::{Flaw, field};
use crate::position::{ChainValue, JournalId, Lsn};
use crate::record::{Record, RecordView};

/// Begins every batch; a resync scan looks for it.
pub(crate) const BATCH_MAGIC: [u8; 4] = *b"TBAT";
/// Bytes before the records.
pub(crate) const BATCH_HEADER_BYTES: usize = 48;
/// Bytes after the records: their checksum and the chain value.
pub(crate) const BATCH_TRAILER_BYTES: usize = 4 + 32;
/// The most a whole batch takes. One read of this size always gets a batch, and a decision
/// larger than this would hold up every other one behind its single sync.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// The most a reader accepts. An erased detail leaves a hash that may be longer than it was, so
/// an old batch can have grown; 20 bytes of record become at most 52.
pub(crate) const BATCH_READ_BYTES_MAX: usize = 4 << 20;
/// The most the records of a batch take.
pub(crate) const BODY_BYTES_MAX: usize = BATCH_BYTES_MAX - BATCH_HEADER_BYTES - BATCH_TRAILER_BYTES;
/// The most records in a batch: the last one can still say in 16 bits where its decision is.
pub const BATCH_RECORDS_MAX: usize = 1 << 16;

const CODEC_PLAIN: u8 = 0;

/// The chain value before the first record of a journal.
#[must_use]
pub fn genesis_chain(id: JournalId) -> ChainValue {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"tablao journal 1");
    hasher.update(&id.0);
    ChainValue(*hasher.finalize().as_bytes())
}

/// A batch as a reader gets it: checksums, sequence and chain were found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Position of its first record.
    pub first: Lsn,
    /// Position of its last record.
    pub last: Lsn,
    /// Time of its first record.
    pub time_us: u64,
    /// What its writer knew to be durable when it wrote it.
    pub durable_upto: Lsn,
    /// The incarnation it was written in.
    pub incarnation: u32,
    /// The chain value after it.
    pub chain: ChainValue,
    /// Its records.
    pub records: Vec<Record>,
}

/// The fixed fields of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) length: u32,
    pub(crate) count: u32,
    pub(crate) incarnation: u32,
    pub(crate) first: Lsn,
    pub(crate) time_us: u64,
    pub(crate) durable_upto: Lsn,
}

impl BatchHeader {
    pub(crate) fn next(&self) -> Lsn {
        self.first.plus(u64::from(self.count))
    }

    pub(crate) fn last(&self) -> Lsn {
        self.next().previous()
    }

    pub(crate) fn encode(&self, id: JournalId) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&BATCH_MAGIC);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable_upto.get().to_le_bytes());
        bytes[40] = CODEC_PLAIN;
        let checksum = checksum(id, &bytes[..44]);
        bytes[44..48].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads and believes a header only if its own checksum is right.
    pub(crate) fn decode(bytes: &[u8], id: JournalId) -> Result<Self, Flaw> {
        if bytes.len() < BATCH_HEADER_BYTES {
            return Err(Flaw::HeaderCutShort);
        }
        if bytes[0..4] != BATCH_MAGIC {
            return Err(Flaw::NotABatch);
        }
        if checksum(id, &bytes[..44]) != field::u32(bytes, 44) {
            return Err(Flaw::HeaderChecksum);
        }
        if bytes[40] != CODEC_PLAIN || bytes[41..44] != [0; 3] {
            return Err(Flaw::Newer);
        }
        let header = Self {
            length: field::u32(bytes, 4),
            count: field::u32(bytes, 8),
            incarnation: field::u32(bytes, 12),
            first: Lsn::new(field::u64(bytes, 16)),
            time_us: field::u64(bytes, 24),
            durable_upto: Lsn::new(field::u64(bytes, 32)),
        };
        let smallest = BATCH_HEADER_BYTES + BATCH_TRAILER_BYTES;
        let length = header.length as usize;
        let impossible = length < smallest
            || length > BATCH_READ_BYTES_MAX
            || header.count == 0
            || header.count as usize > BATCH_RECORDS_MAX
            || header.first == Lsn::ORIGIN
            || header.durable_upto >= header.first
            || header
                .first
                .get()
                .checked_add(u64::from(header.count))
                .is_none();
        if impossible {
            return Err(Flaw::LengthImpossible);
        }
        Ok(header)
    }
}

/// CRC-32C over the journal's id and then these bytes, so that a batch of another journal, or
/// one quoted inside a record of another journal, is not taken for one of ours.
pub(crate) fn checksum(id: JournalId, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&id.0), bytes)
}

/// A batch in place: header and body have the right checksums; the chain is not checked yet.
#[derive(Clone, Copy)]
pub(crate) struct RawBatch<'a> {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: &'a [u8],
}

impl<'a> RawBatch<'a> {
    /// Takes one whole batch from the front of `bytes`.
    pub(crate) fn parse(bytes: &'a [u8], id: JournalId) -> Result<Self, Flaw> {
        let header = BatchHeader::decode(bytes, id)?;
        let bytes = bytes
            .get(..header.length as usize)
            .ok_or(Flaw::PastTheEnd)?;
        let raw = Self { header, bytes };
        let stored = field::u32(bytes, bytes.len() - BATCH_TRAILER_BYTES);
        if checksum(id, raw.body()) != stored {
            return Err(Flaw::BodyChecksum);
        }
        Ok(raw)
    }

    pub(crate) fn body(&self) -> &'a [u8] {
        &self.bytes[BATCH_HEADER_BYTES..self.bytes.len() - BATCH_TRAILER_BYTES]
    }

    pub(crate) fn chain(&self) -> ChainValue {
        ChainValue(field::bytes(self.bytes, self.bytes.len() - 32))
    }

    /// Every record, or the flaw that keeps the rest from being read.
    pub(crate) fn views(&self) -> Views<'a> {
        Views {
            rest: self.body(),
            left: self.header.count,
        }
    }

    /// The chain value after this batch in a journal that stood at `before`.
    pub(crate) fn chain_after(&self, before: ChainValue) -> Result<ChainValue, Flaw> {
        let mut hasher = chain_hasher(before, &self.header);
        for view in self.views() {
            view?.chain(&mut hasher);
        }
        Ok(ChainValue(*hasher.finalize().as_bytes()))
    }

    /// Checks that the batch continues a journal that has reached `next` with `before`.
    pub(crate) fn verify(&self, next: Lsn, before: ChainValue) -> Result<(), Flaw> {
        if self.header.first != next {
            return Err(Flaw::OutOfSequence);
        }
        if self.chain_after(before)? == self.chain() {
            Ok(())
        } else {
            Err(Flaw::Chain)
        }
    }

    /// The batch with its records. Only for one that was verified.
    pub(crate) fn to_batch(self) -> Result<Batch, Flaw> {
        let header = self.header;
        let mut records = Vec::with_capacity(header.count as usize);
        let mut lsn = header.first;
        for view in self.views() {
            records.push(view?.to_record(lsn, header.time_us));
            lsn = lsn.next();
        }
        Ok(Batch {
            first: header.first,
            last: header.last(),
            time_us: header.time_us,
            durable_upto: header.durable_upto,
            incarnation: header.incarnation,
            chain: self.chain(),
            records,
        })
    }

    /// The time of the last record. Only for a batch that was verified.
    pub(crate) fn last_time_us(&self) -> u64 {
        let last = self.views().filter_map(Result::ok).last();
        let after_us = last.map_or(0, |view| u64::from(view.time_after_us));
        self.header.time_us.saturating_add(after_us)
    }
}

/// Walks the records of a batch; a body that does not end with the last one is a flaw.
pub(crate) struct Views<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Views<'a> {
    type Item = Result<RecordView<'a>, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let view = match RecordView::decode(self.rest) {
            Ok((_, rest)) if self.left == 0 && !rest.is_empty() => Err(Flaw::Records),
            Ok((view, rest)) => {
                self.rest = rest;
                Ok(view)
            }
            Err(flaw) => Err(flaw),
        };
        if view.is_err() {
            self.left = 0;
        }
        Some(view)
    }
}

/// A hasher that has taken in what the chain covers of a batch before its records.
pub(crate) fn chain_hasher(before: ChainValue, header: &BatchHeader) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.0);
    hasher.update(&header.count.to_le_bytes());
    hasher.update(&header.incarnation.to_le_bytes());
    hasher.update(&header.first.get().to_le_bytes());
    hasher.update(&header.time_us.to_le_bytes());
    hasher.update(&header.durable_upto.get().to_le_bytes());
    hasher
}
