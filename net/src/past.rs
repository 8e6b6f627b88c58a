// SPDX-License-Identifier: GPL-3.0-or-later
//! Folds of a journal from disk: to its end, or to a moment of the past.
//!
//! A past moment is put together from the checkpoint before it and the records since. Where that
//! were many, what came out is saved as a checkpoint of its own, so that whoever asks for
//! moments near it, as people do who look for what went wrong, waits only once.

use tablao_core::Lsn;
use tablao_journal::{Lsn as JournalLsn, Reader, Record};
use tablao_projections::{Checkpoints, Moment, ReadModel, Stamp};

use crate::{
    Error,
    read_ahead::{self, Step},
    retention,
};

/// Records after which a past moment is worth a checkpoint: some tenths of a second.
const WORTH_SAVING: u64 = 100_000;

/// The journal's chain value after a position, if the journal has it and a batch ends there.
pub fn chain_at(reader: &Reader, lsn: Lsn) -> Option<[u8; 32]> {
    let chain = reader.chain_before(JournalLsn::new(lsn.next().get()));
    chain.ok().flatten().map(|chain| chain.0)
}

/// Folds what a journal on disk has beyond a model, to the end.
pub fn fold(reader: &Reader, model: &mut ReadModel) -> Result<u64, Error> {
    let from = model.farm().position().next();
    let records = reader.records(JournalLsn::new(from.get()))?;
    Ok(read_ahead::each(
        records,
        |_| false,
        |step| pass(model, step),
    )?)
}

/// Folds the next record, unless it is of a kind that this build may skip.
pub fn pass(model: &mut ReadModel, step: Step) {
    match step.recorded {
        Some(recorded) => model.apply(&recorded),
        None => model.skip(step.lsn),
    }
}

/// The record comes after a moment.
pub fn is_after(record: &Record, moment: Moment) -> bool {
    match moment {
        Moment::Position(lsn) => record.lsn.get() > lsn.get(),
        Moment::Time(time) => record.time_us > time.micros(),
    }
}

/// The last checkpoint before a moment, or with what the journal begins.
pub fn begin_at(
    reader: &Reader,
    checkpoints: Option<&Checkpoints>,
    moment: Moment,
) -> Result<ReadModel, Error> {
    let verify = |lsn| chain_at(reader, lsn);
    let loaded =
        checkpoints.and_then(|store| store.load_before(reader.journal_id().0, moment, verify));
    match loaded {
        Some((_, model)) => Ok(model),
        None => retention::beginning_before(reader, moment),
    }
}

/// The model as it was at a moment. `end` is how far the journal is durable.
pub fn model_at(
    reader: &Reader,
    checkpoints: Option<&Checkpoints>,
    moment: Moment,
    end: Lsn,
) -> Result<ReadModel, Error> {
    let mut model = begin_at(reader, checkpoints, moment)?;
    let from = model.farm().position().next();
    let records = reader.records(JournalLsn::new(from.get()))?;
    let is_beyond = |record: &Record| record.lsn.get() > end.get() || is_after(record, moment);
    let folded = read_ahead::each(records, is_beyond, |step| pass(&mut model, step))?;
    if let Some(store) = checkpoints.filter(|_| folded >= WORTH_SAVING) {
        save_past(reader, store, &model);
    }
    Ok(model)
}

fn save_past(reader: &Reader, store: &Checkpoints, model: &ReadModel) {
    let position = model.farm().position();
    // Where no batch ends there is no chain value to know the journal by.
    let Some(chain) = chain_at(reader, position) else {
        return;
    };
    let incarnation = model.farm().incarnation();
    let stamp = Stamp::new(reader.journal_id().0, incarnation, position, chain);
    let written = Checkpoints::encode(stamp, model).and_then(|encoded| store.write_past(encoded));
    if let Err(error) = written {
        tracing::warn!(%error, "save a checkpoint of a past moment");
    }
}
