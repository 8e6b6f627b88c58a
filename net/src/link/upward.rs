// SPDX-License-Identifier: GPL-3.0-or-later
//! A linked Manager's side: keeps the two journals flowing and carries out what is asked of it.
//!
//! The Manager works on while the Server is away; everything resumes from positions.

use std::{sync::Arc, time::Duration};

use tablao_core::{
    Actor, ActorKind, Event, Lsn, Recorded, Refusal, Request, Via, codec, decide::Asker,
    entity::RemoteVerb, request::NewJob,
};
use tokio::sync::watch;

use super::{Hello, LinkFile, Pushed, Site, Welcome, hex_id, mirrors::journal_lsn, parse_hex_id};
use crate::{
    Error,
    engine::{Ask, Engine},
    node::Node,
};

/// How much of a journal goes into one request, in bytes.
const PUSH_BYTES_MAX: usize = 4 << 20;
/// How long the Server may hold back news, in seconds.
const PULL_WAIT_S: u64 = 30;
const RETRY_MS_MIN: u64 = 200;
const RETRY_MS_MAX: u64 = 5_000;

/// Keeps the link going until the process stops.
pub async fn run(node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
    let Some(site) = node.site.clone().filter(|_| node.link.is_linked()) else {
        return;
    };
    let mut retry_ms = RETRY_MS_MIN;
    let mut told = String::new();
    loop {
        let session = session(&node, &site);
        let ended = tokio::select! {
            ended = session => ended,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let what = match ended {
            Ok(()) => {
                retry_ms = RETRY_MS_MIN;
                continue;
            }
            Err(error) => error.to_string(),
        };
        if what != told {
            tracing::warn!(
                error = what,
                "the link to the Server is down; this site works on alone"
            );
            told = what;
        }
        tokio::time::sleep(Duration::from_millis(retry_ms)).await;
        retry_ms = (retry_ms * 2).min(RETRY_MS_MAX);
    }
}

struct Session {
    client: reqwest::Client,
    link: LinkFile,
    manager: String,
}

impl Session {
    fn url(&self, path: &str) -> String {
        format!("{}/api/farm/v1/replication/{path}", self.link.url)
    }

    fn error(&self, doing: &'static str, what: impl ToString) -> Error {
        Error::Server {
            doing,
            url: self.link.url.clone(),
            what: what.to_string(),
        }
    }

    fn with_key(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .bearer_auth(self.link.key.as_deref().unwrap_or_default())
            .header("tablao-manager", &self.manager)
    }

    async fn send(
        &self,
        doing: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Error> {
        let answer = self
            .with_key(request)
            .send()
            .await
            .map_err(|error| self.error(doing, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        Err(self.error(doing, format!("it answered {status}: {text}")))
    }
}

/// One connection's worth: greet, then pull and push until something breaks.
async fn session(node: &Arc<Node>, engine: &Engine) -> Result<(), Error> {
    let Some(link) = node.link.get() else {
        return Ok(());
    };
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("Tablao-Manager/", env!("CARGO_PKG_VERSION")))
        .build();
    let mut session = Session {
        client: client.map_err(|error| Error::Server {
            doing: "prepare to call",
            url: link.url.clone(),
            what: error.to_string(),
        })?,
        link,
        manager: node.manager().to_string(),
    };
    let hello = Hello {
        manager: node.manager(),
        name: node.config.manager_name.clone(),
        link_token: session.link.link_token.clone(),
        site_journal: hex_id(engine.journal().id),
        build: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let request = session
        .client
        .post(session.url("hello"))
        .json(&hello)
        .timeout(Duration::from_secs(10));
    let answer = session.send("greet", request).await?;
    let welcome: Welcome = answer
        .json()
        .await
        .map_err(|error| session.error("greet", error))?;
    let control_journal = parse_hex_id(&welcome.control_journal)
        .ok_or_else(|| session.error("greet", "its journal id is malformed"))?;
    let remembered = LinkFile {
        key: welcome.key.clone().or(session.link.key.clone()),
        link_token: None,
        server: Some(welcome.server),
        ..session.link.clone()
    };
    node.link.remember(remembered.clone())?;
    session.link = remembered;
    let follow = Request::FollowServer {
        control_journal,
        url: session.link.url.clone(),
    };
    let _ = engine.ask(Ask::system(follow)).await?;
    let mirror = node.mirrors_above(welcome.server, control_journal)?;
    tracing::info!(server = session.link.url, "linked to the Server");
    tokio::try_join!(
        pull(&session, &mirror),
        push(&session, engine, welcome.site_next),
        carry_out(node, engine, &session, &mirror),
    )?;
    Ok(())
}

/// Brings the control journal down.
async fn pull(session: &Session, mirror: &Arc<Site>) -> Result<(), Error> {
    loop {
        let url = session.url(&format!(
            "control?from={}&wait={PULL_WAIT_S}",
            mirror.next()
        ));
        let request = session
            .client
            .get(url)
            .timeout(Duration::from_secs(PULL_WAIT_S + 15));
        let answer = session.send("follow", request).await?;
        let bytes = answer
            .bytes()
            .await
            .map_err(|error| session.error("follow", error))?;
        if bytes.is_empty() {
            continue;
        }
        let mirror = Arc::clone(mirror);
        blocking(move || mirror.append(&bytes)).await?;
    }
}

/// Brings the site journal up.
async fn push(session: &Session, engine: &Engine, mut next: u64) -> Result<(), Error> {
    let view = engine.view().clone();
    let mut position = view.position.clone();
    loop {
        let durable = position.borrow_and_update().get();
        if durable < next {
            // The session ends with the engine.
            if position.changed().await.is_err() {
                return Err(crate::engine::Stopped.into());
            }
            continue;
        }
        let reader = Arc::clone(&view.reader);
        let raw = blocking(move || {
            let up_to = tablao_journal::Lsn::new(durable);
            Ok(reader.read_raw(tablao_journal::Lsn::new(next), up_to, PUSH_BYTES_MAX)?)
        })
        .await?;
        if raw.bytes.is_empty() {
            // The batch at hand ends beyond what is known to be durable: wait for it.
            if position.changed().await.is_err() {
                return Err(crate::engine::Stopped.into());
            }
            continue;
        }
        let request = session
            .client
            .post(session.url("site"))
            .body(raw.bytes)
            .timeout(Duration::from_secs(60));
        let answer = session.send("report to", request).await?;
        let pushed: Pushed = answer
            .json()
            .await
            .map_err(|error| session.error("report to", error))?;
        next = pushed.next;
    }
}

async fn blocking<T: Send + 'static>(
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

/// Carries out what the control journal asks of this Manager, in order, each once.
async fn carry_out(
    node: &Arc<Node>,
    engine: &Engine,
    session: &Session,
    mirror: &Arc<Site>,
) -> Result<(), Error> {
    let view = mirror.view().clone();
    let mut position = view.position.clone();
    loop {
        let settled = engine.model().farm().settled();
        let reader = Arc::clone(&view.reader);
        // What is beyond this may be written but not yet synced.
        let durable = *position.borrow_and_update();
        let wanted = blocking(move || {
            let mut wanted = Vec::new();
            for record in reader.records(journal_lsn(settled.next()))? {
                let record = record?;
                if record.lsn.get() > durable.get() {
                    break;
                }
                if let Some(recorded) = crate::records::read(&record)? {
                    wanted.push(recorded);
                }
            }
            Ok(wanted)
        })
        .await?;
        for recorded in wanted {
            settle(node, engine, session, &recorded).await?;
        }
        if position.changed().await.is_err() {
            return Ok(());
        }
    }
}

async fn settle(
    node: &Arc<Node>,
    engine: &Engine,
    session: &Session,
    recorded: &Recorded,
) -> Result<(), Error> {
    let actor = Actor {
        kind: ActorKind::User,
        id: None,
        via: Via::Replication,
    };
    let asker = Asker {
        name: "the Server".to_owned(),
        address: session.link.url.clone(),
    };
    let (job, reply) = match &recorded.event {
        Event::JobPlaced(placed) if placed.manager == node.manager() => {
            let bytes = fetch_blob(node, session, placed.submission).await?;
            let mut job: NewJob = codec::from_bytes(&bytes)
                .map_err(|error| session.error("read a job placed by", error))?;
            job.facts.manager = node.manager();
            (
                placed.job,
                node.accept_job(engine, job, actor, asker, None).await?,
            )
        }
        Event::RequestAccepted(accepted) if accepted.manager == node.manager() => {
            let reason = recorded.detail.reason_text().to_owned();
            let job = accepted.job;
            let request = match accepted.verb {
                RemoteVerb::SetStatus(status) => Request::SetJobStatus {
                    job,
                    status,
                    reason,
                },
                RemoteVerb::SetPriority(priority) => Request::SetJobPriority { job, priority },
            };
            (job, engine.ask(Ask::new(request, actor, asker)).await?)
        }
        _ => return Ok(()),
    };
    let refused: Option<Refusal> = reply.err();
    let settle = Request::SettleRemote {
        control: Lsn::new(recorded.lsn.get()),
        job,
        refused: refused.as_ref().map(Refusal::code),
        reason: refused
            .map(|refusal| refusal.to_string())
            .unwrap_or_default(),
    };
    let _ = engine.ask(Ask::system(settle)).await?;
    Ok(())
}

async fn fetch_blob(node: &Arc<Node>, session: &Session, hash: [u8; 32]) -> Result<Vec<u8>, Error> {
    if let Ok(bytes) = node.blobs.get(&hash) {
        return Ok(bytes);
    }
    let name = blake3::Hash::from_bytes(hash).to_hex();
    let request = session
        .client
        .get(session.url(&format!("blobs/{name}")))
        .timeout(Duration::from_secs(60));
    let answer = session.send("fetch a submission from", request).await?;
    let bytes = answer
        .bytes()
        .await
        .map_err(|error| session.error("fetch a submission from", error))?;
    let blobs = node.blobs.clone();
    let bytes = bytes.to_vec();
    let (kept, bytes) = blocking(move || Ok((blobs.put(&bytes)?, bytes))).await?;
    if kept == hash {
        Ok(bytes)
    } else {
        Err(session.error(
            "fetch a submission from",
            "its content is not what its name says",
        ))
    }
}
