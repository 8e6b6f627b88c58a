// SPDX-License-Identifier: GPL-3.0-or-later
//! The Server's side of the link: greetings, the control journal down, site journals up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use tablao_core::{Actor, ActorKind, ManagerId, Request, Timestamp, Via, decide::Asker};

use super::v3::Problem;
use crate::{
    Error, clock,
    engine::Ask,
    link::{Hello, Pushed, Site, Welcome, parse_hex_id, protocol},
    node::SharedNode,
};

/// How long a link token may be used.
const TOKEN_LIFE_MS: u64 = 15 * 60 * 1000;
/// A key that can be guessed is none: 64 hex digits are 256 bits, two UUIDs are 244.
const KEY_CHARACTERS_MIN: usize = 64;
/// Largest push, in bytes: what a Manager sends at most, and a batch more.
const PUSH_BYTES_MAX: usize = 8 << 20;

/// Largest baseline that is taken in: the state of some millions of tasks.
const BASELINE_BYTES_MAX: usize = 1 << 30;

/// Link tokens that were given out, by their hash. They do not survive a restart of the Server.
#[derive(Debug, Default)]
pub struct LinkTokens(Mutex<BTreeMap<[u8; 32], Timestamp>>);

impl LinkTokens {
    /// Makes a token; returns it and when it ends.
    pub fn create(&self) -> (String, Timestamp) {
        self.create_at(clock::now())
    }

    fn create_at(&self, now: Timestamp) -> (String, Timestamp) {
        let token = format!(
            "tlk_{}{}",
            clock::new_id().simple(),
            clock::new_id().simple()
        );
        let expires = now.plus_millis(TOKEN_LIFE_MS);
        let mut known = self.known();
        known.retain(|_, expires| *expires > now);
        known.insert(*blake3::hash(token.as_bytes()).as_bytes(), expires);
        (token, expires)
    }

    /// Uses a token up.
    pub fn take(&self, token: &str) -> bool {
        self.take_at(token, clock::now())
    }

    fn take_at(&self, token: &str, now: Timestamp) -> bool {
        let taken = self
            .known()
            .remove(blake3::hash(token.as_bytes()).as_bytes());
        taken.is_some_and(|expires| expires > now)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Routes of the link.
pub fn router() -> Router<SharedNode> {
    Router::new()
        .route("/api/farm/v1/link-tokens", post(link_token))
        .route("/api/farm/v1/replication/hello", post(hello))
        .route("/api/farm/v1/replication/control", get(control))
        .route(
            "/api/farm/v1/replication/site",
            post(site).layer(DefaultBodyLimit::max(PUSH_BYTES_MAX)),
        )
        .route(
            "/api/farm/v1/replication/site-baseline",
            post(site_baseline).layer(DefaultBodyLimit::max(BASELINE_BYTES_MAX)),
        )
        .route(
            "/api/farm/v1/replication/control-baseline",
            get(control_baseline),
        )
        .route("/api/farm/v1/replication/blobs/{hash}", get(blob))
}

async fn link_token(State(node): State<SharedNode>) -> Result<Response, Problem> {
    if node.link.is_linked() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this Manager is linked to a Server itself; ask that Server for a token",
        ));
    }
    let (token, expires) = node.link_tokens.create();
    Ok(Json(json!({ "token": token, "expires": clock::rfc3339(expires) })).into_response())
}

/// What to do about a refused Manager stands behind why it was refused.
fn unauthorized(why: &str) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        format!(
            "{why}: get a new link token with `tablao managers link-token --url <the Server>`, \
             and start the Manager with --server and --link-token"
        ),
    )
}

/// The Manager that sends a request with its key.
fn authenticated(node: &SharedNode, headers: &HeaderMap) -> Result<ManagerId, Problem> {
    let unknown = || unauthorized("this Manager is not linked here, or its key is another one");
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let manager: ManagerId = text("tablao-manager")
        .and_then(|id| id.parse().ok())
        .ok_or_else(unknown)?;
    let key = text(AUTHORIZATION.as_str())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(unknown)?;
    if !node.manager_keys.check_ours(manager.uuid(), key) {
        return Err(unknown());
    }
    match node.control.model().farm().managers().get(&manager) {
        Some(known) if !known.revoked => Ok(manager),
        Some(_) => Err(unauthorized("this Manager was revoked at the Server")),
        None => Err(unknown()),
    }
}

