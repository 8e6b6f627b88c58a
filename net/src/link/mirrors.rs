// SPDX-License-Identifier: GPL-3.0-or-later
//! Mirrors: verified copies of other processes' journals, folded into views.
//!
//! On a Server one per linked Manager (its site journal); on a linked Manager one of the
//! Server's control journal.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};

use tablao_core::{Lsn, ManagerId, Recorded};
use tablao_journal::{
    Baseline, FileStore, JournalId, Lsn as JournalLsn, Mirror, MirrorOptions, Reader, RealFiles,
};
use tokio::sync::{broadcast, watch};

use crate::{
    Error, clock, data_dir::DataDir, engine::JournalIdentity, past, records, retention, view::View,
};

/// How many batches a slow subscriber may fall behind before it must read the mirror again.
const SUBSCRIBER_LAG_MAX: usize = 4096;

/// One mirror and what is folded from it.
pub struct Site {
    view: View,
    files: Arc<dyn FileStore>,
    mirror: Mutex<Mirror>,
    position: watch::Sender<Lsn>,
    /// A record that this build cannot fold; copying goes on beyond it.
    unread: OnceLock<String>,
    /// When its owner last called, by wall time.
    heard: Mutex<tablao_core::Timestamp>,
}

impl Site {
    /// What can be read of it.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Recovers a mirror from its files, or begins one, and folds it.
    pub fn open(
        owner: ManagerId,
        journal_id: [u8; 16],
        files: Arc<dyn FileStore>,
        now: tablao_core::Timestamp,
    ) -> Result<Self, Error> {
        let options = MirrorOptions::new(JournalId(journal_id), now.micros());
        let (mirror, _) = Mirror::open(Arc::clone(&files), &options)?;
        let reader = Reader::open(Arc::clone(&files))?;
        let mut model =
            retention::beginning(&reader, Lsn::new(mirror.position().previous().get()))?;
        let unread = match past::fold(&reader, &mut model) {
            Ok(_) => None,
            Err(Error::Record(error)) => Some(error),
            Err(other) => return Err(other),
        };
        let (position, following) = watch::channel(model.farm().position());
        let (events, _) = broadcast::channel(SUBSCRIBER_LAG_MAX);
        let site = Self {
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
                checkpoints: None,
            },
            files,
            mirror: Mutex::new(mirror),
            position,
            unread: OnceLock::new(),
            heard: Mutex::default(),
        };
        if let Some(error) = unread {
            site.stop_folding(&error);
        }
        Ok(site)
    }

    /// Packs sealed segments of the copy beside its work.
    fn pack_sealed(&self) {
        self.mirror().pack_sealed(Arc::clone(&self.files));
    }

    /// The position of the last record that is durable here, and the chain value at it.
    pub fn mark(&self) -> (Lsn, [u8; 32]) {
        let (next, chain) = self.head();
        let short = u64::from(!cfg!(feature = "planted-mirror-mark"));
        (Lsn::new(next.saturating_sub(short)), chain)
    }

    /// The position that it wants next.
    pub fn next(&self) -> u64 {
        self.head().0
    }

    /// The position that it wants next and the chain value before that.
    pub fn head(&self) -> (u64, [u8; 32]) {
        let mirror = self.mirror();
        (mirror.position().get(), mirror.chain().0)
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
    /// order. Returns the position that it wants next. Blocks on the disk.
    pub fn append(&self, bytes: &[u8]) -> Result<u64, Error> {
        let mut mirror = self.mirror();
        let advance = mirror.append(bytes)?;
        if advance.records > 0 && self.unread.get().is_none() {
            self.fold_on()?;
        }
        Ok(advance.next.get())
    }

    /// Begins an empty mirror with what stands for the original's retired beginning. One that has
    /// something already stays as it is. Returns the position that it wants next.
    pub fn begin_at(&self, bytes: &[u8]) -> Result<u64, Error> {
        let baseline = Baseline::decode(bytes, "the baseline of the other side")?;
        let mut mirror = self.mirror();
        if mirror.position() == JournalLsn::FIRST {
            // First of all: a state that this build cannot read begins nothing.
            let begun = retention::read(&baseline)?;
            mirror.begin_at(&self.files, &baseline)?;
            let at = begun.farm().position();
            *(self.view.model.write()).unwrap_or_else(PoisonError::into_inner) = begun;
            self.position.send_replace(at);
        }
        Ok(mirror.position().get())
    }

    /// Folds what the model does not have yet. Held under the mirror's lock.
    fn fold_on(&self) -> Result<(), Error> {
        let from = self.view.read().farm().position().next();
        let mut records: Vec<Result<Recorded, Lsn>> = Vec::new();
        for record in self.view.reader.records(JournalLsn::new(from.get()))? {
            let record = record?;
            match records::read(&record) {
                Ok(Some(recorded)) => records.push(Ok(recorded)),
                Ok(None) => records.push(Err(Lsn::new(record.lsn.get()))),
                Err(error) => {
                    self.stop_folding(&error);
                    break;
                }
            }
        }
        let at = {
            let model = self.view.model.write();
            let mut model = model.unwrap_or_else(PoisonError::into_inner);
            for record in &records {
                match record {
                    Ok(recorded) => model.apply(recorded),
                    Err(skipped) => model.skip(*skipped),
                }
            }
            model.farm().position()
        };
        self.position.send_replace(at);
        let batch: Vec<Recorded> = records.into_iter().flatten().collect();
        // No subscriber is no error.
        let _ = self.view.events.send(batch.into());
        Ok(())
    }

    fn stop_folding(&self, error: &records::Error) {
        let what = format!("{error}: {}", error.source);
        tracing::error!(
            owner = %self.view.manager,
            error = what,
            "the other side writes records that this build does not know; the copy goes on, but \
             what is shown and carried out stops here: upgrade this program"
        );
        // Only the first one is kept, and nothing is folded after it.
        let _ = self.unread.set(what);
    }
}

