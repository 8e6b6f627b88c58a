// SPDX-License-Identifier: GPL-3.0-or-later
//! Frames of Flamenco's workers: what their logs say was saved, where this machine sees the file.
//!
//! Size and hash of a frame are facts, so a file that cannot be read here is no frame. Only files
//! that a studio or the job itself named the folder of are looked at: a worker's log is text from
//! outside. The disk may be a share that hangs, so few files are looked at at a time, and not for
//! long: the worker waits for the answer to its log.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};
use tablao_core::{
    JobId, ShotId, Timestamp, detail::FrameDetail, entity::FrameKey, event::frame_flags,
    request::FrameReport,
};
use tablao_pictures::{endings, thumbnail};
use tablao_projections::ReadModel;
use tokio::sync::Semaphore;

use crate::{
    api::v3::WorkerIdentity,
    clock,
    engine::Engine,
    node::{Node, SharedNode},
    saved_lines::{Saved, saved_in},
    thumbnails,
    variables::{Audience, own_platform},
};

/// Logs whose files are looked at at the same time.
const AT_ONCE: usize = 2;
/// How long a worker waits for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// A frame, and the file that it is.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) report: FrameReport,
    pub(crate) file: PathBuf,
}

/// Bounds how many files are looked at, and how many pictures are made of them.
#[derive(Debug)]
pub struct ForeignFrames {
    turns: Arc<Semaphore>,
    pictures: Semaphore,
}

impl Default for ForeignFrames {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            pictures: Semaphore::new(1),
        }
    }
}

/// The frames that the text of a Flamenco worker's log tells of.
pub(crate) async fn find(
    node: &SharedNode,
    engine: &Engine,
    worker: &WorkerIdentity,
    (job, shot): (JobId, ShotId),
    text: &str,
) -> Vec<Found> {
    let saved = saved_in(text);
    if saved.is_empty() {
        return Vec::new();
    }
    let (platform, roots) = {
        let model = engine.model();
        let facts = model.farm().workers().get(&worker.id);
        let platform = facts.map(|facts| facts.platform.clone());
        (platform.unwrap_or_default(), roots(node, &model, job))
    };
    let theirs = node.variables(Audience::Workers, &platform);
    let ours = node.variables(Audience::Workers, own_platform());
    let saved: Vec<(Saved, PathBuf)> = (saved.into_iter())
        .map(|saved| {
            let here = ours.expand(&theirs.collapse(&saved.path));
            (saved, PathBuf::from(here))
        })
        .collect();
    let Ok(turn) = Arc::clone(&node.foreign_frames.turns).try_acquire_owned() else {
        tracing::warn!(%job, frames = saved.len(), "frames of a Flamenco worker are not looked at: the disk is too slow");
        return Vec::new();
    };
    let looked = tokio::task::spawn_blocking(move || {
        // Held until the disk has answered, however long that takes.
        let _turn = turn;
        let read = (saved.into_iter()).filter_map(|(saved, file)| look(shot, saved, file, &roots));
        read.collect::<Vec<_>>()
    });
    match tokio::time::timeout(PATIENCE, looked).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(%job, "frames of a Flamenco worker are left out: the disk did not answer");
            Vec::new()
        }
    }
}

/// Folders below which frames are looked for: the shared storage, what the two-way variables
/// name, and where the job said that its output goes.
pub(crate) fn roots(node: &Node, model: &ReadModel, job: JobId) -> Vec<PathBuf> {
    let ours = node.variables(Audience::Workers, own_platform());
    let settings = (model.job(job)).map(|row| row.detail.settings.as_str());
    let settings: Map<String, Value> = settings
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let setting = |key: &str| Some(PathBuf::from(ours.expand(settings.get(key)?.as_str()?)));
    let output = setting("render_output_path").and_then(|path| Some(path.parent()?.to_owned()));
    let two_way = (ours.values.values()).filter(|(_, two_way)| *two_way);
    let named = two_way
        .map(|(value, _)| PathBuf::from(value))
        .chain([PathBuf::from(node.storage())])
        .chain(setting("render_output_root"))
        .chain(output);
    // The root of a disk would be no limit.
    named
        .filter(|root| root.is_absolute() && root.parent().is_some())
        .collect()
}