/// Takes a token for a Manager's key. On disk when it returns.
async fn exchange(node: &SharedNode, hello: &Hello) -> Result<(), Problem> {
    if hello.key.len() < KEY_CHARACTERS_MIN {
        return Err(Problem::bad_request(format!(
            "the Manager's key has fewer than {KEY_CHARACTERS_MIN} characters"
        )));
    }
    let kept = {
        let node = SharedNode::clone(node);
        let (manager, key) = (hello.manager.uuid(), hello.key.clone());
        tokio::task::spawn_blocking(move || node.manager_keys.add(manager, &key)).await
    };
    if !matches!(kept, Ok(Ok(()))) {
        tracing::error!(?kept, "keep a Manager's key");
        return Err(Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "the Server cannot keep the key; make room on its disk and link again with a new token",
        ));
    }
    let actor = Actor {
        kind: ActorKind::Manager,
        id: Some(hello.manager.uuid().into_bytes()),
        via: Via::Replication,
    };
    let request = Request::LinkManager {
        manager: hello.manager,
        name: hello.name.clone(),
    };
    let ask = Ask::new(request, actor, Asker::default());
    match node.control.ask(ask).await {
        Ok(reply) => reply.map(|_| ()).map_err(Problem::from),
        Err(_) => std::future::pending().await,
    }
}

async fn hello(
    State(node): State<SharedNode>,
    headers: HeaderMap,
    Json(hello): Json<Hello>,
) -> Result<Json<Welcome>, Problem> {
    if node.site.is_some() && node.link.is_linked() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this is a linked Manager itself; link to its Server",
        ));
    }
    match &hello.link_token {
        Some(token) if node.link_tokens.take(token) => exchange(&node, &hello).await?,
        // A token of before: it was exchanged, and the answer may have got lost.
        Some(_) => match authenticated(&node, &headers) {
            Ok(manager) if manager == hello.manager => {}
            _ => {
                return Err(unauthorized(
                    "the link token is not (or no longer) valid; it can be used once, within 15 \
                     minutes, while the Server runs",
                ));
            }
        },
        None => {
            if authenticated(&node, &headers)? != hello.manager {
                return Err(unauthorized("the key is another Manager's"));
            }
        }
    }
    let site = open_mirror(&node, &hello).await?;
    site.note_heard();
    if protocol::is_older_copy(&site, hello.site_next) {
        let site_next = site.next();
        tracing::error!(
            manager = %hello.manager, mirrored = site_next, offered = hello.site_next,
            "a Manager came with an older copy of its journal; it is not let in"
        );
        return Err(Problem::new(
            StatusCode::CONFLICT,
            format!(
                "this Manager's journal ends before position {}, and the mirror here reaches {}: \
                 its data directory was restored from an older copy. Stop it and bring back its \
                 newer data directory; what it had done lies in journal/mirrors/{} at the Server",
                hello.site_next, site_next, hello.manager
            ),
        ));
    }
    // What a killed Server had no time to note.
    node.note_origin(hello.manager);
    Ok(Json(protocol::welcome(
        node.manager(),
        node.control.view(),
        &site,
    )))
}

async fn open_mirror(node: &SharedNode, hello: &Hello) -> Result<Arc<Site>, Problem> {
    let journal = parse_hex_id(&hello.site_journal)
        .ok_or_else(|| Problem::bad_request("the site journal's id is malformed"))?;
    let opened = {
        let (node, manager) = (SharedNode::clone(node), hello.manager);
        tokio::task::spawn_blocking(move || node.mirrors.site(manager, journal)).await
    };
    let error = match opened {
        Ok(Ok(site)) => return Ok(site),
        Ok(Err(Error::Journal(tablao_journal::Error::WrongJournal { .. }))) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "this Manager has another site journal than the one that is mirrored here: its \
                 data directory was begun anew with the old identity.json. Bring back its old \
                 data directory, or begin with an empty one and link that with a new token",
            ));
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(manager = %hello.manager, error, "open a mirror");
    Err(Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        format!(
            "the Server cannot open its mirror of this Manager: {error}. At the Server: make room, \
             or move journal/mirrors/{} away and start it again",
            hello.manager
        ),
    ))
}

#[derive(Deserialize)]
struct Follow {
    from: u64,
    #[serde(default)]
    wait: u64,
}

