// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding what a worker's report means: started, steps, frames, completed, failed, too late.

use std::collections::BTreeSet;

use super::{Answer, Plan, plan::Ending};
use crate::{
    AttemptId, Detail, Refusal, TaskStatus, WorkerId,
    detail::NamedDetail,
    entity::{Attempt, AttemptState, FrameKey, Job, Protocol, Task},
    event::{
        AttemptOutcome, AttemptStarted, FailureClass, FramePublished, FrameSkipped, LateReport,
        LateReportNoted, StepsAdvanced, ThumbnailStored, WorkerBlocked, frame_flags,
    },
    request::{FailureReport, FrameReport, Report},
};

type Decision = Result<Answer, Refusal>;

/// What the rules say about a failure.
struct Verdict {
    task_to: TaskStatus,
    fail_job: Option<String>,
    block: bool,
    text: String,
}

impl<'a> Plan<'a> {
    pub(super) fn report(&mut self, report: &Report) -> Decision {
        self.worker(report.worker)?;
        let (job, task) = self
            .farm
            .task(report.task)
            .ok_or(Refusal::UnknownTask { task: report.task })?;
        if report.status == Some(TaskStatus::SoftFailed) {
            return Err(Refusal::ReportedStatus {
                status: TaskStatus::SoftFailed,
            });
        }
        let Some(attempt) = self.attempt_meant(report, &task) else {
            return self.late(report, job, &task);
        };
        if attempt.state == AttemptState::Assigned {
            self.emit(AttemptStarted {
                attempt: attempt.id,
                job: attempt.job,
                task: attempt.task,
            });
        }
        for frame in &report.frames {
            self.frame(attempt, frame);
        }
        if let Some(steps) = report.steps {
            let to = steps.min(task.steps_total);
            if to != task.steps_completed {
                self.emit(StepsAdvanced {
                    attempt: attempt.id,
                    job: attempt.job,
                    task: attempt.task,
                    from: task.steps_completed,
                    to,
                });
            }
        }
        let words = report.activity.as_deref().unwrap_or_default();
        match report.status {
            None | Some(TaskStatus::Active | TaskStatus::SoftFailed) => {}
            Some(TaskStatus::Completed) => {
                let mut ending =
                    Ending::new(AttemptOutcome::Completed, TaskStatus::Completed, words);
                ending.peak_memory_bytes = report.peak_memory_bytes;
                self.end(attempt, ending);
            }
            Some(TaskStatus::Failed) => self.failed(job, &task, attempt, report),
            Some(TaskStatus::Queued | TaskStatus::Paused) => {
                self.give_back(attempt, AttemptOutcome::Returned, words);
            }
            Some(TaskStatus::Canceled) => {
                self.give_back(attempt, AttemptOutcome::Canceled, words);
            }
        }
        Ok(Answer::Done)
    }

