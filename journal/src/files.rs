// SPDX-License-Identifier: GPL-3.0-or-later
//! The disk as this crate sees it: one flat folder of files, behind two small traits.
//!
//! `FileStore` is the folder, `StoreFile` one open file. Everything the journal does to a disk
//! goes through them, so a crash, a lost write or a full disk is a value in a test. What the
//! journal assumes of an implementation is written in FORMAT.md, section "What we assume".

mod cold;
mod faulty;
mod memory;
mod real;

pub use cold::{MovedCold, move_cold};
pub use faulty::{FaultPlan, FaultyFiles};
pub use memory::{MemoryFiles, PowerLoss};
pub use real::RealFiles;

use std::io;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only; works on a read-only file system.
    Read,
    /// Reading and writing.
    Write,
}

/// One flat folder. Names have no separators. All calls may come from any thread.
pub trait FileStore: Send + Sync {
    /// The names of all files, in no order. An absent folder is an empty one.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a new, empty file; `AlreadyExists` if the name is taken.
    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>>;
    /// Opens a file; `NotFound` if there is none.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StoreFile>>;
    /// Takes a name away. An open file stays readable where the platform has that.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, replacing what had it, atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Returns when every create, remove and rename before it survives a power loss.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One open file. All calls may come from any thread; offsets are explicit, there is no cursor.
pub trait StoreFile: Send + Sync {
    /// Its size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True if it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills as much of `buffer` as the file has from `offset` on and says how much that was.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends (with zeros) to this size.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Returns when the content and the size survive a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// Reads a whole file from `offset` to its end.
pub(crate) fn read_from(file: &dyn StoreFile, offset: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?.saturating_sub(offset))
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; length];
    let filled = file.read_at(offset, &mut bytes)?;
    bytes.truncate(filled);
    Ok(bytes)
}
