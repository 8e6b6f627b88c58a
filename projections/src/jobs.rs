// SPDX-License-Identifier: GPL-3.0-or-later
//! What people read about jobs and their tasks. Their facts are in the farm.
//!
//! Names and commands of tasks stay in the chunks in which they came, packed and unchanged;
//! only what differs per task is held per task, because a job may have a million of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tablao_core::{
    Detail, JobId, Recorded, TaskId, Timestamp,
    detail::JobDetail,
    entity::{FrameKey, Job, JobFacts, Task},
    event::{TasksAdded, TasksPrepared},
};

use crate::{
    ended::Attempts,
    task_texts::{PackedTexts, TaskTexts, TextCache},
    texts::RangeTexts,
};

/// A job in words and sums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// Its identity.
    pub id: JobId,
    /// Order of acceptance, from 1.
    pub sequence: u64,
    /// Name, user, project, shot, settings, metadata.
    pub detail: JobDetail,
    /// Why it has its status.
    pub activity: String,
    /// Why it is held.
    pub hold_reason: String,
    /// When it was submitted.
    pub created: Timestamp,
    /// When it or its tasks last changed.
    pub updated: Timestamp,
    /// Steps done, of all tasks.
    pub steps_completed: u64,
    /// Steps of all tasks.
    pub steps_total: u64,
    /// The frame it published last.
    pub last_frame: Option<FrameKey>,
}

impl JobRow {
    pub(crate) fn accepted(recorded: &Recorded, facts: &JobFacts, sequence: u64) -> Self {
        Self {
            id: facts.job,
            sequence,
            detail: match &recorded.detail {
                Detail::Job(detail) => (**detail).clone(),
                _ => JobDetail::default(),
            },
            activity: String::new(),
            hold_reason: String::new(),
            created: facts.created,
            updated: recorded.at,
            steps_completed: 0,
            steps_total: 0,
            last_frame: None,
        }
    }
}

/// A task: its facts, and what people and workers read about it.
#[derive(Clone, Copy, Debug)]
pub struct TaskView<'a> {
    /// Its job's facts.
    pub job: &'a Job,
    /// Its facts.
    pub task: Task<'a>,
    /// What its last change said.
    pub activity: &'a str,
    /// When it was added.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Name of its type.
    pub task_type: &'a str,
    /// The chunk it came in.
    chunk: Option<&'a Chunk>,
    cache: &'a TextCache,
}

impl<'a> TaskView<'a> {
    /// Its name and its commands; unpacked now, so ask for them once.
    pub fn texts(&self) -> TaskTexts {
        self.chunk.map_or_else(TaskTexts::default, |chunk| {
            let at = (self.task.number - chunk.first) as usize;
            self.cache.texts(&chunk.texts, at)
        })
    }

    /// The tasks that must be completed first.
    pub fn depends_on(&self) -> impl Iterator<Item = TaskId> + 'a {
        let tasks = &self.job.tasks;
        self.task
            .depends_on
            .iter()
            .filter_map(|&number| tasks.get(number as usize))
            .map(|task| task.uuid)
    }
}

/// Tasks that were added together, with what they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) first: u32,
    pub(crate) created: Timestamp,
    pub(crate) texts: Arc<PackedTexts>,
}

/// What is kept about the tasks of one job.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobTasks {
    /// By first number, ascending.
    pub(crate) chunks: Vec<Chunk>,
    /// When each task last changed.
    pub(crate) updated: Vec<Timestamp>,
    /// What each task's last change said.
    pub(crate) activity: RangeTexts,
    /// Attempts of the tasks.
    pub(crate) attempts: Attempts,
}

impl JobTasks {
    pub(crate) fn add(&mut self, recorded: &Recorded, event: &TasksAdded) {
        self.take(recorded, event.first_number, event.tasks.len());
    }

    /// Tasks that are not part of the job yet have names and commands as others have.
    pub(crate) fn prepare(&mut self, recorded: &Recorded, event: &TasksPrepared) {
        self.take(recorded, event.first_number, event.tasks.len());
    }

    fn take(&mut self, recorded: &Recorded, first: u32, count: usize) {
        self.chunks.push(Chunk {
            first,
            created: recorded.at,
            texts: match &recorded.detail {
                Detail::Tasks(detail) => Arc::new(PackedTexts::pack(detail)),
                _ => Arc::default(),
            },
        });
        self.updated.resize(self.updated.len() + count, recorded.at);
    }

    pub(crate) fn touch(&mut self, first: u32, last: u32, at: Timestamp) {
        if let Some(updated) = self.updated.get_mut(first as usize..=last as usize) {
            updated.fill(at);
        }
    }

    pub(crate) fn view<'a>(
        &'a self,
        job: &'a Job,
        task: Task<'a>,
        task_type: &'a str,
        cache: &'a TextCache,
    ) -> TaskView<'a> {
        let after = self
            .chunks
            .partition_point(|chunk| chunk.first <= task.number);
        let chunk = after.checked_sub(1).map(|at| &self.chunks[at]);
        let number = task.number as usize;
        TaskView {
            job,
            task,
            activity: self.activity.get(task.number),
            created: chunk.map(|chunk| chunk.created).unwrap_or_default(),
            updated: self.updated.get(number).copied().unwrap_or_default(),
            task_type,
            chunk,
            cache,
        }
    }
}
