// SPDX-License-Identifier: GPL-3.0-or-later
//! A farm as rows, one per entity, and back.
//!
//! Rows are what a checkpoint holds: a cache of the fold, never the truth. Whatever follows
//! from the entities (task names to numbers, counts, failures, live attempts, the schedule) is
//! not written but built again. Tasks and frames come in blocks, because a million rows of a
//! hundred bytes cost more than four thousand of thirty kilobytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Farm, JobId, Lsn, ManagerId, RequestId, ShotId, Timestamp,
    blocks::Block,
    codec::{self, from_bytes, to_bytes},
    digest::SetHash,
    entity::{
        Attempt, Frame, FrameKey, Job, JobState, Manager, Placement, Policy, RemoteRequest, Tag,
        Worker,
    },
    flaws::Flaw,
    frame_rows,
    job_rows::JobRows,
    schedule::Schedule,
    status::TaskCounts,
    task_index::TaskIndex,
    task_rows,
    tasks::{SHARED_TASKS, Tasks},
    unsettled::Mark,
};

/// Rises when a row changes shape or meaning; rows of another version are thrown away.
pub const ROWS_VERSION: u32 = 3;

/// Tasks in one row, and width of a block of frame numbers in one row: large enough that a
/// million tasks are four thousand rows, small enough that one change rewrites little.
pub const BLOCK: u32 = 256;

/// Keys of a farm begin with a byte below this one; a caller may add rows of its own above.
pub const PREFIX_END: u8 = 0x80;

/// First byte of a key: what the row is about.
mod prefix {
    pub(super) const FARM: u8 = 1;
    pub(super) const JOB: u8 = 2;
    pub(super) const TASKS: u8 = 3;
    pub(super) const ATTEMPT: u8 = 4;
    pub(super) const FRAMES: u8 = 5;
    pub(super) const WORKER: u8 = 6;
    pub(super) const TAG: u8 = 7;
    pub(super) const MANAGER: u8 = 8;
    pub(super) const PLACEMENT: u8 = 9;
    pub(super) const REMOTE: u8 = 10;
    pub(super) const KEY: u8 = 11;
    pub(super) const RUN: u8 = 12;
    pub(super) const RARE: u8 = 13;
    /// One row, and only where a worker is blocked: since when. Rows of earlier builds lack it.
    pub(super) const BLOCKS: u8 = 14;
    /// One row of a job, and only where output of its tasks was discarded: since when. Rows of
    /// earlier builds lack it.
    pub(super) const DISCARDED: u8 = 24;
    /// One row, and only where something is wrong with a frame. Rows of earlier builds lack it.
    pub(super) const FLAWS: u8 = 15;
    /// One row, and only where a worker is in quarantine. Rows of earlier builds lack it.
    pub(super) const QUARANTINES: u8 = 16;
    /// One row, and only where a worker said how much memory it has. Rows of earlier builds lack
    /// it.
    pub(super) const MEMORY: u8 = 17;
    /// One row of a job, and only where a task of it ran out of memory. Rows of earlier builds
    /// lack it.
    pub(super) const OUTGROWN: u8 = 25;
}

const _: () = assert!(
    BLOCK as usize == SHARED_TASKS,
    "a row of tasks is what lies together in memory"
);

/// Key and value of a row.
pub type Row = (Vec<u8>, Vec<u8>);

