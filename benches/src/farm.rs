// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `farm`: a real Manager over HTTP on a real data directory, every answer durable, workers
//! doing full cycles (ask, assigned, active, completed); beside it the bare server under the same
//! client in the same run.

use std::time::Duration;

use crate::{
    Error, Progress, Report, Size,
    child::Child,
    http::{Connection, request},
    load::{self, Caller, CycleLatencies, Done},
    place,
    render_worker::{RenderWorker, submit_render_jobs},
};

/// Calls of one cycle.
const CALLS: f64 = 3.0;
/// About as many bytes as a report has.
const BARE_BODY_BYTES: usize = 256;

/// The sizes of a run.
struct Dimensions {
    workers: usize,
    many_workers: usize,
    jobs: u32,
    frames: u32,
    open_rate: u32,
    seconds: Duration,
    many_seconds: Duration,
}

impl Dimensions {
    fn of(size: Size) -> Self {
        Self {
            workers: size.pick(300, 8),
            many_workers: size.pick(2_000, 20),
            jobs: size.pick(20, 4),
            frames: size.pick(10_000, 2_500),
            open_rate: size.pick(2_000, 50),
            seconds: size.pick(Duration::from_secs(8), Duration::from_millis(200)),
            many_seconds: size.pick(Duration::from_secs(4), Duration::from_millis(200)),
        }
    }
}

/// What a server did under the load.
struct Measured {
    saturated: f64,
    saturated_ask_ms: [f64; 2],
    open: f64,
    open_ask_ms: [f64; 3],
    open_report_ms: [f64; 3],
    processor_us: f64,
}

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let dimensions = Dimensions::of(size);
    let runtime = load::runtime()?;
    let mut report = Report::new();
    report.dimension("workers", dimensions.workers);
    report.dimension("tasks", dimensions.jobs * dimensions.frames);
    report.dimension("seconds", dimensions.seconds.as_secs_f64());
    report.dimension("open_loop_cycles_per_s", dimensions.open_rate);
    report.dimension("bare_body_bytes", BARE_BODY_BYTES);
    report.dimension("sync", "every answer");

    progress("the bare server");
    let bare = runtime.block_on(measure_bare(&dimensions))?;
    let folder = place::scratch("farm")?;
    let manager = Child::manager(folder.path())?;
    let farm = runtime.block_on(measure_farm(&dimensions, &manager, &mut report, progress))?;
    manager.stop()?;

    add_farm(&mut report, &farm, &bare);
    Ok(report)
}

async fn measure_bare(dimensions: &Dimensions) -> Result<Measured, Error> {
    let folder = place::scratch("bare")?;
    let data = folder.path().to_string_lossy().into_owned();
    let server = Child::start(&["bench", "bare-server", "--data", &data])?;
    let mut callers = Vec::new();
    for _ in 0..dimensions.workers {
        callers.push(BareCaller {
            connection: Connection::open(server.address).await?,
            request: request("POST", "/", "", &"x".repeat(BARE_BODY_BYTES)),
        });
    }
    let measured = measure(dimensions, &server, callers).await?.0;
    server.stop()?;
    Ok(measured)
}

async fn measure_farm(
    dimensions: &Dimensions,
    manager: &Child,
    report: &mut Report,
    progress: Progress<'_>,
) -> Result<Measured, Error> {
    progress("submitting the jobs");
    submit_render_jobs(manager.address, dimensions.jobs, dimensions.frames).await?;
    progress("registering the workers");
    let mut workers = Vec::new();
    for number in 0..dimensions.workers {
        workers.push(RenderWorker::sign_on(manager.address, &format!("w{number}")).await?);
    }
    progress("the farm");
    let (measured, workers) = measure(dimensions, manager, workers).await?;
    let resident = manager.used();
    report.figure("resident under load", resident.resident_max_mib, "MiB");

    progress("registering many workers");
    let mut workers = workers;
    for number in workers.len()..dimensions.many_workers {
        workers.push(RenderWorker::sign_on(manager.address, &format!("w{number}")).await?);
    }
    progress("the farm with many workers");
    let count = workers.len();
    let done = load::closed(workers, dimensions.many_seconds).await?;
    report.figure(
        format!("saturated, {count} workers, without an error"),
        done.rate(),
        "cycles/s",
    );
    report.figure(
        format!("resident, {count} workers"),
        manager.used().resident_max_mib,
        "MiB",
    );
    Ok(measured)
}

