// SPDX-License-Identifier: GPL-3.0-or-later
//! What requests bring: queries whose every parameter is known, and ids in the path.
//!
//! A parameter that is not known is refused: a misspelt filter would otherwise show everything.

use std::str::FromStr;

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::problem::{Problem, ProblemKind};

/// The query, read into a struct that denies unknown fields.
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let asks_for_the_past = query
            .split('&')
            .any(|pair| pair == "at" || pair.starts_with("at="));
        if asks_for_the_past {
            return Err(Problem::new(
                ProblemKind::NoTimeTravel,
                "at: what this address shows is not a state that the farm had at some moment",
            ));
        }
        read_query(query).map(Self)
    }
}

/// Reads a query; whether unknown parameters are refused is up to what it is read into.
pub(super) fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let malformed = || Problem::new(ProblemKind::BadQuery, "the query is malformed");
    let uri = format!("/?{query}").parse().map_err(|_| malformed())?;
    axum::extract::Query::try_from_uri(&uri)
        .map(|axum::extract::Query(value)| value)
        // The cause names the parameter, and for an unknown one those that are known.
        .map_err(|error| Problem::new(ProblemKind::BadQuery, deepest(&error)))
}

/// The most particular of the causes of an error.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            // The cause names the field, and for an unknown one those that are known.
            Err(rejection) => Err(Problem::new(ProblemKind::BadBody, rejection.body_text())),
        }
    }
}

/// A query without parameters.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The id in the path.
pub(super) struct Id<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let malformed = || Problem::new(ProblemKind::BadId, "the id in the address is not a UUID");
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| malformed())?;
        text.parse().map(Self).map_err(|_| malformed())
    }
}
