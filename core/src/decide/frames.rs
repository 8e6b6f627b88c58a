// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding what is wrong with frames, and that some are rendered anew.
//!
//! A frame is rendered anew by its own task: the task is queued again, and its worker is told
//! which of the task's files have to make way. All other files of the task stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Plan, job::is_whole};
use crate::{
    Detail, JobId, Refusal, TaskStatus,
    entity::{Attempt, Frame, FrameKey, Job},
    event::{
        FailuresCleared, Finding, FrameFlagged, FrameWish, FramesVerified, FramesWanted,
        StepsChange, StopCause, TasksChanged, WantedFrame, frame_flags,
    },
    flaws::Flaw,
    machine::task_wish_allowed,
    request::FrameReport,
};

type Decision = Result<Answer, Refusal>;

/// Inclusive ranges out of ascending numbers.
fn ranges_of(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

impl<'a> Plan<'a> {
    /// Notes what is wrong with frames that were looked at.
    pub(super) fn flag_frames(
        &mut self,
        findings: &[Finding],
        verified: Option<&FramesVerified>,
    ) -> Decision {
        let mut seen = BTreeSet::new();
        for finding in findings {
            let frame = self.farm.frames.get(&finding.key);
            let publications = frame.as_ref().map_or(0, |frame| frame.publications);
            if publications != finding.publications || !seen.insert(&finding.key) {
                continue;
            }
            let known = frame.map(|frame| (frame.job, frame.task));
            let is_there = |&(job, task): &(JobId, u32)| {
                let job = self.farm.jobs.get(&job);
                job.is_some_and(|job| (task as usize) < job.tasks.len())
            };
            let Some(maker) = known.or(finding.maker.filter(is_there)) else {
                continue;
            };
            let flags = finding.flags & frame_flags::FLAWS;
            self.flag(&finding.key, maker, flags, finding.seen, &finding.words);
            let known = self.farm.flaws.get(&finding.key);
            if flags == 0 && known.is_some_and(|flaw| flaw.flags != 0) {
                // Somebody mended it while its task waited.
                self.no_longer_wanted(&finding.key, "there is nothing wrong with it any more");
            }
        }
        if let Some(verified) = verified {
            self.emit(verified.clone());
        }
        Ok(Answer::Done)
    }

    fn flag(
        &mut self,
        key: &FrameKey,
        (job, task): (JobId, u32),
        to: u16,
        seen: Option<[u8; 32]>,
        words: &str,
    ) {
        let known = self.farm.flaws.get(key);
        let from = known.map_or(0, |flaw| flaw.flags);
        // A bad file that is another one than before makes way by its own content.
        let is_another = to != 0 && known.is_some_and(|flaw| flaw.seen != seen);
        if from != to || is_another {
            self.emit_with(
                FrameFlagged {
                    key: key.clone(),
                    job,
                    task,
                    from,
                    to,
                    seen,
                },
                Detail::reason(words),
            );
        }
    }

    /// A frame that something was known to be wrong with, or that was wanted, is told of. Whether
    /// it counts as published anew, though the same content may have been published before.
    pub(super) fn is_renewed(
        &self,
        attempt: &Attempt,
        known: &Frame,
        report: &FrameReport,
    ) -> bool {
        let Some(flaw) = self.farm.flaws.get(&report.key) else {
            return false;
        };
        if known.attempt == attempt.id {
            return false;
        }
        // A sound file that was found where one was to make way was put there by somebody.
        let is_sound = report.flags & frame_flags::FLAWS == 0;
        !report.found || flaw.wanted && is_sound && flaw.seen != Some(report.hash)
    }

    /// After a publication: what was wrong with the frame's former file is over, and the worker
    /// may have found something wrong with this one.
    pub(super) fn after_publication(&mut self, attempt: &Attempt, report: &FrameReport) {
        self.note_flaws(attempt, report, "its worker published it anew");
        self.no_longer_wanted(&report.key, "published anew");
    }

    fn no_longer_wanted(&mut self, key: &FrameKey, why: &str) {
        let wanted = |flaw: &Flaw| flaw.wanted.then_some((flaw.job, flaw.task, flaw.seen));
        if let Some((job, task, seen)) = self.farm.flaws.get(key).and_then(wanted) {
            let frame = WantedFrame {
                key: key.clone(),
                task,
                seen,
            };
            let event = FramesWanted {
                job,
                frames: vec![frame],
                wanted: false,
            };
            self.emit_with(event, Detail::reason(why));
        }
    }

    /// What the worker itself says is wrong with a frame.
    pub(super) fn note_flaws(&mut self, attempt: &Attempt, report: &FrameReport, else_words: &str) {
        let flags = report.flags & frame_flags::FLAWS;
        let words = if flags == 0 {
            else_words
        } else {
            "its worker found so"
        };
        let maker = (attempt.job, attempt.task);
        self.flag(&report.key, maker, flags, Some(report.hash), words);
    }

    /// Lets frames be rendered anew by their tasks.
    pub(super) fn want_frames(&mut self, wish: &FrameWish) -> Decision {
        let mut chosen: BTreeMap<JobId, Vec<WantedFrame>> = BTreeMap::new();
        for (job, frame) in self.chosen(wish)? {
            chosen.entry(job).or_default().push(frame);
        }
        for (id, mut frames) in chosen {
            let Some(job) = self.farm.jobs.get(&id) else {
                continue;
            };
            frames.retain(|frame| {
                let task = job.tasks.get(frame.task as usize);
                task.is_some_and(|task| !task.retired)
            });
            if frames.is_empty() || job.state.delete_marked.is_some() || !is_whole(job) {
                continue;
            }
            let tasks: BTreeSet<u32> = frames.iter().map(|frame| frame.task).collect();
            // A wish that stands already is no news; its task runs once more all the same.
            frames.retain(|frame| {
                let known = self.farm.flaws.get(&frame.key);
                known.is_none_or(|flaw| !flaw.wanted)
            });
            if !frames.is_empty() {
                self.emit_with(
                    FramesWanted {
                        job: id,
                        frames,
                        wanted: true,
                    },
                    Detail::reason(wish.reason.as_str()),
                );
            }
            self.run_again(job, &tasks, &wish.reason);
        }
        Ok(Answer::Done)
    }

    /// It is wanted, and its task is going to run.
    fn is_due(&self, flaw: &Flaw) -> bool {
        let job = self.farm.jobs.get(&flaw.job);
        let task = job.and_then(|job| job.tasks.get(flaw.task as usize));
        let runs = task.is_some_and(|task| task.attempt.is_some() || task.status.is_runnable());
        flaw.wanted && runs
    }

    /// The frames that a wish means, each with the job that made it and the file that makes way.
    fn chosen(&self, wish: &FrameWish) -> Result<Vec<(JobId, WantedFrame)>, Refusal> {
        let (frames, flaws) = (&self.farm.frames, &self.farm.flaws);
        let mask = if wish.flags == 0 {
            frame_flags::FLAWS
        } else {
            wish.flags
        };
        let flawed = |key: &FrameKey, flaw: &Flaw| {
            let frame = WantedFrame {
                key: key.clone(),
                task: flaw.task,
                seen: flaw.seen,
            };
            (flaw.job, frame)
        };
        if wish.keys.is_empty() {
            let meant = flaws.iter().filter(|(key, flaw)| {
                flaw.flags & mask != 0
                    && !self.is_due(flaw)
                    && wish.job.is_none_or(|job| flaw.job == job)
                    && wish.shot.is_none_or(|shot| key.shot == shot)
            });
            return Ok(meant.map(|(key, flaw)| flawed(key, flaw)).collect());
        }
        let mut chosen = Vec::new();
        let keys: BTreeSet<&FrameKey> = wish.keys.iter().collect();
        for key in keys {
            match (flaws.get(key), frames.get(key)) {
                (Some(flaw), _) if self.is_due(flaw) => {}
                (Some(flaw), _) => chosen.push(flawed(key, flaw)),
                (None, Some(frame)) => {
                    let wanted = WantedFrame {
                        key: key.clone(),
                        task: frame.task,
                        seen: Some(frame.hash),
                    };
                    chosen.push((frame.job, wanted));
                }
                (None, None) => return Err(Refusal::UnknownFrame { number: key.number }),
            }
        }
        Ok(chosen)
    }

    /// Queues tasks of a job again, and no others: those at rest at once, those that run as soon
    /// as their workers have stopped.
    pub(super) fn run_again(&mut self, job: &'a Job, tasks: &BTreeSet<u32>, reason: &str) {
        let id = job.state.facts.job;
        let mut at_rest: BTreeMap<TaskStatus, Vec<u32>> = BTreeMap::new();
        let mut failed = Vec::new();
        for &number in tasks {
            let task = job.tasks.at(number);
            if let Some(attempt) = task.attempt {
                let attempt = &self.farm.attempts[&attempt];
                if attempt.stop.is_none() {
                    self.stop(attempt, StopCause::TaskRequeued, reason);
                }
            } else if task_wish_allowed(task.status, TaskStatus::Queued) {
                at_rest.entry(task.status).or_default().push(number);
            }
            if !task.failed_by.is_empty() {
                failed.push(number);
            }
        }
        let has_moved = !at_rest.is_empty();
        for (from, numbers) in at_rest {
            let view = self.view(id);
            let count = u32::try_from(numbers.len()).expect("a job has no more tasks than numbers");
            view.counts.shift(from, TaskStatus::Queued, count);
            for &number in &numbers {
                view.changed.insert(number, TaskStatus::Queued);
            }
            self.emit_with(
                TasksChanged {
                    job: id,
                    ranges: ranges_of(numbers),
                    from,
                    to: TaskStatus::Queued,
                    steps: StepsChange::Zero,
                },
                Detail::reason(reason),
            );
        }
        if !failed.is_empty() {
            self.emit(FailuresCleared {
                job: id,
                ranges: ranges_of(failed),
            });
        }
        if has_moved && self.view(id).status.is_terminal() {
            self.note_status(job, crate::JobStatus::Queued, reason);
        }
    }
}
