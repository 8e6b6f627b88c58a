// SPDX-License-Identifier: GPL-3.0-or-later
//! `events`: what happens, as Server-Sent Events that resume at a position, or as a JSON list.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header::ACCEPT},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event as Message, KeepAlive},
    },
};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;
use tablao_core::JobId;
use utoipa::IntoParams;

use super::{
    event_json::{EventJson, job_of},
    feed::{Feed, Told},
    page::{Page, limit_of},
    problem::{Problem, ProblemBody, ProblemKind},
    request::Query,
};
use crate::{node::SharedNode, position::FarmPosition, whole::Views};

/// A silent connection says this often that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Records that one JSON answer looks at, at most; a rare filter then goes on with `next`.
const SCANNED_MAX: usize = 100_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Position from any earlier answer: events after it. Without it a stream begins now, and a
    /// list at the beginning of the journal.
    after: Option<String>,
    /// Only events that concern this job.
    job: Option<String>,
    /// Items in a list, 1 to 1000; 100 if not said. A stream has no end.
    limit: Option<u32>,
    /// The same as `after`, for those who page through every list alike.
    cursor: Option<String>,
}

fn position(text: &str) -> Result<FarmPosition, Problem> {
    text.parse()
        .map_err(|error| Problem::new(ProblemKind::BadPosition, format!("after: {error}")))
}

/// What happened after a position.
///
/// With `Accept: text/event-stream` Server-Sent Events: `id` is the position after the event,
/// `event` its kind, `data` the event; `Last-Event-ID` resumes. A fresh stream begins with a
/// `hello` whose data holds the position. Otherwise a list.
#[utoipa::path(get, path = "/api/farm/v1/events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header, description = "Resumes a stream after this position")),
    responses(
        (status = 200, description = "A list of events, or a stream of them", content(
            (Page<EventJson> = "application/json"), (String = "text/event-stream"))),
        (status = 400, description = "A parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The position no longer holds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "A journal cannot be read", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn events(
    State(node): State<SharedNode>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = limit_of(query.limit)?;
    let job: Option<JobId> = query
        .job
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|_| Problem::new(ProblemKind::BadQuery, "job: must be a UUID"))?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let streamed = header(ACCEPT.as_str()).is_some_and(|kinds| kinds.contains("text/event-stream"));
    // A browser that reconnects by itself repeats the address it began with, and adds the header.
    let resumed = header("last-event-id").filter(|id| streamed && !id.is_empty());
    let after = resumed
        .or(query.cursor.as_deref())
        .or(query.after.as_deref())
        .map(position)
        .transpose()?;
    if let Some(after) = &after {
        let (node, after) = (SharedNode::clone(&node), after.clone());
        tokio::task::spawn_blocking(move || Views::of(&node).check(&after))
            .await
            .map_err(|error| Problem::unreadable("check the position", &error))??;
    }
    if streamed {
        Ok(stream(node, after, job))
    } else {
        list(node, after, job, limit).await
    }
}

fn concerns(told: &Told, job: Option<JobId>) -> bool {
    job.is_none_or(|job| job_of(&told.recorded.event) == Some(job))
}

async fn list(
    node: SharedNode,
    after: Option<FarmPosition>,
    job: Option<JobId>,
    limit: usize,
) -> Result<Response, Problem> {
    let mut feed = Feed::start(node, Some(after.unwrap_or_default()));
    let mut items = Vec::new();
    let mut scanned = 0;
    let mut more = false;
    loop {
        let before = feed.position().clone();
        let told = match feed.next_now().await {
            Ok(Some(told)) => told,
            Ok(None) => break,
            Err(error) => return Err(Problem::unreadable("read the journal", &error)),
        };
        scanned += 1;
        if items.len() == limit || scanned > SCANNED_MAX {
            // One was taken too many, only to see that there is one.
            more = true;
            return Ok(answer(items, &before, more));
        }
        if concerns(&told, job) {
            items.push(EventJson::new(&told));
        }
    }
    Ok(answer(items, feed.position(), more))
}

fn answer(items: Vec<EventJson>, position: &FarmPosition, more: bool) -> Response {
    let position = position.to_string();
    Json(Page {
        items,
        next: more.then(|| position.clone()),
        position,
    })
    .into_response()
}

fn stream(node: SharedNode, after: Option<FarmPosition>, job: Option<JobId>) -> Response {
    let fresh = after.is_none();
    let feed = Feed::start(node, after);
    let hello = fresh.then(|| {
        let position = feed.position().to_string();
        let data = json!({ "position": position }).to_string();
        Message::default().event("hello").id(position).data(data)
    });
    let events = stream::unfold(feed, move |mut feed| async move {
        loop {
            match feed.next().await {
                Ok(told) if concerns(&told, job) => return Some((message(&told), feed)),
                Ok(_) => {}
                Err(error) => {
                    // The client comes back where it stopped.
                    tracing::warn!(%error, "an event stream ends");
                    return None;
                }
            }
        }
    });
    let messages = stream::iter(hello).chain(events).map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    Sse::new(messages).keep_alive(keep_alive).into_response()
}

fn message(told: &Told) -> Message {
    let event = EventJson::new(told);
    let data = serde_json::to_string(&event).expect("wire types are JSON");
    Message::default()
        .event(event.kind)
        .id(event.position)
        .data(data)
}
