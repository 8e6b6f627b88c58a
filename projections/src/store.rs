// SPDX-License-Identifier: GPL-3.0-or-later
//! The sled database under the checkpoints, and how it heals.
//!
//! sled's format is young and it may panic on bytes it did not write, so nothing outside this
//! file trusts it: every use goes through [`guarded`], and a store that failed is deleted and
//! begun anew. It is not kept to be looked at: it holds names that somebody may have had erased
//! from the journal, and a full disk is one of the reasons to fail. A mark beside the folder says
//! that an opening is under way: a store that takes the whole process down with it is deleted
//! at the next start.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Error, pack::Packs};

/// Memory for pages. There are a few dozen seals.
const CACHE_BYTES: u64 = 1 << 20;

/// Tries to get the store's lock, and the pause between two: two seconds in all.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    database: sled::Db,
}

/// Runs something on the store; a panic inside is an error like any other.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    sleepy_threads(true);
    // What the closure leaves half done is the store, which is put aside after an error.
    let done = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Panicked(text.unwrap_or_default()))
    });
    sleepy_threads(false);
    done
}

/// sled's first use starts seven threads that never end, and each wakes once a second to see
/// whether there is work, although it is told when there is. Threads inherit from their maker how
/// late a timer may be: made now, they sleep until they are told.
#[cfg(target_os = "linux")]
fn sleepy_threads(on: bool) {
    /// In nanoseconds. sled waits with a limit of time nowhere else, so nothing else is late.
    const AN_HOUR: u64 = 3_600_000_000_000;
    // Zero is what the thread itself began with.
    let slack = if on { AN_HOUR } else { 0 };
    let slack = std::ffi::c_ulong::try_from(slack).unwrap_or(std::ffi::c_ulong::MAX);
    // Where it cannot be set, an idle farm wakes more often.
    let _ = nix::sys::prctl::set_timerslack(slack);
}

#[cfg(not(target_os = "linux"))]
fn sleepy_threads(_: bool) {}

impl Store {
    /// Opens a store, after deleting a damaged one; `None` where even that fails.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        let mark = beside(folder, "opening");
        let opened = if mark.exists() {
            Err(Error::Inconsistent("the process ended while opening it"))
        } else {
            Self::open_patiently(folder, &mark)
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
            Err(error) => {
                warn_of_damage(folder, &error);
                Self::renew(folder)
            }
        }
    }

    /// Opens a store that is there and that nobody uses; changes nothing of what it holds.
    pub(crate) fn open_at_rest(folder: &Path) -> Option<Self> {
        if !folder.join("db").exists() || beside(folder, "opening").exists() {
            return None;
        }
        let opened = guarded(|| Self::open_database(folder));
        opened
            .inspect_err(|error| {
                tracing::debug!(
                    cause = error as &dyn std::error::Error,
                    "the checkpoints cannot be read"
                );
            })
            .ok()
    }

    fn open_database(folder: &Path) -> Result<Self, Error> {
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
    }

    /// sled's own threads hold the lock for a moment longer than the database lives, so whoever
    /// opens it again in the same process may have to wait.
    fn open_patiently(folder: &Path, mark: &Path) -> Result<Self, Error> {
        for _ in 0..LOCK_TRIES {
            match Self::open_marked(folder, mark) {
                Err(error) if held_by_another(&error) => std::thread::sleep(LOCK_PAUSE),
                opened => return opened,
            }
        }
        Self::open_marked(folder, mark)
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
        let opened = guarded(|| Self::open_database(folder));
        fs::remove_file(mark).map_err(files(mark))?;
        opened
    }

    /// Deletes what is in the folder and opens an empty store there.
    fn renew(folder: &Path) -> Option<Self> {
        let mark = beside(folder, "opening");
        let opened = delete(folder).and_then(|()| Self::open_marked(folder, &mark));
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
        warn_of_damage(&self.folder, cause);
        self.begin_anew()
    }

    /// Deletes everything that the store holds, and its files with it.
    pub(crate) fn begin_anew(self) -> Option<Self> {
        let folder = self.close();
        Self::renew(&folder)
    }

    /// Closes and deletes the store.
    pub(crate) fn give_up(self) {
        let folder = self.close();
        tracing::warn!(
            folder = %folder.display(),
            "the checkpoints fail again and again: none are saved until the next start"
        );
        if let Err(error) = delete(&folder) {
            tracing::warn!(
                cause = &error as &dyn std::error::Error,
                "delete the checkpoints"
            );
        }
    }

    fn close(self) -> PathBuf {
        let Self { folder, database } = self;
        // Closing flushes, which a damaged store may not survive.
        let closed = guarded(|| {
            drop(database);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::debug!(
                cause = &error as &dyn std::error::Error,
                "close the damaged store"
            );
        }
        folder
    }

    /// The pack files, which live and go with the store.
    pub(crate) fn packs(&self) -> Packs {
        Packs::in_store(&self.folder)
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

fn warn_of_damage(folder: &Path, error: &Error) {
    let folder = folder.display();
    let cause = error as &dyn std::error::Error;
    if for_want_of_room(error) {
        tracing::warn!(
            %folder,
            cause,
            "there is no room for checkpoints: they are deleted, which makes some, and made anew \
             from the journal. Free the disk"
        );
    } else {
        tracing::warn!(
            %folder,
            cause,
            "the checkpoints are damaged: they are deleted and made anew from the journal"
        );
    }
}

/// Whether the disk was full, which is no damage.
fn for_want_of_room(error: &Error) -> bool {
    let kind = match error {
        Error::Store(sled::Error::Io(io)) => io.kind(),
        Error::Files { source, .. } => source.kind(),
        _ => return false,
    };
    matches!(
        kind,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}

/// Renamed first: a deletion that breaks off must not leave half a store under the store's name.
fn delete(folder: &Path) -> Result<(), Error> {
    let doomed = beside(folder, "damaged");
    missing_is_fine(&doomed, remove)?;
    missing_is_fine(folder, |folder| fs::rename(folder, &doomed))?;
    missing_is_fine(&doomed, remove)?;
    missing_is_fine(&beside(folder, "opening"), remove)
}

fn missing_is_fine(
    path: &Path,
    act: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), Error> {
    match act(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Files {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
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
