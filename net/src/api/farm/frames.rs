// SPDX-License-Identifier: GPL-3.0-or-later
//! `frames`: published frames, by shot and number or newest first.

use std::cmp::Reverse;

use axum::Json;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tablao_core::{
    JobId, Lsn, ManagerId, ShotId, TaskId, Timestamp, entity::FrameKey, event::frame_flags,
};
use tablao_projections::{FrameRow, ReadModel};
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    filter::{Filter, Given, MetaQuery, Narrowed},
    named::{Named, thumbnail},
    page::{Page, Wanted},
    problem::{Problem, ProblemBody, ProblemKind},
    request::Id,
};
use crate::{clock::rfc3339, whole::Whole};

/// A published frame.
#[derive(Serialize, ToSchema)]
pub(super) struct Frame {
    id: String,
    /// The job that published it last.
    #[schema(format = "uuid")]
    job: String,
    #[schema(format = "uuid")]
    task: String,
    attempt: String,
    worker: Named,
    #[schema(format = "uuid")]
    shot: String,
    number: i32,
    /// Name of the output; absent for the main one.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    output: String,
    /// Name of the view; absent where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    view: String,
    /// File name without extension.
    name: String,
    /// Path on the shared storage.
    path: String,
    /// Size of the file, in bytes.
    size: u64,
    /// BLAKE3 of the file.
    hash: String,
    #[schema(format = "date-time")]
    rendered_at: String,
    /// Time to render it, in milliseconds.
    render_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    samples: Option<u32>,
    /// Highest memory use, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    peak_memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    blender_version: String,
    /// BLAKE3 of the blend file that it was rendered from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    blend_hash: Option<String>,
    /// Address of its thumbnail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    thumbnail: Option<String>,
    /// `unfenced`: left where a script put it. `found`: the file was there before. What is wrong
    /// with it: `missing`, `empty`, `truncated`, `black`, `changed`, `wrong_size`. `wanted`: it is
    /// to be rendered anew.
    flags: Vec<&'static str>,
}

/// A text for a frame's key: plain where it has only shot and number.
fn frame_id(key: &FrameKey) -> String {
    let plain = format!("{}.{}", key.shot, key.number);
    if key.output.is_empty() && key.view.is_empty() {
        return plain;
    }
    let rest = format!("{}\0{}", key.output, key.view);
    format!("{plain}.{}", URL_SAFE_NO_PAD.encode(rest))
}

impl Frame {
    fn new(model: &ReadModel, row: &FrameRow) -> Self {
        let key = &row.key;
        let unfenced = (row.flags & frame_flags::UNFENCED != 0).then_some("unfenced");
        let found = row.found.then_some("found");
        let wanted = row.wanted.then_some("wanted");
        Self {
            id: frame_id(key),
            job: row.job.to_string(),
            task: row.task.to_string(),
            attempt: row.attempt.to_string(),
            worker: Named::worker(model, row.worker),
            shot: key.shot.to_string(),
            number: key.number,
            output: key.output.clone(),
            view: key.view.clone(),
            name: row.detail.name.clone(),
            path: row.detail.path.clone(),
            size: row.size,
            hash: blake3::Hash::from_bytes(row.hash).to_string(),
            rendered_at: rfc3339(row.rendered_at),
            render_ms: row.render_ms,
            samples: row.samples,
            peak_memory_bytes: row.peak_memory_bytes,
            blender_version: row.detail.blender_version.clone(),
            thumbnail: thumbnail(row),
            blend_hash: (row.detail.blend_hash)
                .map(|hash| blake3::Hash::from_bytes(hash).to_string()),
            flags: (unfenced.into_iter())
                .chain(found)
                .chain(frame_flags::names(row.flaws))
                .chain(wanted)
                .collect(),
        }
    }
}

/// In which order.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// By shot and number.
    Shot,
    /// Last published first.
    Newest,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FramesQuery {
    /// Published last by this job.
    job: Option<String>,
    /// Of this shot, by id or name.
    shot: Option<String>,
    /// Published last by this task.
    task: Option<String>,
    /// With one of these flags, separated by commas; `any`: with something wrong.
    flag: Option<String>,
    /// Name of the job type.
    #[serde(rename = "type")]
    job_type: Option<String>,
    /// Part of the frame's name, in upper or lower case.
    name: Option<String>,
    /// Name of the job's user.
    user: Option<String>,
    /// Name of the job's project.
    project: Option<String>,
    /// Id or name of the job's worker tag.
    tag: Option<String>,
    /// Id or name of the worker that rendered it.
    worker: Option<String>,
    /// Published at this time or later, RFC 3339.
    since: Option<String>,
    /// Published before this time, RFC 3339.
    until: Option<String>,
    /// `shot` (by shot and number, if not said) or `newest` (last published first).
    order: Option<Order>,
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

fn id_of<T: std::str::FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(str::parse)
        .transpose()
        .map_err(|_| Problem::new(ProblemKind::BadQuery, format!("{name}: must be a UUID")))
}

