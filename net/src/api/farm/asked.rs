// SPDX-License-Identifier: GPL-3.0-or-later
//! What a request for a state of the farm brings: its query, and the farm that it asks about, as
//! it is or, with `?at=`, as it was.
//!
//! Handlers that show what is not a state (events, logs, files) take [`super::request::Query`],
//! which refuses `at`.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{
    problem::{Problem, ProblemKind},
    request::read_query,
};
use crate::{
    node::{Node, SharedNode},
    past_farms::{self, At, PastFarm},
    whole::{Views, Whole},
};

/// Which moment.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AtQuery {
    /// A position as the farm gave it, or an RFC 3339 time: shows the farm as it was then.
    at: Option<String>,
}

/// The farm that a request asks about.
pub(super) enum Seen {
    /// As it is.
    Now(Views),
    /// As it was.
    Then(Arc<PastFarm>),
}

impl Seen {
    /// All its models.
    pub(super) fn read(&self) -> Whole<'_> {
        match self {
            Self::Now(views) => views.read(),
            Self::Then(farm) => Whole::past(farm),
        }
    }

    /// It is shown as it is, and what is known of the moment may be said with it.
    pub(super) fn is_now(&self) -> bool {
        matches!(self, Self::Now(_))
    }
}

/// A query, read into a struct that denies unknown fields, and the farm that it is about.
pub(super) struct Asked<T>(pub(super) T, pub(super) Seen);

impl<T: DeserializeOwned + Send> FromRequestParts<SharedNode> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &SharedNode) -> Result<Self, Problem> {
        let AtQuery { at } = read_query(parts.uri.query().unwrap_or_default())?;
        let rest: Vec<&str> = (parts.uri.query().unwrap_or_default().split('&'))
            .filter(|pair| *pair != "at" && !pair.starts_with("at="))
            .collect();
        let query = read_query(&rest.join("&"))?;
        let seen = match at {
            None => Seen::Now(Views::of(node)),
            Some(text) => Seen::Then(past(node, &text).await?),
        };
        Ok(Self(query, seen))
    }
}

async fn past(node: &Node, text: &str) -> Result<Arc<PastFarm>, Problem> {
    let at: At = text
        .parse()
        .map_err(|error| Problem::new(ProblemKind::BadQuery, format!("at: {error}")))?;
    let made = node.past_farms.at(Views::of(node), at).await;
    made.map_err(|error| {
        use past_farms::Error;
        let kind = match error {
            Error::Gone(gone) => return gone.into(),
            Error::Unreadable(cause) => {
                return Problem::unreadable("put the past farm together", &cause);
            }
            Error::NotYet => ProblemKind::NotYet,
            Error::NotRetained { .. } => ProblemKind::NotRetained,
        };
        Problem::new(kind, format!("at: {error}"))
    })
}
