// SPDX-License-Identifier: GPL-3.0-or-later
//! Everything the Worker still has to say or to finish, on disk before it is acted on.
//!
//! One file of JSON lines: an entry when something is to be said, a line of numbers when it is
//! done. A kill at any moment loses at most the entry being written, and its cut line is dropped
//! at the next start. Sending is not done here (see `sender`), nor is settling of intents.
//!
//! One thread writes, so that many entries share one sync. The first failed write or sync is
//! final: the outbox then refuses everything and the Worker stops.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::wire::{FrameReport, TaskUpdate};
use crate::{Error, durable};

/// The file is written anew when it has grown to this size, so that it stays quick to read.
const COMPACT_BYTES: u64 = 4 * 1024 * 1024;

/// Number of an entry; rises for as long as the file exists.
pub(crate) type Seq = u64;

/// Something to be said or to be finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A report for the Manager, sent in order.
    Update {
        /// The task's id.
        task: String,
        /// The report.
        update: TaskUpdate,
    },
    /// A frame is about to get its final name.
    Publishing(Publishing),
    /// A staging folder that must be gone when its attempt is over.
    Staging {
        /// The folder.
        dir: PathBuf,
    },
    /// A thumbnail to make and send.
    Thumbnail(Thumbnail),
}

/// What is needed to settle a publication that a kill interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Publishing {
    /// The task's id.
    pub(crate) task: String,
    /// The attempt that rendered the frame.
    pub(crate) attempt: String,
    /// Where Blender wrote it.
    pub(crate) staged: PathBuf,
    /// Device and inode of the staged file, where the platform has them: the published file is
    /// ours if it has the same.
    pub(crate) inode: Option<(u64, u64)>,
    /// What is reported once it has its final name.
    pub(crate) report: FrameReport,
}

/// One thumbnail to make and send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thumbnail {
    /// The task's id.
    pub(crate) task: String,
    /// The attempt that reported the frame.
    pub(crate) attempt: String,
    /// Shot to which the frame belongs.
    pub(crate) shot: String,
    /// Frame number.
    pub(crate) number: i64,
    /// File name of the frame without its extension.
    pub(crate) name: String,
    /// The published frame.
    pub(crate) path: PathBuf,
    /// Whether the frame is also to be shown as last rendered.
    pub(crate) preview: bool,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Put { seq: Seq, entry: Box<Entry> },
    Done(Vec<Seq>),
}

/// Whether an entry must be on disk before anything follows from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sync {
    /// Status, frames, intents: losing one would tell an untruth.
    Required,
    /// Log text and progress.
    Later,
}

/// The outbox refuses: its file could not be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the outbox cannot be written: {0}")]
pub(crate) struct OutboxFailed(pub(crate) String);

#[derive(Debug, Default)]
struct State {
    next_seq: Seq,
    /// Written reports that the Manager has not acknowledged.
    updates: VecDeque<(Seq, String, TaskUpdate)>,
    /// Written entries of the other kinds that are not done.
    others: BTreeMap<Seq, Entry>,
    /// Reports given to the writer and not yet in `updates`.
    in_writing: usize,
    /// Log text in all reports that are not acknowledged.
    log_bytes: usize,
    failed: Option<OutboxFailed>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts up whenever `state` has changed.
    changed: watch::Sender<u64>,
}

impl Shared {
    fn change<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        let result = action(&mut self.state.lock().expect("no holder panics"));
        self.changed.send_modify(|count| *count += 1);
        result
    }
}

enum Order {
    Put {
        seq: Seq,
        entry: Box<Entry>,
        sync: Sync,
        written: Option<oneshot::Sender<()>>,
    },
    Done(Vec<Seq>),
}

/// A handle on the outbox; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
}

