// SPDX-License-Identifier: GPL-3.0-or-later
//! What the journal's tests share: making drafts, opening journals, reading them back whole.
//!
//! Not a test itself. Each test file uses the part it needs.
#![allow(dead_code, reason = "each test file uses another part of it")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tablao_journal::{
    Access, Authority, Draft, FileStore, Journal, JournalId, Lsn, MemoryFiles, OpenOptions, Opened,
    Reader, Record, RecordDraft, Verified,
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

/// The bytes of a newest segment without the reserve of zeros behind its last batch.
pub(crate) fn written(memory: &MemoryFiles, name: &str) -> Vec<u8> {
    let mut bytes = memory.bytes(name).expect("there");
    let last = bytes.iter().rposition(|&byte| byte != 0).expect("a header");
    bytes.truncate(last + 1);
    bytes
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

/// Copies what a store holds into a real folder, for readers that know nothing else.
pub(crate) fn dump(files: &dyn FileStore) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in files.list().expect("listed") {
        std::fs::write(folder.path().join(&name), bytes_of(files, &name)).expect("written");
    }
    folder
}

/// The bytes of one file.
pub(crate) fn bytes_of(files: &dyn FileStore, name: &str) -> Vec<u8> {
    let file = files.open(name, Access::Read).expect("opened");
    let mut bytes = vec![0; file.len().expect("measured") as usize];
    let count = file.read_at(0, &mut bytes).expect("read");
    assert_eq!(count, bytes.len());
    bytes
}

/// What the independent reader says of a folder, and its exit code.
pub(crate) fn python_reads(folder: &Path) -> (serde_json::Value, i32) {
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/journal_reader/read_journal.py");
    let output = Command::new("python3")
        .arg("-B")
        .arg(script)
        .arg(folder)
        .output()
        .expect("python3 (3.9 or newer) has to be installed for this test");
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (said, output.status.code().expect("it ended by itself"))
}

/// Holds the independent reader and ours against one journal.
pub(crate) fn both_readers_agree(files: &Arc<dyn FileStore>) -> Verified {
    let ours = Reader::open(Arc::clone(files))
        .and_then(|reader| reader.verify())
        .expect("whole");
    let folder = dump(files.as_ref());
    let (theirs, code) = python_reads(folder.path());
    assert_eq!(code, 0, "{theirs}");
    assert_eq!(theirs["chain"], ours.chain.to_string());
    assert_eq!(theirs["journal_id"], ours.journal_id.to_string());
    assert_eq!(theirs["incarnation"], ours.incarnation);
    assert_eq!(theirs["first"], ours.first.get());
    assert_eq!(theirs["next"], ours.next.get());
    assert_eq!(theirs["batches"], ours.batches);
    assert_eq!(theirs["records"], ours.records);
    assert_eq!(theirs["clean"], ours.clean);
    assert_eq!(
        theirs["unfinished_tail"].is_null(),
        ours.unfinished_tail.is_none()
    );
    let kinds = theirs["kinds"].as_object().expect("an object");
    assert_eq!(kinds.len(), ours.kinds.len());
    for (kind, count) in &ours.kinds {
        assert_eq!(kinds[&kind.to_string()], *count);
    }
    ours
}
