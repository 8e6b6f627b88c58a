// SPDX-License-Identifier: GPL-3.0-or-later
//! The JavaScript job compiler: job type scripts in, lists of tasks out.
//!
//! [`JobTypes`] knows the scripts (built in, and a studio's own folder, reloaded while running) and
//! compiles a [`SubmittedJob`] into a [`CompiledJob`] inside a limited virtual machine that is
//! thrown away afterwards. The pure parts (frame ranges, paths, word splitting, settings checks)
//! are usable without JavaScript. Nothing here knows the journal, the scheduler or the network.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")
)]

pub mod authoring;
mod catalog;
mod child;
mod commands_text;
mod compiler;
mod declaration;
mod environment;
mod error;
mod etag;
mod export;
mod graph;
mod host;
mod isolation;
mod job;
mod job_type;
mod job_types;
mod modules;
mod options;
mod sandbox;
mod sources;
mod timestamp;
mod watch;
mod wire;

pub mod frames;
pub mod paths;
pub mod settings;
pub mod shell_split;

pub use catalog::Problem;
pub use child::run_script_for_parent;
pub use error::{EngineError, Error};
pub use isolation::ChildProgram;
pub use job::{Command, CompiledJob, CompiledTask, SubmittedJob};
pub use job_type::{
    AvailableJobType, EvalInfo, JobSetting, SettingSubtype, SettingType, SettingVisibility,
};
pub use job_types::JobTypes;
pub use options::Options;
pub use settings::{SettingProblem, check_settings, missing_required};
