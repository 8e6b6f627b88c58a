// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao tasks`: look at a job's tasks, read their logs, queue or cancel one.

use std::io::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    again,
    listing::{Client, Listing, Time, filters},
};
use crate::{client, output::Column};

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("STATUS", "/status"),
    ("DONE", "/steps_completed"),
    ("OF", "/steps_total"),
    ("TYPE", "/type"),
    ("FRAMES", "/frames"),
    ("WORKER", "/worker/name"),
    ("NAME", "/name"),
    ("ACTIVITY", "/activity"),
];

/// Look at a job's tasks, read their logs, queue or cancel one.
///
/// Example: tablao tasks list JOB --status failed
#[derive(Args)]
pub(crate) struct Tasks {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Subcommand)]
enum Verb {
    /// List a job's tasks.
    List {
        /// The job.
        #[arg(value_name = "JOB")]
        job: String,
        /// Only these statuses, separated by commas.
        #[arg(long)]
        status: Option<String>,
        /// Only this task type.
        #[arg(long = "type", value_name = "TYPE")]
        task_type: Option<String>,
        /// Only names with this in them.
        #[arg(long)]
        name: Option<String>,
        /// Only what this worker (name or id) ran last.
        #[arg(long)]
        worker: Option<String>,
        #[command(flatten)]
        time: Time,
        /// Those instead that went when the job was regenerated.
        #[arg(long)]
        retired: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one task with its commands.
    Show {
        /// The task.
        #[arg(value_name = "TASK")]
        task: String,
    },
    /// Print a task's log.
    Log {
        /// The task.
        #[arg(value_name = "TASK")]
        task: String,
        /// Begin at this byte.
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        offset: u64,
    },
    /// Queue a task again.
    Requeue(again::RequeueTask),
    /// Cancel a task.
    Cancel(Change),
}

/// A task, and why it is changed.
#[derive(Args)]
pub(super) struct Change {
    /// The task.
    #[arg(value_name = "TASK")]
    pub(super) task: String,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) reason: String,
}

impl Tasks {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = self.client;
        client::block_on(async {
            match self.verb {
                Verb::List {
                    job,
                    status,
                    task_type,
                    name,
                    worker,
                    time,
                    retired,
                    listing,
                } => {
                    let path = format!("/api/farm/v1/jobs/{}/tasks", super::id("job", &job)?);
                    let mut filters = filters([
                        ("status", status),
                        ("type", task_type),
                        ("name", name),
                        ("worker", worker),
                        ("retired", retired.then(|| "true".to_owned())),
                    ]);
                    time.add_to(&mut filters);
                    client.list(&path, filters, &listing, COLUMNS).await
                }
                Verb::Show { task } => {
                    let task = super::id("task", &task)?;
                    client.show(&format!("/api/farm/v1/tasks/{task}")).await
                }
                Verb::Log { task, offset } => log(&client, &task, offset).await,
                Verb::Requeue(requeue) => requeue.run(&client).await,
                Verb::Cancel(change) => set_status(&client, &change, "canceled").await,
            }
        })
    }
}

/// Brings a task to a status and tells what it has become.
pub(super) async fn set_status(
    client: &Client,
    change: &Change,
    status: &str,
) -> anyhow::Result<()> {
    let farm = client.farm()?;
    let id = super::id("task", &change.task)?;
    let body = json!({ "status": status, "reason": change.reason });
    farm.post(&format!("/api/v3/tasks/{id}/setstatus"), &body)
        .await?;
    let now = farm.get(&format!("/api/farm/v1/tasks/{id}"), &[]).await?;
    client.say(&now, || {
        format!(
            "task {id} is {}",
            now["status"].as_str().unwrap_or_default()
        )
    })
}

/// The farm gives a long log in parts, which may end in the middle of a letter.
async fn log(client: &Client, task: &str, mut offset: u64) -> anyhow::Result<()> {
    let farm = client.farm()?;
    let path = format!("/api/farm/v1/tasks/{}/log", super::id("task", task)?);
    let mut whole = Vec::new();
    loop {
        let part = farm.bytes(&path, &[("offset", offset.to_string())]).await?;
        if part.is_empty() {
            break;
        }
        offset += part.len() as u64;
        if client.json {
            whole.extend(part);
        } else {
            let mut output = std::io::stdout().lock();
            output.write_all(&part)?;
            output.flush()?;
        }
    }
    if !client.json {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&whole);
    crate::output::json(&json!({ "task": task, "log": log, "next_offset": offset }))
}
