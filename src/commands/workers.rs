// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao workers`: look at workers, send them to sleep or wake them, tag them, keep sick ones
//! from work.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::listing::{Client, Listing, Time, filters};
use crate::{
    client::{self, Farm},
    exit::{Code, Exit},
    output::Column,
};

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("STATUS", "/status"),
    ("REQUESTED", "/status_change/status"),
    ("QUARANTINE", "/quarantine/cause"),
    ("TASK", "/task/name"),
    ("PLATFORM", "/platform"),
    ("TAGS", "/tags"),
    ("SOFTWARE", "/software"),
    ("LAST SEEN", "/last_seen"),
];

/// Look at workers, send them to sleep or wake them, tag them.
///
/// Example: tablao workers set-status render-07 asleep --lazy
#[derive(Args)]
pub(crate) struct Workers {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    client: Client,
}

#[derive(Subcommand)]
enum Verb {
    /// List workers.
    List {
        /// Only these statuses, separated by commas.
        #[arg(long)]
        status: Option<String>,
        /// Only names with this in them.
        #[arg(long)]
        name: Option<String>,
        /// Only workers with this tag (name or id).
        #[arg(long)]
        tag: Option<String>,
        /// Only workers that run this task type.
        #[arg(long = "type", value_name = "TYPE")]
        task_type: Option<String>,
        /// Only workers in quarantine.
        #[arg(long)]
        quarantined: bool,
        #[command(flatten)]
        time: Time,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one worker.
    Show {
        /// Its id, or its name where only one has it.
        #[arg(value_name = "WORKER")]
        worker: String,
    },
    /// Ask a worker to wake up, sleep, end or start again.
    SetStatus {
        /// Its id, or its name where only one has it.
        #[arg(value_name = "WORKER")]
        worker: String,
        /// What it is to become.
        #[arg(value_name = "STATUS")]
        status: Status,
        /// Let it finish its task first; otherwise the task is stopped and queued again.
        #[arg(long)]
        lazy: bool,
    },
    /// Keep a worker from work until it is released. What it runs is given to others at once.
    ///
    /// Example: tablao workers quarantine render-07 "its GPU overheats"
    Quarantine {
        /// Its id, or its name where only one has it.
        #[arg(value_name = "WORKER")]
        worker: String,
        /// Why, for others to read.
        #[arg(value_name = "REASON")]
        reason: String,
    },
    /// Let a worker in quarantine work again.
    Release {
        /// Its id, or its name where only one has it.
        #[arg(value_name = "WORKER")]
        worker: String,
        /// Why, for others to read.
        #[arg(value_name = "REASON", default_value = "")]
        reason: String,
    },
    /// Show when a worker sleeps, or set it.
    ///
    /// Example: tablao workers schedule render-07 --from 22:00 --to 06:00 --days mo,tu,we,th
    Schedule {
        /// Its id, or its name where only one has it.
        #[arg(value_name = "WORKER")]
        worker: String,
        /// Falls asleep at this time of day; without it, at midnight.
        #[arg(long, value_name = "HH:MM")]
        from: Option<String>,
        /// Wakes at this time; before the other one it means the next day. Without it, at midnight.
        #[arg(long, value_name = "HH:MM")]
        to: Option<String>,
        /// Days on which it falls asleep: mo tu we th fr sa su, separated by commas. Without them,
        /// every day.
        #[arg(long, value_name = "DAYS")]
        days: Option<String>,
        /// Time zone of these times, as Europe/Amsterdam; the Manager's own if there is none.
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        /// Keep the schedule, but let nothing follow from it.
        #[arg(long)]
        off: bool,
    },
    /// Show a worker's tags, or set them.
    Tags {
        /// Its id, or its name where only one has it.
        #[arg(value_name = "WORKER")]
        worker: String,
        /// The tags it is to have (names or ids), in place of those it has.
        #[arg(value_name = "TAG", conflicts_with = "clear")]
        tags: Vec<String>,
        /// Make the tags that do not exist yet.
        #[arg(long, requires = "tags")]
        create: bool,
        /// Take all tags away.
        #[arg(long)]
        clear: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Awake,
    Asleep,
    Offline,
    Restart,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Awake => "awake",
            Self::Asleep => "asleep",
            Self::Offline => "offline",
            Self::Restart => "restart",
        }
    }
}

impl Workers {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = self.client;
        client::block_on(async {
            match self.verb {
                Verb::List {
                    status,
                    name,
                    tag,
                    task_type,
                    quarantined,
                    time,
                    listing,
                } => {
                    let quarantined = quarantined.then(|| "true".to_owned());
                    let mut filters = filters([
                        ("status", status),
                        ("name", name),
                        ("tag", tag),
                        ("type", task_type),
                        ("quarantined", quarantined),
                    ]);
                    time.add_to(&mut filters);
                    let path = "/api/farm/v1/workers";
                    client.list(path, filters, &listing, COLUMNS).await
                }
                Verb::Show { worker } => {
                    let id = find(&client, &worker).await?;
                    client.show(&format!("/api/farm/v1/workers/{id}")).await
                }
                Verb::SetStatus {
                    worker,
                    status,
                    lazy,
                } => {
                    let id = find(&client, &worker).await?;
                    let body = json!({ "status": status.name(), "is_lazy": lazy });
                    let path = format!("/api/v3/worker-mgt/workers/{id}/setstatus");
                    client.farm()?.post(&path, &body).await?;
                    told(&client, &id).await
                }
                Verb::Quarantine { worker, reason } => {
                    let id = find(&client, &worker).await?;
                    let path = format!("/api/farm/v1/workers/{id}/quarantine");
                    client
                        .farm()?
                        .post(&path, &json!({ "reason": reason }))
                        .await?;
                    told(&client, &id).await
                }
                Verb::Release { worker, reason } => {
                    let id = find(&client, &worker).await?;
                    let path = format!("/api/farm/v1/workers/{id}/release");
                    client
                        .farm()?
                        .post(&path, &json!({ "reason": reason }))
                        .await?;
                    told(&client, &id).await
                }
                Verb::Schedule {
                    worker,
                    from,
                    to,
                    days,
                    zone,
                    off,
                } => {
                    let id = find(&client, &worker).await?;
                    let wanted = [from, to, days, zone];
                    schedule(&client, &id, wanted, off).await
                }
                Verb::Tags {
                    worker,
                    tags,
                    create,
                    clear,
                } => {
                    let id = find(&client, &worker).await?;
                    if clear || !tags.is_empty() {
                        let farm = client.farm()?;
                        let body = json!({ "tag_ids": tag_ids(&farm, &tags, create).await? });
                        let path = format!("/api/v3/worker-mgt/workers/{id}/settags");
                        farm.post(&path, &body).await?;
                    }
                    told(&client, &id).await
                }
            }
        })
    }
}

