// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `idle`: what `tablao up` costs while nothing happens, and how soon it serves.
//!
//! A wake-up is a voluntary context switch of any of its threads; on another system than Linux
//! only the start is measured.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    Error, Progress, Report, Size,
    child::Child,
    http::{Connection, request},
    load, place,
};

/// After so long the start's own work is over.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let watch = size.pick(Duration::from_secs(20), Duration::from_secs(1));
    let starts = size.pick(10, 2);
    let mut report = Report::new();
    report.dimension("workers", 1);
    report.dimension("seconds_watched", watch.as_secs_f64());
    report.dimension("starts", starts);
    let folder = place::scratch("idle")?;
    let data = folder.path().to_string_lossy().into_owned();
    let arguments = [
        "up",
        "--data",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--until-stdin-closes",
    ];
    let runtime = load::runtime()?;

    progress("starting it again and again");
    let mut until_served = Vec::new();
    let mut child = None;
    for _ in 0..starts {
        if let Some(child) = child.take() {
            Child::stop(child)?;
        }
        let begun = Instant::now();
        let started = Child::start(&arguments)?;
        runtime.block_on(async {
            let mut connection = Connection::open(started.address).await?;
            let bytes = request("GET", "/api/v3/version", "", "");
            let answer = connection.call(&bytes).await?;
            answer.expect("/api/v3/version", 200).map(drop)
        })?;
        until_served.push(begun.elapsed().as_secs_f64() * 1000.0);
        child = Some(started);
    }
    let child = child.ok_or_else(|| Error::Unsound {
        what: "it was never started".to_owned(),
    })?;
    report.figure(
        "first start to first answer, new data directory",
        until_served[0],
        "ms",
    );
    until_served.sort_by(f64::total_cmp);
    let middle = until_served[until_served.len() / 2];
    report.figure("start to first answer, middle", middle, "ms");

    progress("watching it do nothing");
    std::thread::sleep(SETTLE);
    let (before, spent_before) = (switches(child.id()), child.used().processor);
    std::thread::sleep(watch);
    let (after, used) = (switches(child.id()), child.used());
    let seconds = watch.as_secs_f64();
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    for (thread, (name, count)) in after {
        let earlier = before.get(&thread).map_or(0, |(_, count)| *count);
        *by_name.entry(name).or_default() += count.saturating_sub(earlier);
    }
    let sum: u64 = by_name.values().sum();
    report.figure("wake-ups, all threads", sum as f64 / seconds, "1/s");
    for (name, count) in by_name.iter().filter(|(_, count)| **count > 0) {
        report.figure(
            format!("wake-ups of {name}"),
            *count as f64 / seconds,
            "1/s",
        );
    }
    let spent = used.processor.saturating_sub(spent_before).as_secs_f64();
    report.figure("processor time", spent * 1e6 / seconds, "us/s");
    report.figure("resident", used.resident_mib, "MiB");
    report.figure("resident, most", used.resident_max_mib, "MiB");
    child.stop()?;
    Ok(report)
}

/// Voluntary context switches of each thread, with its name.
fn switches(process: u32) -> BTreeMap<String, (String, u64)> {
    let mut found = BTreeMap::new();
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        if let (Some(name), Some(count)) = (field("Name"), field("voluntary_ctxt_switches")) {
            let id = thread.file_name().to_string_lossy().into_owned();
            found.insert(id, (name, count.parse().unwrap_or(0)));
        }
    }
    found
}