/// Why rows are not a farm.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value does not have the shape that its key says.
    #[error("decode a row of a farm")]
    Value(#[from] codec::Error),
    /// A key that this build does not know.
    #[error("read a row of unknown kind {0}")]
    UnknownRow(u8),
    /// Rows are missing, or rows contradict each other.
    #[error("put a farm together from its rows: {0}")]
    Inconsistent(&'static str),
}

/// The farm's own facts.
#[derive(Debug, Serialize, Deserialize)]
struct FarmRow {
    position: Lsn,
    time: Timestamp,
    manager: Option<ManagerId>,
    incarnation: u32,
    opened_at: Lsn,
    term: u64,
    policy: Policy,
    control_journal: Option<[u8; 16]>,
    settled: Lsn,
    next_sequence: u64,
    type_names: Vec<String>,
    hash: SetHash,
}

/// A block of frames: the shot and the block's number, as the key sorts them.
type FrameBlock = ([u8; 16], u32);

impl Farm {
    /// Every entity as rows. Equal farms give equal rows in equal order.
    pub fn to_rows(&self) -> impl Iterator<Item = Row> {
        let farm = std::iter::once_with(|| (vec![prefix::FARM], to_bytes(&self.farm_row())));
        let jobs = self.jobs.iter().flat_map(|(id, job)| {
            let state = (key(prefix::JOB, id.uuid().as_bytes()), to_bytes(&job.state));
            let id = id.uuid();
            let numbered = move |prefix, number: u32| {
                let mut key = key(prefix, id.as_bytes());
                key.extend_from_slice(&number.to_be_bytes());
                key
            };
            let runs = (job.tasks.runs()).map(move |(first, generation, facts)| {
                let bytes = task_rows::run_bytes(generation, facts);
                (numbered(prefix::RUN, first), bytes)
            });
            let mut states = job.tasks.states().peekable();
            let blocks = (0..).step_by(BLOCK as usize).map_while(move |first| {
                states.peek()?;
                let mut bytes = Vec::with_capacity(BLOCK as usize * task_rows::STATE_BYTES);
                for state in states.by_ref().take(BLOCK as usize) {
                    task_rows::write_state(state, &mut bytes);
                }
                Some((numbered(prefix::TASKS, first), bytes))
            });
            let rare = key(prefix::RARE, id.as_bytes());
            let rare = std::iter::once_with(move || (rare, to_bytes(&job.tasks.rare())));
            let discarded: Vec<(u32, Lsn)> = job.tasks.discarded().collect();
            let discarded = (!discarded.is_empty()).then(|| {
                let key = key(prefix::DISCARDED, id.as_bytes());
                (key, to_bytes(&discarded))
            });
            let outgrown: Vec<(u32, u64)> = job.tasks.outgrown().collect();
            let outgrown = (!outgrown.is_empty()).then(|| {
                let key = key(prefix::OUTGROWN, id.as_bytes());
                (key, to_bytes(&outgrown))
            });
            (std::iter::once(state).chain(runs).chain(blocks))
                .chain(rare)
                .chain(discarded)
                .chain(outgrown)
        });
        farm.chain(jobs)
            .chain(self.attempts.values().map(|attempt| {
                let mut key = key(prefix::ATTEMPT, &attempt.id.job_epoch.to_be_bytes());
                key.extend_from_slice(&attempt.id.incarnation.to_be_bytes());
                key.extend_from_slice(&attempt.id.lsn.get().to_be_bytes());
                (key, to_bytes(attempt))
            }))
            .chain(self.frame_rows())
            .chain(
                self.workers.iter().map(|(id, worker)| {
                    (key(prefix::WORKER, id.uuid().as_bytes()), to_bytes(&worker))
                }),
            )
            .chain(
                (self.tags.iter())
                    .map(|(id, tag)| (key(prefix::TAG, id.uuid().as_bytes()), to_bytes(&tag))),
            )
            .chain(self.managers.iter().map(|(id, manager)| {
                (
                    key(prefix::MANAGER, id.uuid().as_bytes()),
                    to_bytes(&manager),
                )
            }))
            .chain(self.placements.iter().map(|(id, placement)| {
                (
                    key(prefix::PLACEMENT, id.uuid().as_bytes()),
                    to_bytes(&(id, placement)),
                )
            }))
            .chain(self.remotes.iter().map(|(id, remote)| {
                (
                    key(prefix::REMOTE, id.uuid().as_bytes()),
                    to_bytes(&(id, remote)),
                )
            }))
            .chain((self.keys.iter()).map(|(id, job)| (key(prefix::KEY, id), to_bytes(&(id, job)))))
            .chain(self.block_row())
            .chain(self.flaw_row())
            .chain(self.quarantine_row())
            .chain(self.memory_row())
    }

    fn farm_row(&self) -> FarmRow {
        FarmRow {
            position: self.position,
            time: self.time,
            manager: self.manager,
            incarnation: self.incarnation,
            opened_at: self.opened_at,
            term: self.term,
            policy: self.policy.clone(),
            control_journal: self.control_journal,
            settled: self.settled,
            next_sequence: self.next_sequence,
            type_names: self.type_names.clone(),
            hash: self.set_hash(),
        }
    }

    fn block_row(&self) -> Option<Row> {
        let blocks = self.blocks.to_list();
        (!blocks.is_empty()).then(|| (vec![prefix::BLOCKS], to_bytes(&blocks)))
    }

    fn quarantine_row(&self) -> Option<Row> {
        let quarantines = &self.quarantines;
        (!quarantines.is_empty()).then(|| (vec![prefix::QUARANTINES], to_bytes(quarantines)))
    }

    fn flaw_row(&self) -> Option<Row> {
        let flaws = self.flaws.to_list();
        (!flaws.is_empty()).then(|| (vec![prefix::FLAWS], to_bytes(&flaws)))
    }

    fn memory_row(&self) -> Option<Row> {
        (!self.memory.is_empty()).then(|| (vec![prefix::MEMORY], to_bytes(&self.memory)))
    }

    fn frame_rows(&self) -> impl Iterator<Item = Row> {
        let mut blocks: BTreeMap<FrameBlock, Vec<(FrameKey, Frame)>> = BTreeMap::new();
        for (frame_key, frame) in self.frames.iter() {
            let block = (
                *frame_key.shot.uuid().as_bytes(),
                frame_block(frame_key.number),
            );
            blocks.entry(block).or_default().push((frame_key, frame));
        }
        blocks.into_iter().map(|((shot, block), frames)| {
            let mut key = key(prefix::FRAMES, &shot);
            key.extend_from_slice(&block.to_be_bytes());
            (key, frame_rows::write(&frames))
        })
    }

    /// Puts a farm together from its rows, in any order.
    pub fn from_rows<K, V>(rows: impl IntoIterator<Item = (K, V)>) -> Result<Self, Error>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut assembly = Assembly::default();
        for (key, value) in rows {
            assembly.take(key.as_ref(), value.as_ref())?;
        }
        assembly.finish()
    }
}

