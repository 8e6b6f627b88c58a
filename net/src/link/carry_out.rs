// SPDX-License-Identifier: GPL-3.0-or-later
//! Carries out at a Manager what the Server's control journal asks of it, in order, each once.
//!
//! A wish about a job and its settlement are one decision of the site journal. A placement is
//! settled after the job is there; repeated before that, it goes on where it was cut off.

use std::{sync::Arc, time::Duration};

use tablao_core::{
    Actor, ActorKind, Recorded, Refusal, Request, Via, codec, decide::Asker, request::NewJob,
};

use super::{
    Site,
    caller::Caller,
    protocol::{self, Wish, records_between},
    upward::blocking,
};
use crate::{
    Error,
    engine::{Ask, Engine, Reply, Stopped},
    node::Node,
};

/// Pause before something that could not be fetched is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Follows the copy of the control journal for as long as the session lasts.
pub(super) async fn carry_out(
    node: &Arc<Node>,
    engine: &Engine,
    caller: &Caller,
    mirror: &Arc<Site>,
) -> Result<(), Error> {
    let view = mirror.view().clone();
    let mut position = view.position.clone();
    let mut next = engine.model().farm().settled().next();
    loop {
        // What is beyond this may be written but not yet synced.
        let durable = *position.borrow_and_update();
        if next <= durable {
            let reader = Arc::clone(&view.reader);
            let wanted = blocking(move || records_between(&reader, next, durable)).await?;
            for recorded in wanted {
                while let Err(error) = settle(node, engine, caller, &recorded).await {
                    if matches!(error, Error::Stopped(_)) {
                        return Err(error);
                    }
                    // The line's end shows in pulling and pushing; the order is kept meanwhile.
                    tracing::warn!(%error, position = %recorded.lsn, "carry out what the Server asks");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
            next = durable.next();
        }
        position.changed().await.map_err(|_| Stopped)?;
    }
}

async fn settle(
    node: &Arc<Node>,
    engine: &Engine,
    caller: &Caller,
    recorded: &Recorded,
) -> Result<(), Error> {
    let actor = Actor {
        kind: ActorKind::User,
        id: None,
        via: Via::Replication,
    };
    let asker = Asker {
        name: "the Server".to_owned(),
        address: caller.link().url.clone(),
    };
    match protocol::wish(recorded, node.manager()) {
        Some(Wish::Place {
            submission,
            job: id,
            epoch,
        }) => {
            let bytes = fetch_blob(node, caller, submission).await?;
            let reply: Reply = match codec::from_bytes::<NewJob>(&bytes) {
                Ok(mut job) => {
                    job.facts.manager = node.manager();
                    job.facts.job_epoch = epoch;
                    node.accept_job(engine, job, actor, asker, None).await?
                }
                Err(error) => Err(Refusal::UnsoundSubmission {
                    reason: format!(
                        "this Manager cannot read it ({error}); bring Server and Manager to the \
                         same release and submit it again"
                    ),
                }),
            };
            let refused: Option<Refusal> = reply.err();
            let settle = Request::SettleRemote {
                control: recorded.lsn,
                job: id,
                refused: refused.as_ref().map(Refusal::code),
                reason: refused
                    .map(|refusal| refusal.to_string())
                    .unwrap_or_default(),
            };
            let _ = engine.ask(Ask::system(settle)).await?;
        }
        Some(Wish::Ask(request)) => {
            let _ = engine.ask(Ask::new(request, actor, asker)).await?;
        }
        None => {}
    }
    Ok(())
}

async fn fetch_blob(node: &Arc<Node>, caller: &Caller, hash: [u8; 32]) -> Result<Vec<u8>, Error> {
    let doing = "fetch a submission from";
    if let Ok(bytes) = node.blobs.get(&hash) {
        return Ok(bytes);
    }
    let name = blake3::Hash::from_bytes(hash).to_hex();
    let request = caller
        .get(&format!("blobs/{name}"))
        .timeout(Duration::from_secs(60));
    let bytes = caller.bytes(doing, request).await?;
    if *blake3::hash(&bytes).as_bytes() != hash {
        return Err(caller.error(doing, "its content is not what its name says"));
    }
    let blobs = node.blobs.clone();
    blocking(move || {
        blobs.put(&bytes)?;
        Ok(bytes)
    })
    .await
}
