// SPDX-License-Identifier: GPL-3.0-or-later
//! What events are made of: outcomes, causes and classes.
//!
//! Frozen like the events that hold them: variants are only ever added at the end.

use serde::{Deserialize, Serialize};

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// This many events follow in the same batch.
    Events(u32),
    /// Refused, with the refusal's code.
    Refused(u16),
}

/// Where the body of a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// In the decision's details.
    Inline,
    /// A control blob with this BLAKE3 hash.
    Blob([u8; 32]),
    /// The events say it all (parts of a large submission).
    Events,
}

/// Why an attempt was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Its job was canceled.
    JobCanceled,
    /// Its job failed.
    JobFailed,
    /// Its task was canceled.
    TaskCanceled,
    /// Its task is to run anew.
    TaskRequeued,
    /// Its worker was asked to change status at once.
    WorkerAsked,
    /// Its job was compiled anew, and its task does something else now or is not there any more.
    Regenerated,
}

/// What kind of failure ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Not said.
    Unknown,
    /// A process ended with an error.
    Process,
    /// The process ended well but did not produce what was asked.
    MissingOutput,
    /// The program lacks a feature that the scene asks for.
    FeatureMissing,
    /// Killed for memory.
    OutOfMemory,
    /// The command or its parameters are wrong.
    BadCommand,
    /// Killed by a signal.
    Signal,
    /// A file could not be read or written.
    Io,
    /// Took too long.
    Timeout,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Its task is done.
    Completed,
    /// It failed.
    Failed {
        /// What kind of failure.
        class: FailureClass,
        /// Exit code of the process.
        exit: Option<i32>,
        /// Signal that ended the process.
        signal: Option<i32>,
        /// Ended for want of memory.
        out_of_memory: bool,
    },
    /// The worker was silent for too long.
    Lapsed,
    /// The worker gave it back.
    Returned,
    /// It stopped because it was asked to.
    Canceled,
    /// Another attempt took its place.
    Superseded,
}

/// Why a worker is kept from work. The later ones weigh more: a lighter cause never takes the
/// place of a heavier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuarantineCause {
    /// It found something wrong with its machine, and looks again by itself.
    SelfCheck,
    /// It failed one task after another.
    Failures {
        /// How many tasks.
        tasks: u32,
        /// Of how many jobs.
        jobs: u32,
    },
    /// A person wanted it.
    Person,
}

impl QuarantineCause {
    /// Which cause comes before which.
    pub const fn weight(self) -> u8 {
        match self {
            Self::SelfCheck => 1,
            Self::Failures { .. } => 2,
            Self::Person => 3,
        }
    }

    /// The name that people and programs read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SelfCheck => "self-check",
            Self::Failures { .. } => "failures",
            Self::Person => "person",
        }
    }
}

/// What a late report wanted to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateReport {
    /// That it started.
    Started,
    /// Steps.
    Steps,
    /// A frame.
    Frame,
    /// That it completed.
    Completed,
    /// That it failed.
    Failed,
}

/// What becomes of the steps of tasks that change status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepsChange {
    /// They stay.
    Keep,
    /// Back to zero.
    Zero,
    /// All done.
    Total,
}

/// Bits of [`crate::event::FramePublished::flags`].
pub mod frame_flags {
    /// Left where a script put it; not published by link.
    pub const UNFENCED: u16 = 1;
    /// There is no file of its name.
    pub const MISSING: u16 = 1 << 1;
    /// Its file has no content.
    pub const EMPTY: u16 = 1 << 2;
    /// Its file breaks off, or cannot be decoded to its end.
    pub const TRUNCATED: u16 = 1 << 3;
    /// It is black where its neighbours are not.
    pub const BLACK: u16 = 1 << 4;
    /// Its file is a whole picture, but not the one that was published.
    pub const CHANGED: u16 = 1 << 5;
    /// It is wider, narrower, higher or lower than its neighbours.
    pub const WRONG_SIZE: u16 = 1 << 6;
    /// All that can be wrong with a frame.
    pub const FLAWS: u16 = MISSING | EMPTY | TRUNCATED | BLACK | CHANGED | WRONG_SIZE;

    /// Each flaw with its name.
    pub const NAMES: [(u16, &str); 6] = [
        (MISSING, "missing"),
        (EMPTY, "empty"),
        (TRUNCATED, "truncated"),
        (BLACK, "black"),
        (CHANGED, "changed"),
        (WRONG_SIZE, "wrong_size"),
    ];

    /// The names of the flaws among some flags.
    pub fn names(flags: u16) -> impl Iterator<Item = &'static str> {
        (NAMES.into_iter()).filter_map(move |(flag, name)| (flags & flag != 0).then_some(name))
    }

    /// The flaw of a name.
    pub fn of_name(name: &str) -> Option<u16> {
        (NAMES.into_iter()).find_map(|(flag, known)| (known == name).then_some(flag))
    }
}
