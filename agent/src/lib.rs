// SPDX-License-Identifier: GPL-3.0-or-later
//! The Worker: asks its Manager for tasks, runs their commands, publishes frames, and says what
//! happened, also across kills and outages.
//!
//! [`run`] is the Worker itself. [`supervise`] is the small process it puts between itself and
//! every program it starts; the binary must offer it as its hidden subcommand `supervise`.
//! How tasks come to be and who gets them is the Manager's business and not known here.

mod blender;
mod client;
mod commands;
pub mod discovery;
mod durable;
mod error;
mod frames;
mod groups;
mod health;
mod identity;
mod lease;
mod lines;
mod link;
mod media;
mod outbox;
mod places;
mod process;
mod report;
mod running;
mod sender;
mod shell_words;
mod stop;
mod supervisor;
mod task;
mod turn;
pub mod wire;
mod worker;

use std::path::PathBuf;

pub use blender::warm::WarmLimits;
pub use error::Error;
pub use health::{Examined, HealthLimits, examine};
pub use places::{Division, LimitsBy, Processors};
pub use supervisor::{Note, supervise};

/// Version of this program, as the Manager and people see it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Task types a Worker takes unless told otherwise. The last three have commands that Flamenco's
/// workers do not know, so that those are never given such a task.
pub const TASK_TYPES: [&str; 7] = [
    "blender",
    "ffmpeg",
    "file-management",
    "misc",
    "exr-merge",
    "storage",
    "video-encoding",
];

/// The most tasks at a time: a Manager counts what a Worker holds in one byte, and it may hold two
/// for each.
pub const SLOTS_MAX: u32 = 64;

/// How a Worker is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the Manager, like `http://host:8080`.
    pub manager_url: String,
    /// Where identity and outbox are kept; one Worker at a time.
    pub data_dir: PathBuf,
    /// Name shown to people; the host's name when there is none.
    pub name: Option<String>,
    /// Tasks whose programs run at the same time, 1 to [`SLOTS_MAX`].
    pub slots: u32,
    /// How the machine is divided among them.
    pub division: Division,
    /// Task types to take.
    pub task_types: Vec<String>,
    /// How long the Manager may hold back the answer to "is there work"; 0 asks for an answer
    /// at once.
    pub long_poll_s: u64,
    /// Whether somebody starts this Worker again when it ends with [`ExitReason::Restart`].
    pub can_restart: bool,
    /// Program with the `supervise` subcommand; this one when there is none.
    pub supervisor: Option<PathBuf>,
    /// Score for Linux's out-of-memory killer that started programs get, 0 to 1000.
    pub oom_score_adj: Option<i32>,
    /// What this machine must have to be fit for work.
    pub health: HealthLimits,
    /// Commands it runs; empty means all.
    pub allowed_commands: Vec<String>,
    /// Programs it starts, by the name or path that tasks use; empty means all.
    pub allowed_programs: Vec<String>,
    /// Folders below which tasks may remove files; empty means wherever nothing speaks against it.
    pub removable_roots: Vec<PathBuf>,
    /// Whether the next task is claimed while one runs.
    pub claim_ahead: bool,
    /// Whether and how long a Blender is kept up between tasks of one job.
    pub warm: WarmLimits,
}

impl Options {
    /// The usual set-up for a Manager and a data directory.
    pub fn new(manager_url: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            manager_url: manager_url.into(),
            data_dir: data_dir.into(),
            name: None,
            slots: 1,
            division: Division::default(),
            task_types: TASK_TYPES.map(str::to_owned).to_vec(),
            long_poll_s: 30,
            can_restart: false,
            supervisor: None,
            oom_score_adj: None,
            health: HealthLimits::default(),
            allowed_commands: Vec::new(),
            allowed_programs: Vec::new(),
            removable_roots: Vec::new(),
            claim_ahead: true,
            warm: WarmLimits::default(),
        }
    }
}

/// Why a Worker ended in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// The caller asked for it.
    Shutdown,
    /// Somebody set its status to offline.
    Offline,
    /// Somebody asked it to restart.
    Restart,
}

/// The name of this machine.
pub fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Runs a Worker until `shutdown` resolves or its Manager tells it to leave.
///
/// A running task is stopped at the end; what it had rendered is published and reported.
///
/// # Errors
/// When the Worker's own files cannot be used, or the Manager definitely refuses it. A Manager
/// that is out of reach is no error: the Worker tries again for as long as it runs.
pub async fn run(
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<ExitReason, Error> {
    let _lock = identity::lock(&options.data_dir)?;
    let (ask, asked) = tokio::sync::watch::channel(false);
    let worker = worker::Worker::run(options, asked);
    tokio::pin!(worker, shutdown);
    tokio::select! {
        result = &mut worker => result,
        () = &mut shutdown => {
            ask.send_replace(true);
            worker.await
        }
    }
}
