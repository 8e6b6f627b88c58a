// SPDX-License-Identifier: GPL-3.0-or-later
//! The read model as rows, the farm's among them, and back.
//!
//! What differs per task is in blocks; names and commands are in the chunks in which they came,
//! whose rows never change once written. Attempts and frames are written as they lie packed in
//! memory, with the numbers of what they share. Indexes are built again.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use tablao_core::{
    Farm, JobId, ShotId, Timestamp,
    codec::{from_bytes, to_bytes},
    rows::{Assembly, BLOCK, PREFIX_END, ROWS_VERSION, Row},
};

use crate::{
    Error, ReadModel,
    attempts::AttemptRow,
    ended::Crew,
    frame_words::Shared,
    jobs::{Chunk, JobTasks},
    task_texts::PackedTexts,
    worked::Worked,
};

/// Rises when a row of the read model changes shape or meaning.
const MODEL_ROWS_VERSION: u32 = 4;

/// Version of all rows together; a checkpoint of another version is thrown away.
pub const VERSION: u32 = ROWS_VERSION * 1000 + MODEL_ROWS_VERSION;

/// First byte of a key: what the row is about. Below [`PREFIX_END`] they are the farm's.
mod prefix {
    pub(super) const TEXTS: u8 = 0x80;
    pub(super) const JOB: u8 = 0x81;
    pub(super) const CHUNK: u8 = 0x82;
    pub(super) const TASKS: u8 = 0x83;
    pub(super) const ATTEMPTS: u8 = 0x84;
    pub(super) const FRAMES: u8 = 0x85;
    pub(super) const SHOT: u8 = 0x86;
    pub(super) const WORKER: u8 = 0x87;
    pub(super) const TAG: u8 = 0x88;
    pub(super) const MANAGER: u8 = 0x89;
    pub(super) const PLACEMENT: u8 = 0x8a;
    pub(super) const REQUEST: u8 = 0x8b;
    pub(super) const LIVE: u8 = 0x8c;
    pub(super) const CREW: u8 = 0x8d;
    pub(super) const SHARED: u8 = 0x8e;
    /// Only of workers that are in quarantine. Rows of earlier builds have none.
    pub(super) const QUARANTINE: u8 = 0x8f;
}

/// What is kept about a block of tasks.
struct TaskBlock {
    updated: Vec<Timestamp>,
    activity: Vec<(u32, u32, String)>,
}

impl TaskBlock {
    /// Times in fixed widths, because there is one for each task; then the texts.
    fn to_bytes(&self) -> Vec<u8> {
        let count = u32::try_from(self.updated.len()).expect("a block is small");
        let mut bytes = Vec::with_capacity(64 + 8 * self.updated.len());
        bytes.extend_from_slice(&count.to_le_bytes());
        for time in &self.updated {
            bytes.extend_from_slice(&time.micros().to_le_bytes());
        }
        bytes.extend_from_slice(&to_bytes(&self.activity));
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        const BROKEN: Error = Error::Inconsistent("a block of tasks is cut short");
        let (count, rest) = bytes.split_first_chunk().ok_or(BROKEN)?;
        let size = (u32::from_le_bytes(*count) as usize).checked_mul(8);
        let (times, activity) =
            (size.and_then(|size| rest.split_at_checked(size))).ok_or(BROKEN)?;
        let (times, _) = times.as_chunks();
        Ok(Self {
            updated: (times.iter())
                .map(|time| Timestamp::from_micros(u64::from_le_bytes(*time)))
                .collect(),
            activity: from_bytes(activity)?,
        })
    }
}

impl ReadModel {
    /// Everything as rows. Equal models give equal rows.
    pub fn to_rows(&self) -> impl Iterator<Item = Row> {
        let texts = (&self.server_url, &self.config_text);
        self.farm
            .to_rows()
            .chain([(vec![prefix::TEXTS], to_bytes(&texts))])
            .chain(each(prefix::JOB, &self.jobs, |id| id.uuid()))
            .chain((self.tasks.iter()).flat_map(|(job, tasks)| task_rows(*job, tasks)))
            .chain((self.frames.blocks()).map(|((shot, block), bytes)| {
                (block_key(prefix::FRAMES, shot.uuid(), sorted(block)), bytes)
            }))
            .chain((self.shots()).map(|shot| (key(prefix::SHOT, shot.id.uuid()), to_bytes(shot))))
            .chain(each(prefix::WORKER, &self.workers, |id| id.uuid()))
            .chain(each(prefix::QUARANTINE, &self.quarantines, |id| id.uuid()))
            .chain(each(prefix::TAG, &self.tags, |id| id.uuid()))
            .chain(each(prefix::MANAGER, &self.managers, |id| id.uuid()))
            .chain(each(prefix::PLACEMENT, &self.placements, |id| id.uuid()))
            .chain(each(prefix::REQUEST, &self.requests, |id| id.uuid()))
            .chain([
                (vec![prefix::CREW], to_bytes(&self.crew)),
                (vec![prefix::SHARED], to_bytes(self.frames.shared())),
            ])
    }

