// SPDX-License-Identifier: GPL-3.0-or-later
//! Crashes at every moment a file store knows: frozen at each sync, failed at each call, torn
//! writes, a full disk. What was acknowledged is there afterwards, and what is there is a prefix.
mod common;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;

use common::*;
use tablao_journal::{
    Access, Error, FaultPlan, FaultyFiles, FileStore, Journal, Lsn, MemoryFiles, Mirror,
    MirrorOptions, OpenOptions, PowerLoss, Reader, Report, StoreFile,
};

/// Decisions that a scripted run wants to append; every second commit takes two of them.
const DECISIONS: u64 = 24;

fn script_options() -> OpenOptions {
    OpenOptions {
        segment_bytes: 700,
        ..options()
    }
}

/// A life: open, append, close, open again, append. Returns how many records were acknowledged.
fn scripted_life(files: &Arc<dyn FileStore>) -> u64 {
    let mut acknowledged = 0;
    let mut number = 0;
    for until in [DECISIONS / 2, DECISIONS] {
        let Ok(opened) = Journal::open(Arc::clone(files), &script_options()) else {
            return acknowledged;
        };
        let mut journal = opened.journal;
        while number < until {
            let (one, other) = (draft(number, 2), draft(number + 1, 2));
            let next = Lsn::new(number * 2 + 1);
            let committed = if number % 4 == 0 {
                number += 2;
                journal.commit(next, &[&one, &other])
            } else {
                number += 1;
                journal.commit(next, &[&one])
            };
            match committed {
                Ok(committed) => acknowledged = committed.last.get(),
                Err(_) => return acknowledged,
            }
        }
        if journal.close().is_err() {
            return acknowledged;
        }
    }
    acknowledged
}

/// Opens what a crash left, appends on, and checks that it is the script's beginning. Returns
/// whether there was a torn tail, so that a test can prove that it met some.
fn recovers(left: &MemoryFiles, acknowledged: u64, context: &str) -> bool {
    let files: Arc<dyn FileStore> = Arc::new(left.clone());
    let opened = Journal::open(Arc::clone(&files), &script_options());
    let opened = opened.unwrap_or_else(|e| panic!("{context}: {e}"));
    let torn = opened.recovery.torn.is_some();
    let mut journal = opened.journal;
    let next = journal.next_lsn();
    assert!(
        next.get() > acknowledged,
        "{context}: {acknowledged} acknowledged, {next} is next"
    );
    let records = read_all(&files);
    assert_eq!(records.len() as u64, next.get() - 1, "{context}");
    for (index, record) in records.iter().enumerate() {
        let expected = &draft(index as u64 / 2, 2).records[index % 2];
        assert!(same(record, expected), "{context}: record {index}");
    }
    // A decision of two records is there whole or not at all.
    assert_eq!(records.len() % 2, 0, "{context}: half a decision");
    commit(&mut journal, &draft(1000, 1));
    journal.close().unwrap_or_else(|e| panic!("{context}: {e}"));
    let verified = Reader::open(files).and_then(|reader| reader.verify());
    let verified = verified.unwrap_or_else(|e| panic!("{context}: {e}"));
    assert!(verified.clean && verified.next == next.next(), "{context}");
    torn
}

fn faulty(plan: FaultPlan) -> (MemoryFiles, FaultyFiles) {
    let memory = MemoryFiles::new();
    let faulty = FaultyFiles::new(Arc::new(memory.clone()), plan);
    (memory, faulty)
}

/// Every kind of loss, with torn sectors that differ from case to case.
fn losses(case: u64) -> Vec<PowerLoss> {
    let mut losses = vec![PowerLoss::ProcessOnly, PowerLoss::UnsyncedLost];
    losses.extend((0..8).map(|seed| PowerLoss::Torn {
        seed: case * 1000 + seed,
    }));
    losses
}

