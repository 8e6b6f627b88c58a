// SPDX-License-Identifier: GPL-3.0-or-later
//! The engine thread: brings messages and ticks to the heart, on the machine's own clocks.
//!
//! What a request does is decided in `heart.rs`.

use std::{sync::Arc, time::Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tablao_core::{Lsn, Timestamp};
use tablao_journal::{Draft, Lsn as JournalLsn, WriterHandle};
use tokio::sync::{Semaphore, oneshot};

use super::{
    Message, Reply,
    heart::{Heart, Surroundings, TICK},
    projector::{Settlement, ToProjector},
};
use crate::clock;

/// The writer thread, the projector thread, and the machine's clocks.
pub(super) struct Threads {
    pub(super) writer: Arc<WriterHandle<Settlement>>,
    pub(super) projector: Sender<ToProjector>,
}

impl Surroundings for Threads {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Timestamp {
        clock::now()
    }

    fn seed(&mut self) -> u64 {
        clock::seed()
    }

    fn append(
        &mut self,
        first: JournalLsn,
        draft: Draft,
        settlement: Settlement,
    ) -> Result<(), tablao_journal::Error> {
        self.writer.append(first, draft, settlement).map(|_| ())
    }

    fn barrier(&mut self, at: Lsn, reply: oneshot::Sender<Reply>, answer: Reply) {
        // A projector that is gone has lost its journal; the asker finds its channel closed.
        let _ = self
            .projector
            .send(ToProjector::Barrier { at, reply, answer });
    }
}

pub(super) struct EngineThread {
    pub(super) heart: Heart<Threads>,
    pub(super) receiver: Receiver<Message>,
    pub(super) permits: Arc<Semaphore>,
}

/// Why the engine thread ends.
enum End {
    Closed,
    JournalFailed(tablao_journal::Error),
}

impl EngineThread {
    pub(super) fn run(mut self) {
        let end = self.beat();
        let Threads { writer, projector } = &self.heart.around;
        // Askers that are still waiting find their channel closed.
        self.permits.close();
        match end {
            End::Closed => {
                if let Err(error) = writer.close() {
                    tracing::error!(%error, "close the journal");
                }
            }
            // The writer's own report may come after this one. Were the projector only told to
            // close, nobody would learn of the failure and the process would go on without us.
            End::JournalFailed(error) => {
                let _ = projector.send(ToProjector::Broken(error));
            }
        }
        // The projector ends when it has folded what is durable.
        let _ = projector.send(ToProjector::Close);
    }

    fn beat(&mut self) -> End {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let wake = match self.heart.parked.next_expiry() {
                Some(expiry) => expiry.min(next_tick),
                None => next_tick,
            };
            let patience = wake.saturating_duration_since(Instant::now());
            let mut quiet = true;
            let step = match self.receiver.recv_timeout(patience) {
                Ok(Message::Close) => return End::Closed,
                Ok(message) => {
                    quiet = false;
                    self.permits.add_permits(1);
                    self.take(message)
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return End::Closed,
            };
            if let Err(error) = step {
                return End::JournalFailed(error);
            }
            self.heart.expire();
            let now = Instant::now();
            if now >= next_tick {
                if let Err(error) = self.heart.tick() {
                    return End::JournalFailed(error);
                }
                next_tick = now + self.heart.quiet_for();
            } else if !quiet {
                // What came may have to be looked after.
                next_tick = next_tick.min(now + TICK);
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<(), tablao_journal::Error> {
        match message {
            Message::Ask {
                ask,
                reply,
                patience,
            } => self.heart.ask(*ask, reply, patience),
            Message::Heard(heard) => {
                self.heart.heard(heard);
                Ok(())
            }
            Message::Expire(expiries) => {
                self.heart.due.expiries = expiries;
                Ok(())
            }
            Message::Close => Ok(()),
        }
    }
}
