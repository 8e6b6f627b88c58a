// SPDX-License-Identifier: GPL-3.0-or-later
//! Frames that are rendered anew: the file that was found to be bad makes way, and is kept.
//!
//! A file makes way only while its content is what the Manager said it is: one that somebody
//! else has published since keeps its name, as every published file does.

use std::io;
use std::path::{Path, PathBuf};

use super::publish;
use crate::durable;
use crate::wire::Assignment;

/// Folder beside the frames for files that made way. Its name begins with a dot, so that nobody
/// who takes all pictures of a folder takes these.
pub(crate) const SET_ASIDE_FOLDER: &str = ".tablao-replaced";

/// The content that has to make way for a frame, if any has.
pub(crate) fn hash_of(assignment: &Assignment, frame: i64) -> Option<String> {
    let mut frames = assignment.rerender.iter();
    frames
        .find(|wanted| wanted.number == frame)
        .and_then(|wanted| wanted.hash.clone())
}

/// A file of this content makes way for the frame.
pub(crate) fn makes_way(assignment: &Assignment, frame: i64, hash: &str) -> bool {
    hash_of(assignment, frame).as_deref() == Some(hash)
}

/// Moves a file out of the way if its content is still this one. Gives where it is now.
pub(crate) fn set_aside(place: &Path, hash: &str) -> io::Result<Option<PathBuf>> {
    match publish::content(place) {
        Ok(content) if content.hash == hash => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let Some(name) = place.file_name().map(Path::new) else {
        return Ok(None);
    };
    let folder = place.with_file_name(SET_ASIDE_FOLDER);
    std::fs::create_dir_all(&folder)?;
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    let short = hash.get(..12).unwrap_or(hash);
    // The same content may have to make way twice: a name that is taken gets a number.
    for turn in 1..=u32::MAX {
        let mut kept = match turn {
            1 => format!("{stem}.{short}"),
            _ => format!("{stem}.{short}.{turn}"),
        };
        if let Some(ending) = name.extension() {
            kept.push('.');
            kept.push_str(&ending.to_string_lossy());
        }
        let kept = folder.join(kept);
        if kept.symlink_metadata().is_ok() {
            continue;
        }
        std::fs::rename(place, &kept)?;
        durable::sync_parent(&kept)?;
        durable::sync_parent(place)?;
        return Ok(Some(kept));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bad_file_makes_way_and_it_is_kept() {
        // Protects a good frame from a late worker, and bad ones from being lost.
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("f_0001.png");
        let bad = blake3::hash(b"bad").to_hex().to_string();
        assert_eq!(set_aside(&place, &bad).unwrap(), None, "there is none");
        std::fs::write(&place, b"good").unwrap();
        assert_eq!(set_aside(&place, &bad).unwrap(), None);
        assert_eq!(std::fs::read(&place).unwrap(), b"good");
        let mut kept = Vec::new();
        for _ in 0..2 {
            std::fs::write(&place, b"bad").unwrap();
            kept.push(set_aside(&place, &bad).unwrap().expect("it makes way"));
            assert!(!place.exists());
        }
        assert_ne!(kept[0], kept[1]);
        for kept in kept {
            assert_eq!(std::fs::read(&kept).unwrap(), b"bad");
            assert_eq!(kept.extension().unwrap(), "png");
            assert!(kept.starts_with(dir.path().join(SET_ASIDE_FOLDER)));
        }
    }
}
