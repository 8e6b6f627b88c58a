// SPDX-License-Identifier: GPL-3.0-or-later
//! The folders in which an attempt's files are made before they get their final names.
//!
//! They lie beside the output, on the same file system, so that publishing moves no data. Each
//! is noted in the outbox before it is made; a Worker that was killed removes it at its next
//! start.

use std::io;
use std::path::{Path, PathBuf};

use crate::outbox::{Entry, Outbox, OutboxFailed, Seq};

/// Folder beside the output that holds one folder per attempt.
pub(crate) const STAGING_FOLDER: &str = ".tablao-staging";

#[derive(Debug)]
struct Folder {
    /// As Blender is told to use it.
    staged: PathBuf,
    /// The same without links, as a program may print it.
    resolved: PathBuf,
    output: PathBuf,
    note: Seq,
}

/// The staging folders of one command.
#[derive(Debug)]
pub(crate) struct Staging {
    outbox: Outbox,
    name: String,
    folders: Vec<Folder>,
}

/// A staging folder could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StagingError {
    /// The file system refuses.
    #[error("cannot make the staging folder {path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The outbox refuses.
    #[error(transparent)]
    Outbox(#[from] OutboxFailed),
}

impl Staging {
    pub(crate) fn new(outbox: Outbox, attempt: &str) -> Self {
        Self {
            outbox,
            name: folder_name(attempt),
            folders: Vec::new(),
        }
    }

    /// The staging folder for files whose final place is `output`, made if it is not there yet.
    pub(crate) async fn folder_for(&mut self, output: &Path) -> Result<PathBuf, StagingError> {
        if let Some(folder) = self.folders.iter().find(|folder| folder.output == output) {
            return Ok(folder.staged.clone());
        }
        let staged = output.join(STAGING_FOLDER).join(&self.name);
        let entry = Entry::Staging {
            dir: staged.clone(),
        };
        let note = self.outbox.put(entry).await?;
        let made = fresh_folder(&staged).and_then(|()| std::fs::canonicalize(&staged));
        let resolved = made.map_err(|source| StagingError::Io {
            path: staged.clone(),
            source,
        })?;
        self.folders.push(Folder {
            staged: staged.clone(),
            resolved,
            output: output.to_path_buf(),
            note,
        });
        Ok(staged)
    }

    /// The final place of a staged file, `None` for a file that is not in staging.
    pub(crate) fn final_path(&self, file: &Path) -> Option<PathBuf> {
        self.folders.iter().find_map(|folder| {
            let rest = file
                .strip_prefix(&folder.staged)
                .or_else(|_| file.strip_prefix(&folder.resolved))
                .ok()?;
            let plain = rest
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
            (plain && rest.file_name().is_some()).then(|| folder.output.join(rest))
        })
    }

    /// All files that are in staging now.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in &self.folders {
            collect_files(&folder.staged, &mut files);
        }
        files.sort();
        files
    }

    /// Removes what an interrupted render left, before another one begins.
    pub(crate) fn clear(&self) {
        for file in self.files() {
            // One that stays is checked before it is published, as every file is.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Removes the folders with all that was not published.
    pub(crate) fn close(self) {
        for folder in &self.folders {
            if remove(&folder.staged) {
                self.outbox.done(vec![folder.note]);
            }
        }
    }
}

/// Removes staging folders of attempts that a kill ended.
pub(crate) fn remove_left_over(outbox: &Outbox) {
    for (seq, entry) in outbox.others() {
        if let Entry::Staging { dir } = entry
            && remove(&dir)
        {
            outbox.done(vec![seq]);
        }
    }
}

/// Removes a staging folder; true when it is gone.
fn remove(dir: &Path) -> bool {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            // The note stays, so that the next start of the Worker tries again.
            tracing::warn!(dir = %dir.display(), %error, "cannot remove a staging folder");
            return false;
        }
    }
    if let Some(parent) = dir.parent() {
        // Fails while other attempts have folders in it, which is right.
        let _ = std::fs::remove_dir(parent);
    }
    true
}

/// Makes the folder anew: what an earlier command of the attempt left is no output of this one.
fn fresh_folder(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // A neighbour may remove the empty folder above between its making and ours.
    let mut tries = 0;
    loop {
        match std::fs::create_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 => tries += 1,
            other => return other,
        }
    }
}

fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect_files(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
}

/// An attempt's id as a folder name: opaque ids may hold anything, and two that differ must not
/// share a folder.
fn folder_name(attempt: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if attempt.chars().all(plain) && (1..=100).contains(&attempt.len()) {
        attempt.to_owned()
    } else {
        blake3::hash(attempt.as_bytes()).to_hex()[..32].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn staged_files_know_their_place_and_strangers_have_none() {
        // Protects output that a script wrote elsewhere from being moved.
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&dir.path().join("outbox")).unwrap();
        let mut staging = Staging::new(outbox.clone(), "a/../b");
        let output = dir.path().join("out");
        let folder = staging.folder_for(&output).await.unwrap();
        assert!(folder.starts_with(output.join(STAGING_FOLDER)));
        let place = staging.final_path(&folder.join("sub/f_0001.png"));
        assert_eq!(place, Some(output.join("sub/f_0001.png")));
        assert_eq!(staging.final_path(&output.join("f_0001.png")), None);
        assert_eq!(staging.final_path(&folder.join("../x/f.png")), None);
        assert_eq!(outbox.others().len(), 1);
        staging.close();
        assert!(outbox.others().is_empty());
        assert!(!output.join(STAGING_FOLDER).exists());
        assert!(output.exists());
    }

    #[tokio::test]
    async fn what_a_killed_worker_left_is_removed_and_nothing_else() {
        // Protects the storage from filling up, and other workers' folders from us.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let output = dir.path().join("out");
        let other = output.join(STAGING_FOLDER).join("other-worker");
        std::fs::create_dir_all(&other).unwrap();
        {
            let outbox = Outbox::open(&path).unwrap();
            let mut staging = Staging::new(outbox, "mine");
            let folder = staging.folder_for(&output).await.unwrap();
            std::fs::write(folder.join("half.png"), b"x").unwrap();
        }
        let outbox = Outbox::open(&path).unwrap();
        remove_left_over(&outbox);
        assert!(!output.join(STAGING_FOLDER).join("mine").exists());
        assert!(other.exists());
        assert!(outbox.others().is_empty());
    }
}
