// SPDX-License-Identifier: GPL-3.0-or-later
//! Basic authentication of workers: user is the worker's UUID, password its secret.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
};
use base64::Engine as _;
use tablao_core::{Actor, Via, WorkerId, decide::Asker, entity::Protocol};

use super::Problem;
use crate::node::SharedNode;

/// A worker that proved who it is.
#[derive(Clone, Debug)]
pub struct WorkerIdentity {
    /// Which one.
    pub id: WorkerId,
    /// How it speaks.
    pub protocol: Protocol,
    /// Where it speaks from.
    pub address: String,
}

impl WorkerIdentity {
    /// It as an actor.
    pub fn actor(&self) -> Actor {
        let via = match self.protocol {
            Protocol::Tablao => Via::Worker,
            Protocol::Flamenco => Via::Flamenco,
        };
        Actor::worker(self.id, via)
    }

    /// It in words.
    pub fn asker(&self) -> Asker {
        Asker {
            name: String::new(),
            address: self.address.clone(),
        }
    }
}

/// How a client that sends these headers speaks.
pub(super) fn protocol(headers: &HeaderMap) -> Protocol {
    let ours = headers
        .get("user-agent")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|agent| agent.starts_with("Tablao/"));
    if ours {
        Protocol::Tablao
    } else {
        Protocol::Flamenco
    }
}

/// Longer than a UUID, a colon and any secret that a worker makes.
const CREDENTIALS_BYTES_MAX: usize = 512;

/// Worker and secret from the header, decoded without a trip to the allocator: this is read at
/// every call of a worker.
fn credentials<'a>(
    headers: &HeaderMap,
    space: &'a mut [u8; CREDENTIALS_BYTES_MAX],
) -> Option<(WorkerId, &'a str)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let encoded = value.strip_prefix("Basic ")?.trim();
    let length = base64::engine::general_purpose::STANDARD
        .decode_slice(encoded, space)
        .ok()?;
    let text = std::str::from_utf8(&space[..length]).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.parse().ok()?, password))
}

impl FromRequestParts<SharedNode> for WorkerIdentity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &SharedNode) -> Result<Self, Problem> {
        let mut space = [0; CREDENTIALS_BYTES_MAX];
        let (id, secret) =
            credentials(&parts.headers, &mut space).ok_or_else(Problem::forbidden)?;
        let known = node.site.as_ref().is_some_and(|site| {
            let model = site.model();
            model
                .farm()
                .workers()
                .get(&id)
                .is_some_and(|worker| !worker.deleted)
        });
        if !known || !node.secrets.check(id.uuid(), secret).await {
            return Err(Problem::forbidden());
        }
        node.saw(id);
        let address = (parts.extensions.get::<ConnectInfo<SocketAddr>>())
            .map(|info| info.0.ip().to_string())
            .unwrap_or_default();
        Ok(Self {
            id,
            protocol: protocol(&parts.headers),
            address,
        })
    }
}
