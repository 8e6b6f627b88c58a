// SPDX-License-Identifier: GPL-3.0-or-later
//! Baselines and retired segments: nothing goes before what stands in for it is there and proven,
//! and a crash at any moment leaves a journal that can be folded from somewhere.
mod common;

use std::sync::Arc;

use common::*;
use tablao_journal::{
    Baseline, Error, FaultPlan, FaultyFiles, FileStore, Lsn, MemoryFiles, Mirror, MirrorOptions,
    PowerLoss, Reader, Retirable, copy_journal, retirable, retire_before, salvage,
};

/// A closed journal of several segments.
fn journal_of_segments() -> (MemoryFiles, Arc<dyn FileStore>) {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(&files, &small_segments()).journal;
    for number in 0..60 {
        commit(&mut journal, &draft(number, 3));
    }
    journal.close().expect("closed");
    (memory, files)
}

fn baseline_of(end: &Retirable) -> Baseline {
    Baseline {
        journal_id: ID,
        incarnation: end.incarnation,
        next: end.next,
        time_us: end.time_us,
        chain: end.chain,
        state_version: 7,
        state: format!("everything before {}", end.next).into_bytes(),
    }
}

fn baseline_file(next: Lsn) -> String {
    format!("baseline-{:020}.state", next.get())
}

/// The whole way: saves the baseline at this segment's end and lets go what it covers.
fn retire(files: &Arc<dyn FileStore>, end: &Retirable) -> Result<(), Error> {
    baseline_of(end).write(files.as_ref())?;
    retire_before(files, end.next, None).map(|_| ())
}

/// After retiring, the journal begins where the baseline ends, both readers verify it with the
/// same chain as before, it goes on, its copies and what is salvaged of it have the baseline, and
/// a later baseline replaces it.
#[test]
fn a_journal_goes_on_from_its_baseline() {
    let (_, files) = journal_of_segments();
    let before = both_readers_agree(&files);
    let sealed = retirable(files.as_ref()).expect("listed");
    assert!(sealed.len() > 4, "several segments are needed");
    retire(&files, &sealed[2]).expect("retired");
    let after = both_readers_agree(&files);
    assert_eq!(after.first, sealed[2].next);
    assert_eq!((after.next, after.chain), (before.next, before.chain));
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    let newest = Lsn::new(u64::MAX);
    let baseline = reader
        .baseline(newest)
        .expect("fits")
        .expect("there is one");
    assert_eq!(baseline, baseline_of(&sealed[2]));
    // Moments that it covers are not told of any more.
    let early = reader.baseline(sealed[1].next);
    assert!(matches!(early, Err(Error::Retired { .. })), "{early:?}");
    assert!(matches!(
        reader.records(Lsn::FIRST).map(|_| ()),
        Err(Error::Retired { .. })
    ));
    for copy in [true, false] {
        let to: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
        if copy {
            copy_journal(&files, &to).expect("copied");
        } else {
            salvage(Arc::clone(&files), Arc::clone(&to), NOW_US).expect("saved");
        }
        let there = Reader::open(to).expect("a journal").baseline(newest);
        assert_eq!(there.expect("fits"), Some(baseline_of(&sealed[2])));
    }
    let mut journal = open(&files, &small_segments()).journal;
    commit(&mut journal, &draft(99, 1));
    journal.close().expect("closed");
    retire(&files, &sealed[3]).expect("retired");
    let names = files.list().expect("listed");
    assert!(!names.contains(&baseline_file(sealed[2].next)), "{names:?}");
    both_readers_agree(&files);
}

/// With an archive nothing is lost: what is brought back verifies from the first position on.
#[test]
fn an_archive_brings_everything_back() {
    let (_, files) = journal_of_segments();
    let (before, records) = (both_readers_agree(&files), read_all(&files));
    let sealed = retirable(files.as_ref()).expect("listed");
    let archive = MemoryFiles::new();
    baseline_of(&sealed[1])
        .write(files.as_ref())
        .expect("saved");
    let gone = retire_before(&files, sealed[1].next, Some(&archive)).expect("retired");
    assert_eq!(gone.segments, 2);
    for name in archive.list().expect("listed") {
        let bytes = archive.bytes(&name).expect("there");
        let file = files.create(&name).expect("created");
        file.write_at(0, &bytes).expect("written");
    }
    assert_eq!(both_readers_agree(&files), before);
    assert_eq!(read_all(&files), records);
}

/// A baseline that is not of this history, or of no place where a batch ends, lets nothing go; one
/// that was damaged or exchanged later is found by both readers and by whoever opens it.
#[test]
fn a_baseline_that_does_not_fit_is_refused() {
    let (memory, files) = journal_of_segments();
    let sealed = retirable(files.as_ref()).expect("listed");
    let segments = files.list().expect("listed").len();
    let mut other = baseline_of(&sealed[1]);
    other.chain.0[0] ^= 1;
    other.write(files.as_ref()).expect("saved");
    let refused = retire_before(&files, other.next, None);
    assert!(matches!(refused, Err(Error::Damage(_))), "{refused:?}");
    assert_eq!(files.list().expect("listed").len(), segments + 1);
    retire(&files, &sealed[1]).expect("retired");
    let name = baseline_file(sealed[1].next);
    let whole = memory.bytes(&name).expect("there");
    for at in [0, 9, 20, 35, 50, 90, 100, 126, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        memory.put(&name, &damaged);
        let reader = Reader::open(Arc::clone(&files)).expect("a journal");
        assert!(reader.baseline(Lsn::new(u64::MAX)).is_err(), "byte {at}");
        assert!(reader.verify().is_err(), "byte {at}");
        let (said, code) = python_reads(dump(files.as_ref()).path());
        assert_eq!(code, 3, "byte {at}: {said}");
    }
}

