// SPDX-License-Identifier: GPL-3.0-or-later
//! Appending, closing, reopening and rotating, on real files and in memory.
mod common;

use std::sync::Arc;
use std::sync::mpsc;

use common::*;
use tablao_journal::{
    BATCH_BYTES_MAX, Draft, Error, FaultPlan, FaultyFiles, FileStore, Journal, JournalId, Lsn,
    MemoryFiles, OpenOptions, Reader, RealFiles, Report,
};

/// The whole way through a real folder: what was reported durable is read back, in order, with
/// its token, and a clean close is known as one.
#[test]
fn a_writer_thread_reports_in_order_and_closes_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Arc<dyn FileStore> =
        Arc::new(RealFiles::create(folder.path().join("journal/site")).expect("made"));
    let opened = open(&files, &options());
    assert!(opened.recovery.created && opened.recovery.clean);
    let (sender, receiver) = mpsc::channel();
    let handle = opened
        .journal
        .start(move |report| match report {
            Report::Durable(durable) => sender.send(durable).expect("the test listens"),
            Report::Failed(failed) => panic!("{}", failed.error),
        })
        .expect("started");
    let mut next = Lsn::FIRST;
    for number in 0..100 {
        let accepted = handle
            .append(next, draft(number, 3), number)
            .expect("taken");
        assert_eq!(accepted.first, next);
        next = accepted.last.next();
    }
    let stale = handle.append(Lsn::FIRST, draft(0, 1), 0);
    assert!(matches!(stale, Err(Error::StalePosition { .. })));
    handle.close().expect("closed");
    let mut tokens = Vec::new();
    let mut chain = None;
    for durable in receiver.try_iter() {
        chain = Some(durable.chain);
        tokens.extend(durable.drafts.into_iter().map(|settled| settled.token));
    }
    assert_eq!(tokens, (0..100).collect::<Vec<_>>());
    let records = read_all(&files);
    assert_eq!(records.len(), 300);
    for (index, found) in records.iter().enumerate() {
        let from = draft(index as u64 / 3, 3);
        assert_eq!(found.lsn, Lsn::new(index as u64 + 1));
        assert_eq!(found.time_us, from.time_us);
        assert!(same(found, &from.records[index % 3]));
    }
    let again = open(&files, &options()).recovery;
    assert!(again.clean);
    assert_eq!((again.next_lsn, Some(again.chain)), (next, chain));
}

/// An idle farm writes nothing: opening and closing again and again changes no byte.
#[test]
fn opening_and_closing_an_idle_journal_writes_nothing() {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(&files, &options()).journal;
    commit(&mut journal, &draft(1, 2));
    journal.close().expect("closed");
    let before: Vec<_> = files.list().expect("listed");
    let bytes: Vec<_> = before.iter().map(|name| memory.bytes(name)).collect();
    let counting = FaultyFiles::new(Arc::clone(&files), FaultPlan::default());
    for _ in 0..5 {
        let opened = Journal::open(Arc::new(counting.clone()), &options()).expect("opened");
        assert!(opened.recovery.clean);
        opened.journal.close().expect("closed");
    }
    assert_eq!(counting.calls(), 0, "something was written");
    assert_eq!(files.list().expect("listed"), before);
    let after: Vec<_> = before.iter().map(|name| memory.bytes(name)).collect();
    assert_eq!(after, bytes);
}

/// Full segments are sealed and followed, and reading goes through all of them from anywhere.
#[test]
fn segments_rotate_and_are_read_across() {
    let files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let mut journal = open(&files, &small_segments()).journal;
    for number in 0..80 {
        commit(&mut journal, &draft(number, 2));
        if number % 30 == 29 {
            // A reopened journal goes on in the same segment.
            journal.close().expect("closed");
            journal = open(&files, &small_segments()).journal;
        }
    }
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    let info = reader.info().expect("described");
    assert!(info.segments.len() > 5);
    let (newest, sealed) = info.segments.split_last().expect("not empty");
    assert!(!newest.sealed && sealed.iter().all(|segment| segment.sealed));
    assert_eq!((info.first, info.last), (Lsn::FIRST, Lsn::new(160)));
    for pair in info.segments.windows(2) {
        assert_eq!(pair[0].last.next(), pair[1].first);
    }
    for from in 1..=161 {
        let records: Vec<_> = reader.records(Lsn::new(from)).expect("found").collect();
        assert_eq!(records.len() as u64, 161 - from);
        if let Some(first) = records.first() {
            assert_eq!(first.as_ref().expect("whole").lsn, Lsn::new(from));
        }
    }
    let beyond = reader.records(Lsn::new(162)).err();
    assert!(matches!(beyond, Some(Error::NotYet { .. })));
    both_readers_agree(&files);
}

