// SPDX-License-Identifier: GPL-3.0-or-later
//! The verdict table of FORMAT.md, row by row: what is cut, what is refused, what is said.
mod common;

use std::sync::Arc;

use common::*;
use tablao_journal::{
    Damage, Error, FileStore, Journal, Lsn, MemoryFiles, Mirror, MirrorOptions, OpenOptions, Reader,
};

const FIRST_SEGMENT: &str = "00000000000000000001.seg";

/// A journal of `decisions` single batches that was not closed, and where each batch begins. It
/// has no reserve: a machine that lost power may never have had it on its disk.
fn unclosed(decisions: u64) -> (MemoryFiles, Vec<usize>) {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let mut journal = open(&files, &options()).journal;
    let mut starts = Vec::new();
    for number in 0..decisions {
        starts.push(written(&memory, FIRST_SEGMENT).len());
        commit(&mut journal, &draft(number, 2));
    }
    drop(journal);
    let bytes = written(&memory, FIRST_SEGMENT);
    starts.push(bytes.len());
    memory.put(FIRST_SEGMENT, &bytes);
    (memory, starts)
}

fn shared(memory: &MemoryFiles) -> Arc<dyn FileStore> {
    Arc::new(memory.clone())
}

fn change(memory: &MemoryFiles, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = memory.bytes(name).expect("there");
    change(&mut bytes);
    memory.put(name, &bytes);
}

/// Opening refuses, names the place, changes nothing, and every reader says the same.
fn refused(memory: &MemoryFiles, options: &OpenOptions) -> Damage {
    let contents = |memory: &MemoryFiles| {
        let names = memory.list().expect("listed");
        let bytes: Vec<_> = names.iter().map(|name| memory.bytes(name)).collect();
        (names, bytes)
    };
    let before = contents(memory);
    let error = Journal::open(shared(memory), options)
        .err()
        .expect("refused");
    let Error::Damage(damage) = error else {
        panic!("{error:?}");
    };
    assert_eq!(contents(memory), before, "a refusal changed something");
    let verified = Reader::open(shared(memory)).and_then(|reader| reader.verify());
    match verified {
        Err(Error::Damage(found)) => assert_eq!(found, damage),
        other => panic!("{other:?}"),
    }
    let (theirs, code) = python_reads(dump(memory).path());
    assert_eq!((code, theirs["damage"].is_object()), (3, true), "{theirs}");
    damage
}

/// Row "any flaw, no proof": wherever the newest batch is cut, exactly it goes, its bytes are
/// kept, and the journal goes on from there.
#[test]
fn a_torn_tail_is_cut_kept_and_reported() {
    for decisions in [1, 3] {
        let (whole, starts) = unclosed(decisions);
        let (last, end) = (starts[decisions as usize - 1], starts[decisions as usize]);
        for cut in last + 1..end {
            let memory = MemoryFiles::new();
            let bytes = whole.bytes(FIRST_SEGMENT).expect("there");
            memory.put(FIRST_SEGMENT, &bytes[..cut]);
            let files = shared(&memory);
            let unfinished = Reader::open(Arc::clone(&files)).and_then(|reader| reader.verify());
            assert!(unfinished.expect("not damage").unfinished_tail.is_some());
            let mut opened = open(&files, &options());
            let torn = opened.recovery.torn.expect("reported");
            let lsn = Lsn::new((decisions - 1) * 2 + 1);
            assert_eq!(
                (torn.offset, torn.bytes),
                (last as u64, (cut - last) as u64)
            );
            assert_eq!((torn.lsn, opened.recovery.next_lsn), (lsn, lsn));
            assert!(!opened.recovery.clean);
            let kept = memory.bytes(&torn.kept_in.expect("kept")).expect("there");
            assert_eq!(kept, bytes[last..cut]);
            commit(&mut opened.journal, &draft(77, 1));
            drop(opened.journal);
            assert!(open(&files, &options()).recovery.torn.is_none());
            assert_eq!(read_all(&files).len() as u64, (decisions - 1) * 2 + 1);
        }
    }
}

/// The same for wrong bytes instead of missing ones, in every byte of the last batch.
#[test]
fn a_garbled_last_batch_is_a_torn_tail() {
    let (whole, starts) = unclosed(3);
    for at in starts[2]..starts[3] {
        let memory = MemoryFiles::new();
        memory.put(FIRST_SEGMENT, &whole.bytes(FIRST_SEGMENT).expect("there"));
        change(&memory, FIRST_SEGMENT, |bytes| bytes[at] ^= 0x10);
        let recovery = open(&shared(&memory), &options()).recovery;
        assert_eq!(
            recovery.torn.map(|torn| torn.offset),
            Some(starts[2] as u64)
        );
        assert_eq!(recovery.next_lsn, Lsn::new(5));
    }
}

