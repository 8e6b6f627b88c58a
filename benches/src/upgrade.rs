// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `upgrade`: a Manager is stopped in order and started again while workers are at it, again
//! and again. They may notice a pause and nothing else.
//!
//! A worker that loses its connection comes back with the same credentials and says again what it
//! was saying, as a real one does.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    Error, Progress, Report, Size,
    child::Child,
    http::{Connection, request},
    load, place,
    render_worker::{RenderWorker, submit_render_jobs},
};

/// A worker that finds nobody tries again after this long.
const AGAIN: Duration = Duration::from_millis(10);
/// Pause of a worker between two tasks: the Manager is to be busy, not at its limit.
const BETWEEN_TASKS: Duration = Duration::from_millis(50);
/// A farm that is silent for longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a worker went through.
#[derive(Default)]
struct Seen {
    longest: Duration,
    cycles: u64,
    lost_connections: u64,
    refused_reports: u64,
}

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let workers = size.pick(100, 4);
    let restarts = size.pick(5, 1);
    let between = size.pick(Duration::from_secs(3), Duration::from_millis(500));
    let (jobs, frames) = size.pick((10, 10_000), (2, 2_500));
    let mut report = Report::new();
    report.dimension("workers", workers);
    report.dimension("restarts", restarts);
    report.dimension("tasks", jobs * frames);
    report.dimension("seconds_between", between.as_secs_f64());
    let folder = place::scratch("upgrade")?;
    let data = folder.path().to_string_lossy().into_owned();
    let start = |listen: &str| {
        Child::start(&[
            "manager",
            "--data",
            &data,
            "--listen",
            listen,
            "--until-stdin-closes",
        ])
    };
    let mut manager = start("127.0.0.1:0")?;
    let address = manager.address;
    let runtime = load::runtime()?;
    progress("submitting and signing on");
    let callers = runtime.block_on(async {
        submit_render_jobs(address, jobs, frames).await?;
        let mut callers = Vec::new();
        for number in 0..workers {
            callers.push(RenderWorker::sign_on(address, &format!("w{number}")).await?);
        }
        Ok::<_, Error>(callers)
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            runtime
                .block_on(work(callers, address, &stop))
                .map(|seen| (seen, runtime))
        }
    });
    let mut downtimes = Vec::new();
    for _ in 0..restarts {
        std::thread::sleep(between);
        progress("restarting the Manager");
        let begun = Instant::now();
        manager.stop()?;
        manager = start(&address.to_string())?;
        downtimes.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    std::thread::sleep(between);
    stop.store(true, Ordering::Relaxed);
    let joined = load.join().map_err(|_| Error::Unsound {
        what: "the load panicked".to_owned(),
    })?;
    let (seen, runtime) = joined?;
    let counts = runtime.block_on(counts(address))?;
    manager.stop()?;
    add(&mut report, &seen, downtimes, &counts);
    Ok(report)
}

fn add(report: &mut Report, seen: &[Seen], mut downtimes: Vec<f64>, counts: &Counts) {
    downtimes.sort_by(f64::total_cmp);
    let worst = downtimes.last().copied().unwrap_or_default();
    let longest = seen
        .iter()
        .map(|seen| seen.longest)
        .max()
        .unwrap_or_default();
    report.figure_beside(
        "longest pause of any worker",
        longest.as_secs_f64() * 1000.0,
        "ms",
        worst,
        "longest time from asking the Manager to stop until it listened again",
    );
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>() as f64;
    report.figure("cycles done", sum(|seen| seen.cycles), "cycles");
    report.figure(
        "connections lost",
        sum(|seen| seen.lost_connections),
        "connections",
    );
    report.figure(
        "reports said again and refused",
        sum(|seen| seen.refused_reports),
        "reports",
    );
    report.figure("failed tasks", counts.failed as f64, "tasks");
    report.figure(
        "workers that registered anew",
        counts.extra_workers(seen.len()),
        "workers",
    );
}

async fn work(
    callers: Vec<RenderWorker>,
    address: SocketAddr,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Seen>, Error> {
    let tasks = tokio::task::LocalSet::new();
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn_local_on(live(caller, address, Arc::clone(stop)), &tasks);
    }
    tasks
        .run_until(async {
            let mut all = Vec::new();
            while let Some(ended) = running.join_next().await {
                all.push(ended.map_err(|error| Error::Unsound {
                    what: format!("a worker panicked: {error}"),
                })??);
            }
            Ok(all)
        })
        .await
}

/// One worker's life: cycles, with every call said until it is answered.
async fn live(
    mut worker: RenderWorker,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    let mut task = None;
    let mut said = 0;
    while !stop.load(Ordering::Relaxed) || task.is_some() {
        let begun = Instant::now();
        loop {
            let called = match &task {
                None => worker.ask_once().await.map(|found| task = Some(found)),
                Some(held) => {
                    let status = ["active", "completed"][said];
                    worker.report_once(held, status).await.map(|accepted| {
                        seen.refused_reports += u64::from(!accepted);
                        said += 1;
                    })
                }
            };
            match called {
                Ok(()) => break,
                // Whatever a Manager answers is an answer, and not one of these may be an error.
                Err(error @ Error::Answer { .. }) => return Err(error),
                Err(_) if begun.elapsed() < PATIENCE => {
                    seen.lost_connections += 1;
                    tokio::time::sleep(AGAIN).await;
                    while worker.reconnect(address).await.is_err() && begun.elapsed() < PATIENCE {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        seen.longest = seen.longest.max(begun.elapsed());
        if said == 2 {
            (task, said) = (None, 0);
            seen.cycles += 1;
            tokio::time::sleep(BETWEEN_TASKS).await;
        }
    }
    Ok(seen)
}

/// What the farm says afterwards.
struct Counts {
    failed: u64,
    workers: usize,
}

impl Counts {
    fn extra_workers(&self, started: usize) -> f64 {
        self.workers.saturating_sub(started) as f64
    }
}

async fn counts(address: SocketAddr) -> Result<Counts, Error> {
    let mut connection = Connection::open(address).await?;
    let mut read = async |path: &str| {
        let bytes = request("GET", path, "", "");
        let answer = connection.call(&bytes).await?.expect(path, 200)?;
        Ok::<Value, Error>(serde_json::from_slice(answer.body).unwrap_or_default())
    };
    let workers = read("/api/v3/worker-mgt/workers").await?;
    let jobs = read("/api/v3/jobs").await?;
    let mut failed = 0;
    for job in jobs["jobs"].as_array().into_iter().flatten() {
        let id = job["id"].as_str().unwrap_or_default();
        let tasks = read(&format!("/api/v3/jobs/{id}/tasks")).await?;
        let tasks = tasks["tasks"].as_array();
        let bad = |task: &&Value| task["status"] == "failed" || task["status"] == "soft-failed";
        failed += tasks.map_or(0, |tasks| tasks.iter().filter(bad).count() as u64);
    }
    Ok(Counts {
        failed,
        workers: workers["workers"].as_array().map_or(0, Vec::len),
    })
}