async fn measure<C: Caller>(
    dimensions: &Dimensions,
    server: &Child,
    callers: Vec<C>,
) -> Result<(Measured, Vec<C>), Error> {
    let before = server.used().processor;
    let mut closed: Done<C> = load::closed(callers, dimensions.seconds).await?;
    let spent = server.used().processor.saturating_sub(before);
    let saturated = closed.rate();
    let callers = std::mem::take(&mut closed.callers);
    let mut open = load::open(callers, dimensions.open_rate, dimensions.seconds).await?;
    let spread = |latencies: &mut crate::latency::Latencies| {
        [0.5, 0.99, 0.999].map(|share| latencies.percentile_ms(share))
    };
    let closed_ask = &mut closed.latencies.ask;
    let measured = Measured {
        saturated,
        saturated_ask_ms: [
            closed_ask.percentile_ms(0.5),
            closed_ask.percentile_ms(0.99),
        ],
        open: open.rate(),
        open_ask_ms: spread(&mut open.latencies.ask),
        open_report_ms: spread(&mut open.latencies.report),
        processor_us: spent.as_secs_f64() * 1e6 / (closed.cycles.max(1) as f64),
    };
    Ok((measured, open.callers))
}

fn add_farm(report: &mut Report, farm: &Measured, bare: &Measured) {
    let of = "bare server with group commit, same client, same run";
    let mut beside = |name: &str, value: f64, unit: &'static str, limit: f64| {
        report.figure_beside(name, value, unit, limit, of);
    };
    beside("saturated", farm.saturated, "cycles/s", bare.saturated);
    beside(
        "saturated requests",
        farm.saturated * CALLS,
        "requests/s",
        bare.saturated * CALLS,
    );
    beside(
        "saturated ask p50",
        farm.saturated_ask_ms[0],
        "ms",
        bare.saturated_ask_ms[0],
    );
    beside(
        "saturated ask p99",
        farm.saturated_ask_ms[1],
        "ms",
        bare.saturated_ask_ms[1],
    );
    beside("open loop", farm.open, "cycles/s", bare.open);
    for (index, share) in ["p50", "p99", "p99.9"].iter().enumerate() {
        let (ask, limit) = (farm.open_ask_ms[index], bare.open_ask_ms[index]);
        beside(&format!("open loop ask {share}"), ask, "ms", limit);
        let (call, limit) = (farm.open_report_ms[index], bare.open_report_ms[index]);
        beside(&format!("open loop report {share}"), call, "ms", limit);
    }
    beside(
        "server's processor time per cycle (saturated)",
        farm.processor_us,
        "us",
        bare.processor_us,
    );
}

/// As many calls a cycle as a worker's, each with a body to append.
struct BareCaller {
    connection: Connection,
    request: Vec<u8>,
}

impl Caller for BareCaller {
    async fn cycle(
        &mut self,
        due: std::time::Instant,
        latencies: &mut CycleLatencies,
    ) -> Result<(), Error> {
        self.connection
            .call(&self.request)
            .await?
            .expect("/", 204)?;
        latencies.ask.note(due.elapsed());
        for _ in 0..2 {
            let sent = std::time::Instant::now();
            self.connection
                .call(&self.request)
                .await?
                .expect("/", 204)?;
            latencies.report.note(sent.elapsed());
        }
        Ok(())
    }
}
