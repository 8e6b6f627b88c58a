// SPDX-License-Identifier: GPL-3.0-or-later
//! Why a job could not be compiled.
//!
//! All but [`Error::Engine`], [`Error::Interrupted`], [`Error::Isolation`] and [`Error::Watcher`] are the submitter's or the script author's to
//! solve, and their text is written for them. A script's own text always comes first and unchanged.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::settings::SettingProblem;

/// What the JavaScript engine said, as text: it may have been said in another process.
#[derive(Debug, Error, Serialize, Deserialize)]
#[error("{0}")]
pub struct EngineError(pub(crate) String);

/// Why a job could not be compiled.
#[derive(Debug, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// No script of that name.
    #[error("unknown job type {name:?}, known are: {}", known.join(", "))]
    UnknownJobType {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The submitter knows another version of the job type.
    #[error(
        "job type {job_type:?} has changed (etag {submitted:?}, now {current:?}), refresh the job types and submit again"
    )]
    EtagMismatch {
        /// The job type.
        job_type: String,
        /// The etag in the submission.
        submitted: String,
        /// The etag of the job type as it is now.
        current: String,
    },
    /// Settings of the wrong type.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Settings {
        /// Every setting that is refused.
        problems: Vec<SettingProblem>,
    },
    /// The script threw, or something in it did.
    #[error("{message}{}{}", at(location.as_deref()), hint(missing))]
    Thrown {
        /// File name of the script.
        script: String,
        /// The thrown text, unchanged.
        message: String,
        /// Function, file, line and column where known.
        location: Option<String>,
        /// Required settings that were not sent, as a hint to the cause.
        missing: Vec<String>,
    },
    /// The script is not a usable job type.
    #[error("script {script} is not a job type: {problem}")]
    InvalidJobType {
        /// File name of the script.
        script: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The script ran too long.
    #[error("script {script} was stopped after its time limit of {limit:?}")]
    TimeLimit {
        /// File name of the script.
        script: String,
        /// The limit.
        limit: Duration,
    },
    /// The script needed too much memory.
    #[error("script {script} was stopped at its memory limit of {} MiB", limit_bytes / (1024 * 1024))]
    MemoryLimit {
        /// File name of the script.
        script: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The script called itself too deeply.
    #[error("script {script} was stopped at its stack limit of {} KiB (endless recursion?){}", limit_bytes / 1024, at(location.as_deref()))]
    StackLimit {
        /// File name of the script.
        script: String,
        /// The limit.
        limit_bytes: usize,
        /// Where it happened, where known.
        location: Option<String>,
    },
    /// The job came out too large.
    #[error("script {script} was stopped: its tasks and settings exceed the limit of {} MiB", limit_bytes / (1024 * 1024))]
    OutputLimit {
        /// File name of the script.
        script: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The job has too many tasks.
    #[error("script {script} was stopped at the limit of {limit} tasks for one job")]
    TooManyTasks {
        /// File name of the script.
        script: String,
        /// The limit.
        limit: usize,
    },
    /// A task waits for one that the job does not have.
    #[error("task {task:?} depends on task {dependency:?}, which was never added to the job")]
    UnknownDependency {
        /// Name of the waiting task.
        task: String,
        /// Name of the missing one.
        dependency: String,
    },
    /// Tasks wait for each other.
    #[error("tasks depend on each other in a circle: {}", tasks.join(" -> "))]
    DependencyCycle {
        /// Names along the circle; the first is repeated at the end.
        tasks: Vec<String>,
    },
    /// The JavaScript engine could not be set up.
    #[error("start the JavaScript engine for {script}")]
    Engine {
        /// File name of the script.
        script: String,
        /// What the engine said.
        source: EngineError,
    },
    /// The process that ran the script ended itself, which is what the JavaScript engine does when
    /// it finds no memory in the middle of its own work.
    #[error("script {script} ran out of memory (its limit is {} MiB; the process that ran it ended with {how})", limit_bytes / (1024 * 1024))]
    OutOfMemory {
        /// File name of the script.
        script: String,
        /// The limit.
        limit_bytes: usize,
        /// How the process ended.
        how: String,
    },
    /// The process that ran the script was ended by somebody else.
    #[error("the process that ran script {script} was ended from outside ({how}); submit again")]
    Interrupted {
        /// File name of the script.
        script: String,
        /// How the process ended.
        how: String,
    },
    /// The process that runs scripts could not be started.
    #[error("start a process for script {script}")]
    #[serde(skip)]
    Isolation {
        /// File name of the script.
        script: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The thread that watches the scripts folder could not be started.
    #[error("start watching the job type scripts")]
    #[serde(skip)]
    Watcher {
        /// What the system said.
        source: std::io::Error,
    },
}

fn at(location: Option<&str>) -> String {
    location.map_or_else(String::new, |place| format!(" at {place}"))
}

fn hint(missing: &[String]) -> String {
    if missing.is_empty() {
        return String::new();
    }
    format!(
        " (required settings that were not sent: {})",
        missing.join(", ")
    )
}
