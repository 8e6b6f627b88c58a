// SPDX-License-Identifier: GPL-3.0-or-later
//! The subcommands, one file each.

mod farm;
mod worker;

use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a whole farm on this machine: a Manager with the dashboard, and workers.
    Up(farm::Up),
    /// Run a Manager, alone or below a Server.
    Manager(farm::Manager),
    /// Run the Server alone; Managers link to it.
    Server(farm::Server),
    /// Run a Worker.
    Worker(worker::Worker),
}

impl Command {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Up(command) => command.run(),
            Self::Manager(command) => command.run(),
            Self::Server(command) => command.run(),
            Self::Worker(command) => command.run(),
        }
    }
}