/// The disk stops at each sync in turn, with every kind of loss behind it.
#[test]
fn frozen_at_every_sync_nothing_acknowledged_is_lost() {
    let (_, counting) = faulty(FaultPlan::default());
    let files: Arc<dyn FileStore> = Arc::new(counting.clone());
    assert_eq!(scripted_life(&files), DECISIONS * 2);
    let syncs = counting.syncs();
    assert!(syncs > 30, "{syncs} syncs are too few to prove anything");
    let mut torn = 0;
    for sync in 1..=syncs {
        let (memory, frozen) = faulty(FaultPlan {
            freeze_at_sync: Some(sync),
            ..FaultPlan::default()
        });
        let files: Arc<dyn FileStore> = Arc::new(frozen);
        let acknowledged = scripted_life(&files);
        for loss in losses(sync) {
            let context = format!("frozen at sync {sync}, {loss:?}");
            torn += u64::from(recovers(&memory.after(loss), acknowledged, &context));
        }
    }
    assert!(torn > 10, "only {torn} torn tails were met");
}

/// Each changing call fails in turn, plainly or half done. The writer goes on with nothing after
/// that; the next process finds everything acknowledged.
#[test]
fn failed_at_every_call_nothing_acknowledged_is_lost() {
    let (_, counting) = faulty(FaultPlan::default());
    let files: Arc<dyn FileStore> = Arc::new(counting.clone());
    scripted_life(&files);
    for call in 1..=counting.calls() {
        for tear in [false, true] {
            let (memory, failing) = faulty(FaultPlan {
                fail_call: Some(call),
                tear,
                ..FaultPlan::default()
            });
            let files: Arc<dyn FileStore> = Arc::new(failing);
            let acknowledged = scripted_life(&files);
            for loss in losses(call) {
                let context = format!("call {call} failed (torn: {tear}), {loss:?}");
                recovers(&memory.after(loss), acknowledged, &context);
            }
        }
    }
}

/// Recovery itself may be interrupted at any call, and the next one still finds everything.
#[test]
fn a_crash_during_recovery_loses_nothing() {
    let (memory, frozen) = faulty(FaultPlan {
        freeze_at_sync: Some(25),
        ..FaultPlan::default()
    });
    let files: Arc<dyn FileStore> = Arc::new(frozen);
    let acknowledged = scripted_life(&files);
    for seed in 0..40 {
        let crashed = memory.after(PowerLoss::Torn { seed });
        for call in 1..40 {
            let left = crashed.after(PowerLoss::ProcessOnly);
            let plan = FaultPlan {
                fail_call: Some(call),
                tear: true,
                ..FaultPlan::default()
            };
            let failing = FaultyFiles::new(Arc::new(left.clone()), plan);
            if Journal::open(Arc::new(failing), &script_options()).is_ok() {
                break;
            }
            let context = format!("seed {seed}, recovery failed at call {call}");
            recovers(
                &left.after(PowerLoss::Torn { seed: call }),
                acknowledged,
                &context,
            );
        }
    }
}

/// Cut bytes are kept aside before they are cut: at every call at which recovery can be
/// interrupted, they are still in the segment or already in a file of their own.
#[test]
fn cut_bytes_are_never_lost_by_a_crash_of_the_recovery() {
    let name = "00000000000000000001.seg";
    let garbage = [0xAB; 1500];
    let holds = |bytes: &[u8]| bytes.windows(garbage.len()).any(|window| window == garbage);
    let mut interrupted = 0;
    for call in 1.. {
        let memory = MemoryFiles::new();
        let mut journal = open(&(Arc::new(memory.clone()) as _), &options()).journal;
        commit(&mut journal, &draft(0, 2));
        let mut bytes = memory.bytes(name).expect("there");
        bytes.extend_from_slice(&garbage);
        memory.put(name, &bytes);
        let plan = FaultPlan {
            fail_call: Some(call),
            tear: true,
            ..FaultPlan::default()
        };
        let failing = FaultyFiles::new(Arc::new(memory.clone()), plan);
        let done = Journal::open(Arc::new(failing), &options()).is_ok();
        for loss in [PowerLoss::ProcessOnly, PowerLoss::UnsyncedLost] {
            let left = memory.after(loss);
            let names = left.list().expect("listed");
            let kept = names.iter().filter_map(|name| left.bytes(name));
            assert!(
                kept.into_iter().any(|bytes| holds(&bytes)),
                "call {call}, {loss:?}"
            );
        }
        if done {
            break;
        }
        interrupted += 1;
    }
    assert!(interrupted > 5);
}

