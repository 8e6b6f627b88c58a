// SPDX-License-Identifier: GPL-3.0-or-later
//! What this Manager finds when it looks at itself and at its Workers: each thing well, doubtful
//! or wrong, with what to do. It looks only; nothing is repaired and nothing is left behind.

use std::{path::Path, process::Stdio, time::Duration};

use serde::Serialize;
use tablao_core::WorkerStatus;
use utoipa::ToSchema;

use crate::{
    clock,
    node::Node,
    setup::{check_blender, check_storage},
    variables::{Audience, own_platform},
};

/// Less free space than this, and submissions are refused soon.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// Submissions are refused below this.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// A worker whose clock differs by more than this keeps itself from work.
const CLOCK_MS_MAX: u64 = 5 * 60 * 1000;
/// By more than this, times of frames and logs of different machines are hard to compare.
const CLOCK_MS_ODD: u64 = 30 * 1000;
/// A share that is gone can keep whoever looks at it waiting for ever.
const STORAGE_TIME_MAX: Duration = Duration::from_secs(20);
/// A program that starts answers well within this.
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(10);

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, and may stop working or work worse than it could.
    Warning,
    /// It does not work.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Check {
    /// What was looked at.
    pub name: String,
    /// How it was found.
    pub state: State,
    /// The same in words.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub hint: String,
}

impl Check {
    fn new(name: &str, state: State, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            text: text.into(),
            hint: hint.into(),
        }
    }

    fn ok(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, State::Ok, text, "")
    }
}

/// Looks at everything.
pub(crate) async fn look(node: &Node) -> Vec<Check> {
    let mut checks = journals(node);
    checks.push(own_clock(node));
    checks.push(storage(node).await);
    checks.extend(room(node));
    checks.push(blender(node).await);
    checks.push(ffmpeg().await);
    checks.extend(scripts(node));
    checks.push(configuration(node));
    checks.extend(workers(node));
    checks
}

fn journals(node: &Node) -> Vec<Check> {
    let engines = [("control journal", Some(&node.control))];
    let engines = engines
        .into_iter()
        .chain([("site journal", node.site.as_ref())]);
    engines
        .filter_map(|(name, engine)| Some((name, engine?)))
        .map(|(name, engine)| match engine.failure().borrow().as_ref() {
            Some(failure) => Check::new(
                name,
                State::Failed,
                format!("it cannot be written: {failure}"),
                "see to the disk and start the Manager again; `tablao journal verify` reads it whole",
            ),
            None => Check::ok(name, format!("is written, up to {}", engine.view().at())),
        })
        .collect()
}

/// Records never go back in time: a clock that was turned back stands still for the journal.
fn own_clock(node: &Node) -> Check {
    let name = "clock";
    let last = (node.sites().iter())
        .map(|site| site.read().farm().time())
        .max();
    let now = clock::now();
    let ahead_ms = last.map_or(0, |last| last.micros().saturating_sub(now.micros()) / 1000);
    let shown = format!("it shows {}", clock::rfc3339(now));
    if ahead_ms > CLOCK_MS_ODD {
        let behind = duration(ahead_ms);
        let text = format!("{shown}, {behind} before the last record of the journal");
        let hint = "it was turned back, or is wrong: let the system set it by NTP";
        return Check::new(name, State::Failed, text, hint);
    }
    Check::ok(name, shown)
}

async fn storage(node: &Node) -> Check {
    let name = "shared storage";
    let in_force = node.in_force();
    if in_force.config.is_first_run() {
        return Check::new(
            name,
            State::Warning,
            "it is not set, so jobs use a folder in the data directory",
            "`tablao setup` asks for it; for a farm of one machine it can stay so",
        );
    }
    let path = in_force
        .config
        .shared_storage_path
        .to_string_lossy()
        .into_owned();
    let (asked, data) = (path.clone(), node.data.root().to_owned());
    let looked = tokio::task::spawn_blocking(move || check_storage(&asked, &data));
    let hint = "is the share mounted, and may this user write there?";
    match tokio::time::timeout(STORAGE_TIME_MAX, looked).await {
        Ok(Ok(found)) if found.is_usable => Check::ok(name, format!("{path} can be written")),
        Ok(Ok(found)) => {
            let text = format!("{path}: {}", found.cause);
            Check::new(name, State::Failed, text, hint)
        }
        Ok(Err(_)) | Err(_) => {
            let text = format!(
                "{path} does not answer within {} s",
                STORAGE_TIME_MAX.as_secs()
            );
            Check::new(name, State::Failed, text, hint)
        }
    }
}

fn room(node: &Node) -> Vec<Check> {
    let of = |name: &str, path: &Path| {
        let free = fs4::available_space(path).ok()?;
        let text = format!("{} free at {}", bytes(free), path.display());
        let hint = "make room; `tablao journal retire` and removed jobs free some";
        if free >= FREE_BYTES_LOW {
            return Some(Check::ok(name, text));
        }
        let state = if free < FREE_BYTES_MIN {
            State::Failed
        } else {
            State::Warning
        };
        Some(Check::new(name, state, text, hint))
    };
    let in_force = node.in_force();
    let storage = &in_force.config.shared_storage_path;
    let data = of("disk of the data directory", node.data.root());
    let shared = (!in_force.config.is_first_run())
        .then(|| of("disk of the shared storage", storage))
        .flatten();
    data.into_iter().chain(shared).collect()
}

