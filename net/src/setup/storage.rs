// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether a folder can be the shared storage of this Manager. Nothing is left behind in it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

/// What came of looking at a folder, in the shape of Flamenco's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCheck {
    /// The path that was looked at.
    pub path: String,
    /// It can be used.
    pub is_usable: bool,
    /// Why, or why not.
    pub cause: String,
}

/// Looks at a folder as this Manager's shared storage. May take as long as its file system does.
pub fn check_storage(path: &str, data: &Path) -> PathCheck {
    let (is_usable, cause) = match look(path, data) {
        Ok(cause) => (true, cause),
        Err(cause) => (false, cause),
    };
    PathCheck {
        path: path.to_owned(),
        is_usable,
        cause,
    }
}

fn look(path: &str, data: &Path) -> Result<String, String> {
    if path.trim().is_empty() {
        return Err("no folder is given".to_owned());
    }
    if path.starts_with("\\\\") {
        return Err(
            "a path that begins with \\\\ names a server: give the share a drive letter or a \
             mount point, and name that"
                .to_owned(),
        );
    }
    if path.contains(|c: char| c.is_control()) {
        return Err("the path has a control character".to_owned());
    }
    let folder = Path::new(path);
    let known = fs::metadata(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such folder: make it, or mount the share, and look again".to_owned()
        }
        _ => format!("it cannot be looked at: {error}"),
    })?;
    if !known.is_dir() {
        return Err("this is a file, not a folder".to_owned());
    }
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (folder_real, data_real) = (real(folder), real(data));
    // The folder for trying things out on one machine is inside, and is not meant to be shared.
    if folder_real == data_real || folder_real.starts_with(&data_real) {
        return Err(
            "this is the data directory of the Manager: Workers and artists must not write there"
                .to_owned(),
        );
    }
    let probe = tempfile::Builder::new()
        .prefix(".tablao-check-")
        .tempfile_in(folder)
        .map_err(|error| format!("this Manager cannot write there: {error}"))?;
    let tried = fs::write(probe.path(), b"Tablao looks whether it can write here.\n");
    let removed = probe.close();
    tried.map_err(|error| format!("this Manager cannot write there: {error}"))?;
    removed.map_err(|error| format!("a file that was made there cannot be removed: {error}"))?;
    Ok("the folder is there and this Manager can write to it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each reason for which a farm could not work is told before anything is saved.
    #[test]
    fn each_unfit_folder_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let share = folder.path().join("share");
        fs::create_dir_all(data.join("logs")).unwrap();
        fs::create_dir(&share).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let told = |path: &Path| check_storage(path.to_str().unwrap(), &data);
        for (path, words) in [
            (Path::new(""), "no folder"),
            (Path::new("  "), "no folder"),
            (Path::new("\\\\SERVER\\share"), "drive letter"),
            (&folder.path().join("none"), "no such folder"),
            (&file, "not a folder"),
            (&data, "data directory"),
            (&data.join("logs"), "data directory"),
            (&share.join("..").join("data"), "data directory"),
        ] {
            let found = told(path);
            assert!(!found.is_usable && found.cause.contains(words), "{found:?}");
        }
        // No user, whatever its rights, makes files there.
        if cfg!(target_os = "linux") {
            let found = told(Path::new("/proc"));
            assert!(
                !found.is_usable && found.cause.contains("cannot write"),
                "{found:?}"
            );
        }
        assert!(told(&share).is_usable);
        assert_eq!(
            fs::read_dir(&share).unwrap().count(),
            0,
            "nothing is left behind"
        );
    }
}
