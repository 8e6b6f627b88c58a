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
use crate::record::{Draft, RecordView, encoded_bytes};

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
