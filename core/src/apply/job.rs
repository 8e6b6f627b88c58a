// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what makes and removes jobs and their tasks.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::{
    Farm, JobId, JobStatus, Lsn, Recorded, TaskStatus,
    digest::{Domain, Leaf},
    entity::{Job, JobState, Task},
    event::{JobAccepted, TasksAdded},
    farm::{job_leaf, task_leaf},
    status::TaskCounts,
};

impl Farm {
    pub(super) fn job_accepted(&mut self, recorded: &Recorded, event: &JobAccepted) {
        self.next_sequence += 1;
        let job = Job {
            state: JobState {
                facts: event.facts.clone(),
                detail: recorded.detail_hash,
                sequence: self.next_sequence,
                status: JobStatus::UnderConstruction,
                status_detail: None,
                holds: BTreeSet::new(),
                delete_marked: None,
                blocked: BTreeSet::new(),
                chunks: Vec::new(),
                changed_at: recorded.lsn,
                tasks_changed_at: Lsn::ORIGIN,
            },
            tasks: Vec::new(),
            counts: TaskCounts::default(),
            failures: BTreeMap::new(),
            live: 0,
        };
        self.schedule.add_job(&job);
        self.hash.add(job_leaf(&job));
        self.jobs.insert(event.facts.job, job);
    }

    pub(super) fn tasks_added(&mut self, recorded: &Recorded, event: &TasksAdded) {
        let types: Vec<u16> = event
            .types
            .iter()
            .map(|name| self.intern_type(name))
            .collect();
        let Some(job) = self.jobs.get_mut(&event.job) else {
            debug_assert!(false, "tasks are added to a job that is not there");
            return;
        };
        let first = job.tasks.len();
        debug_assert_eq!(
            first, event.first_number as usize,
            "chunks of tasks are in order"
        );
        self.hash.remove(job_leaf(job));
        job.state
            .chunks
            .push((event.first_number, recorded.detail_hash));
        job.state.tasks_changed_at = recorded.lsn;
        self.hash.add(job_leaf(job));
        for (number, new) in (event.first_number..).zip(&event.tasks) {
            let task = Task {
                number,
                uuid: new.uuid,
                index: number + 1,
                generation: event.generation,
                task_type: types[usize::from(new.task_type)],
                priority: new.priority,
                status: TaskStatus::Queued,
                content_hash: new.content_hash,
                depends_on: SmallVec::from_slice(&new.depends_on),
                frames: new.frames.clone(),
                steps_total: new.steps_total,
                steps_completed: 0,
                failed_by: SmallVec::new(),
                attempt: None,
                last_worker: None,
                attempts_ended: 0,
                last_ended: None,
                retired: false,
                changed_at: recorded.lsn,
            };
            job.counts.add(TaskStatus::Queued);
            self.hash.add(task_leaf(job, &task));
            self.task_ids.insert(new.uuid, (event.job, number));
            job.tasks.push(task);
        }
        self.schedule.add_tasks(job, first);
        self.refresh_lanes(event.job);
    }

    pub(super) fn job_purged(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else {
            debug_assert!(false, "a job is purged that is not there");
            return;
        };
        self.hash.remove(job_leaf(&job));
        for task in &job.tasks {
            self.hash.remove(task_leaf(&job, task));
            self.task_ids.remove(&task.uuid);
        }
        let gone: Vec<_> = self
            .frames
            .iter()
            .filter(|(_, frame)| frame.job == id)
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(frame) = self.frames.remove(&key) {
                self.hash.remove(Leaf::of(Domain::Frame, &(&key, &frame)));
            }
        }
        self.schedule.remove_job(&job);
        for waiting in self.schedule.waiting_for(id) {
            self.refresh_lanes(waiting);
        }
    }
}
