// SPDX-License-Identifier: GPL-3.0-or-later
//! Saves checkpoints of one journal's read model, beside the threads that people wait for.
//!
//! The projector copies the model, because only between two of its batches do model, position and
//! chain belong together; a thread of its own encodes, packs and writes, after those that people
//! wait for. What tasks share is not copied.

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crossbeam_channel::Sender;
use tablao_core::{Event, Lsn};
use tablao_journal::ChainValue;
use tablao_projections::{Cadence, Checkpoints, ReadModel, Stamp};

use super::JournalIdentity;
use crate::Error;

/// What the thread that writes asks the system to put before it. Not the most: a machine that is
/// always busy is to get its checkpoints too.
#[cfg(target_os = "linux")]
const POLITENESS: i32 = 10;

/// Saves checkpoints of one journal's read model.
pub(super) struct Checkpointer {
    store: Arc<Checkpoints>,
    journal: JournalIdentity,
    cadence: Cadence,
    to_writer: Sender<(Stamp, Box<ReadModel>)>,
    /// A checkpoint is being written: the next one waits for its turn.
    busy: Arc<AtomicBool>,
    writer: JoinHandle<()>,
}

impl Checkpointer {
    pub(super) fn start(
        store: Arc<Checkpoints>,
        journal: JournalIdentity,
        saved: Lsn,
        model: &ReadModel,
    ) -> Result<Self, Error> {
        let (to_writer, copies) = crossbeam_channel::bounded::<(Stamp, Box<ReadModel>)>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let (written, writes_to) = (Arc::clone(&busy), Arc::clone(&store));
        let name = "checkpoints";
        let writer = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let_others_go_first();
                for (stamp, copy) in copies {
                    let encoded = Checkpoints::encode(stamp, &copy);
                    drop(copy);
                    // A cache that cannot be written costs time at the next start, nothing else.
                    if let Err(error) = encoded.and_then(|encoded| writes_to.write(encoded)) {
                        tracing::warn!(%error, "save a checkpoint");
                    }
                    written.store(false, Ordering::Release);
                }
            })
            .map_err(|source| Error::Thread {
                name: name.to_owned(),
                source,
            })?;
        Ok(Self {
            store,
            journal,
            cadence: Cadence::new(saved, tasks_of(model)),
            to_writer,
            busy,
            writer,
        })
    }

    /// An event was folded: what it would cost to fold it again.
    pub(super) fn passed(&mut self, event: &Event) {
        self.cadence.passed(event);
    }

    /// Saves when enough has happened since the last time.
    pub(super) fn save_if_due(&mut self, model: &RwLock<ReadModel>, chain: ChainValue) {
        if self.cadence.is_due() && !self.busy.load(Ordering::Acquire) {
            self.save(model, chain);
        }
    }

    /// Saves what the last checkpoint does not hold, and waits until it is there.
    pub(super) fn save_at_end(self, model: &RwLock<ReadModel>, chain: ChainValue) {
        drop(self.to_writer);
        if self.writer.join().is_err() {
            tracing::warn!("the thread that saves checkpoints panicked");
        }
        // Nothing moves any more: no copy is needed, and nobody is to be let go first.
        let model = read(model);
        if self.cadence.has_tail(model.farm().position()) {
            let stamp = stamp(self.journal, &model, chain);
            if let Err(error) = self.store.save(stamp, &model) {
                tracing::warn!(%error, "save a checkpoint");
            }
        }
    }

    fn save(&mut self, model: &RwLock<ReadModel>, chain: ChainValue) {
        let (stamp, copy) = {
            let model = read(model);
            (stamp(self.journal, &model, chain), Box::new(model.clone()))
        };
        self.cadence.taken(stamp.lsn, tasks_of(&copy));
        self.busy.store(true, Ordering::Release);
        // The writer takes one at a time and is waiting, or ends with the process.
        let _ = self.to_writer.send((stamp, copy));
    }
}

fn stamp(journal: JournalIdentity, model: &ReadModel, chain: ChainValue) -> Stamp {
    let position = model.farm().position();
    Stamp::new(journal.id, journal.incarnation, position, chain.0)
}

fn tasks_of(model: &ReadModel) -> u64 {
    let jobs = model.farm().jobs().values();
    jobs.map(|job| job.tasks.len() as u64).sum()
}

/// On Linux this concerns the calling thread alone.
#[cfg(target_os = "linux")]
fn let_others_go_first() {
    // Where it cannot be had, checkpoints cost others a little more.
    let _ = rustix::process::nice(POLITENESS);
}

/// Elsewhere there is no safe call for it.
#[cfg(not(target_os = "linux"))]
fn let_others_go_first() {}

fn read(model: &RwLock<ReadModel>) -> RwLockReadGuard<'_, ReadModel> {
    model.read().unwrap_or_else(PoisonError::into_inner)
}
