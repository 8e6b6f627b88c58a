// SPDX-License-Identifier: GPL-3.0-or-later
//! The thread that notices edits in the scripts folder.
//!
//! What the operating system reports is only a hint to scan: on a network share it may report
//! nothing, and a folder that does not exist yet cannot be watched, so a slow rescan stands behind
//! it. The thread ends when its [`Watch`] is dropped.

use std::{
    sync::{Arc, Weak},
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, never, select, tick};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};

use crate::{error::Error, job_types::Shelf};

/// Editors write in several steps; scanning waits until they have been quiet for this long.
const QUIET: Duration = Duration::from_millis(100);
/// But not longer than this many quiet periods, or a busy folder would never be scanned.
const QUIET_PERIODS_MAX: usize = 20;

/// Owns the watching thread.
pub(crate) struct Watch {
    /// Dropping it tells the thread to end.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching the scripts folder of `shelf`.
    pub(crate) fn start(shelf: &Arc<Shelf>) -> Result<Self, Error> {
        let (stop, stopped) = bounded(0);
        let weak = Arc::downgrade(shelf);
        let mut watcher = FolderWatcher::new();
        watcher.attach(shelf);
        let thread = thread::Builder::new()
            .name("job-type-watch".to_owned())
            .spawn(move || watcher.run(&weak, &stopped))
            .map_err(|source| Error::Watcher { source })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that watched the job type scripts had panicked");
        }
    }
}

struct FolderWatcher {
    watcher: Option<RecommendedWatcher>,
    hints: Receiver<()>,
    /// Whether the missing watcher was already logged.
    complained: bool,
}

impl FolderWatcher {
    fn new() -> Self {
        Self {
            watcher: None,
            hints: never(),
            complained: false,
        }
    }

    /// Tries to watch the folder. A folder that is missing is tried again at the next rescan.
    fn attach(&mut self, shelf: &Shelf) {
        let Some(folder) = shelf.options.scripts_dir.as_deref() else {
            return;
        };
        if self.watcher.is_some() || !folder.is_dir() {
            return;
        }
        // One waiting hint is as good as many.
        let (sender, hints) = bounded(1);
        let hint = move |event: notify::Result<notify::Event>| {
            // Our own scan opens and reads these files; taking that for edits would never end.
            if event.is_ok_and(|event| event.kind.is_access() && !is_written(event.kind)) {
                return;
            }
            let _ = sender.try_send(());
        };
        let made = notify::recommended_watcher(hint).and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        match made {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.hints = hints;
            }
            Err(error) if !self.complained => {
                self.complained = true;
                tracing::warn!(%error, "the scripts folder cannot be watched; it is rescanned now and then");
            }
            Err(_) => {}
        }
    }

    fn run(mut self, shelf: &Weak<Shelf>, stopped: &Receiver<()>) {
        let Some(interval) = shelf.upgrade().map(|shelf| shelf.options.rescan_interval) else {
            return;
        };
        let rescans = tick(interval);
        loop {
            let hints = self.hints.clone();
            select! {
                recv(stopped) -> _ => return,
                recv(hints) -> _ => {
                    if settle(&hints) == Settled::Lost {
                        self.watcher = None;
                        self.hints = never();
                    }
                }
                recv(rescans) -> _ => {}
            }
            let Some(shelf) = shelf.upgrade() else {
                return;
            };
            // A folder that was removed and made again needs a new watcher.
            if shelf
                .options
                .scripts_dir
                .as_deref()
                .is_some_and(|folder| !folder.is_dir())
            {
                self.watcher = None;
                self.hints = never();
            }
            self.attach(&shelf);
            shelf.scan();
        }
    }
}

fn is_written(kind: EventKind) -> bool {
    kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

#[derive(PartialEq)]
enum Settled {
    Quiet,
    /// The watcher itself is gone.
    Lost,
}

/// Waits until no hint came for a moment.
fn settle(hints: &Receiver<()>) -> Settled {
    for _ in 0..QUIET_PERIODS_MAX {
        match hints.recv_timeout(QUIET) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return Settled::Lost,
        }
    }
    Settled::Quiet
}
