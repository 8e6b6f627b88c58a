// SPDX-License-Identifier: GPL-3.0-or-later
//! Attempts of a job: the live ones as rows, those that ended packed.
//!
//! An attempt that ended never changes, so it is written once, in some twenty bytes behind those
//! of its neighbours, and told from the one before: positions and moments as differences, words
//! that were said before as that.

use std::collections::BTreeMap;

use tablao_core::{
    AttemptId, JobId, Lsn, TaskId, Timestamp, WorkerId,
    codec::{from_bytes, to_bytes},
    event::AttemptOutcome,
};

use crate::{
    Error,
    attempts::{AttemptPhase, AttemptRow},
    interned::Interned,
    numbers::{Numbers, make_room, put, put_bytes, put_from},
};

/// Tasks in a block.
const WIDTH: u32 = 64;

/// Bits of a row's marks.
mod mark {
    /// Epoch and incarnation are those of the row before.
    pub(super) const SAME_ERA: u64 = 1;
    /// The words are those of the row before.
    pub(super) const SAME_REASON: u64 = 1 << 1;
    pub(super) const STARTED: u64 = 1 << 2;
    pub(super) const PEAK_MEMORY: u64 = 1 << 3;
    /// The task was completed; how else an attempt ended is written out.
    pub(super) const COMPLETED: u64 = 1 << 4;
}

/// Workers that ran attempts. A worker's row is never forgotten, so neither is its number.
pub(crate) type Crew = Interned<WorkerId>;

/// The attempts of a job's tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts {
    /// By task.
    live: BTreeMap<u32, AttemptRow>,
    /// By the number of the block that the task is in.
    ended: BTreeMap<u32, Block>,
}

/// Attempts that ended, of neighbouring tasks, in the order in which they did.
#[derive(Clone, Debug, Default)]
struct Block {
    rows: Vec<u8>,
    /// The row that was written last: what the next one is told from.
    last: Before,
}

/// What a row is told from.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    job_epoch: u32,
    incarnation: u32,
    position: Lsn,
    assigned: Timestamp,
    /// Where the words that were said last are.
    reason: (usize, usize),
}

/// The job and the names of its tasks, which rows do not repeat.
pub(crate) struct Job<'a> {
    pub(crate) id: JobId,
    pub(crate) task: &'a dyn Fn(u32) -> Option<TaskId>,
}

impl Attempts {
    /// An attempt was handed out.
    pub(crate) fn begin(&mut self, row: AttemptRow) {
        self.live.insert(row.number, row);
    }

    /// The live attempt of a task, if it is this one.
    pub(crate) fn live(&mut self, number: u32, id: AttemptId) -> Option<&mut AttemptRow> {
        self.live.get_mut(&number).filter(|row| row.id == id)
    }

    /// The live attempt of a task, if it is this one, leaves those that live.
    pub(crate) fn take_live(&mut self, number: u32, id: AttemptId) -> Option<AttemptRow> {
        self.live(number, id)?;
        self.live.remove(&number)
    }

    /// Takes in an attempt that ended.
    pub(crate) fn add_ended(&mut self, crew: &mut Crew, row: &AttemptRow) {
        let block = self.ended.entry(row.number / WIDTH).or_default();
        block.push(crew, row);
    }

    /// The attempts of a task, oldest first.
    pub(crate) fn of_task(&self, crew: &Crew, job: &Job<'_>, number: u32) -> Vec<AttemptRow> {
        let block = self.ended.get(&(number / WIDTH));
        let ended = block
            .into_iter()
            .flat_map(|block| block.iter(number / WIDTH));
        let ended = ended.filter(|row| row.number == number);
        (ended.filter_map(|row| row.whole(crew, job)))
            .chain(self.live.get(&number).cloned())
            .collect()
    }

    /// Those that live, by task.
    pub(crate) fn all_live(&self) -> impl Iterator<Item = &AttemptRow> {
        self.live.values()
    }

    /// Those that ended, as rows of a checkpoint by the number of their block.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (u32, Vec<u8>)> {
        (self.ended.iter()).map(|(&at, block)| (at, block.to_bytes()))
    }

    /// Takes in such a row.
    pub(crate) fn restore_block(&mut self, at: u32, bytes: &[u8]) -> Result<(), Error> {
        self.ended.insert(at, Block::from_bytes(bytes)?);
        Ok(())
    }

    /// Takes in what another thread restored of the same job.
    pub(crate) fn merge(&mut self, other: Self) {
        self.live.extend(other.live);
        self.ended.extend(other.ended);
    }
}

/// A row as it is read.
struct Ended<'a> {
    number: u32,
    id: AttemptId,
    worker: u32,
    outcome: Option<AttemptOutcome>,
    reason: &'a [u8],
    assigned: Timestamp,
    started: Option<Timestamp>,
    ended: Timestamp,
    peak_memory_bytes: Option<u64>,
}

impl Ended<'_> {
    fn whole(self, crew: &Crew, job: &Job<'_>) -> Option<AttemptRow> {
        Some(AttemptRow {
            id: self.id,
            job: job.id,
            task: (job.task)(self.number)?,
            number: self.number,
            worker: *crew.get(self.worker)?,
            state: AttemptPhase::Ended,
            outcome: self.outcome,
            reason: String::from_utf8_lossy(self.reason).into_owned(),
            assigned: self.assigned,
            started: self.started,
            ended: Some(self.ended),
            peak_memory_bytes: self.peak_memory_bytes,
        })
    }
}

