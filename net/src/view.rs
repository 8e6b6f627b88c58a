// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be read of one site: its read model, position and events.
//!
//! A Manager has its own site's view; a Server has one per mirror. Readers do not care which.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tablao_core::{Lsn, ManagerId};
use tablao_journal::Reader;
use tablao_projections::{Checkpoints, Moment, ReadModel};
use tokio::sync::{broadcast, watch};

use crate::{
    Error,
    engine::{Batch, JournalIdentity},
    past,
};

/// One journal's view.
#[derive(Clone)]
pub struct View {
    /// Whose journal.
    pub manager: ManagerId,
    /// Which journal.
    pub journal: JournalIdentity,
    /// The read model at the durable position.
    pub model: Arc<RwLock<ReadModel>>,
    /// The position that the model has passed.
    pub position: watch::Receiver<Lsn>,
    /// Records as they become durable.
    pub events: broadcast::Sender<Batch>,
    /// Reads the journal from disk.
    pub reader: Arc<Reader>,
    /// Where the fold of a past moment can begin. A mirror has none: it is folded whole.
    pub checkpoints: Option<Arc<Checkpoints>>,
}

impl View {
    /// The model. Hold it briefly: whoever moves it along waits.
    pub fn read(&self) -> RwLockReadGuard<'_, ReadModel> {
        self.model.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position that the model has passed.
    pub fn at(&self) -> Lsn {
        *self.position.borrow()
    }

    /// The model as it was at a moment. Reads the disk, for a fraction of a second where there
    /// are checkpoints: call it off the runtime's threads.
    pub fn model_at(&self, moment: Moment) -> Result<ReadModel, Error> {
        let checkpoints = self.checkpoints.as_deref();
        past::model_at(&self.reader, checkpoints, moment, self.at())
    }
}
