// SPDX-License-Identifier: GPL-3.0-or-later
//! Replay: a journal of real mixed kinds, read from its first record with checksums and chain
//! verified, decoded, folded, and the digest asked for at the end.
//!
//! The journal comes from a scripted farm: jobs are submitted, and every task is asked for,
//! started, reported, published, completed and gets a thumbnail. The limits beside the figure are
//! its parts alone: reading and verifying, decoding, folding.

use std::{sync::Arc, time::Instant};

use tablao_core::{Digest, Farm};
use tablao_journal::{FileStore, Lsn as JournalLsn, Reader, RealFiles};
use tablao_net::{past, read_ahead, records};
use tablao_projections::ReadModel;

use crate::{
    Error, Progress, Report, Size,
    history::{self, Shape},
    place,
    written::unsound,
};

/// Measures the replay of a generated journal.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let (jobs, frames, workers) = size.pick((20, 5_000, 1_000), (2, 50, 10));
    let folder = place::scratch("replay")?;
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder.path()).map_err(
        |source| Error::File {
            doing: "create the folder",
            path: folder.path().to_owned(),
            source,
        },
    )?);
    progress("writing a journal");
    let written = history::write(
        &files,
        Shape {
            jobs,
            frames,
            workers,
            rendered: u32::MAX,
        },
    )?;
    let (digest, count) = (written.digest, written.records);
    let mut report = Report::new();
    report.dimension("records", count);
    report.dimension("jobs", jobs);
    report.dimension("render_tasks", jobs * frames);
    report.dimension("workers", workers);

    progress("reading alone");
    #[expect(clippy::cast_precision_loss, reason = "a count of records")]
    let rate = |begun: Instant| count as f64 / begun.elapsed().as_secs_f64();
    let reader = Reader::open(Arc::clone(&files)).map_err(unsound)?;
    let begun = Instant::now();
    for record in reader.records(JournalLsn::FIRST).map_err(unsound)? {
        std::hint::black_box(record.map_err(unsound)?.lsn);
    }
    let reading = rate(begun);

    progress("decoding alone");
    let raw: Vec<_> = reader
        .records(JournalLsn::FIRST)
        .map_err(unsound)?
        .collect::<Result<_, _>>()
        .map_err(unsound)?;
    let begun = Instant::now();
    let mut decoded = Vec::with_capacity(raw.len());
    for record in &raw {
        decoded.extend(records::read(record).map_err(unsound)?);
    }
    let decoding = rate(begun);
    let begun = Instant::now();
    for record in &raw {
        std::hint::black_box(records::read_facts(record).map_err(unsound)?);
    }
    let decoding_facts = rate(begun);
    drop(raw);

    progress("folding alone");
    let begun = Instant::now();
    let mut farm = Farm::new();
    decoded.iter().for_each(|recorded| farm.apply(recorded));
    let folding_digest = farm.digest();
    let folding = rate(begun);
    same(folding_digest, digest)?;
    drop(decoded);

    progress("all of it");
    let begun = Instant::now();
    let mut farm = Farm::new();
    read_ahead::each_fact(
        reader.records(JournalLsn::FIRST).map_err(unsound)?,
        |_| false,
        |step| match step.recorded {
            Some(recorded) => farm.apply(&recorded),
            None => farm.skip(step.lsn),
        },
    )
    .map_err(unsound)?;
    let whole_digest = farm.digest();
    let whole = rate(begun);
    same(whole_digest, digest)?;
    drop(farm);

    progress("the read model");
    let begun = Instant::now();
    let mut model = ReadModel::new();
    read_ahead::each(
        reader.records(JournalLsn::FIRST).map_err(unsound)?,
        |_| false,
        |step| past::pass(&mut model, step),
    )
    .map_err(unsound)?;
    let model_digest = model.farm().digest();
    let with_model = rate(begun);
    same(model_digest, digest)?;

    let unit = "records/s";
    report.figure("reading, checksums and chain", reading, unit);
    report.figure("decoding", decoding, unit);
    report.figure("folding, digest at the end", folding, unit);
    report.figure("decoding facts", decoding_facts, unit);
    // Three threads on two processors: no quicker than the slowest, nor than half of all.
    let limit_with = |decoding: f64| {
        let half = 2.0 / (1.0 / reading + 1.0 / decoding + 1.0 / folding);
        folding.min(reading).min(decoding).min(half)
    };
    report.figure_beside(
        "replay into a farm",
        whole,
        unit,
        limit_with(decoding_facts),
        "reading, decoding facts and folding, each alone, spread over two processors",
    );
    report.figure_beside(
        "replay into the read model",
        with_model,
        unit,
        limit_with(decoding),
        "reading, decoding and folding into a farm, each alone, spread over two processors",
    );
    Ok(report)
}

/// A fold that gives another farm than the one that wrote the journal measures nothing.
fn same(folded: Digest, written: Digest) -> Result<(), Error> {
    if folded == written {
        return Ok(());
    }
    Err(Error::Unsound {
        what: format!("the fold gives {folded}, the farm that wrote the journal had {written}"),
    })
}