impl Block {
    /// As a row of a checkpoint: what the next attempt is told from, then the rows as they lie in
    /// memory.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40 + self.rows.len());
        let last = self.last;
        put(&mut bytes, last.job_epoch.into());
        put(&mut bytes, last.incarnation.into());
        put(&mut bytes, last.position.get());
        put(&mut bytes, last.assigned.micros());
        put(&mut bytes, last.reason.0 as u64);
        put(&mut bytes, last.reason.1 as u64);
        bytes.extend_from_slice(&self.rows);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut numbers = Numbers(bytes);
        let mut last = Before {
            job_epoch: numbers.next_small(),
            incarnation: numbers.next_small(),
            position: Lsn::new(numbers.next()),
            assigned: Timestamp::from_micros(numbers.next()),
            reason: (0, 0),
        };
        let mut place = || usize::try_from(numbers.next()).unwrap_or(usize::MAX);
        last.reason = (place(), place());
        let rows = numbers.0.to_vec();
        if rows.get(last.reason.0..last.reason.1).is_none() {
            return Err(Error::Inconsistent("a block of attempts is cut short"));
        }
        Ok(Self { rows, last })
    }

    fn push(&mut self, crew: &mut Crew, row: &AttemptRow) {
        let before = self.last;
        let same_era =
            (row.id.job_epoch, row.id.incarnation) == (before.job_epoch, before.incarnation);
        let said = &self.rows[before.reason.0..before.reason.1];
        let same_reason = said == row.reason.as_bytes();
        let completed = row.outcome == Some(AttemptOutcome::Completed);
        let mark = |has: bool, mark: u64| if has { mark } else { 0 };
        let marks = mark(same_era, mark::SAME_ERA)
            | mark(same_reason, mark::SAME_REASON)
            | mark(row.started.is_some(), mark::STARTED)
            | mark(row.peak_memory_bytes.is_some(), mark::PEAK_MEMORY)
            | mark(completed, mark::COMPLETED);
        let mut new = Vec::with_capacity(64 + row.reason.len());
        put(&mut new, (row.number % WIDTH).into());
        put(&mut new, marks);
        if !same_era {
            put(&mut new, row.id.job_epoch.into());
            put(&mut new, row.id.incarnation.into());
        }
        put_from(&mut new, row.id.lsn.get(), before.position.get());
        put(&mut new, crew.take(row.worker).into());
        put_from(&mut new, row.assigned.micros(), before.assigned.micros());
        if let Some(started) = row.started {
            put_from(&mut new, started.micros(), row.assigned.micros());
        }
        let ended = row.ended.unwrap_or(row.assigned);
        put_from(&mut new, ended.micros(), row.assigned.micros());
        row.peak_memory_bytes
            .into_iter()
            .for_each(|peak| put(&mut new, peak));
        if !completed {
            put_bytes(&mut new, &to_bytes(&row.outcome));
        }
        // The words come last, so that where they are follows from where the row ends.
        if !same_reason {
            put_bytes(&mut new, row.reason.as_bytes());
        }
        make_room(&mut self.rows, new.len());
        self.rows.extend_from_slice(&new);
        let end = self.rows.len();
        self.last = Before {
            job_epoch: row.id.job_epoch,
            incarnation: row.id.incarnation,
            position: row.id.lsn,
            assigned: row.assigned,
            reason: if same_reason {
                before.reason
            } else {
                (end - row.reason.len(), end)
            },
        };
    }

    /// The rows of the block with this number.
    fn iter(&self, at: u32) -> impl Iterator<Item = Ended<'_>> {
        let mut rows = Numbers(&self.rows);
        let mut before = Before::default();
        let mut reason: &[u8] = &[];
        std::iter::from_fn(move || {
            if rows.0.is_empty() {
                return None;
            }
            let number = at * WIDTH + rows.next_small();
            let marks = rows.next();
            let has = |mark: u64| marks & mark != 0;
            if !has(mark::SAME_ERA) {
                before.job_epoch = rows.next_small();
                before.incarnation = rows.next_small();
            }
            before.position = Lsn::new(rows.next_from(before.position.get()));
            let worker = rows.next_small();
            before.assigned = rows.next_time(before.assigned);
            let assigned = before.assigned;
            let started = has(mark::STARTED).then(|| rows.next_time(assigned));
            let ended = rows.next_time(assigned);
            let peak_memory_bytes = has(mark::PEAK_MEMORY).then(|| rows.next());
            let outcome = if has(mark::COMPLETED) {
                Some(AttemptOutcome::Completed)
            } else {
                from_bytes(rows.next_bytes()).unwrap_or_default()
            };
            if !has(mark::SAME_REASON) {
                reason = rows.next_bytes();
            }
            Some(Ended {
                number,
                id: AttemptId {
                    job_epoch: before.job_epoch,
                    incarnation: before.incarnation,
                    lsn: before.position,
                },
                worker,
                outcome,
                reason,
                assigned,
                started,
                ended,
                peak_memory_bytes,
            })
        })
    }
}
