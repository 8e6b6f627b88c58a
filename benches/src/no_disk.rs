// SPDX-License-Identifier: GPL-3.0-or-later
//! A disk that takes everything at once and keeps nothing: what a journal costs without its disk.
//!
//! Only for measuring. A journal that is begun on it can be appended to and closed, not read.

use std::io;

use tablao_journal::{Access, FileStore, StoreFile};

/// The store.
pub(crate) struct NoDisk;

struct NoFile;

impl FileStore for NoDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn StoreFile>> {
        Ok(Box::new(NoFile))
    }

    fn open(&self, _name: &str, access: Access) -> io::Result<Box<dyn StoreFile>> {
        match access {
            Access::Write => Ok(Box::new(NoFile)),
            Access::Read => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StoreFile for NoFile {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
