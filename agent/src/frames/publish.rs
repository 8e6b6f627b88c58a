// SPDX-License-Identifier: GPL-3.0-or-later
//! Gives a finished staged file its final name, exactly once.
//!
//! Order matters: the file is synced, checked and hashed; the intent is made durable; the name is
//! linked without overwriting; the directory is synced; only then is the frame reported. A kill
//! between any two steps leaves what `settle` can tell apart.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tablao_pictures::whole::{self, Broken};

use super::staging::STAGING_FOLDER;
use crate::durable;

/// What is known of a file's content once it is safely on disk.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    pub(crate) size: u64,
    /// BLAKE3, hexadecimal.
    pub(crate) hash: String,
    /// Device and inode, where the platform has them.
    pub(crate) inode: Option<(u64, u64)>,
    /// When it was last written, RFC 3339.
    pub(crate) written_at: String,
}

/// Syncs a finished file, checks that it is whole, and hashes it.
pub(crate) fn seal(path: &Path) -> Result<Content, Broken> {
    // Windows flushes only through a handle that may write.
    let file = File::options().read(true).write(cfg!(windows)).open(path)?;
    file.sync_all()?;
    whole::check(path)?;
    Ok(content(path)?)
}

/// Hashes a file as it is.
pub(crate) fn content(path: &Path) -> io::Result<Content> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&file)?;
    let written_at = metadata
        .modified()
        .ok()
        .and_then(|time| jiff::Timestamp::try_from(time).ok())
        .unwrap_or_else(jiff::Timestamp::now);
    Ok(Content {
        size: metadata.len(),
        hash: hasher.finalize().to_hex().to_string(),
        inode: inode(&metadata),
        written_at: written_at.to_string(),
    })
}

#[cfg(unix)]
pub(crate) fn inode(metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(crate) fn inode(_metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// What giving the name came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Named {
    /// The staged file has its final name now.
    Published {
        /// How, when not by the usual hard link; for the log.
        note: Option<String>,
    },
    /// The name was taken; the file that has it stays.
    Taken,
}

/// Gives `staged` the name `place`. With `overwrite` a file there is replaced, else it stays.
pub(crate) fn give_name(staged: &Path, place: &Path, overwrite: bool) -> io::Result<Named> {
    if overwrite {
        std::fs::rename(staged, place)?;
        durable::sync_parent(place)?;
        return Ok(Named::Published { note: None });
    }
    let note = match std::fs::hard_link(staged, place) {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Named::Taken),
        Err(error) if is_unsupported(&error) => {
            if !rename_if_free(staged, place)? {
                return Ok(Named::Taken);
            }
            durable::sync_parent(place)?;
            return Ok(Named::Published {
                note: Some(format!(
                    "tablao: the file system has no hard links here ({error}); the frame was renamed to its place instead"
                )),
            });
        }
        Err(error) => return Err(error),
    };
    durable::sync_parent(place)?;
    // From here the frame is published; a staged name that stays is removed with its folder.
    let _ = std::fs::remove_file(staged);
    Ok(Named::Published { note })
}

/// Whether an error says that there are no hard links, and not that this one went wrong.
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use nix::errno::Errno;
        let known = [
            Errno::EPERM,
            Errno::EOPNOTSUPP,
            Errno::ENOSYS,
            Errno::EMLINK,
            Errno::EINVAL,
        ];
        error
            .raw_os_error()
            .is_some_and(|code| known.contains(&Errno::from_raw(code)))
    }
    #[cfg(not(unix))]
    {
        // FAT volumes and some shares answer with one of these two.
        error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(1)
    }
}

/// Renames without overwriting; false when the name is taken.
fn rename_if_free(staged: &Path, place: &Path) -> io::Result<bool> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        match renameat2(
            AT_FDCWD,
            staged,
            AT_FDCWD,
            place,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => return Ok(true),
            Err(nix::errno::Errno::EEXIST) => return Ok(false),
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rename_with_claim(staged, place)
}

/// The last resort: workers agree by a claim file beside the staging folders, which only one of
/// them can create, and look before they rename.
fn rename_with_claim(staged: &Path, place: &Path) -> io::Result<bool> {
    let claim = claim_path(place);
    if let Some(folder) = claim.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::create_new(&claim)?;
    let result = match place.symlink_metadata() {
        Ok(_) => Ok(false),
        Err(_) => std::fs::rename(staged, place).map(|()| true),
    };
    let removed = std::fs::remove_file(&claim);
    let done = result?;
    removed.map(|()| done)
}

fn claim_path(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_os_string();
    name.push(".claim");
    place.with_file_name(STAGING_FOLDER).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(dir: &Path, content: &[u8]) -> (PathBuf, PathBuf) {
        let staged = dir.join("staged.bin");
        std::fs::write(&staged, content).unwrap();
        (staged, dir.join("final.bin"))
    }

    #[test]
    fn a_name_is_given_once_by_every_means() {
        // Protects a published frame: neither link, rename nor claim ever replaces it.
        type Means = fn(&Path, &Path) -> bool;
        let link: Means = |staged, place| {
            let named = give_name(staged, place, false).unwrap();
            matches!(named, Named::Published { note: None })
        };
        let rename: Means = |staged, place| rename_if_free(staged, place).unwrap();
        let claim: Means = |staged, place| rename_with_claim(staged, place).unwrap();
        for means in [link, rename, claim] {
            let dir = tempfile::tempdir().unwrap();
            let (file, place) = staged(dir.path(), b"first");
            let before = content(&file).unwrap();
            assert!(means(&file, &place));
            assert!(!file.exists());
            assert_eq!(content(&place).unwrap(), before);
            let (file, place) = staged(dir.path(), b"second");
            assert!(!means(&file, &place));
            assert_eq!(content(&place).unwrap().inode, before.inode);
            assert!(file.exists(), "a refused file stays in staging");
        }
    }

    #[test]
    fn a_job_that_allows_it_replaces_the_file() {
        // Protects re-rendering on purpose: the new content is there, whole.
        let dir = tempfile::tempdir().unwrap();
        let (file, place) = staged(dir.path(), b"new");
        std::fs::write(&place, b"old").unwrap();
        give_name(&file, &place, true).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"new");
    }

    #[test]
    fn a_claim_held_by_another_stops_the_rename() {
        // Protects file systems without links from two workers renaming at the same moment.
        let dir = tempfile::tempdir().unwrap();
        let (file, place) = staged(dir.path(), b"x");
        std::fs::create_dir(dir.path().join(STAGING_FOLDER)).unwrap();
        std::fs::write(claim_path(&place), b"").unwrap();
        assert!(rename_with_claim(&file, &place).is_err());
        assert!(!place.exists());
    }
}
