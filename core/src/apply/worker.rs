// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what happens to workers.

use std::collections::BTreeSet;

use crate::{
    AttemptId, Farm, Recorded, WorkerId, WorkerStatus,
    entity::{Protocol, Worker},
    event::{WorkerRegistered, WorkerSignedOn},
};

impl Farm {
    pub(super) fn worker_registered(&mut self, recorded: &Recorded, event: &WorkerRegistered) {
        let worker = Worker {
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
            attempts: BTreeSet::new(),
            detail: recorded.detail_hash,
            changed_at: recorded.lsn,
        };
        // An event that decide does not write twice for a worker, but a fold takes what comes.
        if let Some(old) = self.workers.get(&event.worker) {
            self.unsettled.worker_changes(&mut self.hash, old);
            self.crew.leave(old);
        } else {
            self.unsettled.new_worker(event.worker);
        }
        self.crew.join(&worker);
        self.workers.insert(event.worker, worker);
    }

    pub(super) fn worker_signed_on(&mut self, recorded: &Recorded, event: &WorkerSignedOn) {
        self.change_worker(recorded, event.worker, |worker| {
            worker.task_types = event.task_types.iter().cloned().collect();
            worker.can_restart = event.can_restart;
            worker.protocol = event.protocol;
            worker.slots = event.slots;
            worker.status = Some(WorkerStatus::Starting);
            worker.detail = recorded.detail_hash;
        });
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
        change: impl FnOnce(&mut BTreeSet<AttemptId>),
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
