// SPDX-License-Identifier: GPL-3.0-or-later
//! The tasks of one job, put together from rows that arrive in any order.
//!
//! What rows there are and how each is written is known where they are made.

use std::collections::BTreeMap;

use crate::{
    Lsn,
    new_tasks::NewTasks,
    rows::Error,
    task_rows::Rare,
    tasks::{States, Tasks},
};

/// What rows said about the tasks of a job, in any order.
#[derive(Debug, Default)]
pub(crate) struct JobRows {
    /// By first number.
    pub(crate) runs: BTreeMap<u32, (u32, NewTasks)>,
    pub(crate) blocks: BTreeMap<u32, States>,
    pub(crate) rare: Rare,
    pub(crate) discarded: Vec<(u32, Lsn)>,
    pub(crate) outgrown: Vec<(u32, u64)>,
}

impl JobRows {
    pub(crate) fn merge(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.blocks.extend(other.blocks);
        // One row of a job has it; whoever did not see that row has nothing.
        self.rare.0.extend(other.rare.0);
        self.rare.1.extend(other.rare.1);
        self.discarded.extend(other.discarded);
        self.outgrown.extend(other.outgrown);
    }

    /// The tasks, if there are no gaps among them.
    pub(crate) fn finish(self) -> Result<Tasks, Error> {
        let (runs, blocks) = (self.runs.into_iter(), self.blocks.into_iter());
        let mut tasks = Tasks::restore(runs, blocks, self.rare)?;
        for (number, at) in self.discarded {
            if number >= tasks.end() {
                return Err(Error::Inconsistent("a job lacks a task that was discarded"));
            }
            tasks.discard(number, at);
        }
        tasks.restore_outgrown(self.outgrown)?;
        Ok(tasks)
    }
}
