// SPDX-License-Identifier: GPL-3.0-or-later
//! `shots`: the groups that frames belong to. One shot may be rendered by several Managers.

use std::collections::BTreeMap;

use axum::Json;
use serde::{Deserialize, Serialize};
use tablao_core::{ShotId, Timestamp};
use tablao_projections::ReadModel;
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    named::thumbnail,
    page::{Page, Wanted},
    problem::{Problem, ProblemBody},
};
use crate::clock::rfc3339;

/// A shot.
#[derive(Serialize, ToSchema)]
pub(super) struct Shot {
    #[schema(format = "uuid")]
    id: String,
    /// Its name, or the name of the job that is a shot of its own.
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    project: String,
    /// Frames published.
    frames: usize,
    /// Jobs that render it.
    jobs: usize,
    /// When the last of its frames was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_frame_at: Option<String>,
    /// Address of the thumbnail of the last frame that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    thumbnail: Option<String>,
}

/// A shot as the sites together have it.
#[derive(Default)]
struct Sum<'a> {
    name: &'a str,
    project: &'a str,
    frames: usize,
    jobs: usize,
    last_frame_at: Option<Timestamp>,
    models: Vec<&'a ReadModel>,
}

impl Shot {
    fn new(id: ShotId, sum: &Sum<'_>) -> Self {
        let pictured = (sum.models.iter()).filter_map(|model| model.last_pictured_frame(id));
        let last = pictured.max_by_key(|row| (row.published, row.position));
        Self {
            id: id.to_string(),
            name: sum.name.to_owned(),
            project: sum.project.to_owned(),
            frames: sum.frames,
            jobs: sum.jobs,
            last_frame_at: sum.last_frame_at.map(rfc3339),
            thumbnail: last.as_ref().and_then(thumbnail),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShotsQuery {
    /// Name of the project.
    project: Option<String>,
    /// Part of the name, in upper or lower case.
    name: Option<String>,
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Shots that a job renders or that have frames.
#[utoipa::path(get, path = "/api/farm/v1/shots", tag = "shots", params(ShotsQuery, AtQuery), responses(
    (status = 200, description = "A page of shots", body = Page<Shot>),
    (status = 400, description = "A parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    Asked(query, seen): Asked<ShotsQuery>,
) -> Result<Json<Page<Shot>>, Problem> {
    let wanted: Wanted<ShotId> = Wanted::new("shots", query.limit, query.cursor.as_deref())?;
    let part = query.name.as_deref().map(str::to_lowercase);
    let whole = seen.read();
    let mut sums: BTreeMap<ShotId, Sum<'_>> = BTreeMap::new();
    for site in &whole.sites {
        for row in site.model.shots() {
            let sum = sums.entry(row.id).or_default();
            if sum.name.is_empty() {
                sum.name = &row.name;
            }
            if sum.project.is_empty() {
                sum.project = &row.project;
            }
            sum.frames += row.frames;
            sum.jobs += row.jobs;
            sum.last_frame_at = sum.last_frame_at.max(row.last_frame_at);
            sum.models.push(&site.model);
        }
    }
    let found = sums.into_iter().filter(|(_, sum)| {
        query
            .project
            .as_ref()
            .is_none_or(|wanted| wanted == sum.project)
            && (part.as_ref()).is_none_or(|part| sum.name.to_lowercase().contains(part.as_str()))
    });
    let rows = wanted
        .take(found.map(|(id, sum)| (id, (id, sum))))
        .collect();
    Ok(wanted.page(&whole, rows, |(id, sum)| Shot::new(id, &sum)))
}
