// SPDX-License-Identifier: GPL-3.0-or-later
//! A job's packed tasks as bytes of a checkpoint, and back.
//!
//! Fixed widths in the order in which they lie in memory: a start decodes a million tasks and
//! people wait for it. What never changes about a run of tasks is one row, so that it is written
//! once; what changes is in blocks of its own, and what few tasks have is one row for the job.

use smallvec::SmallVec;

use crate::{
    AttemptId, Lsn, TaskStatus, WorkerId,
    new_tasks::NewTasks,
    rows::Error,
    tasks::{States, TaskState},
};

/// Bytes of a task's state.
pub(crate) const STATE_BYTES: usize = 56;

const SHORT: Error = Error::Inconsistent("a row is cut short");

/// Takes fixed widths from the front of bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (&field, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(field)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Error> {
        self.take().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<uuid::Uuid, Error> {
        self.take().map(uuid::Uuid::from_bytes)
    }
}

/// What is rare among a job's tasks: live attempts, and workers that failed some.
pub(crate) type Rare = (Vec<(u32, AttemptId)>, Vec<(u32, SmallVec<[WorkerId; 1]>)>);

/// A run: its generation and what never changes about its tasks.
pub(crate) fn run_bytes(generation: u32, facts: &NewTasks) -> Vec<u8> {
    let mut bytes = generation.to_le_bytes().to_vec();
    facts.write(&mut bytes);
    bytes
}

pub(crate) fn run_from(bytes: &[u8]) -> Result<(u32, NewTasks), Error> {
    let mut fields = Fields(bytes);
    let generation = fields.u32()?;
    Ok((generation, NewTasks::read(&mut fields)?))
}

pub(crate) fn write_state(state: &TaskState, bytes: &mut Vec<u8>) {
    let (lsn, job_epoch, incarnation) = {
        let ended = state.last_ended;
        (ended.lsn, ended.job_epoch, ended.incarnation)
    };
    bytes.extend_from_slice(&state.changed_at.get().to_le_bytes());
    bytes.extend_from_slice(&lsn.get().to_le_bytes());
    bytes.extend_from_slice(&job_epoch.to_le_bytes());
    bytes.extend_from_slice(&incarnation.to_le_bytes());
    bytes.extend_from_slice(state.last_worker.uuid().as_bytes());
    bytes.extend_from_slice(&state.priority.to_le_bytes());
    bytes.extend_from_slice(&state.steps_completed.to_le_bytes());
    bytes.extend_from_slice(&state.attempts_ended.to_le_bytes());
    bytes.extend_from_slice(&state.task_type.to_le_bytes());
    bytes.push(state.status as u8);
    bytes.push(state.lasting_flags());
}

/// The states of a block of tasks.
pub(crate) fn read_states(bytes: &[u8]) -> Result<States, Error> {
    let (rows, rest) = bytes.as_chunks::<STATE_BYTES>();
    if !rest.is_empty() {
        return Err(SHORT);
    }
    if rows.iter().any(|row| status_of(row).is_none()) {
        return Err(Error::Inconsistent("a task has no status"));
    }
    Ok(rows.iter().map(read_state).collect())
}

/// Place of the status in a row; the flags follow it.
const STATUS_AT: usize = STATE_BYTES - 2;

fn status_of(row: &[u8; STATE_BYTES]) -> Option<TaskStatus> {
    let mut known = TaskStatus::ALL.iter().copied();
    known.find(|known| *known as u8 == row[STATUS_AT])
}

fn read_state(row: &[u8; STATE_BYTES]) -> TaskState {
    const WIDE: &str = "a row is as wide as its fields";
    let fields = &mut Fields(row);
    let changed_at = Lsn::new(fields.u64().expect(WIDE));
    let last_ended = AttemptId {
        lsn: Lsn::new(fields.u64().expect(WIDE)),
        job_epoch: fields.u32().expect(WIDE),
        incarnation: fields.u32().expect(WIDE),
    };
    TaskState {
        changed_at,
        last_ended,
        last_worker: WorkerId::new(fields.uuid().expect(WIDE)),
        priority: fields.i32().expect(WIDE),
        steps_completed: fields.u32().expect(WIDE),
        attempts_ended: fields.u32().expect(WIDE),
        task_type: fields.u16().expect(WIDE),
        status: status_of(row).expect("every row's status was looked at"),
        flags: row[STATUS_AT + 1],
    }
}
