// SPDX-License-Identifier: GPL-3.0-or-later
//! Small steps on a disk that the other parts share: syncing, touching, random names, taking
//! away empty folders.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::SystemTime,
};

use rand::Rng as _;

use crate::Error;

/// How often a step is tried again when somebody took its folder away because it was empty.
pub(crate) const TRIES: usize = 20;

/// Makes names in a folder durable. File systems that cannot sync a folder say so, and are
/// taken at their word: there is no other way to ask them.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    if !cfg!(unix) {
        return Ok(());
    }
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other.map_err(Error::io("sync the folder", folder)),
    }
}

/// Says that a file is in use, which keeps collections away from it. Files of another account
/// cannot be touched; then the link to it is what protects it.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    match File::options().append(true).open(path) {
        Ok(file) => match file.set_modified(SystemTime::now()) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        },
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// Letters and digits that nobody else has.
pub(crate) fn random(length: usize) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut source = rand::rng();
    (0..length)
        .map(|_| char::from(ALPHABET[source.random_range(0..ALPHABET.len())]))
        .collect()
}

/// Takes a folder away if nothing is in it, then its parents, up to `top`, which stays.
pub(crate) fn remove_empty(folder: &Path, top: &Path) {
    let mut folder = folder;
    while folder != top && folder.starts_with(top) {
        // A folder that is not empty is one that others still use, and all above it are too.
        if fs::remove_dir(folder).is_err() {
            return;
        }
        let Some(parent) = folder.parent() else {
            return;
        };
        folder = parent;
    }
}

/// Removes a folder and all below it; that it is gone already is as good.
pub(crate) fn remove_all(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::io("remove", folder)),
    }
}

/// What a file's age is reckoned from. A time that cannot be told, or lies ahead, is now.
pub(crate) fn is_older(written: io::Result<SystemTime>, than: SystemTime) -> bool {
    written.is_ok_and(|written| written < than)
}