/// Which frames are wanted.
#[derive(Default)]
struct Wish {
    job: Option<JobId>,
    shot: Option<ShotId>,
    task: Option<TaskId>,
    flag: Option<Flags>,
    narrow: Option<Filter>,
}

/// Flags of which a frame is to have one.
#[derive(Clone, Copy)]
struct Flags {
    flaws: u16,
    unfenced: bool,
    found: bool,
    wanted: bool,
}

impl Flags {
    fn of(text: &str) -> Result<Self, Problem> {
        let mut flags = Self {
            flaws: 0,
            unfenced: false,
            found: false,
            wanted: false,
        };
        for name in text.split(',') {
            match (name, frame_flags::of_name(name)) {
                (_, Some(flaw)) => flags.flaws |= flaw,
                ("any", _) => flags.flaws |= frame_flags::FLAWS,
                ("unfenced", _) => flags.unfenced = true,
                ("found", _) => flags.found = true,
                ("wanted", _) => flags.wanted = true,
                _ => {
                    let detail = format!("flag: there is no flag {name:?}");
                    return Err(Problem::new(ProblemKind::BadQuery, detail));
                }
            }
        }
        Ok(flags)
    }

    fn are_on(self, row: &FrameRow) -> bool {
        row.flaws & self.flaws != 0
            || self.unfenced && row.flags & frame_flags::UNFENCED != 0
            || self.found && row.found
            || self.wanted && row.wanted
    }
}

impl Wish {
    /// The frames of one site through the narrowest index there is, and whether they are in
    /// order of shot and number.
    fn found<'a>(
        &'a self,
        model: &'a ReadModel,
    ) -> (Box<dyn Iterator<Item = FrameRow> + 'a>, bool) {
        let Self {
            job,
            shot,
            task,
            flag,
            ..
        } = *self;
        let job_of_task =
            task.and_then(|task| model.task(task).map(|view| view.job.state.facts.job));
        let jobs = self.narrow.as_ref().and_then(|filter| filter.jobs(model));
        let frames: (Box<dyn Iterator<Item = FrameRow> + 'a>, bool) =
            match (job.or(job_of_task), shot, &jobs) {
                (Some(job), _, _) => (Box::new(model.frames_of_job(job)), true),
                (None, Some(shot), _) => (Box::new(model.frames_of_shot(shot)), true),
                (None, None, Some(jobs)) => {
                    let jobs = jobs.clone().into_iter();
                    (
                        Box::new(jobs.flat_map(move |job| model.frames_of_job(job))),
                        false,
                    )
                }
                (None, None, None) => (Box::new(model.frames()), true),
            };
        let workers = self
            .narrow
            .as_ref()
            .and_then(|filter| filter.workers(model));
        let narrow = self.narrow.as_ref();
        let rows = frames.0.filter(move |row| {
            job.is_none_or(|job| row.job == job)
                && shot.is_none_or(|shot| row.key.shot == shot)
                && task.is_none_or(|task| row.task == task)
                && flag.is_none_or(|flags| flags.are_on(row))
                && jobs.as_ref().is_none_or(|jobs| jobs.contains(&row.job))
                && (workers.as_ref()).is_none_or(|workers| workers.contains(&row.worker))
                && narrow.is_none_or(|filter| {
                    filter.moment(row.published) && filter.name(&row.detail.name)
                })
        });
        (Box::new(rows), frames.1)
    }

    fn is_empty(&self) -> bool {
        let ids =
            self.job.is_none() && self.shot.is_none() && self.task.is_none() && self.flag.is_none();
        ids && self.narrow.is_none()
    }
}

/// By shot and number; the Manager last, because two may have rendered into one shot.
type Place = (ShotId, i32, String, String, ManagerId);

