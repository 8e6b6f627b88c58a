// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands a task can be made of, and what running one can come to.
//!
//! The table of names is here; each command has its own file. Commands talk to the Manager only
//! through the attempt's reporter.

mod basic;
mod exec;
mod files;
mod parameters;
mod render;
mod video;

use std::sync::Arc;

use crate::media::Media;
use crate::outbox::OutboxFailed;
use crate::process::{Ended, Launcher, Unended};
use crate::report::Reporter;
use crate::stop::{Stop, StopReason};
use crate::wire::{Assignment, Command, FailureClass, FailureReport};

pub(crate) use parameters::{ParameterError, Parameters};

/// Names of all commands, as an unknown one is answered with them.
pub(crate) const KNOWN: [&str; 8] = [
    "blender-render",
    "copy-file",
    "echo",
    "exec",
    "frames-to-video",
    "make-directory",
    "move-directory",
    "sleep",
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
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) stop: Stop,
    pub(crate) assignment: Assignment,
    pub(crate) launcher: Launcher,
    pub(crate) media: Media,
}

impl Context {
    /// Stops here when the task has been asked to stop.
    pub(crate) fn go_on(&self) -> Result<(), Ending> {
        match self.stop.requested() {
            Some(reason) => Err(Ending::Stopped(reason)),
            None => Ok(()),
        }
    }
}

/// Runs one command to its end.
pub(crate) async fn run(context: &Context, command: &Command) -> Result<(), Ending> {
    context.go_on()?;
    match command.name.as_str() {
        "echo" => basic::echo(context, command),
        "sleep" => basic::sleep(context, command).await,
        "exec" => exec::exec(context, command).await,
        "blender-render" => render::blender_render(context, command).await,
        "frames-to-video" => video::frames_to_video(context, command).await,
        "make-directory" => files::make_directory(context, command),
        "move-directory" => files::move_directory(context, command),
        "copy-file" => files::copy_file(context, command),
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
    if !(command.name == "blender-render" && command.total_step_count > 0) {
        context.reporter.step();
    }
    Ok(())
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
