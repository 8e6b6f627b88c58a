// SPDX-License-Identifier: GPL-3.0-or-later
//! Size: a large file does not pass through memory whole, and twenty thousand small ones arrive.
//!
//! One test: it measures the memory of its process, which others would disturb.
//! `TABLAO_SOAK=1` sends 2 GiB instead of 64 MiB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, thread};

use common::{Shelf, begun, file, id_of, requested};
use sha2::{Digest as _, Sha256};
use tablao_shaman::{BlobId, FileSpec, Outcome};

const MEBIBYTE: u64 = 1 << 20;
const SMALL_FILES: u32 = 20_000;
const SENDERS: u32 = 8;

/// Peak memory of this process in bytes, where the system tells it.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// A megabyte that differs from its neighbours.
fn piece(number: u64) -> Vec<u8> {
    let mut piece = vec![0x5a; 1 << 20];
    piece[..8].copy_from_slice(&number.to_le_bytes());
    piece
}

/// Uploads are bounded by the disk, not by memory, and a checkout of many files is whole.
#[test]
fn large_and_many_files_arrive() {
    let soak = std::env::var_os("TABLAO_SOAK").is_some();
    let (mebibytes, growth_max) = if soak { (2048, 64) } else { (64, 16) };
    let shelf = Shelf::new();

    let mut hasher = Sha256::new();
    (0..mebibytes).for_each(|number| hasher.update(piece(number)));
    let id = BlobId::new(hasher.finalize().into(), mebibytes * MEBIBYTE);
    let before = peak_bytes();
    let mut upload = begun(shelf.store.upload(id, false).unwrap());
    (0..mebibytes).for_each(|number| upload.write(&piece(number)).unwrap());
    assert_eq!(upload.finish().unwrap(), Outcome::Stored);
    let growth = peak_bytes()
        .zip(before)
        .map(|(after, before)| after - before);
    if cfg!(target_os = "linux") {
        let growth = growth.expect("Linux tells a process its memory");
        assert!(
            growth <= growth_max * MEBIBYTE,
            "{growth} bytes for one upload"
        );
    }
    assert_eq!(fs::metadata(shelf.blob(id)).unwrap().len(), id.size());

    let contents = |number: u32| format!("texture {number}").into_bytes();
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let shelf = &shelf;
            scope.spawn(move || {
                for number in (sender..SMALL_FILES).step_by(SENDERS as usize) {
                    shelf.send(&contents(number));
                }
            });
        }
    });
    let wanted: Vec<FileSpec> = (0..SMALL_FILES)
        .map(|number| {
            let path = format!("textures/{:02}/{number}.png", number % 50);
            file(&path, id_of(&contents(number)))
        })
        .collect();
    assert!(shelf.store.requirements(&wanted).unwrap().is_empty());
    let made = shelf.store.checkout(&requested("many"), &wanted).unwrap();
    let tree = shelf.tree("jobs");
    assert_eq!(tree.len(), SMALL_FILES as usize);
    for number in 0..SMALL_FILES {
        let text = &tree[&format!("{made}/textures/{:02}/{number}.png", number % 50)];
        assert_eq!(*text, format!("texture {number}"));
    }
    assert!(shelf.store.erase(&made).unwrap());
    assert!(shelf.names("jobs").is_empty());
}
