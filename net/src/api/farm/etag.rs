// SPDX-License-Identifier: GPL-3.0-or-later
//! Entity tags: "has it changed since I read it?" without sending it again.
//!
//! A tag names the position of the entity's last change, and a hash of what is shown, because an
//! answer also shows names of others (the worker of a task) that change without the entity.
//! Liveness (when somebody was last heard) is not a change.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tablao_core::Lsn;

/// Answers with an entity, or with 304 if the caller has it already.
pub(super) fn tagged<T: Serialize, U: Serialize>(
    headers: &HeaderMap,
    changed_at: Lsn,
    lasting: &T,
    shown: &U,
) -> Response {
    let bytes = serde_json::to_vec(lasting).expect("wire types are JSON");
    let hash = blake3::hash(&bytes).to_hex();
    let tag = format!("\"{changed_at}-{}\"", &hash.as_str()[..16]);
    let value = HeaderValue::from_str(&tag).expect("digits and hexadecimal digits");
    let answer = if is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(shown).into_response()
    };
    ([(header::ETAG, value)], answer).into_response()
}

/// `If-None-Match` names the tag. Weak comparison, as RFC 9110 asks for here.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|one| one.trim())
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
