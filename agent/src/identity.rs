// SPDX-License-Identifier: GPL-3.0-or-later
//! Who this Worker is: its id and secret in `worker.json`, and the lock on its data directory.
//!
//! The identity is stored before it is used, so that a kill between registering and signing on
//! costs at most one unused registration. Talking to the Manager is not done here.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, durable};

/// The Worker's credentials at its Manager.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Id given by the Manager.
    pub(crate) worker_id: String,
    /// Made by the Worker at registration.
    pub(crate) worker_secret: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret must not reach a log by way of a debug print.
        write!(formatter, "Identity({})", self.worker_id)
    }
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("worker.json")
}

/// Reads the identity, `None` when this Worker has never registered.
pub(crate) fn load(data_dir: &Path) -> Result<Option<Identity>, Error> {
    let path = file(data_dir);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { path, source }),
    };
    match serde_json::from_slice(&text) {
        Ok(identity) => Ok(Some(identity)),
        Err(error) => Err(Error::Damaged {
            path,
            reason: format!("{error}; remove the file to let the worker register anew"),
        }),
    }
}

/// Stores a new identity, durable when this returns. The one before is kept beside it.
pub(crate) fn store(data_dir: &Path, identity: &Identity) -> Result<(), Error> {
    let path = file(data_dir);
    if let Ok(before) = std::fs::read(&path) {
        let aside = data_dir.join("worker.previous.json");
        durable::replace_file(&aside, &before).map_err(Error::file(&aside))?;
    }
    let text = serde_json::to_vec_pretty(identity).expect("an identity is plain JSON");
    durable::replace_file(&path, &text).map_err(Error::file(&path))
}

/// A fresh secret: 32 random bytes as 64 hexadecimal digits.
pub(crate) fn new_secret() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Holds the data directory for this process; dropped (or killed) it is free again.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    _file: File,
}

/// The file whose lock is that of the data directory. It stays when the lock goes.
pub(crate) fn lock_file(data_dir: &Path) -> PathBuf {
    data_dir.join("worker.lock")
}

/// Makes the data directory and takes it for this process.
pub(crate) fn lock(data_dir: &Path) -> Result<DataDirLock, Error> {
    std::fs::create_dir_all(data_dir).map_err(Error::file(data_dir))?;
    let path = lock_file(data_dir);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::file(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // The holder's number only helps a person; the lock itself decides.
            let _ = file.read_to_string(&mut text);
            let holder = match text.trim() {
                "" => String::new(),
                pid => format!(" (process {pid})"),
            };
            return Err(Error::DataDirInUse {
                path: data_dir.to_path_buf(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(Error::File { path, source }),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(Error::file(&path))?;
    Ok(DataDirLock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_survives_and_the_old_one_is_kept() {
        // Protects a registration: what was stored is read back, and re-registering loses nothing.
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_none());
        let first = Identity {
            worker_id: "a".into(),
            worker_secret: new_secret(),
        };
        let second = Identity {
            worker_id: "b".into(),
            worker_secret: new_secret(),
        };
        store(dir.path(), &first).unwrap();
        store(dir.path(), &second).unwrap();
        assert_eq!(load(dir.path()).unwrap().unwrap(), second);
        assert!(dir.path().join("worker.previous.json").exists());
        assert_eq!(first.worker_secret.len(), 64);
        assert!(!format!("{first:?}").contains(&first.worker_secret));
    }

    #[test]
    fn damaged_identity_is_refused_with_advice() {
        // Protects against silently becoming a new worker when the file was cut.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("worker.json"), b"{\"worker_id\":").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("remove the file"), "{error}");
    }

    #[test]
    fn second_worker_in_the_same_directory_is_refused() {
        // Protects one outbox from two writers; the message names the holder.
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&std::process::id().to_string()),
            "the holder is missing in: {error}"
        );
        drop(held);
        lock(dir.path()).unwrap();
    }
}
