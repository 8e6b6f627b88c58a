// SPDX-License-Identifier: GPL-3.0-or-later
//! What is wrong with frames, and which of them are to be rendered anew.
//!
//! Few frames are ever flawed, so they stand beside the table of frames instead of in it. A
//! frame that a task should have made and that was never published can be flawed, too: missing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    JobId, ShotId,
    digest::{Domain, Leaf, SetHash},
    entity::FrameKey,
};

/// A frame that something is wrong with, or that is to be rendered anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// What is wrong: bits of [`crate::event::frame_flags`]; none where a frame is only wanted.
    pub flags: u16,
    /// BLAKE3 of the file as it was found to be wrong; none where there is no file.
    pub seen: Option<[u8; 32]>,
    /// It is to be rendered anew, whatever file bears its name.
    pub wanted: bool,
    /// The job that is to render it.
    pub job: JobId,
    /// The task.
    pub task: u32,
}

/// All flawed frames, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaws {
    all: BTreeMap<FrameKey, Flaw>,
    /// Those that are wanted, by their tasks: asked for whenever a task is handed out.
    wanted: BTreeSet<(JobId, u32, FrameKey)>,
}

impl Flaws {
    /// How many.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is wrong with a frame.
    pub fn get(&self, key: &FrameKey) -> Option<&Flaw> {
        self.all.get(key)
    }

    /// All of them, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&FrameKey, &Flaw)> {
        self.all.iter()
    }

    /// Those of one shot, in order of their keys.
    pub fn of_shot(&self, shot: ShotId) -> impl Iterator<Item = (&FrameKey, &Flaw)> {
        (self.all.range(first_of(shot)..)).take_while(move |(key, _)| key.shot == shot)
    }

    /// Those that a task of a job is to render anew.
    pub fn wanted_of(&self, job: JobId, task: u32) -> impl Iterator<Item = (&FrameKey, &Flaw)> {
        let first = (job, task, first_of(ShotId::new(uuid::Uuid::nil())));
        (self.wanted.range(first..))
            .take_while(move |(of, number, _)| (*of, *number) == (job, task))
            .filter_map(|(_, _, key)| self.all.get_key_value(key))
    }

    /// Puts what is known of a frame in the place of what was; nothing wrong takes it out.
    pub(crate) fn put(&mut self, hash: &mut SetHash, key: &FrameKey, flaw: Flaw) {
        if flaw.flags == 0 && !flaw.wanted {
            self.take(hash, key);
            return;
        }
        self.take(hash, key);
        hash.add(leaf(key, &flaw));
        self.restore([(key.clone(), flaw)]);
    }

    pub(crate) fn take(&mut self, hash: &mut SetHash, key: &FrameKey) {
        if let Some(old) = self.all.remove(key) {
            hash.remove(leaf(key, &old));
            self.wanted.remove(&(old.job, old.task, key.clone()));
        }
    }

    /// The job goes, and nobody is left to render them.
    pub(crate) fn take_all_of(&mut self, hash: &mut SetHash, job: JobId) {
        let gone = (self.all.iter()).filter(|(_, flaw)| flaw.job == job);
        let gone: Vec<FrameKey> = gone.map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.take(hash, key));
    }

    /// As a list that restores them.
    pub(crate) fn to_list(&self) -> Vec<(&FrameKey, &Flaw)> {
        self.all.iter().collect()
    }

    /// Takes in what such a list holds; its leaves are in the sum already.
    pub(crate) fn restore(&mut self, list: impl IntoIterator<Item = (FrameKey, Flaw)>) {
        for (key, flaw) in list {
            if flaw.wanted {
                self.wanted.insert((flaw.job, flaw.task, key.clone()));
            }
            self.all.insert(key, flaw);
        }
    }

    /// Out of what was being put together elsewhere.
    pub(crate) fn into_list(self) -> impl Iterator<Item = (FrameKey, Flaw)> {
        self.all.into_iter()
    }
}

/// The first key that a frame of a shot can have.
fn first_of(shot: ShotId) -> FrameKey {
    FrameKey {
        shot,
        output: String::new(),
        view: String::new(),
        number: i32::MIN,
    }
}

/// What the digest sees of a flawed frame.
pub(crate) fn leaf(key: &FrameKey, flaw: &Flaw) -> Leaf {
    Leaf::of(Domain::Flaw, &(key, flaw))
}