/// What recovery counts is durable from then on, also if the process before was killed between
/// its write and its sync, and even if that sync had failed and the kernel forgot the bytes.
#[test]
fn what_recovery_counts_survives_the_next_power_loss() {
    let mut unsynced = 0;
    for sync in 1..60 {
        for forgotten in [false, true] {
            let (memory, frozen) = faulty(FaultPlan {
                freeze_at_sync: Some(sync),
                ..FaultPlan::default()
            });
            let files: Arc<dyn FileStore> = Arc::new(frozen);
            scripted_life(&files);
            if forgotten {
                memory.forget_what_is_dirty();
            }
            // The next process sees what was written, synced or not, and tells the world.
            let same_machine: Arc<dyn FileStore> = Arc::new(memory.clone());
            let next = open(&same_machine, &script_options()).recovery.next_lsn;
            let context = format!("sync {sync}, forgotten: {forgotten}");
            recovers(
                &memory.after(PowerLoss::UnsyncedLost),
                next.get() - 1,
                &context,
            );
            unsynced += 1;
        }
    }
    assert!(unsynced > 100);
}

/// A full disk is reported as one, poisons the writer for good, and costs nothing acknowledged,
/// however many bytes there were room for.
#[test]
fn a_full_disk_is_final_and_loses_nothing() {
    for space in (0..3000).step_by(37) {
        let (memory, full) = faulty(FaultPlan {
            space_bytes: Some(space),
            ..FaultPlan::default()
        });
        let files: Arc<dyn FileStore> = Arc::new(full);
        let opened = Journal::open(files, &script_options());
        let mut acknowledged = 0;
        match opened {
            Err(error) => assert!(error.is_storage_full(), "{error}"),
            Ok(opened) => {
                let mut journal = opened.journal;
                let mut number = 0;
                let error = loop {
                    match journal.commit(journal.next_lsn(), &[&draft(number, 2)]) {
                        Ok(committed) => acknowledged = committed.last.get(),
                        Err(error) => break error,
                    }
                    number += 1;
                };
                assert!(error.is_storage_full(), "{error}");
                // It would fit now, and is refused all the same.
                let after = journal.commit(journal.next_lsn(), &[&draft(number, 1)]);
                assert!(matches!(after, Err(Error::Poisoned(_))));
                assert!(journal.close().is_err());
            }
        }
        let context = format!("{space} bytes of room");
        recovers(
            &memory.after(PowerLoss::UnsyncedLost),
            acknowledged,
            &context,
        );
    }
}

