// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes into a journal at rest what is about to be done to it: an erasure, a baseline.
//!
//! The same engine as a running farm's decides and appends it, once; the record is durable before
//! anything is done. So the history says who did it, when and why, also after a crash half way.

use tablao_core::{Actor, ActorKind, Request, Via, decide::Asker};
use tablao_journal::Authority;
use tablao_net::{
    data_dir::{CONTROL_JOURNAL, DataDir},
    engine::{Ask, Engine, EngineOptions},
};

/// Appends the decision on this request to the journal in `folder`, for the person who runs the
/// command. Only while nobody else has the data directory.
pub(super) fn note(alone: &DataDir, folder: &str, request: Request) -> anyhow::Result<()> {
    let (name, authority) = if folder == CONTROL_JOURNAL {
        ("control", Authority::Control)
    } else {
        ("site", Authority::Site)
    };
    let (engine, _) = Engine::start(&EngineOptions {
        journal_dir: alone.path(folder),
        checkpoint_dir: alone.path("checkpoints").join(name),
        authority,
        manager: alone.identity.manager,
        grace: std::time::Duration::ZERO,
    })?;
    let actor = Actor {
        kind: ActorKind::User,
        id: None,
        via: Via::Cli,
    };
    let asker = Asker {
        name: person(),
        address: String::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let noted = runtime.block_on(engine.ask(Ask::new(request, actor, asker)));
    engine.close();
    match noted {
        Ok(reply) => reply.map(|_| ()).map_err(Into::into),
        Err(stopped) => match engine.failure().borrow().clone() {
            Some(what) => Err(tablao_net::Error::JournalFailed { what }.into()),
            None => Err(stopped.into()),
        },
    }
}

/// Who runs this, as the system calls them; a claim, like every name while auth is off.
fn person() -> String {
    ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_default()
}
