// SPDX-License-Identifier: GPL-3.0-or-later
//! How much room the disk has.

use std::path::Path;

/// Free bytes for this process on the file system of a path; `None` where it cannot be told.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let room = nix::sys::statvfs::statvfs(path).ok()?;
    // The widths differ between systems.
    #[allow(clippy::useless_conversion, reason = "these are u32 on some systems")]
    let (blocks, size) = (
        u64::from(room.blocks_available()),
        u64::from(room.fragment_size()),
    );
    Some(blocks.saturating_mul(size))
}

/// Free bytes for this process on the file system of a path; `None` where it cannot be told.
#[cfg(not(unix))]
pub fn free_bytes(_path: &Path) -> Option<u64> {
    None
}
