// SPDX-License-Identifier: GPL-3.0-or-later
//! How long a start takes, with a fresh checkpoint and with a million records since the last one,
//! and how long a farm at a past moment does, or a single job, task or worker of it.
//!
//! The limit beside each is the same without what makes it quick: the whole fold of the journal,
//! or the whole farm at that moment. Files are in the page cache, as after a restart of the
//! process.

use std::{path::Path, sync::Arc, time::Instant};

use tablao_core::{Digest, Lsn, ManagerId};
use tablao_journal::{Authority, FileStore, Lsn as JournalLsn, Reader, RealFiles};
use tablao_net::{
    engine::{Engine, EngineOptions},
    past, records,
};
use tablao_projections::{Cadence, Checkpoints, Moment, ReadModel, Stamp};

use crate::{
    Error, Progress, Report, Size,
    history::{self, Shape, Written},
    place,
    written::unsound,
};

/// Past moments asked for, spread over the history.
const MOMENTS: u64 = 10;

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let mut report = Report::new();
    let (jobs, frames, workers) = size.pick((100, 10_000, 300), (2, 200, 3));
    let waiting = Shape {
        jobs,
        frames,
        workers,
        rendered: 0,
    };
    progress("a farm of waiting tasks, started with a fresh checkpoint");
    start(&mut report, "waiting", waiting)?;
    let (jobs, frames, workers) = size.pick((20, 5_000, 300), (2, 100, 3));
    let rendered = Shape {
        jobs,
        frames,
        workers,
        rendered: u32::MAX,
    };
    progress("a farm that rendered, started without a checkpoint and with one");
    start(&mut report, "rendered", rendered)?;
    progress("the same farm, at moments of its past");
    moments(&mut report, rendered)?;
    Ok(report)
}

fn make(folder: &Path, shape: Shape) -> Result<(Arc<dyn FileStore>, Written), Error> {
    let folder = folder.join("journal");
    let files = RealFiles::create(folder.clone()).map_err(|source| Error::File {
        doing: "create the folder",
        path: folder,
        source,
    })?;
    let files: Arc<dyn FileStore> = Arc::new(files);
    let written = history::write(&files, shape)?;
    Ok((files, written))
}

fn state(report: &mut Report, name: &str, shape: Shape, written: &Written) {
    let tasks = u64::from(shape.jobs) * u64::from(shape.frames + 1);
    report.dimension(&format!("{name}_tasks"), tasks);
    report.dimension(&format!("{name}_records"), written.records);
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn start(report: &mut Report, name: &str, shape: Shape) -> Result<(), Error> {
    let folder = place::scratch("reconstruction")?;
    let (files, written) = make(folder.path(), shape)?;
    state(report, name, shape, &written);
    let options = EngineOptions {
        journal_dir: folder.path().join("journal"),
        checkpoint_dir: folder.path().join("checkpoints"),
        authority: Authority::Site,
        manager: ManagerId::new(uuid::Uuid::nil()),
        grace: std::time::Duration::from_secs(10),
    };
    let begin = || {
        let begun = Instant::now();
        let (engine, started) = Engine::start_on(Arc::clone(&files), &options).map_err(unsound)?;
        let took = millis(begun);
        let digest = engine.model().farm().digest();
        engine.close();
        same(digest, written.digest)?;
        Ok::<_, Error>((took, started.folded))
    };
    let (whole, folded) = begin()?;
    if folded != written.records {
        return Err(unsound("the first start found a checkpoint"));
    }
    let (with_checkpoint, folded) = begin()?;
    if folded > 0 {
        return Err(unsound("the checkpoint was not used"));
    }
    let (again, _) = begin()?;
    let reader = Reader::open(Arc::clone(&files)).map_err(unsound)?;
    let begun = Instant::now();
    for record in reader.records(JournalLsn::FIRST).map_err(unsound)? {
        std::hint::black_box(record.map_err(unsound)?.lsn);
    }
    let reading = millis(begun);
    report.figure_beside(
        format!("{name}: start with all records since the last checkpoint"),
        whole,
        "ms",
        reading,
        "reading and verifying the journal alone",
    );
    report.figure_beside(
        format!("{name}: start with a fresh checkpoint"),
        with_checkpoint.min(again),
        "ms",
        whole,
        "the same start without checkpoints",
    );
    Ok(())
}

fn same(folded: Digest, written: Digest) -> Result<(), Error> {
    if folded == written {
        return Ok(());
    }
    Err(unsound("it came to another farm"))
}

fn moments(report: &mut Report, shape: Shape) -> Result<(), Error> {
    let folder = place::scratch("reconstruction")?;
    let (files, written) = make(folder.path(), shape)?;
    let reader = Reader::open(Arc::clone(&files)).map_err(unsound)?;
    let store = Checkpoints::open(folder.path().join("checkpoints"));
    let end = Lsn::new(written.records);
    let whole = fold_with_checkpoints(&reader, &store)?;
    // What reads that came before have found out is not to help.
    let reader = Reader::open(files).map_err(unsound)?;
    let mut took = Vec::new();
    for moment in 1..=MOMENTS {
        let at = Lsn::new(end.get() * moment / MOMENTS - moment);
        let begun = Instant::now();
        let model = past::model_at(&reader, Some(&store), Moment::Position(at), end);
        let model = model.map_err(unsound)?;
        took.push(millis(begun));
        if model.farm().position() != at {
            return Err(unsound("a past moment is another one"));
        }
    }
    took.sort_by(f64::total_cmp);
    let limit_of = "a fold of the whole journal, checkpoints saved on the way";
    let figures = [
        ("slowest", took[took.len() - 1]),
        ("median", took[took.len() / 2]),
    ];
    for (which, value) in figures {
        let name = format!("rendered: a farm at a past moment, {which} of {MOMENTS}");
        report.figure_beside(name, value, "ms", whole, limit_of);
    }
    Ok(())
}

/// Folds as a live farm does, saving checkpoints as it does; gives the milliseconds.
fn fold_with_checkpoints(reader: &Reader, store: &Checkpoints) -> Result<f64, Error> {
    let mut model = ReadModel::new();
    let mut cadence = Cadence::new(Lsn::ORIGIN, 0);
    let begun = Instant::now();
    let mut cursor = reader.read(JournalLsn::FIRST).map_err(unsound)?;
    while let Some(batch) = cursor.next_batch().map_err(unsound)? {
        for record in &batch.records {
            match records::read(record).map_err(unsound)? {
                Some(recorded) => {
                    model.apply(&recorded);
                    cadence.passed(&recorded.event);
                }
                None => model.skip(Lsn::new(record.lsn.get())),
            }
        }
        if cadence.is_due() {
            let (journal, at) = (reader.journal_id().0, model.farm().position());
            let stamp = Stamp::new(journal, batch.incarnation, at, batch.chain.0);
            store.save(stamp, &model).map_err(unsound)?;
            cadence.taken(at, tasks_of(&model));
        }
    }
    Ok(millis(begun))
}

fn tasks_of(model: &ReadModel) -> u64 {
    let jobs = model.farm().jobs().values();
    jobs.map(|job| job.tasks.len() as u64).sum()
}
