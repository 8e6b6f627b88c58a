// SPDX-License-Identifier: GPL-3.0-or-later
//! The subcommands, one file each.

mod demo;
mod farm;
mod worker;

use std::path::Path;

use clap::Subcommand;

use crate::exit::{Code, Exit};

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
    /// Render a small animated scene on a farm of your own, from nothing to a video.
    Demo(demo::Demo),
}

impl Command {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Up(command) => command.run(),
            Self::Manager(command) => command.run(),
            Self::Server(command) => command.run(),
            Self::Worker(command) => command.run(),
            Self::Demo(command) => command.run(),
        }
    }
}

/// A path as it goes into JSON. Paths that are not UTF-8 cannot be named there.
fn utf8(path: &Path) -> anyhow::Result<&str> {
    path.to_str().ok_or_else(|| {
        Exit::new(
            Code::Usage,
            format!(
                "the path {} is not UTF-8 and cannot be sent to a farm; rename it",
                path.display()
            ),
        )
        .into()
    })
}

/// This platform in the names that jobs use.
fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}
