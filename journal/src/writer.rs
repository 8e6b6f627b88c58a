// SPDX-License-Identifier: GPL-3.0-or-later
//! The writer thread: group commit behind a bounded queue.
//!
//! It takes all drafts that wait, makes them durable with one write and one sync, and reports
//! them in order. It decides nothing about their content. The first failure is final: it is
//! reported once and every later append is refused.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::encode::{Measured, Timed};
use crate::error::Error;
use crate::journal::Journal;
use crate::pack::Packer;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::queue::{Queue, Then, Waiting};
use crate::record::Draft;

/// The part of a commit's time for which it is worth waiting for more drafts: it costs those who
/// wait a quarter of a sync, and can save them a whole one.
const PATIENCE_PART: u32 = 4;
/// On a slow disk, callers who have not come back by then are not about to.
const PATIENCE_MAX: Duration = Duration::from_millis(1);
/// Callers that bring new drafts without waiting for answers do not come back at all; now and
/// then it is tried again.
const PAUSE_COMMITS_MAX: u32 = 63;

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

/// The way to the writer thread. Calls may come from any thread; their order is the journal's.
pub struct WriterHandle<T> {
    queue: Arc<Queue<T>>,
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
        let (durable_sender, durable) = watch::channel(self.next_lsn().previous());
        let fate = Arc::new(OnceLock::new());
        let queue = Arc::new(Queue::new(self.next_lsn(), self.last_time_us()));
        let (id, incarnation) = (self.id(), self.incarnation());
        let writer = Writer {
            journal: self,
            queue: Arc::clone(&queue),
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
            queue,
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
        // Outside the lock: hashing is what takes longest, and callers may do it side by side.
        let measured = Measured::new(&draft)?;
        if let Some(error) = self.fate.get() {
            return Err(Error::Poisoned(Arc::clone(error)));
        }
        let count = draft.records.len() as u64;
        let (first, time_us) = self
            .queue
            .push(expected_first, measured, draft, token)
            .map_err(|error| match error {
                Error::WriterGone => self.gone(),
                other => other,
            })?;
        Ok(Accepted {
            first,
            last: first.plus(count).previous(),
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
        self.queue.next()
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
        if !self.queue.shut(Then::Close) {
            return Err(Error::Closed);
        }
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

    fn gone(&self) -> Error {
        match self.fate.get() {
            Some(error) => Error::Poisoned(Arc::clone(error)),
            None => Error::WriterGone,
        }
    }
}

impl<T> Drop for WriterHandle<T> {
    fn drop(&mut self) {
        self.queue.shut(Then::End);
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
    queue: Arc<Queue<T>>,
    on_report: F,
    durable: watch::Sender<Lsn>,
    fate: Arc<OnceLock<Arc<Error>>>,
}

impl<T: Send + 'static, F: FnMut(Report<T>)> Writer<T, F> {
    fn run(mut self) -> Result<(), Error> {
        let _ending = Ending(Arc::clone(&self.queue));
        let mut group = Vec::new();
        let mut rhythm = Rhythm::default();
        let mut packer = Packer::default();
        // None: whatever an earlier process left is packed with the first commit of this one.
        let mut segment = None;
        loop {
            rhythm.wait_for_callers(&self.queue);
            let then = self.queue.take(&mut group);
            if !group.is_empty() {
                rhythm.group = group.len();
                let start = Instant::now();
                self.commit(&mut group)?;
                rhythm.took = start.elapsed();
                let newest = Some(self.journal.segment());
                if segment != newest
                    && let Some(files) = self.journal.pack_in()
                {
                    packer.sealed(Arc::clone(files));
                }
                segment = newest;
            }
            match then {
                Then::GoOn => {}
                Then::Close => return self.journal.close(),
                Then::End => return Ok(()),
            }
        }
    }

    fn commit(&mut self, group: &mut Vec<Waiting<T>>) -> Result<(), Error> {
        let timed: Vec<Timed<'_>> = group
            .iter()
            .map(|waiting| Timed {
                time_us: waiting.time_us,
                draft: &waiting.draft,
                measured: &waiting.measured,
            })
            .collect();
        let expected_first = group.first().map_or(Lsn::ORIGIN, |waiting| waiting.first);
        let committed = match self.journal.commit_timed(expected_first, &timed) {
            Ok(committed) => committed,
            Err(error) => return Err(self.fail(error, group)),
        };
        self.durable.send_replace(committed.last);
        let drafts = group
            .drain(..)
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

    fn fail(&mut self, error: Error, group: &mut Vec<Waiting<T>>) -> Error {
        // The journal wraps its first failure as `Poisoned`; the cause is what is to be told.
        let cause = match error {
            Error::Poisoned(cause) => cause,
            other => Arc::new(other),
        };
        let cause = Arc::clone(self.fate.get_or_init(|| cause));
        tracing::error!(error = %cause, "the journal can not be written any more");
        group.extend(self.queue.writer_ended());
        let tokens = group.drain(..).map(|waiting| waiting.token).collect();
        (self.on_report)(Report::Failed(Failed {
            error: Arc::clone(&cause),
            tokens,
        }));
        Error::Poisoned(cause)
    }
}

/// How the writer keeps callers who wait for their answers from falling into two halves that
/// take turns: with half of them in every sync, each waits for two.
#[derive(Default)]
struct Rhythm {
    /// How many drafts the last commit had.
    group: usize,
    /// How long it took.
    took: Duration,
    /// How many commits go without waiting, because waiting was in vain.
    pause: u32,
    /// How long the next such pause is.
    pause_next: u32,
}

impl Rhythm {
    /// After some others are already waiting again, waits a little for those just answered.
    fn wait_for_callers<T>(&mut self, queue: &Queue<T>) {
        let waiting = queue.len();
        if self.group == 0 || waiting == 0 {
            return;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let patience = (self.took / PATIENCE_PART).min(PATIENCE_MAX);
        if queue.gather(self.group + waiting, patience) {
            self.pause_next = 0;
        } else {
            self.pause = self.pause_next;
            self.pause_next = (self.pause_next * 2 + 1).min(PAUSE_COMMITS_MAX);
        }
    }
}

/// However the thread ends, nobody may wait for it any more. Tokens that are left are dropped,
/// which whoever waits for one notices.
struct Ending<T>(Arc<Queue<T>>);

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        drop(self.0.writer_ended());
    }
}
