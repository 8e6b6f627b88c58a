// SPDX-License-Identifier: GPL-3.0-or-later
//! The tasks of a job, packed: a farm may hold a million of them, and twice.
//!
//! What never changes lies in the runs in which the tasks came and is shared with whoever else
//! folded them. What every task has and changes is a fixed row; what few tasks have at a time (a
//! live attempt, workers that failed it) lies beside. A [`Task`] is put together when asked for.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use smallvec::SmallVec;

use crate::{
    AttemptId, Lsn, TaskId, TaskStatus, WorkerId, event::StepsChange, frames::FramesView,
    new_tasks::NewTasks, rows, task_rows::Rare, task_state::flag,
};

pub(crate) use crate::task_state::TaskState;

/// A task of a job, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Task<'a> {
    /// Its number in the job, never reused.
    pub number: u32,
    /// Its name to the outside.
    pub uuid: TaskId,
    /// Order in the job, from 1.
    pub index: u32,
    /// The generation of the job that made it.
    pub generation: u32,
    /// Task type, as an index into the farm's table of types.
    pub task_type: u16,
    /// Priority within the job; higher runs first.
    pub priority: i32,
    /// Where it stands.
    pub status: TaskStatus,
    /// Hash of what it does; equal hashes do equal work.
    #[serde(serialize_with = "crate::codec::raw_bytes::serialize")]
    pub content_hash: &'a [u8; 32],
    /// Numbers of the tasks that must be completed first.
    pub depends_on: &'a [u32],
    /// Frames it renders.
    pub frames: FramesView<'a>,
    /// Steps in all.
    pub steps_total: u32,
    /// Steps done.
    pub steps_completed: u32,
    /// Workers that failed it.
    pub failed_by: &'a [WorkerId],
    /// Bytes of memory that were too few for it, if it ran out of memory somewhere. Has a leaf of
    /// its own in the digest.
    #[serde(skip)]
    pub outgrown: Option<u64>,
    /// The live attempt.
    pub attempt: Option<AttemptId>,
    /// The worker of the last attempt.
    pub last_worker: Option<WorkerId>,
    /// Attempts ended so far.
    pub attempts_ended: u32,
    /// The last ended attempt, and whether its own report ended it.
    pub last_ended: Option<(AttemptId, bool)>,
    /// No longer part of the job's present generation.
    pub retired: bool,
    /// Position of its last change.
    pub changed_at: Lsn,
}

/// All of a task that changes, as it was at some time.
#[derive(Clone, Debug)]
pub(crate) struct TaskBefore {
    state: TaskState,
    attempt: Option<AttemptId>,
    failed_by: SmallVec<[WorkerId; 1]>,
    outgrown: Option<u64>,
}

/// Neighbouring tasks whose changing part copies of a farm share until one of them changes: few
/// enough that the change copies little, many enough that a copy of the farm costs little.
pub(crate) const SHARED_TASKS: usize = 256;

/// What changes about some neighbouring tasks.
pub(crate) type States = Arc<[TaskState]>;

/// Tasks that came together.
#[derive(Clone, Debug)]
struct Run {
    first: u32,
    generation: u32,
    facts: NewTasks,
}

/// The tasks of one job; a task's place is its number.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// By first number, without gaps.
    runs: Vec<Run>,
    /// By number; all but the last have [`SHARED_TASKS`].
    states: Vec<States>,
    len: u32,
    attempts: BTreeMap<u32, AttemptId>,
    failed_by: BTreeMap<u32, SmallVec<[WorkerId; 1]>>,
    /// Of tasks that somebody failed.
    outgrown: BTreeMap<u32, u64>,
    /// Since when what a task published is not wanted any more.
    discarded: BTreeMap<u32, Lsn>,
}

impl Tasks {
    /// How many.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// The number that the next task will have.
    pub const fn end(&self) -> u32 {
        self.len
    }

    /// None at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The run of a task, and its place there.
    fn place(&self, number: u32) -> Option<(&Run, usize)> {
        let after = self.runs.partition_point(|run| run.first <= number);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let place = (number - run.first) as usize;
        (place < run.facts.len()).then_some((run, place))
    }

    fn state(&self, number: u32) -> Option<&TaskState> {
        let number = number as usize;
        let block = self.states.get(number / SHARED_TASKS)?;
        block.get(number % SHARED_TASKS)
    }

