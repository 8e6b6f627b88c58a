// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the measured data lies: below one folder, on the disk that is to be measured.
//!
//! A folder for temporary files is often in memory, where a sync costs nothing; that is why the
//! default is the working directory.

use std::{path::PathBuf, sync::OnceLock};

use crate::Error;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Says once, before the first part runs, below which folder data is to lie.
pub fn set_folder(folder: PathBuf) {
    // A second word is too late: something may lie there already.
    let _ = FOLDER.set(folder);
}

/// The folder below which data lies.
pub(crate) fn folder() -> PathBuf {
    FOLDER.get().cloned().unwrap_or_else(|| PathBuf::from("."))
}

/// A new folder for a run's data; it goes when the value does.
pub(crate) fn scratch(part: &str) -> Result<tempfile::TempDir, Error> {
    let folder = folder();
    std::fs::create_dir_all(&folder).map_err(|source| Error::File {
        doing: "create the folder",
        path: folder.clone(),
        source,
    })?;
    tempfile::Builder::new()
        .prefix(&format!("tablao-bench-{part}-"))
        .tempdir_in(&folder)
        .map_err(|source| Error::File {
            doing: "create a folder in",
            path: folder,
            source,
        })
}
