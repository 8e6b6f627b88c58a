// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what happens to workers.

use std::collections::BTreeSet;

use crate::{
    Farm, Recorded, WorkerId, WorkerStatus,
    digest::{Domain, Leaf},
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
        self.hash.add(Leaf::of(Domain::Worker, &worker));
        if let Some(old) = self.workers.insert(event.worker, worker) {
            self.hash.remove(Leaf::of(Domain::Worker, &old));
        }
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
        self.hash.remove(Leaf::of(Domain::Worker, worker));
        change(worker);
        worker.changed_at = recorded.lsn;
        self.hash.add(Leaf::of(Domain::Worker, worker));
    }
}
