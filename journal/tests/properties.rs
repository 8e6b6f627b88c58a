// SPDX-License-Identifier: GPL-3.0-or-later
//! Properties over random histories: a journal behaves like a vector, and no flipped byte of it
//! goes unnoticed.
mod common;

use std::sync::Arc;

use common::*;
use proptest::prelude::*;
use tablao_journal::{
    Authority, Draft, FileStore, Journal, Lsn, MemoryFiles, OpenOptions, PowerLoss, Reader,
    RecordDraft,
};

fn records() -> impl Strategy<Value = RecordDraft> {
    (
        any::<u16>(),
        any::<u8>(),
        any::<bool>(),
        any::<u16>(),
        prop::collection::vec(any::<u8>(), 0..200),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
    )
        .prop_map(
            |(kind, version, control, decision_offset, facts, detail)| RecordDraft {
                kind,
                version,
                authority: if control {
                    Authority::Control
                } else {
                    Authority::Site
                },
                decision_offset,
                facts,
                detail,
            },
        )
}

fn drafts() -> impl Strategy<Value = Draft> {
    (
        0..10_000_000_000_u64,
        prop::collection::vec(records(), 1..6),
    )
        .prop_map(|(time_us, records)| Draft { time_us, records })
}

#[derive(Clone, Debug)]
enum Step {
    /// One commit of these decisions.
    Append(Vec<Draft>),
    Close,
    Kill,
    PowerLoss,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(drafts(), 1..5).prop_map(Step::Append),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerLoss),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is appended, however often the journal is closed, killed and reopened in between,
    /// it reads back as the vector of everything appended, with positions from 1 and times that
    /// never fall.
    #[test]
    fn a_journal_is_a_vector(steps in steps(), segment_bytes in 200_u64..5000) {
        let options = OpenOptions { segment_bytes, now_us: 0, ..options() };
        let mut memory = MemoryFiles::new();
        let shared = |memory: &MemoryFiles| -> Arc<dyn FileStore> { Arc::new(memory.clone()) };
        let mut journal = open(&shared(&memory), &options).journal;
        let mut vector: Vec<(u64, RecordDraft)> = Vec::new();
        let mut time_us = 0;
        for step in steps {
            match step {
                Step::Append(drafts) => {
                    let all: Vec<&Draft> = drafts.iter().collect();
                    journal.commit(Lsn::new(vector.len() as u64 + 1), &all).expect("committed");
                    for draft in drafts {
                        time_us = draft.time_us.max(time_us);
                        vector.extend(draft.records.into_iter().map(|record| (time_us, record)));
                    }
                    continue;
                }
                Step::Close => journal.close().expect("closed"),
                Step::Kill => memory = memory.after(PowerLoss::ProcessOnly),
                Step::PowerLoss => memory = memory.after(PowerLoss::UnsyncedLost),
            }
            let opened = open(&shared(&memory), &options);
            prop_assert!(opened.recovery.torn.is_none());
            prop_assert_eq!(opened.recovery.last_time_us, time_us);
            prop_assert_eq!(opened.recovery.next_lsn, Lsn::new(vector.len() as u64 + 1));
            journal = opened.journal;
        }
        let read = read_all(&shared(&memory));
        prop_assert_eq!(read.len(), vector.len());
        for (index, (record, (time_us, draft))) in read.iter().zip(&vector).enumerate() {
            prop_assert_eq!(record.lsn, Lsn::new(index as u64 + 1));
            prop_assert_eq!(record.time_us, *time_us);
            prop_assert!(same(record, draft));
            let hash = draft.detail.as_ref().map(|detail| *blake3::hash(detail).as_bytes());
            prop_assert_eq!(record.detail_hash, hash);
        }
        let verified = Reader::open(shared(&memory)).and_then(|reader| reader.verify());
        prop_assert_eq!(verified.expect("whole").chain, journal.chain());
    }
}

/// Any single flipped byte of a journal that was closed in order is found by `verify`. The clean
/// mark alone may be lost without damage; then it counts as absent, and nothing else changes.
#[test]
fn no_flipped_byte_goes_unnoticed() {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(
        &files,
        &OpenOptions {
            segment_bytes: 600,
            ..options()
        },
    )
    .journal;
    for number in 0..12 {
        commit(&mut journal, &draft(number, 3));
    }
    journal.close().expect("closed");
    let names = memory.list().expect("listed");
    assert!(names.len() > 3, "several segments are needed");
    let verify = || Reader::open(Arc::clone(&files)).and_then(|reader| reader.verify());
    let whole = verify().expect("whole");
    let mut flipped = 0;
    for name in names {
        let bytes = memory.bytes(&name).expect("there");
        for at in 0..bytes.len() {
            for bit in [0x01, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                memory.put(&name, &changed);
                match verify() {
                    Err(_) if name != "clean.mark" => {}
                    Ok(found) if name == "clean.mark" => {
                        assert!(!found.clean);
                        assert_eq!(found.chain, whole.chain);
                    }
                    other => panic!("byte {at} of {name}: {other:?}"),
                }
                flipped += 1;
            }
        }
        memory.put(&name, &bytes);
    }
    assert!(flipped > 3000);
    assert_eq!(verify().expect("whole again"), whole);
}

/// A flipped byte in an open journal may cost the last, unacknowledged batch and nothing more:
/// it is refused, or what opens is a prefix of what was written.
#[test]
fn a_flipped_byte_of_an_unclosed_journal_costs_at_most_the_last_batch() {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(&files, &options()).journal;
    for number in 0..6 {
        commit(&mut journal, &draft(number, 2));
    }
    let name = "00000000000000000001.seg";
    let bytes = memory.bytes(name).expect("there");
    let written = bytes.iter().rposition(|&byte| byte != 0).expect("batches") + 1;
    assert!(written < bytes.len(), "there is a reserve");
    let (mut refused, mut cut) = (0, 0);
    let places = (0..written).chain([written, (written + bytes.len()) / 2, bytes.len() - 1]);
    for at in places {
        let flipped = MemoryFiles::new();
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        flipped.put(name, &changed);
        match Journal::open(Arc::new(flipped), &options()) {
            Err(_) => refused += 1,
            Ok(opened) => {
                // In the reserve there is nothing to lose, and still it is noticed.
                let left = if at < written { 11 } else { 13 };
                assert_eq!(opened.recovery.next_lsn, Lsn::new(left));
                assert!(opened.recovery.torn.is_some());
                cut += 1;
            }
        }
    }
    assert!(refused > cut && cut > 100, "{refused} refused, {cut} cut");
}