/// Which block a frame number belongs to; blocks sort as the numbers do.
pub fn frame_block(number: i32) -> u32 {
    let width = i32::try_from(BLOCK).expect("a block is a few hundred numbers wide");
    // Flipping the sign bit makes the unsigned order equal to the signed one.
    number.div_euclid(width).cast_unsigned() ^ (1 << 31)
}

fn key(prefix: u8, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len() + 4);
    key.push(prefix);
    key.extend_from_slice(id);
    key
}

/// A farm being put together from rows that arrive one by one.
#[derive(Debug, Default)]
pub struct Assembly {
    row: Option<FarmRow>,
    states: Vec<JobState>,
    tasks: BTreeMap<[u8; 16], JobRows>,
    frames: Vec<(FrameKey, Frame)>,
    farm: Farm,
}

impl Assembly {
    /// Takes a row in.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (&kind, id) = key
            .split_first()
            .ok_or(Error::Inconsistent("a key is empty"))?;
        let farm = &mut self.farm;
        match kind {
            prefix::FARM => self.row = Some(from_bytes(value)?),
            prefix::JOB => self.states.push(from_bytes(value)?),
            prefix::RUN | prefix::TASKS | prefix::RARE | prefix::DISCARDED | prefix::OUTGROWN => {
                const SHORT: Error = Error::Inconsistent("a key is too short");
                let (job, number) = id.split_first_chunk().ok_or(SHORT)?;
                let rows = self.tasks.entry(*job).or_default();
                if kind == prefix::RARE {
                    rows.rare = from_bytes(value)?;
                    return Ok(());
                }
                if kind == prefix::DISCARDED {
                    rows.discarded = from_bytes(value)?;
                    return Ok(());
                }
                if kind == prefix::OUTGROWN {
                    rows.outgrown = from_bytes(value)?;
                    return Ok(());
                }
                let first = u32::from_be_bytes(number.try_into().map_err(|_| SHORT)?);
                if kind == prefix::RUN {
                    rows.runs.insert(first, task_rows::run_from(value)?);
                } else {
                    rows.blocks.insert(first, task_rows::read_states(value)?);
                }
            }
            prefix::ATTEMPT => {
                let attempt: Attempt = from_bytes(value)?;
                farm.attempts.insert(attempt.id, attempt);
            }
            prefix::FRAMES => {
                let shot = id.split_first_chunk().map(|(shot, _)| *shot);
                let shot = shot.ok_or(Error::Inconsistent("a key is too short"))?;
                let shot = ShotId::new(uuid::Uuid::from_bytes(shot));
                frame_rows::read(shot, value, &mut self.frames)?;
            }
            prefix::WORKER => {
                let worker: Worker = from_bytes(value)?;
                farm.workers.insert(worker.id, worker);
            }
            prefix::TAG => {
                let tag: Tag = from_bytes(value)?;
                farm.tags.insert(tag.id, tag);
            }
            prefix::MANAGER => {
                let manager: Manager = from_bytes(value)?;
                farm.managers.insert(manager.id, manager);
            }
            prefix::PLACEMENT => {
                farm.placements
                    .extend([from_bytes::<(JobId, Placement)>(value)?]);
            }
            prefix::REMOTE => {
                farm.remotes
                    .extend([from_bytes::<(RequestId, RemoteRequest)>(value)?]);
            }
            prefix::KEY => farm.keys.extend([from_bytes::<([u8; 32], JobId)>(value)?]),
            prefix::BLOCKS => {
                for (block, at) in from_bytes::<Vec<(Block, Timestamp)>>(value)? {
                    farm.blocks.put(block, at);
                }
            }
            prefix::FLAWS => farm
                .flaws
                .restore(from_bytes::<Vec<(FrameKey, Flaw)>>(value)?),
            prefix::QUARANTINES => farm.quarantines = from_bytes(value)?,
            prefix::MEMORY => farm.memory = from_bytes(value)?,
            other => return Err(Error::UnknownRow(other)),
        }
        Ok(())
    }

    /// Takes in what another thread has put together of the same farm.
    pub fn merge(&mut self, other: Self) {
        self.row = self.row.take().or(other.row);
        self.states.extend(other.states);
        for (job, rows) in other.tasks {
            self.tasks.entry(job).or_default().merge(rows);
        }
        let (farm, others) = (&mut self.farm, other.farm);
        self.frames.extend(other.frames);
        farm.attempts.extend(others.attempts);
        farm.workers.extend(others.workers);
        farm.tags.extend(others.tags);
        farm.managers.extend(others.managers);
        farm.placements.extend(others.placements);
        farm.remotes.extend(others.remotes);
        farm.keys.extend(others.keys);
        farm.quarantines.extend(others.quarantines);
        for (block, at) in others.blocks.to_list() {
            farm.blocks.put(block, at);
        }
        farm.flaws.restore(others.flaws.into_list());
        farm.memory.extend(others.memory);
    }

    /// The farm without its indexes, once every row was taken.
    pub fn assemble(self) -> Result<Assembled, Error> {
        let row = self
            .row
            .ok_or(Error::Inconsistent("the farm's own row is missing"))?;
        let mut farm = Farm {
            position: row.position,
            time: row.time,
            manager: row.manager,
            incarnation: row.incarnation,
            opened_at: row.opened_at,
            term: row.term,
            policy: row.policy,
            control_journal: row.control_journal,
            settled: row.settled,
            next_sequence: row.next_sequence,
            type_names: row.type_names,
            hash: row.hash,
            ..self.farm
        };
        for (key, frame) in &self.frames {
            farm.frames.put(key, frame);
        }
        let mut tasks = self.tasks;
        for state in self.states {
            let tasks = tasks
                .remove(state.facts.job.uuid().as_bytes())
                .unwrap_or_default();
            farm.restore_job(state, tasks.finish()?)?;
        }
        if !farm.blocks.are_of(&farm.jobs) {
            return Err(Error::Inconsistent("a block is of no job"));
        }
        let of_workers = (farm.workers.values()).filter(|worker| worker.quarantined);
        if !of_workers
            .map(|worker| &worker.id)
            .eq(farm.quarantines.keys())
        {
            return Err(Error::Inconsistent("a quarantine is of no worker"));
        }
        if tasks.is_empty() {
            Ok(Assembled { farm })
        } else {
            Err(Error::Inconsistent("tasks have no job"))
        }
    }

    /// The farm, once every row was taken.
    pub fn finish(self) -> Result<Farm, Error> {
        let assembled = self.assemble()?;
        let (names, schedule) = (assembled.names(), assembled.schedule());
        assembled.finish(names, schedule)
    }
}

