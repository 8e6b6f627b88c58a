// SPDX-License-Identifier: GPL-3.0-or-later
//! The benches: one module a part, each measuring a figure beside the limit of the same run.
//!
//! `tablao bench PART` and `make bench` call them; the small size of each also runs in
//! `make test`. Nothing here asserts a time: a figure is for people, and for docs/performance.md.
//! Processes that are measured are children of the same program, so that their memory and their
//! processor time are their own.

mod bare;
mod child;
mod compile;
mod error;
mod farm;
mod http;
mod latency;
mod load;
mod machine;
mod place;
mod render_worker;
mod report;
mod submission;

pub use bare::serve as serve_bare;
pub use error::Error;
pub use machine::Machine;
pub use place::set_folder;
pub use report::{Figure, Report, Size};

/// What a part calls with what it is doing, for somebody who watches.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Something that can be measured.
pub struct Part {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it measures, in one line.
    pub about: &'static str,
    /// Measures it.
    pub run: fn(Size, Progress<'_>) -> Result<Report, Error>,
}

/// All of them.
pub const PARTS: &[Part] = &[
    Part {
        name: "farm",
        about: "a Manager over HTTP: workers doing full task cycles, beside a bare server that syncs",
        run: farm::run,
    },
    Part {
        name: "compile",
        about: "a job type script makes the tasks of a large job",
        run: compile::run,
    },
    Part {
        name: "submission",
        about: "a large job over HTTP while workers go on asking",
        run: submission::run,
    },
];

/// The part of this name.
pub fn part(name: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.name == name)
}
