// SPDX-License-Identifier: GPL-3.0-or-later
//! A linked Manager's side: greets the Server and keeps the two journals flowing.
//!
//! The Manager works on while the Server is away; everything resumes from positions. A history
//! that does not continue the other side's is refused before anything of it is sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tablao_core::Request;
use tokio::sync::watch;

use super::{
    Hello, LinkFile, Pushed, Site, Welcome,
    caller::Caller,
    carry_out::carry_out,
    hex_id, parse_hex_id,
    protocol::{self, NEWS_BYTES_MAX},
    retry::Retry,
};
use crate::{
    Error, clock,
    engine::{Ask, Engine, Stopped},
    node::Node,
};

/// How long the Server may hold back news, in seconds.
const PULL_WAIT_S: u64 = 30;

/// A whole farm's state takes longer than news of it.
const BASELINE_PATIENCE: Duration = Duration::from_secs(600);

/// Keeps the link going until the process stops.
pub async fn run(node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
    let Some(site) = node.site.clone().filter(|_| node.link.is_linked()) else {
        return;
    };
    let mut retry = Retry::new();
    loop {
        let mut linked_at = None;
        let ended = tokio::select! {
            ended = session(&node, &site, &mut linked_at) => ended,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let what = match ended {
            // The engine closes with the process.
            Ok(()) | Err(Error::Stopped(_)) => return,
            Err(error) => in_words(&error),
        };
        node.link.note_trouble(Some(&what));
        let held = linked_at.map_or(Duration::ZERO, |at: Instant| at.elapsed());
        let (wait, is_news) = retry.ended(held, &what);
        if is_news {
            tracing::warn!(
                error = what,
                "the link to the Server is down; this site works on alone"
            );
        }
        tokio::time::sleep(wait).await;
    }
}

fn in_words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// One connection's worth: greet, then pull and push until something breaks.
async fn session(
    node: &Arc<Node>,
    engine: &Engine,
    linked_at: &mut Option<Instant>,
) -> Result<(), Error> {
    let Some(mut link) = node.link.get() else {
        return Ok(());
    };
    if link.key.is_none() {
        // Made here and kept before it is shown, so that the token's exchange can be repeated
        // when its answer got lost.
        link.key = Some(new_key());
        node.link.remember(link.clone())?;
    }
    let caller = Caller::new(node, link)?;
    let welcome = greet(node, engine, &caller).await?;
    let control_journal = parse_hex_id(&welcome.control_journal)
        .ok_or_else(|| caller.error("greet", "its journal id is malformed"))?;
    check_site(engine, &caller, &welcome).await?;
    let followed = engine.model().farm().control_journal();
    if followed.is_some_and(|followed| followed != control_journal) {
        return Err(caller.error(
            "follow",
            "it has another control journal than the one that this Manager follows, so it is \
             another Server or was begun anew. Moving a Manager to another Server is not there \
             yet: bring back the Server's data directory, or start a Manager with a data \
             directory of its own",
        ));
    }
    let mirror = node.mirrors_above(welcome.server, control_journal)?;
    if let Some(why) = protocol::refusal_to_follow(&mirror, caller.link().term, &welcome) {
        return Err(caller.error("follow", why));
    }
    if mirror.next() == 1 && welcome.control_oldest > 1 {
        let request = caller.get("control-baseline").timeout(BASELINE_PATIENCE);
        let bytes = caller.bytes("follow", request).await?;
        let mirror = Arc::clone(&mirror);
        blocking(move || mirror.begin_at(&bytes)).await?;
    }
    let linked = LinkFile {
        link_token: None,
        server: Some(welcome.server),
        term: welcome.term,
        ..caller.link().clone()
    };
    if node.link.get().as_ref() != Some(&linked) {
        node.link.remember(linked)?;
    }
    let follow = Request::FollowServer {
        control_journal,
        url: caller.link().url.clone(),
    };
    let _ = engine.ask(Ask::system(follow)).await?;
    tracing::info!(server = caller.link().url, "linked to the Server");
    *linked_at = Some(Instant::now());
    node.link.note_trouble(None);
    tokio::try_join!(
        pull(&caller, &mirror),
        push(&caller, engine, welcome.site_next),
        carry_out(node, engine, &caller, &mirror),
    )?;
    Ok(())
}

fn new_key() -> String {
    format!("{}{}", clock::new_id().simple(), clock::new_id().simple())
}

async fn greet(node: &Arc<Node>, engine: &Engine, caller: &Caller) -> Result<Welcome, Error> {
    let hello = Hello {
        manager: node.manager(),
        name: node.in_force().config.manager_name.clone(),
        link_token: caller.link().link_token.clone(),
        key: caller.link().key.clone().unwrap_or_default(),
        site_journal: hex_id(engine.journal().id),
        site_next: engine.view().at().next().get(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let request = caller
        .post("hello")
        .json(&hello)
        .timeout(Duration::from_secs(10));
    caller.json("greet", request).await
}

/// What the Server has of the site journal has to be the beginning of what is here.
async fn check_site(engine: &Engine, caller: &Caller, welcome: &Welcome) -> Result<(), Error> {
    let view = engine.view().clone();
    let next = welcome.site_next;
    let welcome = welcome.clone();
    if blocking(move || protocol::is_beginning_of(&view, &welcome)).await? {
        return Ok(());
    }
    Err(caller.error(
        "report to",
        format!(
            "its mirror of this Manager's journal has another history up to position {next}: this \
             data directory was restored from an older copy, or two Managers run from copies of \
             one. Nothing was sent. Stop this Manager and bring back its newer data directory"
        ),
    ))
}

/// Brings the control journal down.
async fn pull(caller: &Caller, mirror: &Arc<Site>) -> Result<(), Error> {
    loop {
        let request = caller
            .get(&format!(
                "control?from={}&wait={PULL_WAIT_S}",
                mirror.next()
            ))
            .timeout(Duration::from_secs(PULL_WAIT_S + 15));
        let bytes = caller.bytes("follow", request).await?;
        if bytes.is_empty() {
            continue;
        }
        let mirror = Arc::clone(mirror);
        blocking(move || mirror.append(&bytes)).await?;
    }
}

/// Brings the site journal up.
async fn push(caller: &Caller, engine: &Engine, mut next: u64) -> Result<(), Error> {
    let view = engine.view().clone();
    let mut position = view.position.clone();
    let beginning = {
        let view = view.clone();
        blocking(move || protocol::beginning_for(&view, next)).await?
    };
    if let Some(bytes) = beginning {
        let request = caller
            .post("site-baseline")
            .body(bytes)
            .timeout(BASELINE_PATIENCE);
        let pushed: Pushed = caller.json("report to", request).await?;
        next = pushed.next;
    }
    loop {
        let durable = position.borrow_and_update().get();
        if durable >= next {
            let view = view.clone();
            let bytes = blocking(move || protocol::news(&view, next, NEWS_BYTES_MAX)).await?;
            // Nothing: the batch at hand ends beyond what is known to be durable.
            if !bytes.is_empty() {
                let request = caller
                    .post("site")
                    .body(bytes)
                    .timeout(Duration::from_secs(60));
                let pushed: Pushed = caller.json("report to", request).await?;
                next = pushed.next;
                continue;
            }
        }
        // The session ends with the engine.
        position.changed().await.map_err(|_| Stopped)?;
    }
}

/// Runs what blocks on the disk off the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Thread {
            name: "replication".to_owned(),
            source: std::io::Error::other(error),
        }),
    }
}
