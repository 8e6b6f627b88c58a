// SPDX-License-Identifier: GPL-3.0-or-later
//! What the fuzz targets do with the bytes they get: one function each, which panics on a finding.
//!
//! libFuzzer calls them from `fuzz/fuzz_targets`, and an ordinary test feeds them every seed and
//! every earlier finding. Nothing here knows libFuzzer.

mod bodies;
mod frames;
mod journal;
mod link;
mod paths;
mod settings;
mod take;

pub use bodies::bodies;
pub use frames::frames;
pub use journal::{journal, recovery};
pub use link::link;
pub use paths::paths;
pub use settings::settings;

/// A body with the name of its target, which is also that of its folders.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("journal", journal),
    ("recovery", recovery),
    ("link", link),
    ("bodies", bodies),
    ("frames", frames),
    ("paths", paths),
    ("settings", settings),
];