/// Positions are never reused across incarnations, so the incarnation only rises, is in the
/// chain, and takes effect even if nothing was ever appended in the one before.
#[test]
fn a_higher_incarnation_begins_a_segment_and_a_lower_one_is_refused() {
    let files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let incarnation = |number| OpenOptions {
        incarnation: Some(number),
        ..options()
    };
    drop(open(&files, &incarnation(2)).journal);
    let mut journal = open(&files, &incarnation(3)).journal;
    commit(&mut journal, &draft(1, 2));
    drop(journal);
    let mut journal = open(&files, &incarnation(5)).journal;
    commit(&mut journal, &draft(2, 1));
    journal.close().expect("closed");
    let lower = Journal::open(Arc::clone(&files), &incarnation(4)).err();
    assert!(matches!(
        lower,
        Some(Error::IncarnationTooLow { asked: 4, found: 5 })
    ));
    assert_eq!(open(&files, &options()).recovery.incarnation, 5);
    let verified = both_readers_agree(&files);
    assert_eq!((verified.incarnation, verified.records), (5, 3));
    assert_eq!(files.list().expect("listed").len(), 3);
}

/// A caller that expects one journal must never be given another.
#[test]
fn another_journal_is_refused() {
    let files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    drop(open(&files, &options()).journal);
    let other = OpenOptions {
        expect_journal_id: Some(JournalId([9; 16])),
        ..options()
    };
    let refused = Journal::open(files, &other).err();
    assert!(matches!(refused, Some(Error::WrongJournal { .. })));
}

/// Decisions that do not fit one batch together go into several, under one sync, unsplit.
#[test]
fn a_group_larger_than_a_batch_becomes_several_batches_and_one_sync() {
    let counting = FaultyFiles::new(Arc::new(MemoryFiles::new()), FaultPlan::default());
    let files: Arc<dyn FileStore> = Arc::new(counting.clone());
    let mut journal = open(&files, &options()).journal;
    let large = |number: u64, bytes| Draft {
        time_us: NOW_US + number,
        records: vec![record(1, &vec![number as u8; bytes], None)],
    };
    let drafts: Vec<Draft> = (0..7)
        .map(|number| large(number, BATCH_BYTES_MAX / 2 - 200))
        .collect();
    let mut all: Vec<&Draft> = drafts.iter().collect();
    // Times too far apart for one batch, and a clock that was set back.
    let later = Draft {
        time_us: NOW_US + (1 << 40),
        ..draft(1, 1)
    };
    let earlier = draft(2, 1);
    all.extend([&later, &earlier]);
    let syncs = counting.syncs();
    journal.commit(Lsn::FIRST, &all).expect("committed");
    assert_eq!(counting.syncs() - syncs, 1);
    let verified = Reader::open(Arc::clone(&files)).and_then(|reader| reader.verify());
    let verified = verified.expect("whole");
    assert_eq!((verified.batches, verified.records), (5, 9));
    let times: Vec<u64> = read_all(&files)
        .iter()
        .map(|record| record.time_us)
        .collect();
    assert_eq!(times[..3], [NOW_US, NOW_US + 1, NOW_US + 2]);
    assert_eq!(times[7..], [NOW_US + (1 << 40); 2]);
}

/// Many threads share one handle: nothing is lost, doubled or acknowledged twice.
#[test]
fn producers_in_parallel_each_get_their_own_positions() {
    let files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let (sender, receiver) = mpsc::channel();
    let handle = open(&files, &small_segments())
        .journal
        .start(move |report| {
            if let Report::Durable(durable) = report {
                for settled in durable.drafts {
                    sender.send((settled.first, settled.token)).expect("heard");
                }
            }
        })
        .expect("started");
    std::thread::scope(|scope| {
        for producer in 0..8 {
            let handle = &handle;
            scope.spawn(move || {
                for number in 0..100 {
                    handle
                        .append_next(draft(number, 2), (producer, number))
                        .expect("taken");
                }
            });
        }
    });
    handle.close().expect("closed");
    let mut settled: Vec<_> = receiver.try_iter().collect();
    assert!(settled.is_sorted_by_key(|(first, _)| *first));
    settled.sort_unstable_by_key(|&(_, token)| token);
    let expected: Vec<_> = (0..8).flat_map(|p| (0..100).map(move |n| (p, n))).collect();
    let tokens: Vec<_> = settled.iter().map(|&(_, token)| token).collect();
    assert_eq!(tokens, expected);
    let records = read_all(&files);
    for (first, (_, number)) in settled {
        let found = &records[first.get() as usize - 1];
        assert!(same(found, &draft(number, 2).records[0]));
    }
}

/// A panic in the owner's callback ends the writer: nobody may go on as if it still reported.
#[test]
fn a_panic_in_the_callback_ends_the_writer() {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let handle = open(&files, &options())
        .journal
        .start(|report: Report<()>| match report {
            Report::Durable(_) => panic!("planned by the test"),
            Report::Failed(_) => {}
        })
        .expect("started");
    handle.append_next(draft(1, 1), ()).expect("taken");
    assert!(matches!(handle.close(), Err(Error::WriterGone)));
    assert!(handle.append_next(draft(2, 1), ()).is_err());
    // What had become durable is there, and the end was not an orderly one.
    let recovery = open(&files, &options()).recovery;
    assert_eq!((recovery.next_lsn, recovery.clean), (Lsn::new(2), false));
}
