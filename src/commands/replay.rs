// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao replay`: folds the journals of a data directory and prints what comes out: from the
//! first record or, where speed is asked for, from the last checkpoint. The digest is the one that
//! the live process gives at the same position. Only facts are folded: names and other details
//! are verified as bytes and not decoded.

use std::{path::PathBuf, time::Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tablao_core::{Farm, Lsn, Timestamp};
use tablao_journal::{Lsn as JournalLsn, Reader, Record};
use tablao_net::{
    clock, digest, past,
    position::{FarmPosition, prefix},
    read_ahead,
};
use tablao_projections::{Checkpoints, Moment};

use crate::{
    exit::{Code, Exit},
    journals::{self, JournalFolder},
    output,
};

/// Fold the journals of a data directory and print what comes out; read-only.
///
/// Example: tablao replay --data tablao-data --at 2026-03-01T03:10:00Z
#[derive(Args)]
pub(crate) struct Replay {
    /// The data directory of a Server or Manager.
    #[arg(long, value_name = "DIR", default_value = "tablao-data")]
    data: PathBuf,
    /// Stop at this position (as the farm or an earlier replay gave it) or time (RFC 3339).
    #[arg(long, value_name = "POSITION|TIME")]
    at: Option<String>,
    /// Begin at the last checkpoint before that, where there is one. Quick, but it proves less
    /// than a fold of every record; a farm that runs keeps its checkpoints to itself.
    #[arg(long)]
    from_checkpoint: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where to stop.
enum Until {
    End,
    /// Each journal at its own time.
    Time(Timestamp),
    Position(FarmPosition),
}

impl Until {
    fn parse(text: Option<&str>) -> anyhow::Result<Self> {
        let Some(text) = text else {
            return Ok(Self::End);
        };
        if let Some(time) = clock::parse_rfc3339(text) {
            return Ok(Self::Time(time));
        }
        text.parse().map(Self::Position).map_err(|_| {
            let words = format!(
                "--at {text}: it is neither a position as `tablao replay` and \
                 /api/farm/v1/digest give it, nor a time such as 2026-03-01T03:10:00Z"
            );
            Exit::new(Code::Usage, words).into()
        })
    }

    /// The moment to reach in one journal; none where there is nothing of it to fold.
    fn moment(&self, journal: [u8; 16]) -> Option<Moment> {
        match self {
            Self::End => Some(Moment::Position(Lsn::new(u64::MAX))),
            Self::Time(time) => Some(Moment::Time(*time)),
            Self::Position(position) => {
                let place = position.get(prefix(journal))?;
                Some(Moment::Position(place.lsn))
            }
        }
    }

    /// The record comes after the end that was asked for.
    fn is_before(&self, journal: [u8; 16], record: &Record) -> bool {
        match self {
            Self::End => false,
            Self::Time(time) => record.time_us > time.micros(),
            Self::Position(position) => {
                let place = position.get(prefix(journal));
                place.is_none_or(|place| record.lsn.get() > place.lsn.get())
            }
        }
    }
}

/// One journal's fold.
struct Folded {
    journal: [u8; 16],
    farm: Farm,
    records: u64,
}

impl Replay {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let until = Until::parse(self.at.as_deref())?;
        let journals = journals::find(&self.data)?;
        let begun = Instant::now();
        let mut folds = Vec::with_capacity(journals.len());
        for journal in &journals {
            folds.push(self.fold(journal, &until)?);
        }
        let seconds = begun.elapsed().as_secs_f64();
        if let Until::Position(asked) = &until {
            check_reached(asked, &folds)?;
        }
        self.print(&folds, seconds)
    }

    fn fold(&self, journal: &JournalFolder, until: &Until) -> anyhow::Result<Folded> {
        let reader = journal.reader()?;
        journal.check_end(&reader)?;
        let mut fold = Folded {
            journal: reader.journal_id().0,
            farm: Farm::new(),
            records: 0,
        };
        if let Some(moment) = until.moment(fold.journal) {
            let checkpoints = self.from_checkpoint.then(|| {
                let folder = self.data.join("checkpoints").join(journal.role_name());
                Checkpoints::open_at_rest(folder)
            });
            // Without a checkpoint: empty, or what the baseline of a retired beginning holds.
            let begun = past::begin_at(&reader, checkpoints.as_ref(), moment);
            fold.farm = begun
                .map_err(|error| explain(journal, error))?
                .farm()
                .clone();
        } else {
            return Ok(fold);
        }
        fold_into(&mut fold, &reader, journal, until)?;
        Ok(fold)
    }

    fn print(&self, folds: &[Folded], seconds: f64) -> anyhow::Result<()> {
        let records: u64 = folds.iter().map(|fold| fold.records).sum();
        let records_per_s = (records as f64 / seconds.max(1e-9)) as u64;
        let farms = || folds.iter().map(|fold| &fold.farm);
        let time = farms().map(|farm| farm.time()).max();
        let jobs: usize = farms().map(|farm| farm.jobs().len()).sum();
        let tasks: usize = farms()
            .flat_map(|farm| farm.jobs().values())
            .map(|job| job.tasks.len())
            .sum();
        let workers: usize = farms()
            .flat_map(|farm| farm.workers().values())
            .filter(|worker| !worker.deleted)
            .count();
        let frames: usize = farms().map(|farm| farm.frames().len()).sum();
        let answer = json!({
            "position": position(folds).to_string(),
            "time": clock::rfc3339(time.unwrap_or_default()),
            "digest": digest::whole(farms()).to_string(),
            "jobs": jobs,
            "tasks": tasks,
            "workers": workers,
            "frames": frames,
            "records": records,
            "records_per_s": records_per_s,
        });
        if self.json {
            output::json(&answer)
        } else {
            output::fields(&answer)
        }
    }
}

fn explain(journal: &JournalFolder, error: tablao_net::Error) -> anyhow::Error {
    match error {
        tablao_net::Error::Journal(error) => journal.explain(error),
        other => other.into(),
    }
}

fn position(folds: &[Folded]) -> FarmPosition {
    FarmPosition::of(folds.iter().map(|fold| (fold.journal, &fold.farm)))
}

/// A position that these journals do not have must not come out as some other one.
fn check_reached(asked: &FarmPosition, folds: &[Folded]) -> anyhow::Result<()> {
    let reached = position(folds);
    for (journal, place) in asked.places() {
        let found = reached.get(journal);
        if found.is_none_or(|found| found.lsn != place.lsn) {
            let words = match found {
                Some(found) => format!("one of these journals ends at {}, before it", found.lsn),
                None => "it names a journal that is not here".to_owned(),
            };
            return Err(Exit::new(
                Code::Usage,
                format!("--at {asked}: {words}; is it a position of this farm?"),
            )
            .into());
        }
    }
    Ok(())
}

fn fold_into(
    fold: &mut Folded,
    reader: &Reader,
    journal: &JournalFolder,
    until: &Until,
) -> anyhow::Result<()> {
    let records = reader
        .records(JournalLsn::new(fold.farm.position().next().get()))
        .map_err(|error| journal.explain(error))?;
    let (journal_id, farm) = (fold.journal, &mut fold.farm);
    let is_beyond = |record: &Record| until.is_before(journal_id, record);
    let folded = read_ahead::each_fact(records, is_beyond, |step| match step.recorded {
        Some(recorded) => farm.apply(&recorded),
        None => farm.skip(step.lsn),
    });
    fold.records += match folded {
        Ok(folded) => folded,
        Err(read_ahead::Error::Journal(error)) => return Err(journal.explain(error)),
        Err(read_ahead::Error::Record(error)) => {
            return Err(error).with_context(|| {
                format!(
                    "fold the {} journal; a tablao as new as the one that wrote it can",
                    journal.name()
                )
            });
        }
    };
    Ok(())
}
