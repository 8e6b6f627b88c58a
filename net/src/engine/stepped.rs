// SPDX-License-Identifier: GPL-3.0-or-later
//! An engine without threads and without clocks: whoever holds it says what time it is, when
//! the disk gets to the drafts that wait, and when to look for silence.
//!
//! The heart, the projector, the journal and its recovery are those of a running Manager; the
//! two threads, their channels and the checkpoints are not here. The simulation stands on it.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use tablao_core::{Farm, Lsn, Recorded, Timestamp};
use tablao_journal::{
    ChainValue, Draft, Durable, FileStore, Journal, Lsn as JournalLsn, OpenOptions, Reader, Report,
    Settled,
};
use tablao_projections::ReadModel;
use tokio::sync::{broadcast, oneshot, watch};

use super::{
    Ask, EngineOptions, Heard, JournalIdentity, Reply, Started,
    due::{Due, Expiries},
    heart::{Heart, Surroundings},
    liveness::Liveness,
    parked::Parked,
    projector::{Projector, Settlement, ToProjector},
    streaks::Streaks,
};
use crate::{Error, past, retention, view::View};

pub use super::heart::TICK;

/// Nobody subscribes to the records of a stepped engine.
const SUBSCRIBER_LAG_MAX: usize = 1;

/// What time it is, and the chance of the next decision.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The monotonic clock.
    pub monotonic: Instant,
    /// The wall clock; it may jump.
    pub wall: Timestamp,
    /// Where the seeds of decisions come from.
    pub seed: u64,
}

/// A draft that waits for the disk.
struct Waiting {
    first: JournalLsn,
    draft: Draft,
    settlement: Settlement,
}

struct Still {
    moment: Moment,
    next: JournalLsn,
    waiting: Vec<Waiting>,
    projector: Projector,
}

impl Surroundings for Still {
    fn monotonic(&self) -> Instant {
        self.moment.monotonic
    }

    fn wall(&self) -> Timestamp {
        self.moment.wall
    }

    fn seed(&mut self) -> u64 {
        self.moment.seed = self.moment.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.moment.seed
    }

    fn append(
        &mut self,
        first: JournalLsn,
        draft: Draft,
        settlement: Settlement,
    ) -> Result<(), tablao_journal::Error> {
        if first != self.next {
            return Err(tablao_journal::Error::StalePosition {
                expected: first,
                next: self.next,
            });
        }
        self.next = first.plus(draft.records.len() as u64);
        self.waiting.push(Waiting {
            first,
            draft,
            settlement,
        });
        Ok(())
    }

    fn barrier(&mut self, at: Lsn, reply: oneshot::Sender<Reply>, answer: Reply) {
        self.projector
            .take(ToProjector::Barrier { at, reply, answer });
    }
}

/// An engine that does nothing by itself.
pub struct SteppedEngine {
    heart: Heart<Still>,
    journal: Journal,
    view: View,
}

impl SteppedEngine {
    /// Recovers the journal, folds it, and stands ready. The folders of `options` are not looked
    /// at: there are no checkpoints.
    pub fn open(
        files: Arc<dyn FileStore>,
        open: &OpenOptions,
        options: &EngineOptions,
        moment: Moment,
    ) -> Result<(Self, Started), Error> {
        let opened = Journal::open(Arc::clone(&files), open)?;
        let reader = Reader::open(files)?;
        let mut model = retention::beginning(&reader, Lsn::new(u64::MAX))?;
        let folded = past::fold(&reader, &mut model)?;
        let farm = model.farm().clone();
        let identity = JournalIdentity {
            id: opened.journal.id().0,
            incarnation: opened.journal.incarnation(),
        };
        let model = Arc::new(RwLock::new(model));
        let (position, durable) = watch::channel(farm.position());
        let (events, _) = broadcast::channel(SUBSCRIBER_LAG_MAX);
        let (failed, _) = watch::channel(None);
        let view = View {
            manager: options.manager,
            journal: identity,
            model: Arc::clone(&model),
            position: durable,
            events: events.clone(),
            reader: Arc::new(reader),
            checkpoints: None,
        };
        let projector = Projector {
            model,
            position,
            events,
            failed,
            checkpoint: None,
            barriers: Vec::new(),
            chain: opened.journal.chain(),
        };
        let heart = Heart {
            due: Due::since(farm.time()),
            farm,
            authority: options.authority,
            liveness: Liveness::new(moment.monotonic, options.grace),
            streaks: Streaks::default(),
            parked: Parked::default(),
            left_untried: false,
            last_tick: moment.wall,
            around: Still {
                moment,
                next: opened.journal.next_lsn(),
                waiting: Vec::new(),
                projector,
            },
        };
        let started = Started {
            recovery: opened.recovery,
            checkpoint: Lsn::ORIGIN,
            folded,
        };
        let engine = Self {
            heart,
            journal: opened.journal,
            view,
        };
        Ok((engine, started))
    }

