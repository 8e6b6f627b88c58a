// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `engine`: decisions of a whole engine (engine thread, journal, projector, checkpoints)
//! without HTTP, every answer durable; beside it the journal alone.
//!
//! Callers do full cycles (ask, active, completed), three decisions each, the next one when the
//! last one is answered. The limit is the same callers handing the very same records to a journal
//! that nobody decides for or folds.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tablao_core::{Actor, Answer, ManagerId, Request, TaskStatus, Via, WorkerId, decide::Asker};
use tablao_journal::{
    Authority, Draft, FileStore, Journal, JournalId, Lsn, OpenOptions, Reader, RealFiles,
    RecordDraft, Report as WriterReport, WriterHandle,
};
use tablao_net::engine::{Ask, Engine, EngineOptions};
use tokio::sync::oneshot;

use crate::{
    Error, Progress, Report, Size,
    load::{self, Caller, CycleLatencies},
    place,
    scripted::{self, Held, Plan},
};

/// Decisions of a cycle.
const DECISIONS: f64 = 3.0;
/// So many of the decisions that were measured are read back to be the journal's load.
const DRAFTS: usize = 3_000;

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let callers = size.pick(300, 8);
    let (jobs, frames) = size.pick((20, 15_000), (2, 3_000));
    let duration = size.pick(Duration::from_secs(5), Duration::from_millis(150));
    let mut report = Report::new();
    report.dimension("callers", callers);
    report.dimension("tasks", jobs * (frames + 1));
    report.dimension("seconds", duration.as_secs_f64());
    report.dimension("decisions_per_cycle", DECISIONS);
    report.dimension("sync", "every answer");
    let folder = place::scratch("engine")?;
    let runtime = load::runtime()?;

    progress("starting the engine");
    let journal = folder.path().join("site");
    let engine = start(folder.path(), &journal)?;
    let callers = runtime.block_on(set_up(&engine, callers, jobs, frames))?;
    progress("the engine");
    let mut busy = runtime.block_on(load::closed(callers, duration))?;
    let count = busy.callers.len();
    engine.close();

    progress("the journal alone");
    let drafts: Arc<[Draft]> = last_drafts(&journal)?.into();
    let records: usize = drafts.iter().map(|draft| draft.records.len()).sum();
    report.dimension("records_per_decision", records as f64 / drafts.len() as f64);
    let writer = Arc::new(bare_journal(&folder.path().join("bare"))?);
    let callers = (0..count)
        .map(|number| JournalCaller {
            writer: Arc::clone(&writer),
            drafts: Arc::clone(&drafts),
            next: number * 3,
        })
        .collect();
    let mut bare = runtime.block_on(load::closed(callers, duration))?;
    writer.close().map_err(unsound)?;

    let of = "the journal alone, same records, same callers, same run";
    report.figure_beside(
        "decisions, closed loop",
        busy.rate() * DECISIONS,
        "decisions/s",
        bare.rate() * DECISIONS,
        of,
    );
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        for (kind, value, limit) in [
            ("ask", &mut busy.latencies.ask, &mut bare.latencies.ask),
            (
                "report",
                &mut busy.latencies.report,
                &mut bare.latencies.report,
            ),
        ] {
            let (value, limit) = (value.percentile_ms(share), limit.percentile_ms(share));
            report.figure_beside(format!("{kind} {name}"), value, "ms", limit, of);
        }
    }
    Ok(report)
}

fn unsound(error: impl std::fmt::Display) -> Error {
    Error::Unsound {
        what: format!("the engine: {error}"),
    }
}

fn manager() -> ManagerId {
    ManagerId::new(uuid::Uuid::from_u128(1))
}

fn start(folder: &Path, journal: &Path) -> Result<Engine, Error> {
    let options = EngineOptions {
        journal_dir: journal.to_owned(),
        checkpoint_dir: folder.join("checkpoints"),
        authority: Authority::Site,
        manager: manager(),
        grace: Duration::from_secs(10),
    };
    let (engine, _) = Engine::start(&options).map_err(unsound)?;
    Ok(engine)
}

async fn ask(engine: &Engine, request: Request) -> Result<Answer, Error> {
    let ask = Ask::new(request, Actor::anonymous(Via::Api), Asker::default());
    engine.ask(ask).await.map_err(unsound)?.map_err(unsound)
}

