// SPDX-License-Identifier: GPL-3.0-or-later
//! Whole farms as they were: what `?at=` shows.
//!
//! A past farm is put together beside the live one, from checkpoints and journals, on a thread of
//! its own; nobody who works waits for it. Few are made at a time, because each takes a processor
//! and the memory of a farm, and the last ones are kept for a while: whoever looks at the past
//! looks at several things of one moment.

use std::{
    collections::VecDeque,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tablao_core::{Lsn, ManagerId, Timestamp};
use tablao_projections::{Moment, ReadModel};
use tokio::sync::Semaphore;

use crate::{
    clock,
    position::{FarmPosition, prefix},
    view::View,
    whole::{Gone, Views},
};

/// Past farms that are made at the same time.
const MADE_AT_ONCE: usize = 2;
/// Past farms that are kept ...
const KEPT_MAX: usize = 2;
/// ... for this long after they were last asked for.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// A moment is kept only if it is this old: what was decided just before it may still be on its
/// way to the journal.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// A moment of a farm, as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// After the last record of each journal that is not later than this.
    Time(Timestamp),
    /// After the records that a position names.
    Position(FarmPosition),
}

/// The text is neither a position nor a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a position as the farm gave it, nor a time such as 2026-03-01T03:10:00Z")]
pub struct ParseAtError;

impl FromStr for At {
    type Err = ParseAtError;

    fn from_str(text: &str) -> Result<Self, ParseAtError> {
        match clock::parse_rfc3339(text) {
            Some(time) => Ok(Self::Time(time)),
            None => text.parse().map(Self::Position).map_err(|_| ParseAtError),
        }
    }
}

/// Why a past farm cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The moment is still to come.
    #[error("that moment is still to come")]
    NotYet,
    /// The position is not one of this farm any more, or never was.
    #[error(transparent)]
    Gone(Gone),
    /// The journal no longer reaches back so far.
    #[error("the journal begins at record {oldest}, after that moment")]
    NotRetained {
        /// The oldest position that is left.
        oldest: u64,
    },
    /// The journal or a record cannot be read.
    #[error("the journal cannot be read up to that moment")]
    Unreadable(#[source] Box<crate::Error>),
}

/// One journal's model as it was.
#[derive(Debug)]
pub struct PastSite {
    /// Whose journal.
    pub manager: ManagerId,
    /// Which journal.
    pub journal: [u8; 16],
    /// Its model.
    pub model: ReadModel,
}

/// A farm as it was.
#[derive(Debug)]
pub struct PastFarm {
    /// Of the control journal.
    pub control: PastSite,
    /// Of each site that the farm had.
    pub sites: Vec<PastSite>,
}

struct Kept {
    at: At,
    farm: Arc<PastFarm>,
    until: Instant,
}

/// The past farms of a process.
pub struct PastFarms {
    permits: Semaphore,
    kept: Arc<Mutex<VecDeque<Kept>>>,
}

impl Default for PastFarms {
    fn default() -> Self {
        Self {
            permits: Semaphore::new(MADE_AT_ONCE),
            kept: Arc::default(),
        }
    }
}

type KeptFarms = Mutex<VecDeque<Kept>>;

fn lock(kept: &KeptFarms) -> MutexGuard<'_, VecDeque<Kept>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PastFarms {
    /// The farm as it was at a moment.
    pub async fn at(&self, views: Views, at: At) -> Result<Arc<PastFarm>, Error> {
        if let Some(farm) = self.find(&at) {
            return Ok(farm);
        }
        // Never closed; whoever waits here may find that somebody else asked for the same.
        let _permit = self.permits.acquire().await;
        if let Some(farm) = self.find(&at) {
            return Ok(farm);
        }
        let asked = at.clone();
        let made = tokio::task::spawn_blocking(move || make(&views, &asked));
        let farm = match made.await {
            Ok(made) => Arc::new(made?),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        };
        if is_settled(&at) {
            self.keep(at, Arc::clone(&farm));
        }
        Ok(farm)
    }

    fn find(&self, at: &At) -> Option<Arc<PastFarm>> {
        let mut kept = lock(&self.kept);
        let found = kept.iter_mut().find(|kept| kept.at == *at)?;
        found.until = Instant::now() + KEPT_FOR;
        Some(Arc::clone(&found.farm))
    }

    fn keep(&self, at: At, farm: Arc<PastFarm>) {
        let until = Instant::now() + KEPT_FOR;
        let mut kept = lock(&self.kept);
        kept.retain(|other| other.at != at);
        kept.push_back(Kept { at, farm, until });
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
        let first = kept.len() == 1;
        drop(kept);
        if first {
            tokio::spawn(forget(Arc::downgrade(&self.kept)));
        }
    }
}

/// Lets go of what nobody asked for any more; ends when nothing is left.
async fn forget(kept: std::sync::Weak<KeptFarms>) {
    loop {
        tokio::time::sleep(KEPT_FOR / 4).await;
        let Some(kept) = kept.upgrade() else {
            return;
        };
        let mut kept = lock(&kept);
        let now = Instant::now();
        kept.retain(|kept| kept.until > now);
        if kept.is_empty() {
            return;
        }
    }
}

fn is_settled(at: &At) -> bool {
    match at {
        At::Position(_) => true,
        At::Time(time) => {
            let age = clock::now().micros().saturating_sub(time.micros());
            u128::from(age) > SETTLED_AFTER.as_micros()
        }
    }
}

fn make(views: &Views, at: &At) -> Result<PastFarm, Error> {
    match at {
        At::Time(time) if *time > clock::now() => return Err(Error::NotYet),
        At::Time(_) => {}
        At::Position(position) => views.check(position).map_err(|gone| match gone {
            Gone::Ahead => Error::NotYet,
            gone => Error::Gone(gone),
        })?,
    }
    let site = |view: &View| past_site(view, at);
    let sites = views
        .sites
        .iter()
        .map(site)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(PastFarm {
        control: site(&views.control)?,
        // A site whose journal had not begun was not one of the farm's.
        sites: (sites.into_iter())
            .filter(|site| site.model.farm().position() > Lsn::ORIGIN)
            .collect(),
    })
}

fn past_site(view: &View, at: &At) -> Result<PastSite, Error> {
    let moment = match at {
        At::Time(time) => Moment::Time(*time),
        At::Position(position) => {
            let place = position.get(prefix(view.journal.id));
            Moment::Position(place.map_or(Lsn::ORIGIN, |place| place.lsn))
        }
    };
    let model = if moment == Moment::Position(Lsn::ORIGIN) {
        ReadModel::new()
    } else {
        view.model_at(moment).map_err(|error| match error {
            crate::Error::Journal(tablao_journal::Error::Retired { oldest, .. }) => {
                Error::NotRetained {
                    oldest: oldest.get(),
                }
            }
            other => Error::Unreadable(Box::new(other)),
        })?
    };
    Ok(PastSite {
        manager: view.manager,
        journal: view.journal.id,
        model,
    })
}
