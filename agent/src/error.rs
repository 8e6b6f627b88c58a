// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong for the Worker as a process.
//!
//! A command that fails is not an error of this kind: it is a [`crate::commands::Failure`],
//! which is reported to the Manager and leaves the Worker running.

use std::path::PathBuf;

/// Why the Worker could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the Worker's own could not be read or written.
    #[error("use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another Worker process has this data directory.
    #[error(
        "use the data directory {path}: another worker{holder} has it; give each worker its own --data"
    )]
    DataDirInUse {
        /// The data directory.
        path: PathBuf,
        /// ` (process 123)`, or nothing where it is not known.
        holder: String,
    },
    /// A file of the Worker's own does not hold what it must.
    #[error("read {path}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The journal of the outbox failed.
    #[error("use the outbox {path}: {source}")]
    Outbox {
        /// Its folder.
        path: PathBuf,
        /// What the journal said.
        source: tablao_journal::Error,
    },
    /// The address of the Manager is not one.
    #[error("understand the manager's address `{0}`; it looks like http://host:8080")]
    ManagerUrl(String),
    /// The machine cannot be divided like this.
    #[error("divide the machine into slots: {0}")]
    Slots(String),
    /// The HTTP client could not be made.
    #[error("set up the HTTP client: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// The Manager does not take this Worker.
    #[error("register at the manager: it answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The Manager's words.
        message: String,
    },
}

impl Error {
    /// Ties an I/O error to the file it is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
