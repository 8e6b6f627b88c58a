// SPDX-License-Identifier: GPL-3.0-or-later
//! The warm Blender of a Worker: kept between tasks of one job, ended when it should go.
//!
//! A task is rendered in it only if everything but its output and frames is what the Blender was
//! started for. Whatever is in doubt is answered with a reason, and the caller starts Blender
//! anew; so a fault here costs time and never a frame.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::warm_key::Key;
pub(crate) use super::warm_plan::{WarmPlan, plan};
use super::warm_process::{Start, Trouble, WarmProcess};
use crate::process::Launcher;
use crate::stop::{Stop, StopReason};

/// A job for which it went wrong so often is rendered by cold starts.
const DOUBTS_MAX: u32 = 2;

/// How long a Blender is kept up.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmLimits {
    /// Whether there is one at all.
    pub enabled: bool,
    /// It ends after this time without a task.
    pub idle: Duration,
    /// It takes no more tasks after this time.
    pub age: Duration,
    /// It takes no more tasks after so many.
    pub tasks: u32,
    /// It takes no more tasks when it holds so many bytes more than when it had loaded the file.
    pub growth_bytes: u64,
    /// Neither a word nor processor time for so long is a hang.
    pub silence: Duration,
}

impl Default for WarmLimits {
    fn default() -> Self {
        Self {
            enabled: cfg!(unix),
            idle: Duration::from_secs(60),
            age: Duration::from_secs(3600),
            tasks: 1000,
            growth_bytes: 1024 * 1024 * 1024,
            silence: Duration::from_secs(900),
        }
    }
}

/// What is to be rendered.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) job: &'a str,
    pub(crate) exe: &'a str,
    pub(crate) blendfile: &'a str,
    pub(crate) plan: &'a WarmPlan,
}