/// A farm of which all entities are there, but not what follows from them.
#[derive(Debug)]
pub struct Assembled {
    farm: Farm,
}

/// The index of the names of a farm's tasks.
#[derive(Debug)]
pub struct Names(TaskIndex);

impl Assembled {
    /// Makes the index of names. It takes about as long as the other indexes together, so a
    /// caller in haste makes it in a thread of its own.
    pub fn names(&self) -> Names {
        Names(TaskIndex::of(&self.farm.jobs))
    }

    /// Makes the schedule: the other index that takes long.
    pub fn schedule(&self) -> Schedule {
        let mut schedule = Schedule::default();
        for job in self.farm.jobs.values() {
            schedule.add_job(job);
            schedule.restore_tasks(job);
            for (worker, task_type) in &job.state.blocked {
                // Assembling saw to it that each type that is blocked has its index.
                if let Some(task_type) = self.farm.type_index(task_type) {
                    schedule.set_blocked(job, *worker, task_type, true);
                }
            }
        }
        schedule
    }

    /// The farm, with indexes of its own.
    pub fn finish(self, names: Names, schedule: Schedule) -> Result<Farm, Error> {
        let mut farm = self.farm;
        farm.task_ids = names.0;
        farm.schedule = schedule;
        farm.restore_live()?;
        // Lanes last: whether a job may run depends on other jobs.
        let ids: Vec<JobId> = farm.jobs.keys().copied().collect();
        ids.into_iter().for_each(|id| farm.refresh_lanes(id));
        Ok(farm)
    }
}

