// SPDX-License-Identifier: GPL-3.0-or-later
//! Memory of a farm of a million render tasks: the engine's farm and the read model beside it,
//! fed with the same records as the engine feeds them, as the growth of this process's resident
//! memory. No journal, no network.

use std::{cell::RefCell, rc::Rc};

use tablao_core::{Farm, WorkerId};
use tablao_projections::ReadModel;

use crate::{
    Error, Progress, Report, Size,
    scripted::{Plan, Script},
};

/// Resident memory of this process in bytes; nothing where the system does not tell.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// Measures bytes of memory for each task.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let (jobs, frames) = size.pick((100, 10_000), (4, 500));
    let workers = size.pick(1_000, 50);
    let tasks = f64::from(jobs * (frames + 1));
    let mut report = Report::new();
    report.dimension("jobs", jobs);
    report.dimension("render_tasks", jobs * frames);
    report.dimension("workers", workers);

    progress("submitting to the engine's farm and the read model");
    let model = Rc::new(RefCell::new(ReadModel::new()));
    let watched = Rc::clone(&model);
    let mut script = Script::new(Some(Box::new(move |recorded| {
        watched.borrow_mut().apply(recorded);
    })));
    let crew: Vec<WorkerId> = (0..workers)
        .map(|number| script.worker(number, &[]))
        .collect();
    let before = resident_bytes();
    for number in 0..jobs {
        script.job(Plan {
            number,
            frames,
            priority: 50,
            tag: None,
        });
    }
    let queued = resident_bytes();
    let grown =
        |from: Option<f64>, to: Option<f64>| (to.unwrap_or(0.0) - from.unwrap_or(0.0)).max(0.0);
    report.figure(
        "both farms and the read model, for each queued task",
        grown(before, queued) / tasks,
        "bytes",
    );

    progress("another farm that shares what never changes");
    let copy: Farm = script.farm.clone();
    let copied = resident_bytes();
    report.figure(
        "one more farm, for each task",
        grown(queued, copied) / tasks,
        "bytes",
    );
    drop(copy);

    progress("rendering all");
    script.render(&crew, u32::MAX, 37_123);
    let after = resident_bytes();
    report.figure(
        "growth for each rendered task, with its attempt, frame and thumbnail",
        grown(queued, after) / tasks,
        "bytes",
    );
    report.figure(
        "both farms and the read model, for each rendered task",
        grown(before, after) / tasks,
        "bytes",
    );
    // Both are in use until here.
    report.dimension(
        "records",
        script
            .farm
            .position()
            .get()
            .max(model.borrow().farm().position().get()),
    );
    Ok(report)
}