    /// The live attempt that a report is about, or nothing when it comes too late.
    fn attempt_meant(&self, report: &Report, task: &Task<'_>) -> Option<&'a Attempt> {
        let farm = self.farm;
        let attempt = &farm.attempts[&task.attempt?];
        if cfg!(feature = "planted-late-report") {
            return Some(attempt);
        }
        if attempt.worker != report.worker {
            return None;
        }
        match report.attempt {
            Some(named) => (named == attempt.id).then_some(attempt),
            // A Flamenco worker names no attempt. Until the new attempt's own `active` has
            // arrived, what it says may belong to the attempt that it had before.
            None => {
                let had_it_before = task.last_ended.is_some();
                let may_be_old = attempt.protocol == Protocol::Flamenco
                    && attempt.state == AttemptState::Assigned
                    && had_it_before
                    && report.status != Some(TaskStatus::Active);
                (!may_be_old).then_some(attempt)
            }
        }
    }

    fn late(&mut self, report: &Report, job: &Job, task: &Task<'_>) -> Decision {
        let ended = report.attempt.zip(task.last_ended);
        if let Some((named, (last, by_own_report))) = ended
            && named == last
            && by_own_report
        {
            // The same report again, because its answer got lost.
            return Ok(Answer::Done);
        }
        let what = match report.status {
            Some(TaskStatus::Completed) => LateReport::Completed,
            Some(TaskStatus::Failed) => LateReport::Failed,
            Some(TaskStatus::Active) => LateReport::Started,
            Some(_) => LateReport::Failed,
            None if !report.frames.is_empty() => LateReport::Frame,
            None => LateReport::Steps,
        };
        let id = report
            .attempt
            .or(task.attempt)
            .or(task.last_ended.map(|(id, _)| id));
        let Some(id) = id else {
            return Err(Refusal::NotAssigned { task: task.uuid });
        };
        // Steps of an attempt that is over are not worth a record.
        if what != LateReport::Steps {
            self.emit_with(
                LateReportNoted {
                    attempt: id,
                    job: job.state.facts.job,
                    task: task.number,
                    report: what,
                },
                Detail::reason(report.activity.clone().unwrap_or_default()),
            );
        }
        Ok(Answer::Late)
    }

    fn frame(&mut self, attempt: &Attempt, report: &FrameReport) {
        let key = &report.key;
        let already = self.events.iter().any(|(event, _)| {
            matches!(event, crate::Event::FramePublished(earlier) if earlier.key == *key)
        });
        let known = self.farm.frames.get(key);
        if already {
            return;
        }
        if let Some(known) = &known
            && !self.is_renewed(attempt, known, report)
        {
            // The same attempt tells it again, or another one found it: it stays as it is.
            if known.hash == report.hash || report.found {
                if known.attempt != attempt.id {
                    self.emit(FrameSkipped {
                        key: key.clone(),
                        job: attempt.job,
                        task: attempt.task,
                        attempt: attempt.id,
                    });
                }
                if report.flags & frame_flags::FLAWS != 0 {
                    self.note_flaws(attempt, report, "");
                }
                return;
            }
        }
        self.emit_with(
            FramePublished {
                key: key.clone(),
                job: attempt.job,
                task: attempt.task,
                attempt: attempt.id,
                size: report.size,
                hash: report.hash,
                rendered_at: report.rendered_at,
                render_ms: report.render_ms,
                samples: report.samples,
                peak_memory_bytes: report.peak_memory_bytes,
                flags: report.flags & !frame_flags::FLAWS,
                found: report.found,
                supersedes: known.map(|known| known.hash),
            },
            Detail::Frame(report.detail.clone()),
        );
        self.after_publication(attempt, report);
    }

    fn failed(&mut self, job: &'a Job, task: &Task<'_>, attempt: &'a Attempt, report: &Report) {
        let words = report
            .activity
            .clone()
            .unwrap_or_else(|| "failed without a reason".to_owned());
        let failure = report.failure.unwrap_or(FailureReport {
            class: FailureClass::Unknown,
            exit: None,
            signal: None,
        });
        let outcome = AttemptOutcome::Failed {
            class: failure.class,
            exit: failure.exit,
            signal: failure.signal,
            out_of_memory: failure.class == FailureClass::OutOfMemory,
        };
        // An attempt that was asked to stop fails because of that, not because of the task.
        if attempt.state == AttemptState::Stopping {
            self.give_back(attempt, AttemptOutcome::Canceled, &words);
            return;
        }
        let lacks = failure.class == FailureClass::FeatureMissing;
        let verdict = self.judge(job, task, attempt.worker, lacks);
        if verdict.block {
            self.emit_with(
                WorkerBlocked {
                    job: attempt.job,
                    worker: attempt.worker,
                    task_type: self.farm.task_type(task.task_type).to_owned(),
                },
                Detail::reason(verdict.text.clone()),
            );
            if verdict.fail_job.is_none() {
                self.requeue_failed_by(attempt.job, attempt.worker, task.number);
            }
        }
        let mut ending = Ending::new(
            outcome,
            verdict.task_to,
            format!("{words} ({})", verdict.text),
        );
        ending.counts_as_failure = true;
        ending.peak_memory_bytes = report.peak_memory_bytes;
        self.end(attempt, ending);
        if let Some(why) = verdict.fail_job {
            self.set_status(
                job,
                crate::JobStatus::Failed,
                &format!("{why}; the last: {words}"),
            );
        }
    }

    /// The documented intent: block a worker at its B-th failed task of a type in a job, give a
    /// task up at the T-th worker that fails it, fail the job when nobody but workers that
    /// failed the task could run it.
    ///
    /// A worker that lacks what the task needs is blocked at once: it would fail the next one too.
    fn judge(&self, job: &Job, task: &Task<'_>, worker: WorkerId, lacks: bool) -> Verdict {
        let policy = &self.farm.policy;
        let task_attempts_max =
            (job.state.facts.fail_policy.task_attempts_max).unwrap_or(policy.task_attempts_max);
        let mut failed_by: BTreeSet<WorkerId> = task.failed_by.iter().copied().collect();
        let newly = failed_by.insert(worker);
        let failures = job
            .failures
            .get(&(worker, task.task_type))
            .copied()
            .unwrap_or(0)
            + u32::from(newly);
        let type_name = self.farm.task_type(task.task_type);
        let blocked_before = job.state.blocked.contains(&(worker, type_name.to_owned()));
        let block = (lacks || failures >= policy.blocklist_threshold) && !blocked_before;
        let others = self.candidates(job, type_name, &failed_by);
        let failing_workers = failed_by.len();
        if others == 0 {
            let why = "no other worker could run it";
            return Verdict {
                task_to: TaskStatus::Failed,
                fail_job: Some(format!("a task failed and {why}")),
                block,
                text: why.to_owned(),
            };
        }
        if failing_workers as u64 >= u64::from(task_attempts_max) {
            return Verdict {
                task_to: TaskStatus::Failed,
                fail_job: None,
                block,
                text: format!(
                    "{failing_workers} workers failed it, and {task_attempts_max} is the limit"
                ),
            };
        }
        let text = if block && lacks {
            "the worker lacks what tasks of this type need and is blocked from the job".to_owned()
        } else if block {
            format!("the worker failed {failures} tasks of this type and is blocked from the job")
        } else {
            format!("{others} other workers may try it")
        };
        Verdict {
            task_to: TaskStatus::SoftFailed,
            fail_job: None,
            block,
            text,
        }
    }

    /// Workers that could still run a task of this type in this job.
    fn candidates(&self, job: &Job, task_type: &str, failed_by: &BTreeSet<WorkerId>) -> usize {
        let blocked = (job.state.blocked.iter())
            .filter(|(_, blocked_type)| blocked_type == task_type)
            .map(|&(worker, _)| worker);
        self.farm.crew.others(
            &self.farm.workers,
            task_type,
            job.state.facts.tag,
            failed_by.iter().copied().chain(blocked),
        )
    }

    pub(super) fn store_thumbnail(
        &mut self,
        key: &FrameKey,
        hash: [u8; 32],
        file: &str,
    ) -> Decision {
        let frame = self
            .farm
            .frames
            .get(key)
            .ok_or(Refusal::UnknownFrame { number: key.number })?;
        if frame.thumbnail != Some(hash) {
            self.emit_with(
                ThumbnailStored {
                    key: key.clone(),
                    job: frame.job,
                    hash,
                },
                Detail::Named(NamedDetail {
                    name: file.to_owned(),
                    description: String::new(),
                }),
            );
        }
        Ok(Answer::Done)
    }

    /// An attempt of this worker by its id.
    pub(super) fn attempts_of(&self, worker: WorkerId) -> Vec<AttemptId> {
        self.farm
            .workers
            .get(&worker)
            .map(|worker| worker.attempts.to_vec())
            .unwrap_or_default()
    }
}
