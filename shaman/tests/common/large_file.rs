// SPDX-License-Identifier: GPL-3.0-or-later
//! A large file that is never in memory whole, and what sending it cost. Also used by the tests
//! of the Manager's API, which send the same file over a socket.

use std::fs;

use sha2::{Digest as _, Sha256};

pub(crate) const MEBIBYTE: u64 = 1 << 20;

/// Peak memory of this process in bytes, where the system tells it.
pub(crate) fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// A mebibyte of the file that differs from its neighbours.
pub(crate) fn piece(number: u64) -> Vec<u8> {
    let mut piece = vec![0x5a; 1 << 20];
    piece[..8].copy_from_slice(&number.to_le_bytes());
    piece
}

/// SHA-256 of a file of so many pieces.
pub(crate) fn digest(mebibytes: u64) -> [u8; 32] {
    let mut hasher = Sha256::new();
    (0..mebibytes).for_each(|number| hasher.update(piece(number)));
    hasher.finalize().into()
}

/// The peak has not grown by more than so many mebibytes since it was looked at.
pub(crate) fn assert_small_growth(before: Option<u64>, growth_max: u64) {
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
}
