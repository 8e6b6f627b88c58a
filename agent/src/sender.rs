// SPDX-License-Identifier: GPL-3.0-or-later
//! Delivers the outbox's reports in order, and learns from the answers whether an attempt is
//! still ours.
//!
//! A report leaves the outbox when the Manager took it or said that the attempt is over. All
//! else is tried again; a report that a Manager keeps refusing for what it says is set aside, so
//! that it cannot hold up the rest for ever.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::client::{CallError, Client};
use crate::lease::Leases;
use crate::link::{Backoff, Link};
use crate::outbox::{Outbox, OutboxFailed, Seq};
use crate::stop::StopReason;
use crate::wire::TaskUpdate;

/// Reports of one attempt that wait are sent together, up to this many and this much log.
const MERGED_MAX: usize = 64;
const MERGED_LOG_BYTES_MAX: usize = 256 * 1024;

/// So often a report is refused for its content before it is set aside.
const REFUSALS_MAX: u32 = 5;

/// What the sender works with.
pub(crate) struct Sender {
    pub(crate) outbox: Outbox,
    pub(crate) client: Client,
    pub(crate) link: Link,
    /// Where the sender finds whom to tell.
    pub(crate) leases: Leases,
    /// Where reports go that the Manager does not understand.
    pub(crate) refused_file: PathBuf,
}