/// What a task is told while it is rendered.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    /// A line for people.
    Note(String),
    /// Which Blender it is, before any of its lines.
    Version(&'a str),
    /// A line of the process.
    Line(u32, &'a str),
}

/// Why a task was not rendered warm to its end.
#[derive(Debug)]
pub(crate) enum NotWarm {
    /// A cold start is to render what is missing.
    Doubt(String),
    /// The task is to stop; its Blender is gone.
    Stopped(StopReason),
}

/// A Blender with what it was started for.
#[derive(Debug)]
struct Kept {
    key: Key,
    process: WarmProcess,
    started: Instant,
    used: Instant,
    tasks: u32,
    held: u64,
}

#[derive(Debug, Default)]
struct Slot {
    kept: Option<Kept>,
    /// Orders given so far; numbers the next.
    orders: u64,
    /// The job for which it went wrong last, and how often.
    doubts: Option<(String, u32)>,
}

#[derive(Debug)]
struct Inner {
    limits: WarmLimits,
    launcher: Launcher,
    folder: PathBuf,
    slot: Mutex<Slot>,
    /// Called when a Blender begins to wait for a task.
    waits: Notify,
}

/// A handle; clones share the Blender.
#[derive(Debug, Clone)]
pub(crate) struct Warm(Arc<Inner>);

impl Warm {
    /// `folder` is the Worker's own, for what it speaks to Blender through.
    pub(crate) fn new(limits: WarmLimits, launcher: Launcher, folder: PathBuf) -> Self {
        Self(Arc::new(Inner {
            limits,
            launcher,
            folder,
            slot: Mutex::default(),
            waits: Notify::new(),
        }))
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.0.limits.enabled
    }

    /// Whether a Blender waits here for a task of this job.
    pub(crate) fn is_of(&self, job: &str) -> bool {
        self.waits_and(|kept| kept.key.job == job)
    }

    /// Whether a Blender waits here for a task.
    pub(crate) fn is_up(&self) -> bool {
        self.waits_and(|_| true)
    }

    /// One that is just being used or ended does not wait.
    fn waits_and(&self, is_meant: impl FnOnce(&Kept) -> bool) -> bool {
        let slot = self.0.slot.try_lock();
        slot.is_ok_and(|slot| slot.kept.as_ref().is_some_and(is_meant))
    }

    /// Renders a task; the most memory that it took, where it is known.
    pub(crate) async fn render(
        &self,
        request: &Request<'_>,
        stop: &Stop,
        say: &mut (dyn FnMut(Said<'_>) + Send),
    ) -> Result<Option<u64>, NotWarm> {
        let mut slot = self.0.slot.lock().await;
        let doubts = slot.doubts.as_ref();
        if doubts.is_some_and(|(job, count)| job == request.job && *count >= DOUBTS_MAX) {
            return Err(NotWarm::Doubt(format!(
                "a warm Blender went wrong {DOUBTS_MAX} times for this job"
            )));
        }
        let result = self.render_in(&mut slot, request, stop, say).await;
        if let Err(NotWarm::Doubt(_)) = result {
            let before = slot.doubts.take().filter(|(job, _)| job == request.job);
            let count = before.map_or(0, |(_, count)| count) + 1;
            slot.doubts = Some((request.job.to_owned(), count));
        }
        drop(slot);
        self.0.waits.notify_one();
        result
    }

    async fn render_in(
        &self,
        slot: &mut Slot,
        request: &Request<'_>,
        stop: &Stop,
        say: &mut (dyn FnMut(Said<'_>) + Send),
    ) -> Result<Option<u64>, NotWarm> {
        let mut order = request.plan.order.clone();
        // A second round only for a Blender that was up and has gone stale.
        loop {
            let key = Key::of(request.job, request.exe, request.blendfile, request.plan)
                .map_err(NotWarm::Doubt)?;
            let kept = self.usable(slot, &key, say).await;
            let is_new = kept.is_none();
            let mut kept = match kept {
                Some(kept) => kept,
                None => self.start(key, request, stop, say).await?,
            };
            slot.orders += 1;
            order.number = slot.orders;
            say(Said::Version(&kept.process.version));
            let mut line = |pid: u32, line: &str| say(Said::Line(pid, line));
            match kept.process.render(&order, stop, &mut line).await {
                Ok(memory) => {
                    kept.used = Instant::now();
                    kept.tasks += 1;
                    kept.held = memory.held;
                    slot.kept = Some(kept);
                    return Ok((memory.most > 0).then_some(memory.most));
                }
                Err(trouble) => {
                    kept.process.end().await;
                    match trouble {
                        Trouble::Stale(why) if !is_new => {
                            say(Said::Note(format!("the warm Blender is ended: {why}")));
                        }
                        Trouble::Stale(why) | Trouble::Doubt(why) => {
                            return Err(NotWarm::Doubt(why));
                        }
                        Trouble::Stopped(reason) => return Err(NotWarm::Stopped(reason)),
                    }
                }
            }
        }
    }

    /// Takes the Blender that is up out of its slot if it may render this; ends it if not.
    async fn usable(
        &self,
        slot: &mut Slot,
        key: &Key,
        say: &mut (dyn FnMut(Said<'_>) + Send),
    ) -> Option<Kept> {
        let kept = slot.kept.take()?;
        let limits = &self.0.limits;
        let growth = kept.held.saturating_sub(kept.process.at_load.held);
        let why = if kept.key != *key {
            key.difference(&kept.key).to_owned()
        } else if kept.process.has_ended() {
            "it has ended by itself".to_owned()
        } else if kept.started.elapsed() >= limits.age {
            format!("it is up for {} s", kept.started.elapsed().as_secs())
        } else if kept.tasks >= limits.tasks {
            format!("it has rendered {} tasks", kept.tasks)
        } else if growth > limits.growth_bytes {
            let mib = growth / (1024 * 1024);
            format!("it holds {mib} MiB more than when it had loaded the file")
        } else {
            say(Said::Note(format!(
                "rendered in the warm Blender pid={}, its task {}",
                kept.process.pid,
                kept.tasks + 1
            )));
            return Some(kept);
        };
        say(Said::Note(format!("the warm Blender is ended: {why}")));
        kept.process.end().await;
        None
    }

    async fn start(
        &self,
        key: Key,
        request: &Request<'_>,
        stop: &Stop,
        say: &mut (dyn FnMut(Said<'_>) + Send),
    ) -> Result<Kept, NotWarm> {
        say(Said::Note(
            "Blender is started and stays up for the job's next task".to_owned(),
        ));
        let start = Start {
            launcher: &self.0.launcher,
            folder: &self.0.folder,
            exe: request.exe,
            shared: &request.plan.shared,
            silence: self.0.limits.silence,
        };
        let mut line = |pid: u32, line: &str| say(Said::Line(pid, line));
        let started = WarmProcess::start(&start, stop, &mut line).await;
        let process = started.map_err(|trouble| match trouble {
            Trouble::Stale(why) | Trouble::Doubt(why) => NotWarm::Doubt(why),
            Trouble::Stopped(reason) => NotWarm::Stopped(reason),
        })?;
        // The file may have been saved over while Blender read it.
        let now = Key::of(request.job, request.exe, request.blendfile, request.plan);
        if now.as_ref() != Ok(&key) {
            process.end().await;
            let why = "the blend file changed while it was loaded";
            return Err(NotWarm::Doubt(why.to_owned()));
        }
        Ok(Kept {
            key,
            held: process.at_load.held,
            process,
            started: Instant::now(),
            used: Instant::now(),
            tasks: 0,
        })
    }

    /// Ends the Blender that waits for a task, if there is one.
    pub(crate) async fn end(&self) {
        self.end_if(|_| true).await;
    }

    /// Another job needs the memory.
    pub(crate) async fn end_unless_of(&self, job: &str) {
        self.end_if(|kept| kept.key.job != job).await;
    }

    async fn end_if(&self, is_due: impl FnOnce(&Kept) -> bool) {
        let kept = self.0.slot.lock().await.kept.take_if(|kept| is_due(kept));
        if let Some(kept) = kept {
            tracing::info!(pid = kept.process.pid, "the warm Blender is ended");
            kept.process.end().await;
        }
    }

    /// Ends a Blender that nobody has needed for the time that it may idle. Has no end itself.
    pub(crate) async fn end_idle(&self) -> std::convert::Infallible {
        let idle = self.0.limits.idle;
        loop {
            let due = {
                let slot = self.0.slot.lock().await;
                slot.kept.as_ref().map(|kept| kept.used + idle)
            };
            match due {
                // The next task tells when it is done.
                None => self.0.waits.notified().await,
                Some(due) if Instant::now() >= due => {
                    self.end_if(|kept| kept.used + idle <= Instant::now()).await;
                }
                Some(due) => tokio::time::sleep_until(due).await,
            }
        }
    }
}
