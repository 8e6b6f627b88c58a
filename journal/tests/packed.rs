// SPDX-License-Identifier: GPL-3.0-or-later
//! Packed and cold segments: the same journal for every reader, whatever went wrong on the way.
mod common;

use std::sync::Arc;

use common::*;
use tablao_journal::{
    Error, FaultPlan, FaultyFiles, FileStore, JournalId, Lsn, MemoryFiles, Mirror, MirrorOptions,
    PowerLoss, Reader, RealFiles, Report, copy_journal, erase_details, move_cold, pack_sealed,
    raise_incarnation, retirable,
};

const FIRST_SEGMENT: &str = "00000000000000000001.seg";

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

fn segment_names(files: &dyn FileStore) -> Vec<String> {
    let mut names = files.list().expect("listed");
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    names
}

/// Packing changes the size and nothing that anybody reads: both readers find the same records
/// and chain, any position can be read alone, and a second packing finds nothing to do.
#[test]
fn a_packed_journal_is_the_same_journal() {
    let (memory, files) = journal_of_segments();
    let (before, verified) = (read_all(&files), both_readers_agree(&files));
    let packed = pack_sealed(&files).expect("packed");
    let segments = segment_names(files.as_ref()).len();
    assert!(segments > 3, "several segments are needed");
    assert_eq!(packed.segments, segments - 1);
    assert!(packed.bytes_after < packed.bytes_before);
    assert_eq!(
        memory.bytes(FIRST_SEGMENT).expect("there")[8],
        2,
        "it is of format 2"
    );
    assert_eq!(read_all(&files), before);
    assert_eq!(both_readers_agree(&files), verified);
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    for from in [1, 2, 50, 99, 180] {
        let first = reader
            .records(Lsn::new(from))
            .expect("there")
            .next()
            .expect("a record")
            .expect("whole");
        assert_eq!(first, before[from as usize - 1]);
    }
    assert_eq!(pack_sealed(&files).expect("nothing").segments, 0);
    let info = reader.info().expect("described");
    assert!(info.bytes < packed.bytes_before, "info tells sizes on disk");
    // It opens for writing and goes on.
    let mut journal = open(&files, &small_segments()).journal;
    commit(&mut journal, &draft(99, 1));
}

/// What serves mirrors and copies reads packed segments as it reads plain ones.
#[test]
fn mirrors_and_copies_are_fed_from_packed_segments() {
    let (_, files) = journal_of_segments();
    pack_sealed(&files).expect("packed");
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    let mirror_files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let options = MirrorOptions {
        segment_bytes: 1500,
        ..MirrorOptions::new(ID, NOW_US)
    };
    let (mut mirror, _) = Mirror::open(Arc::clone(&mirror_files), &options).expect("begun");
    loop {
        let raw = reader
            .read_raw(mirror.position(), Lsn::MAX, 3000)
            .expect("read");
        if raw.bytes.is_empty() {
            break;
        }
        mirror.append(&raw.bytes).expect("taken over");
    }
    let verified = reader.verify().expect("whole");
    assert_eq!(
        (mirror.position(), mirror.chain()),
        (verified.next, verified.chain)
    );
    mirror.close().expect("closed");
    pack_sealed(&mirror_files).expect("packed");
    assert_eq!(both_readers_agree(&mirror_files).chain, verified.chain);

    let copy: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let copied = copy_journal(&files, &copy).expect("copied");
    assert_eq!(copied.verified, verified);
    assert!(matches!(
        copy_journal(&files, &copy),
        Err(Error::Occupied(JournalId(_)))
    ));
    assert_eq!(
        raise_incarnation(Arc::clone(&copy), NOW_US, 0).expect("risen"),
        2
    );
    assert_eq!(both_readers_agree(&copy).incarnation, 2);
}

