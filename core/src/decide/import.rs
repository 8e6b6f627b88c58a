// SPDX-License-Identifier: GPL-3.0-or-later
//! Taking over workers and jobs of another farm as they stood there. Whatever is here already
//! stays as it is, so an import can be repeated.

use std::collections::BTreeSet;

use super::{Answer, Plan, job::is_whole};
use crate::{
    Detail, JobId, JobStatus, Refusal, TaskStatus, WorkerStatus,
    entity::{JobSource, Protocol, StatusRequest, StatusRequestSource},
    event::{
        JobDeleteMarked, JobImported, StepsChange, TasksChanged, WorkerBlocked, WorkerRegistered,
        WorkerScheduleSet, WorkerSignedOn, WorkerStatusChanged, WorkerStatusRequested,
        WorkerTagsSet,
    },
    request::{ImportedState, ImportedWorker},
};

type Decision = Result<Answer, Refusal>;

const WHY: &str = "it stood so where it was imported from";

impl Plan<'_> {
    pub(super) fn import_worker(&mut self, given: &ImportedWorker) -> Decision {
        let worker = given.worker;
        if self.farm.workers.contains_key(&worker) {
            return Ok(Answer::Done);
        }
        let unknown = given
            .tags
            .iter()
            .find(|tag| !self.farm.tags.contains_key(tag));
        if let Some(&tag) = unknown {
            return Err(Refusal::UnknownTag { tag });
        }
        let detail = || Detail::Worker(given.detail.clone());
        let registered = WorkerRegistered {
            worker,
            platform: given.platform.clone(),
            task_types: given.task_types.clone(),
        };
        self.emit_with(registered, detail());
        if let Some(status) = given.status {
            let signed_on = WorkerSignedOn {
                worker,
                task_types: given.task_types.clone(),
                can_restart: given.can_restart,
                protocol: Protocol::Flamenco,
                slots: 1,
            };
            self.emit_with(signed_on, detail());
            let from = WorkerStatus::Starting;
            if status != from {
                let changed = WorkerStatusChanged {
                    worker,
                    from: Some(from),
                    to: status,
                };
                self.emit_with(changed, Detail::reason(WHY));
            }
        }
        if let Some((status, lazy)) = given.asked {
            let request = StatusRequest {
                status,
                lazy,
                source: StatusRequestSource::Person,
            };
            let asked = WorkerStatusRequested {
                worker,
                request,
                from: None,
            };
            self.emit_with(asked, Detail::reason(WHY));
        }
        let tags: BTreeSet<_> = given.tags.iter().copied().collect();
        if !tags.is_empty() {
            self.emit(WorkerTagsSet {
                worker,
                from: Vec::new(),
                to: tags.into_iter().collect(),
            });
        }
        if given.schedule.is_some() {
            self.emit(WorkerScheduleSet {
                worker,
                from: None,
                to: given.schedule.clone(),
            });
        }
        Ok(Answer::Done)
    }

    pub(super) fn finish_import(&mut self, id: JobId, state: &ImportedState) -> Decision {
        let job = self.job(id)?;
        let unsound = |reason: String| Err(Refusal::UnsoundSubmission { reason });
        if job.state.facts.source != JobSource::Imported
            || job.state.status != JobStatus::UnderConstruction
            || !is_whole(job)
        {
            return unsound(format!("job {id} is not an import that lacks just this"));
        }
        let at_rest = matches!(
            state.status,
            JobStatus::Active
                | JobStatus::Canceled
                | JobStatus::Completed
                | JobStatus::Failed
                | JobStatus::Paused
                | JobStatus::Queued
        );
        let running = (state.tasks.iter()).any(|(status, _)| *status == TaskStatus::Active);
        if !at_rest || running {
            return unsound("an imported job has no running tasks and waits for none".to_owned());
        }
        let len = u32::try_from(job.tasks.len()).expect("numbers are u32");
        let mut named = BTreeSet::new();
        let lists = (state.tasks.iter().map(|(_, ranges)| (true, ranges)))
            .chain(state.failed_by.iter().map(|(_, ranges)| (false, ranges)))
            .chain(state.last_workers.iter().map(|(_, ranges)| (false, ranges)));
        for (once, ranges) in lists {
            for &(first, last) in ranges {
                if first > last || last >= len {
                    return unsound(format!("job {id} has no tasks {first} to {last}"));
                }
                if once && !(first..=last).all(|number| named.insert(number)) {
                    return unsound(format!("a task of {first} to {last} has two statuses"));
                }
            }
        }
        let workers = (state.failed_by.iter().map(|(worker, _)| worker))
            .chain(state.last_workers.iter().map(|(worker, _)| worker))
            .chain(state.blocked.iter().map(|(worker, _)| worker));
        for &worker in workers {
            if !self.farm.workers.contains_key(&worker) {
                return Err(Refusal::UnknownWorker { worker });
            }
        }
        for (to, ranges) in &state.tasks {
            if *to == TaskStatus::Queued {
                continue;
            }
            // What somebody changed by hand while the others were written down stays.
            let mut queued: Vec<(u32, u32)> = Vec::new();
            for number in ranges.iter().flat_map(|&(first, last)| first..=last) {
                let task = job.tasks.get(number as usize);
                if task.is_none_or(|task| task.status != TaskStatus::Queued) {
                    continue;
                }
                match queued.last_mut() {
                    Some((_, last)) if *last + 1 == number => *last = number,
                    _ => queued.push((number, number)),
                }
            }
            if queued.is_empty() {
                continue;
            }
            let steps = match to {
                TaskStatus::Completed => StepsChange::Total,
                _ => StepsChange::Keep,
            };
            let changed = TasksChanged {
                job: id,
                ranges: queued,
                from: TaskStatus::Queued,
                to: *to,
                steps,
            };
            self.emit_with(changed, Detail::reason(WHY));
        }
        let blocked: BTreeSet<_> = state.blocked.iter().cloned().collect();
        for (worker, task_type) in blocked {
            let blocked = WorkerBlocked {
                job: id,
                worker,
                task_type,
            };
            self.emit_with(blocked, Detail::reason(WHY));
        }
        let imported = JobImported {
            job: id,
            status: state.status,
            failed_by: state.failed_by.clone(),
            last_workers: state.last_workers.clone(),
        };
        self.emit_with(imported, Detail::reason(&state.reason));
        if let Some(at) = state.delete_marked {
            self.emit(JobDeleteMarked { job: id, at });
        }
        Ok(Answer::Job(id))
    }
}
