// SPDX-License-Identifier: GPL-3.0-or-later
//! The journal's reader and its recovery, over whatever lies in the folder.
//!
//! Some inputs are files as they come; others are damage to a sound journal, perhaps behind
//! checksums that are right again, because no fuzzer guesses those. Nothing may panic, what
//! recovery accepts must be readable to its end, and what was opened once must open again.

use std::sync::Arc;

use tablao_journal::{
    Authority, Draft, FileStore, Journal, JournalId, Lsn, MemoryFiles, OpenOptions, Reader,
    RecordDraft, erase_details, salvage,
};

use crate::take::Take;

const ID: JournalId = JournalId([7; 16]);
const SEGMENT_HEADER_BYTES: usize = 128;
const BATCH_HEADER_BYTES: usize = 48;
const FIRST_SEGMENT: &str = "00000000000000000001.seg";

/// Damage, at most this much: inputs stay small and each one counts.
const CHANGES_MAX: usize = 16;

/// Reads a segment that is the input itself.
pub fn journal(data: &[u8]) {
    let files = MemoryFiles::new();
    let mut take = Take(data);
    if take.byte() & 1 == 0 {
        files.put(FIRST_SEGMENT, take.0);
    } else {
        damaged(&files, &mut take);
    }
    read_everything(&files);
}

/// Opens a folder for writing, whatever is in it.
pub fn recovery(data: &[u8]) {
    let files = MemoryFiles::new();
    let mut take = Take(data);
    if take.byte() & 1 == 0 {
        while !take.is_empty() {
            let name = match take.byte() % 6 {
                0 => FIRST_SEGMENT.to_owned(),
                1 => "clean.mark".to_owned(),
                2 => format!("{:020}.seg", take.two()),
                3 => format!("{:020}.seg.new", take.byte()),
                4 => String::from_utf8_lossy(take.bytes(8)).into_owned(),
                _ => "00000000000000000009.seg".to_owned(),
            };
            let length = usize::from(take.two());
            files.put(&name, take.bytes(length));
        }
    } else {
        damaged(&files, &mut take);
    }
    let kept = files.after(tablao_journal::PowerLoss::ProcessOnly);
    let store: Arc<dyn FileStore> = Arc::new(files.clone());
    for verify_everything in [false, true] {
        let options = OpenOptions {
            segment_bytes: 2048,
            verify_everything,
            ..OpenOptions::new(ID, 1)
        };
        let Ok(opened) = Journal::open(Arc::clone(&store), &options) else {
            continue;
        };
        let mut journal = opened.journal;
        let next = journal.next_lsn();
        // A journal that stands at the last position there is may refuse.
        if let Ok(committed) = journal.commit(next, &[&draft(b"after", Some(b"recovery"))]) {
            assert_eq!(committed.first, next, "a record went to another place");
            journal
                .close()
                .expect("a journal that takes records can be closed");
            let again = Journal::open(Arc::clone(&store), &options)
                .unwrap_or_else(|error| panic!("what was written cannot be opened: {error:?}"));
            assert!(again.journal.next_lsn() > next, "a durable record was lost");
        }
    }
    read_everything(&files);
    let copy = MemoryFiles::new();
    if salvage(Arc::new(kept.clone()), Arc::new(copy.clone()), 1).is_ok() {
        let reader = Reader::open(Arc::new(copy)).expect("a salvaged copy can be opened");
        reader.verify().expect("a salvaged copy is whole");
    }
    // Erasing works on a journal at rest, and refuses damage.
    let _ = erase_details(&kept, |lsn| lsn.get() % 2 == 0);
    read_everything(&kept);
}

fn read_everything(files: &MemoryFiles) {
    let Ok(reader) = Reader::open(Arc::new(files.clone())) else {
        return;
    };
    let _ = reader.info();
    let verified = reader.verify().is_ok();
    let Ok(oldest) = reader.oldest() else {
        return;
    };
    if let Ok(records) = reader.records(oldest) {
        let mut at = oldest;
        for record in records {
            match record {
                Ok(record) => {
                    assert_eq!(record.lsn, at, "records stand in order, without gaps");
                    at = at.next();
                }
                Err(_) => {
                    assert!(!verified, "what is verified can be read");
                    break;
                }
            }
        }
    }
    let _ = reader.read_raw(oldest, Lsn::new(u64::MAX), 1 << 16);
    let _ = reader.chain_before(oldest.next());
}

fn draft(facts: &[u8], detail: Option<&[u8]>) -> Draft {
    let record = |offset: u16| RecordDraft {
        kind: 1,
        version: 1,
        authority: Authority::Site,
        decision_offset: offset,
        facts: facts.to_vec(),
        detail: detail.map(<[u8]>::to_vec),
    };
    Draft {
        time_us: 1_000,
        records: vec![record(0), record(1)],
    }
}

/// A sound journal of a few segments, and then the damage that the input says.
fn damaged(files: &MemoryFiles, take: &mut Take<'_>) {
    let options = OpenOptions {
        segment_bytes: 600,
        ..OpenOptions::new(ID, 1)
    };
    let opened = Journal::open(Arc::new(files.clone()), &options).expect("memory is there");
    let mut journal = opened.journal;
    for round in 0..5u8 {
        let next = journal.next_lsn();
        let body = [round; 40];
        let (first, second) = (draft(&body, None), draft(&body, Some(b"detail")));
        journal
            .commit(next, &[&first, &second])
            .expect("memory takes it");
    }
    if take.byte() & 1 == 0 {
        journal.close().expect("memory takes it");
    }
    let mut names = files.list().expect("memory lists its names");
    names.sort();
    for _ in 0..CHANGES_MAX {
        if take.is_empty() {
            break;
        }
        let name = &names[usize::from(take.byte()) % names.len()];
        let Some(mut bytes) = files.bytes(name) else {
            continue;
        };
        let at = usize::from(take.two()) % bytes.len().max(1);
        match take.byte() % 5 {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(take.bytes(64)),
            2 => bytes
                .splice(at..at, take.bytes(16).iter().copied())
                .for_each(drop),
            _ => {
                let new = take.bytes(8);
                for (offset, byte) in new.iter().enumerate() {
                    if let Some(old) = bytes.get_mut(at + offset) {
                        *old = *byte;
                    }
                }
            }
        }
        if take.byte() & 1 == 0 {
            make_checksums_right(&mut bytes);
        }
        files.put(name, &bytes);
    }
}

/// Puts right the checksums of a segment's header and of its batches, as far as they can be found.
fn make_checksums_right(bytes: &mut [u8]) {
    put_checksum(bytes, 0, 124, &[]);
    let id: Vec<u8> = bytes.get(16..32).unwrap_or_default().to_vec();
    let mut at = SEGMENT_HEADER_BYTES;
    while bytes.get(at..at + 4) == Some(b"TBAT") {
        put_checksum(bytes, at, at + 44, &id);
        let length = bytes.get(at + 4..at + 8).map_or(0, |field| {
            u32::from_le_bytes([field[0], field[1], field[2], field[3]]) as usize
        });
        let end = at + length;
        if length < BATCH_HEADER_BYTES + 36 || end > bytes.len() {
            break;
        }
        put_checksum(bytes, at + BATCH_HEADER_BYTES, end - 36, &id);
        at = end;
    }
}

/// Writes the checksum of `from..to` at `to`.
fn put_checksum(bytes: &mut [u8], from: usize, to: usize, before: &[u8]) {
    let Some(covered) = bytes.get(from..to) else {
        return;
    };
    let sum = crc32c::crc32c_append(crc32c::crc32c(before), covered);
    if let Some(place) = bytes.get_mut(to..to + 4) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}