    /// Puts a model together from its rows, in any order.
    pub fn from_rows<K, V>(rows: impl IntoIterator<Item = (K, V)>) -> Result<Self, Error>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let (mut facts, mut words) = (Assembly::default(), Words::default());
        for (key, value) in rows {
            let (key, value) = (key.as_ref(), value.as_ref());
            if key.first().is_some_and(|&kind| kind < PREFIX_END) {
                facts.take(key, value)?;
            } else {
                words.take(key, value)?;
            }
        }
        words.finish()?.join(facts.finish()?)
    }

    /// Puts the facts to the words: only together are they a model.
    pub(crate) fn join(mut self, farm: Farm) -> Result<Self, Error> {
        self.farm = farm;
        self.worked = Worked::of(self.farm.jobs().iter());
        let known = (self.farm.jobs().iter()).all(|(id, job)| {
            self.tasks.get(id).map(|tasks| tasks.updated.len()) == Some(job.tasks.len())
        });
        if known && self.farm.jobs().len() == self.jobs.len() {
            Ok(self)
        } else {
            Err(Error::Inconsistent("facts and words are of different jobs"))
        }
    }
}

fn key(prefix: u8, id: uuid::Uuid) -> Vec<u8> {
    let mut key = Vec::with_capacity(21);
    key.push(prefix);
    key.extend_from_slice(id.as_bytes());
    key
}

fn block_key(prefix: u8, id: uuid::Uuid, block: u32) -> Vec<u8> {
    let mut key = key(prefix, id);
    key.extend_from_slice(&block.to_be_bytes());
    key
}

fn each<'a, I: 'a, T: Serialize + 'a>(
    prefix: u8,
    entities: &'a BTreeMap<I, T>,
    uuid: impl Fn(&I) -> uuid::Uuid + 'a,
) -> impl Iterator<Item = Row> + 'a {
    entities
        .iter()
        .map(move |(id, entity)| (key(prefix, uuid(id)), to_bytes(entity)))
}

fn task_rows(job: JobId, tasks: &JobTasks) -> impl Iterator<Item = Row> {
    let chunks = tasks.chunks.iter().map(move |chunk| {
        let key = block_key(prefix::CHUNK, job.uuid(), chunk.first);
        let mut value = chunk.created.micros().to_le_bytes().to_vec();
        value.extend_from_slice(&chunk.texts.to_bytes());
        (key, value)
    });
    let blocks = (0u32..)
        .step_by(BLOCK as usize)
        .zip(tasks.updated.chunks(BLOCK as usize))
        .map(move |(first, updated)| {
            let block = TaskBlock {
                updated: updated.to_vec(),
                activity: (tasks.activity.within(first, first + (BLOCK - 1)))
                    .map(|(first, last, text)| (first, last, text.to_owned()))
                    .collect(),
            };
            let key = block_key(prefix::TASKS, job.uuid(), first);
            (key, block.to_bytes())
        });
    let ended = (tasks.attempts.blocks())
        .map(move |(at, bytes)| (block_key(prefix::ATTEMPTS, job.uuid(), at), bytes));
    let mut live: BTreeMap<u32, Vec<&AttemptRow>> = BTreeMap::new();
    for row in tasks.attempts.all_live() {
        let first = row.number - row.number % BLOCK;
        live.entry(first).or_default().push(row);
    }
    let live = (live.into_iter())
        .map(move |(first, rows)| (block_key(prefix::LIVE, job.uuid(), first), to_bytes(&rows)));
    chunks.chain(blocks).chain(ended).chain(live)
}

/// A block of frame numbers as a key has it: it sorts as the signed number does.
const fn sorted(block: i32) -> u32 {
    block.cast_unsigned() ^ (1 << 31)
}

/// What the rows said so far, beside the facts.
#[derive(Default)]
pub(crate) struct Words {
    model: ReadModel,
    /// Blocks of tasks, by job and first number.
    blocks: BTreeMap<(JobId, u32), TaskBlock>,
    crew: Option<Crew>,
    shared: Option<Shared>,
}

