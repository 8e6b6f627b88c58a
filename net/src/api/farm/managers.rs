// SPDX-License-Identifier: GPL-3.0-or-later
//! `managers`: the sites of the farm, as the control journal knows them.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tablao_core::{ManagerId, Timestamp};
use tablao_projections::ManagerRow;
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    page::{Page, Wanted},
    problem::{Problem, ProblemBody},
};
use crate::{
    clock::{self, rfc3339},
    node::{Node, SharedNode},
    whole::Whole,
};

/// A linked Manager asks for news at least every 30 s; beyond this its line counts as cut.
const SILENT_MS_MAX: u64 = 45_000;

/// A Manager.
#[derive(Serialize, ToSchema)]
pub(super) struct Manager {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// `standalone`: this process, without a Server above. `self`: this process, linked to a
    /// Server. `linked`: another one below the same Server.
    role: &'static str,
    /// It was heard within the last 45 s. One whose line is cut is shown as it last was. Who was
    /// heard in the past is not kept: false, with `at`.
    connected: bool,
    /// It may no longer link.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    revoked: bool,
    /// When it last called; absent where it did not since this process began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_seen: Option<String>,
    jobs: usize,
    workers: usize,
}

impl Manager {
    fn new(node: &Node, whole: &Whole<'_>, row: &ManagerRow, is_now: bool) -> Self {
        let own = row.id == node.manager();
        let role = match (own, node.link.is_linked()) {
            (true, false) => "standalone",
            (true, true) => "self",
            (false, _) => "linked",
        };
        let site = whole.sites.iter().find(|site| site.manager == row.id);
        let facts = whole.control.model.farm().managers().get(&row.id);
        let now = clock::now();
        let heard = if !is_now {
            None
        } else if own {
            Some(now)
        } else {
            let mirror = node.mirrors.get(row.id);
            mirror.map(|mirror| mirror.heard())
        };
        let heard = heard.filter(|heard| *heard > Timestamp::default());
        let silent_ms = |heard: Timestamp| now.micros().saturating_sub(heard.micros()) / 1000;
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            role,
            connected: heard.is_some_and(|heard| silent_ms(heard) < SILENT_MS_MAX),
            revoked: facts.is_some_and(|facts| facts.revoked),
            last_seen: heard.map(rfc3339),
            jobs: site.map_or(0, |site| site.model.farm().jobs().len()),
            workers: site.map_or(0, |site| site.model.workers().count()),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ManagersQuery {
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Managers that this farm knows, revoked ones included.
#[utoipa::path(get, path = "/api/farm/v1/managers", tag = "managers", params(ManagersQuery, AtQuery), responses(
    (status = 200, description = "A page of Managers", body = Page<Manager>),
    (status = 400, description = "A parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(node): State<SharedNode>,
    Asked(query, seen): Asked<ManagersQuery>,
) -> Result<Json<Page<Manager>>, Problem> {
    let wanted: Wanted<ManagerId> = Wanted::new("managers", query.limit, query.cursor.as_deref())?;
    let whole = seen.read();
    let managers = whole.control.model.managers().map(|row| (row.id, row));
    let rows = wanted.take(managers).collect();
    Ok(wanted.page(&whole, rows, |row| {
        Manager::new(&node, &whole, row, seen.is_now())
    }))
}
