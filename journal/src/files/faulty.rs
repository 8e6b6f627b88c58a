// SPDX-License-Identifier: GPL-3.0-or-later
//! A file store that goes wrong on purpose, over any other.
//!
//! It can fail the n-th changing call, write only the front half of what that call brought, run
//! out of space, or freeze at the n-th sync: from then on nothing reaches the disk, as if the
//! power had gone at that moment. It counts its calls, so a test runs once to learn how many
//! there are and then once more for each.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, FileStore, StoreFile};

/// What shall go wrong. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// This changing call (create, remove, rename, write, set_len, sync, sync_dir), counted
    /// from 1, fails once.
    pub fail_call: Option<u64>,
    /// If the failing call is a write, its front half is written before it fails.
    pub tear: bool,
    /// Writes that would grow the files by more than this in total fail with `StorageFull`.
    pub space_bytes: Option<u64>,
    /// This sync (of a file or the folder), counted from 1, and everything after it, fails.
    pub freeze_at_sync: Option<u64>,
}

#[derive(Default)]
struct Counts {
    calls: u64,
    syncs: u64,
    grown_bytes: u64,
    frozen: bool,
}

/// A store whose faults are planned.
#[derive(Clone)]
pub struct FaultyFiles {
    inner: Arc<dyn FileStore>,
    plan: FaultPlan,
    counts: Arc<Mutex<Counts>>,
}

enum Verdict {
    Go,
    Tear,
}

impl FaultyFiles {
    /// Lets `inner` go wrong as planned.
    #[must_use]
    pub fn new(inner: Arc<dyn FileStore>, plan: FaultPlan) -> Self {
        Self {
            inner,
            plan,
            counts: Arc::default(),
        }
    }

    /// How many changing calls there were, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.counts().calls
    }

    /// How many syncs there were, failed ones included.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.counts().syncs
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> io::Result<Verdict> {
        let mut counts = self.counts();
        counts.calls += 1;
        if counts.frozen {
            return Err(io::Error::other("the store is frozen"));
        }
        if self.plan.fail_call == Some(counts.calls) {
            if self.plan.tear {
                return Ok(Verdict::Tear);
            }
            return Err(io::Error::other("a planned fault"));
        }
        Ok(Verdict::Go)
    }

    fn syncing(&self) -> io::Result<()> {
        {
            let mut counts = self.counts();
            counts.syncs += 1;
            if self.plan.freeze_at_sync == Some(counts.syncs) {
                counts.frozen = true;
            }
        }
        match self.changing()? {
            Verdict::Go => Ok(()),
            Verdict::Tear => Err(io::Error::other("a planned fault")),
        }
    }

    fn plain(&self) -> io::Result<()> {
        match self.changing()? {
            Verdict::Go => Ok(()),
            Verdict::Tear => Err(io::Error::other("a planned fault")),
        }
    }

    fn grow(&self, bytes: u64) -> io::Result<()> {
        let mut counts = self.counts();
        let grown = counts.grown_bytes + bytes;
        if self.plan.space_bytes.is_some_and(|space| grown > space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        counts.grown_bytes = grown;
        Ok(())
    }

    fn wrap(&self, file: Box<dyn StoreFile>) -> Box<dyn StoreFile> {
        Box::new(FaultyFile {
            inner: file,
            store: self.clone(),
        })
    }
}

impl FileStore for FaultyFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        self.plain()?;
        Ok(self.wrap(self.inner.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StoreFile>> {
        Ok(self.wrap(self.inner.open(name, access)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.plain()?;
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plain()?;
        self.inner.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.syncing()?;
        self.inner.sync_dir()
    }
}

struct FaultyFile {
    inner: Box<dyn StoreFile>,
    store: FaultyFiles,
}

impl StoreFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let verdict = self.store.changing()?;
        if matches!(verdict, Verdict::Tear) {
            self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(io::Error::other("a planned fault tore this write"));
        }
        let end = offset + bytes.len() as u64;
        self.store.grow(end.saturating_sub(self.inner.len()?))?;
        self.inner.write_at(offset, bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.store.plain()?;
        self.inner.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.store.syncing()?;
        self.inner.sync()
    }
}
