// SPDX-License-Identifier: GPL-3.0-or-later
//! The Manager that this Worker worked for last: `manager.json` in its data directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, durable};

#[derive(Serialize, Deserialize)]
struct Known {
    url: String,
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("manager.json")
}

/// The address, if there is one. A file that cannot be read only costs a search.
pub(super) fn load(data_dir: &Path) -> Option<String> {
    let path = file(data_dir);
    let text = std::fs::read(&path).ok()?;
    match serde_json::from_slice::<Known>(&text) {
        Ok(known) => Some(known.url),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "the last Manager's address is not read");
            None
        }
    }
}

/// Keeps the address.
pub(super) fn store(data_dir: &Path, url: &str) -> Result<(), Error> {
    if load(data_dir).as_deref() == Some(url) {
        return Ok(());
    }
    std::fs::create_dir_all(data_dir).map_err(Error::file(data_dir))?;
    let path = file(data_dir);
    let known = Known {
        url: url.to_owned(),
    };
    let text = serde_json::to_vec_pretty(&known).expect("an address is plain JSON");
    durable::replace_file(&path, &text).map_err(Error::file(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Worker that found its Manager once goes there again; a damaged note is no reason to stop.
    #[test]
    fn the_last_manager_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new");
        assert_eq!(load(&data), None);
        store(&data, "http://farm:8080").unwrap();
        store(&data, "http://farm:8081").unwrap();
        assert_eq!(load(&data).as_deref(), Some("http://farm:8081"));
        std::fs::write(file(&data), b"{").unwrap();
        assert_eq!(load(&data), None);
    }
}
