// SPDX-License-Identifier: GPL-3.0-or-later
//! Small videos of shots, made with FFmpeg out of their thumbnails when somebody asks.
//!
//! A video is named by what is in it (numbers, content of the thumbnails, frame rate), so one that
//! is there is never made again and a frame that changes leads to another. One is made at a time,
//! and few may wait. The files can be deleted at any time.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use image::{RgbImage, imageops};
use tablao_core::ShotId;
use tokio::{io::AsyncWriteExt as _, sync::Semaphore};

use crate::node::Node;

/// Who may wait for the one that is being made.
const WAITING_MAX: usize = 4;
/// FFmpeg takes a second or two for a thousand thumbnails; one that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Videos of a shot that are kept: the newest ones.
const KEPT: usize = 3;
/// Thumbnails decoded at a time.
const BUNDLE: usize = 32;
/// Rises when a video of the same frames would be another file.
const MAKING_VERSION: u8 = 1;

/// Bounds how many videos are made.
#[derive(Debug)]
pub struct ShotVideos {
    turn: Semaphore,
    places: Semaphore,
}

impl Default for ShotVideos {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            places: Semaphore::new(WAITING_MAX),
        }
    }
}

/// Why there is no video.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No thumbnail can be read.
    #[error("none of the shot's frames has a thumbnail yet")]
    NoPictures,
    /// The machine has no FFmpeg.
    #[error("`{0}` is not there")]
    NoFfmpeg(String),
    /// Others wait already.
    #[error("other videos are being made")]
    Busy,
    /// FFmpeg did not do it.
    #[error("make a video with FFmpeg: {0}")]
    Failed(String),
    /// A file cannot be written or read.
    #[error("make a video: {0}")]
    Io(#[from] io::Error),
}

/// A picture of the video: the frame's number, its thumbnail's file and the hash of that.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Frame number.
    pub number: i32,
    /// The thumbnail.
    pub file: PathBuf,
    /// BLAKE3 of it.
    pub hash: [u8; 32],
}

/// Where the videos of a shot are.
pub fn folder_of(node: &Node, shot: ShotId) -> PathBuf {
    node.data.path("videos").join(shot.to_string())
}

/// The video of these pictures, made if it is not there yet.
pub async fn video(
    node: &Node,
    shot: ShotId,
    fps: u32,
    pictures: Vec<Picture>,
) -> Result<PathBuf, Error> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[MAKING_VERSION]);
    hasher.update(&fps.to_le_bytes());
    for picture in &pictures {
        hasher.update(&picture.number.to_le_bytes());
        hasher.update(&picture.hash);
    }
    let name = hasher.finalize().to_hex();
    let folder = folder_of(node, shot);
    let place = folder.join(format!("{}.mp4", &name[..32]));
    if place.is_file() {
        return Ok(place);
    }
    let _place = node.videos.places.try_acquire().map_err(|_| Error::Busy)?;
    let Ok(_turn) = node.videos.turn.acquire().await else {
        return Err(Error::Busy);
    };
    // Whoever had the turn before may have made this one.
    if place.is_file() {
        return Ok(place);
    }
    tokio::fs::create_dir_all(&folder).await?;
    let half = place.with_extension("part.mp4");
    let made = tokio::time::timeout(PATIENCE, make(&ffmpeg(node), fps, pictures, &half)).await;
    let made = made.unwrap_or_else(|_| Err(Error::Failed("it took too long".to_owned())));
    if let Err(error) = made {
        let _ = tokio::fs::remove_file(&half).await;
        return Err(error);
    }
    tokio::fs::rename(&half, &place).await?;
    let keep = place.clone();
    // What cannot be removed is in nobody's way.
    let _ = tokio::task::spawn_blocking(move || forget_old(&folder, &keep)).await;
    Ok(place)
}

/// The FFmpeg that this studio's variables name, or the one that is on the path.
fn ffmpeg(node: &Node) -> String {
    use crate::variables::{Audience, own_platform};
    let named = node
        .variables(Audience::Workers, own_platform())
        .expand("{ffmpeg}");
    if named.contains('{') {
        "ffmpeg".to_owned()
    } else {
        named
    }
}

