// SPDX-License-Identifier: GPL-3.0-or-later
//! The subcommands, one file each.

mod again;
mod backup;
mod bench;
mod completions;
mod config;
mod demo;
mod doctor;
mod farm;
mod frames;
mod import;
mod jobs;
mod jobtype;
mod journal;
mod journal_note;
mod journal_retire;
mod journal_upkeep;
mod listing;
mod managers;
mod records;
mod replay;
mod settings;
mod setup;
mod shaman;
mod slots;
mod submit;
mod tasks;
mod warm;
mod worker;
mod workers;

use std::path::Path;

use clap::Subcommand;

use crate::exit::{Code, Exit};

/// What to do. Each command's help stands at its own type.
#[derive(Subcommand)]
pub(crate) enum Command {
    Up(farm::Up),
    Manager(farm::Manager),
    Server(farm::Server),
    Worker(worker::Worker),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Submit(Box<submit::Submit>),
    Jobs(jobs::Jobs),
    #[command(name = "jobtype")]
    JobType(jobtype::JobType),
    Tasks(tasks::Tasks),
    Workers(workers::Workers),
    Frames(frames::Frames),
    Managers(managers::Managers),
    Journal(journal::Journal),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Replay(replay::Replay),
    Shaman(shaman::Shaman),
    Setup(setup::Setup),
    Import(import::Import),
    Config(config::Config),
    Bench(bench::Bench),
    Completions(completions::Completions),
}

impl Command {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Up(command) => command.run(),
            Self::Manager(command) => command.run(),
            Self::Server(command) => command.run(),
            Self::Worker(command) => command.run(),
            Self::Demo(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::Submit(command) => command.run(),
            Self::Jobs(command) => command.run(),
            Self::JobType(command) => command.run(),
            Self::Tasks(command) => command.run(),
            Self::Workers(command) => command.run(),
            Self::Frames(command) => command.run(),
            Self::Managers(command) => command.run(),
            Self::Journal(command) => command.run(),
            Self::Backup(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::Replay(command) => command.run(),
            Self::Shaman(command) => command.run(),
            Self::Setup(command) => command.run(),
            Self::Import(command) => command.run(),
            Self::Config(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Completions(command) => command.run(),
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

/// An id, checked before it goes into an address.
fn id<'a>(noun: &str, text: &'a str) -> anyhow::Result<&'a str> {
    match uuid::Uuid::try_parse(text) {
        Ok(_) => Ok(text),
        Err(_) => {
            let words =
                format!("{text:?} is not the id of a {noun}; `tablao {noun}s list` shows them");
            Err(Exit::new(Code::Usage, words).into())
        }
    }
}

/// This platform in the names that jobs use.
fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}