impl Words {
    /// Takes a row in.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let &kind = key.first().ok_or(Error::Inconsistent("a key is empty"))?;
        let model = &mut self.model;
        match kind {
            prefix::TEXTS => (model.server_url, model.config_text) = from_bytes(value)?,
            prefix::JOB => insert(&mut model.jobs, value, |row| row.id)?,
            prefix::CHUNK => {
                let (job, first) = block_of(key)?;
                let (created, texts) = value
                    .split_first_chunk()
                    .ok_or(Error::Inconsistent("a chunk is cut short"))?;
                model.tasks.entry(job).or_default().chunks.push(Chunk {
                    first,
                    created: Timestamp::from_micros(u64::from_le_bytes(*created)),
                    texts: Arc::new(PackedTexts::from_bytes(texts)?),
                });
            }
            prefix::TASKS => {
                let block = TaskBlock::from_bytes(value)?;
                self.blocks.insert(block_of(key)?, block);
            }
            prefix::ATTEMPTS => {
                let (job, at) = block_of(key)?;
                let attempts = &mut model.tasks.entry(job).or_default().attempts;
                attempts.restore_block(at, value)?;
            }
            prefix::LIVE => {
                for row in from_bytes::<Vec<AttemptRow>>(value)? {
                    model.tasks.entry(row.job).or_default().attempts.begin(row);
                }
            }
            prefix::CREW => self.crew = Some(from_bytes(value)?),
            prefix::FRAMES => {
                let (shot, block) = block_of(key)?;
                let place = (
                    ShotId::new(shot.uuid()),
                    sorted(block.cast_signed()).cast_signed(),
                );
                model.frames.restore_block(place, value)?;
            }
            prefix::SHARED => self.shared = Some(from_bytes(value)?),
            prefix::SHOT => model.frames.restore_shot(from_bytes(value)?),
            prefix::WORKER => insert(&mut model.workers, value, |row| row.id)?,
            prefix::QUARANTINE => insert(&mut model.quarantines, value, |row| row.id)?,
            prefix::TAG => insert(&mut model.tags, value, |row| row.id)?,
            prefix::MANAGER => insert(&mut model.managers, value, |row| row.id)?,
            prefix::PLACEMENT => insert(&mut model.placements, value, |row| row.job)?,
            prefix::REQUEST => insert(&mut model.requests, value, |row| row.id)?,
            other => return Err(Error::UnknownRow(other)),
        }
        Ok(())
    }

    /// Takes in what another thread has put together of the same model.
    pub(crate) fn merge(&mut self, other: Self) {
        let (model, others) = (&mut self.model, other.model);
        if model.server_url.is_empty() {
            model.server_url = others.server_url;
        }
        if model.config_text.is_empty() {
            model.config_text = others.config_text;
        }
        for (job, mut tasks) in others.tasks {
            let own = model.tasks.entry(job).or_default();
            own.chunks.append(&mut tasks.chunks);
            own.attempts.merge(tasks.attempts);
        }
        model.jobs.extend(others.jobs);
        model.workers.extend(others.workers);
        model.quarantines.extend(others.quarantines);
        model.tags.extend(others.tags);
        model.managers.extend(others.managers);
        model.placements.extend(others.placements);
        model.requests.extend(others.requests);
        self.blocks.extend(other.blocks);
        self.crew = self.crew.take().or(other.crew);
        model.frames.merge(others.frames);
        self.shared = self.shared.take().or(other.shared);
    }

    /// The model, but for its facts, once every row was taken.
    pub(crate) fn finish(self) -> Result<ReadModel, Error> {
        let mut model = self.model;
        for ((job, first), block) in self.blocks {
            let tasks = model.tasks.entry(job).or_default();
            if tasks.updated.len() != first as usize {
                return Err(Error::Inconsistent("a job's blocks of tasks have gaps"));
            }
            tasks.updated.extend(block.updated);
            for (first, last, text) in block.activity {
                tasks.activity.set(first, last, &text);
            }
        }
        for tasks in model.tasks.values_mut() {
            tasks.chunks.sort_unstable_by_key(|chunk| chunk.first);
        }
        for row in model.jobs.values() {
            model.order.insert(row.sequence, row.id);
            // A job without tasks has no rows of them, but has an entry.
            model.tasks.entry(row.id).or_default();
        }
        model.crew = self.crew.unwrap_or_default();
        model.frames.restore_shared(self.shared.unwrap_or_default());
        Ok(model)
    }
}

fn insert<I: Ord, T: DeserializeOwned>(
    entities: &mut BTreeMap<I, T>,
    value: &[u8],
    id: impl Fn(&T) -> I,
) -> Result<(), Error> {
    let entity: T = from_bytes(value)?;
    entities.insert(id(&entity), entity);
    Ok(())
}

/// Job and block number of a key.
fn block_of(key: &[u8]) -> Result<(JobId, u32), Error> {
    let id = key.get(1..17).and_then(|id| id.try_into().ok());
    let block = key.get(17..).and_then(|block| block.try_into().ok());
    match (id, block) {
        (Some(id), Some(block)) => Ok((
            JobId::new(uuid::Uuid::from_bytes(id)),
            u32::from_be_bytes(block),
        )),
        _ => Err(Error::Inconsistent("a key has no block")),
    }
}
