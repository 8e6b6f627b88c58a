// SPDX-License-Identifier: GPL-3.0-or-later
//! What the demo promises, looked at on the disk: every frame decodes, the video has as many
//! frames, every frame has its thumbnail.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

/// Every frame is there, decodes, and has this size.
pub(super) fn frames(
    folder: &Path,
    numbers: std::ops::RangeInclusive<u32>,
    size: (u32, u32),
) -> anyhow::Result<usize> {
    let mut found = 0;
    for number in numbers {
        let path = folder.join(format!("{number:06}.png"));
        let picture = image::open(&path).with_context(|| {
            format!(
                "frame {number} is not what it should be: {}",
                path.display()
            )
        })?;
        let is = (picture.width(), picture.height());
        ensure!(
            is == size,
            "frame {number} ({}) has {} x {} pixels, not {} x {}",
            path.display(),
            is.0,
            is.1,
            size.0,
            size.1
        );
        found += 1;
    }
    Ok(found)
}

/// The video beside the frames, with as many frames.
pub(super) fn video(ffprobe: &Path, folder: &Path, frames: usize) -> anyhow::Result<PathBuf> {
    let video = files(folder)?
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "mp4"))
        .with_context(|| format!("there is no video in {}", folder.display()))?;
    let counted = Command::new(ffprobe)
        .args(["-v", "error", "-select_streams", "v:0", "-count_frames"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(&video)
        .stdin(Stdio::null())
        .output()
        .context("run ffprobe")?;
    let text = String::from_utf8_lossy(&counted.stdout);
    let count = text.trim().trim_end_matches(',').parse::<usize>().ok();
    ensure!(
        count == Some(frames),
        "the video {} should have {frames} frames; ffprobe counts {:?} {}",
        video.display(),
        text.trim(),
        String::from_utf8_lossy(&counted.stderr).trim()
    );
    Ok(video)
}

/// How many thumbnails a shot has.
pub(super) fn thumbnails(folder: &Path) -> usize {
    let named = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| {
            name.ends_with("_thumbnail.jpg") || name.ends_with("_thumbnail.png")
        })
    };
    files(folder).map_or(0, |files| files.iter().filter(|path| named(path)).count())
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}
