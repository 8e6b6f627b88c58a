// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong with a store. What a client can do about each is the server's to say.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::BlobId;

/// A refusal, or a failure of the file system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no SHA-256.
    #[error("{given:?} is not a SHA-256 checksum: it takes 64 hexadecimal digits")]
    Checksum {
        /// What was given.
        given: String,
    },
    /// A path that could leave its folder, or that some platform of a farm cannot hold.
    #[error("the path {given:?} cannot be used: {why}")]
    Path {
        /// What was given, shortened.
        given: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Two entries of one checkout want the same place.
    #[error("the path {path:?} is asked for twice, with different contents or as a folder")]
    Clash {
        /// The place.
        path: String,
    },
    /// The contents sent are longer or shorter than was said.
    #[error("file {id}: {received} bytes (or more) came, {} were announced", id.size())]
    SizeMismatch {
        /// What was announced.
        id: BlobId,
        /// How many bytes had come when it was noticed.
        received: u64,
    },
    /// The contents sent are not those that were announced.
    #[error("file {id}: the contents sent have the checksum {received}")]
    ChecksumMismatch {
        /// What was announced.
        id: BlobId,
        /// The checksum of what came.
        received: String,
    },
    /// A checkout needs files that are not stored.
    #[error(
        "{count} of the files are not stored, the first is {first:?}; ask for the requirements and upload them"
    )]
    FilesMissing {
        /// How many.
        count: usize,
        /// Where the first was to go.
        first: String,
    },
    /// Every name that was tried for the checkout is taken.
    #[error("a checkout named {path:?} exists, and so do the other names that were tried")]
    CheckoutExists {
        /// The name asked for.
        path: String,
    },
    /// What lies there is not a folder of a checkout: a link, a file, or a link on the way.
    #[error("{path:?} is not a checkout: a link or a file lies on the way to it")]
    NotACheckout {
        /// The path asked for.
        path: String,
    },
    /// The shared storage is not there; perhaps it is not mounted.
    #[error("the shared storage {path:?} is not there: mount it, or correct its path")]
    StorageMissing {
        /// Where it is expected.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{doing} {path:?}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// The disk is full: the one failure of a disk that its users can end.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }
}
