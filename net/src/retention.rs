// SPDX-License-Identifier: GPL-3.0-or-later
//! Baselines of farms: what stands in for the retired beginning of a journal.
//!
//! The journal keeps the bytes and proves whose they are; here they become models and models
//! become them. Which segments may go is decided by who asks; the order in which they go is the
//! journal's `retire`.

use tablao_core::Lsn;
use tablao_journal::{Baseline, Lsn as JournalLsn, Reader, Retirable};
use tablao_projections::{Moment, ReadModel};

use crate::{Error, past, read_ahead};

/// The model with which folds of a journal begin that are to end at `last` or later: empty where
/// the journal begins at its origin, or what its baseline holds.
pub fn beginning(reader: &Reader, last: Lsn) -> Result<ReadModel, Error> {
    match reader.baseline(JournalLsn::new(last.get()))? {
        None => Ok(ReadModel::new()),
        Some(baseline) => read(&baseline),
    }
}

/// The same for a fold that is to end at a moment: a journal does not tell of moments before its
/// baseline.
pub fn beginning_before(reader: &Reader, moment: Moment) -> Result<ReadModel, Error> {
    let time = match moment {
        Moment::Position(lsn) => return beginning(reader, lsn),
        Moment::Time(time) => time,
    };
    let oldest = reader.oldest()?;
    if oldest == JournalLsn::FIRST {
        return Ok(ReadModel::new());
    }
    let model = beginning(reader, Lsn::new(u64::MAX))?;
    if model.farm().time() <= time {
        return Ok(model);
    }
    Err(Error::Journal(tablao_journal::Error::Retired {
        asked: oldest.previous(),
        oldest,
    }))
}

/// The model that a baseline holds.
pub fn read(baseline: &Baseline) -> Result<ReadModel, Error> {
    let model = ReadModel::from_baseline(baseline.state_version, &baseline.state)
        .map_err(Error::Baseline)?;
    if model.farm().position().next().get() == baseline.next.get() {
        return Ok(model);
    }
    Err(Error::Baseline(tablao_projections::Error::Inconsistent(
        "the baseline holds the farm of another position",
    )))
}

/// Folds a journal up to the end of this segment into a baseline. Not written yet.
pub fn baseline_at(reader: &Reader, end: &Retirable) -> Result<Baseline, Error> {
    let last = Lsn::new(end.next.previous().get());
    let mut model = beginning(reader, last)?;
    let from = JournalLsn::new(model.farm().position().next().get());
    if from < end.next {
        let records = reader.records(from)?;
        let is_beyond = |record: &tablao_journal::Record| record.lsn >= end.next;
        read_ahead::each(records, is_beyond, |step| past::pass(&mut model, step))?;
    }
    let (state_version, state) = model.to_baseline();
    let baseline = Baseline {
        journal_id: reader.journal_id(),
        incarnation: end.incarnation,
        next: end.next,
        time_us: end.time_us,
        chain: end.chain,
        state_version,
        state,
    };
    // What can not be read back is no baseline, and nothing may be removed for it.
    let again = read(&baseline)?;
    if again.farm().digest() == model.farm().digest() {
        return Ok(baseline);
    }
    Err(Error::Baseline(tablao_projections::Error::Inconsistent(
        "the baseline comes back with another digest",
    )))
}
