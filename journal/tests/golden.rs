// SPDX-License-Identifier: GPL-3.0-or-later
//! Journals of every released format, as committed bytes. They open forever.
//!
//! For the newest format the test also builds the same journal again and compares the bytes, so
//! the writer can not drift away from the format unseen. `TABLAO_BLESS_GOLDEN=1` writes what is
//! missing; a released folder is never written again.
mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use tablao_journal::{
    Authority, Draft, FileStore, Journal, KIND_MAY_BE_SKIPPED, Lsn, MemoryFiles, Mirror,
    MirrorOptions, OpenOptions, Reader, RecordDraft, erase_details,
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn load(folder: &Path) -> MemoryFiles {
    let memory = MemoryFiles::new();
    for entry in std::fs::read_dir(folder).expect("the golden folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        memory.put(name, &std::fs::read(&path).expect("read"));
    }
    memory
}

/// A journal with everything format 1 has: several segments, an incarnation change, both
/// authorities, details, an erased one, kinds that may be skipped, batches of several decisions.
fn build_format_1() -> MemoryFiles {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let options = |incarnation| OpenOptions {
        segment_bytes: 1500,
        incarnation: Some(incarnation),
        ..options()
    };
    for (incarnation, numbers) in [(1, 0..10), (4, 10..16)] {
        let mut journal = open(&files, &options(incarnation)).journal;
        for number in numbers {
            let control = Draft {
                time_us: NOW_US + number * 1000 + 7,
                records: vec![RecordDraft {
                    kind: 3 | KIND_MAY_BE_SKIPPED,
                    version: 2,
                    authority: Authority::Control,
                    ..record(0, &[number as u8; 40], Some(b"a name"))
                }],
            };
            journal
                .commit(journal.next_lsn(), &[&draft(number, 3), &control])
                .expect("committed");
        }
        journal.close().expect("closed");
    }
    let erased = erase_details(files.as_ref(), |lsn| lsn.get() % 8 == 0).expect("erased");
    assert!(erased > 1);
    memory
}

fn build_format_1_mirror() -> MemoryFiles {
    let reader = Reader::open(Arc::new(build_format_1())).expect("a journal");
    let memory = MemoryFiles::new();
    let options = MirrorOptions {
        segment_bytes: 2000,
        ..MirrorOptions::new(ID, NOW_US)
    };
    let (mut mirror, _) = Mirror::open(Arc::new(memory.clone()), &options).expect("opened");
    while mirror.position() < reader.verify().expect("whole").next {
        let raw = reader
            .read_raw(mirror.position(), Lsn::MAX, 1000)
            .expect("read");
        mirror.append(&raw.bytes).expect("taken over");
    }
    mirror.close().expect("closed");
    memory
}

fn check(name: &str, built: &MemoryFiles) {
    let folder = golden(name);
    if std::env::var_os("TABLAO_BLESS_GOLDEN").is_some() && !folder.exists() {
        std::fs::create_dir_all(&folder).expect("made");
        for file in built.list().expect("listed") {
            std::fs::write(folder.join(&file), built.bytes(&file).expect("there")).expect("kept");
        }
    }
    let memory = load(&folder);
    assert_eq!(
        memory.list().expect("listed"),
        built.list().expect("listed")
    );
    for file in built.list().expect("listed") {
        assert_eq!(memory.bytes(&file), built.bytes(&file), "{file} of {name}");
    }
}

/// The chain value of the golden journal, written down once: neither code nor bytes may change it.
const FORMAT_1_CHAIN: &str = "419b7ffe963609360df3032be7313be479fc6d831c0a838caa40a267bd0b0bab";

/// What was written by 0.1 is read, verified by both readers, and continued.
#[test]
fn format_1_opens_forever() {
    check("format-1", &build_format_1());
    let memory = load(&golden("format-1"));
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let verified = both_readers_agree(&files);
    assert_eq!(verified.chain.to_string(), FORMAT_1_CHAIN);
    assert_eq!((verified.records, verified.incarnation), (64, 4));
    assert!(verified.clean);
    let records = read_all(&files);
    let erased: Vec<_> = records
        .iter()
        .filter(|record| record.flags.erased())
        .collect();
    assert_eq!(erased.len(), 8);
    for record in erased {
        assert_eq!(record.detail, None);
        assert_eq!(
            record.detail_hash,
            Some(*blake3::hash(b"a name").as_bytes())
        );
        assert!(record.may_be_skipped());
    }
    let opened = Journal::open(files, &options()).expect("opened");
    assert!(opened.recovery.clean);
    let mut journal = opened.journal;
    commit(&mut journal, &draft(100, 1));
}

/// A mirror has other segments and the same chain.
#[test]
fn a_mirror_of_format_1_opens_forever() {
    check("format-1-mirror", &build_format_1_mirror());
    let files: Arc<dyn FileStore> = Arc::new(load(&golden("format-1-mirror")));
    let verified = both_readers_agree(&files);
    assert_eq!(verified.chain.to_string(), FORMAT_1_CHAIN);
}

/// Segments that were packed by something else than this crate, from FORMAT.md alone and in
/// blocks of another size, are read, verified, unpacked for an erasure, and continued.
#[test]
fn format_2_opens_forever() {
    let memory = load(&golden("format-2"));
    let names = memory.list().expect("listed");
    let formats: Vec<u8> = names
        .iter()
        .filter(|name| name.ends_with(".seg"))
        .map(|name| memory.bytes(name).expect("there")[8])
        .collect();
    assert_eq!(formats, [2, 2, 1], "all but the newest are packed");
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let verified = both_readers_agree(&files);
    assert_eq!(verified.chain.to_string(), FORMAT_1_CHAIN);
    let plain: Arc<dyn FileStore> = Arc::new(load(&golden("format-1")));
    assert_eq!(read_all(&files), read_all(&plain));
    let erased = erase_details(files.as_ref(), |lsn| lsn.get() == 2).expect("erased");
    assert_eq!(erased, 1);
    let opened = Journal::open(Arc::clone(&files), &options()).expect("opened");
    assert!(opened.recovery.clean);
    let mut journal = opened.journal;
    commit(&mut journal, &draft(100, 1));
    assert_eq!(both_readers_agree(&files).records, 65);
}