async fn control(
    State(node): State<SharedNode>,
    headers: HeaderMap,
    Query(follow): Query<Follow>,
) -> Result<Vec<u8>, Problem> {
    let manager = authenticated(&node, &headers)?;
    if let Some(site) = node.mirrors.get(manager) {
        site.note_heard();
    }
    let view = node.control.view().clone();
    let mut position = view.position.clone();
    let patience = Duration::from_secs(follow.wait.min(50));
    // Time over is no error: the answer is empty then.
    let _ = tokio::time::timeout(patience, position.wait_for(|at| at.get() >= follow.from)).await;
    let read = tokio::task::spawn_blocking(move || {
        protocol::news(&view, follow.from, protocol::NEWS_BYTES_MAX)
    });
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        other => {
            tracing::error!(?other, "read the control journal");
            Err(Problem::bad_request(
                "the control journal cannot be read from there",
            ))
        }
    }
}

async fn site(
    State(node): State<SharedNode>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Pushed>, Problem> {
    let manager = authenticated(&node, &headers)?;
    let site = node
        .mirrors
        .get(manager)
        .ok_or_else(|| Problem::bad_request("greet with replication/hello first"))?;
    site.note_heard();
    let appended = {
        let site = Arc::clone(&site);
        tokio::task::spawn_blocking(move || site.append(&body)).await
    };
    let error = match appended {
        Ok(Ok(next)) => {
            node.note_origin(manager);
            return Ok(Json(Pushed { next }));
        }
        Ok(Err(error)) => error,
        Err(error) => Error::Thread {
            name: "mirror".to_owned(),
            source: std::io::Error::other(error),
        },
    };
    tracing::error!(%manager, %error, "mirror a site journal");
    let refused = matches!(
        error,
        Error::Journal(
            tablao_journal::Error::BadBatch { .. } | tablao_journal::Error::Diverged { .. }
        )
    );
    Err(if refused {
        Problem::new(
            StatusCode::CONFLICT,
            format!("{error}; nothing of it was taken over"),
        )
    } else {
        Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!(
                "the mirror cannot be written: {error}. At the Server: make room on its disk and \
                 start it again"
            ),
        )
    })
}

/// What an empty mirror begins with where the Manager has retired its journal's beginning.
async fn site_baseline(
    State(node): State<SharedNode>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Pushed>, Problem> {
    let manager = authenticated(&node, &headers)?;
    let site = node
        .mirrors
        .get(manager)
        .ok_or_else(|| Problem::bad_request("greet with replication/hello first"))?;
    site.note_heard();
    let begun = tokio::task::spawn_blocking(move || site.begin_at(&body)).await;
    match begun {
        Ok(Ok(next)) => {
            node.note_origin(manager);
            Ok(Json(Pushed { next }))
        }
        other => {
            tracing::error!(%manager, ?other, "begin a mirror at a baseline");
            Err(Problem::new(
                StatusCode::CONFLICT,
                "the mirror cannot begin with this baseline; the Server's log says why. A Server \
                 of the same release as the Manager can",
            ))
        }
    }
}

/// The same for the copy of the control journal.
async fn control_baseline(
    State(node): State<SharedNode>,
    headers: HeaderMap,
) -> Result<Vec<u8>, Problem> {
    authenticated(&node, &headers)?;
    let view = node.control.view().clone();
    let read = tokio::task::spawn_blocking(move || protocol::beginning_for(&view, 1)).await;
    match read {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(Problem::not_found("the control journal has its beginning")),
        other => {
            tracing::error!(?other, "read the control journal's baseline");
            Err(Problem::bad_request("the baseline cannot be read"))
        }
    }
}

async fn blob(
    State(node): State<SharedNode>,
    headers: HeaderMap,
    Path(hash): Path<String>,
) -> Result<Vec<u8>, Problem> {
    authenticated(&node, &headers)?;
    let hash =
        blake3::Hash::from_hex(&hash).map_err(|_| Problem::bad_request("the hash is malformed"))?;
    node.blobs
        .get(hash.as_bytes())
        .map_err(|_| Problem::not_found("there is no such blob"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects a farm from a token that was seen on a screen: it links once, and not for long.
    #[test]
    fn a_token_is_good_once_and_not_for_long() {
        let tokens = LinkTokens::default();
        let now = Timestamp::from_micros(1_000_000);
        let (token, expires) = tokens.create_at(now);
        assert!(!tokens.take_at("tlk_another", now));
        assert!(tokens.take_at(&token, now));
        assert!(!tokens.take_at(&token, now));
        let (late, _) = tokens.create_at(now);
        assert!(!tokens.take_at(&late, expires));
        let (third, _) = tokens.create_at(now);
        assert!(tokens.take_at(&third, now.plus_millis(TOKEN_LIFE_MS - 1)));
    }
}