/// A copy made beside a live writer ends at a batch, has everything that was acknowledged before
/// it began, and none of the reserve.
#[test]
fn a_copy_beside_a_live_writer_is_a_verified_prefix() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder.path()).expect("made"));
    let options = small_segments();
    let (sender, receiver) = std::sync::mpsc::channel();
    let handle = open(&files, &options)
        .journal
        .start(move |report: Report<()>| {
            if let Report::Durable(durable) = report {
                let _ = sender.send(durable.last);
            }
        })
        .expect("started");
    for round in 0..10 {
        for number in 0..60 {
            let draft = draft(round * 60 + number, 2);
            handle.append_next(draft, ()).expect("taken");
        }
        // The first of them are durable; the writer may be busy with the others.
        let acknowledged = receiver.recv().expect("one is durable");
        let copy: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
        let copied = copy_journal(&files, &copy).expect("copied");
        assert!(copied.verified.next > acknowledged);
        assert_eq!(copied.verified.unfinished_tail, None);
    }
    handle.close().expect("closed");
    drop(handle);
    // The writer packed what it sealed, or the next one will.
    pack_sealed(&files).expect("packed");
    assert_eq!(both_readers_agree(&files).next, Lsn::new(1201));
}

/// Killed, torn or frozen at any call while it packs, the journal is whole and the same, and the
/// next packing finishes.
#[test]
fn a_crash_while_packing_leaves_each_segment_plain_or_packed() {
    let (whole, files) = journal_of_segments();
    let before = both_readers_agree(&files);
    let counted = |plan| {
        let memory = whole.after(PowerLoss::ProcessOnly);
        let faulty = FaultyFiles::new(Arc::new(memory.clone()), plan);
        let files: Arc<dyn FileStore> = Arc::new(faulty.clone());
        let outcome = pack_sealed(&files);
        (memory, faulty, outcome)
    };
    let (_, faulty, _) = counted(FaultPlan::default());
    let (calls, mut failed) = (faulty.calls(), 0);
    assert!(calls > 15);
    for call in 1..=calls {
        for tear in [false, true] {
            let plan = FaultPlan {
                fail_call: Some(call),
                tear,
                ..FaultPlan::default()
            };
            let (memory, _, outcome) = counted(plan);
            failed += u64::from(outcome.is_err());
            for loss in [
                PowerLoss::ProcessOnly,
                PowerLoss::UnsyncedLost,
                PowerLoss::Torn { seed: call },
            ] {
                let left: Arc<dyn FileStore> = Arc::new(memory.after(loss));
                let mut opened = open(&left, &small_segments());
                assert_eq!(opened.recovery.chain, before.chain, "call {call}, {loss:?}");
                commit(&mut opened.journal, &draft(1, 1));
                pack_sealed(&left).expect("packed");
                let verified = Reader::open(left).and_then(|reader| reader.verify());
                assert_eq!(verified.expect("whole").records, before.records + 1);
            }
        }
    }
    assert!(failed > 20, "only {failed} packings failed");
}

/// A full disk while packing costs nothing but the packing, and leaves no half file behind.
#[test]
fn a_full_disk_leaves_segments_plain() {
    let (memory, files) = journal_of_segments();
    let before = read_all(&files);
    let full: Arc<dyn FileStore> = Arc::new(FaultyFiles::new(
        Arc::new(memory.clone()),
        FaultPlan {
            space_bytes: Some(100),
            ..FaultPlan::default()
        },
    ));
    let error = pack_sealed(&full).expect_err("full");
    assert!(error.is_storage_full(), "{error}");
    let names = memory.list().expect("listed");
    assert!(
        names.iter().all(|name| !name.ends_with(".new")),
        "{names:?}"
    );
    assert_eq!(read_all(&files), before);
}

/// Damage is never packed over, and a detail can be erased from a packed segment.
#[test]
fn damage_is_left_alone_and_details_go_from_packed_segments() {
    let (memory, files) = journal_of_segments();
    let whole = memory.bytes(FIRST_SEGMENT).expect("there");
    let mut damaged = whole.clone();
    damaged[700] ^= 1;
    memory.put(FIRST_SEGMENT, &damaged);
    assert!(matches!(pack_sealed(&files), Err(Error::Damage(_))));
    assert_eq!(memory.bytes(FIRST_SEGMENT), Some(damaged));
    memory.put(FIRST_SEGMENT, &whole);

    pack_sealed(&files).expect("packed");
    let before = both_readers_agree(&files);
    let changed = erase_details(files.as_ref(), |lsn| lsn == Lsn::new(2)).expect("erased");
    assert_eq!(changed, 1);
    let after = both_readers_agree(&files);
    assert_eq!(after.chain, before.chain);
    assert!(read_all(&files)[1].flags.erased());
    assert_eq!(pack_sealed(&files).expect("packed again").segments, 1);
    assert_eq!(both_readers_agree(&files).chain, before.chain);
}

