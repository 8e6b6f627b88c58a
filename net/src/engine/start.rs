// SPDX-License-Identifier: GPL-3.0-or-later
//! Starting an engine: recover the journal, load a checkpoint, fold the rest, start the threads.

use std::{
    sync::{Arc, Mutex, RwLock},
    time::Instant,
};

use tablao_core::{JobStatus, Lsn, Request, entity::JobSource};
use tablao_journal::{
    ChainValue, FileStore, Journal, JournalId, Lsn as JournalLsn, OpenOptions, Reader, RealFiles,
    RecoveryReport,
};
use tablao_projections::{Checkpoints, ReadModel};
use tokio::sync::{Semaphore, broadcast, watch};

use super::{
    Ask, Engine, EngineOptions, JournalIdentity, Shared, WAITING_REQUESTS_MAX,
    checkpointer::Checkpointer,
    due::Due,
    heart::Heart,
    liveness::Liveness,
    parked::Parked,
    projector::{Projector, ToProjector},
    run::{EngineThread, Threads},
    streaks::Streaks,
};
use crate::{Error, clock, past, retention, view::View};

/// How many batches a slow subscriber may fall behind before it must read the journal again.
const SUBSCRIBER_LAG_MAX: usize = 4096;

/// What a start found and took.
#[derive(Debug)]
pub struct Started {
    /// What the journal's recovery found.
    pub recovery: RecoveryReport,
    /// Where the loaded checkpoint stood.
    pub checkpoint: Lsn,
    /// Records folded since.
    pub folded: u64,
}

impl Engine {
    /// Starts the engine of one journal. Blocks while it recovers; call it off the runtime.
    pub fn start(options: &EngineOptions) -> Result<(Self, Started), Error> {
        let files = RealFiles::create(&options.journal_dir).map_err(|source| Error::Folder {
            path: options.journal_dir.clone(),
            source,
        })?;
        Self::start_on(Arc::new(files), options)
    }

    /// The same with the segments in a given file store; `journal_dir` is not looked at.
    pub fn start_on(
        files: Arc<dyn FileStore>,
        options: &EngineOptions,
    ) -> Result<(Self, Started), Error> {
        let new_id = JournalId(clock::new_id().into_bytes());
        let open = OpenOptions::new(new_id, clock::now().micros());
        let opened = Journal::open(Arc::clone(&files), &open)?;
        let journal = JournalIdentity {
            id: opened.journal.id().0,
            incarnation: opened.journal.incarnation(),
        };
        let reader = Reader::open(Arc::clone(&files))?;
        let store = Arc::new(Checkpoints::open(&options.checkpoint_dir));
        let (next, chain) = (opened.recovery.next_lsn, opened.journal.chain());
        let verify = |lsn: Lsn| {
            let after = JournalLsn::new(lsn.next().get());
            match after.cmp(&next) {
                std::cmp::Ordering::Less => past::chain_at(&reader, lsn),
                // After an orderly end: no need to walk there.
                std::cmp::Ordering::Equal => Some(chain.0),
                std::cmp::Ordering::Greater => None,
            }
        };
        let loaded = store.load(journal.id, journal.incarnation, verify);
        let mut model = match loaded {
            Some((_, model)) => model,
            None => retention::beginning(&reader, Lsn::new(next.previous().get()))?,
        };
        let checkpoint = model.farm().position();
        let folded = if checkpoint.next().get() < next.get() {
            past::fold(&reader, &mut model)?
        } else {
            0
        };
        let started = Started {
            recovery: opened.recovery,
            checkpoint,
            folded,
        };
        let engine = Self::launch(
            options,
            opened.journal,
            reader,
            store,
            model,
            chain,
            checkpoint,
        )?;
        Ok((engine, started))
    }

