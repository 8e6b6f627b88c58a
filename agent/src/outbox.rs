// SPDX-License-Identifier: GPL-3.0-or-later
//! Everything the Worker still has to say or to finish, on disk before it is acted on.
//!
//! Entries are put, acted on once they are durable, and marked as done. A kill at any moment
//! loses no durable entry; a lost mark only means that something is said twice. Sending is not
//! done here (see `sender`), nor is settling of intents (see `frames::settle`).
//!
//! One thread writes, so that many entries share one sync. The first failed write or sync is
//! final: the outbox then refuses everything and the Worker stops.

mod entry;
mod store;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::{oneshot, watch};

use crate::Error;
use crate::wire::TaskUpdate;

pub(crate) use entry::{Entry, Publishing, Thumbnail};
use store::Store;

/// Number of an entry; rises for as long as the outbox exists.
pub(crate) type Seq = u64;

/// The outbox refuses: its journal could not be written.
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

impl State {
    /// Takes in an entry that is durable.
    fn keep(&mut self, seq: Seq, entry: Entry) {
        match entry {
            Entry::Update { task, update } => self.updates.push_back((seq, task, update)),
            other @ (Entry::Publishing(_) | Entry::Staging { .. } | Entry::Thumbnail(_)) => {
                self.others.insert(seq, other);
            }
        }
    }

    /// All entries that are durable and not done, in order.
    fn open(&self) -> BTreeMap<Seq, Entry> {
        let mut open = self.others.clone();
        for (seq, task, update) in &self.updates {
            let (task, update) = (task.clone(), update.clone());
            open.insert(*seq, Entry::Update { task, update });
        }
        open
    }
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

#[derive(Debug)]
enum Order {
    Put {
        seq: Seq,
        entry: Box<Entry>,
        written: Option<oneshot::Sender<()>>,
    },
    Done(Vec<Seq>),
}

/// A handle on the outbox; clones share it. The last one to go waits for the writer's end.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    writer: Arc<WriterThread>,
}

/// The way to the writer thread, which ends when this goes.
#[derive(Debug)]
struct WriterThread {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WriterThread {
    fn start(store: Store, shared: Arc<Shared>) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("outbox".into())
            .spawn(move || writer::run(store, &shared, &inbox))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// False when the writer has ended, which it does at its first failure.
    fn send(&self, order: Order) -> bool {
        let orders = self.orders.as_ref();
        orders.is_some_and(|orders| orders.send(order).is_ok())
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing more to write either.
            let _ = thread.join();
        }
    }
}

impl Outbox {
    /// Opens or makes the outbox in `folder` and reads what an earlier run left.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let (mut store, left) = Store::open(folder)?;
        let mut state = State {
            next_seq: left.last_seq,
            ..State::default()
        };
        for (seq, entry) in left.entries {
            if let Entry::Update { update, .. } = &entry {
                state.log_bytes += update.log.as_ref().map_or(0, String::len);
            }
            state.keep(seq, entry);
        }
        store.begin_anew(&state.open(), state.next_seq)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        });
        let writer =
            WriterThread::start(store, Arc::clone(&shared)).map_err(Error::file(folder))?;
        Ok(Self {
            shared,
            writer: Arc::new(writer),
        })
    }

    /// Adds an entry; returns when it is durable.
    pub(crate) async fn put(&self, entry: Entry) -> Result<Seq, OutboxFailed> {
        self.enqueue(entry)?.written().await
    }

    /// Takes an entry's place in the order now and leaves the waiting for later.
    pub(crate) fn enqueue(&self, entry: Entry) -> Result<Pending, OutboxFailed> {
        let (written, done) = oneshot::channel();
        let seq = self.order(entry, Some(written))?;
        let outbox = self.clone();
        Ok(Pending { seq, done, outbox })
    }

    /// Adds an entry without waiting for the disk. It is not acted on before it is durable.
    pub(crate) fn put_later(&self, entry: Entry) -> Result<Seq, OutboxFailed> {
        self.order(entry, None)
    }

    fn order(
        &self,
        entry: Entry,
        written: Option<oneshot::Sender<()>>,
    ) -> Result<Seq, OutboxFailed> {
        // The order is sent under the lock, so that the journal has the entries in their numbers'
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
            written,
        };
        if self.writer.send(order) {
            Ok(seq)
        } else {
            Err(OutboxFailed("its writer has ended".into()))
        }
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
        let _ = self.writer.send(Order::Done(seqs));
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
            let ends = matches!(update.task_status.as_deref(), Some("completed" | "failed"));
            let attempt = attempt_of(update);
            if (tells_frames(update) || ends) && !held.iter().any(|known| known == attempt) {
                held.push(attempt.to_owned());
            }
        }
        held
    }

    /// Tasks and attempts of which frames are still to be told and no end is.
    pub(crate) fn unended(&self) -> Vec<(String, String)> {
        let state = self.shared.state.lock().expect("no holder panics");
        let mut unended: Vec<(String, String)> = Vec::new();
        for (_, task, update) in &state.updates {
            let ends = (update.task_status.as_deref()).is_some_and(|status| status != "active");
            let attempt = attempt_of(update);
            if ends {
                unended.retain(|(_, known)| known != attempt);
            } else if tells_frames(update) && !unended.iter().any(|(_, known)| known == attempt) {
                unended.push((task.clone(), attempt.to_owned()));
            }
        }
        unended
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

    /// Whether every report that was given before this entry is acknowledged or dropped.
    pub(crate) fn is_told_before(&self, seq: Seq) -> bool {
        let state = self.shared.state.lock().expect("no holder panics");
        state.updates.iter().all(|(report, _, _)| *report > seq)
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
    /// Resolves when the Manager has taken the report, or refused it.
    pub(crate) async fn settled(self) -> Result<(), OutboxFailed> {
        let outbox = self.outbox.clone();
        let seq = self.written().await?;
        outbox.settled(seq).await
    }

    /// Resolves when the entry is durable.
    pub(crate) async fn written(self) -> Result<Seq, OutboxFailed> {
        match self.done.await {
            Ok(()) => Ok(self.seq),
            Err(_) => Err(self.outbox.failure()),
        }
    }
}

fn tells_frames(update: &TaskUpdate) -> bool {
    let extension = update.tablao.as_ref();
    extension.is_some_and(|extension| !extension.frames.is_empty())
}

fn attempt_of(update: &TaskUpdate) -> &str {
    let extension = update.tablao.as_ref();
    extension.map_or("", |extension| &extension.attempt)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
