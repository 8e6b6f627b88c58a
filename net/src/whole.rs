// SPDX-License-Identifier: GPL-3.0-or-later
//! A farm at one moment: the models of its control journal and of all its sites, held together;
//! as it is, or as it was (`past_farms`).
//!
//! While a [`Whole`] lives no model moves, so lists, position and digest read from it belong
//! together. Present from it and let it go: the projectors wait.
//!
//! **Invariant:** models are locked control first, then sites in their order, and nobody takes a
//! second lock in another order; otherwise two readers and two waiting writers can stop each other.

use std::{ops::Deref, sync::RwLockReadGuard};

use tablao_core::{Digest, JobId, ManagerId, TaskId, WorkerId};
use tablao_journal::Lsn as JournalLsn;
use tablao_projections::ReadModel;

use crate::{
    digest,
    node::Node,
    past_farms::{PastFarm, PastSite},
    position::{FarmPosition, Place, prefix},
    view::View,
};

/// The views of a farm, to read from.
pub struct Views {
    /// Of the control journal.
    pub control: View,
    /// Of each site.
    pub sites: Vec<View>,
}

/// A site's model: held where it stands, or of the past.
pub enum Model<'a> {
    /// As it is.
    Now(RwLockReadGuard<'a, ReadModel>),
    /// As it was.
    Then(&'a ReadModel),
}

impl Deref for Model<'_> {
    type Target = ReadModel;

    fn deref(&self) -> &ReadModel {
        match self {
            Self::Now(model) => model,
            Self::Then(model) => model,
        }
    }
}

/// A site at the moment.
pub struct Site<'a> {
    /// Whose.
    pub manager: ManagerId,
    /// Its journal.
    pub journal: [u8; 16],
    /// Its model.
    pub model: Model<'a>,
}

/// All models at one moment.
pub struct Whole<'a> {
    /// The control journal's.
    pub control: Site<'a>,
    /// Each site's.
    pub sites: Vec<Site<'a>>,
}

/// Why a position cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum Gone {
    /// It names a journal that this farm does not have.
    #[error("the position names a journal that this farm does not have")]
    OtherJournal,
    /// It is ahead of the journal.
    #[error("the position is ahead of the journal: the farm was restored from an older copy")]
    Ahead,
    /// Its place was written anew in a later incarnation.
    #[error("the journal was repaired or restored, and what stood at the position is no more")]
    Rewritten,
    /// The journal cannot be read there.
    #[error("the journal cannot be read at the position")]
    Unreadable(#[source] tablao_journal::Error),
}

impl Views {
    /// All views of a Server or Manager.
    pub fn of(node: &Node) -> Self {
        Self {
            control: node.control.view().clone(),
            sites: node.sites(),
        }
    }

    /// Control first, then the sites.
    pub fn all(&self) -> impl Iterator<Item = &View> {
        std::iter::once(&self.control).chain(&self.sites)
    }

    /// Holds all models.
    pub fn read(&self) -> Whole<'_> {
        Whole {
            control: Site::read(&self.control),
            sites: self.sites.iter().map(Site::read).collect(),
        }
    }

    /// Checks that what happened after a position can be told. May read a journal: call it off
    /// the runtime's threads.
    pub fn check(&self, position: &FarmPosition) -> Result<(), Gone> {
        for (journal, place) in position.places() {
            let view = self
                .all()
                .find(|view| prefix(view.journal.id) == journal)
                .ok_or(Gone::OtherJournal)?;
            check_place(view, place)?;
        }
        Ok(())
    }
}

fn check_place(view: &View, place: Place) -> Result<(), Gone> {
    let (end, incarnation) = {
        let model = view.read();
        (model.farm().position(), model.farm().incarnation())
    };
    if place.lsn > end || place.incarnation > incarnation {
        return Err(Gone::Ahead);
    }
    if place.incarnation == incarnation || place.lsn == tablao_core::Lsn::ORIGIN {
        return Ok(());
    }
    // Of an earlier incarnation: only what the later one did not write anew.
    let mut cursor = view
        .reader
        .read(JournalLsn::new(place.lsn.get()))
        .map_err(Gone::Unreadable)?;
    match cursor.next_batch().map_err(Gone::Unreadable)? {
        Some(batch) if batch.incarnation <= place.incarnation => Ok(()),
        Some(_) | None => Err(Gone::Rewritten),
    }
}

impl<'a> Site<'a> {
    fn read(view: &'a View) -> Self {
        Self {
            manager: view.manager,
            journal: view.journal.id,
            model: Model::Now(view.read()),
        }
    }

    fn past(site: &'a PastSite) -> Self {
        Self {
            manager: site.manager,
            journal: site.journal,
            model: Model::Then(&site.model),
        }
    }
}

impl<'a> Whole<'a> {
    /// A farm as it was.
    pub fn past(farm: &'a PastFarm) -> Self {
        Self {
            control: Site::past(&farm.control),
            sites: farm.sites.iter().map(Site::past).collect(),
        }
    }
}

impl Whole<'_> {
    fn all(&self) -> impl Iterator<Item = &Site<'_>> {
        std::iter::once(&self.control).chain(&self.sites)
    }

    /// Where the farm stands.
    pub fn position(&self) -> FarmPosition {
        FarmPosition::of(self.all().map(|site| (site.journal, site.model.farm())))
    }

    /// The digest of the whole farm.
    pub fn digest(&self) -> Digest {
        digest::whole(self.all().map(|site| site.model.farm()))
    }

    /// The site that has this job.
    pub fn site_of_job(&self, job: JobId) -> Option<&Site<'_>> {
        self.sites.iter().find(|site| site.model.job(job).is_some())
    }

    /// The site that has this task.
    pub fn site_of_task(&self, task: TaskId) -> Option<&Site<'_>> {
        self.sites
            .iter()
            .find(|site| site.model.farm().task(task).is_some())
    }

    /// The site that has this worker.
    pub fn site_of_worker(&self, worker: WorkerId) -> Option<&Site<'_>> {
        self.sites
            .iter()
            .find(|site| site.model.worker(worker).is_some())
    }
}
