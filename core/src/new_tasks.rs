// SPDX-License-Identifier: GPL-3.0-or-later
//! A run of new tasks, packed and shared: what a submission, its event and every farm that
//! folded it hold of them that never changes.
//!
//! On the wire it is a list of [`NewTask`], whose shape is frozen. In memory it is one allocation
//! per field that differs in length, behind one count of its holders: the engine's farm and the
//! read model's keep the same run, and taking it over costs nothing.

use std::{fmt, ops::Range, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
    ser::SerializeSeq,
};

use crate::{
    TaskId,
    frames::{FrameRanges, FramesView},
    rows,
    task_rows::Fields,
};

/// A new task in a chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its name to the outside.
    pub uuid: TaskId,
    /// Index into the chunk's table of task types.
    pub task_type: u16,
    /// Priority within the job.
    pub priority: i32,
    /// Numbers of the tasks that must be completed first; they may come in later chunks.
    pub depends_on: Vec<u32>,
    /// Frames it renders.
    pub frames: FrameRanges,
    /// Steps in all.
    pub steps_total: u32,
    /// Hash of what it does.
    #[serde(with = "crate::codec::raw_bytes")]
    pub content_hash: [u8; 32],
}

/// A new task as it lies among others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NewTaskView<'a> {
    /// Its name to the outside.
    pub uuid: TaskId,
    /// Index into the chunk's table of task types.
    pub task_type: u16,
    /// Priority within the job.
    pub priority: i32,
    /// Numbers of the tasks that must be completed first.
    pub depends_on: &'a [u32],
    /// Frames it renders.
    pub frames: FramesView<'a>,
    /// Steps in all.
    pub steps_total: u32,
    /// Hash of what it does.
    #[serde(serialize_with = "crate::codec::raw_bytes::serialize")]
    pub content_hash: &'a [u8; 32],
}

impl NewTaskView<'_> {
    /// The same on its own.
    pub fn to_task(&self) -> NewTask {
        NewTask {
            uuid: self.uuid,
            task_type: self.task_type,
            priority: self.priority,
            depends_on: self.depends_on.to_vec(),
            frames: self.frames.to_ranges(),
            steps_total: self.steps_total,
            content_hash: *self.content_hash,
        }
    }
}

/// What has the same width for every task. The ends are places in the pools.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    uuid: TaskId,
    content_hash: [u8; 32],
    priority: i32,
    steps_total: u32,
    depends_on_end: u32,
    frames_end: u32,
    task_type: u16,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Packed {
    rows: Vec<Row>,
    depends_on: Vec<u32>,
    frames: Vec<(i32, i32)>,
}

impl Packed {
    fn push(&mut self, task: NewTaskView<'_>) {
        self.depends_on.extend_from_slice(task.depends_on);
        self.frames.extend_from_slice(task.frames.ranges());
        let end = |length: usize| u32::try_from(length).expect("a run of tasks fits one decision");
        self.rows.push(Row {
            uuid: task.uuid,
            content_hash: *task.content_hash,
            priority: task.priority,
            steps_total: task.steps_total,
            depends_on_end: end(self.depends_on.len()),
            frames_end: end(self.frames.len()),
            task_type: task.task_type,
        });
    }

    fn fit(&mut self) {
        self.rows.shrink_to_fit();
        self.depends_on.shrink_to_fit();
        self.frames.shrink_to_fit();
    }
}

/// A run of new tasks.
#[derive(Clone, Default, PartialEq)]
pub struct NewTasks(Arc<Packed>);

