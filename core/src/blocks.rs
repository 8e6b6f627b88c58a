// SPDX-License-Identifier: GPL-3.0-or-later
//! When workers were blocked from task types in jobs: for blocks that expire.
//!
//! Which worker is blocked where is part of the job, and of the digest; here is only since when,
//! in that order, so that the oldest is found without a search.

use std::collections::{BTreeMap, BTreeSet};

use crate::{JobId, Timestamp, WorkerId, entity::Job};

/// Job, worker and task type.
pub(crate) type Block = (JobId, WorkerId, String);

/// Every block with the moment at which it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    made: BTreeMap<Block, Timestamp>,
    in_order: BTreeSet<(Timestamp, Block)>,
}

impl Blocks {
    /// A block is made. One that is there already keeps its time.
    pub(crate) fn put(&mut self, block: Block, at: Timestamp) {
        if !self.made.contains_key(&block) {
            self.in_order.insert((at, block.clone()));
            self.made.insert(block, at);
        }
    }

    /// A block is taken back.
    pub(crate) fn take(&mut self, block: &Block) {
        if let Some(at) = self.made.remove(block) {
            self.in_order.remove(&(at, block.clone()));
        }
    }

    /// The job goes, with all of its blocks.
    pub(crate) fn take_all_of(&mut self, job: &Job) {
        for (worker, task_type) in &job.state.blocked {
            self.take(&(job.state.facts.job, *worker, task_type.clone()));
        }
    }

    /// When the oldest was made.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// Those that were made at this moment or before, oldest first.
    pub(crate) fn made_by(
        &self,
        moment: Timestamp,
    ) -> impl Iterator<Item = (JobId, WorkerId, &str)> {
        (self.in_order.iter())
            .take_while(move |(at, _)| *at <= moment)
            .map(|(_, (job, worker, task_type))| (*job, *worker, task_type.as_str()))
    }

    /// Each of them is a block of its job.
    pub(crate) fn are_of(&self, jobs: &BTreeMap<JobId, Job>) -> bool {
        self.made.keys().all(|(job, worker, task_type)| {
            let blocked = jobs.get(job).map(|job| &job.state.blocked);
            blocked.is_some_and(|blocked| blocked.contains(&(*worker, task_type.clone())))
        })
    }

    /// Everything, for a row.
    pub(crate) fn to_list(&self) -> Vec<(Block, Timestamp)> {
        let all = self.made.iter();
        all.map(|(block, at)| (block.clone(), *at)).collect()
    }
}