    /// Decides a request; the answer comes when what it stands on is durable.
    pub fn ask(
        &mut self,
        moment: Moment,
        ask: Ask,
        patience: Duration,
    ) -> Result<oneshot::Receiver<Reply>, Error> {
        let (reply, answer) = oneshot::channel();
        self.heart.around.moment = moment;
        self.heart.ask(ask, reply, patience)?;
        Ok(answer)
    }

    /// Notes that a worker lives.
    pub fn heard(&mut self, moment: Moment, heard: Heard) {
        self.heart.around.moment = moment;
        self.heart.heard(heard);
    }

    /// Sets when things that go by themselves go, from now on.
    pub fn set_expiries(&mut self, expiries: Expiries) {
        self.heart.due.expiries = expiries;
    }

    /// How long nothing can become due that a tick would have to see, unless something happens.
    pub fn quiet_for(&self) -> Duration {
        self.heart.quiet_for()
    }

    /// Looks for silence, for patience that has ended, and for what has become due.
    pub fn tick(&mut self, moment: Moment) -> Result<(), Error> {
        self.heart.around.moment = moment;
        self.heart.expire();
        self.heart.tick()?;
        Ok(())
    }

    /// How many drafts wait for the disk.
    pub fn waiting(&self) -> usize {
        self.heart.around.waiting.len()
    }

    /// Writes and syncs the oldest `drafts` of those that wait, lets the world know of them, and
    /// returns their records. After an error the engine has to be given up.
    pub fn commit(&mut self, drafts: usize) -> Result<Vec<Recorded>, Error> {
        let still = &mut self.heart.around;
        let group: Vec<Waiting> = still
            .waiting
            .drain(..drafts.min(still.waiting.len()))
            .collect();
        let Some(first) = group.first().map(|waiting| waiting.first) else {
            return Ok(Vec::new());
        };
        let records = (group.iter())
            .flat_map(|waiting| waiting.settlement.records.iter().cloned())
            .collect();
        let drafts: Vec<&Draft> = group.iter().map(|waiting| &waiting.draft).collect();
        let committed = self.journal.commit(first, &drafts)?;
        let drafts = group
            .into_iter()
            .map(|waiting| Settled {
                first: waiting.first,
                time_us: waiting.draft.time_us,
                draft: waiting.draft,
                token: waiting.settlement,
            })
            .collect();
        still
            .projector
            .take(ToProjector::Journal(Report::Durable(Durable {
                first: committed.first,
                last: committed.last,
                chain: committed.chain,
                drafts,
            })));
        Ok(records)
    }

    /// The chain value at the durable position.
    pub fn chain(&self) -> ChainValue {
        self.journal.chain()
    }

    /// The farm as decided: it may be ahead of what is durable.
    pub fn farm(&self) -> &Farm {
        &self.heart.farm
    }

    /// What can be read: nothing in it is ahead of what is durable.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The read model at the durable position.
    pub fn model(&self) -> RwLockReadGuard<'_, ReadModel> {
        let model = &self.heart.around.projector.model;
        model.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the clean mark. What waits has to be committed before.
    pub fn close(self) -> Result<(), Error> {
        self.journal.close()?;
        Ok(())
    }
}
