// SPDX-License-Identifier: GPL-3.0-or-later
//! `digest` and `journal/segments`: what proves that two farms are the same, and where it lies.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tablao_core::ManagerId;
use tablao_journal::Info;
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    page::{Page, Wanted},
    problem::{Problem, ProblemBody},
    request::{Nothing, Query},
};
use crate::{node::SharedNode, view::View, whole::Views};

/// The digest of the whole farm at a position.
#[derive(Serialize, ToSchema)]
pub(super) struct DigestAnswer {
    position: String,
    /// 64 hexadecimal digits. `tablao replay` gives the same for the same position.
    digest: String,
}

/// The digest of the whole farm, and the position that it is of.
#[utoipa::path(get, path = "/api/farm/v1/digest", tag = "journal", params(AtQuery), responses(
    (status = 200, description = "Position and digest, read at one moment", body = DigestAnswer),
))]
pub(super) async fn digest(Asked(Nothing {}, seen): Asked<Nothing>) -> Json<DigestAnswer> {
    let whole = seen.read();
    Json(DigestAnswer {
        position: whole.position().to_string(),
        digest: whole.digest().to_string(),
    })
}

/// A file of a journal.
#[derive(Serialize, ToSchema)]
pub(super) struct Segment {
    /// `control`, `site`, or `mirror` (the copy of another Manager's site journal).
    role: &'static str,
    /// Whose journal; absent for the control journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    manager: Option<String>,
    /// Which journal.
    journal_id: String,
    incarnation: u32,
    file: String,
    /// Position of its first record.
    first: u64,
    /// Position of its last durable record; one less than `first` where it has none.
    last: u64,
    /// Its size, in bytes.
    bytes: u64,
    /// Nothing will be appended to it.
    sealed: bool,
}

/// A journal's files, and what is to be said with each of them.
struct Described {
    order: u8,
    role: &'static str,
    manager: Option<ManagerId>,
    durable: u64,
    info: Info,
}

fn describe(
    order: u8,
    role: &'static str,
    view: &View,
) -> Result<Described, tablao_journal::Error> {
    // First how far it is durable: the files may be ahead of that, never behind.
    let durable = view.at().get();
    Ok(Described {
        order,
        role,
        manager: (order > 0).then_some(view.manager),
        durable,
        info: view.reader.info()?,
    })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SegmentsQuery {
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Files of all journals: the control journal's, the own site's, then the mirrors', oldest first.
#[utoipa::path(get, path = "/api/farm/v1/journal/segments", tag = "journal", params(SegmentsQuery), responses(
    (status = 200, description = "A page of segments", body = Page<Segment>),
    (status = 400, description = "A parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
    (status = 500, description = "A journal cannot be read", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn segments(
    State(node): State<SharedNode>,
    Query(query): Query<SegmentsQuery>,
) -> Result<Json<Page<Segment>>, Problem> {
    type Key = (u8, Option<ManagerId>, u64);
    let wanted: Wanted<Key> = Wanted::new("segments", query.limit, query.cursor.as_deref())?;
    let own = node.manager();
    let read = tokio::task::spawn_blocking(move || {
        let views = Views::of(&node);
        let mut described = vec![describe(0, "control", &views.control)?];
        for view in &views.sites {
            let (order, role) = if view.manager == own {
                (1, "site")
            } else {
                (2, "mirror")
            };
            described.push(describe(order, role, view)?);
        }
        Ok::<_, tablao_journal::Error>((views, described))
    });
    let (views, described) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return Err(Problem::unreadable("describe the journal", &error)),
        Err(error) => return Err(Problem::unreadable("describe the journal", &error)),
    };
    let segments = described.iter().flat_map(|journal| {
        let key = move |first| (journal.order, journal.manager, first);
        (journal.info.segments.iter())
            .map(move |segment| (key(segment.first.get()), (journal, segment)))
    });
    let mut rows: Vec<_> = segments.collect();
    rows.sort_by_key(|(key, _)| *key);
    let rows = wanted.take(rows.into_iter()).collect();
    let whole = views.read();
    Ok(wanted.page(&whole, rows, |(journal, segment)| Segment {
        role: journal.role,
        manager: journal.manager.map(|manager| manager.to_string()),
        journal_id: journal.info.journal_id.to_string(),
        incarnation: journal.info.incarnation,
        file: segment.file.clone(),
        first: segment.first.get(),
        last: segment.last.get().min(journal.durable),
        bytes: segment.bytes,
        sealed: segment.sealed,
    }))
}