async fn set_up(
    engine: &Engine,
    callers: u32,
    jobs: u32,
    frames: u32,
) -> Result<Vec<EngineCaller>, Error> {
    (engine.open_journal(manager(), true).await).map_err(unsound)?;
    for number in 0..jobs {
        let plan = Plan {
            number,
            frames,
            priority: 50,
            tag: None,
        };
        for request in scripted::job_requests(plan) {
            ask(engine, request).await?;
        }
    }
    let mut workers = Vec::new();
    for number in 0..callers {
        for request in scripted::worker_requests(number) {
            ask(engine, request).await?;
        }
        workers.push(EngineCaller {
            engine: engine.clone(),
            worker: scripted::worker_id(number),
        });
    }
    Ok(workers)
}

/// A worker without a network.
struct EngineCaller {
    engine: Engine,
    worker: WorkerId,
}

impl Caller for EngineCaller {
    async fn cycle(&mut self, due: Instant, latencies: &mut CycleLatencies) -> Result<(), Error> {
        let worker = self.worker;
        let answer = ask(&self.engine, Request::AskForTask { worker }).await?;
        latencies.ask.note(due.elapsed());
        let Answer::Assigned {
            attempt,
            job,
            task,
            number,
        } = answer
        else {
            let what = "there were too few tasks".to_owned();
            return Err(Error::Unsound { what });
        };
        let held = Held {
            worker,
            attempt,
            job,
            task,
            number,
        };
        for status in [TaskStatus::Active, TaskStatus::Completed] {
            let said = Instant::now();
            let report = scripted::report(held, Some(status), None, Vec::new());
            ask(&self.engine, report).await?;
            latencies.report.note(said.elapsed());
        }
        Ok(())
    }
}

/// The last decisions of a journal, as they were handed to it.
fn last_drafts(journal: &Path) -> Result<Vec<Draft>, Error> {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(journal).map_err(unsound)?);
    let mut cursor = (Reader::open(files).map_err(unsound)?)
        .read(Lsn::new(1))
        .map_err(unsound)?;
    let mut drafts: std::collections::VecDeque<Draft> = std::collections::VecDeque::new();
    while let Some(batch) = cursor.next_batch().map_err(unsound)? {
        for record in batch.records {
            if record.decision_offset == 0 {
                drafts.push_back(Draft {
                    time_us: record.time_us,
                    records: Vec::new(),
                });
                if drafts.len() > DRAFTS {
                    drafts.pop_front();
                }
            }
            if let Some(draft) = drafts.back_mut() {
                draft.records.push(RecordDraft {
                    kind: record.kind,
                    version: record.version,
                    authority: record.authority,
                    decision_offset: record.decision_offset,
                    facts: record.facts,
                    detail: record.detail,
                });
            }
        }
    }
    Ok(drafts.into())
}

type Writer = WriterHandle<oneshot::Sender<()>>;

fn bare_journal(folder: &Path) -> Result<Writer, Error> {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder).map_err(unsound)?);
    let options = OpenOptions::new(JournalId(*b"journal of bench"), 1);
    let opened = Journal::open(files, &options).map_err(unsound)?;
    let tell = |report: WriterReport<oneshot::Sender<()>>| {
        if let WriterReport::Durable(durable) = report {
            for settled in durable.drafts {
                // A caller whose time is up no longer listens.
                let _ = settled.token.send(());
            }
        }
    };
    opened.journal.start(tell).map_err(unsound)
}

/// Somebody who hands over as many decisions as a cycle has, made before.
struct JournalCaller {
    writer: Arc<Writer>,
    drafts: Arc<[Draft]>,
    next: usize,
}

impl JournalCaller {
    async fn append(&mut self) -> Result<(), Error> {
        let draft = self.drafts[self.next % self.drafts.len()].clone();
        self.next += 1;
        let (token, durable) = oneshot::channel();
        self.writer.append_next(draft, token).map_err(unsound)?;
        durable.await.map_err(unsound)
    }
}

impl Caller for JournalCaller {
    async fn cycle(&mut self, due: Instant, latencies: &mut CycleLatencies) -> Result<(), Error> {
        self.append().await?;
        latencies.ask.note(due.elapsed());
        for _ in 0..2 {
            let said = Instant::now();
            self.append().await?;
            latencies.report.note(said.elapsed());
        }
        Ok(())
    }
}
