// SPDX-License-Identifier: GPL-3.0-or-later
//! Who sends a request, from what it says of itself and where it comes from.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};
use tablao_core::{Actor, Via, decide::Asker};

/// The sender of a request.
#[derive(Clone, Debug)]
pub struct Sender {
    /// As facts.
    pub actor: Actor,
    /// As words.
    pub asker: Asker,
    /// BLAKE3 of the idempotency key, where one was sent.
    pub key: Option<[u8; 32]>,
}

/// Header in which a client names its user, while authentication is off.
pub const USER_HEADER: &str = "tablao-user";
/// Header with a key that makes a retry find the first answer.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";

impl Sender {
    fn of(headers: &HeaderMap, address: Option<SocketAddr>) -> Self {
        let text = |name: &str| {
            (headers.get(name))
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let via = via(text("user-agent"));
        let key = text(IDEMPOTENCY_HEADER);
        Self {
            actor: Actor::anonymous(via),
            asker: Asker {
                name: text(USER_HEADER).chars().take(200).collect(),
                address: address
                    .map(|address| address.ip().to_string())
                    .unwrap_or_default(),
            },
            key: (!key.is_empty()).then(|| *blake3::hash(key.as_bytes()).as_bytes()),
        }
    }
}

/// The door, from the client's name of itself.
fn via(user_agent: &str) -> Via {
    let starts = |name: &str| user_agent.starts_with(name);
    if starts("Tablao-CLI/") {
        Via::Cli
    } else if starts("Tablao/") && user_agent.contains("Blender add-on") {
        Via::AddOn
    } else if starts("Tablao/") && user_agent.contains("Python client") {
        Via::Api
    } else if starts("Tablao/") {
        Via::Worker
    } else if starts("Flamenco/") {
        Via::Flamenco
    } else if starts("Mozilla/") {
        Via::Web
    } else {
        Via::Api
    }
}

impl<S: Sync> FromRequestParts<S> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let address = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0);
        Ok(Self::of(&parts.headers, address))
    }
}