impl Sender {
    /// Sends for as long as the outbox can be used.
    pub(crate) async fn run(self) -> OutboxFailed {
        let mut backoff = Backoff::new();
        let mut refusals = 0;
        loop {
            if let Err(failed) = self.outbox.has_updates().await {
                return failed;
            }
            let (seqs, task, update) = merge(self.outbox.oldest_updates(MERGED_MAX));
            let attempt = update.tablao.as_ref();
            let attempt = attempt.map_or("", |extension| &extension.attempt);
            let sent = Instant::now();
            match self.client.task_update(&task, &update).await {
                Ok(()) => {
                    self.link.reached();
                    if let Some(lease) = self.leases.of(attempt) {
                        lease.renew(sent);
                    }
                    self.outbox.done(seqs);
                    backoff.reset();
                    refusals = 0;
                    continue;
                }
                // Not ours any more, or the whole task is gone.
                Err(CallError::Status {
                    status: 404 | 409 | 410,
                    ref message,
                    ..
                }) => {
                    self.link.reached();
                    tracing::info!(task, attempt, message, "the manager gave the task away");
                    if let Some(lease) = self.leases.of(attempt) {
                        lease.stop.request(StopReason::NotOurs);
                    }
                    self.outbox.done(seqs);
                    self.outbox.drop_attempt(attempt);
                    backoff.reset();
                    refusals = 0;
                    continue;
                }
                Err(error) => {
                    self.link.failed("report", &error);
                    if matches!(
                        error,
                        CallError::Status {
                            status: 400 | 413 | 422,
                            ..
                        }
                    ) {
                        refusals += 1;
                    }
                }
            }
            if refusals >= REFUSALS_MAX {
                tracing::error!(task, attempt, file = %self.refused_file.display(), "set a report aside that the manager keeps refusing");
                set_aside(&self.refused_file, &task, &update);
                self.outbox.done(seqs);
                refusals = 0;
                continue;
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}

fn set_aside(path: &Path, task: &str, update: &TaskUpdate) {
    let text = serde_json::json!({ "task": task, "update": update }).to_string();
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| writeln!(file, "{text}"));
    if let Err(error) = written {
        tracing::error!(%error, text, "cannot set the report aside, it is lost");
    }
}

/// Joins the first report with those after it that belong to the same attempt, up to and with
/// the first that changes its status.
fn merge(waiting: Vec<(Seq, String, TaskUpdate)>) -> (Vec<Seq>, String, TaskUpdate) {
    let mut waiting = waiting.into_iter();
    let (seq, task, mut merged) = waiting.next().expect("there is a report to send");
    let mut seqs = vec![seq];
    for (seq, next_task, next) in waiting {
        if merged.task_status.is_some() || next_task != task || !join(&mut merged, &next) {
            break;
        }
        seqs.push(seq);
    }
    (seqs, task, merged)
}

/// Adds a later report to an earlier one; false, with nothing changed, when they do not fit.
fn join(merged: &mut TaskUpdate, next: &TaskUpdate) -> bool {
    let (Some(extension), Some(later)) = (&mut merged.tablao, &next.tablao) else {
        return false;
    };
    if extension.attempt != later.attempt {
        return false;
    }
    match (&mut merged.log, &next.log) {
        (Some(log), Some(more)) => {
            let end = extension.log_offset.map(|offset| offset + log.len() as u64);
            if end != later.log_offset || log.len() + more.len() > MERGED_LOG_BYTES_MAX {
                return false;
            }
            log.push_str(more);
        }
        (log @ None, Some(more)) => {
            *log = Some(more.clone());
            extension.log_offset = later.log_offset;
        }
        (_, None) => {}
    }
    extension.frames.extend(later.frames.iter().cloned());
    let take = |into: &mut Option<String>, from: &Option<String>| {
        if from.is_some() {
            into.clone_from(from);
        }
    };
    take(&mut merged.task_status, &next.task_status);
    take(&mut merged.activity, &next.activity);
    take(&mut extension.software, &later.software);
    merged.steps_completed = next.steps_completed.or(merged.steps_completed);
    extension.peak_memory_bytes = later.peak_memory_bytes.or(extension.peak_memory_bytes);
    if later.failure.is_some() {
        extension.failure.clone_from(&later.failure);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FrameReport, UpdateExtension};

    fn update(attempt: &str, log: Option<(u64, &str)>, steps: Option<u32>) -> TaskUpdate {
        TaskUpdate {
            log: log.map(|(_, text)| text.to_owned()),
            steps_completed: steps,
            tablao: Some(UpdateExtension {
                attempt: attempt.into(),
                log_offset: log.map(|(offset, _)| offset),
                frames: steps
                    .map(|number| FrameReport {
                        number: i64::from(number),
                        ..FrameReport::default()
                    })
                    .into_iter()
                    .collect(),
                ..UpdateExtension::default()
            }),
            ..TaskUpdate::default()
        }
    }

    #[test]
    fn merged_reports_say_the_same_as_single_ones() {
        // Protects logs and frames of a task whose Manager was away: nothing lost, nothing twice.
        let mut ended = update("a", None, None);
        ended.task_status = Some("completed".into());
        let waiting = [
            update("a", Some((0, "one\n")), None),
            update("a", None, Some(1)),
            update("a", Some((4, "two\n")), Some(2)),
            ended,
            update("b", Some((0, "other")), None),
        ];
        let numbered = (1..)
            .zip(waiting)
            .map(|(seq, update)| (seq, "t".to_owned(), update));
        let (seqs, task, merged) = merge(numbered.collect());
        assert_eq!((seqs, task.as_str()), (vec![1, 2, 3, 4], "t"));
        assert_eq!(merged.log.as_deref(), Some("one\ntwo\n"));
        assert_eq!(merged.steps_completed, Some(2));
        assert_eq!(merged.task_status.as_deref(), Some("completed"));
        let extension = merged.tablao.unwrap();
        assert_eq!(extension.log_offset, Some(0));
        assert_eq!(extension.frames.len(), 2);
    }

    #[test]
    fn a_gap_in_the_log_ends_a_merge() {
        // Protects offsets: text after a gap must not be stored before it.
        let waiting = vec![
            (1, "t".to_owned(), update("a", Some((0, "one")), None)),
            (2, "t".to_owned(), update("a", Some((9, "two")), None)),
        ];
        assert_eq!(merge(waiting).0, [1]);
    }
}
