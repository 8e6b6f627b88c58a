// SPDX-License-Identifier: GPL-3.0-or-later
//! The content hash of the blend file that frames are rendered from, once per state of the file.
//!
//! It is worked out beside the render, so that no frame waits for it but the first of a large
//! file; a file of the same size and time of change is not read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::task::JoinHandle;

/// Files that are remembered: a Worker renders few at a time.
const KNOWN_MAX: usize = 64;

/// What tells one state of a file from another without reading it.
type State = (u64, Option<SystemTime>);

static KNOWN: Mutex<BTreeMap<PathBuf, (State, String)>> = Mutex::new(BTreeMap::new());

/// The hash of a blend file, known or being worked out.
#[derive(Debug)]
pub(crate) struct BlendHash {
    running: Option<JoinHandle<Option<String>>>,
    hash: Option<String>,
}

impl BlendHash {
    /// Begins to work it out; no file has no hash.
    pub(crate) fn begin(blendfile: &str) -> Self {
        let file = PathBuf::from(blendfile);
        let read = (!blendfile.is_empty()).then_some(move || hash_of(&file));
        Self {
            running: read.map(tokio::task::spawn_blocking),
            hash: None,
        }
    }

    /// The hash in hexadecimal digits; nothing when the file cannot be read.
    pub(crate) async fn get(&mut self) -> Option<String> {
        if let Some(running) = self.running.take() {
            self.hash = running.await.ok().flatten();
        }
        self.hash.clone()
    }
}

fn hash_of(file: &Path) -> Option<String> {
    let metadata = file.metadata().ok()?;
    let state = (metadata.len(), metadata.modified().ok());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((then, hash)) = known().get(file)
        && *then == state
    {
        return Some(hash.clone());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(file).ok()?).ok()?;
    let hash = hasher.finalize().to_hex().to_string();
    let mut known = known();
    if known.len() >= KNOWN_MAX {
        known.pop_first();
    }
    known.insert(file.to_path_buf(), (state, hash.clone()));
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_changed_file_has_another_hash() {
        // Protects the answer to "which scene is this frame of": a saved scene is another one.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.blend");
        let now = async || BlendHash::begin(file.to_str().unwrap()).get().await;
        assert_eq!(now().await, None);
        std::fs::write(&file, b"one").unwrap();
        let one = now().await;
        assert_eq!(one.as_deref(), Some(&*blake3::hash(b"one").to_hex()));
        assert_eq!(now().await, one);
        std::fs::write(&file, b"another").unwrap();
        assert_eq!(
            now().await.as_deref(),
            Some(&*blake3::hash(b"another").to_hex())
        );
        assert_eq!(BlendHash::begin("").get().await, None);
    }
}
