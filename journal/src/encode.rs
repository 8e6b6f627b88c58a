// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes batches of drafts: as few as they fit, never splitting a decision.
//!
//! A pure function of the drafts and of where the journal stands. What the bytes mean is `batch`
//! and `record`; when they are written is `writer`.

use crate::batch::{
    BATCH_HEADER_BYTES, BATCH_RECORDS_MAX, BATCH_TRAILER_BYTES, BODY_BYTES_MAX, BatchHeader,
    chain_hasher, checksum,
};
use crate::error::Error;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::record::{BodyHashes, Draft, RecordView, encoded_bytes};

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

/// What of a draft can be worked out before it has a place. The caller's thread does it, so that
/// the one thread which everybody waits for does not have to.
pub(crate) struct Measured {
    /// What its records take in a batch.
    pub(crate) bytes: usize,
    hashes: Vec<BodyHashes>,
}

impl Measured {
    /// Measures a draft, or refuses what no batch can take.
    pub(crate) fn new(draft: &Draft) -> Result<Self, Error> {
        let bytes = check_draft(draft)?;
        let hashes = draft.records.iter().map(BodyHashes::of).collect();
        Ok(Self { bytes, hashes })
    }
}

/// A measured draft and its clamped time.
#[derive(Clone, Copy)]
pub(crate) struct Timed<'a> {
    pub(crate) time_us: u64,
    pub(crate) draft: &'a Draft,
    pub(crate) measured: &'a Measured,
}

/// Encodes drafts into as few batches as they fit, never splitting one. Returns the chain value
/// after the last batch.
pub(crate) fn encode_drafts(
    origin: Origin,
    mut first: Lsn,
    mut chain: ChainValue,
    drafts: &[Timed<'_>],
    into: &mut Vec<u8>,
) -> ChainValue {
    let mut rest = drafts;
    while let Some(taken) = batch_of(rest) {
        let (now, later) = rest.split_at(taken.drafts);
        chain = encode_batch(origin, first, chain, now, &taken, into);
        first = first.plus(taken.records as u64);
        rest = later;
    }
    chain
}

/// What one batch takes from the front of the drafts that wait.
struct Taken {
    drafts: usize,
    records: usize,
    bytes: usize,
}

/// How many drafts from the front make one batch; none if there are none.
fn batch_of(drafts: &[Timed<'_>]) -> Option<Taken> {
    let start_us = drafts.first()?.time_us;
    let mut taken = Taken {
        drafts: 0,
        records: 0,
        bytes: 0,
    };
    for timed in drafts {
        let bytes = taken.bytes + timed.measured.bytes;
        let records = taken.records + timed.draft.records.len();
        let fits = bytes <= BODY_BYTES_MAX
            && records <= BATCH_RECORDS_MAX
            && u32::try_from(timed.time_us - start_us).is_ok();
        if taken.drafts > 0 && !fits {
            break;
        }
        taken = Taken {
            drafts: taken.drafts + 1,
            records,
            bytes,
        };
    }
    Some(taken)
}

fn encode_batch(
    origin: Origin,
    first: Lsn,
    before: ChainValue,
    drafts: &[Timed<'_>],
    taken: &Taken,
    into: &mut Vec<u8>,
) -> ChainValue {
    let time_us = drafts.first().map_or(0, |timed| timed.time_us);
    let length = BATCH_HEADER_BYTES + taken.bytes + BATCH_TRAILER_BYTES;
    let header = BatchHeader {
        length: u32::try_from(length).expect("a batch is at most 1 MiB"),
        count: u32::try_from(taken.records).expect("a batch has at most 65536 records"),
        incarnation: origin.incarnation,
        first,
        time_us,
        durable_upto: origin.durable_upto,
    };
    into.reserve(length);
    into.extend_from_slice(&header.encode(origin.id));
    let body_start = into.len();
    let mut hasher = chain_hasher(before, &header);
    for timed in drafts {
        let after_us = u32::try_from(timed.time_us - time_us)
            .expect("drafts whose times are too far apart go into different batches");
        for (record, &hashes) in timed.draft.records.iter().zip(&timed.measured.hashes) {
            let view = RecordView::of(record, after_us);
            view.encode(into);
            view.chain_hashed(hashes, &mut hasher);
        }
    }
    let body_checksum = checksum(origin.id, &into[body_start..]);
    into.extend_from_slice(&body_checksum.to_le_bytes());
    let chain = ChainValue(*hasher.finalize().as_bytes());
    into.extend_from_slice(&chain.0);
    chain
}
