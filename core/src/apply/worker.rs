// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what happens to workers.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::{
    AttemptId, Farm, Recorded, WorkerId, WorkerStatus,
    digest::{Domain, Leaf},
    entity::{Protocol, Quarantine, Worker},
    event::{WorkerMemorySet, WorkerQuarantined, WorkerRegistered, WorkerSignedOn},
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
        self.put_quarantine(event.worker, None);
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

    pub(super) fn worker_quarantined(&mut self, recorded: &Recorded, event: &WorkerQuarantined) {
        self.change_worker(recorded, event.worker, |worker| worker.quarantined = true);
        let before = self.quarantines.get(&event.worker);
        let quarantine = Quarantine {
            cause: event.cause,
            detail: recorded.detail_hash,
            since: before.map_or(recorded.at, |before| before.since),
        };
        self.put_quarantine(event.worker, Some(quarantine));
    }

    /// Sets or forgets why a worker is in quarantine, and brings the digest up to date.
    pub(super) fn put_quarantine(&mut self, id: WorkerId, quarantine: Option<Quarantine>) {
        let leaf = |quarantine: &Quarantine| Leaf::of(Domain::Quarantine, &(id, quarantine));
        if let Some(old) = self.quarantines.remove(&id) {
            self.hash.remove(leaf(&old));
        }
        if let Some(new) = quarantine {
            self.hash.add(leaf(&new));
            self.quarantines.insert(id, new);
        }
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
