// SPDX-License-Identifier: GPL-3.0-or-later
//! The indexes over a whole job that a checkpoint held: what adding its tasks one by one gives,
//! but sixty-four tasks at a time, because a start waits for it.

use std::cmp::Reverse;

use super::Schedule;
use crate::{TaskStatus, entity::Job};

/// Ready tasks of one type and priority, in one word of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    task_type: u16,
    priority: i32,
    place: u64,
}

impl Schedule {
    /// Takes in all tasks of a job, which was just added.
    pub(crate) fn restore_tasks(&mut self, job: &Job) {
        let sequence = job.state.sequence;
        let Some(links) = self.jobs.get_mut(&sequence) else {
            return;
        };
        for (number, depends_on) in job.tasks.dependent() {
            links.waits.add(number, depends_on, |other| {
                job.tasks.status(other) == Some(TaskStatus::Completed)
            });
        }
        let mut open: Option<(Word, u64)> = None;
        for (number, state) in (0u32..).zip(job.tasks.states()) {
            if !state.status.is_runnable() || state.is_retired() || !links.waits.is_free(number) {
                continue;
            }
            let word = Word {
                task_type: state.task_type,
                priority: state.priority,
                place: u64::from(number) / 64,
            };
            let bit = 1 << (number % 64);
            match &mut open {
                Some((of, bits)) if *of == word => *bits |= bit,
                _ => {
                    let full = open.replace((word, bit));
                    full.into_iter().for_each(|word| links.enter(word));
                }
            }
        }
        open.into_iter().for_each(|word| links.enter(word));
        // Whoever failed a ready task is noted as if the task came now.
        for (number, _) in job.tasks.failed() {
            let task = job.tasks.at(number);
            Self::withdraw(links, &mut self.exhausted, sequence, &task);
            Self::settle(links, &mut self.exhausted, sequence, &task);
        }
    }
}

impl super::JobLinks {
    fn enter(&mut self, (word, bits): (Word, u64)) {
        let ready = self.ready.entry(word.task_type).or_default();
        ready.enter_word(Reverse(word.priority), word.place, bits);
    }
}