/// Two crashes at the same place must not cost the bytes that the first one left.
#[test]
fn the_kept_bytes_of_an_earlier_crash_stay() {
    let (memory, starts) = unclosed(2);
    for round in 0..3_u8 {
        change(&memory, FIRST_SEGMENT, |bytes| {
            bytes.truncate(starts[2]);
            bytes.extend_from_slice(&[round + 1; 9]);
        });
        let torn = open(&shared(&memory), &options())
            .recovery
            .torn
            .expect("torn");
        let kept = torn.kept_in.expect("kept");
        assert_eq!(memory.bytes(&kept), Some(vec![round + 1; 9]));
    }
    let kept = memory.list().expect("listed");
    assert_eq!(
        kept.iter().filter(|name| name.starts_with("torn-")).count(),
        3
    );
}

/// Row "only zeros": a file system that had grown the file is not a loss worth a file.
#[test]
fn zeros_at_the_end_are_a_clean_end() {
    let (memory, starts) = unclosed(2);
    change(&memory, FIRST_SEGMENT, |bytes| {
        bytes.resize(starts[2] + 5000, 0)
    });
    let opened = open(&shared(&memory), &options());
    assert_eq!(opened.recovery.torn.and_then(|torn| torn.kept_in), None);
    assert_eq!(opened.recovery.next_lsn, Lsn::new(5));
    assert_eq!(
        memory.bytes(FIRST_SEGMENT).map(|b| b.len()),
        Some(starts[2])
    );
}

/// Row "any flaw, with proof": a flipped bit anywhere before the last batch is damage, never a
/// tail, also in a length field, and the place is named.
#[test]
fn a_flaw_with_acknowledged_batches_behind_it_is_damage() {
    let (whole, starts) = unclosed(3);
    for at in (starts[0]..starts[2]).step_by(11) {
        let memory = MemoryFiles::new();
        memory.put(FIRST_SEGMENT, &whole.bytes(FIRST_SEGMENT).expect("there"));
        change(&memory, FIRST_SEGMENT, |bytes| bytes[at] ^= 0x40);
        let damage = refused(&memory, &options());
        let batch = usize::from(at >= starts[1]);
        assert_eq!(damage.segment, FIRST_SEGMENT);
        assert_eq!(damage.offset, starts[batch] as u64, "byte {at}");
        assert_eq!(damage.lsn, Lsn::new(batch as u64 * 2 + 1));
    }
}

/// A hole of zeros in acknowledged bytes is damage as well, not a clean end.
#[test]
fn zeros_in_the_middle_are_damage() {
    let (memory, starts) = unclosed(3);
    change(&memory, FIRST_SEGMENT, |bytes| {
        bytes[starts[1]..starts[2]].fill(0)
    });
    assert_eq!(refused(&memory, &options()).offset, starts[1] as u64);
}

/// After an orderly close even the last batch is covered: cut, garbled or gone is damage.
#[test]
fn the_clean_mark_covers_the_last_batch() {
    let closed = || {
        let (memory, starts) = unclosed(3);
        open(&shared(&memory), &options())
            .journal
            .close()
            .expect("closed");
        (memory, starts)
    };
    let (memory, starts) = closed();
    assert!(open(&shared(&memory), &options()).recovery.clean);
    change(&memory, FIRST_SEGMENT, |bytes| {
        bytes.truncate(starts[3] - 1)
    });
    assert_eq!(refused(&memory, &options()).offset, starts[2] as u64);
    let (memory, starts) = closed();
    change(&memory, FIRST_SEGMENT, |bytes| bytes.truncate(starts[2]));
    assert_eq!(refused(&memory, &options()).lsn, Lsn::new(5));
    let (memory, starts) = closed();
    change(&memory, FIRST_SEGMENT, |bytes| bytes[starts[3] - 1] ^= 1);
    assert_eq!(refused(&memory, &options()).offset, starts[2] as u64);
    // No segment at all, and the mark says there was one.
    let (memory, _) = closed();
    memory.remove(FIRST_SEGMENT).expect("removed");
    let gone = Journal::open(shared(&memory), &options()).err();
    assert!(matches!(gone, Some(Error::Damage(_))));
    // Another history of the same length.
    let (memory, starts) = closed();
    let (other, _) = unclosed(2);
    let mut journal = open(&shared(&other), &options()).journal;
    commit(&mut journal, &draft(99, 2));
    memory.put(FIRST_SEGMENT, &other.bytes(FIRST_SEGMENT).expect("there"));
    assert_eq!(refused(&memory, &options()).lsn, Lsn::new(7));
    assert!(starts.len() == 4);
}

