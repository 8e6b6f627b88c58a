// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong with a checkpoint. Folding itself has no errors.

use std::path::PathBuf;

/// Why a checkpoint could not be opened, saved or read. None of these loses anything: the
/// journal is the truth.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("use the store of checkpoints")]
    Store(#[from] sled::Error),
    /// The store gave up in a way it has no error for.
    #[error("use the store of checkpoints: it stopped with {0:?}")]
    Panicked(String),
    /// The file system failed.
    #[error("change {path}")]
    Files {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The rows are not a farm.
    #[error("read the farm of a checkpoint")]
    Farm(#[from] tablao_core::rows::Error),
    /// A row does not have its shape.
    #[error("read a row of a checkpoint")]
    Value(#[from] tablao_core::codec::Error),
    /// A key that this build does not know.
    #[error("read a row of unknown kind {0}")]
    UnknownRow(u8),
    /// A baseline of a build whose rows are other ones.
    #[error(
        "read a state of row version {found}; this build reads {known}. Start the build that made \
         it, or bring back the archived segments: with them no baseline is needed"
    )]
    OtherRows {
        /// The version of the state.
        found: u32,
        /// The version of this build.
        known: u32,
    },
    /// Rows contradict each other.
    #[error("put a view together from its rows: {0}")]
    Inconsistent(&'static str),
}
