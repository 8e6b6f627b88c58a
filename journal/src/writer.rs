// SPDX-License-Identifier: GPL-3.0-or-later
//! The writer thread: group commit behind a bounded channel.
//!
//! It takes all drafts that wait, makes them durable with one write and one sync, and reports
//! them in order. It decides nothing about their content. The first failure is final: it is
//! reported once and every later append is refused.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::watch;

use crate::encode::check_draft;
use crate::error::Error;
use crate::journal::Journal;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::record::Draft;

/// How many drafts may wait. A sync takes about as long as the engine needs for this many
/// decisions; more would only lengthen the queue in which a caller waits.
const WAITING_DRAFTS_MAX: usize = 1024;
/// How many bytes of drafts one sync covers. Larger groups would save no syncs worth having and
/// would make the first caller of the group wait for the bytes of all others.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// A draft that was taken in; it is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Position of its first record.
    pub first: Lsn,
    /// Position of its last record.
    pub last: Lsn,
    /// The time its records bear: the draft's, raised to the journal's last time.
    pub time_us: u64,
}

/// A draft that became durable, with what the caller attached to it.
#[derive(Debug)]
pub struct Settled<T> {
    /// Position of its first record.
    pub first: Lsn,
    /// The time its records bear.
    pub time_us: u64,
    /// The draft, back.
    pub draft: Draft,
    /// What the caller attached.
    pub token: T,
}

/// Everything one sync made durable, in order.
#[derive(Debug)]
pub struct Durable<T> {
    /// Position of the first record.
    pub first: Lsn,
    /// Position of the last record.
    pub last: Lsn,
    /// The chain value after it.
    pub chain: ChainValue,
    /// The drafts.
    pub drafts: Vec<Settled<T>>,
}

/// The end of the writer. None of these drafts may be believed to be durable, nor to be lost.
#[derive(Debug)]
pub struct Failed<T> {
    /// Why.
    pub error: Arc<Error>,
    /// What was attached to the drafts that were waiting.
    pub tokens: Vec<T>,
}

/// What the writer thread tells its owner.
#[derive(Debug)]
pub enum Report<T> {
    /// These drafts are on disk.
    Durable(Durable<T>),
    /// The writer is poisoned. The process should say so and end.
    Failed(Failed<T>),
}

struct Waiting<T> {
    first: Lsn,
    time_us: u64,
    bytes: usize,
    draft: Draft,
    token: T,
}

enum Ask<T> {
    Append(Waiting<T>),
    Close,
}

struct Gate<T> {
    /// Taken away by `close`.
    sender: Option<Sender<Ask<T>>>,
    next: Lsn,
    time_us: u64,
}

/// The way to the writer thread. Calls may come from any thread; their order is the journal's.
pub struct WriterHandle<T> {
    gate: Mutex<Gate<T>>,
    fate: Arc<OnceLock<Arc<Error>>>,
    durable: watch::Receiver<Lsn>,
    thread: Mutex<Option<JoinHandle<Result<(), Error>>>>,
    id: JournalId,
    incarnation: u32,
}

impl Journal {
    /// Gives the journal to a thread of its own. `on_report` is called on that thread, in order;
    /// while it runs nothing is written, so it should hand on and return.
    pub fn start<T: Send + 'static>(
        self,
        on_report: impl FnMut(Report<T>) + Send + 'static,
    ) -> Result<WriterHandle<T>, Error> {
        let (sender, receiver) = bounded(WAITING_DRAFTS_MAX);
        let (durable_sender, durable) = watch::channel(self.next_lsn().previous());
        let fate = Arc::new(OnceLock::new());
        let gate = Gate {
            sender: Some(sender),
            next: self.next_lsn(),
            time_us: self.last_time_us(),
        };
        let (id, incarnation) = (self.id(), self.incarnation());
        let writer = Writer {
            journal: self,
            receiver,
            on_report,
            durable: durable_sender,
            fate: Arc::clone(&fate),
        };
        let thread = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| Error::Io {
                doing: "start",
                file: "the journal writer thread".to_owned(),
                source,
            })?;
        Ok(WriterHandle {
            gate: Mutex::new(gate),
            fate,
            durable,
            thread: Mutex::new(Some(thread)),
            id,
            incarnation,
        })
    }
}