async fn blender(node: &Node) -> Check {
    let name = "Blender";
    let resolved = node.variables(Audience::Workers, own_platform());
    let command = resolved.values.get("blender").map(|(value, _)| value);
    let Some(command) = command else {
        return Check::new(
            name,
            State::Warning,
            "no variable {blender} says what Workers on this platform start",
            "give it a value in tablao.toml",
        );
    };
    let found = check_blender(command).await;
    if found.is_usable {
        return Check::ok(name, format!("{} at {}", found.cause, found.path));
    }
    Check::new(
        name,
        State::Warning,
        format!("{command}: {}", found.cause),
        "Workers on other machines may have it; a Worker on this one needs it here",
    )
}

async fn ffmpeg() -> Check {
    let name = "FFmpeg";
    let mut command = tokio::process::Command::new("ffmpeg");
    command
        .arg("-version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let wrong = |text: String| {
        let hint = "it makes preview videos: install it where Workers run that take `ffmpeg` tasks";
        Check::new(name, State::Warning, text, hint)
    };
    match tokio::time::timeout(PROGRAM_TIME_MAX, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout);
            let line = said.lines().next().unwrap_or_default();
            Check::ok(name, line.chars().take(60).collect::<String>())
        }
        Ok(Ok(output)) => wrong(format!("`ffmpeg -version` ended with {}", output.status)),
        Ok(Err(error)) => wrong(format!("it does not start on this machine: {error}")),
        Err(_) => wrong("it does not answer".to_owned()),
    }
}

fn scripts(node: &Node) -> Vec<Check> {
    let name = "job type scripts";
    let problems = node.job_types.problems();
    if problems.is_empty() {
        let count = node.job_types.list().len();
        return vec![Check::ok(name, format!("{count} job types"))];
    }
    problems
        .into_iter()
        .map(|problem| {
            let text = format!("{}: {}", problem.script, problem.message);
            let (state, hint) = if problem.last_good_in_use {
                (
                    State::Warning,
                    "the last version that worked is used until it is corrected",
                )
            } else {
                (State::Failed, "correct it; until then it makes no jobs")
            };
            Check::new(name, state, text, hint)
        })
        .collect()
}

fn configuration(node: &Node) -> Check {
    let name = "configuration";
    match node.settings.broken() {
        Some(what) => Check::new(
            name,
            State::Failed,
            what,
            "the last good one is in force; `tablao config check` says where it is wrong",
        ),
        None => Check::ok(name, "is in force as it is written"),
    }
}

fn workers(node: &Node) -> Vec<Check> {
    let name = "workers";
    let clocks = node.health.clocks();
    let (mut checks, mut present) = (Vec::new(), 0);
    for site in node.sites() {
        let model = site.read();
        for row in model.workers() {
            let Some(worker) = model.farm().workers().get(&row.id) else {
                continue;
            };
            let who = &row.detail.name;
            if let Some((facts, reason)) = model.quarantine(row.id) {
                let text = format!(
                    "{who} is in quarantine since {}: {reason}",
                    clock::rfc3339(facts.since)
                );
                let hint = match facts.cause {
                    tablao_core::event::QuarantineCause::SelfCheck => {
                        "it comes back by itself when the cause is gone".to_owned()
                    }
                    _ => format!("`tablao workers release {who}` lets it work again"),
                };
                checks.push(Check::new(name, State::Warning, text, hint));
            }
            if worker.status == Some(WorkerStatus::Error) {
                let text = format!("{who} is lost: {}", row.status_reason);
                let hint = "see whether its machine runs and reaches this Manager";
                checks.push(Check::new(name, State::Warning, text, hint));
            }
            let is_away = matches!(
                worker.status,
                None | Some(WorkerStatus::Offline | WorkerStatus::Error)
            );
            present += usize::from(!is_away);
            let ahead_ms = clocks.get(&row.id).copied().unwrap_or(0);
            if !is_away && ahead_ms.unsigned_abs() > CLOCK_MS_ODD {
                let by = duration(ahead_ms.unsigned_abs());
                let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
                let text = format!("the clock of {who} was {by} {side} this Manager's");
                let state = if ahead_ms.unsigned_abs() > CLOCK_MS_MAX {
                    State::Failed
                } else {
                    State::Warning
                };
                let hint = "let both systems set their clocks by NTP";
                checks.push(Check::new(name, state, text, hint));
            }
        }
    }
    if node.site.is_some() && present == 0 {
        let hint = "start some: `tablao worker` on each machine";
        checks.push(Check::new(name, State::Warning, "none is there", hint));
    }
    if checks.is_empty() {
        checks.push(Check::ok(
            name,
            format!("{present} there, none sick or lost"),
        ));
    }
    checks
}

fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    if seconds < 120 {
        format!("{seconds} s")
    } else {
        format!("{} min", seconds / 60)
    }
}

fn bytes(count: u64) -> String {
    if count < 1 << 30 {
        format!("{} MiB", count >> 20)
    } else {
        format!("{} GiB", count >> 30)
    }
}
