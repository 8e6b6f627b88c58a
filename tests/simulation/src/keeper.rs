// SPDX-License-Identifier: GPL-3.0-or-later
//! What Server and Managers have in common: a journal on a disk, the engine that writes it, and
//! the answers that wait for the disk. The engine and everything below it are the real ones.

use std::sync::Arc;

use tablao_core::{Event, Lsn, ManagerId, Recorded};
use tablao_journal::{Authority, FaultPlan, JournalId, OpenOptions};
use tablao_net::engine::{Ask, EngineOptions, Reply, stepped::Moment, stepped::SteppedEngine};
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::message::Node;
use crate::plan::S;
use crate::truth::Truth;

/// After a restart, workers get this long before their silence counts.
pub const GRACE: u64 = 10 * S;

/// For whom an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// A call of another process.
    Call(Node, u64),
    /// The Manager itself, which carries out a wish in this session of its link.
    Wish(u64),
    /// Nobody.
    Nobody,
}

struct Pending {
    receiver: oneshot::Receiver<Reply>,
    to: For,
}

/// A journal, its engine, its disk.
pub struct Keeper {
    /// Its disk.
    pub disk: Disk,
    /// The engine, while the process runs.
    pub engine: Option<SteppedEngine>,
    /// A sync is under way.
    pub is_syncing: bool,
    /// When the engine was started.
    pub started: u64,
    pending: Vec<Pending>,
    /// The last position and chain that anybody outside may have learned of.
    told: (Lsn, [u8; 32]),
    id: [u8; 16],
    authority: Authority,
}

impl Keeper {
    /// A keeper of a journal that is yet to be begun.
    pub fn new(id: [u8; 16], authority: Authority) -> Self {
        Self {
            disk: Disk::default(),
            engine: None,
            is_syncing: false,
            started: 0,
            pending: Vec::new(),
            told: (Lsn::ORIGIN, [0; 32]),
            id,
            authority,
        }
    }

    /// The journal's id.
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The engine, in a process that runs.
    pub fn engine(&mut self) -> &mut SteppedEngine {
        self.engine.as_mut().expect("asked only while it runs")
    }

    /// Recovers and starts. `Ok(None)`: the disk failed again. Checks that nothing that was told
    /// is lost, and that what is there folds as it did.
    pub fn start(
        &mut self,
        now: u64,
        manager: ManagerId,
        moment: Moment,
        plan: FaultPlan,
        incarnation: Option<u32>,
        truth: &mut Truth,
    ) -> Result<Option<bool>, String> {
        let open = OpenOptions {
            incarnation,
            segment_bytes: 24 << 10,
            ..OpenOptions::new(JournalId(self.id), moment.wall.micros())
        };
        let options = EngineOptions {
            journal_dir: "journal".into(),
            checkpoint_dir: "checkpoints".into(),
            authority: self.authority,
            manager,
            grace: std::time::Duration::from_micros(GRACE),
        };
        let files = self.disk.mount(plan);
        let (engine, started) = match SteppedEngine::open(files, &open, &options, moment) {
            Ok(opened) => opened,
            Err(error) if plan != FaultPlan::default() && !is_damage(&error) => return Ok(None),
            Err(error) => return Err(format!("recovery refuses what a crash left: {error:?}")),
        };
        self.engine = Some(engine);
        self.started = now;
        self.is_syncing = false;
        let (told, chain) = self.told;
        if told > Lsn::ORIGIN {
            let reader = Arc::clone(&self.engine().view().reader);
            let next = tablao_journal::Lsn::new(told.next().get());
            let found = (started.recovery.next_lsn >= next)
                .then(|| reader.chain_before(next).ok().flatten())
                .flatten();
            if found.map(|found| found.0) != Some(chain) {
                return Err(format!(
                    "what was told up to position {told} is lost: the journal goes on at {}",
                    started.recovery.next_lsn
                ));
            }
        }
        self.note_durable(truth)?;
        Ok(Some(started.recovery.clean))
    }

    /// The process is gone; a person may have put an older disk in its place.
    pub fn end(&mut self, is_restored: bool) {
        self.engine = None;
        self.is_syncing = false;
        self.pending.clear();
        if is_restored {
            self.told = (Lsn::ORIGIN, [0; 32]);
        }
    }

