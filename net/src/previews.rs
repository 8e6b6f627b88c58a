// SPDX-License-Identifier: GPL-3.0-or-later
//! Last-rendered previews: the newest picture of a job in three sizes, as Flamenco shows it.
//!
//! Uploads are queued, made smaller off the request, and written under their final name by
//! rename, so that a browser never sees half a picture.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use image::{ImageFormat, imageops::FilterType};
use tablao_core::JobId;
use tokio::sync::broadcast;

use crate::deletion::gone;

/// Largest picture a worker may send, in bytes.
pub const UPLOAD_BYTES_MAX: usize = 25 << 20;
/// Pictures that may wait; one more is being worked on.
const WAITING_MAX: usize = 3;
/// Pictures that somebody who is told of each may be behind.
const TOLD_MAX: usize = 64;
/// File name, width and height of each size; each is made from the one before.
pub const SIZES: [(&str, u32, u32); 3] = [
    ("last-rendered.jpg", 1920, 1080),
    ("last-rendered-small.jpg", 600, 338),
    ("last-rendered-tiny.jpg", 200, 112),
];

/// The folder of all previews.
#[derive(Clone, Debug)]
pub struct Previews {
    folder: PathBuf,
    queue: Arc<Mutex<Queue>>,
    newest: Arc<Mutex<Option<JobId>>>,
    /// Jobs whose picture was written.
    written: broadcast::Sender<JobId>,
}

/// Pictures that wait, in the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(JobId, Vec<u8>)>,
    /// One is being worked on.
    is_busy: bool,
}

/// There are too many pictures waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

impl Previews {
    /// Previews below this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder: PathBuf = folder.into();
        let newest = newest_in(&folder);
        Self {
            folder,
            queue: Arc::default(),
            newest: Arc::new(Mutex::new(newest)),
            written: broadcast::Sender::new(TOLD_MAX),
        }
    }

    /// Folder of a job, relative to the folder of all previews.
    pub fn relative(job: JobId) -> String {
        let job = job.to_string();
        format!("job-{}/{job}", &job[..4])
    }

    /// The folder of all previews.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The job has a preview.
    pub fn has(&self, job: JobId) -> bool {
        self.folder
            .join(Self::relative(job))
            .join(SIZES[2].0)
            .exists()
    }

    /// Removes the previews of a job.
    pub fn erase(&self, job: JobId) -> io::Result<()> {
        let folder = self.folder.join(Self::relative(job));
        gone(fs::remove_dir_all(&folder))?;
        if let Some(shared) = folder.parent() {
            // Other jobs with the same first letters keep it.
            let _ = fs::remove_dir(shared);
        }
        Ok(())
    }

    /// The job whose picture came last.
    pub fn newest(&self) -> Option<JobId> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of each job whose picture was written, from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<JobId> {
        self.written.subscribe()
    }

    /// Takes a picture in; it is worked on in the background, one at a time.
    pub fn take(&self, job: JobId, bytes: Vec<u8>) -> Result<(), QueueFull> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.len() >= WAITING_MAX {
            return Err(QueueFull);
        }
        queue.waiting.push_back((job, bytes));
        if !std::mem::replace(&mut queue.is_busy, true) {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.work_off());
        }
        Ok(())
    }

    fn next(&self) -> Option<(JobId, Vec<u8>)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let next = queue.waiting.pop_front();
        queue.is_busy = next.is_some();
        next
    }

    fn work_off(&self) {
        while let Some((job, bytes)) = self.next() {
            match self.write(job, &bytes) {
                Ok(()) => {
                    *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
                    // That nobody listens is no error.
                    let _ = self.written.send(job);
                }
                Err(error) => tracing::warn!(%job, %error, "make a preview"),
            }
        }
    }

    fn write(&self, job: JobId, bytes: &[u8]) -> io::Result<()> {
        let mut picture = image::load_from_memory(bytes).map_err(io::Error::other)?;
        let folder = self.folder.join(Self::relative(job));
        fs::create_dir_all(&folder)?;
        for (name, width, height) in SIZES {
            if picture.width() > width || picture.height() > height {
                picture = picture.resize(width, height, FilterType::Lanczos3);
            }
            let temporary = folder.join(format!("{name}.part"));
            picture
                .to_rgb8()
                .save_with_format(&temporary, ImageFormat::Jpeg)
                .map_err(io::Error::other)?;
            fs::rename(&temporary, folder.join(name))?;
        }
        Ok(())
    }
}

/// The job whose preview was written last, found at start.
fn newest_in(folder: &Path) -> Option<JobId> {
    let jobs = fs::read_dir(folder)
        .ok()?
        .flatten()
        .flat_map(|prefix| fs::read_dir(prefix.path()).into_iter().flatten().flatten());
    jobs.filter_map(|job| {
        let written = fs::metadata(job.path().join(SIZES[2].0))
            .ok()?
            .modified()
            .ok()?;
        Some((written, job.file_name().to_str()?.parse().ok()?))
    })
    .max_by_key(|(written, _)| *written)
    .map(|(_, job)| job)
}
