// SPDX-License-Identifier: GPL-3.0-or-later
//! Reading beside a live writer, within limits, and after details were erased.
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use tablao_journal::{
    Access, Error, FileStore, Journal, Lsn, MemoryFiles, OpenOptions, Reader, RealFiles,
    erase_details,
};

/// A follower beside a writer that rotates all the time sees every record once, in order, and
/// nothing that is not whole; `verify` beside it never cries damage.
#[test]
fn a_follower_beside_a_live_writer_sees_every_record_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder.path()).expect("made"));
    let mut journal = open(&files, &small_segments()).journal;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..400 {
                commit(&mut journal, &draft(number, 3));
            }
            done.store(true, Ordering::Release);
        });
        let reading: Arc<dyn FileStore> = Arc::new(RealFiles::existing(folder.path()));
        let reader = Reader::open(reading).expect("a journal");
        let mut cursor = reader.read(Lsn::FIRST).expect("the beginning");
        let mut seen = Lsn::FIRST;
        loop {
            let finished = done.load(Ordering::Acquire);
            while let Some(batch) = cursor.next_batch().expect("never damage") {
                assert_eq!(batch.first, seen);
                seen = batch.last.next();
            }
            assert!(reader.verify().expect("never damage").next >= seen);
            // Replication asks anew each time.
            let raw = reader.read_raw(seen, Lsn::MAX, 5000).expect("never damage");
            assert_eq!(raw.first, seen);
            if finished {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(seen, Lsn::new(1201));
    });
    assert!(files.list().expect("listed").len() > 5);
}

/// A reader waiting in an empty journal goes on when the journal is opened anew in a higher
/// incarnation, which replaces the file it had open.
#[test]
fn a_waiting_reader_survives_a_new_incarnation() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder.path()).expect("made"));
    drop(open(&files, &options()));
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    let mut cursor = reader.read(Lsn::FIRST).expect("the beginning");
    assert!(cursor.next_batch().expect("nothing yet").is_none());
    let risen = OpenOptions {
        incarnation: Some(2),
        ..options()
    };
    let mut journal = open(&files, &risen).journal;
    commit(&mut journal, &draft(1, 2));
    let batch = cursor.next_batch().expect("whole").expect("there");
    assert_eq!((batch.incarnation, batch.last), (2, Lsn::new(2)));
}

/// Nothing beyond the durable position is handed out to those who are given it as their limit.
#[test]
fn a_limit_holds_back_whole_batches() {
    let files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let mut journal = open(&files, &small_segments()).journal;
    for number in 0..10 {
        commit(&mut journal, &draft(number, 2));
    }
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    for (limit, reached) in [(0, 1), (1, 1), (2, 3), (7, 7), (20, 21), (99, 21)] {
        let raw = reader
            .read_raw(Lsn::FIRST, Lsn::new(limit), usize::MAX)
            .expect("read");
        assert_eq!(raw.next, Lsn::new(reached), "limit {limit}");
    }
    let mut cursor = reader.read(Lsn::FIRST).expect("the beginning");
    cursor.set_limit(Lsn::new(4));
    let mut count = 0;
    while cursor.next_batch().expect("whole").is_some() {
        count += 1;
    }
    assert_eq!(count, 2);
    cursor.set_limit(Lsn::MAX);
    assert_eq!(
        cursor.next_batch().expect("whole").map(|batch| batch.first),
        Some(Lsn::new(5))
    );
    // A portion is at least one batch, however small the portion is meant to be.
    let raw = reader.read_raw(Lsn::new(6), Lsn::MAX, 1).expect("read");
    assert_eq!((raw.first, raw.next), (Lsn::new(5), Lsn::new(7)));
    assert_eq!(reader.chain_before(Lsn::new(6)).expect("found"), None);
}

