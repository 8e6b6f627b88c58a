// SPDX-License-Identifier: GPL-3.0-or-later
//! Processes that a killed Worker must not leave behind, found by what their command lines name.
//!
//! Reads /proc, so it works on Linux; the tests that use it are Linux tests.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::until_within;

/// A killed Worker's programs are gone within this; it takes them milliseconds on a quiet machine.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Processes, other than this one, whose command line names this path: id and command line.
fn naming(path: &Path) -> Vec<(u32, String)> {
    let wanted = path.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else {
        panic!("this test looks into /proc, which only Linux has");
    };
    let ids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| *id != std::process::id())
        .filter_map(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&wanted).then_some((id, line))
        })
        .collect()
}

/// Blender and whoever watches over it, of all Workers whose data lies in this folder. One that
/// stays up names no output: its server's script lies in its Worker's data.
pub(crate) fn blenders(folder: &Path) -> Vec<(u32, String)> {
    let mut found = naming(folder);
    found.retain(|(_, line)| line.contains("blender") || line.contains(" supervise "));
    found
}

/// Waits until none of them is left.
pub(crate) fn wait_until_none(folder: &Path) {
    let started = Instant::now();
    until_within(
        GONE_WITHIN,
        "the programs of a killed Worker to end",
        || {
            let left = blenders(folder);
            if started.elapsed() + Duration::from_millis(500) > GONE_WITHIN && !left.is_empty() {
                println!("still there: {left:?}");
            }
            left.is_empty().then_some(())
        },
    );
}