/// Whatever call fails, and whatever a power loss then takes, the journal opens, has the chain
/// it had, can be folded from its origin or from a baseline, and can be retired again.
#[test]
fn a_crash_while_retiring_leaves_a_journal_that_can_be_folded() {
    let (whole, files) = journal_of_segments();
    let before = Reader::open(Arc::clone(&files)).and_then(|reader| reader.verify());
    let before = before.expect("whole");
    let sealed = retirable(files.as_ref()).expect("listed");
    retire(&files, &sealed[0]).expect("retired once");
    let run = |plan| {
        let memory = whole.after(PowerLoss::ProcessOnly);
        let faulty = FaultyFiles::new(Arc::new(memory.clone()), plan);
        let files: Arc<dyn FileStore> = Arc::new(faulty.clone());
        let outcome = retire(&files, &sealed[3]);
        (memory, faulty, outcome)
    };
    let (_, faulty, outcome) = run(FaultPlan::default());
    outcome.expect("retired");
    let (calls, mut begun) = (faulty.calls(), std::collections::BTreeSet::new());
    assert!(calls > 8);
    for call in 1..=calls {
        let plan = FaultPlan {
            fail_call: Some(call),
            tear: call % 2 == 0,
            ..FaultPlan::default()
        };
        let (memory, _, outcome) = run(plan);
        assert!(outcome.is_err(), "call {call} did not fail");
        for loss in [
            PowerLoss::ProcessOnly,
            PowerLoss::UnsyncedLost,
            PowerLoss::Torn { seed: call },
        ] {
            let left: Arc<dyn FileStore> = Arc::new(memory.after(loss));
            let opened = open(&left, &small_segments());
            assert_eq!(opened.recovery.chain, before.chain, "call {call}, {loss:?}");
            drop(opened);
            let reader = Reader::open(Arc::clone(&left)).expect("a journal");
            let baseline = reader.baseline(Lsn::new(u64::MAX)).expect("it fits");
            let baseline = baseline.expect("there was one before");
            reader
                .records(baseline.next)
                .expect("it can be gone on from");
            begun.insert(reader.oldest().expect("a journal"));
            retire(&left, &sealed[3]).expect("retired now");
            assert_eq!(reader.oldest().expect("a journal"), sealed[3].next);
        }
    }
    assert!(begun.len() > 2, "no crash fell between two segments");
}

/// Whatever call fails while an empty mirror begins at a baseline, and whatever a power loss then
/// takes, the mirror opens, is empty or begun, and can go on to the original's end.
#[test]
fn a_crash_while_a_mirror_begins_at_a_baseline_is_gone_on_from() {
    let (_, original) = journal_of_segments();
    let sealed = retirable(original.as_ref()).expect("listed");
    retire(&original, &sealed[2]).expect("retired");
    let reader = Reader::open(original).expect("a journal");
    let end = reader.verify().expect("whole");
    let baseline = baseline_of(&sealed[2]);
    let open_mirror = |files: &Arc<dyn FileStore>| {
        Mirror::open(Arc::clone(files), &MirrorOptions::new(ID, NOW_US)).map(|(mirror, _)| mirror)
    };
    let empty = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(empty.clone());
    drop(open_mirror(&files).expect("begun"));
    let run = |plan| {
        let memory = empty.after(PowerLoss::ProcessOnly);
        let faulty = FaultyFiles::new(Arc::new(memory.clone()), plan);
        let files: Arc<dyn FileStore> = Arc::new(faulty.clone());
        let begun = open_mirror(&files).and_then(|mut mirror| mirror.begin_at(&files, &baseline));
        (memory, faulty, begun)
    };
    let (_, faulty, begun) = run(FaultPlan::default());
    begun.expect("begun");
    for call in 1..=faulty.calls() {
        let plan = FaultPlan {
            fail_call: Some(call),
            tear: call % 2 == 0,
            ..FaultPlan::default()
        };
        let (memory, _, begun) = run(plan);
        assert!(begun.is_err(), "call {call} did not fail");
        for loss in [
            PowerLoss::ProcessOnly,
            PowerLoss::UnsyncedLost,
            PowerLoss::Torn { seed: call },
        ] {
            let left: Arc<dyn FileStore> = Arc::new(memory.after(loss));
            let mut mirror = open_mirror(&left).expect("it opens");
            if mirror.position() == Lsn::FIRST {
                mirror.begin_at(&left, &baseline).expect("begun now");
            }
            assert_eq!(mirror.position(), baseline.next, "call {call}, {loss:?}");
            let news = reader.read_raw(baseline.next, Lsn::MAX, usize::MAX);
            mirror
                .append(&news.expect("read").bytes)
                .expect("it follows");
            assert_eq!(mirror.chain(), end.chain);
            drop(mirror);
            let copy = Reader::open(left).expect("a journal");
            assert_eq!(copy.verify().expect("whole").chain, end.chain);
            let stands = copy.baseline(Lsn::new(u64::MAX)).expect("it fits");
            assert_eq!(stands.as_ref(), Some(&baseline));
        }
    }
}
