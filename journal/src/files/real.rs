// SPDX-License-Identifier: GPL-3.0-or-later
//! Files in a real folder.
//!
//! The one place of the crate that touches `std::fs`. Syncing a folder is a thing of unix; on
//! other platforms it does nothing, and FORMAT.md says what that means.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::cold::cold_folder;
use super::{Access, FileStore, StoreFile};

/// The files of one folder on disk.
#[derive(Clone, Debug)]
pub struct RealFiles {
    folder: PathBuf,
    /// Where segments are that were moved to a colder disk.
    cold: Option<PathBuf>,
}

impl RealFiles {
    /// Makes the folder if it is not there, and sees to it that it stays.
    pub fn create(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        if !folder.is_dir() {
            let missing: Vec<&Path> = folder
                .ancestors()
                .filter(|ancestor| !ancestor.as_os_str().is_empty())
                .take_while(|ancestor| !ancestor.is_dir())
                .collect();
            fs::create_dir_all(&folder)?;
            // Each new folder is a name in its parent, and that name has to survive a power loss.
            for made in missing {
                match made.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent)?,
                    _ => sync_folder(Path::new("."))?,
                }
            }
        }
        Ok(Self::existing(folder))
    }

    /// Looks at a folder without making it, for readers.
    #[must_use]
    pub fn existing(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let cold = cold_folder(&folder);
        Self { folder, cold }
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(unix)]
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    // There is no portable way to sync a folder here; NTFS journals its own metadata.
    Ok(())
}

/// The names of the files in a folder.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A name that is not Unicode is not ours.
        if let Ok(name) = entry.file_name().into_string()
            && entry.file_type()?.is_file()
        {
            names.push(name);
        }
    }
    Ok(names)
}

impl FileStore for RealFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = match names_in(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        if let Some(cold) = &self.cold {
            // Without its cold folder a journal would look as if it began later.
            let there = names_in(cold).map_err(|error| {
                let what = format!("cold segments in {}: {error}", cold.display());
                io::Error::new(error.kind(), what)
            })?;
            for name in there {
                if name.ends_with(".seg") && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoreFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.folder.join(name))?;
        Ok(Box::new(RealFile { file }))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StoreFile>> {
        let open = |folder: &Path| {
            OpenOptions::new()
                .read(true)
                .write(access == Access::Write)
                .open(folder.join(name))
        };
        let file = match (open(&self.folder), &self.cold) {
            (Err(error), Some(cold))
                if error.kind() == io::ErrorKind::NotFound && name.ends_with(".seg") =>
            {
                open(cold)?
            }
            (file, _) => file?,
        };
        Ok(Box::new(RealFile { file }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match (fs::remove_file(self.folder.join(name)), &self.cold) {
            (Err(error), Some(cold))
                if error.kind() == io::ErrorKind::NotFound && name.ends_with(".seg") =>
            {
                fs::remove_file(cold.join(name))?;
                sync_folder(cold)
            }
            (removed, _) => removed,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl RealFile {
    #[cfg(unix)]
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }

    #[cfg(unix)]
    fn write_some(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn write_some(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset)
    }
}

impl StoreFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(offset + filled as u64, &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.write_some(offset + written as u64, &bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: it also writes the size, which is all the metadata a reader needs.
        self.file.sync_data()
    }
}
