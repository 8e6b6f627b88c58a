// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao jobs regenerate`, `tablao jobs requeue`, `tablao tasks requeue`: what runs again, and
//! with `--preview` what would.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::{
    jobs::{Change, address, set_status},
    listing::Client,
    settings::{Declared, pair},
    tasks,
};
use crate::{
    client::Farm,
    exit::{Code, Exit},
};

/// Names that are printed of each sort of task.
const NAMES_PRINTED: usize = 20;

/// Which job, and how to compile it anew.
#[derive(Args)]
pub(super) struct Regenerate {
    #[command(flatten)]
    change: Change,
    /// A setting that changes; may be given several times. The others stay as submitted.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// The blend file, if it is another one, or one that changed where the farm cannot see it.
    #[arg(long, value_name = "FILE.blend")]
    file: Option<PathBuf>,
    /// Every task counts as changed.
    #[arg(long)]
    everything: bool,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    preview: bool,
    /// Refuse if something else would happen than what this preview said (its ETag).
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

impl Regenerate {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let farm = client.farm()?;
        let path = address(&self.change.job)?;
        let mut settings = match self.settings.as_slice() {
            [] => serde_json::Map::new(),
            given => declared(&farm, &path).await?.changes(given)?,
        };
        let mut inputs = Vec::new();
        if let Some(file) = &self.file {
            let input = input(file)?;
            settings.insert("blendfile".to_owned(), input["path"].clone());
            inputs.push(input);
        }
        let body = json!({
            "settings": settings, "inputs": inputs, "submitter_platform": super::platform(),
            "everything": self.everything, "preview": self.preview, "reason": self.change.reason,
        });
        let path = format!("{path}/regenerate");
        let (told, etag) = farm.post_if(&path, &body, self.if_match.as_deref()).await?;
        let mut shown = told.clone();
        shown["etag"] = json!(etag);
        client.say(&shown, || words(&told, etag.as_deref()))
    }
}

/// What the job's type declares.
async fn declared(farm: &Farm, job: &str) -> anyhow::Result<Declared> {
    let job = farm.get(job, &[]).await?;
    let name = job["type"].as_str().unwrap_or_default();
    let job_type = farm.get(&format!("/api/v3/jobs/type/{name}"), &[]).await?;
    Ok(Declared::new(&job_type))
}

/// A file as this machine sees it.
fn input(file: &Path) -> anyhow::Result<Value> {
    let path = std::path::absolute(file).with_context(|| format!("find {}", file.display()))?;
    let read = || -> std::io::Result<(blake3::Hash, std::fs::Metadata)> {
        let opened = std::fs::File::open(&path)?;
        let metadata = opened.metadata()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(opened)?;
        Ok((hasher.finalize(), metadata))
    };
    let (hash, metadata) = read().map_err(|error| {
        let words = format!("cannot read {}: {error}", path.display());
        Exit::new(Code::Usage, words)
    })?;
    let modified = metadata.modified().ok();
    let age = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let mtime_us = age.map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    Ok(json!({
        "path": super::utf8(&path)?, "hash": hash.to_hex().as_str(),
        "size": metadata.len(), "mtime_us": mtime_us,
    }))
}

