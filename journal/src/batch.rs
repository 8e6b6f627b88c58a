// SPDX-License-Identifier: GPL-3.0-or-later
//! A batch: the unit of durability, one or more whole decisions under one checksum and one link
//! of the chain.
//!
//! This file turns drafts into batch bytes and batch bytes into records. It does no I/O and
//! gives no verdict on what a flaw means. Layout: FORMAT.md, sections "Batch" and "Chain".

use crate::error::Error;
use crate::flaw::{Flaw, field};
use crate::position::{ChainValue, JournalId, Lsn};
use crate::record::{Draft, Record, RecordView, encoded_bytes};

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

    fn encode(&self, id: JournalId) -> [u8; BATCH_HEADER_BYTES] {
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

    /// Walks the records and computes the chain value after them.
    fn walk(
        &self,
        before: ChainValue,
        mut visit: impl FnMut(RecordView<'a>, Option<[u8; 32]>),
    ) -> Result<ChainValue, Flaw> {
        let mut hasher = chain_hasher(before, &self.header);
        let mut rest = self.body();
        for _ in 0..self.header.count {
            let (view, after) = RecordView::decode(rest)?;
            let detail_hash = view.chain(&mut hasher);
            visit(view, detail_hash);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(Flaw::Records);
        }
        Ok(ChainValue(*hasher.finalize().as_bytes()))
    }

    /// The chain value after this batch in a journal that stood at `before`.
    pub(crate) fn chain_after(&self, before: ChainValue) -> Result<ChainValue, Flaw> {
        self.walk(before, |_, _| {})
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

    /// Checks like `verify` and gives the records.
    pub(crate) fn open(&self, next: Lsn, before: ChainValue) -> Result<Batch, Flaw> {
        if self.header.first != next {
            return Err(Flaw::OutOfSequence);
        }
        let header = &self.header;
        let mut records = Vec::with_capacity(header.count as usize);
        let mut lsn = header.first;
        let chain = self.walk(before, |view, detail_hash| {
            records.push(view.to_record(lsn, header.time_us, detail_hash));
            lsn = lsn.next();
        })?;
        if chain != self.chain() {
            return Err(Flaw::Chain);
        }
        Ok(Batch {
            first: header.first,
            last: header.last(),
            time_us: header.time_us,
            durable_upto: header.durable_upto,
            incarnation: header.incarnation,
            chain,
            records,
        })
    }

    /// Calls `visit` with the kind of every record. Only for a batch that was verified.
    pub(crate) fn for_each_kind(&self, mut visit: impl FnMut(u16)) {
        let mut rest = self.body();
        while let Ok((view, following)) = RecordView::decode(rest) {
            visit(view.kind);
            rest = following;
        }
    }

    /// The time of the last record. Only for a batch whose records were walked before.
    pub(crate) fn last_time_us(&self) -> u64 {
        let mut rest = self.body();
        let mut after_us = 0;
        while let Ok((view, following)) = RecordView::decode(rest) {
            after_us = view.time_after_us;
            rest = following;
        }
        self.header.time_us.saturating_add(u64::from(after_us))
    }
}

fn chain_hasher(before: ChainValue, header: &BatchHeader) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.0);
    hasher.update(&header.count.to_le_bytes());
    hasher.update(&header.incarnation.to_le_bytes());
    hasher.update(&header.first.get().to_le_bytes());
    hasher.update(&header.time_us.to_le_bytes());
    hasher.update(&header.durable_upto.get().to_le_bytes());
    hasher
}

/// What stays the same for all batches of one write.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) id: JournalId,
    pub(crate) incarnation: u32,
    pub(crate) durable_upto: Lsn,
}

/// Refuses what no batch can take.
pub(crate) fn check_draft(draft: &Draft) -> Result<usize, Error> {
    if draft.records.is_empty() {
        return Err(Error::DraftEmpty);
    }
    let bytes = encoded_bytes(&draft.records);
    if bytes > BODY_BYTES_MAX || draft.records.len() > BATCH_RECORDS_MAX {
        return Err(Error::DraftTooLarge {
            bytes: bytes as u64,
            records: draft.records.len() as u64,
            bytes_max: BODY_BYTES_MAX as u64,
            records_max: BATCH_RECORDS_MAX as u64,
        });
    }
    Ok(bytes)
}