    fn launch(
        options: &EngineOptions,
        journal: Journal,
        reader: Reader,
        store: Arc<Checkpoints>,
        model: ReadModel,
        chain: ChainValue,
        saved: Lsn,
    ) -> Result<Self, Error> {
        let identity = JournalIdentity {
            id: journal.id().0,
            incarnation: journal.incarnation(),
        };
        let farm = model.farm().clone();
        let position = farm.position();
        let checkpointer = Checkpointer::start(Arc::clone(&store), identity, saved, &model)?;
        let model = Arc::new(RwLock::new(model));
        let (sender, receiver) = crossbeam_channel::bounded(WAITING_REQUESTS_MAX);
        let (to_projector, from_engine) = crossbeam_channel::unbounded();
        let (position_sender, durable) = watch::channel(position);
        let (events, _) = broadcast::channel(SUBSCRIBER_LAG_MAX);
        let (failed_sender, failed) = watch::channel(None);
        let permits = Arc::new(Semaphore::new(WAITING_REQUESTS_MAX));

        let report_to = to_projector.clone();
        let writer = journal.start(move |report| {
            // The projector outlives the writer; if it is gone the process is ending.
            let _ = report_to.send(ToProjector::Journal(report));
        })?;
        let projector = Projector {
            model: Arc::clone(&model),
            position: position_sender,
            events: events.clone(),
            failed: failed_sender,
            checkpoint: Some(checkpointer),
            barriers: Vec::new(),
            chain,
        };
        let engine_thread = EngineThread {
            heart: Heart {
                due: Due::since(farm.time()),
                farm,
                authority: options.authority,
                liveness: Liveness::new(Instant::now(), options.grace),
                streaks: Streaks::default(),
                parked: Parked::default(),
                left_untried: false,
                last_tick: clock::now(),
                around: Threads {
                    writer: Arc::new(writer),
                    projector: to_projector,
                },
            },
            receiver,
            permits: Arc::clone(&permits),
        };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map_err(|source| Error::Thread {
                    name: name.to_owned(),
                    source,
                })
        };
        let threads = vec![
            spawn("engine", Box::new(move || engine_thread.run()))?,
            spawn("projector", Box::new(move || projector.run(&from_engine)))?,
        ];
        Ok(Self {
            shared: Arc::new(Shared {
                sender,
                permits,
                view: View {
                    manager: options.manager,
                    journal: identity,
                    model,
                    position: durable,
                    events,
                    reader: Arc::new(reader),
                    checkpoints: Some(store),
                },
                failed,
                threads: Mutex::new(threads),
            }),
        })
    }

    /// The first requests of every start: who opens the journal, and the end of submissions that
    /// a crash cut off.
    pub async fn open_journal(
        &self,
        manager: tablao_core::ManagerId,
        clean: bool,
    ) -> Result<(), super::Stopped> {
        self.begin(manager, clean, |_| true).await
    }

    /// The same on a linked Manager: a job that the Server placed is not ended, because it is
    /// placed again until it is settled, and goes on then where it was cut off.
    pub async fn open_linked_journal(
        &self,
        manager: tablao_core::ManagerId,
        clean: bool,
    ) -> Result<(), super::Stopped> {
        self.begin(manager, clean, |source| source != JobSource::Placed)
            .await
    }

    async fn begin(
        &self,
        manager: tablao_core::ManagerId,
        clean: bool,
        ends: impl Fn(JobSource) -> bool,
    ) -> Result<(), super::Stopped> {
        let open = Request::OpenJournal {
            build: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: self.journal().incarnation,
            clean,
            manager,
        };
        // The system's own requests are never refused.
        let _ = self.ask(Ask::system(open)).await?;
        let unfinished: Vec<_> = self
            .model()
            .farm()
            .jobs()
            .values()
            .filter(|job| job.state.status == JobStatus::UnderConstruction)
            .filter(|job| ends(job.state.facts.source))
            .map(|job| job.state.facts.job)
            .collect();
        for job in unfinished {
            let reason =
                "the Manager was stopped while the job was being submitted; submit it again"
                    .to_owned();
            let _ = self
                .ask(Ask::system(Request::AbandonJob { job, reason }))
                .await?;
        }
        Ok(())
    }
}
