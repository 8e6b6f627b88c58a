// SPDX-License-Identifier: GPL-3.0-or-later
//! What narrows lists, once for all of them: status, type, name, user, project, shot, tag,
//! worker, time, and keys of the metadata. Several together must all hold.
//!
//! Each list says in its own query which of these it takes. Cursors name keys of items and not
//! places in a list, so they hold under any filter.

use std::collections::BTreeSet;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use tablao_core::{JobId, TagId, Timestamp, WorkerId, entity::Job};
use tablao_projections::{JobRow, ReadModel};
use utoipa::IntoParams;

use super::{
    asked::{Asked, Seen},
    problem::{Problem, ProblemKind},
    request::read_query,
};
use crate::node::SharedNode;

/// Begins the name of a parameter that asks for metadata.
const META: &str = "meta.";

/// How metadata is asked for; the names of such parameters are the caller's.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "it documents parameters whose names nobody knows beforehand"
)]
pub(super) struct MetaQuery {
    /// Value of the key KEY of the job's metadata, such as `meta.sequence=010`.
    #[serde(rename = "meta.KEY")]
    meta: Option<String>,
}

/// Keys and values of metadata that are asked for.
#[derive(Default)]
pub(super) struct Meta(Vec<(String, String)>);

/// A list's query, the metadata that is asked for, and the farm that it is about.
pub(super) struct Narrowed<T>(pub(super) T, pub(super) Meta, pub(super) Seen);

impl<T: DeserializeOwned + Send> FromRequestParts<SharedNode> for Narrowed<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &SharedNode) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let is_meta = |pair: &&str| pair.starts_with(META);
        let meta: Vec<&str> = query.split('&').filter(is_meta).collect();
        let rest: Vec<&str> = query.split('&').filter(|pair| !is_meta(pair)).collect();
        let meta: Vec<(String, String)> = read_query(&meta.join("&"))?;
        let mut keys = meta.iter().map(|(key, _)| key.as_str());
        if keys.any(|key| key == META) {
            let detail = "meta.: name a key of the metadata, such as meta.sequence=010";
            return Err(Problem::new(ProblemKind::BadQuery, detail));
        }
        let key = |name: String| name[META.len()..].to_owned();
        let meta = meta.into_iter().map(|(name, value)| (key(name), value));
        let meta = Meta(meta.collect());
        let path = format!("{}?{}", parts.uri.path(), rest.join("&"));
        let malformed = |_| Problem::new(ProblemKind::BadQuery, "the query is malformed");
        parts.uri = path.parse().map_err(malformed)?;
        let Asked(query, seen) = Asked::from_request_parts(parts, node).await?;
        Ok(Self(query, meta, seen))
    }
}

/// What a query says, as it says it.
#[derive(Default)]
pub(super) struct Given<'a> {
    pub(super) status: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) project: Option<&'a str>,
    pub(super) shot: Option<&'a str>,
    pub(super) tag: Option<&'a str>,
    pub(super) worker: Option<&'a str>,
    pub(super) since: Option<&'a str>,
    pub(super) until: Option<&'a str>,
}

/// What the items of a list have to be.
pub(super) struct Filter {
    statuses: Option<Vec<String>>,
    kind: Option<String>,
    /// In small letters.
    name: Option<String>,
    user: Option<String>,
    project: Option<String>,
    shot: Option<String>,
    tag: Option<String>,
    worker: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    meta: Vec<(String, String)>,
}

fn is<T: ?Sized + PartialEq<str>>(wanted: &Option<String>, found: &T) -> bool {
    wanted
        .as_ref()
        .is_none_or(|wanted| found == wanted.as_str())
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let parse = |text: &str| {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            let detail = format!("{name}: must be an RFC 3339 time, such as 2026-05-01T20:00:00Z");
            Problem::new(ProblemKind::BadQuery, detail)
        })?;
        let micros = u64::try_from(time.as_microsecond()).unwrap_or_default();
        Ok(Timestamp::from_micros(micros))
    };
    text.map(parse).transpose()
}