/// Encodes checked drafts into as few batches as they fit, never splitting one.
/// `times_us` are their clamped times. Returns the chain value after the last batch.
pub(crate) fn encode_drafts(
    origin: Origin,
    mut first: Lsn,
    mut chain: ChainValue,
    drafts: &[(u64, &Draft)],
    into: &mut Vec<u8>,
) -> ChainValue {
    let mut rest = drafts;
    while let Some(taken) = batch_of(rest) {
        let (now, later) = rest.split_at(taken);
        let count = now
            .iter()
            .map(|(_, draft)| draft.records.len())
            .sum::<usize>();
        chain = encode_batch(origin, first, chain, now, into);
        first = first.plus(count as u64);
        rest = later;
    }
    chain
}

/// How many drafts from the front make one batch; none if there are none.
fn batch_of(drafts: &[(u64, &Draft)]) -> Option<usize> {
    let &(start_us, _) = drafts.first()?;
    let mut bytes = 0;
    let mut records = 0;
    let mut taken = 0;
    for &(time_us, draft) in drafts {
        bytes += encoded_bytes(&draft.records);
        records += draft.records.len();
        let fits = bytes <= BODY_BYTES_MAX
            && records <= BATCH_RECORDS_MAX
            && u32::try_from(time_us - start_us).is_ok();
        if taken > 0 && !fits {
            break;
        }
        taken += 1;
    }
    Some(taken)
}

fn encode_batch(
    origin: Origin,
    first: Lsn,
    before: ChainValue,
    drafts: &[(u64, &Draft)],
    into: &mut Vec<u8>,
) -> ChainValue {
    let time_us = drafts.first().map_or(0, |&(time_us, _)| time_us);
    let body_bytes: usize = drafts
        .iter()
        .map(|(_, draft)| encoded_bytes(&draft.records))
        .sum();
    let count: usize = drafts.iter().map(|(_, draft)| draft.records.len()).sum();
    let header = BatchHeader {
        length: u32::try_from(BATCH_HEADER_BYTES + body_bytes + BATCH_TRAILER_BYTES)
            .expect("a batch is at most 1 MiB"),
        count: u32::try_from(count).expect("a batch has at most 65536 records"),
        incarnation: origin.incarnation,
        first,
        time_us,
        durable_upto: origin.durable_upto,
    };
    into.extend_from_slice(&header.encode(origin.id));
    let body_start = into.len();
    let mut hasher = chain_hasher(before, &header);
    for &(draft_time_us, draft) in drafts {
        let after_us = u32::try_from(draft_time_us - time_us)
            .expect("drafts whose times are too far apart go into different batches");
        for record in &draft.records {
            let view = RecordView::of(record, after_us);
            view.encode(into);
            view.chain(&mut hasher);
        }
    }
    let body_checksum = checksum(origin.id, &into[body_start..]);
    into.extend_from_slice(&body_checksum.to_le_bytes());
    let chain = ChainValue(*hasher.finalize().as_bytes());
    into.extend_from_slice(&chain.0);
    chain
}

/// The same batch with the details erased of those records that `erase` picks; `None` if that
/// changes nothing. The batch has to be a verified one.
pub(crate) fn erase_details(
    raw: &RawBatch<'_>,
    id: JournalId,
    mut erase: impl FnMut(Lsn) -> bool,
) -> Result<Option<Vec<u8>>, Flaw> {
    use crate::record::DetailView;
    let mut body = Vec::with_capacity(raw.body().len());
    let mut changed = false;
    let mut rest = raw.body();
    let mut lsn = raw.header.first;
    for _ in 0..raw.header.count {
        let (mut view, after) = RecordView::decode(rest)?;
        if let DetailView::Present(detail) = view.detail
            && erase(lsn)
        {
            view.detail = DetailView::Erased(*blake3::hash(detail).as_bytes());
            changed = true;
        }
        view.encode(&mut body);
        rest = after;
        lsn = lsn.next();
    }
    if !changed {
        return Ok(None);
    }
    let length = BATCH_HEADER_BYTES + body.len() + BATCH_TRAILER_BYTES;
    let header = BatchHeader {
        length: u32::try_from(length).map_err(|_| Flaw::LengthImpossible)?,
        ..raw.header
    };
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&header.encode(id));
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&checksum(id, &body).to_le_bytes());
    bytes.extend_from_slice(&raw.chain().0);
    Ok(Some(bytes))
}
