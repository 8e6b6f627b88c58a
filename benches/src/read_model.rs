// SPDX-License-Identifier: GPL-3.0-or-later
//! What the read model answers and what keeping it costs: a task by its name, a page of frames,
//! a copy of the whole, a checkpoint of it.
//!
//! The limits beside the figures are plain scans and copies of as much data in the same run.

use std::{cell::RefCell, hint::black_box, rc::Rc, time::Instant};

use tablao_core::{TaskId, WorkerId};
use tablao_projections::{Checkpoints, ReadModel, Stamp};

use crate::{
    Error, Progress, Report, Size,
    scripted::{Plan, Script},
    written::unsound,
};

/// Looks at single entities in one round.
const LOOKS: usize = 1_000;

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let (jobs, frames, workers) = size.pick((100, 10_000, 300), (2, 200, 3));
    let rendered = size.pick(100_000, 200);
    let mut report = Report::new();
    report.dimension("tasks", u64::from(jobs) * u64::from(frames + 1));
    report.dimension("rendered", rendered);
    report.dimension("workers", workers);
    progress("a farm, and its read model beside it");
    let model = fold(&mut report, jobs, frames, workers, rendered)?;

    progress("a copy and a checkpoint");
    let begun = Instant::now();
    let copy = model.clone();
    let copied = millis(begun);
    let begun = Instant::now();
    drop(black_box(copy));
    let dropped = millis(begun);
    let begun = Instant::now();
    let rows: usize = model
        .to_rows()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let encoded = millis(begun);
    let bytes = vec![1u8; rows];
    let begun = Instant::now();
    black_box(bytes.clone());
    let plain = millis(begun);
    let plain_copy = "a copy of as many bytes as its rows have";
    report.dimension("bytes_of_rows", rows as u64);
    report.figure_beside("a copy of the model", copied, "ms", plain, plain_copy);
    report.figure_beside("letting the copy go", dropped, "ms", plain, plain_copy);
    report.figure_beside("the model as rows", encoded, "ms", plain, plain_copy);
    let stamp = Stamp::new([7; 16], 1, model.farm().position(), [0; 32]);
    let begun = Instant::now();
    let checkpoint = Checkpoints::encode(stamp, &model).map_err(unsound)?;
    report.figure_beside(
        "a checkpoint, ready to be written",
        millis(begun),
        "ms",
        plain,
        plain_copy,
    );
    drop(checkpoint);

    progress("looking at single entities");
    looks(&mut report, &model)?;
    Ok(report)
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn fold(
    report: &mut Report,
    jobs: u32,
    frames: u32,
    workers: u32,
    rendered: u32,
) -> Result<ReadModel, Error> {
    // The time of the read model alone; the farm that writes its records is not counted.
    let fed = Rc::new(RefCell::new((ReadModel::new(), 0.0, 0u32)));
    let watched = Rc::clone(&fed);
    let mut script = Script::new(Some(Box::new(move |recorded| {
        let (model, micros, records) = &mut *watched.borrow_mut();
        let begun = Instant::now();
        model.apply(recorded);
        *micros += begun.elapsed().as_secs_f64() * 1e6;
        *records += 1;
    })));
    let crew: Vec<WorkerId> = (0..workers)
        .map(|number| script.worker(number, &[]))
        .collect();
    for number in 0..jobs {
        script.job(Plan {
            number,
            frames,
            priority: 50,
            tag: None,
        });
    }
    let (before, counted) = (fed.borrow().1, fed.borrow().2);
    for number in 0..rendered {
        let worker = crew[number as usize % crew.len()];
        if let Some(held) = script.next(worker) {
            script.finish(held);
        }
    }
    drop(script);
    let fed = Rc::into_inner(fed).ok_or_else(|| unsound("somebody still feeds the model"))?;
    let (model, micros, records) = fed.into_inner();
    report.figure(
        "folding one record of a rendering farm",
        (micros - before) / f64::from((records - counted).max(1)),
        "us",
    );
    Ok(model)
}

fn looks(report: &mut Report, model: &ReadModel) -> Result<(), Error> {
    let all: Vec<TaskId> = (model.farm().jobs().values())
        .flat_map(|job| job.tasks.iter().map(|task| task.uuid))
        .collect();
    let step = (all.len() / LOOKS).max(1);
    let some: Vec<TaskId> = all.iter().copied().step_by(step).collect();
    let begun = Instant::now();
    for &id in &some {
        black_box(model.task(id).ok_or_else(|| unsound("a task is missing"))?);
    }
    let looked = micros_each(begun, some.len());
    let begun = Instant::now();
    for &id in &some {
        let view = model.task(id).ok_or_else(|| unsound("a task is missing"))?;
        black_box(view.texts().commands().len());
    }
    let with_texts = micros_each(begun, some.len());
    let begun = Instant::now();
    black_box(all.iter().filter(|&&id| id == some[0]).count());
    let scan = begun.elapsed().as_secs_f64() * 1e6;
    let limit_of = "a plain scan of all names of tasks";
    report.figure_beside("a task by its name", looked, "us", scan, limit_of);
    report.figure_beside(
        "the same with its commands",
        with_texts,
        "us",
        scan,
        limit_of,
    );
    let begun = Instant::now();
    for _ in 0..LOOKS {
        black_box(model.newest_frames().take(100).count());
    }
    let newest = micros_each(begun, LOOKS);
    let begun = Instant::now();
    black_box(model.frames().map(|row| row.position).max());
    let scan = begun.elapsed().as_secs_f64() * 1e6;
    report.figure_beside(
        "the hundred newest frames",
        newest,
        "us",
        scan,
        "a plain scan of all frames",
    );
    Ok(())
}

fn micros_each(begun: Instant, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousand")]
    let count = count.max(1) as f64;
    begun.elapsed().as_secs_f64() * 1e6 / count
}
