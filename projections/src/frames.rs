// SPDX-License-Identifier: GPL-3.0-or-later
//! Frames and the shots they belong to, in the orders in which people look at them.
//!
//! What the farm knows of a frame (job, attempt, size, hash) is not held again; its words lie
//! packed in blocks (`frame_words.rs`), sorted by shot and number, and a [`FrameRow`] is put
//! together when asked for. A frame belongs to the job that published it last and goes with it.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};
use tablao_core::{
    AttemptId, Detail, Farm, JobId, Lsn, Recorded, ShotId, TaskId, Timestamp, WorkerId,
    detail::{FrameDetail, JobDetail},
    entity::{FrameKey, JobFacts},
    event::FramePublished,
};

use crate::{
    Error,
    frame_words::{Block, Held, Shared},
};

/// A published frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameRow {
    /// Which frame.
    pub key: FrameKey,
    /// The job that published it last.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: AttemptId,
    /// Who rendered it.
    pub worker: WorkerId,
    /// Size of the file, in bytes.
    pub size: u64,
    /// BLAKE3 of the file.
    pub hash: [u8; 32],
    /// When it was rendered.
    pub rendered_at: Timestamp,
    /// Time to render it, in milliseconds.
    pub render_ms: u32,
    /// Samples per pixel.
    pub samples: Option<u32>,
    /// Highest memory use, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// [`tablao_core::event::frame_flags`].
    pub flags: u16,
    /// The file was there before; nobody had told of it.
    pub found: bool,
    /// When it was published.
    pub published: Timestamp,
    /// Position of its publication.
    pub position: Lsn,
    /// Name, path, versions.
    pub detail: FrameDetail,
    /// Name of the thumbnail's file in the shot's folder.
    pub thumbnail: Option<String>,
    /// What is known to be wrong with it: bits of [`tablao_core::event::frame_flags`].
    pub flaws: u16,
    /// It is to be rendered anew.
    pub wanted: bool,
}

impl FrameRow {
    pub(crate) fn published(
        recorded: &Recorded,
        event: &FramePublished,
        task: TaskId,
        worker: WorkerId,
    ) -> Self {
        Self {
            key: event.key.clone(),
            job: event.job,
            task,
            attempt: event.attempt,
            worker,
            size: event.size,
            hash: event.hash,
            rendered_at: event.rendered_at,
            render_ms: event.render_ms,
            samples: event.samples,
            peak_memory_bytes: event.peak_memory_bytes,
            flags: event.flags,
            found: event.found,
            published: recorded.at,
            position: recorded.lsn,
            detail: match &recorded.detail {
                Detail::Frame(detail) => detail.clone(),
                _ => FrameDetail::default(),
            },
            thumbnail: None,
            flaws: 0,
            wanted: false,
        }
    }
}

/// The group that frames belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShotRow {
    /// Its identity.
    pub id: ShotId,
    /// Its name, or the name of the job that is a shot of its own.
    pub name: String,
    /// Its project's name.
    pub project: String,
    /// Frames published.
    pub frames: usize,
    /// When the last of them was published.
    pub last_frame_at: Option<Timestamp>,
    /// Jobs that render it.
    pub jobs: usize,
}

/// A block: its shot, and its number there.
type Place = (ShotId, i32);

/// All frames and shots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    /// None is empty.
    blocks: BTreeMap<Place, Block>,
    /// Blocks by the position of the frame in them that was published last.
    newest: BTreeMap<Lsn, Place>,
    shared: Shared,
    shots: BTreeMap<ShotId, ShotRow>,
}

/// A frame's words, and where they were found.
struct Found {
    held: Held,
    place: Place,
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.held.position == other.held.position
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.held.position.cmp(&other.held.position)
    }
}

