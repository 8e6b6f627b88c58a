// SPDX-License-Identifier: GPL-3.0-or-later
//! Frames and the shots they belong to, in the orders in which people look at them.
//!
//! A frame is held once, sorted by shot and number; by publication and by job there are
//! indexes. A frame belongs to the job that published it last and goes with that job.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use serde::{Deserialize, Serialize};
use tablao_core::{
    AttemptId, Detail, JobId, Lsn, Recorded, ShotId, TaskId, Timestamp, WorkerId,
    detail::{FrameDetail, JobDetail},
    entity::{FrameKey, JobFacts},
    event::FramePublished,
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

/// How frames sort: shot, number, output, view.
type Place = (ShotId, i32, String, String);

/// All frames and shots.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frames {
    rows: BTreeMap<Place, FrameRow>,
    newest: BTreeMap<Lsn, Place>,
    by_job: BTreeMap<JobId, BTreeSet<Place>>,
    shots: BTreeMap<ShotId, ShotRow>,
}

fn place(key: &FrameKey) -> Place {
    (key.shot, key.number, key.output.clone(), key.view.clone())
}

/// The shot id that sorts next, where there is one.
fn shot_after(shot: ShotId) -> Option<ShotId> {
    let next = shot.uuid().as_u128().checked_add(1)?;
    Some(ShotId::new(uuid::Uuid::from_u128(next)))
}

impl Frames {
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &FrameRow> {
        self.rows.values()
    }

    pub(crate) fn of_shot(&self, shot: ShotId) -> impl DoubleEndedIterator<Item = &FrameRow> {
        // Output and view of no frame sort before these two empty names.
        let first = (shot, i32::MIN, String::new(), String::new());
        let after = shot_after(shot).map(|next| (next, i32::MIN, String::new(), String::new()));
        let end = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows
            .range((Bound::Included(first), end))
            .map(|(_, row)| row)
    }

    pub(crate) fn of_job(&self, job: JobId) -> impl DoubleEndedIterator<Item = &FrameRow> {
        self.by_job
            .get(&job)
            .into_iter()
            .flatten()
            .map(|place| &self.rows[place])
    }

    pub(crate) fn newest(&self) -> impl Iterator<Item = &FrameRow> {
        self.newest.values().rev().map(|place| &self.rows[place])
    }

    pub(crate) fn get(&self, key: &FrameKey) -> Option<&FrameRow> {
        self.rows.get(&place(key))
    }

    pub(crate) fn shot(&self, id: ShotId) -> Option<&ShotRow> {
        self.shots.get(&id)
    }

    pub(crate) fn shots(&self) -> impl DoubleEndedIterator<Item = &ShotRow> {
        self.shots.values()
    }

    /// The frame that a job published last, of those it still owns.
    pub(crate) fn last_of_job(&self, job: JobId) -> Option<&FrameKey> {
        self.of_job(job)
            .max_by_key(|row| row.position)
            .map(|row| &row.key)
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

    /// A frame was published. Returns the job that had published it before, if another one.
    pub(crate) fn publish(&mut self, row: FrameRow) -> Option<JobId> {
        let place = place(&row.key);
        let shot = self.shot_or_new(row.key.shot);
        shot.last_frame_at = Some(row.published);
        if !self.rows.contains_key(&place) {
            self.shot_or_new(row.key.shot).frames += 1;
        }
        let job = row.job;
        self.by_job.entry(job).or_default().insert(place.clone());
        self.newest.insert(row.position, place.clone());
        let old = self.rows.insert(place.clone(), row)?;
        self.newest.remove(&old.position);
        if old.job == job {
            return None;
        }
        self.leave_job(old.job, &place);
        Some(old.job)
    }

    fn leave_job(&mut self, job: JobId, place: &Place) {
        if let Some(places) = self.by_job.get_mut(&job) {
            places.remove(place);
            if places.is_empty() {
                self.by_job.remove(&job);
            }
        }
    }

    /// A thumbnail of a frame is stored under this name.
    pub(crate) fn set_thumbnail(&mut self, key: &FrameKey, file: &str) {
        if let Some(row) = self.rows.get_mut(&place(key)) {
            row.thumbnail = Some(file.to_owned());
        }
    }

    /// A job is gone, and the frames it published last with it.
    pub(crate) fn purge_job(&mut self, job: JobId, shot: Option<ShotId>) {
        let mut touched: BTreeSet<ShotId> = shot.into_iter().collect();
        for place in self.by_job.remove(&job).unwrap_or_default() {
            if let Some(row) = self.rows.remove(&place) {
                self.newest.remove(&row.position);
                touched.insert(place.0);
                self.shot_or_new(place.0).frames -= 1;
            }
        }
        if let Some(shot) = shot.and_then(|shot| self.shots.get_mut(&shot)) {
            shot.jobs = shot.jobs.saturating_sub(1);
        }
        for id in touched {
            let last = self.of_shot(id).map(|row| row.published).max();
            if let Some(shot) = self.shots.get_mut(&id) {
                shot.last_frame_at = last;
                if shot.jobs == 0 && shot.frames == 0 {
                    self.shots.remove(&id);
                }
            }
        }
    }

    /// Takes rows of a checkpoint in; the indexes follow from them.
    pub(crate) fn restore(rows: Vec<FrameRow>, shots: Vec<ShotRow>) -> Self {
        let mut frames = Self {
            shots: shots.into_iter().map(|shot| (shot.id, shot)).collect(),
            ..Self::default()
        };
        for row in rows {
            let place = place(&row.key);
            frames.newest.insert(row.position, place.clone());
            let places = frames.by_job.entry(row.job).or_default();
            places.insert(place.clone());
            frames.rows.insert(place, row);
        }
        frames
    }
}