/// The frame that a file is, if it is a picture in one of these folders.
fn look(shot: ShotId, saved: Saved, file: PathBuf, roots: &[PathBuf]) -> Option<Found> {
    // Caches and films are saved, too, and are no frames.
    if !endings::names_picture(&file) {
        return None;
    }
    match measured(&file, roots) {
        Ok(Some((size, hash, rendered_at))) => {
            let report = FrameReport {
                key: FrameKey {
                    shot,
                    output: String::new(),
                    view: String::new(),
                    number: saved.number,
                },
                detail: FrameDetail {
                    name: saved.name,
                    path: saved.path,
                    ..FrameDetail::default()
                },
                size,
                hash,
                rendered_at,
                render_ms: saved.render_ms,
                samples: None,
                peak_memory_bytes: None,
                flags: frame_flags::UNFENCED,
                found: false,
            };
            Some(Found { report, file })
        }
        Ok(None) => None,
        // Where this machine does not see the storage, every frame ends here.
        Err(error) => {
            tracing::debug!(file = %file.display(), %error, "a frame of a Flamenco worker is not seen here");
            None
        }
    }
}

/// A file without links on the way to it, if it is below one of the folders.
pub(crate) fn below(file: &Path, roots: &[PathBuf]) -> std::io::Result<Option<PathBuf>> {
    let real = file.canonicalize()?;
    let is_below = |root: &PathBuf| root.canonicalize().is_ok_and(|root| real.starts_with(root));
    Ok(roots.iter().any(is_below).then_some(real))
}

/// Size, hash and moment of a file below one of the folders, with every link on the way resolved.
fn measured(file: &Path, roots: &[PathBuf]) -> std::io::Result<Option<(u64, [u8; 32], Timestamp)>> {
    let Some(real) = below(file, roots)? else {
        return Ok(None);
    };
    let open = File::open(&real)?;
    let metadata = open.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&open)?;
    let written = metadata.modified()?.duration_since(std::time::UNIX_EPOCH);
    let written = written.map_or(0, |since| since.as_micros());
    let written = Timestamp::from_micros(u64::try_from(written).unwrap_or(u64::MAX));
    let rendered_at = written.min(clock::now());
    Ok(Some((
        metadata.len(),
        *hasher.finalize().as_bytes(),
        rendered_at,
    )))
}

/// Makes thumbnails of published frames beside the farm's work.
pub(crate) fn make_thumbnails(node: &SharedNode, worker: &WorkerIdentity, found: Vec<Found>) {
    let (node, actor, asker) = (Arc::clone(node), worker.actor(), worker.asker());
    tokio::spawn(async move {
        for Found { report, file } in found {
            let (key, name) = (report.key, report.detail.name);
            // One at a time: the Manager has other work, and a large frame takes memory.
            let Ok(_turn) = node.foreign_frames.pictures.acquire().await else {
                return;
            };
            let made = tokio::task::spawn_blocking(move || thumbnail::make(&file, false)).await;
            let picture = match made {
                Ok(Ok((picture, _))) => picture,
                Ok(Err(error)) => {
                    tracing::debug!(name, %error, "no thumbnail of a frame");
                    continue;
                }
                Err(_) => continue,
            };
            let file = format!("{name}_thumbnail.{}", picture.extension());
            let Some(engine) = node.site.as_ref().filter(|_| thumbnails::is_name(&file)) else {
                continue;
            };
            let by = (actor, asker.clone());
            if thumbnails::store(&node, engine, (key, file), picture.data, by)
                .await
                .is_err()
            {
                return;
            }
        }
    });
}
