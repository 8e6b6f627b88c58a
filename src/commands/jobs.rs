// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao jobs`: look at jobs and change them.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    again,
    listing::{Client, Listing, OfJob, filters},
};
use crate::{
    client,
    exit::{Code, Exit},
    follow,
    output::{self, Column},
};

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("STATUS", "/status"),
    ("PRIORITY", "/priority"),
    ("DONE", "/steps_completed"),
    ("OF", "/steps_total"),
    ("TYPE", "/type"),
    ("USER", "/user"),
    ("CREATED", "/created"),
    ("NAME", "/name"),
];

/// Look at jobs and change them.
///
/// Example: tablao jobs list --status active,queued
#[derive(Args)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Subcommand)]
enum Verb {
    /// List jobs, oldest first.
    List {
        /// Only these statuses, separated by commas.
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        of_job: OfJob,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one job with its settings.
    Show {
        /// The job.
        #[arg(value_name = "JOB")]
        job: String,
    },
    /// Follow a job to its end; ends 0 only if it completed.
    Wait {
        /// The job.
        #[arg(value_name = "JOB")]
        job: String,
    },
    /// Cancel a job: what runs is stopped, what is done stays.
    Cancel(Change),
    /// Let a job's running tasks end and start no more of it.
    Pause(Change),
    /// Queue a job again: a paused one goes on, an ended one runs again.
    ///
    /// With --failed, --missing or --by-worker only those of its tasks.
    Requeue(again::Requeue),
    /// Compile a job anew: with the present script, other settings, another blend file.
    ///
    /// Tasks that do the same as before keep what they have done; the others run anew, over
    /// their old output. --preview says what would happen and changes nothing.
    ///
    /// Example: tablao jobs regenerate JOB --set samples=128 --preview
    #[command(verbatim_doc_comment)]
    Regenerate(again::Regenerate),
    /// Set a job's priority.
    Priority {
        /// The job.
        #[arg(value_name = "JOB")]
        job: String,
        /// 0 to 100; higher runs first.
        #[arg(value_name = "PRIORITY", value_parser = clap::value_parser!(i32).range(0..=100))]
        priority: i32,
    },
    /// Delete a job. It can be restored for a day (`deleted_job_keep_s`); then its logs,
    /// thumbnails and checkout go with it. Its frames stay on the disk, its history in the journal.
    Delete {
        /// The job.
        #[arg(value_name = "JOB")]
        job: String,
        /// At once and for good.
        #[arg(long)]
        now: bool,
    },
    /// Take a job's deletion back. What ran was canceled: requeue it to run the rest.
    Restore {
        /// The job.
        #[arg(value_name = "JOB")]
        job: String,
    },
}

/// A job, and why it is changed.
#[derive(Args)]
pub(super) struct Change {
    /// The job.
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) reason: String,
}

impl Jobs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = self.client;
        client::block_on(async {
            match self.verb {
                Verb::List {
                    status,
                    of_job,
                    listing,
                } => {
                    let mut filters = filters([("status", status)]);
                    of_job.add_to(&mut filters);
                    let path = "/api/farm/v1/jobs";
                    client.list(path, filters, &listing, COLUMNS).await
                }
                Verb::Show { job } => client.show(&address(&job)?).await,
                Verb::Wait { job } => wait(&client, &job).await,
                Verb::Cancel(change) => set_status(&client, &change, "cancel-requested").await,
                Verb::Pause(change) => set_status(&client, &change, "pause-requested").await,
                Verb::Requeue(requeue) => requeue.run(&client).await,
                Verb::Regenerate(regenerate) => regenerate.run(&client).await,
                Verb::Priority { job, priority } => {
                    let body = json!({ "priority": priority });
                    change(&client, &job, "setpriority", &body).await
                }
                Verb::Delete { job, now } => {
                    let job = super::id("job", &job)?;
                    let farm = client.farm()?;
                    farm.delete(&format!("/api/v3/jobs/{job}")).await?;
                    if now {
                        farm.post(&format!("{}/purge", address(job)?), &Value::Null)
                            .await?;
                    }
                    client.say(&json!({ "id": job }), || {
                        if now {
                            format!("job {job} is gone")
                        } else {
                            format!("job {job} is marked for deletion; `tablao jobs restore {job}` takes it back")
                        }
                    })
                }
                Verb::Restore { job } => {
                    let job = super::id("job", &job)?;
                    let path = format!("{}/restore", address(job)?);
                    client.farm()?.post(&path, &Value::Null).await?;
                    client.say(&json!({ "id": job }), || format!("job {job} is restored"))
                }
            }
        })
    }
}

pub(super) fn address(job: &str) -> anyhow::Result<String> {
    Ok(format!("/api/farm/v1/jobs/{}", super::id("job", job)?))
}

pub(super) async fn set_status(
    client: &Client,
    wanted: &Change,
    status: &str,
) -> anyhow::Result<()> {
    let body = json!({ "status": status, "reason": wanted.reason });
    change(client, &wanted.job, "setstatus", &body).await
}

/// Changes a job and tells what it has become.
async fn change(client: &Client, job: &str, verb: &str, body: &Value) -> anyhow::Result<()> {
    let farm = client.farm()?;
    let id = super::id("job", job)?;
    farm.post(&format!("/api/v3/jobs/{id}/{verb}"), body)
        .await?;
    let now = farm.get(&address(job)?, &[]).await?;
    client.say(&now, || {
        format!(
            "job {id} is {}, priority {}",
            now["status"].as_str().unwrap_or_default(),
            now["priority"]
        )
    })
}

async fn wait(client: &Client, job: &str) -> anyhow::Result<()> {
    let farm = client.farm()?;
    let ended = follow::follow(&farm, super::id("job", job)?, "steps").await?;
    if client.json {
        output::json(&ended.job)?;
    }
    if ended.is_completed() {
        if !client.json {
            output::line(&format!("job {job} is completed"))?;
        }
        return Ok(());
    }
    let why = follow::why_not_completed(&farm, &ended).await;
    Err(Exit::new(Code::Failed, why).into())
}
