// SPDX-License-Identifier: GPL-3.0-or-later
//! What can go wrong while measuring. A figure that could not be measured is never made up.

use std::path::PathBuf;

/// A failed measurement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder.
    #[error("{doing} {path}")]
    File {
        /// What was being done to it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something else that the system did not do.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A child process did not do what it has to.
    #[error("the child process {name}: {what}")]
    Child {
        /// What it was started as.
        name: String,
        /// What it did.
        what: String,
    },
    /// An answer that the measurement cannot go on with.
    #[error("{path} answered {status}: {body}")]
    Answer {
        /// What was called.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// Anything else that makes the figures meaningless.
    #[error("{what}")]
    Unsound {
        /// What is wrong.
        what: String,
    },
}

impl Error {
    /// For `map_err` on what the system did not do.
    pub fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}
