// SPDX-License-Identifier: GPL-3.0-or-later
//! The Server's side of the link: greetings, the control journal down, site journals up.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

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
    clock,
    engine::Ask,
    link::{Hello, Pushed, Welcome, hex_id, parse_hex_id},
    node::SharedNode,
};

/// How long a link token may be used.
const TOKEN_LIFE_MS: u64 = 15 * 60 * 1000;
/// Largest push, in bytes: what a Manager sends at most, and a batch more.
const PUSH_BYTES_MAX: usize = 8 << 20;
/// Largest part of the control journal in one answer, in bytes.
const PULL_BYTES_MAX: usize = 4 << 20;

/// Link tokens that were given out, by their hash. They do not survive a restart of the Server.
#[derive(Debug, Default)]
pub struct LinkTokens(Mutex<BTreeMap<[u8; 32], Timestamp>>);

impl LinkTokens {
    /// Makes a token; returns it and when it ends.
    pub fn create(&self) -> (String, Timestamp) {
        let token = format!(
            "tlk_{}{}",
            clock::new_id().simple(),
            clock::new_id().simple()
        );
        let expires = clock::now().plus_millis(TOKEN_LIFE_MS);
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|_, expires| *expires > clock::now());
        known.insert(*blake3::hash(token.as_bytes()).as_bytes(), expires);
        (token, expires)
    }

    /// Uses a token up.
    pub fn take(&self, token: &str) -> bool {
        let mut known = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known
            .remove(blake3::hash(token.as_bytes()).as_bytes())
            .is_some_and(|expires| expires > clock::now())
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

fn unauthorized() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "this Manager is not linked here: get a token with `tablao managers link-token` and start it with --server and --link-token",
    )
}

/// The Manager that sends a request with its key.
fn authenticated(node: &SharedNode, headers: &HeaderMap) -> Result<ManagerId, Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let manager: ManagerId = text("tablao-manager")
        .and_then(|id| id.parse().ok())
        .ok_or_else(unauthorized)?;
    let key = text(AUTHORIZATION.as_str())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(unauthorized)?;
    let known =
        (node.control.model().farm().managers().get(&manager)).is_some_and(|known| !known.revoked);
    if known && node.manager_keys.check(manager.uuid(), key) {
        Ok(manager)
    } else {
        Err(unauthorized())
    }
}

async fn hello(
    State(node): State<SharedNode>,
    headers: HeaderMap,
    Json(hello): Json<Hello>,
) -> Result<Json<Welcome>, Problem> {
    let mut key = None;
    match &hello.link_token {
        Some(token) if node.link_tokens.take(token) => {
            let new = format!("{}{}", clock::new_id().simple(), clock::new_id().simple());
            let kept = {
                let node = SharedNode::clone(&node);
                let (manager, new) = (hello.manager.uuid(), new.clone());
                tokio::task::spawn_blocking(move || node.manager_keys.add(manager, &new)).await
            };
            if !matches!(kept, Ok(Ok(()))) {
                tracing::error!(?kept, "keep a Manager's key");
                return Err(Problem::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "the key cannot be kept",
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
                Ok(reply) => reply?,
                Err(_) => std::future::pending().await,
            };
            key = Some(new);
        }
        _ => {
            authenticated(&node, &headers)?;
        }
    }
    let journal = parse_hex_id(&hello.site_journal)
        .ok_or_else(|| Problem::bad_request("the site journal's id is malformed"))?;
    let opened = {
        let node = SharedNode::clone(&node);
        tokio::task::spawn_blocking(move || node.mirrors.site(hello.manager, journal)).await
    };
    let site = match opened {
        Ok(Ok(site)) => site,
        other => {
            tracing::error!(?hello.manager, error = ?other.map(|opened| opened.err()), "open a mirror");
            return Err(Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "the mirror cannot be opened",
            ));
        }
    };
    if site.view().journal.id != journal {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this Manager has another site journal than the one that is mirrored here; it was begun anew or restored",
        ));
    }
    site.note_heard();
    let welcome = Welcome {
        server: node.manager(),
        term: node.control.model().farm().term(),
        control_journal: hex_id(node.control.journal().id),
        key,
        site_next: site.next(),
    };
    Ok(Json(welcome))
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
    let durable = view.at();
    if durable.get() < follow.from {
        return Ok(Vec::new());
    }
    let raw = tokio::task::spawn_blocking(move || {
        let from = tablao_journal::Lsn::new(follow.from);
        view.reader.read_raw(
            from,
            tablao_journal::Lsn::new(durable.get()),
            PULL_BYTES_MAX,
        )
    })
    .await;
    match raw {
        Ok(Ok(raw)) => Ok(raw.bytes),
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
        .ok_or_else(|| Problem::bad_request("greet first"))?;
    site.note_heard();
    let appended = {
        let site = std::sync::Arc::clone(&site);
        tokio::task::spawn_blocking(move || site.append(&body)).await
    };
    match appended {
        Ok(Ok(next)) => {
            node.note_origin(manager);
            Ok(Json(Pushed { next }))
        }
        Ok(Err(error)) => {
            tracing::error!(%manager, %error, "mirror a site journal");
            Err(Problem::new(StatusCode::CONFLICT, error.to_string()))
        }
        Err(error) => {
            tracing::error!(%manager, %error, "mirror a site journal");
            Err(Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "the mirror cannot be written",
            ))
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
