// SPDX-License-Identifier: GPL-3.0-or-later
//! What the journal's tests share: making drafts, opening journals, reading them back whole.
//!
//! Not a test itself. Each test file uses the part it needs.
#![allow(dead_code, reason = "each test file uses another part of it")]

use std::sync::Arc;

use tablao_journal::{
    Authority, Draft, FileStore, Journal, JournalId, Lsn, OpenOptions, Opened, Reader, Record,
    RecordDraft,
};

pub(crate) const ID: JournalId = JournalId(*b"journal of tests");
pub(crate) const NOW_US: u64 = 1_750_000_000_000_000;

pub(crate) fn options() -> OpenOptions {
    OpenOptions::new(ID, NOW_US)
}

/// Options under which a few kilobytes fill a segment.
pub(crate) fn small_segments() -> OpenOptions {
    OpenOptions {
        segment_bytes: 2048,
        ..options()
    }
}

pub(crate) fn record(kind: u16, facts: &[u8], detail: Option<&[u8]>) -> RecordDraft {
    RecordDraft {
        kind,
        version: 1,
        authority: Authority::Site,
        decision_offset: 0,
        facts: facts.to_vec(),
        detail: detail.map(<[u8]>::to_vec),
    }
}

/// A decision of `count` records whose content says which it is.
pub(crate) fn draft(number: u64, count: u16) -> Draft {
    let records = (0..count)
        .map(|index| RecordDraft {
            decision_offset: index,
            ..record(
                100 + index,
                format!("facts {number}.{index}").as_bytes(),
                (index % 2 == 1).then_some(format!("detail {number}.{index}").as_bytes()),
            )
        })
        .collect();
    Draft {
        time_us: NOW_US + number * 1000,
        records,
    }
}

pub(crate) fn open(files: &Arc<dyn FileStore>, options: &OpenOptions) -> Opened {
    Journal::open(Arc::clone(files), options).expect("the journal opens")
}

/// Appends one decision to a journal of the caller's thread.
pub(crate) fn commit(journal: &mut Journal, draft: &Draft) -> Lsn {
    let next = journal.next_lsn();
    journal.commit(next, &[draft]).expect("commit").last
}

/// All records, in order.
pub(crate) fn read_all(files: &Arc<dyn FileStore>) -> Vec<Record> {
    let reader = Reader::open(Arc::clone(files)).expect("a journal");
    let oldest = reader.oldest().expect("a journal");
    reader
        .records(oldest)
        .expect("the oldest record")
        .collect::<Result<_, _>>()
        .expect("whole records")
}

/// True if a record read back is what was handed over.
pub(crate) fn same(record: &Record, draft: &RecordDraft) -> bool {
    record.kind == draft.kind
        && record.version == draft.version
        && record.authority == draft.authority
        && record.decision_offset == draft.decision_offset
        && record.facts == draft.facts
        && record.detail == draft.detail
}