async fn make(program: &str, fps: u32, pictures: Vec<Picture>, place: &Path) -> Result<(), Error> {
    let mut pictures = pictures.into_iter();
    // The first that can be read gives the size; all others are brought to it.
    let first = loop {
        let picture = pictures.next().ok_or(Error::NoPictures)?;
        if let Some(first) = decoded(vec![picture], None).await?.pop() {
            break first;
        }
    };
    // Half of the colour planes' size must be whole.
    let size = ((first.width() + 1) & !1, (first.height() + 1) & !1);
    let mut command = tokio::process::Command::new(program);
    command
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s"])
        .arg(format!("{}x{}", size.0, size.1))
        .args(["-r", &fps.to_string(), "-i", "pipe:0"])
        .args([
            "-an", "-c:v", "libx264", "-crf", "20", "-preset", "veryfast",
        ])
        .args(["-pix_fmt", "yuv420p", "-movflags", "+faststart"])
        .arg(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoFfmpeg(program.to_owned()),
        _ => Error::Io(error),
    })?;
    let mut input = child
        .stdin
        .take()
        .expect("its input was asked to be a pipe");
    let feed = async {
        input.write_all(&fitted(first, size)).await?;
        let mut left = pictures.peekable();
        while left.peek().is_some() {
            let bundle: Vec<Picture> = left.by_ref().take(BUNDLE).collect();
            for picture in decoded(bundle, Some(size)).await? {
                input.write_all(&picture.into_raw()).await?;
            }
        }
        input.shutdown().await?;
        drop(input);
        Ok::<_, Error>(())
    };
    let (fed, ended) = tokio::join!(feed, child.wait_with_output());
    let ended = ended?;
    if !ended.status.success() {
        let words = String::from_utf8_lossy(&ended.stderr);
        return Err(Error::Failed(words.trim().chars().take(500).collect()));
    }
    fed
}

/// Decodes thumbnails; one that cannot be read is left out.
async fn decoded(pictures: Vec<Picture>, size: Option<(u32, u32)>) -> Result<Vec<RgbImage>, Error> {
    let work = move || {
        let read = pictures.into_iter().filter_map(|picture| {
            let bytes = std::fs::read(&picture.file).ok()?;
            let picture = image::load_from_memory(&bytes).ok()?;
            let seen = on_black(&picture.to_rgba8());
            Some(match size {
                Some(size) => fit(seen, size),
                None => seen,
            })
        });
        read.collect()
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Failed("a thumbnail cannot be decoded".to_owned()))
}

/// A film knows no transparency.
fn on_black(picture: &image::RgbaImage) -> RgbImage {
    let mut result = RgbImage::new(picture.width(), picture.height());
    for (target, source) in result.pixels_mut().zip(picture.pixels()) {
        let [red, green, blue, alpha] = source.0;
        target.0 = [red, green, blue].map(|value| {
            let product = u32::from(value) * u32::from(alpha) / 255;
            u8::try_from(product).expect("a share of a byte is a byte")
        });
    }
    result
}

fn fitted(picture: RgbImage, size: (u32, u32)) -> Vec<u8> {
    fit(picture, size).into_raw()
}

/// Brings a picture to a size: centred on black, made smaller where it has to be.
fn fit(picture: RgbImage, (width, height): (u32, u32)) -> RgbImage {
    if picture.dimensions() == (width, height) {
        return picture;
    }
    let picture = if picture.width() > width || picture.height() > height {
        image::DynamicImage::from(picture)
            .thumbnail(width, height)
            .into_rgb8()
    } else {
        picture
    };
    let mut result = RgbImage::new(width, height);
    let left = i64::from((width - picture.width()) / 2);
    let top = i64::from((height - picture.height()) / 2);
    imageops::overlay(&mut result, &picture, left, top);
    result
}

/// Removes all but the newest videos of a shot.
fn forget_old(folder: &Path, keep: &Path) -> io::Result<()> {
    let mut videos = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path != keep {
            videos.push((path.metadata()?.modified()?, path));
        }
    }
    videos.sort();
    let too_many = (videos.len() + 1).saturating_sub(KEPT);
    for (_, path) in videos.into_iter().take(too_many) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn pictures_of_any_size_fit_the_film() {
        // Protects the film from one odd thumbnail: every picture has the same number of bytes.
        for (width, height) in [(320, 180), (16, 16), (400, 100), (1, 300)] {
            let picture = RgbImage::from_pixel(width, height, Rgb([9, 9, 9]));
            let fitted = fit(picture, (320, 180));
            assert_eq!(fitted.dimensions(), (320, 180));
            assert_eq!(fitted.get_pixel(159, 89).0, [9, 9, 9]);
        }
    }

    #[test]
    fn the_newest_videos_are_kept() {
        // Protects the disk of a Manager whose shots are watched while they render.
        let dir = tempfile::tempdir().unwrap();
        for n in 0..6 {
            std::fs::write(dir.path().join(format!("{n}.mp4")), b"x").unwrap();
        }
        let keep = dir.path().join("0.mp4");
        forget_old(dir.path(), &keep).unwrap();
        assert!(keep.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), KEPT);
    }
}
