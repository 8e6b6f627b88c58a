// SPDX-License-Identifier: GPL-3.0-or-later
//! How many present workers could run tasks of a type in jobs of a tag.
//!
//! A failure asks how many others may still try; counting them among ten thousand workers each
//! time would be the dearest part of a decision. Derived from the workers, never journalled.

use std::collections::BTreeMap;

use crate::{TagId, WorkerId, WorkerStatus, entity::Worker};

/// Counts of present workers by what they run and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crew {
    /// By task type; without a tag all of them, with a tag those that bear it.
    counts: BTreeMap<String, BTreeMap<Option<TagId>, usize>>,
}

/// The worker counts as somebody who could be given a task one day.
fn is_present(worker: &Worker) -> bool {
    let connected = !matches!(
        worker.status,
        None | Some(WorkerStatus::Offline | WorkerStatus::Error)
    );
    connected && !worker.deleted && !worker.quarantined
}

/// The worker could run tasks of this type in jobs of this tag.
fn could_run(worker: &Worker, task_type: &str, tag: Option<TagId>) -> bool {
    is_present(worker)
        && worker.task_types.contains(task_type)
        && tag.is_none_or(|tag| worker.tags.contains(&tag))
}

impl Crew {
    /// The worker is as it is from now on.
    pub(crate) fn join(&mut self, worker: &Worker) {
        if !is_present(worker) {
            return;
        }
        for task_type in &worker.task_types {
            let counts = self.counts.entry(task_type.clone()).or_default();
            for tag in lanes_of(worker) {
                *counts.entry(tag).or_default() += 1;
            }
        }
    }

    /// The worker is about to change.
    pub(crate) fn leave(&mut self, worker: &Worker) {
        if !is_present(worker) {
            return;
        }
        for task_type in &worker.task_types {
            let Some(counts) = self.counts.get_mut(task_type) else {
                continue;
            };
            for tag in lanes_of(worker) {
                if let Some(count) = counts.get_mut(&tag) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(&tag);
                    }
                }
            }
            if counts.is_empty() {
                self.counts.remove(task_type);
            }
        }
    }

    /// How many could run tasks of this type in jobs of this tag, but for those named. A worker
    /// that is named twice is left out once.
    pub(crate) fn others(
        &self,
        workers: &BTreeMap<WorkerId, Worker>,
        task_type: &str,
        tag: Option<TagId>,
        but: impl Iterator<Item = WorkerId>,
    ) -> usize {
        let all = (self.counts.get(task_type))
            .and_then(|counts| counts.get(&tag))
            .copied()
            .unwrap_or(0);
        let but: std::collections::BTreeSet<WorkerId> = but.collect();
        let out = (but.iter())
            .filter_map(|id| workers.get(id))
            .filter(|worker| could_run(worker, task_type, tag));
        all - out.count()
    }
}

fn lanes_of(worker: &Worker) -> impl Iterator<Item = Option<TagId>> {
    std::iter::once(None).chain(worker.tags.iter().copied().map(Some))
}