impl Frames {
    pub(crate) fn all<'a>(&'a self, farm: &'a Farm) -> impl Iterator<Item = FrameRow> {
        (self.blocks.iter()).flat_map(move |(place, block)| self.rows(farm, *place, block))
    }

    pub(crate) fn of_shot<'a>(
        &'a self,
        farm: &'a Farm,
        shot: ShotId,
    ) -> impl Iterator<Item = FrameRow> + 'a {
        (self.blocks_of(shot)).flat_map(move |(place, block)| self.rows(farm, *place, block))
    }

    pub(crate) fn of_job<'a>(
        &'a self,
        farm: &'a Farm,
        job: JobId,
    ) -> impl Iterator<Item = FrameRow> + 'a {
        (farm.shots_of(job))
            .flat_map(move |shot| self.of_shot(farm, shot))
            .filter(move |row| row.job == job)
    }

    /// Last published first. Blocks are opened when it is their turn; those that are open give
    /// their newest frame.
    pub(crate) fn newest<'a>(&'a self, farm: &'a Farm) -> impl Iterator<Item = FrameRow> + 'a {
        let mut closed = self.newest.iter().rev().peekable();
        let mut open: BinaryHeap<Found> = BinaryHeap::new();
        std::iter::from_fn(move || {
            loop {
                let newest = open.peek().map(|found| found.held.position);
                match closed
                    .next_if(|(position, _)| newest.is_none_or(|newest| newest < **position))
                {
                    Some((_, &place)) => {
                        let helds = self.blocks.get(&place).into_iter().flat_map(Block::iter);
                        open.extend(helds.map(|held| Found { held, place }));
                    }
                    None => {
                        let found = open.pop()?;
                        let row = self.row(farm, found.place, &found.held);
                        if row.is_some() {
                            return row;
                        }
                    }
                }
            }
        })
    }

    pub(crate) fn get(&self, farm: &Farm, key: &FrameKey) -> Option<FrameRow> {
        let place = (key.shot, Block::of(key.number));
        let held = self.blocks.get(&place)?.get(&self.shared, key)?;
        self.row(farm, place, &held)
    }

    pub(crate) fn shot(&self, id: ShotId) -> Option<&ShotRow> {
        self.shots.get(&id)
    }

    pub(crate) fn shots(&self) -> impl DoubleEndedIterator<Item = &ShotRow> {
        self.shots.values()
    }

    /// The frame that a job published last, of those it still owns.
    pub(crate) fn last_of_job(&self, farm: &Farm, job: JobId) -> Option<FrameKey> {
        self.of_job(farm, job)
            .max_by_key(|row| row.position)
            .map(|row| row.key)
    }

    /// The frame of a shot that was published last of those that have a thumbnail.
    pub(crate) fn last_pictured(&self, farm: &Farm, shot: ShotId) -> Option<FrameRow> {
        let all = (self.blocks_of(shot))
            .flat_map(|(place, block)| block.iter().map(|held| (*place, held)));
        let pictured = all.filter(|(_, held)| held.thumbnail.is_some());
        let (place, held) = pictured.max_by_key(|(_, held)| (held.published, held.position))?;
        self.row(farm, place, &held)
    }

    fn blocks_of(&self, shot: ShotId) -> impl Iterator<Item = (&Place, &Block)> {
        self.blocks.range((shot, i32::MIN)..=(shot, i32::MAX))
    }

    fn rows<'a>(
        &'a self,
        farm: &'a Farm,
        place: Place,
        block: &'a Block,
    ) -> impl Iterator<Item = FrameRow> + 'a {
        (block.iter()).filter_map(move |held| self.row(farm, place, &held))
    }

    fn key(&self, (shot, block): Place, held: &Held) -> FrameKey {
        let (output, view) = self.shared.names(held);
        FrameKey {
            shot,
            output: output.to_owned(),
            view: view.to_owned(),
            number: held.number(block),
        }
    }

    /// Facts and words of a frame.
    fn row(&self, farm: &Farm, place: Place, held: &Held) -> Option<FrameRow> {
        let key = self.key(place, held);
        let frame = farm.frames().get(&key)?;
        let task = farm
            .jobs()
            .get(&frame.job)?
            .tasks
            .get(frame.task as usize)?;
        let flaw = farm.flaws().get(&key);
        Some(FrameRow {
            flaws: flaw.map_or(0, |flaw| flaw.flags),
            wanted: flaw.is_some_and(|flaw| flaw.wanted),
            job: frame.job,
            task: task.uuid,
            attempt: frame.attempt,
            worker: self.shared.worker(held)?,
            size: frame.size,
            hash: frame.hash,
            rendered_at: held.rendered_at,
            render_ms: held.render_ms,
            samples: held.samples,
            peak_memory_bytes: held.peak_memory_bytes,
            flags: held.flags,
            found: held.found,
            published: held.published,
            position: held.position,
            detail: self.shared.detail(held, key.number),
            thumbnail: self.shared.thumbnail(held, key.number),
            key,
        })
    }

    fn shot_or_new(&mut self, id: ShotId) -> &mut ShotRow {
        self.shots.entry(id).or_insert_with(|| ShotRow {
            id,
            name: String::new(),
            project: String::new(),
            frames: 0,
            last_frame_at: None,
            jobs: 0,
        })
    }

    /// A job that renders a shot was accepted; the first one that says so names the shot.
    pub(crate) fn job_accepted(&mut self, facts: &JobFacts, detail: &JobDetail) {
        let own = facts.shot == ShotId::of_job(facts.job);
        let row = self.shot_or_new(facts.shot);
        row.jobs += 1;
        if row.name.is_empty() {
            let name = if own || detail.shot.is_empty() {
                &detail.name
            } else {
                &detail.shot
            };
            row.name.clone_from(name);
        }
        if row.project.is_empty() {
            row.project.clone_from(&detail.project);
        }
    }

    /// A frame was published.
    pub(crate) fn publish(&mut self, row: &FrameRow) {
        let is_new = self.put(row);
        let shot = self.shot_or_new(row.key.shot);
        shot.last_frame_at = Some(row.published);
        shot.frames += usize::from(is_new);
    }

    /// Puts a frame's words to its key. Gives whether there were none.
    fn put(&mut self, row: &FrameRow) -> bool {
        let held = self.shared.hold(row);
        let place = (row.key.shot, Block::of(row.key.number));
        let block = (self.blocks.entry(place)).or_insert_with(|| Block::new(&held));
        self.newest.remove(&block.newest());
        let former = block.put(&self.shared, &held);
        self.newest.insert(block.newest(), place);
        if let Some(former) = &former {
            self.shared.let_go(former);
        }
        former.is_none()
    }

    /// A thumbnail of a frame is stored under this name.
    pub(crate) fn set_thumbnail(&mut self, key: &FrameKey, file: &str) {
        let place = (key.shot, Block::of(key.number));
        if let Some(block) = self.blocks.get_mut(&place)
            && let Some(mut held) = block.get(&self.shared, key)
        {
            let former = held.thumbnail;
            held.thumbnail = Some(self.shared.hold_thumbnail(file, key.number));
            block.put(&self.shared, &held);
            self.shared.let_go_thumbnail(former);
        }
    }

    /// A job is gone, and the frames it published last with it: the farm, which is after that,
    /// has none of them any more. `touched` are the shots that they were of.
    pub(crate) fn purge_job(&mut self, farm: &Farm, shot: ShotId, touched: &BTreeSet<ShotId>) {
        for &id in touched {
            let places: Vec<Place> = self.blocks_of(id).map(|(place, _)| *place).collect();
            places
                .into_iter()
                .for_each(|place| self.purge_block(farm, place));
        }
        if let Some(shot) = self.shots.get_mut(&shot) {
            shot.jobs = shot.jobs.saturating_sub(1);
        }
        for &id in touched.iter().chain([&shot]) {
            let helds = self.blocks_of(id).flat_map(|(_, block)| block.iter());
            let last = helds.map(|held| held.published).max();
            if let Some(shot) = self.shots.get_mut(&id) {
                shot.last_frame_at = last;
                if shot.jobs == 0 && shot.frames == 0 {
                    self.shots.remove(&id);
                }
            }
        }
    }

    /// Drops the frames of a block that the farm does not have any more.
    fn purge_block(&mut self, farm: &Farm, place: Place) {
        let Some(block) = self.blocks.get(&place) else {
            return;
        };
        let newest = block.newest();
        let has = |held: &Held| farm.frames().get(&self.key(place, held)).is_some();
        let (kept, gone): (Vec<Held>, Vec<Held>) = block.iter().partition(has);
        if gone.is_empty() {
            return;
        }
        self.newest.remove(&newest);
        self.blocks.remove(&place);
        gone.iter().for_each(|held| self.shared.let_go(held));
        self.shot_or_new(place.0).frames -= gone.len();
        if let Some(first) = kept.first() {
            let mut block = Block::new(first);
            for held in &kept {
                block.put(&self.shared, held);
            }
            self.newest.insert(block.newest(), place);
            self.blocks.insert(place, block);
        }
    }

    /// Blocks as rows of a checkpoint, by shot and number, and what they share.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = ((ShotId, i32), Vec<u8>)> {
        (self.blocks.iter()).map(|(place, block)| (*place, block.to_bytes()))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Takes in a row of a checkpoint.
    pub(crate) fn restore_block(&mut self, place: Place, bytes: &[u8]) -> Result<(), Error> {
        let block = Block::from_bytes(bytes)?;
        self.newest.insert(block.newest(), place);
        self.blocks.insert(place, block);
        Ok(())
    }

    /// Takes in what the rows of a checkpoint share.
    pub(crate) fn restore_shared(&mut self, shared: Shared) {
        self.shared = shared;
    }

    pub(crate) fn restore_shot(&mut self, shot: ShotRow) {
        self.shots.insert(shot.id, shot);
    }

    /// Takes in what another thread restored, but for what is shared.
    pub(crate) fn merge(&mut self, other: Self) {
        self.blocks.extend(other.blocks);
        self.newest.extend(other.newest);
        self.shots.extend(other.shots);
    }
}
