// SPDX-License-Identifier: GPL-3.0-or-later
//! JSON request bodies, with errors in the words that Flamenco's clients can show.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header::CONTENT_TYPE},
};
use serde::de::DeserializeOwned;

use super::Problem;

/// A JSON body of this shape.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let is_json = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                let essence = value.split(';').next().unwrap_or_default().trim();
                essence.eq_ignore_ascii_case("application/json")
            });
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the request body is larger than this farm accepts; raise body_bytes_max in tablao.toml if it is meant",
                )
            } else {
                Problem::bad_request(format!("read the request body: {error}"))
            }
        })?;
        if !is_json {
            return Err(Problem::bad_request(
                "the request body must be JSON: send the header Content-Type: application/json",
            ));
        }
        if bytes.is_empty() {
            return Err(Problem::bad_request(
                "the request body is empty; this operation needs one",
            ));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Problem::bad_request(format!(
                "the request body does not have the right form: {error}"
            ))
        })
    }
}