/// A sort of tasks in words: how many, and some of their names.
fn sort(told: &Value, key: &str, words: &str) -> Option<String> {
    let count = told[key]["count"].as_u64().filter(|count| *count > 0)?;
    let names = told[key]["names"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = names.filter_map(Value::as_str).collect();
    let more = names.len() > NAMES_PRINTED || (names.len() as u64) < count;
    names.truncate(NAMES_PRINTED);
    let dots = if more { ", ..." } else { "" };
    Some(format!("{count} {words}: {}{dots}", names.join(", ")))
}

fn words(told: &Value, etag: Option<&str>) -> String {
    let number = |key: &str| told[key].as_u64().unwrap_or_default();
    let sorts = [
        ("changed", "changed, and run anew"),
        ("added", "new"),
        ("vanished", "retired"),
    ];
    let mut lines: Vec<String> = sorts
        .iter()
        .filter_map(|(key, words)| sort(told, key, words))
        .collect();
    if lines.is_empty() {
        lines.push("no task changes".to_owned());
    }
    lines.push(format!("{} stay as they are", number("kept")));
    if number("again") > 0 {
        let again = number("again");
        lines.push(format!(
            "of those {again} that had not completed are queued again"
        ));
    }
    if number("stopped") > 0 {
        lines.push(format!("{} that run are asked to stop", number("stopped")));
    }
    match etag.filter(|_| told["preview"] == true) {
        Some(etag) => lines.push(format!(
            "nothing was changed; leave out --preview to do it, with --if-match '{etag}' only just this"
        )),
        None => lines.push(format!("the job is at generation {}", number("generation"))),
    }
    lines.join("\n")
}

/// Which of a job's tasks run again.
#[derive(Args)]
pub(super) struct Requeue {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    which: Which,
    /// And everything that depends on them.
    #[arg(long, requires = "Which")]
    with_dependants: bool,
    /// Say what would run again, and change nothing.
    #[arg(long, requires = "Which")]
    preview: bool,
    /// With --by-worker: since when, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "by_worker")]
    since: Option<String>,
}

#[derive(Args)]
#[group(multiple = false)]
struct Which {
    /// Those that failed; of a failed job also those that were canceled by that.
    #[arg(long)]
    failed: bool,
    /// Those that ended although frames of theirs were published by nobody.
    #[arg(long)]
    missing: bool,
    /// What this worker (name or id) rendered: it is rendered anew, over what is there.
    #[arg(long, value_name = "WORKER")]
    by_worker: Option<String>,
}

impl Requeue {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let which = match &self.which {
            Which { failed: true, .. } => "failed",
            Which { missing: true, .. } => "missing",
            Which {
                by_worker: Some(_), ..
            } => "rendered-by",
            Which { .. } => return set_status(client, &self.change, "requeueing").await,
        };
        let mut body = json!({
            "which": which, "dependants": self.with_dependants, "preview": self.preview,
            "reason": self.change.reason,
        });
        if let Some(worker) = self.which.by_worker {
            body["worker"] = json!(worker);
        }
        if let Some(since) = self.since {
            body["since"] = json!(since);
        }
        let path = format!("{}/requeue", address(&self.change.job)?);
        let told = client.farm()?.post(&path, &body).await?;
        client.say(&told, || requeued(&told))
    }
}

fn requeued(told: &Value) -> String {
    let tasks = told["tasks"].as_array().cloned().unwrap_or_default();
    let names = tasks.iter().filter_map(|task| task["name"].as_str());
    let names: Vec<&str> = names.take(NAMES_PRINTED).collect();
    let count = told["count"].as_u64().unwrap_or_default();
    let verb = match (told["preview"] == true, count) {
        (true, _) => "would be queued",
        (false, 1) => "is queued",
        (false, _) => "are queued",
    };
    let tasks = if count == 1 { "task" } else { "tasks" };
    let more = if (names.len() as u64) < count {
        ", ..."
    } else {
        ""
    };
    let list = if names.is_empty() { "" } else { ": " };
    format!("{count} {tasks} {verb}{list}{}{more}", names.join(", "))
}

/// A task that runs again.
#[derive(Args)]
pub(super) struct RequeueTask {
    #[command(flatten)]
    change: tasks::Change,
    /// And everything that depends on it.
    #[arg(long)]
    with_dependants: bool,
    /// Render anew what it has published, rather than find it.
    #[arg(long)]
    overwrite: bool,
    /// Say what would run again, and change nothing.
    #[arg(long)]
    preview: bool,
}

impl RequeueTask {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        if !self.with_dependants && !self.overwrite && !self.preview {
            return tasks::set_status(client, &self.change, "queued").await;
        }
        let task = super::id("task", &self.change.task)?;
        let body = json!({
            "dependants": self.with_dependants, "overwrite": self.overwrite,
            "preview": self.preview, "reason": self.change.reason,
        });
        let path = format!("/api/farm/v1/tasks/{task}/requeue");
        let told = client.farm()?.post(&path, &body).await?;
        client.say(&told, || requeued(&told))
    }
}