    /// Has a request decided.
    pub fn ask(&mut self, moment: Moment, ask: Ask, wait_s: u64, to: For) -> Result<(), String> {
        let is_late = self.is_late(&ask);
        let before = self.engine().farm().digest();
        let patience = std::time::Duration::from_secs(wait_s);
        let receiver = self
            .engine()
            .ask(moment, ask, patience)
            .map_err(|error| format!("the engine fails: {error:?}"))?;
        if is_late && self.engine().farm().digest() != before {
            return Err("a report of an attempt that is over has changed the farm".to_owned());
        }
        self.pending.push(Pending { receiver, to });
        Ok(())
    }

    /// A report that names an attempt which does not live.
    fn is_late(&self, ask: &Ask) -> bool {
        let tablao_core::Request::Report { report } = &ask.request else {
            return false;
        };
        let farm = self.engine.as_ref().map(SteppedEngine::farm);
        let live = (farm.zip(report.attempt))
            .and_then(|(farm, attempt)| farm.attempts().get(&attempt))
            .is_some_and(|attempt| attempt.worker == report.worker);
        report.attempt.is_some() && !live
    }

    /// A sync returned: what it made durable, or nothing when the disk failed.
    pub fn commit(
        &mut self,
        drafts: usize,
        truth: &mut Truth,
    ) -> Result<Option<Vec<Recorded>>, String> {
        self.is_syncing = false;
        let from = self.engine().view().at();
        match self.engine().commit(drafts) {
            Ok(records) => {
                self.note_durable(truth)?;
                debug_assert!(records.first().is_none_or(|record| record.lsn > from));
                Ok(Some(records))
            }
            Err(_) => Ok(None),
        }
    }

    fn note_durable(&mut self, truth: &mut Truth) -> Result<(), String> {
        let id = self.id;
        let engine = self.engine();
        let (at, digest) = {
            let model = engine.model();
            (model.farm().position(), model.farm().digest())
        };
        truth.note(id, at, engine.chain().0, digest)
    }

    /// Answers that can be given now.
    pub fn answers(&mut self) -> Vec<(For, Reply)> {
        let mut ready = Vec::new();
        self.pending
            .retain_mut(|pending| match pending.receiver.try_recv() {
                Ok(reply) => {
                    ready.push((pending.to, reply));
                    false
                }
                Err(oneshot::error::TryRecvError::Empty) => true,
                Err(oneshot::error::TryRecvError::Closed) => false,
            });
        if !ready.is_empty() {
            self.tell();
        }
        ready
    }

    /// Somebody outside learns how far the journal is.
    pub fn tell(&mut self) {
        if let Some(engine) = &self.engine {
            let at = engine.model().farm().position();
            self.told = (at, engine.chain().0);
        }
    }

    /// What was told must be on the disk at this moment, not only in the page cache.
    pub fn check_told_is_safe(&self) -> Result<(), String> {
        let (told, chain) = self.told;
        let Ok(reader) = tablao_journal::Reader::open(self.disk.what_is_safe().files()) else {
            return Err(format!(
                "position {told} was told, and the disk has no journal"
            ));
        };
        let next = tablao_journal::Lsn::new(told.next().get());
        let found = reader.chain_before(next).ok().flatten();
        if found.map(|found| found.0) == Some(chain) {
            return Ok(());
        }
        Err(format!(
            "an answer was given before position {told} was durable"
        ))
    }

    /// Nothing may lapse before the grace period after a start is over.
    pub fn check_grace(&self, now: u64, records: &[Recorded]) -> Result<(), String> {
        for record in records {
            let lapsed = match &record.event {
                Event::AttemptEnded(ended) => ended.silent_since.is_some(),
                Event::WorkerLost(_) => true,
                _ => false,
            };
            // The shortest bound of all is the one for starting a task.
            if lapsed && now < self.started + GRACE + 10 * S {
                return Err(format!(
                    "something lapsed {} s after a start, within the grace period",
                    (now - self.started) / S
                ));
            }
        }
        Ok(())
    }
}

/// Damage is never what a crash may leave.
fn is_damage(error: &tablao_net::Error) -> bool {
    matches!(
        error,
        tablao_net::Error::Journal(tablao_journal::Error::Damage(_))
    )
}