impl Outbox {
    /// Opens or makes the outbox file and reads what an earlier run left.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let state = read(path)?;
        write_anew(path, &state).map_err(Error::file(path))?;
        let file = open_to_append(path).map_err(Error::file(path))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        });
        let (orders, inbox) = mpsc::channel();
        let writer = Writer {
            path: path.to_path_buf(),
            file,
            shared: Arc::clone(&shared),
        };
        std::thread::Builder::new()
            .name("outbox".into())
            .spawn(move || writer.run(&inbox))
            .map_err(Error::file(path))?;
        Ok(Self { shared, orders })
    }

    /// Adds an entry; returns when it is as durable as asked for.
    pub(crate) async fn put(&self, entry: Entry, sync: Sync) -> Result<Seq, OutboxFailed> {
        self.enqueue(entry, sync)?.written().await
    }

    /// Takes an entry's place in the order now and leaves the waiting for later.
    pub(crate) fn enqueue(&self, entry: Entry, sync: Sync) -> Result<Pending, OutboxFailed> {
        let (written, done) = oneshot::channel();
        let seq = self.order(entry, sync, Some(written))?;
        let outbox = self.clone();
        Ok(Pending { seq, done, outbox })
    }

    /// Adds an entry without waiting for the disk. It is not acted on before it is written.
    pub(crate) fn put_later(&self, entry: Entry) -> Result<Seq, OutboxFailed> {
        self.order(entry, Sync::Later, None)
    }

    fn order(
        &self,
        entry: Entry,
        sync: Sync,
        written: Option<oneshot::Sender<()>>,
    ) -> Result<Seq, OutboxFailed> {
        // The order is sent under the lock, so that the file has the entries in their numbers'
        // order.
        let mut state = self.shared.state.lock().expect("no holder panics");
        if let Some(failed) = &state.failed {
            return Err(failed.clone());
        }
        state.next_seq += 1;
        let seq = state.next_seq;
        if let Entry::Update { update, .. } = &entry {
            state.in_writing += 1;
            state.log_bytes += update.log.as_ref().map_or(0, String::len);
        }
        let order = Order::Put {
            seq,
            entry: Box::new(entry),
            sync,
            written,
        };
        self.orders
            .send(order)
            .map_err(|_| OutboxFailed("its writer has ended".into()))?;
        Ok(seq)
    }

    /// Marks entries as done. Losing the mark in a crash means saying the same again.
    pub(crate) fn done(&self, seqs: Vec<Seq>) {
        self.shared.change(|state| {
            for seq in &seqs {
                state.others.remove(seq);
            }
            state.updates.retain(|(seq, _, update)| {
                let stays = !seqs.contains(seq);
                if !stays {
                    state.log_bytes -= update.log.as_ref().map_or(0, String::len);
                }
                stays
            });
        });
        // A writer that has ended has said why; there is nothing to add.
        let _ = self.orders.send(Order::Done(seqs));
    }

    /// The oldest reports, at most `limit`, without taking them out.
    pub(crate) fn oldest_updates(&self, limit: usize) -> Vec<(Seq, String, TaskUpdate)> {
        let state = self.shared.state.lock().expect("no holder panics");
        state.updates.iter().take(limit).cloned().collect()
    }

    /// All entries that are not reports, oldest first.
    pub(crate) fn others(&self) -> Vec<(Seq, Entry)> {
        let state = self.shared.state.lock().expect("no holder panics");
        let entries = state.others.iter();
        entries.map(|(seq, entry)| (*seq, entry.clone())).collect()
    }

    /// Drops all reports of an attempt that is not ours any more.
    pub(crate) fn drop_attempt(&self, attempt: &str) {
        let of_attempt = {
            let state = self.shared.state.lock().expect("no holder panics");
            let updates = state.updates.iter();
            updates
                .filter(|(_, _, update)| attempt_of(update) == attempt)
                .map(|(seq, _, _)| *seq)
                .collect()
        };
        self.done(of_attempt);
    }

    /// Attempts about which a status or a frame is still to be told.
    pub(crate) fn held_attempts(&self) -> Vec<String> {
        let state = self.shared.state.lock().expect("no holder panics");
        let mut held: Vec<String> = Vec::new();
        for (_, _, update) in &state.updates {
            let tells_frames = update
                .tablao
                .as_ref()
                .is_some_and(|extension| !extension.frames.is_empty());
            let ends = matches!(update.task_status.as_deref(), Some("completed" | "failed"));
            let attempt = attempt_of(update);
            if (tells_frames || ends) && !held.iter().any(|known| known == attempt) {
                held.push(attempt.to_owned());
            }
        }
        held
    }

    /// Log text that is still to be told, in bytes.
    pub(crate) fn log_bytes(&self) -> usize {
        self.shared
            .state
            .lock()
            .expect("no holder panics")
            .log_bytes
    }

    /// Resolves when every report given so far has been acknowledged or dropped.
    pub(crate) async fn drained(&self) -> Result<(), OutboxFailed> {
        self.until(|state| (state.updates.is_empty() && state.in_writing == 0).then_some(()))
            .await
    }

    /// Resolves when report `seq` has been acknowledged or dropped.
    pub(crate) async fn settled(&self, seq: Seq) -> Result<(), OutboxFailed> {
        self.until(|state| {
            let pending = state.updates.iter().any(|(known, _, _)| *known == seq);
            (!pending).then_some(())
        })
        .await
    }

    /// Resolves when there are reports to send.
    pub(crate) async fn has_updates(&self) -> Result<(), OutboxFailed> {
        self.until(|state| (!state.updates.is_empty()).then_some(()))
            .await
    }

    /// A counter that moves with every change, for those who look at [`Self::others`].
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    async fn until<T>(
        &self,
        mut ready: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, OutboxFailed> {
        let mut changes = self.shared.changed.subscribe();
        loop {
            changes.borrow_and_update();
            {
                let state = self.shared.state.lock().expect("no holder panics");
                if let Some(failed) = &state.failed {
                    return Err(failed.clone());
                }
                if let Some(result) = ready(&state) {
                    return Ok(result);
                }
            }
            if changes.changed().await.is_err() {
                return Err(self.failure());
            }
        }
    }

    /// Why the outbox has failed.
    pub(crate) fn failure(&self) -> OutboxFailed {
        let state = self.shared.state.lock().expect("no holder panics");
        let failed = state.failed.clone();
        failed.unwrap_or_else(|| OutboxFailed("its writer has ended".into()))
    }
}

