// SPDX-License-Identifier: GPL-3.0-or-later
//! The sled database under the checkpoints, and how it heals.
//!
//! sled's format is young and it may panic on bytes it did not write, so nothing outside this
//! file trusts it: every use goes through [`guarded`], and a store that failed is put aside
//! (one former one is kept, for those who want to look) and begun anew. A mark beside the
//! folder says that an opening is under way: a store that takes the whole process down with it
//! is put aside at the next start.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use crate::Error;

/// Memory for pages. Rows are read once at start and written in bulk, so more would not help.
const CACHE_BYTES: u64 = 32 << 20;

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    database: sled::Db,
}

/// Runs something on the store; a panic inside is an error like any other.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What the closure leaves half done is the store, which is put aside after an error.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Panicked(text.unwrap_or_default()))
    })
}

impl Store {
    /// Opens a store, after putting a damaged one aside; `None` where even that fails.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        let mark = beside(folder, "opening");
        let opened = if mark.exists() {
            Err(Error::Inconsistent("the process ended while opening it"))
        } else {
            Self::open_marked(folder, &mark)
        };
        match opened {
            Ok(store) => Some(store),
            Err(error) if held_by_another(&error) => {
                tracing::warn!(
                    folder = %folder.display(),
                    "another process uses the checkpoints; none are read or saved here"
                );
                None
            }
            Err(error) => Self::renew(folder, &error),
        }
    }

    fn open_marked(folder: &Path, mark: &Path) -> Result<Self, Error> {
        let files = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Files { path, source }
        };
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(files(parent))?;
        }
        fs::write(mark, []).map_err(files(mark))?;
        let opened = guarded(|| {
            let database = sled::Config::new()
                .path(folder)
                .cache_capacity(CACHE_BYTES)
                // We say when: a checkpoint is durable when its seal is.
                .flush_every_ms(None)
                .open()?;
            Ok(Self {
                folder: folder.to_owned(),
                database,
            })
        });
        fs::remove_file(mark).map_err(files(mark))?;
        opened
    }

    /// Puts what is in the folder aside and opens an empty store there.
    fn renew(folder: &Path, cause: &Error) -> Option<Self> {
        tracing::warn!(
            folder = %folder.display(),
            cause = cause as &dyn std::error::Error,
            "the checkpoints are damaged: they are put aside and made anew from the journal"
        );
        let mark = beside(folder, "opening");
        let opened = put_aside(folder).and_then(|()| Self::open_marked(folder, &mark));
        opened
            .inspect_err(|error| {
                tracing::warn!(
                    folder = %folder.display(),
                    cause = error as &dyn std::error::Error,
                    "no checkpoints can be kept; each start replays the whole journal"
                );
            })
            .ok()
    }

    /// Gives up on this store and begins anew.
    pub(crate) fn heal(self, cause: &Error) -> Option<Self> {
        let Self { folder, database } = self;
        // Closing flushes, which a damaged store may not survive.
        if let Err(error) = guarded(|| {
            drop(database);
            Ok(())
        }) {
            tracing::debug!(
                cause = &error as &dyn std::error::Error,
                "close the damaged store"
            );
        }
        Self::renew(&folder, cause)
    }

    pub(crate) fn tree(&self, name: &str) -> Result<sled::Tree, Error> {
        Ok(self.database.open_tree(name)?)
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.database.flush()?;
        Ok(())
    }
}

/// A path beside the folder, named after it.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    folder.with_file_name(name)
}

fn put_aside(folder: &Path) -> Result<(), Error> {
    let aside = beside(folder, "damaged");
    let missing_is_fine = |path: &Path, result: std::io::Result<()>| match result {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Files {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    };
    missing_is_fine(
        &beside(folder, "opening"),
        fs::remove_file(beside(folder, "opening")),
    )?;
    missing_is_fine(&aside, remove(&aside))?;
    missing_is_fine(folder, fs::rename(folder, &aside))
}

/// Removes a folder, or a file where somebody put one.
fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// sled says so in words only.
fn held_by_another(error: &Error) -> bool {
    matches!(error, Error::Store(sled::Error::Io(io)) if io.to_string().contains("could not acquire lock"))
}
