// SPDX-License-Identifier: GPL-3.0-or-later
//! The engine's shell around the pure core: one way in, for one journal.
//!
//! A request goes to the engine thread, is decided and applied there, goes to the journal's
//! writer thread, and when its sync has returned to the projector thread, where the read
//! model passes it and the asker is answered. Nothing that is not durable is observable.

mod checkpointer;
mod due;
mod heart;
mod liveness;
pub mod local_clock;
mod parked;
mod projector;
mod run;
mod settings;
mod start;
pub mod stepped;
mod streaks;

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use crossbeam_channel::{Sender, TrySendError};
use tablao_core::{
    Actor, Answer, AttemptId, Recorded, Refusal, Request, WorkerId, decide::Asker, event::Body,
};
use tablao_projections::ReadModel;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::view::View;

pub use due::Expiries;
pub use settings::EngineOptions;
pub use start::Started;

/// How many requests may wait for the engine thread. At some ten microseconds each, a full
/// queue is a wait of about 40 ms; beyond that callers wait for a permit instead.
const WAITING_REQUESTS_MAX: usize = 4096;

/// A request with everything that its decision records.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What is wanted.
    pub request: Request,
    /// Who wants it.
    pub actor: Actor,
    /// The same in words.
    pub asker: Asker,
    /// BLAKE3 of the idempotency key.
    pub key: Option<[u8; 32]>,
    /// Where the request's body is kept.
    pub body: Body,
}

impl Ask {
    /// A request whose body stands in the decision.
    pub fn new(request: Request, actor: Actor, asker: Asker) -> Self {
        Self {
            request,
            actor,
            asker,
            key: None,
            body: Body::Inline,
        }
    }

    /// A request of Tablao itself.
    pub fn system(request: Request) -> Self {
        Self::new(request, Actor::SYSTEM, Asker::default())
    }

    /// What a schedule wants that somebody set.
    pub fn schedule(request: Request) -> Self {
        let actor = Actor {
            kind: tablao_core::ActorKind::Schedule,
            ..Actor::SYSTEM
        };
        Self::new(request, actor, Asker::default())
    }
}

/// The engine ended before it could answer: its journal cannot be written any more, or the
/// process is shutting down. Whether the request was carried out is for the asker to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

/// What the asker hears.
pub type Reply = Result<Answer, Refusal>;

/// Something a worker said that is not journalled but shows that it lives.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The worker.
    pub worker: WorkerId,
    /// The attempt it spoke about.
    pub attempt: Option<AttemptId>,
}

enum Message {
    Ask {
        ask: Box<Ask>,
        reply: oneshot::Sender<Reply>,
        /// An ask for a task may wait this long for one.
        patience: std::time::Duration,
    },
    Heard(Heard),
    Expire(Expiries),
    Close,
}

/// Records that became durable together, as subscribers get them.
pub type Batch = Arc<[Recorded]>;

/// A cheap handle to an engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    sender: Sender<Message>,
    permits: Arc<Semaphore>,
    view: View,
    failed: watch::Receiver<Option<String>>,
    threads: std::sync::Mutex<Vec<std::thread::JoinHandle<()>>>,
}

/// Which journal an engine writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalIdentity {
    /// The journal's id.
    pub id: [u8; 16],
    /// Its incarnation.
    pub incarnation: u32,
}

impl Engine {
    /// Has a request decided; resolves when what came of it is durable and can be read.
    pub async fn ask(&self, ask: Ask) -> Result<Reply, Stopped> {
        self.ask_patiently(ask, std::time::Duration::ZERO).await
    }

    /// The same; an ask for a task may wait for one.
    pub async fn ask_patiently(
        &self,
        ask: Ask,
        patience: std::time::Duration,
    ) -> Result<Reply, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Ask {
            ask: Box::new(ask),
            reply,
            patience,
        })
        .await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Notes that a worker lives. Not journalled, and not worth waiting for.
    pub async fn heard(&self, heard: Heard) -> Result<(), Stopped> {
        self.send(Message::Heard(heard)).await
    }

    /// Sets when things that go by themselves go, from now on.
    pub async fn set_expiries(&self, expiries: Expiries) -> Result<(), Stopped> {
        self.send(Message::Expire(expiries)).await
    }

    /// Never blocks a runtime thread: as many permits as the channel has places.
    async fn send(&self, message: Message) -> Result<(), Stopped> {
        let permit = self.shared.permits.acquire().await.map_err(|_| Stopped)?;
        match self.shared.sender.try_send(message) {
            Ok(()) => {
                // The engine thread gives the permit back when it takes the message out.
                permit.forget();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Stopped),
        }
    }

    /// What can be read of this engine's journal.
    pub fn view(&self) -> &View {
        &self.shared.view
    }

    /// The read model at the durable position. Hold it briefly: the projector waits.
    pub fn model(&self) -> RwLockReadGuard<'_, ReadModel> {
        self.shared.view.read()
    }

    /// Becomes `Some` when the journal cannot be written any more: the process should end.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.clone()
    }

    /// Which journal this engine writes.
    pub fn journal(&self) -> JournalIdentity {
        self.shared.view.journal
    }

    /// Makes durable what waits, saves a checkpoint, leaves the clean mark, ends the threads.
    pub fn close(&self) {
        // A full queue or a gone thread both mean that there is nothing to close in order.
        let _ = self.shared.sender.send(Message::Close);
        let threads = std::mem::take(
            &mut *self
                .shared
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("an engine thread panicked");
            }
        }
    }
}
