// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong in running a Server or Manager, apart from refusals.

use std::{io, path::PathBuf};

/// Operational failures, with what we were doing to what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A folder of the data directory cannot be used.
    #[error("use the folder {path} (may this user write there? choose another place with --data)")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the data directory cannot be used.
    #[error("{doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the data directory.
    #[error(
        "use the data directory {path}: process {holder} holds it; stop that process, or choose another directory with --data"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Which process, as it wrote down itself.
        holder: String,
    },
    /// The configuration does not say what it should.
    #[error("read the configuration {path}: {what}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// What stands in for the retired beginning of a journal cannot be used.
    #[error("use the baseline of a journal whose beginning was retired")]
    Baseline(#[source] tablao_projections::Error),
    /// A thread cannot be started.
    #[error("start the {name} thread")]
    Thread {
        /// Its name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("listen on {address}; is another farm running there? choose another with --listen")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] tablao_journal::Error),
    /// The views and their checkpoints.
    #[error(transparent)]
    Projections(#[from] tablao_projections::Error),
    /// The job type scripts.
    #[error(transparent)]
    JobTypes(#[from] tablao_jobtypes::Error),
    /// A record of another build.
    #[error(transparent)]
    Record(#[from] crate::records::Error),
    /// The journal could not be written while starting.
    #[error("write the journal: {what}")]
    JournalFailed {
        /// What the first failure was.
        what: String,
    },
    /// The engine ended.
    #[error(transparent)]
    Stopped(#[from] crate::engine::Stopped),
    /// Something that is imported was refused.
    #[error("import {what}")]
    Import {
        /// What it is.
        what: String,
        /// Why it was refused.
        #[source]
        source: tablao_core::Refusal,
    },
    /// The Server above.
    #[error("{doing} the Server at {url}: {what}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// Its address.
        url: String,
        /// What went wrong and what to do.
        what: String,
    },
}
