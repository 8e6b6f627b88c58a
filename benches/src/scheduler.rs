// SPDX-License-Identifier: GPL-3.0-or-later
//! The scheduler alone: how long one decision takes with a million queued tasks.
//!
//! A decision is all that the engine thread does for an ask: `decide`, the decision's own record,
//! and `apply` of every event. No disk and no network. The limit beside each figure is the time
//! of an ask that finds the worker's present task again and changes nothing.

use std::time::Instant;

use tablao_core::{Request, TagId, TaskStatus, WorkerId, entity::Policy};

use crate::{
    Error, Progress, Report, Size,
    scripted::{Plan, Script, job_id},
};

/// Tags in play.
const TAGS: u32 = 50;

/// Nanoseconds of many runs.
struct Times(Vec<u64>);

impl Times {
    fn of(count: usize, mut run: impl FnMut(usize) -> u64) -> Self {
        let mut times: Vec<u64> = (0..count).map(&mut run).collect();
        times.sort_unstable();
        Self(times)
    }

    /// In microseconds.
    fn at(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index below the length"
        )]
        let place = ((self.0.len() - 1) as f64 * share) as usize;
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one decision")]
        let micros = self.0[place] as f64 / 1000.0;
        micros
    }
}

fn nanos(action: impl FnOnce()) -> u64 {
    let start = Instant::now();
    action();
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Measures decisions of a farm of a million queued tasks.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let (jobs, frames, workers, asks) =
        size.pick((100, 10_000, 10_000, 50_000), (10, 200, 100, 200));
    let barred = size.pick(10_000, 500);
    let mut report = Report::new();
    report.dimension("queued_tasks", jobs * frames);
    report.dimension("jobs", jobs);
    report.dimension("workers", workers);
    report.dimension("asks", asks);
    report.dimension("barred_tasks", barred);
    report.dimension("tags", TAGS);

    progress("submitting");
    let mut script = Script::new(None);
    // Failures are to bar a worker from tasks, not to end jobs or block workers.
    script.set_policy(Policy {
        blocklist_threshold: u32::MAX,
        task_attempts_max: u32::MAX,
        ..Policy::default()
    });
    let tags: Vec<TagId> = (0..TAGS).map(|number| script.tag(number)).collect();
    let crew: Vec<WorkerId> = (0..workers)
        .map(|number| {
            // Every hundredth worker takes from every tag's lane.
            let tags = if number % 100 == 7 { &tags[..] } else { &[] };
            script.worker(number, tags)
        })
        .collect();
    for number in 0..jobs {
        script.job(Plan {
            number,
            frames,
            priority: 50 + i32::try_from(number % 7).expect("a remainder"),
            tag: None,
        });
    }

    progress("asking");
    let mut held = Vec::new();
    let asked = Times::of(asks as usize, |n| {
        let worker = crew[(n * 7919) % crew.len()];
        if let Some(place) = held
            .iter()
            .position(|h: &crate::scripted::Held| h.worker == worker)
        {
            let done = held.swap_remove(place);
            script.finish(done);
        }
        let mut got = None;
        let time = nanos(|| got = script.next(worker));
        held.extend(got);
        time
    });
    let again = Times::of(asks as usize, |n| {
        let worker = held[n % held.len()].worker;
        nanos(|| {
            let _ = script.decide(&Request::AskForTask { worker });
        })
    });
    figures(&mut report, "decision", &asked, &again);

    progress("changing priorities");
    let changed = Times::of(asks as usize / 10, |n| {
        let n = u32::try_from(n).expect("few asks");
        let job = job_id(n * 31 % jobs);
        // Another one each time that it is this job's turn.
        let priority = i32::try_from((n / jobs * 17 + n) % 100).expect("a remainder");
        nanos(|| {
            script.ask(&Request::SetJobPriority { job, priority });
        })
    });
    figures(&mut report, "priority change", &changed, &again);

    progress("tags and bars");
    // A worker whose own failures bar it from the first tasks of what comes first, with jobs
    // under every tag, and one that is barred in as many jobs of one task each.
    for (number, &tag) in (0..).zip(&tags) {
        script.job(Plan {
            number: jobs + number,
            frames: 100,
            priority: 50,
            tag: Some(tag),
        });
    }
    script.job(Plan {
        number: 200_000,
        frames: barred + 100,
        priority: 100,
        tag: None,
    });
    let worker = script.worker(workers + 1, &tags);
    for _ in 0..barred {
        let held = script.next(worker).expect("there is more");
        script.says(held, TaskStatus::Failed);
    }
    let returned = |script: &mut Script, got: Option<crate::scripted::Held>| {
        if let Some(held) = got {
            script.says(held, TaskStatus::Queued);
        }
    };
    let in_one_job = Times::of(asks as usize / 10, |_| {
        let mut got = None;
        let time = nanos(|| got = script.next(worker));
        returned(&mut script, got);
        time
    });
    figures(
        &mut report,
        "decision, barred from the first tasks of a job, 50 tags",
        &in_one_job,
        &again,
    );

    let other = script.worker(workers + 2, &tags);
    for number in 0..barred / 10 {
        script.job(Plan {
            number: 300_000 + number,
            frames: 10,
            priority: 101,
            tag: None,
        });
    }
    for _ in 0..barred / 10 * 10 {
        let held = script.next(other).expect("there is more");
        script.says(held, TaskStatus::Failed);
    }
    let in_many = Times::of(asks as usize / 10, |_| {
        let mut got = None;
        let time = nanos(|| got = script.next(other));
        returned(&mut script, got);
        time
    });
    figures(
        &mut report,
        "decision, barred from every task of many jobs, 50 tags",
        &in_many,
        &again,
    );
    Ok(report)
}

fn figures(report: &mut Report, name: &str, times: &Times, again: &Times) {
    for (label, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        report.figure_beside(
            format!("{name}, {label}"),
            times.at(share),
            "us",
            again.at(share),
            "an ask that changes nothing",
        );
    }
}
