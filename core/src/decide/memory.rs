// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding about tasks that need more memory than a worker has: such a task is left to workers
//! that have more than the one where it ran out, or never said how much they have.

use super::{Answer, Plan};
use crate::{
    Detail, Refusal, Task, WorkerId,
    entity::Attempt,
    event::{TaskOutgrew, WorkerMemorySet},
};

impl Plan<'_> {
    pub(super) fn note_memory(
        &mut self,
        worker: WorkerId,
        bytes: Option<u64>,
    ) -> Result<Answer, Refusal> {
        self.worker(worker)?;
        let from = self.farm.memory_of(worker);
        if from != bytes {
            self.emit(WorkerMemorySet {
                worker,
                from,
                to: bytes,
            });
        }
        Ok(Answer::Done)
    }

    /// The memory that is too little for a task which ran out of it at this worker, too.
    pub(super) fn outgrown_at(&self, task: &Task<'_>, worker: WorkerId) -> Option<u64> {
        task.outgrown.max(self.farm.memory_of(worker))
    }

    /// Notes what was too little, once the attempt has ended for it.
    pub(super) fn note_outgrown(&mut self, attempt: &Attempt, from: Option<u64>, to: Option<u64>) {
        let Some(to) = to.filter(|_| to > from) else {
            return;
        };
        let mebibytes = to / (1024 * 1024);
        let reason = format!("it ran out of memory where a task may have {mebibytes} MiB");
        self.emit_with(
            TaskOutgrew {
                job: attempt.job,
                task: attempt.task,
                from,
                to,
            },
            Detail::reason(reason),
        );
    }

    /// Workers that have no more memory than what was too little.
    pub(super) fn too_small(&self, outgrown: Option<u64>) -> impl Iterator<Item = WorkerId> {
        let memory = outgrown.map(|outgrown| (outgrown, &self.farm.memory));
        memory.into_iter().flat_map(|(outgrown, memory)| {
            let small = memory.iter().filter(move |(_, bytes)| **bytes <= outgrown);
            small.map(|(&worker, _)| worker)
        })
    }
}
