// SPDX-License-Identifier: GPL-3.0-or-later
//! Taking a file in: written as it comes, its checksum computed on the way, and given its final
//! name only when it is what was announced and on the disk.
//!
//! Dropping an upload at any point leaves nothing. A process that dies leaves a part with a
//! temporary name, which never counts and which a collection takes away.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    BlobId, Error, Store, blob,
    files::{self, TRIES},
    in_flight::Flight,
};

/// What to do with a file that a client wants to send.
#[derive(Debug)]
pub enum Begin {
    /// It need not: the store has it.
    AlreadyStored,
    /// Another client is sending it, and this one said that it can wait.
    Deferred,
    /// Take it in.
    Upload(Box<Upload>),
}

/// How an upload ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This upload is the one that is stored.
    Stored,
    /// Another one was quicker; the store has the file.
    AlreadyStored,
}

/// A file that is being taken in.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    id: BlobId,
    part: Part,
    hasher: Sha256,
    received: u64,
    // Dropped last: who sees nobody sending must not find the part.
    flight: Flight,
}

impl Store {
    /// Begins to take a file in, unless that is not needed.
    pub fn upload(&self, id: BlobId, can_defer: bool) -> Result<Begin, Error> {
        self.layout.require_root()?;
        if self.is_stored(id)? && self.touch(id)? {
            return Ok(Begin::AlreadyStored);
        }
        let Some(flight) = self.in_flight.enter(id, can_defer) else {
            return Ok(Begin::Deferred);
        };
        // Another may have finished between the question and the entry.
        if self.is_stored(id)? && self.touch(id)? {
            return Ok(Begin::AlreadyStored);
        }
        Ok(Begin::Upload(Box::new(Upload {
            store: self.clone(),
            id,
            part: Part::create(self, id)?,
            hasher: Sha256::new(),
            received: 0,
            flight,
        })))
    }
}

impl Upload {
    /// Another client has sent the whole file meanwhile: the rest need not be read.
    pub fn is_overtaken(&self) -> bool {
        self.flight.is_overtaken()
    }

    /// The next bytes. More than were announced are refused at once.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let received = self.received.saturating_add(bytes.len() as u64);
        if received > self.id.size() {
            return Err(Error::SizeMismatch {
                id: self.id,
                received,
            });
        }
        self.part
            .file
            .write_all(bytes)
            .map_err(Error::io("write", &self.part.path))?;
        self.hasher.update(bytes);
        self.received = received;
        Ok(())
    }

    /// All bytes have come. When this returns, the file is stored durably, or nothing is left.
    pub fn finish(mut self) -> Result<Outcome, Error> {
        if self.received != self.id.size() {
            return Err(Error::SizeMismatch {
                id: self.id,
                received: self.received,
            });
        }
        let computed = self.hasher.finalize_reset();
        if !self.id.has_checksum(&computed) {
            return Err(Error::ChecksumMismatch {
                id: self.id,
                received: blob::hexadecimal(&computed),
            });
        }
        if self.flight.is_overtaken() && self.store.is_stored(self.id)? {
            return Ok(Outcome::AlreadyStored);
        }
        self.part
            .file
            .sync_all()
            .map_err(Error::io("sync", &self.part.path))?;
        self.flight.settle();
        let target = self.store.layout.blob(self.id);
        self.part.become_file(&target)?;
        if let Err(error) = self.sync_names(&target) {
            if !self.flight.is_overtaken() {
                // Nobody was told that it is stored, and without a sync it may not stay.
                let _ = fs::remove_file(&target);
            }
            return Err(error);
        }
        self.flight.land();
        Ok(Outcome::Stored)
    }

    /// Syncs the folders from the file up to that of all files: each may be new.
    fn sync_names(&self, target: &Path) -> Result<(), Error> {
        let stored = self.store.layout.stored();
        for folder in target.ancestors().skip(1) {
            files::sync_folder(folder)?;
            if folder == stored {
                break;
            }
        }
        Ok(())
    }
}

/// A file with a temporary name, which goes away unless it gets its final one.
#[derive(Debug)]
struct Part {
    file: File,
    path: PathBuf,
    top: PathBuf,
    kept: bool,
}

impl Part {
    fn create(store: &Store, id: BlobId) -> Result<Self, Error> {
        let path = store.layout.part(id, &files::random(12));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file =
            in_folder_of(&path, || options.open(&path)).map_err(Error::io("create", &path))?;
        Ok(Self {
            file,
            path,
            top: store.layout.uploading(),
            kept: false,
        })
    }

    fn become_file(&mut self, target: &Path) -> Result<(), Error> {
        in_folder_of(target, || fs::rename(&self.path, target))
            .map_err(Error::io("give its final name to", target))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now never counts, and a collection comes by.
            let _ = fs::remove_file(&self.path);
        }
        if let Some(folder) = self.path.parent() {
            files::remove_empty(folder, &self.top);
        }
    }
}

/// Makes the folder of a path, then does something in it; again when somebody took the folder
/// away in between because it was empty.
fn in_folder_of<T>(path: &Path, step: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let folder = path.parent().unwrap_or(path);
    let mut tries = 0;
    loop {
        tries += 1;
        match fs::create_dir_all(folder).and_then(|()| step()) {
            // "Exists already" is said of a folder that is gone a moment later.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                ) && tries < TRIES => {}
            other => return other,
        }
    }
}