/// An entry on its way to the disk.
#[derive(Debug)]
pub(crate) struct Pending {
    seq: Seq,
    done: oneshot::Receiver<()>,
    outbox: Outbox,
}

impl Pending {
    /// Resolves when the entry is as durable as was asked for.
    pub(crate) async fn written(self) -> Result<Seq, OutboxFailed> {
        match self.done.await {
            Ok(()) => Ok(self.seq),
            Err(_) => Err(self.outbox.failure()),
        }
    }
}

fn attempt_of(update: &TaskUpdate) -> &str {
    let extension = update.tablao.as_ref();
    extension.map_or("", |extension| &extension.attempt)
}

/// The thread that owns the file.
struct Writer {
    path: PathBuf,
    file: File,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, inbox: &mpsc::Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            let batch = std::iter::once(first).chain(inbox.try_iter()).collect();
            if let Err(error) = self.write(batch) {
                tracing::error!(path = %self.path.display(), %error, "cannot write the outbox");
                let failed = OutboxFailed(format!("{}: {error}", self.path.display()));
                self.shared.change(|state| state.failed = Some(failed));
                return;
            }
        }
    }

    /// Writes a batch with at most one sync, then lets its consequences happen.
    fn write(&mut self, batch: Vec<Order>) -> io::Result<()> {
        let mut text = Vec::new();
        let mut must_sync = false;
        let mut put = Vec::new();
        for order in batch {
            let line = match order {
                Order::Put {
                    seq,
                    entry,
                    sync,
                    written,
                } => {
                    must_sync |= sync == Sync::Required;
                    put.push((seq, (*entry).clone(), written));
                    Line::Put { seq, entry }
                }
                Order::Done(seqs) => Line::Done(seqs),
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        self.file.write_all(&text)?;
        if must_sync {
            self.file.sync_data()?;
        }
        let mut waiting = Vec::new();
        self.shared.change(|state| {
            for (seq, entry, written) in put {
                waiting.extend(written);
                if matches!(entry, Entry::Update { .. }) {
                    state.in_writing -= 1;
                }
                keep(state, seq, entry);
            }
        });
        for written in waiting {
            // Whoever asked may have been stopped meanwhile.
            let _ = written.send(());
        }
        if self.file.metadata()?.len() > COMPACT_BYTES {
            self.compact()?;
        }
        Ok(())
    }

    fn compact(&mut self) -> io::Result<()> {
        {
            let state = self.shared.state.lock().expect("no holder panics");
            write_anew(&self.path, &state)?;
        }
        self.file = open_to_append(&self.path)?;
        Ok(())
    }
}

fn keep(state: &mut State, seq: Seq, entry: Entry) {
    match entry {
        Entry::Update { task, update } => state.updates.push_back((seq, task, update)),
        other @ (Entry::Publishing(_) | Entry::Staging { .. } | Entry::Thumbnail(_)) => {
            state.others.insert(seq, other);
        }
    }
}

fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

/// Reads the file; a cut last line is what a kill leaves and is dropped.
fn read(path: &Path) -> Result<State, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            return Err(Error::File {
                path: path.to_path_buf(),
                source,
            });
        }
    };
    let mut entries = BTreeMap::new();
    let mut state = State::default();
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(Line::Put { seq, entry }) => {
                state.next_seq = state.next_seq.max(seq);
                entries.insert(seq, *entry);
            }
            Ok(Line::Done(seqs)) => {
                for seq in seqs {
                    state.next_seq = state.next_seq.max(seq);
                    entries.remove(&seq);
                }
            }
            Err(error) if line.ends_with(b"\n") => {
                return Err(Error::Damaged {
                    path: path.to_path_buf(),
                    reason: format!(
                        "line {}: {error}; move the file away to start without the reports in it",
                        index + 1
                    ),
                });
            }
            Err(_) => tracing::warn!(bytes = line.len(), "dropped a cut entry of the outbox"),
        }
    }
    for (seq, entry) in entries {
        if let Entry::Update { update, .. } = &entry {
            state.log_bytes += update.log.as_ref().map_or(0, String::len);
        }
        keep(&mut state, seq, entry);
    }
    Ok(state)
}

/// Writes the file with nothing but what is not done.
fn write_anew(path: &Path, state: &State) -> io::Result<()> {
    let mut text = Vec::new();
    // The last number is kept even when its entry is done, so that numbers never repeat.
    serde_json::to_writer(&mut text, &Line::Done(vec![state.next_seq]))?;
    text.push(b'\n');
    let mut lines: BTreeMap<Seq, Entry> = state.others.clone();
    for (seq, task, update) in &state.updates {
        let (task, update) = (task.clone(), update.clone());
        lines.insert(*seq, Entry::Update { task, update });
    }
    for (seq, entry) in lines {
        let entry = Box::new(entry);
        serde_json::to_writer(&mut text, &Line::Put { seq, entry })?;
        text.push(b'\n');
    }
    durable::replace_file(path, &text)
}

#[cfg(test)]
mod tests;