/// A crash behind the mark is a crash: unclean, and nothing of before it is doubted.
#[test]
fn a_torn_tail_behind_the_clean_mark_is_cut() {
    let (memory, starts) = unclosed(2);
    open(&shared(&memory), &options())
        .journal
        .close()
        .expect("closed");
    let mut journal = open(&shared(&memory), &options()).journal;
    commit(&mut journal, &draft(5, 1));
    change(&memory, FIRST_SEGMENT, |bytes| {
        bytes.truncate(starts[2] + 60)
    });
    let recovery = open(&shared(&memory), &options()).recovery;
    assert_eq!((recovery.clean, recovery.next_lsn), (false, Lsn::new(5)));
    assert!(recovery.torn.is_some());
}

/// One write of several batches, of which the power loss took an earlier one: none of them was
/// acknowledged, so it is a torn tail although a whole batch follows.
#[test]
fn a_later_batch_of_the_same_write_proves_nothing() {
    let memory = MemoryFiles::new();
    let files = shared(&memory);
    let mut journal = open(&files, &options()).journal;
    commit(&mut journal, &draft(1, 1));
    let before = written(&memory, FIRST_SEGMENT).len();
    let large = |number| {
        let mut large = draft(number, 1);
        large.records[0].facts = vec![number as u8; 700_000];
        large
    };
    journal
        .commit(Lsn::new(2), &[&large(2), &large(3)])
        .expect("two batches");
    change(&memory, FIRST_SEGMENT, |bytes| bytes[before + 5000] ^= 1);
    let recovery = open(&files, &options()).recovery;
    assert_eq!(recovery.next_lsn, Lsn::new(2));
    assert_eq!(recovery.torn.map(|torn| torn.bytes > 1_400_000), Some(true));
}

/// Nothing wrong in a sealed segment is ever cut; the sequence of segments is checked at every
/// open, and their content on request.
#[test]
fn anything_wrong_in_a_sealed_segment_is_damage() {
    let build = || {
        let memory = MemoryFiles::new();
        let mut journal = open(&shared(&memory), &small_segments()).journal;
        for number in 0..60 {
            commit(&mut journal, &draft(number, 2));
        }
        memory
    };
    let everything = OpenOptions {
        verify_everything: true,
        ..small_segments()
    };
    let memory = build();
    change(&memory, FIRST_SEGMENT, |bytes| bytes[1000] ^= 1);
    assert_eq!(refused(&memory, &everything).segment, FIRST_SEGMENT);
    // The seal, cut or garbled, at every open.
    for wrong in [0, 40, 63] {
        let memory = build();
        change(&memory, FIRST_SEGMENT, |bytes| {
            let at = bytes.len() - 64 + wrong;
            bytes[at] ^= 1;
        });
        assert_eq!(refused(&memory, &small_segments()).segment, FIRST_SEGMENT);
    }
    let memory = build();
    let second = memory.list().expect("listed")[1].clone();
    change(&memory, &second, |bytes| bytes[50] ^= 1);
    assert_eq!(refused(&memory, &small_segments()).offset, 0);
    let memory = build();
    memory.remove(&second).expect("removed");
    let third = memory.list().expect("listed")[1].clone();
    assert_eq!(refused(&memory, &small_segments()).segment, third);
}

/// A newer format is not damage, and an older tablao must keep its hands off it.
#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (memory, starts) = unclosed(1);
    change(&memory, FIRST_SEGMENT, |bytes| {
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..124]);
        bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
    });
    let before = memory.bytes(FIRST_SEGMENT);
    let error = Journal::open(shared(&memory), &options())
        .err()
        .expect("refused");
    assert!(matches!(
        error,
        Error::NewerFormat {
            found: 2,
            known: 1,
            ..
        }
    ));
    assert!(error.to_string().contains("at least as new"));
    assert_eq!(memory.bytes(FIRST_SEGMENT), before);
    assert_eq!(python_reads(dump(&memory).path()).1, 1);
    // A codec that only a later release writes, under right checksums.
    let (memory, _) = unclosed(2);
    change(&memory, FIRST_SEGMENT, |bytes| {
        let at = starts[0];
        bytes[at + 40] = 1;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&ID.0), &bytes[at..at + 44]);
        bytes[at + 44..at + 48].copy_from_slice(&checksum.to_le_bytes());
    });
    let error = Journal::open(shared(&memory), &options())
        .err()
        .expect("refused");
    assert!(matches!(error, Error::NewerFormat { .. }));
}

