// SPDX-License-Identifier: GPL-3.0-or-later
//! Mirrors: verified copies of other processes' journals, folded into views.
//!
//! On a Server one per linked Manager (its site journal); on a linked Manager one of the
//! Server's control journal.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use tablao_core::{Lsn, ManagerId, Recorded};
use tablao_journal::{
    FileStore, JournalId, Lsn as JournalLsn, Mirror, MirrorOptions, Reader, RealFiles,
};
use tablao_projections::ReadModel;
use tokio::sync::{broadcast, watch};

use crate::{
    Error, clock,
    data_dir::DataDir,
    engine::{JournalIdentity, fold},
    records,
    view::View,
};

/// How many batches a slow subscriber may fall behind before it must read the mirror again.
const SUBSCRIBER_LAG_MAX: usize = 4096;

/// One mirror and what is folded from it.
pub struct Site {
    view: View,
    mirror: Mutex<Mirror>,
    position: watch::Sender<Lsn>,
    /// When its owner last called, by wall time.
    heard: Mutex<tablao_core::Timestamp>,
}

impl Site {
    /// What can be read of it.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The position that it wants next.
    pub fn next(&self) -> u64 {
        self.mirror().position().get()
    }

    /// The chain value before that position.
    pub fn chain(&self) -> [u8; 32] {
        self.mirror().chain().0
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its owner called.
    pub fn note_heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }

    /// When its owner last called.
    pub fn heard(&self) -> tablao_core::Timestamp {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies batches, makes them durable, folds them, and lets readers see them: in this
    /// order. Blocks on the disk.
    pub fn append(&self, bytes: &[u8]) -> Result<u64, Error> {
        let mut mirror = self.mirror();
        let before = mirror.position();
        let advance = mirror.append(bytes)?;
        if advance.next == before {
            return Ok(before.get());
        }
        let mut batch: Vec<Recorded> = Vec::new();
        let mut skipped = Vec::new();
        for record in self.view.reader.records(before)? {
            let record = record?;
            match records::read(&record)? {
                Some(recorded) => batch.push(recorded),
                None => skipped.push(record.lsn.get()),
            }
        }
        {
            let mut model = self
                .view
                .model
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let mut skipped = skipped.into_iter().peekable();
            for recorded in &batch {
                while let Some(lsn) = skipped.next_if(|lsn| *lsn < recorded.lsn.get()) {
                    model.skip(Lsn::new(lsn));
                }
                model.apply(recorded);
            }
            skipped.for_each(|lsn| model.skip(Lsn::new(lsn)));
        }
        self.position
            .send_replace(Lsn::new(advance.next.previous().get()));
        // No subscriber is no error.
        let _ = self.view.events.send(batch.into());
        Ok(advance.next.get())
    }
}

/// All mirrors of a data directory.
pub struct Mirrors {
    folder: PathBuf,
    sites: RwLock<BTreeMap<ManagerId, Arc<Site>>>,
}

impl Mirrors {
    /// Opens the mirrors that are there and folds them.
    pub fn open(data: &DataDir, folder: &str) -> Result<Self, Error> {
        let mirrors = Self {
            folder: data.path(folder),
            sites: RwLock::default(),
        };
        let Ok(entries) = std::fs::read_dir(&mirrors.folder) else {
            return Ok(mirrors);
        };
        for entry in entries.flatten() {
            let Some(manager) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let files = RealFiles::existing(entry.path());
            // A folder without a journal is one that a crash left behind before its first batch.
            if let Ok(reader) = Reader::open(Arc::new(files)) {
                mirrors.site(manager, reader.journal_id().0)?;
            }
        }
        Ok(mirrors)
    }

    /// The mirror of this owner's journal; made when it is new.
    pub fn site(&self, owner: ManagerId, journal_id: [u8; 16]) -> Result<Arc<Site>, Error> {
        if let Some(site) = self.get(owner) {
            return Ok(site);
        }
        let path = self.folder.join(owner.to_string());
        let folder = |source| Error::Folder {
            path: path.clone(),
            source,
        };
        let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(&path).map_err(folder)?);
        let options = MirrorOptions::new(JournalId(journal_id), clock::now().micros());
        let (mirror, _) = Mirror::open(Arc::clone(&files), &options)?;
        let reader = Reader::open(files)?;
        let mut model = ReadModel::new();
        fold(&reader, &mut model, None)?;
        let (position, following) = watch::channel(model.farm().position());
        let (events, _) = broadcast::channel(SUBSCRIBER_LAG_MAX);
        let site = Arc::new(Site {
            view: View {
                manager: owner,
                journal: JournalIdentity {
                    id: journal_id,
                    incarnation: mirror.incarnation(),
                },
                model: Arc::new(RwLock::new(model)),
                position: following,
                events,
                reader: Arc::new(reader),
            },
            mirror: Mutex::new(mirror),
            position,
            heard: Mutex::default(),
        });
        let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(sites.entry(owner).or_insert(site)))
    }

    /// The mirror of this owner's journal, if there is one.
    pub fn get(&self, owner: ManagerId) -> Option<Arc<Site>> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        sites.get(&owner).cloned()
    }

    /// What can be read of each of them.
    pub fn views(&self) -> Vec<View> {
        self.all().iter().map(|site| site.view().clone()).collect()
    }

    /// All mirrors.
    pub fn all(&self) -> Vec<Arc<Site>> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        sites.values().cloned().collect()
    }
}

/// The position after a journal's own numbering, for reading on.
pub(super) fn journal_lsn(lsn: Lsn) -> JournalLsn {
    JournalLsn::new(lsn.get())
}
