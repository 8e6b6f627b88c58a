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
mod engine;
mod error;
mod farm;
mod feed;
mod history;
mod http;
mod idle;
mod journal;
mod latency;
mod load;
mod machine;
mod memory;
mod no_disk;
mod operations;
mod pickup;
mod place;
mod read_model;
mod reconstruction;
mod render_worker;
mod replay;
mod report;
mod scheduler;
mod scripted;
mod size;
mod submission;
mod upgrade;
mod worker;
mod written;

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
        name: "journal",
        about: "appends to the journal, beside a bare file that is written and synced",
        run: journal::run,
    },
    Part {
        name: "engine",
        about: "decisions of an engine without HTTP, beside its journal alone",
        run: engine::run,
    },
    Part {
        name: "farm",
        about: "a Manager over HTTP: workers doing full task cycles, beside a bare server that syncs",
        run: farm::run,
    },
    Part {
        name: "scheduler",
        about: "one decision and a change of priority, with a million queued tasks",
        run: scheduler::run,
    },
    Part {
        name: "memory",
        about: "bytes for each of a million render tasks, engine and read model",
        run: memory::run,
    },
    Part {
        name: "size",
        about: "bytes of journal for the life of a task, as written and packed",
        run: size::run,
    },
    Part {
        name: "replay",
        about: "records folded a second, of a journal of real mixed kinds",
        run: replay::run,
    },
    Part {
        name: "reconstruction",
        about: "starts, past moments and single entities of the past, beside whole folds",
        run: reconstruction::run,
    },
    Part {
        name: "read-model",
        about: "what the read model answers and copies, beside plain scans of the same data",
        run: read_model::run,
    },
    Part {
        name: "feed",
        about: "from a durable record to those who watch the farm, beside a bare send",
        run: feed::run,
    },
    Part {
        name: "pickup",
        about: "from a submission's answer to the start of the task's process at an idle Worker",
        run: pickup::run,
    },
    Part {
        name: "idle",
        about: "what `tablao up` costs while nothing happens, and how soon it serves",
        run: idle::run,
    },
    Part {
        name: "upgrade",
        about: "a Manager restarted under load: the longest pause that a worker notices",
        run: upgrade::run,
    },
    Part {
        name: "compile",
        about: "a job type script makes the tasks of a large job",
        run: compile::run,
    },
    Part {
        name: "operations",
        about: "every operation of Flamenco's API on a farm at work, while large jobs come and go",
        run: operations::run,
    },
    Part {
        name: "worker",
        about: "what a Worker loses between frames: warm, cold, and polling as Flamenco's does",
        run: worker::run,
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