/// All mirrors of a data directory.
pub struct Mirrors {
    folder: PathBuf,
    sites: RwLock<BTreeMap<ManagerId, Arc<Site>>>,
    /// Held while a mirror is opened: two greetings at once must not both recover its files.
    opening: Mutex<()>,
}

impl Mirrors {
    /// Opens the mirrors that are there and folds them.
    pub fn open(data: &DataDir, folder: &str) -> Result<Self, Error> {
        let mirrors = Self {
            folder: data.path(folder),
            sites: RwLock::default(),
            opening: Mutex::default(),
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
            let opened = Reader::open(Arc::new(files)).map_err(Error::from);
            let opened = opened.and_then(|reader| mirrors.site(manager, reader.journal_id().0));
            match opened {
                // A folder without a journal is one that a crash left before its first batch.
                Ok(_) | Err(Error::Journal(tablao_journal::Error::NoJournal)) => {}
                // A damaged copy of one journal is no reason to keep the others from working.
                Err(error) => tracing::error!(
                    owner = %manager,
                    %error,
                    folder = %entry.path().display(),
                    "a mirror cannot be opened; move its folder away and start again: it is \
                     copied anew from its owner"
                ),
            }
        }
        Ok(mirrors)
    }

    /// The mirror of this owner's journal; made when it is new.
    pub fn site(&self, owner: ManagerId, journal_id: [u8; 16]) -> Result<Arc<Site>, Error> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = self.get(owner) {
            return check_journal(site, journal_id);
        }
        let path = self.folder.join(owner.to_string());
        let folder = |source| Error::Folder {
            path: path.clone(),
            source,
        };
        let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(&path).map_err(folder)?);
        let site = Arc::new(Site::open(owner, journal_id, files, clock::now())?);
        site.pack_sealed();
        let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(sites.entry(owner).or_insert(site)))
    }

    /// The mirror of this owner's journal, if there is one.
    pub fn get(&self, owner: ManagerId) -> Option<Arc<Site>> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        sites.get(&owner).cloned()
    }

    /// The mirror of this journal, whoever writes it now: a promoted Server goes on with the
    /// journal of the one before it.
    pub fn of_journal(&self, journal_id: [u8; 16]) -> Option<Arc<Site>> {
        (self.all().into_iter()).find(|site| site.view.journal.id == journal_id)
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

/// A mirror is of one journal for good.
fn check_journal(site: Arc<Site>, journal_id: [u8; 16]) -> Result<Arc<Site>, Error> {
    let found = site.view.journal.id;
    if found == journal_id {
        return Ok(site);
    }
    Err(Error::Journal(tablao_journal::Error::WrongJournal {
        expected: JournalId(journal_id),
        found: JournalId(found),
    }))
}
