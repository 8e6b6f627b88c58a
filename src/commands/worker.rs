// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao worker`: a Worker as a process of its own.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tablao_agent::{ExitReason, discovery};

use super::{slots::Slots, warm::Warm};

/// Run a Worker.
///
/// Without --manager it goes to the Manager that it worked for last, to one on this machine, or
/// searches the local network.
///
/// Example: tablao worker --manager http://192.168.1.10:8080 --name render-07
#[derive(Args)]
pub(crate) struct Worker {
    /// The Manager's address.
    #[arg(long, value_name = "URL", env = "TABLAO_MANAGER")]
    manager: Option<String>,
    /// Where the Worker keeps its identity and what it still has to say.
    #[arg(long, value_name = "DIR", default_value = "tablao-worker")]
    data: PathBuf,
    /// Name shown to people; the host's name when there is none.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Task types to take, separated by commas.
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    task_types: Vec<String>,
    /// Commands to run, separated by commas; a task with another one goes to other workers.
    #[arg(long, value_name = "COMMANDS", value_delimiter = ',')]
    allowed_commands: Vec<String>,
    /// Programs to start, by the name or path that tasks use, separated by commas.
    #[arg(long, value_name = "PROGRAMS", value_delimiter = ',')]
    allowed_programs: Vec<String>,
    /// Folders below which tasks may remove what they made, separated by commas.
    #[arg(long, value_name = "DIRS", value_delimiter = ',')]
    removable_roots: Vec<PathBuf>,
    /// Exit code that tells a service manager to start this Worker again.
    #[arg(long, value_name = "CODE")]
    restart_exit_code: Option<u8>,
    /// Free space that the disks of this Worker and of its outputs must have, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    min_free: u64,
    /// How often a sick Worker looks whether it is well again, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    recheck: u64,
    #[command(flatten)]
    slots: Slots,
    #[command(flatten)]
    warm: Warm,
}

impl Worker {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start the runtime")?;
        let manager = match self.manager {
            Some(manager) => {
                discovery::remember(&self.data, &manager)?;
                manager
            }
            None => {
                let finding = discovery::find_manager(&self.data, super::farm::signal());
                match runtime.block_on(finding)? {
                    Some(manager) => manager,
                    // Asked to end while it searched.
                    None => return Ok(()),
                }
            }
        };
        let mut options = tablao_agent::Options::new(manager, self.data);
        options.name = self.name;
        self.slots.set(&mut options);
        options.warm = self.warm.limits();
        options.can_restart = self.restart_exit_code.is_some();
        options.health = tablao_agent::HealthLimits {
            free_bytes_min: self.min_free << 20,
            recheck: std::time::Duration::from_secs(self.recheck.max(1)),
        };
        options.allowed_commands = self.allowed_commands;
        options.allowed_programs = self.allowed_programs;
        options.removable_roots = self.removable_roots;
        if !self.task_types.is_empty() {
            options.task_types = self.task_types;
        }
        let reason = runtime.block_on(tablao_agent::run(options, super::farm::signal()))?;
        if let (ExitReason::Restart, Some(code)) = (reason, self.restart_exit_code) {
            std::process::exit(code.into());
        }
        Ok(())
    }
}