impl NewTasks {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.rows.len()
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.0.rows.is_empty()
    }

    /// The task at this place.
    pub fn get(&self, place: usize) -> Option<NewTaskView<'_>> {
        let packed = &*self.0;
        let row = packed.rows.get(place)?;
        let before = place.checked_sub(1).map(|before| &packed.rows[before]);
        let depends_on_start = before.map_or(0, |before| before.depends_on_end);
        let frames_start = before.map_or(0, |before| before.frames_end);
        Some(NewTaskView {
            uuid: row.uuid,
            task_type: row.task_type,
            priority: row.priority,
            depends_on: &packed.depends_on[depends_on_start as usize..row.depends_on_end as usize],
            frames: FramesView::new(&packed.frames[frames_start as usize..row.frames_end as usize]),
            steps_total: row.steps_total,
            content_hash: &row.content_hash,
        })
    }

    /// Identity of the task at this place.
    pub(crate) fn uuid(&self, place: usize) -> Option<TaskId> {
        self.0.rows.get(place).map(|row| row.uuid)
    }

    /// Identities of all of them, in order.
    pub(crate) fn uuids(&self) -> impl Iterator<Item = TaskId> {
        self.0.rows.iter().map(|row| row.uuid)
    }

    /// Some of them wait for others.
    pub(crate) fn has_dependent(&self) -> bool {
        !self.0.depends_on.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = NewTaskView<'_>> {
        (0..self.len()).map(|place| self.get(place).expect("the place is below the length"))
    }

    /// A part of them as a run of its own.
    pub fn part(&self, places: Range<usize>) -> Self {
        let mut packed = Packed::default();
        packed.rows.reserve_exact(places.len());
        places
            .filter_map(|place| self.get(place))
            .for_each(|task| packed.push(task));
        packed.fit();
        Self(Arc::new(packed))
    }

    /// As bytes of fixed widths: how many of each sort, then the rows, then the pools.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let packed = &*self.0;
        let count =
            |length: usize| u32::try_from(length).expect("a run of tasks fits one decision");
        for length in [
            packed.rows.len(),
            packed.depends_on.len(),
            packed.frames.len(),
        ] {
            bytes.extend_from_slice(&count(length).to_le_bytes());
        }
        for row in &packed.rows {
            bytes.extend_from_slice(row.uuid.uuid().as_bytes());
            bytes.extend_from_slice(&row.content_hash);
            bytes.extend_from_slice(&row.priority.to_le_bytes());
            bytes.extend_from_slice(&row.steps_total.to_le_bytes());
            bytes.extend_from_slice(&row.depends_on_end.to_le_bytes());
            bytes.extend_from_slice(&row.frames_end.to_le_bytes());
            bytes.extend_from_slice(&row.task_type.to_le_bytes());
        }
        for number in &packed.depends_on {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for (first, last) in &packed.frames {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&last.to_le_bytes());
        }
    }

    /// Out of such bytes.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, rows::Error> {
        const BROKEN: rows::Error = rows::Error::Inconsistent("a run of tasks is broken");
        let (rows, depends_on, frames) = (fields.u32()?, fields.u32()?, fields.u32()?);
        // Said by the bytes themselves, which are all there or this is no run.
        let size = 66 * u64::from(rows) + 4 * u64::from(depends_on) + 8 * u64::from(frames);
        if size != fields.0.len() as u64 {
            return Err(BROKEN);
        }
        let row = |fields: &mut Fields<'_>| {
            Ok::<_, rows::Error>(Row {
                uuid: TaskId::new(fields.uuid()?),
                content_hash: fields.take()?,
                priority: fields.i32()?,
                steps_total: fields.u32()?,
                depends_on_end: fields.u32()?,
                frames_end: fields.u32()?,
                task_type: fields.u16()?,
            })
        };
        let packed = Packed {
            rows: (0..rows).map(|_| row(fields)).collect::<Result<_, _>>()?,
            depends_on: (0..depends_on)
                .map(|_| fields.u32())
                .collect::<Result<_, _>>()?,
            frames: (0..frames)
                .map(|_| Ok::<_, rows::Error>((fields.i32()?, fields.i32()?)))
                .collect::<Result<_, _>>()?,
        };
        let mut ends = packed
            .rows
            .iter()
            .map(|row| (row.depends_on_end, row.frames_end));
        let rising = ends
            .clone()
            .is_sorted_by(|one, next| one.0 <= next.0 && one.1 <= next.1);
        if rising && ends.next_back().unwrap_or_default() == (depends_on, frames) {
            Ok(Self(Arc::new(packed)))
        } else {
            Err(BROKEN)
        }
    }

    /// All of them, each on its own.
    pub fn to_vec(&self) -> Vec<NewTask> {
        self.iter().map(|task| task.to_task()).collect()
    }
}

fn view(task: &NewTask) -> NewTaskView<'_> {
    NewTaskView {
        uuid: task.uuid,
        task_type: task.task_type,
        priority: task.priority,
        depends_on: &task.depends_on,
        frames: FramesView::new(task.frames.ranges()),
        steps_total: task.steps_total,
        content_hash: &task.content_hash,
    }
}

impl fmt::Debug for NewTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<NewTask> for NewTasks {
    fn from_iter<I: IntoIterator<Item = NewTask>>(tasks: I) -> Self {
        let mut packed = Packed::default();
        tasks.into_iter().for_each(|task| packed.push(view(&task)));
        packed.fit();
        Self(Arc::new(packed))
    }
}

impl From<Vec<NewTask>> for NewTasks {
    fn from(tasks: Vec<NewTask>) -> Self {
        tasks.into_iter().collect()
    }
}

impl Serialize for NewTasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for task in self.iter() {
            list.serialize_element(&task)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for NewTasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = NewTasks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of new tasks")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<NewTasks, A::Error> {
                let mut packed = Packed::default();
                // A length that is damaged asks for no more than a usual chunk.
                packed.rows.reserve(list.size_hint().unwrap_or(0).min(4096));
                while let Some(task) = list.next_element::<NewTask>()? {
                    packed.push(view(&task));
                }
                packed.fit();
                Ok(NewTasks(Arc::new(packed)))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// Protects the frozen shape: a packed run has the bytes of a list, and each task comes back
    /// with its own dependencies and frames.
    #[test]
    fn a_packed_run_has_the_bytes_of_a_list() {
        let tasks: Vec<NewTask> = (0..5u32)
            .map(|number| NewTask {
                uuid: TaskId::new(Uuid::from_u128(number.into())),
                task_type: 1,
                priority: -3,
                depends_on: (0..number).collect(),
                frames: FrameRanges::from_numbers((0..number % 3).map(|n| n.cast_signed() * 2)),
                steps_total: 7,
                content_hash: [9; 32],
            })
            .collect();
        let packed: NewTasks = tasks.clone().into();
        assert_eq!(packed.to_vec(), tasks);
        let bytes = crate::codec::to_bytes(&tasks);
        assert_eq!(crate::codec::to_bytes(&packed), bytes);
        let read: NewTasks = crate::codec::from_bytes(&bytes).expect("they are its bytes");
        assert_eq!(read, packed);
        assert_eq!(packed.part(1..4).to_vec(), tasks[1..4]);
    }
}
