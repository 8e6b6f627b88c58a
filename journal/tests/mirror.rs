// SPDX-License-Identifier: GPL-3.0-or-later
//! A mirror takes over another journal's batches: resumable, verified first, never diverging.
mod common;

use std::sync::Arc;

use common::*;
use tablao_journal::{
    Error, FileStore, Journal, JournalId, Lsn, MemoryFiles, Mirror, MirrorOptions, OpenOptions,
    Reader,
};

fn journal_of(numbers: std::ops::Range<u64>) -> Arc<dyn FileStore> {
    let files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let mut journal = open(&files, &small_segments()).journal;
    for number in numbers {
        commit(&mut journal, &draft(number, 2));
    }
    files
}

fn mirror_options() -> MirrorOptions {
    MirrorOptions {
        segment_bytes: 900,
        ..MirrorOptions::new(ID, NOW_US)
    }
}

fn mirror(files: &Arc<dyn FileStore>) -> Mirror {
    Mirror::open(Arc::clone(files), &mirror_options())
        .expect("opened")
        .0
}

/// Fed in whatever portions, with interruptions and repeated deliveries, a mirror ends with the
/// original's chain and the original's batches, byte for byte.
#[test]
fn a_mirror_becomes_equal_and_resumes() {
    let original = journal_of(0..40);
    let reader = Reader::open(Arc::clone(&original)).expect("a journal");
    let copy: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let mut rounds = 0;
    loop {
        let mut mirror = mirror(&copy);
        let position = mirror.position();
        assert_eq!(
            reader.chain_before(position).expect("found"),
            Some(mirror.chain())
        );
        // Ask for one batch too early: the overlap is compared and passed over.
        let from = Lsn::new(position.get().saturating_sub(2).max(1));
        let raw = reader.read_raw(from, Lsn::MAX, 700).expect("read");
        let advance = mirror.append(&raw.bytes).expect("taken over");
        assert_eq!(advance.records, raw.next.since(position));
        assert_eq!((advance.next, advance.chain), (raw.next, raw.chain));
        if advance.records == 0 {
            break;
        }
        rounds += 1;
        if rounds % 3 == 0 {
            mirror.close().expect("closed");
        }
    }
    assert!(rounds > 5);
    let ours = Reader::open(Arc::clone(&copy)).expect("a journal");
    let all = |reader: &Reader| {
        reader
            .read_raw(Lsn::FIRST, Lsn::MAX, usize::MAX)
            .expect("read")
    };
    assert_eq!(all(&ours), all(&reader));
    assert_eq!(
        both_readers_agree(&copy).chain,
        both_readers_agree(&original).chain
    );
    assert_eq!(read_all(&copy), read_all(&original));
}

/// What is not whole, valid and consecutive is refused before a byte of it is written.
#[test]
fn bad_bytes_are_refused_and_change_nothing() {
    let reader = Reader::open(journal_of(0..6)).expect("a journal");
    let whole = reader
        .read_raw(Lsn::FIRST, Lsn::MAX, usize::MAX)
        .expect("read")
        .bytes;
    let memory = MemoryFiles::new();
    let copy: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut mirror = mirror(&copy);
    let before = memory.bytes("00000000000000000001.seg");
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 2;
        let refused = mirror.append(&changed).expect_err("a flipped byte");
        assert!(
            matches!(refused, Error::BadBatch { .. } | Error::Diverged { .. }),
            "{refused}"
        );
    }
    assert!(
        mirror.append(&whole[..whole.len() - 1]).is_err(),
        "cut short"
    );
    let later = reader
        .read_raw(Lsn::new(3), Lsn::MAX, usize::MAX)
        .expect("read");
    assert!(
        matches!(mirror.append(&later.bytes), Err(Error::BadBatch { .. })),
        "a gap"
    );
    assert_eq!(memory.bytes("00000000000000000001.seg"), before);
    assert_eq!(mirror.position(), Lsn::FIRST);
    mirror.append(&whole).expect("none of this poisoned it");
}

