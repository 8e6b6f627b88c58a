// SPDX-License-Identifier: GPL-3.0-or-later
//! Bytes of journal for the life of a task: submitted with its commands, asked for, started,
//! its frame published, completed, its thumbnail stored. On a busy farm, where hundreds of
//! decisions share a batch, and on a quiet one, where each has a batch of its own; as written,
//! and as sealed segments are packed. Files are in memory: bytes are the same, and nothing syncs.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use tablao_core::WorkerId;
use tablao_journal::{
    Access, FileStore, Journal, JournalId, MemoryFiles, OpenOptions, pack_sealed,
};

use crate::{
    Error, Progress, Report, Size,
    scripted::{Plan, Script},
    written::{BATCH_BYTES, Writer, unsound},
};

/// Kinds of events that a task's life consists of, and what they are together.
const PARTS: [(&str, &[&str]); 5] = [
    ("decisions", &["Decision"]),
    (
        "the attempt's events",
        &[
            "AttemptAssigned",
            "AttemptStarted",
            "StepsAdvanced",
            "AttemptEnded",
        ],
    ),
    ("the frame", &["FramePublished"]),
    ("its thumbnail", &["ThumbnailStored"]),
    ("the task's name and commands", &["TasksAdded"]),
];

/// Measures journals of both farms.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let (jobs, frames, workers) = size.pick((5, 10_000, 1_000), (2, 1_000, 10));
    let tasks = f64::from(jobs * (frames + 1));
    let mut report = Report::new();
    report.dimension("jobs", jobs);
    report.dimension("render_tasks", jobs * frames);
    report.dimension("workers", workers);
    for (farm, batch_bytes) in [("busy", BATCH_BYTES), ("quiet", 0)] {
        progress(farm);
        let written = write(batch_bytes, (jobs, frames, workers))?;
        #[expect(clippy::cast_precision_loss, reason = "a count of bytes")]
        let per_task = |bytes: u64| bytes as f64 / tasks;
        let raw = per_task(written.raw);
        report.figure(
            format!("{farm} farm, as written, for each task"),
            raw,
            "bytes",
        );
        #[expect(clippy::cast_precision_loss, reason = "counts of bytes")]
        let share = written.after as f64 / written.before.max(1) as f64;
        let packed = raw * share;
        report.figure(
            format!("{farm} farm, packed, for each task"),
            packed,
            "bytes",
        );
        if batch_bytes == 0 {
            continue;
        }
        for (part, bytes) in written.bodies {
            let name = format!("of which facts and details of {part}");
            report.figure(name, per_task(bytes), "bytes");
        }
    }
    Ok(report)
}

/// What a journal takes.
struct Written {
    raw: u64,
    /// Sealed segments, before and after they were packed.
    before: u64,
    after: u64,
    bodies: Vec<(&'static str, u64)>,
}

fn write(batch_bytes: usize, (jobs, frames, workers): (u32, u32, u32)) -> Result<Written, Error> {
    let files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let mut options = OpenOptions::new(JournalId([7; 16]), 0);
    options.pack_sealed = false;
    options.segment_bytes = 1 << 20;
    let journal = Journal::open(Arc::clone(&files), &options).map_err(unsound)?;
    let writer = Rc::new(RefCell::new(Writer::new(journal.journal, batch_bytes)));
    let taking = Rc::clone(&writer);
    let mut script = Script::new(Some(Box::new(move |recorded| {
        taking.borrow_mut().take(recorded);
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
    script.render(&crew, u32::MAX, 37_123);
    drop(script);
    let writer = Rc::into_inner(writer)
        .ok_or_else(|| unsound("somebody still writes"))?
        .into_inner();
    let by_kind = writer.bodies.clone();
    writer.end()?;
    let of_kinds = |kinds: &[&str]| {
        let bytes = kinds.iter().filter_map(|kind| by_kind.get(kind));
        bytes.map(|bytes| *bytes as u64).sum()
    };
    let bodies = PARTS
        .iter()
        .map(|(part, kinds)| (*part, of_kinds(kinds)))
        .collect();
    let mut raw = 0;
    for name in files.list().map_err(unsound)? {
        let file = files.open(&name, Access::Read).map_err(unsound)?;
        raw += file.len().map_err(unsound)?;
    }
    let packed = pack_sealed(&files).map_err(unsound)?;
    Ok(Written {
        raw,
        before: packed.bytes_before,
        after: packed.bytes_after,
        bodies,
    })
}
