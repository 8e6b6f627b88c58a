// SPDX-License-Identifier: GPL-3.0-or-later
//! The store: what it has, and what of a set of files it lacks.
//!
//! Sending, checking out, erasing and collecting have files of their own.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    BlobId, Error, FilePath, LinkMethod, files, in_flight::InFlight, layout::Layout, link,
};

/// How much of a file the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing, and nobody is sending it.
    Unknown,
    /// Somebody is sending it.
    Uploading,
    /// All of it, durably.
    Stored,
}

impl Status {
    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Uploading => "uploading",
            Self::Stored => "stored",
        }
    }
}

/// A file of a checkout: its contents and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// What is in it.
    pub id: BlobId,
    /// Where it goes.
    pub path: FilePath,
}

/// A content store below one shared storage. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) layout: Layout,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) links: Vec<LinkMethod>,
}

impl Store {
    /// The store below this folder. Makes nothing until something is sent.
    pub fn new(shared_storage: &Path) -> Self {
        Self {
            layout: Layout::new(shared_storage),
            in_flight: Arc::default(),
            links: link::METHODS.to_vec(),
        }
    }

    /// The same store, whose checkouts try only these ways, in this order.
    pub fn with_links(mut self, methods: &[LinkMethod]) -> Self {
        self.links = methods.to_vec();
        self
    }

    /// The folder of all checkouts.
    pub fn checkouts(&self) -> PathBuf {
        self.layout.jobs()
    }

    /// What the store has of a file.
    pub fn status(&self, id: BlobId) -> Result<Status, Error> {
        self.layout.require_root()?;
        if self.is_stored(id)? {
            Ok(Status::Stored)
        } else if self.in_flight.is_sent(id) {
            Ok(Status::Uploading)
        } else {
            Ok(Status::Unknown)
        }
    }

    /// Which files have to be sent before a checkout can be made: each contents once, with the
    /// first path that asks for it. Those that are stored are kept from collection for a while.
    pub fn requirements<'a>(
        &self,
        wanted: &'a [FileSpec],
    ) -> Result<Vec<(&'a FileSpec, Status)>, Error> {
        let mut seen = HashSet::with_capacity(wanted.len());
        let mut lacking = Vec::new();
        for file in wanted.iter().filter(|file| seen.insert(file.id)) {
            match self.status(file.id)? {
                // A collection that was quicker makes it unknown again.
                Status::Stored if self.touch(file.id)? => {}
                Status::Stored => lacking.push((file, Status::Unknown)),
                status @ (Status::Unknown | Status::Uploading) => lacking.push((file, status)),
            }
        }
        Ok(lacking)
    }

    /// The file is there with its whole length, and durable. One that something cut short since
    /// does not count, so that it is sent again.
    pub(crate) fn is_stored(&self, id: BlobId) -> Result<bool, Error> {
        let path = self.layout.blob(id);
        match fs::metadata(&path) {
            Ok(found) => {
                Ok(found.is_file() && found.len() == id.size() && !self.in_flight.is_settling(id))
            }
            Err(error) if is_absence(&error) => Ok(false),
            Err(source) => Err(Error::io("look at", &path)(source)),
        }
    }

    /// Keeps a stored file from collection; `false` if it is gone.
    pub(crate) fn touch(&self, id: BlobId) -> Result<bool, Error> {
        let path = self.layout.blob(id);
        match files::touch(&path) {
            Ok(()) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(source) => Err(Error::io("touch", &path)(source)),
        }
    }
}

/// There is nothing at a path, or a file where one of its folders would be.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
