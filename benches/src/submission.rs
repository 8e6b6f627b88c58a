// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `submission`: a large job over HTTP to a real Manager while its workers go on asking.
//!
//! The clock runs from the first byte of the submission to its answer, which comes when the whole
//! job is durable and its tasks can be assigned. Asks are an open loop, measured in slices that lie
//! within that time; beside them the same asks before it, and beside the submission its compilation
//! alone.

use std::{
    net::SocketAddr,
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    Error, Progress, Report, Size,
    child::Child,
    compile, load,
    load::CycleLatencies,
    place,
    render_worker::{RenderWorker, submit_render_jobs},
};

/// How long one slice of asks is.
const SLICE: Duration = Duration::from_millis(200);

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let frames = size.pick(100_000, 2_000);
    let workers = size.pick(100, 4);
    let rate = size.pick(500, 20);
    let runs = size.pick(3, 1);
    let filler = size.pick(40_000, 500);
    let runtime = load::runtime()?;
    let mut report = Report::new();
    report.dimension("frames", frames);
    report.dimension("tasks", frames + 1);
    report.dimension("workers", workers);
    report.dimension("asks_per_s", rate);
    report.dimension("runs", runs);
    report.dimension("sync", "every answer");

    progress("the compilation alone");
    let compiled = compile::seconds(frames, true)?;
    let folder = place::scratch("submission")?;
    let manager = Child::manager(folder.path())?;
    let address = manager.address;
    runtime.block_on(async {
        submit_render_jobs(address, 1, filler).await?;
        let mut callers = Vec::new();
        for number in 0..workers {
            callers.push(RenderWorker::sign_on(address, &format!("w{number}")).await?);
        }
        progress("asks alone");
        let mut quiet = load::open(callers, rate, Duration::from_secs(2)).await?;
        let mut callers = std::mem::take(&mut quiet.callers);
        let mut seconds = Vec::new();
        let mut busy = CycleLatencies::default();
        for number in 1..=runs {
            progress(&format!("submission {number} of {runs}"));
            let submitted = submit_aside(address, frames);
            let taken = loop {
                let mut done = load::open(callers, rate, SLICE).await?;
                callers = std::mem::take(&mut done.callers);
                // The slice in which the answer came lies partly behind it, and counts.
                busy.join(done.latencies);
                match submitted.try_recv() {
                    Ok(taken) => break taken?,
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => {
                        let what = "the submitting thread panicked".to_owned();
                        return Err(Error::Unsound { what });
                    }
                }
            };
            seconds.push(taken);
        }
        seconds.sort_by(f64::total_cmp);
        report.figure_beside(
            "submission, median",
            seconds[seconds.len() / 2],
            "s",
            compiled,
            "the compilation alone, nothing else running",
        );
        report.figure("submission, slowest", seconds[seconds.len() - 1], "s");
        let of = "the same asks before";
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let limit = quiet.latencies.ask.percentile_ms(share);
            let value = busy.ask.percentile_ms(share);
            report.figure_beside(format!("ask {name} meanwhile"), value, "ms", limit, of);
        }
        Ok(())
    })?;
    report.figure("resident", manager.used().resident_max_mib, "MiB");
    manager.stop()?;
    Ok(report)
}

/// Submits from a thread of its own, and says how long it took.
fn submit_aside(address: SocketAddr, frames: u32) -> mpsc::Receiver<Result<f64, Error>> {
    let (teller, told) = mpsc::channel();
    std::thread::spawn(move || {
        let begun = Instant::now();
        let submitted = load::runtime()
            .and_then(|runtime| runtime.block_on(submit_render_jobs(address, 1, frames)));
        // The bench may have ended with an error of its own.
        let _ = teller.send(submitted.map(|()| begun.elapsed().as_secs_f64()));
    });
    told
}
