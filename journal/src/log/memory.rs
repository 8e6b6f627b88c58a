// SPDX-License-Identifier: GPL-3.0-or-later
//! A log without a disk: durable as soon as it is appended, gone with the process.
//!
//! It makes the same batches as a journal folder would, so that whoever reads them sees no
//! difference.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Appended, Log, LogFuture, Sealed};
use crate::batch::{Batch, RawBatch, genesis_chain};
use crate::encode::{Measured, Origin, Timed, encode_drafts};
use crate::error::Error;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::record::Draft;

struct State {
    id: JournalId,
    batches: Vec<Batch>,
    next: Lsn,
    chain: ChainValue,
    time_us: u64,
    /// Dropped when sealed, which ends the waits for what will never come.
    durable: Option<watch::Sender<Lsn>>,
}

/// A log in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    durable: watch::Receiver<Lsn>,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(id: JournalId) -> Self {
        let (sender, durable) = watch::channel(Lsn::ORIGIN);
        let state = State {
            id,
            batches: Vec::new(),
            next: Lsn::FIRST,
            chain: genesis_chain(id),
            time_us: 0,
            durable: Some(sender),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            durable,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends without the wrapping of a future.
    pub(crate) fn append_now(&self, expected: Lsn, draft: &Draft) -> Result<Appended, Error> {
        let measured = Measured::new(draft)?;
        let mut state = self.state();
        let first = state.next;
        if state.durable.is_none() {
            return Err(Error::Closed);
        }
        if expected != first {
            return Err(Error::StalePosition {
                expected,
                next: first,
            });
        }
        let time_us = draft.time_us.max(state.time_us);
        let origin = Origin {
            id: state.id,
            incarnation: 1,
            durable_upto: first.previous(),
        };
        let mut bytes = Vec::new();
        let timed = Timed {
            time_us,
            draft,
            measured: &measured,
        };
        encode_drafts(origin, first, state.chain, &[timed], &mut bytes);
        let batch = RawBatch::parse(&bytes, state.id)
            .and_then(|raw| {
                raw.verify(first, state.chain)?;
                raw.to_batch()
            })
            .expect("a batch that was just encoded is whole");
        let last = batch.last;
        state.next = last.next();
        state.chain = batch.chain;
        state.time_us = time_us;
        state.batches.push(batch);
        if let Some(durable) = &state.durable {
            durable.send_replace(last);
        }
        Ok(Appended {
            first,
            last,
            time_us,
        })
    }

    pub(crate) fn read_now(&self, from: Lsn, batches_max: usize) -> Result<Vec<Batch>, Error> {
        let state = self.state();
        if from > state.next {
            return Err(Error::NotYet {
                asked: from,
                next: state.next,
            });
        }
        let start = state.batches.partition_point(|batch| batch.last < from);
        let batches = state.batches[start..].iter().take(batches_max);
        Ok(batches.cloned().collect())
    }

    pub(crate) fn seal_now(&self) -> Result<Sealed, Error> {
        let mut state = self.state();
        state.durable.take().ok_or(Error::Closed)?;
        Ok(Sealed {
            next: state.next,
            chain: state.chain,
        })
    }
}

impl Log for MemoryLog {
    fn append(&self, expected_first: Lsn, draft: Draft) -> LogFuture<Appended> {
        let appended = self.append_now(expected_first, &draft);
        Box::pin(async move { appended })
    }

    fn read(&self, from: Lsn, batches_max: usize) -> LogFuture<Vec<Batch>> {
        let batches = self.read_now(from, batches_max);
        Box::pin(async move { batches })
    }

    fn wait_for(&self, position: Lsn) -> LogFuture<()> {
        let mut durable = self.durable.clone();
        Box::pin(async move {
            match durable.wait_for(|durable| *durable >= position).await {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::Closed),
            }
        })
    }

    fn seal(&self) -> LogFuture<Sealed> {
        let sealed = self.seal_now();
        Box::pin(async move { sealed })
    }
}
