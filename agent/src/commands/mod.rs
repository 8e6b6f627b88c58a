// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands a task can be made of, and what running one can come to.
//!
//! The table of names is here; each command has its own file. Commands talk to the Manager only
//! through the attempt's reporter.

mod allowed;
mod basic;
mod exec;
mod files;
mod film;
mod images;
mod made;
mod parameters;
mod publish_files;
mod render;
mod sequence;
mod storage;
mod verify;
mod video;

use std::sync::Arc;

use crate::lease::Lease;
use crate::media::Media;
use crate::outbox::OutboxFailed;
use crate::process::{Ended, OutOfMemory, Unended};
use crate::report::Reporter;
use crate::stop::{Stop, StopReason};
use crate::turn::{Start, Turn};
use crate::wire::{Assignment, Command, FailureClass, FailureReport};

pub(crate) use allowed::{FFMPEG, Limits, unknown_names};
pub(crate) use parameters::{ParameterError, Parameters};

/// Names of all commands, as an unknown one is answered with them.
pub(crate) const KNOWN: &[&str] = &[
    "blender-render",
    "concatenate-videos",
    "copy-file",
    "create-python-file",
    "echo",
    "encode-audio",
    "exec",
    "exr-to-jpeg",
    "frames-to-video",
    "join-exr-tiles",
    "log-a-lot",
    "make-directory",
    "make-thumbnail",
    "merge-exr",
    "move-directory",
    "move-out-of-way",
    "move-to-final",
    "move-with-counter",
    "mux-audio",
    "publish-files",
    "remove-file",
    "remove-tree",
    "sleep",
    "verify-frames",
];

/// Commands that report a step for each frame when they are asked to count.
const COUNTING: &[&str] = &[
    "blender-render",
    "exr-to-jpeg",
    "merge-exr",
    "publish-files",
];

/// A command that did not do what it should.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) report: FailureReport,
    /// For people: what happened and what to do.
    pub(crate) reason: String,
}

impl Failure {
    pub(crate) fn new(class: FailureClass, reason: impl Into<String>) -> Self {
        Self {
            report: FailureReport {
                class,
                exit: None,
                signal: None,
            },
            reason: reason.into(),
        }
    }

    pub(crate) fn io(reason: impl Into<String>) -> Self {
        Self::new(FailureClass::Io, reason)
    }
}

/// How a command ended before its time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    /// It failed, and so does its task.
    Failed(Failure),
    /// It was stopped from outside; nothing is reported as failed.
    Stopped(StopReason),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<ParameterError> for Ending {
    fn from(error: ParameterError) -> Self {
        Self::Failed(Failure::new(FailureClass::BadCommand, error.to_string()))
    }
}

impl From<OutboxFailed> for Ending {
    fn from(_: OutboxFailed) -> Self {
        Self::Stopped(StopReason::OutboxFailed)
    }
}

/// What every command of a task works with.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The task's job.
    pub(crate) job: String,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) stop: Stop,
    pub(crate) lease: Lease,
    pub(crate) assignment: Assignment,
    pub(crate) media: Media,
    pub(crate) limits: Arc<Limits>,
    /// What Cycles renders on, if the owner of this machine has decided that.
    pub(crate) cycles_device: Option<Arc<str>>,
    pub(crate) turn: Arc<Turn>,
    /// Whether the task is one render, so that the next task may have its turn while the last
    /// frames of this one are published.
    pub(crate) ends_with_render: bool,
}

impl Context {
    /// Waits for this task's turn, and says that it begins if nobody was told yet.
    pub(crate) async fn begin(&self) -> Result<(), Ending> {
        let taken = self.turn.take(&self.stop).await;
        taken.map_err(Ending::Stopped)?;
        if self.turn.start() == Start::Waits {
            self.end_other_warm().await;
            self.turn.begin(Some(self.reporter.begin()?));
        }
        Ok(())
    }

    /// The Blender that stays up in the task's place ends if it is another job's, which needs the
    /// memory.
    pub(crate) async fn end_other_warm(&self) {
        if let Some(place) = self.turn.place() {
            place.warm.end_unless_of(&self.job).await;
        }
    }

    /// Waits until the Manager has taken the start of the task: only then is it surely ours, and
    /// its frames may be published.
    pub(crate) async fn is_ours(&self) -> Result<(), Ending> {
        tokio::select! {
            () = self.turn.until(Start::Told) => {}
            reason = self.stop.wait() => return Err(Ending::Stopped(reason)),
        }
        self.lease.stop_if_over();
        self.go_on()
    }

    /// Stops here when the task has been asked to stop.
    pub(crate) fn go_on(&self) -> Result<(), Ending> {
        match self.stop.requested() {
            Some(reason) => Err(Ending::Stopped(reason)),
            None => Ok(()),
        }
    }

    /// What a command works with whose files are only read by later tasks of the job: they are no
    /// frames of the shot and get no thumbnails.
    fn for_intermediate(&self, command: &Command) -> Option<Self> {
        let is_intermediate = command.parameters.get("intermediate") == Some(&true.into());
        is_intermediate.then(|| {
            let mut context = self.clone();
            context.assignment.thumbnails = String::new();
            context
        })
    }
}