/// A journal of another id is never mixed in, and neither is another history of the same id.
#[test]
fn divergence_is_found_wherever_it_begins() {
    let copy = journal_of(0..1);
    let feed = |mirror: &mut Mirror, files: &Arc<dyn FileStore>, from| {
        let reader = Reader::open(Arc::clone(files)).expect("a journal");
        let raw = reader
            .read_raw(Lsn::new(from), Lsn::MAX, usize::MAX)
            .expect("read");
        mirror.append(&raw.bytes)
    };
    // The same first decision, another second one.
    let ours = journal_of(0..5);
    let theirs: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let mut journal = open(&theirs, &options()).journal;
    for number in [0, 1, 77, 3, 4, 5] {
        commit(&mut journal, &draft(number, 2));
    }
    let mut mirror = mirror(&copy);
    feed(&mut mirror, &ours, 1).expect("continues");
    let (position, chain) = (mirror.position(), mirror.chain());
    for from in [1, 5, 9, 11] {
        match feed(&mut mirror, &theirs, from) {
            Err(Error::Diverged { ours, theirs, .. }) => assert_ne!(ours, theirs),
            other => panic!("from {from}: {other:?}"),
        }
        assert_eq!((mirror.position(), mirror.chain()), (position, chain));
    }
    let other: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let id = JournalId([1; 16]);
    let mut journal = open(&other, &OpenOptions::new(id, NOW_US)).journal;
    commit(&mut journal, &draft(0, 10));
    commit(&mut journal, &draft(0, 2));
    assert!(matches!(
        feed(&mut mirror, &other, 11),
        Err(Error::BadBatch { .. })
    ));
    let wrong = Mirror::open(Arc::clone(&copy), &MirrorOptions::new(id, NOW_US)).err();
    assert!(matches!(wrong, Some(Error::WrongJournal { .. })));
}

/// Promotion: a mirror is opened as a journal of a higher incarnation and goes on; what the old
/// one writes afterwards is another history, and a mirror of the new one sees it as such.
#[test]
fn a_promoted_mirror_goes_on_in_a_higher_incarnation() {
    let original = journal_of(0..8);
    let reader = Reader::open(Arc::clone(&original)).expect("a journal");
    let copy: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let raw = reader
        .read_raw(Lsn::FIRST, Lsn::MAX, usize::MAX)
        .expect("read");
    mirror(&copy).append(&raw.bytes).expect("taken over");
    let promoted = OpenOptions {
        incarnation: Some(2),
        ..small_segments()
    };
    let mut journal = open(&copy, &promoted).journal;
    assert_eq!(journal.chain(), raw.chain);
    commit(&mut journal, &draft(8, 2));
    journal.close().expect("closed");
    // The old one did not hear of it and writes the very same decision.
    let mut old = open(&original, &small_segments()).journal;
    commit(&mut old, &draft(8, 2));
    let late = reader
        .read_raw(raw.next, Lsn::MAX, usize::MAX)
        .expect("read");
    // A mirror of the promoted one, and the promoted one's own folder, both refuse it.
    let third: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let promoted_reader = Reader::open(Arc::clone(&copy)).expect("a journal");
    let all = promoted_reader
        .read_raw(Lsn::FIRST, Lsn::MAX, usize::MAX)
        .expect("read");
    let mut mirror = mirror(&third);
    mirror.append(&all.bytes).expect("taken over");
    assert_eq!(mirror.incarnation(), 2);
    assert!(matches!(
        mirror.append(&late.bytes),
        Err(Error::Diverged { .. })
    ));
    assert_eq!(both_readers_agree(&copy).incarnation, 2);
    both_readers_agree(&third);
}

/// A mirror whose original began at a baseline begins there too.
#[test]
fn a_mirror_may_begin_at_a_baseline() {
    let reader = Reader::open(journal_of(0..8)).expect("a journal");
    let from = Lsn::new(7);
    let chain = reader
        .chain_before(from)
        .expect("found")
        .expect("a batch ends there");
    let options = MirrorOptions {
        start: Some((from, chain)),
        ..mirror_options()
    };
    let copy: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let (mut mirror, _) = Mirror::open(Arc::clone(&copy), &options).expect("opened");
    let raw = reader.read_raw(from, Lsn::MAX, usize::MAX).expect("read");
    mirror.append(&raw.bytes).expect("taken over");
    assert_eq!(mirror.chain(), reader.verify().expect("whole").chain);
    let ours = Reader::open(Arc::clone(&copy)).expect("a journal");
    assert!(matches!(
        ours.read(Lsn::FIRST).err(),
        Some(Error::Retired { .. })
    ));
    both_readers_agree(&copy);
    let again = Journal::open(copy, &small_segments()).expect("opened");
    assert_eq!(again.recovery.oldest, from);
}