/// A crash between sealing a segment and making the next one leaves a sealed newest segment.
#[test]
fn a_sealed_newest_segment_is_continued_in_the_next() {
    let memory = MemoryFiles::new();
    let mut journal = open(&shared(&memory), &small_segments()).journal;
    while memory.list().expect("listed").len() < 2 {
        commit(&mut journal, &draft(1, 2));
    }
    let newest = memory.list().expect("listed")[1].clone();
    memory.remove(&newest).expect("removed");
    memory.put(&format!("{newest}.new"), b"half a header");
    let opened = open(&shared(&memory), &small_segments());
    assert!(opened.recovery.torn.is_none());
    assert_eq!(
        memory.list().expect("listed"),
        [FIRST_SEGMENT, newest.as_str()]
    );
    both_readers_agree(&shared(&memory));
}

/// In a mirror `durable_upto` speaks of another disk: a flaw in its last write is a torn tail
/// although whole batches follow, and one that lies further back is damage.
#[test]
fn a_mirror_is_judged_by_its_own_writes() {
    let original = MemoryFiles::new();
    let mut journal = open(&shared(&original), &options()).journal;
    for number in 0..12 {
        let mut large = draft(number, 1);
        large.records[0].facts = vec![number as u8; 900_000];
        commit(&mut journal, &large);
    }
    let reader = Reader::open(shared(&original)).expect("a journal");
    let raw = reader
        .read_raw(Lsn::FIRST, Lsn::MAX, usize::MAX)
        .expect("read");
    let mirrored = MemoryFiles::new();
    let options = MirrorOptions::new(ID, NOW_US);
    let (mut mirror, _) = Mirror::open(shared(&mirrored), &options).expect("opened");
    mirror.append(&raw.bytes).expect("taken over");
    drop(mirror);
    let bytes = mirrored.bytes(FIRST_SEGMENT).expect("there");
    let flip = |at: usize| {
        let memory = MemoryFiles::new();
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        memory.put(FIRST_SEGMENT, &bytes);
        Mirror::open(shared(&memory), &options).map(|(mirror, report)| (mirror.position(), report))
    };
    let (position, report) = flip(9_100_000).expect("a tail");
    assert_eq!(position, Lsn::new(11));
    assert!(report.torn.is_some());
    assert!(matches!(flip(2_000_000), Err(Error::Damage(_))));
}

/// The reserve of a killed writer is no loss, is told to nobody and is seen alike by all readers;
/// a write that was torn inside it is still a torn tail, and damage before it still damage.
#[test]
fn the_reserve_is_told_from_a_torn_tail_and_from_damage() {
    let reserved = || {
        let memory = MemoryFiles::new();
        let mut journal = open(&shared(&memory), &options()).journal;
        for number in 0..3 {
            commit(&mut journal, &draft(number, 2));
        }
        let written = written(&memory, FIRST_SEGMENT).len();
        (memory, written)
    };
    let (memory, end) = reserved();
    let whole = memory.bytes(FIRST_SEGMENT).expect("there");
    assert!(whole.len() >= end + 100_000, "there is a reserve");
    let verified = both_readers_agree(&shared(&memory));
    assert_eq!(
        (verified.next, verified.unfinished_tail),
        (Lsn::new(7), None)
    );
    let recovery = open(&shared(&memory), &options()).recovery;
    assert_eq!((recovery.torn, recovery.next_lsn), (None, Lsn::new(7)));
    assert_eq!(memory.bytes(FIRST_SEGMENT).map(|b| b.len()), Some(end));

    // The front of a batch got there and its end did not.
    let (memory, end) = reserved();
    change(&memory, FIRST_SEGMENT, |bytes| {
        let batch = bytes[128..228].to_vec();
        bytes[end..end + 100].copy_from_slice(&batch);
    });
    let unfinished = both_readers_agree(&shared(&memory)).unfinished_tail;
    assert_eq!(unfinished.map(|tail| tail.offset), Some(end as u64));
    let torn = open(&shared(&memory), &options())
        .recovery
        .torn
        .expect("torn");
    assert_eq!((torn.offset, torn.bytes), (end as u64, 100));

    // Acknowledged batches zeroed, with one behind them that proves it.
    let (memory, _) = reserved();
    change(&memory, FIRST_SEGMENT, |bytes| bytes[128..300].fill(0));
    assert_eq!(refused(&memory, &options()).offset, 128);
}
