// SPDX-License-Identifier: GPL-3.0-or-later
//! Segments of a journal folder that lie in another one, on a slower or larger disk.
//!
//! The folder names that place in a small file, `cold.path`; `RealFiles` reads segments from
//! there that are not in the folder itself. Nothing but `move_cold` writes there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::RealFiles;
use super::real::sync_folder;
use crate::error::{Doing, Error};
use crate::folder::linked_segments;
use crate::mark::write_whole;

/// Names the folder where cold segments are; UTF-8, without a line's end.
pub(super) const COLD_PATH: &str = "cold.path";

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MovedCold {
    /// How many segments.
    pub segments: usize,
    /// Their size.
    pub bytes: u64,
}

/// The folder of cold segments, if the journal's folder names one.
pub(super) fn cold_folder(folder: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(folder.join(COLD_PATH)).ok()?;
    Some(PathBuf::from(text.trim_end()))
}

/// Moves every segment that another one follows into `to`. Each is there, durable, before it is
/// taken away here, and the folder says where before that. Nobody may have the journal open.
pub fn move_cold(folder: &Path, to: &Path) -> Result<MovedCold, Error> {
    let files = RealFiles::existing(folder);
    let known = cold_folder(folder);
    if known.as_deref().is_some_and(|known| known != to) {
        let other = io::Error::new(
            io::ErrorKind::AlreadyExists,
            "its cold segments are in another folder already; one journal has one such folder",
        );
        return Err(other).doing("move segments of", &folder.display().to_string());
    }
    // Headers and seals have to fit together before anything is moved.
    let segments = linked_segments(&files)?;
    let text = to.to_str().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the folder's name is not UTF-8",
        )
    });
    let text = text.doing("name", &to.display().to_string())?;
    let target = RealFiles::create(to).doing("make", text)?;
    if known.is_none() {
        write_whole(&files, COLD_PATH, text.as_bytes())?;
    }
    let mut moved = MovedCold::default();
    for segment in segments.iter().rev().skip(1).rev() {
        let (from, there) = (folder.join(&segment.name), to.join(&segment.name));
        if !from.is_file() {
            continue;
        }
        let unfinished = to.join(format!("{}.new", segment.name));
        moved.bytes += fs::copy(&from, &unfinished).doing("copy", &segment.name)?;
        File::options()
            .write(true)
            .open(&unfinished)
            .and_then(|file| file.sync_all())
            .doing("sync", &segment.name)?;
        fs::rename(&unfinished, &there).doing("rename", &segment.name)?;
        sync_folder(target.folder()).doing("sync the folder of", &segment.name)?;
        fs::remove_file(&from).doing("remove", &segment.name)?;
        moved.segments += 1;
    }
    sync_folder(folder).doing("sync the folder of", COLD_PATH)?;
    Ok(moved)
}
