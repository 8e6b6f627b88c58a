// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what happens to workers.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::{
    AttemptId, Farm, Recorded, WorkerId, WorkerStatus,
    digest::{Domain, Leaf},
    entity::{Protocol, Worker},
    event::{WorkerMemorySet, WorkerRegistered, WorkerSignedOn},
    unsettled::Mark,
};

impl Farm {
    pub(super) fn worker_registered(&mut self, recorded: &Recorded, event: &WorkerRegistered) {
        let mut worker = Worker {
            id: event.worker,
            platform: event.platform.clone(),
            task_types: event.task_types.iter().cloned().collect(),
            tags: BTreeSet::new(),
            protocol: Protocol::Flamenco,
            slots: 1,
            can_restart: false,
            status: None,
            pending: None,
            schedule: None,
            quarantined: false,
            deleted: false,
            attempts: SmallVec::new(),
            detail: recorded.detail_hash,
            changed_at: recorded.lsn,
            types: SmallVec::new(),
            mark: Mark::default(),
        };
        worker.types = self.types_of(&worker.task_types);
        // An event that decide does not write twice for a worker, but a fold takes what comes.
        if let Some(old) = self.workers.get_mut(&event.worker) {
            self.unsettled.worker_changes(&mut self.hash, old);
            self.crew.leave(old);
            worker.mark = old.mark;
        } else {
            self.unsettled.new_worker(&mut worker);
        }
        self.crew.join(&worker);
        self.workers.insert(event.worker, worker);
    }

    pub(super) fn worker_signed_on(&mut self, recorded: &Recorded, event: &WorkerSignedOn) {
        let task_types: BTreeSet<String> = event.task_types.iter().cloned().collect();
        let types = self.types_of(&task_types);
        self.change_worker(recorded, event.worker, |worker| {
            worker.task_types = task_types;
            worker.types = types;
            worker.can_restart = event.can_restart;
            worker.protocol = event.protocol;
            worker.slots = event.slots;
            worker.status = Some(WorkerStatus::Starting);
            worker.detail = recorded.detail_hash;
        });
    }

    pub(super) fn worker_memory_set(&mut self, recorded: &Recorded, event: &WorkerMemorySet) {
        let leaf = |bytes: u64| Leaf::of(Domain::Memory, &(event.worker, bytes));
        if let Some(before) = self.memory.remove(&event.worker) {
            self.hash.remove(leaf(before));
        }
        if let Some(bytes) = event.to {
            self.hash.add(leaf(bytes));
            self.memory.insert(event.worker, bytes);
        }
        self.change_worker(recorded, event.worker, |_| {});
    }

    pub(crate) fn change_worker(
        &mut self,
        recorded: &Recorded,
        id: WorkerId,
        change: impl FnOnce(&mut Worker),
    ) {
        let Some(worker) = self.workers.get_mut(&id) else {
            debug_assert!(false, "an event names a worker that is not there");
            return;
        };
        self.unsettled.worker_changes(&mut self.hash, worker);
        self.crew.leave(worker);
        change(worker);
        worker.changed_at = recorded.lsn;
        self.crew.join(worker);
    }

    /// Changes only what a worker runs: nothing that says what else it could run.
    pub(crate) fn change_attempts(
        &mut self,
        recorded: &Recorded,
        id: WorkerId,
        change: impl FnOnce(&mut SmallVec<[AttemptId; 1]>),
    ) {
        let Some(worker) = self.workers.get_mut(&id) else {
            debug_assert!(false, "an event names a worker that is not there");
            return;
        };
        self.unsettled.worker_changes(&mut self.hash, worker);
        change(&mut worker.attempts);
        worker.changed_at = recorded.lsn;
    }
}