/// The first failed sync is reported once, with everything that waited, and nothing is written
/// or acknowledged after it.
#[test]
fn a_failed_sync_poisons_the_writer_thread() {
    let (memory, frozen) = faulty(FaultPlan {
        freeze_at_sync: Some(6),
        ..FaultPlan::default()
    });
    let counting = frozen.clone();
    let opened = Journal::open(Arc::new(frozen), &options()).expect("opened");
    let (sender, receiver) = mpsc::channel();
    let handle = opened
        .journal
        .start(move |report| sender.send(report).expect("heard"))
        .expect("started");
    let mut durable = Lsn::ORIGIN;
    let mut pending = 0..;
    let failed = loop {
        let number = pending.next().expect("endless");
        handle.append_next(draft(number, 1), number).expect("taken");
        match receiver.recv().expect("a report") {
            Report::Durable(report) => durable = report.last,
            Report::Failed(failed) => break failed,
        }
    };
    assert!(durable > Lsn::ORIGIN);
    assert!(failed.error.to_string().contains("sync"));
    assert_eq!(failed.tokens.len(), 1);
    let calls = counting.calls();
    let refused = handle.append_next(draft(0, 1), 0);
    assert!(matches!(
        refused,
        Err(Error::Poisoned(_) | Error::WriterGone)
    ));
    assert!(handle.close().is_err());
    assert_eq!(counting.calls(), calls, "something was tried again");
    assert_eq!(handle.durable(), durable);
    let left: Arc<dyn FileStore> = Arc::new(memory.after(PowerLoss::UnsyncedLost));
    assert_eq!(read_all(&left).len() as u64, durable.get());
}

/// Frozen at each of its syncs, a mirror loses nothing it had counted, and goes on from there.
#[test]
fn a_mirror_frozen_at_every_sync_resumes() {
    let original: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    scripted_life(&original);
    let reader = Reader::open(original).expect("a journal");
    let options = MirrorOptions {
        segment_bytes: 500,
        ..MirrorOptions::new(ID, NOW_US)
    };
    let feed = |files: Arc<dyn FileStore>| -> (Lsn, Result<(), Error>) {
        let mut mirror = match Mirror::open(files, &options) {
            Ok((mirror, _)) => mirror,
            Err(error) => return (Lsn::FIRST, Err(error)),
        };
        loop {
            let raw = reader
                .read_raw(mirror.position(), Lsn::MAX, 400)
                .expect("read");
            if raw.bytes.is_empty() {
                return (mirror.position(), Ok(()));
            }
            if let Err(error) = mirror.append(&raw.bytes) {
                return (mirror.position(), Err(error));
            }
        }
    };
    let verified = reader.verify().expect("whole");
    let (_, counting) = faulty(FaultPlan::default());
    feed(Arc::new(counting.clone())).1.expect("fed");
    for sync in 1..=counting.syncs() {
        let (memory, frozen) = faulty(FaultPlan {
            freeze_at_sync: Some(sync),
            ..FaultPlan::default()
        });
        let (position, outcome) = feed(Arc::new(frozen));
        outcome.expect_err("frozen");
        for loss in losses(sync) {
            let left = memory.after(loss);
            let (mirror, _) = Mirror::open(Arc::new(left.clone()), &options).expect("recovered");
            assert!(mirror.position() >= position, "sync {sync}, {loss:?}");
            drop(mirror);
            let (end, outcome) = feed(Arc::new(left.clone()));
            outcome.expect("fed");
            assert_eq!(end, verified.next);
            let copy = Reader::open(Arc::new(left)).and_then(|reader| reader.verify());
            assert_eq!(copy.expect("whole").chain, verified.chain);
        }
    }
}

/// A store whose syncs do nothing: what this crate would be without its sync.
struct WithoutSync(MemoryFiles);

struct FileWithoutSync(Box<dyn StoreFile>);

impl FileStore for WithoutSync {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        // The header of a new segment is synced by the real thing; only appends are not.
        self.0.create(name)
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StoreFile>> {
        Ok(Box::new(FileWithoutSync(self.0.open(name, access)?)))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl StoreFile for FileWithoutSync {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The checker above is only worth something if it notices a missing sync: with the sync taken
/// away, acknowledged records are lost.
#[test]
fn without_the_sync_acknowledged_records_are_lost() {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(WithoutSync(memory.clone()));
    let mut journal = open(&files, &options()).journal;
    commit(&mut journal, &draft(0, 2));
    let left: Arc<dyn FileStore> = Arc::new(memory.after(PowerLoss::UnsyncedLost));
    assert_eq!(open(&left, &options()).journal.next_lsn(), Lsn::FIRST);
}