/// A cursor that meets damage says so instead of ending as if the journal did.
#[test]
fn a_cursor_does_not_take_damage_for_the_end() {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(&files, &options()).journal;
    for number in 0..5 {
        commit(&mut journal, &draft(number, 2));
    }
    let name = "00000000000000000001.seg";
    let mut bytes = memory.bytes(name).expect("there");
    let written = bytes.iter().rposition(|&byte| byte != 0).expect("batches");
    bytes[written / 2] ^= 1;
    memory.put(name, &bytes);
    let reader = Reader::open(files).expect("a journal");
    let outcome: Result<Vec<_>, _> = reader.records(Lsn::FIRST).expect("the beginning").collect();
    assert!(matches!(outcome, Err(Error::Damage(_))));
    assert!(matches!(
        Reader::open(Arc::new(MemoryFiles::new())).err(),
        Some(Error::NoJournal)
    ));
}

/// A reader never writes: it works on files that nobody may write, and changes none.
#[test]
fn readers_open_files_for_reading_only() {
    struct ReadOnly(MemoryFiles);
    impl FileStore for ReadOnly {
        fn list(&self) -> std::io::Result<Vec<String>> {
            self.0.list()
        }
        fn create(&self, _: &str) -> std::io::Result<Box<dyn tablao_journal::StoreFile>> {
            panic!("a reader created a file")
        }
        fn open(
            &self,
            name: &str,
            access: Access,
        ) -> std::io::Result<Box<dyn tablao_journal::StoreFile>> {
            assert_eq!(access, Access::Read);
            self.0.open(name, access)
        }
        fn remove(&self, _: &str) -> std::io::Result<()> {
            panic!("a reader removed a file")
        }
        fn rename(&self, _: &str, _: &str) -> std::io::Result<()> {
            panic!("a reader renamed a file")
        }
        fn sync_dir(&self) -> std::io::Result<()> {
            panic!("a reader synced a folder")
        }
    }
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(&files, &small_segments()).journal;
    for number in 0..30 {
        commit(&mut journal, &draft(number, 2));
    }
    // A torn tail tempts a reader to repair it.
    let newest = memory.list().expect("listed").pop().expect("a segment");
    let mut bytes = memory.bytes(&newest).expect("there");
    bytes.extend_from_slice(b"torn");
    memory.put(&newest, &bytes);
    let reader = Reader::open(Arc::new(ReadOnly(memory.clone()))).expect("a journal");
    assert_eq!(reader.records(Lsn::FIRST).expect("found").count(), 60);
    assert!(reader.verify().expect("whole").unfinished_tail.is_some());
    assert_eq!(reader.info().expect("described").last, Lsn::new(60));
}

/// Erasing a detail takes it away from every byte on disk and changes nothing that was proven.
#[test]
fn an_erased_detail_leaves_its_hash_and_the_chain() {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(&files, &small_segments()).journal;
    for number in 0..40 {
        commit(&mut journal, &draft(number, 2));
    }
    journal.close().expect("closed");
    let before = read_all(&files);
    let chain = both_readers_agree(&files).chain;
    let erased = |lsn: Lsn| lsn.get().is_multiple_of(4);
    assert!(erase_details(files.as_ref(), erased).expect("erased") > 2);
    assert_eq!(
        erase_details(files.as_ref(), erased).expect("nothing left"),
        0
    );
    assert_eq!(both_readers_agree(&files).chain, chain);
    let after = read_all(&files);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old.facts, new.facts);
        assert_eq!(old.detail_hash, new.detail_hash);
        assert_eq!(new.flags.erased(), erased(new.lsn));
        assert_eq!(
            new.detail.is_none(),
            erased(new.lsn) || old.detail.is_none()
        );
    }
    for name in memory.list().expect("listed") {
        let bytes = memory.bytes(&name).expect("there");
        let gone = b"detail 1.1";
        assert!(
            !bytes.windows(gone.len()).any(|window| window == gone),
            "{name}"
        );
    }
    // It still opens clean, and goes on.
    let opened = Journal::open(Arc::clone(&files), &small_segments()).expect("opened");
    assert!(opened.recovery.clean);
    let mut journal = opened.journal;
    commit(&mut journal, &draft(41, 1));
    both_readers_agree(&files);
}