impl<T: Send + 'static> WriterHandle<T> {
    /// Hands over a draft whose first record shall be at `expected_first`. Returns when the draft
    /// has its place in the queue (waiting for one if the queue is full), not when it is durable:
    /// `on_report` says that. An error means that the draft has no place and changes nothing.
    pub fn append(&self, expected_first: Lsn, draft: Draft, token: T) -> Result<Accepted, Error> {
        self.enqueue(Some(expected_first), draft, token)
    }

    /// The same at whatever position comes next, for callers that do not number their records.
    pub fn append_next(&self, draft: Draft, token: T) -> Result<Accepted, Error> {
        self.enqueue(None, draft, token)
    }

    fn enqueue(
        &self,
        expected_first: Option<Lsn>,
        draft: Draft,
        token: T,
    ) -> Result<Accepted, Error> {
        let bytes = check_draft(&draft)?;
        let mut gate = self.gate();
        if let Some(error) = self.fate.get() {
            return Err(Error::Poisoned(Arc::clone(error)));
        }
        let first = gate.next;
        if let Some(expected) = expected_first
            && expected != first
        {
            return Err(Error::StalePosition {
                expected,
                next: first,
            });
        }
        let sender = gate.sender.as_ref().ok_or(Error::Closed)?;
        let time_us = draft.time_us.max(gate.time_us);
        let next = first.plus(draft.records.len() as u64);
        let waiting = Waiting {
            first,
            time_us,
            bytes,
            draft,
            token,
        };
        // The gate stays shut while the queue is full: whoever comes next is later in order.
        if sender.send(Ask::Append(waiting)).is_err() {
            return Err(self.gone());
        }
        gate.next = next;
        gate.time_us = time_us;
        Ok(Accepted {
            first,
            last: next.previous(),
            time_us,
        })
    }

    /// The last durable position.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        *self.durable.borrow()
    }

    /// Follows the durable position. The sender goes away with the writer thread.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Lsn> {
        self.durable.clone()
    }

    /// Where the next draft would go; it may be taken by the time the caller looks.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.gate().next
    }

    /// Which journal it is.
    #[must_use]
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// The incarnation it writes in.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Makes durable what waits, leaves the clean mark and ends the thread. Later appends are
    /// refused. Dropping the handle does the same without the mark.
    pub fn close(&self) -> Result<(), Error> {
        let sender = self.gate().sender.take().ok_or(Error::Closed)?;
        // A send that fails means the thread is gone; joining it says why.
        let _ = sender.send(Ask::Close);
        drop(sender);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match thread.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(self.gone()),
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate<T>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> Error {
        match self.fate.get() {
            Some(error) => Error::Poisoned(Arc::clone(error)),
            None => Error::WriterGone,
        }
    }
}

impl<T> Drop for WriterHandle<T> {
    fn drop(&mut self) {
        self.gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sender = None;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The callback may own the last handle; a thread can not wait for itself.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// What lives on the thread.
struct Writer<T, F> {
    journal: Journal,
    receiver: Receiver<Ask<T>>,
    on_report: F,
    durable: watch::Sender<Lsn>,
    fate: Arc<OnceLock<Arc<Error>>>,
}

impl<T: Send + 'static, F: FnMut(Report<T>)> Writer<T, F> {
    fn run(mut self) -> Result<(), Error> {
        loop {
            let mut group = Vec::new();
            let closing = match self.receiver.recv() {
                // Every handle is gone without a word: there will be no clean mark.
                Err(_) => return Ok(()),
                Ok(Ask::Close) => true,
                Ok(Ask::Append(waiting)) => self.gather(waiting, &mut group),
            };
            if !group.is_empty() {
                self.commit(group)?;
            }
            if closing {
                return self.journal.close();
            }
        }
    }

    /// Takes everything else that waits, up to the bound. True if the last of it was `Close`.
    fn gather(&self, first: Waiting<T>, group: &mut Vec<Waiting<T>>) -> bool {
        let mut bytes = first.bytes;
        group.push(first);
        while bytes < GROUP_BYTES_MAX {
            match self.receiver.try_recv() {
                Ok(Ask::Append(waiting)) => {
                    bytes += waiting.bytes;
                    group.push(waiting);
                }
                Ok(Ask::Close) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    fn commit(&mut self, group: Vec<Waiting<T>>) -> Result<(), Error> {
        let drafts: Vec<&Draft> = group.iter().map(|waiting| &waiting.draft).collect();
        let expected_first = group.first().map_or(Lsn::ORIGIN, |waiting| waiting.first);
        let committed = match self.journal.commit(expected_first, &drafts) {
            Ok(committed) => committed,
            Err(error) => return Err(self.fail(error, group)),
        };
        self.durable.send_replace(committed.last);
        let drafts = group
            .into_iter()
            .map(|waiting| Settled {
                first: waiting.first,
                time_us: waiting.time_us,
                draft: waiting.draft,
                token: waiting.token,
            })
            .collect();
        (self.on_report)(Report::Durable(Durable {
            first: committed.first,
            last: committed.last,
            chain: committed.chain,
            drafts,
        }));
        Ok(())
    }

    fn fail(&mut self, error: Error, group: Vec<Waiting<T>>) -> Error {
        // The journal wraps its first failure as `Poisoned`; the cause is what is to be told.
        let cause = match error {
            Error::Poisoned(cause) => cause,
            other => Arc::new(other),
        };
        let cause = Arc::clone(self.fate.get_or_init(|| cause));
        tracing::error!(error = %cause, "the journal can not be written any more");
        let mut tokens: Vec<T> = group.into_iter().map(|waiting| waiting.token).collect();
        while let Ok(ask) = self.receiver.try_recv() {
            if let Ask::Append(waiting) = ask {
                tokens.push(waiting.token);
            }
        }
        (self.on_report)(Report::Failed(Failed {
            error: Arc::clone(&cause),
            tokens,
        }));
        Error::Poisoned(cause)
    }
}