/// Sets when a worker sleeps, if anything about it was said, and tells it.
async fn schedule(
    client: &Client,
    id: &str,
    [from, to, days, zone]: [Option<String>; 4],
    off: bool,
) -> anyhow::Result<()> {
    let farm = client.farm()?;
    let path = format!("/api/v3/worker-mgt/workers/{id}/sleep-schedule");
    let mut now = farm.get(&path, &[]).await?;
    let is_said = [&from, &to, &days, &zone].iter().any(|word| word.is_some());
    if is_said || off {
        let mut body = json!({
            "is_active": !off, "start_time": "", "end_time": "", "days_of_week": "",
        });
        if !is_said && now.is_object() {
            body = now;
            body["is_active"] = json!(false);
        }
        for (key, word) in [
            ("start_time", from),
            ("end_time", to),
            ("days_of_week", days),
            ("time_zone", zone),
        ] {
            if let Some(word) = word {
                body[key] = json!(word);
            }
        }
        farm.post(&path, &body).await?;
        now = farm.get(&path, &[]).await?;
    }
    client.say(&now, || {
        let word = |key: &str| now[key].as_str().filter(|word| !word.is_empty());
        if !now.is_object() {
            return "it has no schedule".to_owned();
        }
        format!(
            "sleeps from {} to {}, {}{}{}",
            word("start_time").unwrap_or("midnight"),
            word("end_time").unwrap_or("midnight"),
            word("days_of_week").unwrap_or("every day"),
            word("time_zone").map_or_else(String::new, |zone| format!(", in {zone}")),
            if now["is_active"] == true {
                ""
            } else {
                " (switched off)"
            }
        )
    })
}

/// Tells what a worker has become.
async fn told(client: &Client, id: &str) -> anyhow::Result<()> {
    let path = format!("/api/farm/v1/workers/{id}");
    let now = client.farm()?.get(&path, &[]).await?;
    client.say(&now, || {
        let word = |pointer: &str| now.pointer(pointer).and_then(Value::as_str);
        let mut words = format!(
            "worker {} is {}",
            word("/name").unwrap_or(id),
            word("/status").unwrap_or("unknown")
        );
        if let Some(asked) = word("/status_change/status") {
            words.push_str(&format!(", asked to become {asked}"));
        }
        if let Some(reason) = word("/quarantine/reason") {
            words.push_str(&format!(", in quarantine: {reason}"));
        }
        let tags = now["tags"].as_array().into_iter().flatten();
        let tags: Vec<&str> = tags.filter_map(|tag| tag["name"].as_str()).collect();
        if !tags.is_empty() {
            words.push_str(&format!(", tags {}", tags.join(", ")));
        }
        words
    })
}

/// A worker's id, from an id or a name that only one has.
async fn find(client: &Client, worker: &str) -> anyhow::Result<String> {
    if uuid::Uuid::try_parse(worker).is_ok() {
        return Ok(worker.to_owned());
    }
    let named = vec![("name".into(), worker.to_owned())];
    let (found, _) = client.read("/api/farm/v1/workers", named, 1000).await?;
    let ids: Vec<&str> = found
        .iter()
        .filter(|item| item["name"] == worker)
        .filter_map(|item| item["id"].as_str())
        .collect();
    match ids[..] {
        [id] => Ok(id.to_owned()),
        [] => Err(Exit::new(
            Code::Failed,
            format!("no worker is called {worker:?}; `tablao workers list` shows them"),
        )
        .into()),
        _ => Err(Exit::new(
            Code::Usage,
            format!(
                "{} workers are called {worker:?}; name one by its id",
                ids.len()
            ),
        )
        .into()),
    }
}

/// The ids of tags; unknown ones are made or refused.
async fn tag_ids(farm: &Farm, wanted: &[String], create: bool) -> anyhow::Result<Vec<String>> {
    let path = "/api/v3/worker-mgt/tags";
    let known = farm.get(path, &[]).await?;
    let known = known["tags"].as_array().cloned().unwrap_or_default();
    let mut ids = Vec::with_capacity(wanted.len());
    for tag in wanted {
        let found = known
            .iter()
            .find(|row| row["id"] == **tag || row["name"] == **tag);
        let row = match found {
            Some(row) => row.clone(),
            None if create => farm.post(path, &json!({ "name": tag })).await?,
            None => {
                return Err(Exit::new(
                    Code::Failed,
                    format!("there is no tag {tag:?}; --create makes it"),
                )
                .into());
            }
        };
        ids.extend(row["id"].as_str().map(str::to_owned));
    }
    Ok(ids)
}
