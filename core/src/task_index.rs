// SPDX-License-Identifier: GPL-3.0-or-later
//! From a task's outside name to its job and number, in about ten bytes a task.
//!
//! Each run of tasks takes the next stretch of slots; a table of slots, placed by a hash of the
//! name, holds four bytes for a task and the name is compared where it lies in the job. Nothing
//! here is ever listed, so no order of hashes can leak into a decision.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use crate::{JobId, TaskId, entity::Job};

/// Parts of the table; each grows by itself, so that no single event moves a million entries.
const PARTS: usize = 256;

/// Where a stretch of slots belongs.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    job: JobId,
    first_number: u32,
    len: u32,
}

/// The index.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskIndex {
    parts: Vec<HashTable<u32>>,
    stretches: BTreeMap<u32, Stretch>,
    next_slot: u32,
}

type Jobs = BTreeMap<JobId, Job>;

fn hash_of(id: TaskId) -> u64 {
    let (high, low) = id.uuid().as_u64_pair();
    // Names are mostly random; the factors spread those that are not.
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
}

fn part_of(hash: u64) -> usize {
    // Bits that the table itself looks at least: it places by the low and tags by the high ones.
    (hash >> 40) as usize % PARTS
}

impl TaskIndex {
    /// Takes in tasks that were put into a job, from `first_number` on.
    pub(crate) fn add(&mut self, jobs: &Jobs, job: JobId, first_number: u32, len: u32) {
        if self.next_slot.checked_add(len).is_none() {
            // Four thousand million tasks came and went: those that are there move together.
            *self = Self::of(jobs);
            return;
        }
        self.add_stretch(
            jobs,
            Stretch {
                job,
                first_number,
                len,
            },
        );
    }

    fn add_stretch(&mut self, jobs: &Jobs, stretch: Stretch) {
        let Some(tasks) = jobs.get(&stretch.job).map(|job| &job.tasks) else {
            return;
        };
        self.parts.resize_with(PARTS, HashTable::new);
        let start = self.next_slot;
        self.stretches.insert(start, stretch);
        self.next_slot = start.saturating_add(stretch.len);
        let stretches = &self.stretches;
        let names = tasks.uuids_from(stretch.first_number);
        for (offset, id) in (0..stretch.len).zip(names) {
            let hash = hash_of(id);
            self.parts[part_of(hash)].insert_unique(hash, start + offset, |&slot| {
                name_at(stretches, jobs, slot).map_or(0, hash_of)
            });
        }
    }

    /// A job's tasks go; the job is still there.
    pub(crate) fn remove(&mut self, jobs: &Jobs, job: JobId) {
        let Some(tasks) = jobs.get(&job).map(|job| &job.tasks) else {
            return;
        };
        for task in tasks.iter() {
            let hash = hash_of(task.uuid);
            let stretches = &self.stretches;
            if let Some(part) = self.parts.get_mut(part_of(hash))
                && let Ok(entry) = part.find_entry(hash, |&slot| {
                    place_at(stretches, slot) == Some((job, task.number))
                })
            {
                entry.remove();
            }
        }
        self.stretches.retain(|_, stretch| stretch.job != job);
    }

    /// The index of all tasks that are there. Each part is filled by itself: a part fits a cache
    /// of the processor, the whole does not.
    pub(crate) fn of(jobs: &Jobs) -> Self {
        let mut index = Self::default();
        let mut of_part: Vec<Vec<(u64, u32)>> = vec![Vec::new(); PARTS];
        let count: usize = jobs.values().map(|job| job.tasks.len()).sum();
        for part in &mut of_part {
            part.reserve(count / PARTS + count / PARTS / 8 + 8);
        }
        for (&job, of_job) in jobs {
            let len = u32::try_from(of_job.tasks.len()).expect("numbers are u32");
            let start = index.next_slot;
            let first_number = 0;
            let stretch = Stretch {
                job,
                first_number,
                len,
            };
            index.stretches.insert(start, stretch);
            index.next_slot = start.saturating_add(len);
            for (slot, id) in (start..).zip(of_job.tasks.uuids_from(0)) {
                let hash = hash_of(id);
                of_part[part_of(hash)].push((hash, slot));
            }
        }
        let fill = |entries: Vec<(u64, u32)>| {
            let mut part = HashTable::with_capacity(entries.len());
            for (hash, slot) in entries {
                // It has room for all: nothing in it is ever moved.
                part.insert_unique(hash, slot, |_| 0);
            }
            part
        };
        index.parts = of_part.into_iter().map(fill).collect();
        index
    }

    /// The job and the number of the task with this name.
    pub(crate) fn find(&self, jobs: &Jobs, id: TaskId) -> Option<(JobId, u32)> {
        let hash = hash_of(id);
        let part = self.parts.get(part_of(hash))?;
        let slot = part.find(hash, |&slot| {
            name_at(&self.stretches, jobs, slot) == Some(id)
        })?;
        place_at(&self.stretches, *slot)
    }
}

fn place_at(stretches: &BTreeMap<u32, Stretch>, slot: u32) -> Option<(JobId, u32)> {
    let (start, stretch) = stretches.range(..=slot).next_back()?;
    let offset = slot - start;
    (offset < stretch.len).then_some((stretch.job, stretch.first_number + offset))
}

fn name_at(stretches: &BTreeMap<u32, Stretch>, jobs: &Jobs, slot: u32) -> Option<TaskId> {
    let (job, number) = place_at(stretches, slot)?;
    jobs.get(&job)?.tasks.uuid(number)
}
