// SPDX-License-Identifier: GPL-3.0-or-later
//! The end of jobs that are marked for deletion: their files go, then they themselves.
//!
//! A mark can be taken back until then. Files go first, because nobody would know of them any
//! more; whatever stops half-way is done again, since what is gone already is no error. Marking
//! and restoring are the core's; what a checkout is, and whether it may go, is `shaman.rs`.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use tablao_core::{JobId, Refusal, Request, ShotId, Timestamp};
use tokio::sync::{Mutex, Notify};

use crate::{
    clock,
    engine::{Ask, Engine, Reply, Stopped},
    node::{Node, SharedNode},
    shaman::causes,
    shot_videos, thumbnails,
};

/// A job that is due, but whose files could not be erased or whose tasks still stop, is tried
/// again after this.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Somebody may set the clock, or mark a job where nobody tells us: a look now and then.
const LOOK_AT_LEAST: Duration = Duration::from_secs(600);

/// Who deletes, one at a time.
#[derive(Debug, Default)]
pub struct Deletion {
    /// Held from the look at a job's mark until it is gone: nobody restores a job whose files go.
    one_at_a_time: Mutex<()>,
    /// Something was marked.
    marked: Notify,
}

/// Why a job is not gone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules are against it.
    #[error("remove a job")]
    Refused(#[from] Refusal),
    /// A file or folder stands in the way.
    #[error("erase the files of a job")]
    Files(#[source] io::Error),
    /// Its checkout on the shared storage stands in the way.
    #[error("erase the checkout of a job")]
    Checkout(#[source] tablao_shaman::Error),
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Deletion {
    /// Says that a job was marked, or unmarked.
    pub fn look(&self) {
        self.marked.notify_one();
    }
}

/// Takes a job's mark back, unless its files are going already.
pub async fn restore(node: &Node, engine: &Engine, ask: Ask) -> Result<Reply, Stopped> {
    let _one = node.deletion.one_at_a_time.lock().await;
    engine.ask(ask).await
}

/// Removes a marked job for good, at once. `ask` is the request to purge it.
pub async fn purge(node: &SharedNode, engine: &Engine, job: JobId, ask: Ask) -> Result<(), Error> {
    let _one = node.deletion.one_at_a_time.lock().await;
    may_go(engine, job)?;
    let files = {
        let node = Arc::clone(node);
        tokio::task::spawn_blocking(move || erase_files(&node, job))
    };
    files
        .await
        .map_err(|error| Error::Files(io::Error::other(error)))??;
    engine.ask(ask).await??;
    Ok(())
}

/// The same rules as the core's, before the files go.
fn may_go(engine: &Engine, job: JobId) -> Result<(), Refusal> {
    let model = engine.model();
    let found = (model.farm().jobs().get(&job)).ok_or(Refusal::UnknownJob { job })?;
    let not_yet = |reason: &str| Refusal::NotRemovable {
        reason: reason.to_owned(),
    };
    if found.state.delete_marked.is_none() {
        return Err(not_yet("ask for its deletion first"));
    }
    if found.live > 0 {
        return Err(not_yet(
            "some of its tasks still run; ask again when they have stopped",
        ));
    }
    Ok(())
}

/// Erases everything of a job that lies in files: its checkout, logs, previews, and thumbnails of
/// the frames that go with it. Frames themselves belong to the studio and stay.
///
/// Done twice, it does nothing the second time.
pub fn erase_files(node: &Node, job: JobId) -> Result<(), Error> {
    crate::shaman::erase_with(node, job).map_err(Error::Checkout)?;
    node.logs.erase(job).map_err(Error::Files)?;
    node.previews.erase(job).map_err(Error::Files)?;
    erase_thumbnails(node, job).map_err(Error::Files)
}

fn erase_thumbnails(node: &Node, job: JobId) -> io::Result<()> {
    let Some(view) = node.site_of_job(job) else {
        return Ok(());
    };
    let files: Vec<(ShotId, String)> = {
        let model = view.read();
        let frames = model.frames_of_job(job);
        frames
            .filter_map(|frame| Some((frame.key.shot, frame.thumbnail?)))
            .collect()
    };
    let mut shots = BTreeSet::new();
    for (shot, file) in files {
        // A name was checked when it was stored; one that is none is nobody's to remove.
        if thumbnails::is_name(&file) {
            gone(std::fs::remove_file(thumbnails::path_of(node, shot, &file)))?;
            shots.insert(shot);
        }
    }
    for shot in shots {
        // Thumbnails of other jobs' frames keep it.
        let _ = std::fs::remove_dir(thumbnails::folder_of(node, shot));
        // Made anew when somebody asks, of the frames that are left.
        gone(std::fs::remove_dir_all(shot_videos::folder_of(node, shot)))?;
    }
    Ok(())
}

/// What was to be removed is not there: as well.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Jobs whose time is over, and when the next one's is.
fn due(engine: &Engine, keep: Duration, now: Timestamp) -> (Vec<JobId>, Option<Timestamp>) {
    let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let mut jobs = Vec::new();
    let mut next: Option<Timestamp> = None;
    for (id, job) in engine.model().farm().jobs() {
        let Some(marked) = job.state.delete_marked else {
            continue;
        };
        let over = marked.plus_millis(keep_ms);
        if over <= now {
            jobs.push(*id);
        } else {
            next = Some(next.map_or(over, |next| next.min(over)));
        }
    }
    (jobs, next)
}

/// Removes jobs whose time is over, for ever.
pub(crate) async fn purge_regularly(node: SharedNode) {
    let Some(engine) = node.site.clone() else {
        return;
    };
    loop {
        let wait = purge_due(&node, &engine, clock::now()).await;
        // A node that is being closed has an engine that answers nobody.
        let Some(wait) = wait else { return };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = node.deletion.marked.notified() => {}
        }
    }
}

/// Removes the jobs that are due at this moment. Returns how long there is nothing to do; nothing
/// when the engine has stopped.
pub async fn purge_due(node: &SharedNode, engine: &Engine, now: Timestamp) -> Option<Duration> {
    let keep = Duration::from_secs(node.in_force().config.upkeep.deleted_job_keep_s.into());
    let (jobs, next) = due(engine, keep, now);
    let mut wait = LOOK_AT_LEAST;
    for job in jobs {
        match purge(node, engine, job, Ask::system(Request::PurgeJob { job })).await {
            Ok(()) => tracing::info!(%job, "a deleted job is gone"),
            Err(Error::Stopped(_)) => return None,
            // Its workers have not stopped yet.
            Err(Error::Refused(_)) => wait = TRY_AGAIN,
            Err(error) => {
                tracing::warn!(%job, error = %causes(&error), "remove a deleted job; it is tried again");
                wait = TRY_AGAIN;
            }
        }
    }
    let until_next =
        next.map(|next| Duration::from_micros(next.micros().saturating_sub(now.micros())));
    Some(until_next.map_or(wait, |next| next.min(wait)))
}