impl Farm {
    /// Takes a job in, with what follows from its tasks.
    fn restore_job(&mut self, state: JobState, tasks: Tasks) -> Result<(), Error> {
        let id = state.facts.job;
        // Rows of earlier builds do not say since when: then it counts from these rows on.
        for (worker, task_type) in &state.blocked {
            self.blocks.put((id, *worker, task_type.clone()), self.time);
        }
        let mut counts = TaskCounts::default();
        for task in tasks.states() {
            if usize::from(task.task_type) >= self.type_names.len() {
                return Err(Error::Inconsistent("a task has no task type"));
            }
            if !task.is_retired() {
                counts.add(task.status);
            }
        }
        let mut failures = BTreeMap::new();
        for (number, workers) in tasks.failed() {
            for &worker in workers {
                let task_type = tasks.at(number).task_type;
                *failures.entry((worker, task_type)).or_insert(0) += 1;
            }
        }
        if u32::try_from(tasks.len()).is_err() {
            return Err(Error::Inconsistent("a job has more tasks than numbers"));
        }
        for (_, task_type) in &state.blocked {
            self.intern_type(task_type);
        }
        let job = Job {
            state,
            tasks,
            counts,
            failures,
            live: 0,
            leaving: 0,
            mark: Mark::default(),
        };
        self.jobs.insert(id, job);
        Ok(())
    }

    /// Counts live attempts, and checks that those who name each other know each other:
    /// `decide` follows these links without asking.
    fn restore_live(&mut self) -> Result<(), Error> {
        for attempt in self.attempts.values() {
            let job = (self.jobs.get_mut(&attempt.job))
                .ok_or(Error::Inconsistent("an attempt has no job"))?;
            let task = (job.tasks.get(attempt.task as usize))
                .ok_or(Error::Inconsistent("an attempt has no task"))?;
            job.leaving += u32::from(task.retired);
            job.live += 1;
            if !self.workers.contains_key(&attempt.worker) {
                return Err(Error::Inconsistent("an attempt has no worker"));
            }
        }
        let mut claimed = (self.workers.values()).flat_map(|worker| &worker.attempts);
        if claimed.any(|attempt| !self.attempts.contains_key(attempt)) {
            return Err(Error::Inconsistent("a worker runs an unknown attempt"));
        }
        let mut running = (self.jobs.values()).flat_map(|job| job.tasks.running());
        if running.any(|(_, attempt)| !self.attempts.contains_key(&attempt)) {
            return Err(Error::Inconsistent("a task runs an unknown attempt"));
        }
        let several = (self.workers.values()).filter(|worker| worker.attempts.len() > 1);
        let unstarted = several
            .flat_map(|worker| worker.attempts.iter().copied())
            .filter(|id| self.attempts[id].is_unstarted());
        self.unstarted = unstarted.collect();
        for worker in self.workers.values() {
            self.crew.join(worker);
        }
        let mut workers = std::mem::take(&mut self.workers);
        for worker in workers.values_mut() {
            worker.types = self.types_of(&worker.task_types);
        }
        self.workers = workers;
        for (key, frame) in self.frames.iter() {
            *self.frames_of.entry((frame.job, key.shot)).or_default() += 1;
        }
        Ok(())
    }
}