/// Cold segments are read from where they are; a cold folder that is gone is an error and not a
/// journal that begins later.
#[test]
fn cold_segments_are_read_back_and_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, cold) = (folder.path().join("journal"), folder.path().join("cold"));
    let open_again =
        || -> Arc<dyn FileStore> { Arc::new(RealFiles::create(&journal).expect("made")) };
    let files = open_again();
    let mut writer = open(&files, &small_segments()).journal;
    for number in 0..60 {
        commit(&mut writer, &draft(number, 3));
    }
    writer.close().expect("closed");
    pack_sealed(&files).expect("packed");
    let (before, verified) = (read_all(&files), both_readers_agree(&files));
    let segments = segment_names(files.as_ref());
    let moved = move_cold(&journal, &cold).expect("moved");
    assert_eq!(moved.segments, segments.len() - 1);
    let files = open_again();
    assert_eq!(segment_names(files.as_ref()), segments);
    assert_eq!(read_all(&files), before);
    assert_eq!(both_readers_agree(&files), verified);
    let (theirs, code) = python_reads(&journal);
    assert_eq!(
        (code, &theirs["chain"]),
        (0, &verified.chain.to_string().into())
    );
    // It goes on, and what is sealed next can follow.
    let mut writer = open(&files, &small_segments()).journal;
    for number in 60..90 {
        commit(&mut writer, &draft(number, 3));
    }
    writer.close().expect("closed");
    assert!(move_cold(&journal, &cold).expect("moved").segments > 0);
    assert!(move_cold(&journal, &folder.path().join("other")).is_err());
    std::fs::rename(&cold, folder.path().join("away")).expect("renamed");
    assert!(matches!(
        Reader::open(open_again()).and_then(|reader| reader.verify()),
        Err(Error::Io { .. })
    ));
    assert!(tablao_journal::Journal::open(open_again(), &small_segments()).is_err());
}

/// A mirror that is asked to packs what it has sealed beside its work, and goes on meanwhile with
/// the original's chain.
#[test]
fn a_mirror_packs_what_it_has_sealed() {
    let (_, files) = journal_of_segments();
    let reader = Reader::open(files).expect("a journal");
    let memory = MemoryFiles::new();
    let mirror_files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let options = MirrorOptions {
        segment_bytes: 1500,
        ..MirrorOptions::new(ID, NOW_US)
    };
    let (mut mirror, _) = Mirror::open(Arc::clone(&mirror_files), &options).expect("begun");
    let raw = reader.read_raw(Lsn::FIRST, Lsn::MAX, 3000).expect("read");
    mirror.append(&raw.bytes).expect("taken over");
    mirror.pack_sealed(Arc::clone(&mirror_files));
    // With this the segment is sealed.
    let raw = reader.read_raw(raw.next, Lsn::MAX, 3000).expect("read");
    mirror.append(&raw.bytes).expect("taken over");
    let sealed = retirable(&memory).expect("listed");
    assert!(!sealed.is_empty(), "nothing was sealed");
    let begun = std::time::Instant::now();
    // Only a packed segment has format 2, in the two bytes behind its magic.
    let is_packed = |memory: &MemoryFiles| {
        let first = memory.bytes("00000000000000000001.seg").expect("there");
        first[8..10] == [2, 0]
    };
    while !is_packed(&memory) {
        assert!(begun.elapsed().as_secs() < 120, "it is never packed");
        std::thread::yield_now();
    }
    let rest = reader.read_raw(raw.next, Lsn::MAX, usize::MAX);
    mirror.append(&rest.expect("read").bytes).expect("goes on");
    mirror.close().expect("closed");
    let verified = reader.verify().expect("whole");
    assert_eq!(both_readers_agree(&mirror_files).chain, verified.chain);
}
