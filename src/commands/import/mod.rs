// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao import flamenco`: brings a Flamenco Manager's configuration, Workers, tags, sleep
//! schedules and jobs over into a data directory at rest. Reads all of it first; what is here
//! already stays as it is, so it can be repeated. Flamenco's own files are only read.

mod configuration;
mod database;
mod schedules;
mod tables;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tablao_net::{
    config::FILE_NAME,
    import::{ForeignFarm, Imported, Tally},
    node::{Node, NodeOptions, Role},
};

use crate::{client::block_on, output};

/// Bring over what another render farm's manager has.
///
/// Example: tablao import flamenco --config flamenco-manager.yaml --database flamenco-manager.sqlite
#[derive(Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand)]
enum From {
    Flamenco(Flamenco),
}

/// From a Flamenco 3 Manager, while it is stopped: configuration, Workers with their secrets,
/// tags, sleep schedules, jobs with tasks and states.
///
/// Running it again changes nothing. Task logs and last-rendered images are not brought over.
#[derive(Args)]
struct Flamenco {
    /// Its configuration file, flamenco-manager.yaml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Its database, flamenco-manager.sqlite; without it only the configuration comes over.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// The data directory of the Manager that takes it over; made when it is new.
    #[arg(long, value_name = "DIR", default_value = "tablao-data")]
    data: PathBuf,
    /// Say what would be brought over, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let From::Flamenco(flamenco) = self.from;
        flamenco.run()
    }
}

impl Flamenco {
    fn run(self) -> anyhow::Result<()> {
        let mut notes = Vec::new();
        let file = self.data.join(FILE_NAME);
        let configuration = configuration::take(&self.config, &file, &self.data, &mut notes)?;
        let farm = match &self.database {
            Some(path) => database::read(path, &mut notes)
                .with_context(|| format!("read the database {}", path.display()))?,
            None => ForeignFarm::default(),
        };
        let found = counts(&farm);
        let changes = configuration.changes();
        if self.dry_run {
            return self.tell(&found, None, changes, &notes);
        }
        if changes {
            configuration.save()?;
        }
        let imported = match &self.database {
            Some(_) => Some(self.bring(farm)?),
            None => None,
        };
        self.tell(&found, imported, changes, &notes)
    }

    /// Takes the farm over into the data directory.
    fn bring(&self, farm: ForeignFarm) -> anyhow::Result<Imported> {
        let node = Node::start(&NodeOptions {
            data: self.data.clone(),
            role: Role::Manager,
            link: None,
        })?;
        let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME"));
        let user = user.unwrap_or_default();
        let bar = (!self.json).then(|| indicatif::ProgressBar::new(farm.jobs.len() as u64));
        let done = block_on(async {
            let told = |done: &Imported| {
                if let Some(bar) = &bar {
                    bar.set_position((done.jobs.new + done.jobs.known) as u64);
                }
            };
            Ok(node.import(farm, &user, told).await?)
        });
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        node.close();
        done
    }

    fn tell(
        &self,
        found: &Value,
        imported: Option<Imported>,
        changes: bool,
        notes: &[String],
    ) -> anyhow::Result<()> {
        if self.json {
            let tally = |tally: Tally| json!({ "new": tally.new, "here_already": tally.known });
            let imported = imported.map(|done| {
                json!({
                    "tags": tally(done.tags), "workers": tally(done.workers),
                    "jobs": tally(done.jobs), "tasks": done.tasks,
                })
            });
            return output::json(&json!({
                "dry_run": self.dry_run, "configuration_changed": changes, "found": found,
                "imported": imported, "notes": notes,
            }));
        }
        output::line(&format!(
            "found: {} tags, {} workers, {} jobs with {} tasks",
            found["tags"], found["workers"], found["jobs"], found["tasks"]
        ))?;
        for note in notes {
            output::line(&format!("note: {note}"))?;
        }
        let file = self.data.join(FILE_NAME);
        let would = if self.dry_run { "would be" } else { "was" };
        if changes {
            output::line(&format!("{} {would} written", file.display()))?;
        } else {
            output::line(&format!("{} stays as it is", file.display()))?;
        }
        if let Some(done) = imported {
            output::line(&format!(
                "brought over: {} tags, {} workers, {} jobs with {} tasks; here already: {} tags, \
                 {} workers, {} jobs",
                done.tags.new,
                done.workers.new,
                done.jobs.new,
                done.tasks,
                done.tags.known,
                done.workers.known,
                done.jobs.known
            ))?;
        }
        Ok(())
    }
}

fn counts(farm: &ForeignFarm) -> Value {
    let tasks: usize = (farm.jobs.iter()).map(|job| job.compiled.tasks.len()).sum();
    json!({
        "tags": farm.tags.len(), "workers": farm.workers.len(), "jobs": farm.jobs.len(),
        "tasks": tasks,
    })
}
