// SPDX-License-Identifier: GPL-3.0-or-later
//! Files in memory that remember which of their bytes and names a power loss would leave.
//!
//! Every write is live at once and durable only after `sync` (bytes) or `sync_dir` (names).
//! `after` gives the disk that a machine would find after losing power, gently or with torn
//! sectors. It is not a model of any one file system: it loses whatever it is allowed to lose.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, FileStore, StoreFile};

/// The unit in which a disk writes all or nothing.
const SECTOR_BYTES: usize = 512;

/// What happens to bytes and names that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// Only the process ended: everything it wrote is there.
    ProcessOnly,
    /// Everything that was not synced is gone.
    UnsyncedLost,
    /// Each unsynced sector, each size and the folder are old or new, as this seed has it.
    Torn {
        /// Same seed, same outcome.
        seed: u64,
    },
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What was written since the last sync. A sync brings these ranges to the disk and nothing
    /// else, as a kernel writes back the pages it believes to be dirty.
    dirty: Vec<Range<usize>>,
}

impl Content {
    fn whole(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            live: bytes,
            dirty: Vec::new(),
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for range in self.dirty.drain(..) {
            let end = range.end.min(self.live.len());
            let start = range.start.min(end);
            self.durable[start..end].copy_from_slice(&self.live[start..end]);
        }
    }
}

#[derive(Default)]
struct Disk {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    contents: Vec<Content>,
}

/// A folder in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<Disk>>,
}

impl MemoryFiles {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder that the next process finds after this loss. This one is left as it is.
    #[must_use]
    pub fn after(&self, loss: PowerLoss) -> Self {
        let disk = self.disk();
        let mut chance = Chance::new(loss);
        let names = match loss {
            PowerLoss::ProcessOnly => &disk.names,
            PowerLoss::UnsyncedLost => &disk.durable_names,
            PowerLoss::Torn { .. } if chance.coin() => &disk.names,
            PowerLoss::Torn { .. } => &disk.durable_names,
        };
        let mut left = Disk::default();
        for (name, &index) in names {
            let content = &disk.contents[index];
            let bytes = match loss {
                PowerLoss::ProcessOnly => content.live.clone(),
                PowerLoss::UnsyncedLost => content.durable.clone(),
                PowerLoss::Torn { .. } => torn(content, &mut chance),
            };
            left.names.insert(name.clone(), left.contents.len());
            left.contents.push(Content::whole(bytes));
        }
        left.durable_names = left.names.clone();
        Self {
            disk: Arc::new(Mutex::new(left)),
        }
    }

    /// What some kernels do when a sync fails: the written bytes stay to be read, and a later sync
    /// does not bring them to the disk, because their pages now count as clean.
    pub fn forget_what_is_dirty(&self) {
        for content in &mut self.disk().contents {
            content.dirty.clear();
        }
    }

    /// The live bytes of a file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        let index = *disk.names.get(name)?;
        Some(disk.contents[index].live.clone())
    }

    /// Puts a file there, durable, whatever was there before.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        let index = disk.contents.len();
        disk.contents.push(Content::whole(bytes.to_vec()));
        disk.names.insert(name.to_owned(), index);
        disk.durable_names.insert(name.to_owned(), index);
    }
}

/// Mixes old and new content, sector by sector.
fn torn(content: &Content, chance: &mut Chance) -> Vec<u8> {
    let (old, new) = (&content.durable, &content.live);
    let length = match chance.below(3) {
        0 => old.len(),
        1 => new.len(),
        _ => {
            let (low, high) = (old.len().min(new.len()), old.len().max(new.len()));
            low + chance.below((high - low + 1) as u64) as usize
        }
    };
    let mut bytes = vec![0; length];
    for start in (0..length).step_by(SECTOR_BYTES) {
        let end = (start + SECTOR_BYTES).min(length);
        let source = if chance.coin() { new } else { old };
        for (at, byte) in bytes.iter_mut().enumerate().take(end).skip(start) {
            // What neither side has reads as zeros, as a grown file does.
            *byte = source.get(at).copied().unwrap_or(0);
        }
    }
    bytes
}

/// Small reproducible random numbers (splitmix64), so that the crate needs no dependency for it.
struct Chance {
    state: u64,
}

impl Chance {
    fn new(loss: PowerLoss) -> Self {
        let state = match loss {
            PowerLoss::Torn { seed } => seed,
            PowerLoss::ProcessOnly | PowerLoss::UnsyncedLost => 0,
        };
        Self { state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

impl FileStore for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        let mut disk = self.disk();
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let index = disk.contents.len();
        disk.contents.push(Content::default());
        disk.names.insert(name.to_owned(), index);
        drop(disk);
        Ok(Box::new(MemoryFile {
            folder: self.clone(),
            index,
            access: Access::Write,
        }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StoreFile>> {
        let index = *self.disk().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile {
            folder: self.clone(),
            index,
            access,
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.disk().names.remove(name) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let index = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), index);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.durable_names = disk.names.clone();
        Ok(())
    }
}

struct MemoryFile {
    folder: MemoryFiles,
    index: usize,
    access: Access,
}

impl MemoryFile {
    fn change(&self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        change(&mut self.folder.disk().contents[self.index]);
        Ok(())
    }
}

impl StoreFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.folder.disk().contents[self.index].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let disk = self.folder.disk();
        let live = &disk.contents[self.index].live;
        let start = (offset as usize).min(live.len());
        let count = buffer.len().min(live.len() - start);
        buffer[..count].copy_from_slice(&live[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(|content| {
            let end = offset as usize + bytes.len();
            let start = content.live.len().min(offset as usize);
            if content.live.len() < end {
                content.live.resize(end, 0);
            }
            content.live[offset as usize..end].copy_from_slice(bytes);
            content.dirty.push(start..end);
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.change(|content| {
            let before = content.live.len();
            content.live.resize(bytes as usize, 0);
            // Zeros that were grown are written like any others; a cut is only the size.
            content.dirty.push(before..content.live.len().max(before));
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.folder.disk();
        disk.contents[self.index].sync();
        Ok(())
    }
}