    /// The task with this number.
    pub fn get(&self, number: usize) -> Option<Task<'_>> {
        let number = u32::try_from(number).ok()?;
        let (run, place) = self.place(number)?;
        Some(self.view(run, place))
    }

    /// The task with this number, which is there.
    ///
    /// # Panics
    /// Where the job has no such task, as indexing does.
    pub fn at(&self, number: u32) -> Task<'_> {
        self.get(number as usize)
            .expect("whoever names a task by its number has seen it in the job")
    }

    /// The tasks in order.
    pub fn iter(&self) -> impl Iterator<Item = Task<'_>> + Clone {
        self.runs
            .iter()
            .flat_map(|run| (0..run.facts.len()).map(|place| self.view(run, place)))
    }

    /// The tasks from one number to another, both included; nothing where they are not all there.
    pub fn range(&self, first: u32, last: u32) -> impl Iterator<Item = Task<'_>> {
        let whole = first <= last && last < self.len;
        let numbers = if whole { first..last + 1 } else { 0..0 };
        numbers.filter_map(|number| self.get(number as usize))
    }

    /// The status of a task.
    pub fn status(&self, number: u32) -> Option<TaskStatus> {
        self.state(number).map(|state| state.status)
    }

    /// The numbers of the tasks that are being run, and the attempts.
    pub fn running(&self) -> impl Iterator<Item = (u32, AttemptId)> {
        self.attempts
            .iter()
            .map(|(&number, &attempt)| (number, attempt))
    }

    /// The workers of those tasks that somebody ran, in order of the tasks.
    pub fn last_workers(&self) -> impl Iterator<Item = WorkerId> {
        let ran = (self.states()).filter(|state| state.has(flag::HAS_LAST_WORKER));
        ran.map(|state| state.last_worker)
    }

    /// The tasks that some worker failed, and by whom.
    pub fn failed(&self) -> impl Iterator<Item = (u32, &[WorkerId])> {
        (self.failed_by.iter()).map(|(&number, workers)| (number, workers.as_slice()))
    }

    /// The tasks that ran out of memory, and how many bytes were too few.
    pub fn outgrown(&self) -> impl Iterator<Item = (u32, u64)> {
        (self.outgrown.iter()).map(|(&number, &bytes)| (number, bytes))
    }

    /// Puts back what a checkpoint held.
    pub(crate) fn restore_outgrown(
        &mut self,
        outgrown: Vec<(u32, u64)>,
    ) -> Result<(), rows::Error> {
        self.outgrown = outgrown.into_iter().collect();
        let all_failed = (self.outgrown.keys()).all(|number| self.failed_by.contains_key(number));
        if all_failed {
            Ok(())
        } else {
            Err(rows::Error::Inconsistent(
                "a task ran out of memory and nobody failed it",
            ))
        }
    }

    /// Which of what the task has to render counts as rendered: only what was published by an
    /// attempt of its own after this. `None`: whatever is there.
    pub fn rendered_since(&self, number: u32) -> Option<Lsn> {
        let discarded = self.discarded.get(&number).copied();
        discarded.or_else(|| (self.get(number as usize)?.generation > 1).then_some(Lsn::ORIGIN))
    }

    /// The tasks whose output was discarded, and when.
    pub(crate) fn discarded(&self) -> impl Iterator<Item = (u32, Lsn)> {
        (self.discarded.iter()).map(|(&number, &lsn)| (number, lsn))
    }

    pub(crate) fn discard(&mut self, number: u32, at: Lsn) {
        self.discarded.insert(number, at);
    }

    pub(crate) fn uuid(&self, number: u32) -> Option<TaskId> {
        let (run, place) = self.place(number)?;
        run.facts.uuid(place)
    }

    /// The names of the tasks from a number on.
    pub(crate) fn uuids_from(&self, first: u32) -> impl Iterator<Item = TaskId> {
        let begin = self.runs.partition_point(|run| run.first <= first);
        let runs = &self.runs[begin.saturating_sub(1)..];
        let skipped = runs.first().map_or(0, |run| (first - run.first) as usize);
        (runs.iter())
            .flat_map(|run| run.facts.uuids())
            .skip(skipped)
    }

    /// The tasks that wait for others, and for which.
    pub(crate) fn dependent(&self) -> impl Iterator<Item = (u32, &[u32])> {
        (self.runs.iter())
            .filter(|run| run.facts.has_dependent())
            .flat_map(|run| {
                let numbers = run.first..;
                numbers.zip(run.facts.iter().map(|facts| facts.depends_on))
            })
            .filter(|(_, depends_on)| !depends_on.is_empty())
    }

    fn view<'a>(&'a self, run: &'a Run, place: usize) -> Task<'a> {
        let number = run.first + u32::try_from(place).expect("numbers are u32");
        let state = (self.state(number)).expect("there is a state for each task of each run");
        let rare = |has: bool| has.then_some(&number);
        let attempt = rare(!self.attempts.is_empty())
            .and_then(|number| self.attempts.get(number))
            .copied();
        let failed_by = rare(!self.failed_by.is_empty())
            .and_then(|number| self.failed_by.get(number))
            .map_or(&[][..], SmallVec::as_slice);
        let outgrown = rare(!self.outgrown.is_empty())
            .and_then(|number| self.outgrown.get(number))
            .copied();
        Self::task(run, place, state, attempt, (failed_by, outgrown))
    }

    /// The task as it was.
    pub(crate) fn as_it_was<'a>(&'a self, number: u32, before: &'a TaskBefore) -> Option<Task<'a>> {
        let (run, place) = self.place(number)?;
        let TaskBefore {
            state,
            attempt,
            failed_by,
            outgrown,
        } = before;
        let failures = (failed_by.as_slice(), *outgrown);
        Some(Self::task(run, place, state, *attempt, failures))
    }

    /// What has to be known of a task to tell later how it was.
    pub(crate) fn before(&self, number: u32) -> Option<TaskBefore> {
        let (run, place) = self.place(number)?;
        let task = self.view(run, place);
        Some(TaskBefore {
            state: *self.state(number)?,
            attempt: task.attempt,
            failed_by: SmallVec::from_slice(task.failed_by),
            outgrown: task.outgrown,
        })
    }

    fn task<'a>(
        run: &'a Run,
        place: usize,
        state: &TaskState,
        attempt: Option<AttemptId>,
        (failed_by, outgrown): (&'a [WorkerId], Option<u64>),
    ) -> Task<'a> {
        let facts = (run.facts.get(place)).expect("a run has facts for each of its states");
        let number = run.first + u32::try_from(place).expect("numbers are u32");
        Task {
            number,
            uuid: facts.uuid,
            index: number + 1,
            generation: run.generation,
            task_type: state.task_type,
            priority: state.priority,
            status: state.status,
            content_hash: facts.content_hash,
            depends_on: facts.depends_on,
            frames: facts.frames,
            steps_total: facts.steps_total,
            steps_completed: state.steps_completed,
            failed_by,
            outgrown,
            attempt,
            last_worker: state
                .has(flag::HAS_LAST_WORKER)
                .then_some(state.last_worker),
            attempts_ended: state.attempts_ended,
            last_ended: (state.has(flag::HAS_ENDED))
                .then_some((state.last_ended, state.has(flag::ENDED_BY_OWN_REPORT))),
            retired: state.has(flag::RETIRED),
            changed_at: state.changed_at,
        }
    }

    /// The runs in which the tasks came: first number, generation, and what never changes.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u32, u32, &NewTasks)> {
        (self.runs.iter()).map(|run| (run.first, run.generation, &run.facts))
    }

    /// What changes about each task, in order.
    pub(crate) fn states(&self) -> impl Iterator<Item = &TaskState> {
        self.states.iter().flat_map(|block| block.iter())
    }

    /// What few tasks have.
    pub(crate) fn rare(&self) -> Rare {
        (
            (self.attempts.iter())
                .map(|(&number, &attempt)| (number, attempt))
                .collect(),
            (self.failed_by.iter())
                .map(|(&number, workers)| (number, workers.clone()))
                .collect(),
        )
    }

    /// Puts back what few tasks have.
    fn put_rare(&mut self, rare: Rare) -> Result<(), rows::Error> {
        let (attempts, failed_by) = rare;
        self.attempts = attempts.into_iter().collect();
        self.failed_by = failed_by.into_iter().collect();
        let highest = [
            self.attempts.keys().next_back(),
            self.failed_by.keys().next_back(),
        ];
        if highest
            .into_iter()
            .flatten()
            .any(|&number| number >= self.len)
        {
            return Err(rows::Error::Inconsistent(
                "a job lacks a task that something happens to",
            ));
        }
        Ok(())
    }

    /// Takes a run in. `states` has one for each of the run's tasks.
    pub(crate) fn push(&mut self, generation: u32, facts: NewTasks, states: &[TaskState]) {
        debug_assert_eq!(facts.len(), states.len(), "each task has a state");
        // The last block is filled up, and so made anew.
        let open = match self.states.pop() {
            Some(full) if full.len() == SHARED_TASKS => {
                self.states.push(full);
                Arc::default()
            }
            Some(open) => open,
            None => Arc::default(),
        };
        let (fits, rest) = states.split_at(states.len().min(SHARED_TASKS - open.len()));
        if !open.is_empty() || !fits.is_empty() {
            self.states.push([&*open, fits].concat().into());
        }
        self.states.extend(rest.chunks(SHARED_TASKS).map(Arc::from));
        self.push_run(generation, facts);
    }

    fn push_run(&mut self, generation: u32, facts: NewTasks) {
        let first = self.len;
        self.len += u32::try_from(facts.len()).expect("numbers are u32");
        self.runs.push(Run {
            first,
            generation,
            facts,
        });
    }

    /// Puts tasks together from what a checkpoint held: runs and states, both by first number.
    pub(crate) fn restore(
        runs: impl Iterator<Item = (u32, (u32, NewTasks))>,
        blocks: impl Iterator<Item = (u32, States)>,
        rare: Rare,
    ) -> Result<Self, rows::Error> {
        const GAPS: rows::Error = rows::Error::Inconsistent("a job's tasks have gaps");
        let mut tasks = Self::default();
        for (first, (generation, facts)) in runs {
            let end = u32::try_from(facts.len())
                .ok()
                .and_then(|len| first.checked_add(len));
            if first != tasks.len || end.is_none() {
                return Err(GAPS);
            }
            tasks.push_run(generation, facts);
        }
        let mut states = 0;
        for (first, block) in blocks {
            if first as usize != states || states % SHARED_TASKS != 0 {
                return Err(GAPS);
            }
            states += block.len();
            if block.is_empty() || block.len() > SHARED_TASKS {
                return Err(GAPS);
            }
            tasks.states.push(block);
        }
        if states != tasks.len() {
            return Err(GAPS);
        }
        tasks.put_rare(rare)?;
        Ok(tasks)
    }

    /// What changes about a task.
    pub(crate) fn state_mut(&mut self, number: u32) -> Option<&mut TaskState> {
        let number = number as usize;
        let block = self.states.get_mut(number / SHARED_TASKS)?;
        Arc::make_mut(block).get_mut(number % SHARED_TASKS)
    }

    /// A task to be changed.
    pub(crate) fn change(&mut self, number: u32) -> Option<TaskChange<'_>> {
        let (run, place) = self.place(number)?;
        let steps_total = run.facts.get(place)?.steps_total;
        let at = number as usize;
        let block = self.states.get_mut(at / SHARED_TASKS)?;
        Some(TaskChange {
            number,
            steps_total,
            state: Arc::make_mut(block).get_mut(at % SHARED_TASKS)?,
            attempts: &mut self.attempts,
            failed_by: &mut self.failed_by,
            outgrown: &mut self.outgrown,
        })
    }

    /// The task's leaf leaves the digest's sum, or is back in it. Gives how it was.
    pub(crate) fn set_unsettled(&mut self, number: u32, unsettled: bool) -> bool {
        let Some(state) = self.state_mut(number) else {
            return false;
        };
        let before = state.has(flag::UNSETTLED);
        state.put(flag::UNSETTLED, unsettled);
        before
    }

    pub(crate) fn is_unsettled(&self, number: u32) -> bool {
        (self.state(number)).is_some_and(|state| state.has(flag::UNSETTLED))
    }
}

