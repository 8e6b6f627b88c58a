// SPDX-License-Identifier: GPL-3.0-or-later
//! Content-addressed blobs: `blobs/<first two hex digits>/<hash>`.
//!
//! Control blobs (compiled submissions) are synced before the event that names them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Error, data_dir::write_durably};

/// The folder of all blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Blobs below this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    fn path(&self, hash: &[u8; 32]) -> PathBuf {
        let name = blake3::Hash::from_bytes(*hash).to_hex();
        self.folder.join(&name[..2]).join(name.as_str())
    }

    /// Keeps bytes; on disk when it returns.
    pub fn put(&self, bytes: &[u8]) -> Result<[u8; 32], Error> {
        let hash = *blake3::hash(bytes).as_bytes();
        let path = self.path(&hash);
        if path.exists() {
            return Ok(hash);
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|source| Error::Folder {
            path: folder.to_owned(),
            source,
        })?;
        write_durably(&path, bytes)?;
        crate::data_dir::sync_folder(&self.folder).map_err(|source| Error::Folder {
            path: self.folder.clone(),
            source,
        })?;
        Ok(hash)
    }

    /// Reads a blob and checks that it is what its name says.
    pub fn get(&self, hash: &[u8; 32]) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path(hash))?;
        if blake3::hash(&bytes).as_bytes() == hash {
            Ok(bytes)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a blob does not have the content that its name says",
            ))
        }
    }
}