fn by_place(
    whole: &Whole<'_>,
    wish: &Wish,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Json<Page<Frame>>, Problem> {
    let wanted: Wanted<Place> = Wanted::new("frames", limit, cursor)?;
    let mut rows = Vec::new();
    for site in &whole.sites {
        let model = &*site.model;
        let (found, in_order) = wish.found(model);
        let placed = found.map(|row| {
            let FrameKey {
                shot,
                number,
                output,
                view,
            } = row.key.clone();
            ((shot, number, output, view, site.manager), (model, row))
        });
        if in_order {
            rows.extend(wanted.take(placed));
        } else {
            // Job by job, each in order.
            let mut placed: Vec<_> = placed.filter(|(key, _)| wanted.is_after(key)).collect();
            placed.sort_by(|(one, _), (other, _)| one.cmp(other));
            rows.extend(wanted.take(placed.into_iter()));
        }
    }
    Ok(wanted.page(whole, rows, |(model, row)| Frame::new(model, &row)))
}

/// Newest first: what is published meanwhile comes before the cursor, and shifts nothing.
type Moment = Reverse<(Timestamp, ManagerId, Lsn)>;

fn newest(
    whole: &Whole<'_>,
    wish: &Wish,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Json<Page<Frame>>, Problem> {
    let wanted: Wanted<Moment> = Wanted::new("newest-frames", limit, cursor)?;
    let mut rows = Vec::new();
    for site in &whole.sites {
        let model = &*site.model;
        let key = |row: &FrameRow| Reverse((row.published, site.manager, row.position));
        if wish.is_empty() {
            // In publication order already; later pages have to be walked to.
            let count = wanted.after().map_or(wanted.limit() + 1, |_| usize::MAX);
            let all = model.newest_frames().take(count);
            rows.extend(wanted.take(all.map(|row| (key(&row), (model, row)))));
        } else {
            let mut found: Vec<_> = (wish.found(model).0)
                .map(|row| (key(&row), (model, row)))
                .filter(|(key, _)| wanted.is_after(key))
                .collect();
            found.sort_by_key(|(key, _)| *key);
            rows.extend(wanted.take(found.into_iter()));
        }
    }
    Ok(wanted.page(whole, rows, |(model, row)| Frame::new(model, &row)))
}

/// Published frames.
#[utoipa::path(get, path = "/api/farm/v1/frames", tag = "frames", params(FramesQuery, MetaQuery, AtQuery), responses(
    (status = 200, description = "A page of frames", body = Page<Frame>),
    (status = 400, description = "A parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    Narrowed(query, meta, seen): Narrowed<FramesQuery>,
) -> Result<Json<Page<Frame>>, Problem> {
    let shot: Option<ShotId> = query.shot.as_deref().and_then(|shot| shot.parse().ok());
    let given = Given {
        kind: query.job_type.as_deref(),
        name: query.name.as_deref(),
        user: query.user.as_deref(),
        project: query.project.as_deref(),
        shot: query.shot.as_deref().filter(|_| shot.is_none()),
        tag: query.tag.as_deref(),
        worker: query.worker.as_deref(),
        since: query.since.as_deref(),
        until: query.until.as_deref(),
        status: None,
    };
    let narrow = Filter::new(&given, meta, std::iter::empty())?;
    let wish = Wish {
        job: id_of("job", query.job.as_deref())?,
        shot,
        task: id_of("task", query.task.as_deref())?,
        flag: query.flag.as_deref().map(Flags::of).transpose()?,
        narrow: narrow.asks_for_anything().then_some(narrow),
    };
    let cursor = query.cursor.as_deref();
    let whole = seen.read();
    match query.order.unwrap_or(Order::Shot) {
        Order::Shot => by_place(&whole, &wish, query.limit, cursor),
        Order::Newest => newest(&whole, &wish, query.limit, cursor),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShotFramesQuery {
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Frames of a shot, by number.
#[utoipa::path(get, path = "/api/farm/v1/shots/{shot}/frames", tag = "shots",
    params(("shot" = String, Path, description = "The shot's id", format = "uuid"), ShotFramesQuery, AtQuery),
    responses(
        (status = 200, description = "A page of frames", body = Page<Frame>),
        (status = 400, description = "The id or a parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such shot", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_shot(
    Id(shot): Id<ShotId>,
    Asked(query, seen): Asked<ShotFramesQuery>,
) -> Result<Json<Page<Frame>>, Problem> {
    let whole = seen.read();
    if !(whole.sites.iter()).any(|site| site.model.shot(shot).is_some()) {
        let detail = format!("no shot has the id {shot}");
        return Err(Problem::new(ProblemKind::UnknownShot, detail));
    }
    let wish = Wish {
        shot: Some(shot),
        ..Wish::default()
    };
    by_place(&whole, &wish, query.limit, query.cursor.as_deref())
}