impl Filter {
    /// Reads what a query says. `known`: the statuses that items of this list have.
    pub(super) fn new(
        given: &Given<'_>,
        meta: Meta,
        known: impl Iterator<Item = &'static str>,
    ) -> Result<Self, Problem> {
        let known: Vec<&str> = known.collect();
        let status = |text: &str| {
            let text = text.trim();
            if known.contains(&text) {
                return Ok(text.to_owned());
            }
            let known = known.join(", ");
            let detail = format!("status: unknown status {text:?}; known are {known}");
            Err(Problem::new(ProblemKind::BadQuery, detail))
        };
        let statuses: Option<Result<Vec<String>, Problem>> = given
            .status
            .map(|text| text.split(',').map(status).collect());
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self {
            statuses: statuses.transpose()?,
            kind: owned(given.kind),
            name: given.name.map(str::to_lowercase),
            user: owned(given.user),
            project: owned(given.project),
            shot: owned(given.shot),
            tag: owned(given.tag),
            worker: owned(given.worker),
            since: moment("since", given.since)?,
            until: moment("until", given.until)?,
            meta: meta.0,
        })
    }

    /// The status is one of those asked for.
    pub(super) fn status(&self, status: &str) -> bool {
        (self.statuses.as_ref()).is_none_or(|wanted| wanted.iter().any(|one| one == status))
    }

    /// The type is the one asked for.
    pub(super) fn kind(&self, kind: &str) -> bool {
        is(&self.kind, kind)
    }

    /// One of the types is the one asked for.
    pub(super) fn any_kind(&self, kinds: &BTreeSet<String>) -> bool {
        (self.kind.as_ref()).is_none_or(|wanted| kinds.contains(wanted))
    }

    /// A name is asked for, so it is worth looking at names.
    pub(super) fn asks_for_name(&self) -> bool {
        self.name.is_some()
    }

    /// The name has in it what is asked for, in upper or lower case.
    pub(super) fn name(&self, name: &str) -> bool {
        (self.name.as_ref()).is_none_or(|part| name.to_lowercase().contains(part.as_str()))
    }

    /// The moment lies in the time asked for: from `since` on, before `until`.
    pub(super) fn moment(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    /// The tags are such that the one asked for, by id or name, is among them.
    pub(super) fn tags(&self, model: &ReadModel, tags: impl Iterator<Item = TagId>) -> bool {
        let Some(wanted) = &self.tag else { return true };
        let mut tags = tags;
        tags.any(|tag| {
            tag.to_string() == *wanted || model.tag(tag).is_some_and(|tag| tag.name == *wanted)
        })
    }

    /// The workers asked for, by id or name; `None` where any will do.
    pub(super) fn workers(&self, model: &ReadModel) -> Option<BTreeSet<WorkerId>> {
        let wanted = self.worker.as_ref()?;
        let by_id = wanted.parse().ok().filter(|id| model.worker(*id).is_some());
        let named = model.workers().filter(|row| row.detail.name == *wanted);
        Some(by_id.into_iter().chain(named.map(|row| row.id)).collect())
    }

    /// There is a filter at all.
    pub(super) fn asks_for_anything(&self) -> bool {
        let others = [&self.kind, &self.name, &self.worker];
        self.asks_for_jobs()
            || others.iter().any(|text| text.is_some())
            || self.statuses.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }

    /// Something is asked for that a job is or has, whatever list it narrows.
    pub(super) fn asks_for_jobs(&self) -> bool {
        let texts = [&self.user, &self.project, &self.shot, &self.tag];
        texts.iter().any(|text| text.is_some()) || !self.meta.is_empty()
    }

    /// User, project, shot, tag and metadata of the job are those asked for.
    pub(super) fn of_job(&self, model: &ReadModel, entity: &Job, row: &JobRow) -> bool {
        let (facts, detail) = (&entity.state.facts, &row.detail);
        is(&self.user, detail.user.as_str())
            && is(&self.project, detail.project.as_str())
            && self.shot.as_ref().is_none_or(|wanted| {
                let named = |name: &str| !name.is_empty() && name == wanted;
                *wanted == facts.shot.to_string()
                    || named(&detail.shot)
                    || model.shot(facts.shot).is_some_and(|shot| named(&shot.name))
            })
            && self.tags(model, facts.tag.into_iter())
            && self.meta.iter().all(|pair| detail.metadata.contains(pair))
    }

    /// The jobs of which that holds, and that are of the type asked for; `None` where any will do.
    pub(super) fn jobs(&self, model: &ReadModel) -> Option<BTreeSet<JobId>> {
        if !self.asks_for_jobs() && self.kind.is_none() {
            return None;
        }
        let jobs = model.farm().jobs();
        let found = model.jobs().filter(|row| {
            jobs.get(&row.id).is_some_and(|entity| {
                self.kind(&entity.state.facts.job_type) && self.of_job(model, entity, row)
            })
        });
        Some(found.map(|row| row.id).collect())
    }
}
