// SPDX-License-Identifier: GPL-3.0-or-later
//! The projector thread: moves the read model past what became durable, then lets the world know.
//!
//! Order matters: the model passes the records, then the position moves, then askers are
//! answered and subscribers told. So whoever was answered reads its own writes.

use std::sync::{Arc, PoisonError, RwLock};

use crossbeam_channel::Receiver;
use tablao_core::Lsn;
use tablao_journal::{ChainValue, Report};
use tablao_projections::{ReadModel, work_of};
use tokio::sync::{broadcast, oneshot, watch};

use super::{Batch, Reply};

/// Folded in one go, in ordinary records: about a millisecond. Readers of the model wait for it.
const WORK_AT_ONCE: u64 = 500;

/// What goes with a draft through the journal.
pub(super) struct Settlement {
    pub(super) records: Batch,
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) answer: Reply,
}

/// What the projector is told.
pub(super) enum ToProjector {
    /// From the journal's writer thread.
    Journal(Report<Settlement>),
    /// An answer that needs no record but must not be ahead of what is durable.
    Barrier {
        at: Lsn,
        reply: oneshot::Sender<Reply>,
        answer: Reply,
    },
    /// The journal refused a draft: it failed, whether or not the writer has said so yet.
    Broken(tablao_journal::Error),
    /// Everything durable is on its way; end.
    Close,
}

/// Whether there is more to come.
pub(super) enum Next {
    GoOn,
    Close,
    Failed,
}

pub(super) struct Projector {
    pub(super) model: Arc<RwLock<ReadModel>>,
    pub(super) position: watch::Sender<Lsn>,
    pub(super) events: broadcast::Sender<Batch>,
    pub(super) failed: watch::Sender<Option<String>>,
    /// Absent where nothing is to be kept beside the journal.
    pub(super) checkpoint: Option<super::checkpointer::Checkpointer>,
    pub(super) barriers: Vec<(Lsn, oneshot::Sender<Reply>, Reply)>,
    pub(super) chain: ChainValue,
}

impl Projector {
    pub(super) fn run(mut self, receiver: &Receiver<ToProjector>) {
        while let Ok(message) = receiver.recv() {
            match self.take(message) {
                Next::GoOn => {}
                Next::Close => break,
                Next::Failed => return,
            }
        }
        if let Some(checkpoint) = self.checkpoint {
            checkpoint.save_at_end(&self.model, self.chain);
        }
    }

    pub(super) fn take(&mut self, message: ToProjector) -> Next {
        match message {
            ToProjector::Journal(Report::Durable(durable)) => {
                self.chain = durable.chain;
                let settlements: Vec<Settlement> = durable
                    .drafts
                    .into_iter()
                    .map(|draft| draft.token)
                    .collect();
                self.pass(settlements);
                Next::GoOn
            }
            ToProjector::Journal(Report::Failed(failed)) => {
                // Dropped replies close their connections: nobody is told anything.
                self.failed.send_replace(Some(told(&failed.error)));
                Next::Failed
            }
            ToProjector::Broken(error) => {
                self.failed.send_replace(Some(told(&error)));
                Next::Failed
            }
            ToProjector::Barrier { at, reply, answer } => {
                if at <= *self.position.borrow() {
                    let _ = reply.send(answer);
                } else {
                    self.barriers.push((at, reply, answer));
                }
                Next::GoOn
            }
            ToProjector::Close => Next::Close,
        }
    }

    fn pass(&mut self, settlements: Vec<Settlement>) {
        let mut left = settlements.into_iter();
        while left.len() > 0 {
            self.pass_some(&mut left);
        }
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.save_if_due(&self.model, self.chain);
        }
    }

    /// Passes what is soon done, and tells of it before the rest: whoever reads the model, and
    /// whoever stands before a large submission, does not wait for all of it.
    fn pass_some(&mut self, left: &mut std::vec::IntoIter<Settlement>) {
        let mut last = *self.position.borrow();
        let mut passed = Vec::with_capacity(left.len());
        {
            let mut model = self.model.write().unwrap_or_else(PoisonError::into_inner);
            let mut done = 0;
            while done < WORK_AT_ONCE
                && let Some(settlement) = left.next()
            {
                for recorded in settlement.records.iter() {
                    model.apply(recorded);
                    if let Some(checkpoint) = &mut self.checkpoint {
                        checkpoint.passed(&recorded.event);
                    }
                    done += work_of(&recorded.event);
                    last = recorded.lsn;
                }
                passed.push(settlement);
            }
        }
        self.position.send_replace(last);
        let has_subscribers = self.events.receiver_count() > 0;
        for settlement in passed {
            if has_subscribers {
                // One that left in the meantime is no error.
                let _ = self.events.send(settlement.records);
            }
            // An asker that is gone does not want its answer.
            let _ = settlement.reply.send(settlement.answer);
        }
        let (ready, waiting) = std::mem::take(&mut self.barriers)
            .into_iter()
            .partition(|(at, _, _)| *at <= last);
        self.barriers = waiting;
        let ready: Vec<(Lsn, oneshot::Sender<Reply>, Reply)> = ready;
        for (_, reply, answer) in ready {
            let _ = reply.send(answer);
        }
    }
}

/// An error with its causes: which file, and what the system said.
fn told(error: &tablao_journal::Error) -> String {
    let mut text = match error {
        // The first failure is what is to be told, not that others follow from it.
        tablao_journal::Error::Poisoned(cause) => return told(cause),
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