/// A task that is being changed.
pub(crate) struct TaskChange<'a> {
    number: u32,
    pub(crate) steps_total: u32,
    pub(crate) state: &'a mut TaskState,
    attempts: &'a mut BTreeMap<u32, AttemptId>,
    failed_by: &'a mut BTreeMap<u32, SmallVec<[WorkerId; 1]>>,
    outgrown: &'a mut BTreeMap<u32, u64>,
}

impl TaskChange<'_> {
    pub(crate) fn set_attempt(&mut self, attempt: Option<AttemptId>) {
        match attempt {
            Some(attempt) => self.attempts.insert(self.number, attempt),
            None => self.attempts.remove(&self.number),
        };
    }

    /// Notes that a worker failed the task. Gives whether it had not before.
    pub(crate) fn add_failed_by(&mut self, worker: WorkerId) -> bool {
        let workers = self.failed_by.entry(self.number).or_default();
        let newly = !workers.contains(&worker);
        if newly {
            workers.push(worker);
        }
        newly
    }

    /// Notes that so many bytes of memory are too few for the task.
    pub(crate) fn set_outgrown(&mut self, bytes: u64) {
        self.outgrown.insert(self.number, bytes);
    }

    pub(crate) fn clear_failed_by(&mut self) {
        self.outgrown.remove(&self.number);
        self.failed_by.remove(&self.number);
    }

    pub(crate) fn set_retired(&mut self, retired: bool) {
        self.state.put(flag::RETIRED, retired);
    }

    pub(crate) fn change_steps(&mut self, change: StepsChange) {
        match change {
            StepsChange::Keep => {}
            StepsChange::Zero => self.state.steps_completed = 0,
            StepsChange::Total => self.state.steps_completed = self.steps_total,
        }
    }

    /// The type of the task, as an index into the farm's table.
    pub(crate) fn task_type(&self) -> u16 {
        self.state.task_type
    }
}