/// Runs one command to its end.
pub(crate) async fn run(context: &Context, command: &Command) -> Result<(), Ending> {
    context.go_on()?;
    if KNOWN.contains(&command.name.as_str()) {
        context.limits.check(command)?;
    }
    let for_intermediate = context.for_intermediate(command);
    context.reporter.tell_frames(for_intermediate.is_none());
    let context = for_intermediate.as_ref().unwrap_or(context);
    match command.name.as_str() {
        "echo" => basic::echo(context, command),
        "log-a-lot" => basic::log_a_lot(context, command).await,
        "sleep" => basic::sleep(context, command).await,
        "exec" => exec::exec(context, command).await,
        "blender-render" => render::blender_render(context, command).await,
        "frames-to-video" => video::frames_to_video(context, command).await,
        "make-directory" => files::make_directory(context, command),
        "move-directory" => files::move_directory(context, command),
        "make-thumbnail" => verify::make_thumbnail(context, command).await,
        "verify-frames" => verify::verify_frames(context, command).await,
        "copy-file" => files::copy_file(context, command),
        "publish-files" => publish_files::publish_files(context, command).await,
        "move-out-of-way" => storage::move_out_of_way(context, command),
        "move-to-final" => storage::move_to_final(context, command),
        "move-with-counter" => storage::move_with_counter(context, command).await,
        "remove-tree" => storage::remove_tree(context, command).await,
        "remove-file" => storage::remove_file(context, command),
        "create-python-file" => storage::create_python_file(context, command).await,
        "merge-exr" => images::merge_exr(context, command).await,
        "join-exr-tiles" => images::join_exr_tiles(context, command).await,
        "exr-to-jpeg" => images::exr_to_jpeg(context, command).await,
        "concatenate-videos" => film::concatenate_videos(context, command).await,
        "mux-audio" => film::mux_audio(context, command).await,
        "encode-audio" => film::encode_audio(context, command).await,
        unknown => {
            return Err(Ending::Failed(Failure::new(
                FailureClass::BadCommand,
                format!(
                    "unknown command `{unknown}`; this worker knows {}. Correct the job type, or update the worker",
                    KNOWN.join(", ")
                ),
            )));
        }
    }?;
    // Commands that count their own steps have reported them; any other is one step.
    if !(COUNTING.contains(&command.name.as_str()) && command.total_step_count > 0) {
        context.reporter.step();
    }
    Ok(())
}

/// What ran out, how much there was, how much the program had, and what to do.
fn out_of_memory_words(exe: &str, how: OutOfMemory, peak: Option<u64>) -> String {
    let peak = peak.map_or_else(String::new, |peak| {
        format!(" (it held {} at most)", mebibytes(peak))
    });
    match how {
        OutOfMemory::Refused { limit } => format!(
            "`{exe}` ran out of memory{peak}: a slot of this worker has {} (--slot-memory). Run it on a bigger machine, or give this worker fewer slots with more each",
            mebibytes(limit)
        ),
        OutOfMemory::Killed => format!(
            "`{exe}` was killed by the system because this machine ran out of memory{peak}. Run it on a bigger machine, or give this worker fewer slots"
        ),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

/// Judges a program's end: only exit code 0 is success.
pub(crate) fn expect_success(exe: &str, ended: Result<Ended, Unended>) -> Result<Ended, Ending> {
    let ended = match ended {
        Ok(ended) => ended,
        Err(Unended::Stopped(reason)) => return Err(Ending::Stopped(reason)),
        Err(Unended::NotStarted(message)) => {
            return Err(Ending::Failed(Failure::new(
                FailureClass::BadCommand,
                format!(
                    "cannot start `{exe}`: {message}. Is it installed on this worker, and the variable that names it right?"
                ),
            )));
        }
        Err(Unended::SupervisorLost) => {
            return Err(Ending::Failed(Failure::new(
                FailureClass::Signal,
                format!("the supervisor of `{exe}` was killed; `{exe}` was ended with it"),
            )));
        }
    };
    let (class, what) = match (ended.exit, ended.signal) {
        (Some(0), _) => return Ok(ended),
        _ if let Some(how) = ended.out_of_memory => (
            FailureClass::OutOfMemory,
            out_of_memory_words(exe, how, ended.peak_memory_bytes),
        ),
        (Some(code), _) => (
            FailureClass::Process,
            format!("`{exe}` ended with exit code {code}; its last words are in the task's log"),
        ),
        (None, Some(9)) => (
            FailureClass::Signal,
            format!(
                "`{exe}` was killed by signal 9 which this worker did not send; most often the machine ran out of memory"
            ),
        ),
        (None, signal) => (
            FailureClass::Signal,
            format!("`{exe}` was ended by signal {}", signal.unwrap_or(-1)),
        ),
    };
    Err(Ending::Failed(Failure {
        report: FailureReport {
            class,
            exit: ended.exit,
            signal: ended.signal,
        },
        reason: what,
    }))
}
