// SPDX-License-Identifier: GPL-3.0-or-later
//! `shots/{id}/preview`: a shot as a still, as a flip-book to be played by the page, or as a small
//! video. All of them are made of thumbnails; the frames themselves stay where they are.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tablao_core::{ShotId, event::frame_flags};
use tablao_projections::{FrameRow, ReadModel};
use tower::util::ServiceExt as _;
use tower_http::services::ServeFile;
use utoipa::{IntoParams, ToSchema};

use super::{
    named::thumbnail,
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Id, Query},
};
use crate::{
    clock::rfc3339,
    node::SharedNode,
    shot_videos::{self, Picture},
    thumbnails,
    whole::Views,
};

/// Where a job does not say how fast its frames are to be played.
const FPS_DEFAULT: u32 = 24;
const FPS_MAX: u32 = 120;
/// Frames of a preview: some seven minutes of film.
const FRAMES_MAX: usize = 10_000;

/// In which form.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// The newest thumbnail.
    Still,
    /// All thumbnails in order.
    Flipbook,
    /// A small video.
    Video,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PreviewQuery {
    /// `flipbook` (if not said), `still` or `video`.
    #[serde(rename = "as")]
    form: Option<Form>,
    /// Frames per second, 1 to 120; if not said what the shot's newest job says, or 24.
    fps: Option<u32>,
    /// The first frame.
    from: Option<i32>,
    /// The last frame.
    to: Option<i32>,
}

/// A picture of a flip-book.
#[derive(Serialize, ToSchema)]
pub(super) struct FlipbookFrame {
    number: i32,
    name: String,
    /// Address of the thumbnail; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    thumbnail: Option<String>,
    /// BLAKE3 of the frame: a frame that is rendered anew keeps its thumbnail's address.
    hash: String,
    #[schema(format = "date-time")]
    rendered_at: String,
    /// What is wrong with it.
    flags: Vec<&'static str>,
}

/// A shot to be played.
#[derive(Serialize, ToSchema)]
pub(super) struct Flipbook {
    #[schema(format = "uuid")]
    shot: String,
    name: String,
    /// Frames per second.
    frame_rate: u32,
    /// Address of the newest thumbnail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    still: Option<String>,
    /// Address of the video; made when it is fetched.
    video: String,
    /// In the order of their numbers. A number that is not there has no frame.
    frames: Vec<FlipbookFrame>,
}

/// The frame rate that the shot's newest job sets, if any does.
fn frame_rate(model: &ReadModel, shot: ShotId) -> Option<u32> {
    let jobs = model.farm().jobs().values();
    let newest = jobs
        .filter(|job| job.state.facts.shot == shot)
        .max_by_key(|job| job.state.sequence)?;
    let settings = &model.job(newest.state.facts.job)?.detail.settings;
    let settings: Value = serde_json::from_str(settings).ok()?;
    let fps = settings.get("fps")?.as_f64()?.round();
    (fps >= 1.0 && fps <= f64::from(FPS_MAX)).then(|| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 120"
        )]
        let fps = fps as u32;
        fps
    })
}

/// One frame for each number: of the main output and the only view where there is one.
fn sequence(rows: impl Iterator<Item = FrameRow>, query: &PreviewQuery) -> Vec<FrameRow> {
    let mut chosen: BTreeMap<i32, FrameRow> = BTreeMap::new();
    let (from, to) = (query.from.unwrap_or(i32::MIN), query.to.unwrap_or(i32::MAX));
    for row in rows.filter(|row| (from..=to).contains(&row.key.number)) {
        let rank = |row: &FrameRow| (row.key.output.clone(), row.key.view.clone());
        match chosen.get(&row.key.number) {
            Some(known) if rank(known) <= rank(&row) => {}
            Some(_) | None => {
                chosen.insert(row.key.number, row);
            }
        }
    }
    chosen.into_values().take(FRAMES_MAX).collect()
}

/// A shot as a flip-book, a still or a small video, made of thumbnails.
#[utoipa::path(get, path = "/api/farm/v1/shots/{shot}/preview", tag = "shots",
    params(("shot" = String, Path, description = "The shot's id", format = "uuid"), PreviewQuery),
    responses(
        (status = 200, description = "The flip-book, or the video", content((Flipbook = "application/json"), (Vec<u8> = "video/mp4"))),
        (status = 206, description = "A part of the video", body = Vec<u8>, content_type = "video/mp4"),
        (status = 307, description = "Where the still is"),
        (status = 400, description = "The id or a parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such shot, or nothing to be seen of it yet", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "The video has no such part"),
        (status = 500, description = "The video cannot be made", body = ProblemBody, content_type = "application/problem+json"),
        (status = 501, description = "The Manager's machine has no FFmpeg", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Other videos are being made", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn preview(
    State(node): State<SharedNode>,
    Id(shot): Id<ShotId>,
    Query(query): Query<PreviewQuery>,
    request: Request,
) -> Result<Response, Problem> {
    if query.fps.is_some_and(|fps| !(1..=FPS_MAX).contains(&fps)) {
        let detail = format!("fps: must be from 1 to {FPS_MAX}");
        return Err(Problem::new(ProblemKind::BadQuery, detail));
    }
    let views = Views::of(&node);
    let (book, pictures) = {
        let whole = views.read();
        let with_shot = |site: &&crate::whole::Site<'_>| site.model.shot(shot).is_some();
        // Thumbnails of other Managers' frames are with those Managers.
        let site = (whole.sites.iter().filter(with_shot))
            .max_by_key(|site| site.model.frames_of_shot(shot).next().is_some());
        let Some(site) = site else {
            let detail = format!("no shot has the id {shot}");
            return Err(Problem::new(ProblemKind::UnknownShot, detail));
        };
        let model = &*site.model;
        let rows = sequence(model.frames_of_shot(shot), &query);
        let frame_rate = (query.fps.or_else(|| frame_rate(model, shot))).unwrap_or(FPS_DEFAULT);
        let pictures: Vec<Picture> = (rows.iter())
            .filter_map(|row| {
                let file = row
                    .thumbnail
                    .as_deref()
                    .filter(|file| thumbnails::is_name(file))?;
                Some(Picture {
                    number: row.key.number,
                    file: thumbnails::path_of(&node, shot, file),
                    hash: model.farm().frames().get(&row.key)?.thumbnail?,
                })
            })
            .collect();
        (flipbook(model, shot, frame_rate, &query, &rows), pictures)
    };
    match query.form.unwrap_or(Form::Flipbook) {
        Form::Flipbook => Ok(Json(book).into_response()),
        Form::Still => match book.still {
            Some(still) => Ok(Redirect::temporary(&still).into_response()),
            None => Err(nothing_to_see(shot)),
        },
        Form::Video => {
            if pictures.is_empty() {
                return Err(nothing_to_see(shot));
            }
            let made = shot_videos::video(&node, shot, book.frame_rate, pictures).await;
            let file = made.map_err(|error| problem_of(shot, &error))?;
            let Ok(answer) = ServeFile::new(file).oneshot(request).await;
            let mut answer = answer.into_response();
            // The address says nothing of the content: a frame that is rendered anew changes it.
            let fresh = HeaderValue::from_static("no-cache");
            answer.headers_mut().insert(header::CACHE_CONTROL, fresh);
            Ok(answer)
        }
    }
}

fn flipbook(
    model: &ReadModel,
    shot: ShotId,
    frame_rate: u32,
    query: &PreviewQuery,
    rows: &[FrameRow],
) -> Flipbook {
    let mut video = format!("/api/farm/v1/shots/{shot}/preview?as=video&fps={frame_rate}");
    for (name, number) in [("from", query.from), ("to", query.to)] {
        if let Some(number) = number {
            video.push_str(&format!("&{name}={number}"));
        }
    }
    let pictured = rows.iter().filter(|row| thumbnail(row).is_some());
    let newest = pictured.max_by_key(|row| (row.published, row.position));
    Flipbook {
        shot: shot.to_string(),
        name: model
            .shot(shot)
            .map(|row| row.name.clone())
            .unwrap_or_default(),
        frame_rate,
        still: newest.and_then(thumbnail),
        video,
        frames: rows
            .iter()
            .map(|row| FlipbookFrame {
                number: row.key.number,
                name: row.detail.name.clone(),
                thumbnail: thumbnail(row),
                hash: blake3::Hash::from_bytes(row.hash).to_string(),
                rendered_at: rfc3339(row.rendered_at),
                flags: frame_flags::names(row.flaws).collect(),
            })
            .collect(),
    }
}

fn nothing_to_see(shot: ShotId) -> Problem {
    let detail = format!("none of the frames of shot {shot} has a thumbnail yet");
    Problem::new(ProblemKind::NoPreview, detail)
}

fn problem_of(shot: ShotId, error: &shot_videos::Error) -> Problem {
    use shot_videos::Error;
    match error {
        Error::NoPictures => nothing_to_see(shot),
        Error::NoFfmpeg(program) => {
            let detail = format!("the Manager's machine has no program `{program}`");
            Problem::new(ProblemKind::NoFfmpeg, detail)
        }
        Error::Busy => {
            let detail = "as many videos as may wait are waiting";
            Problem::new(ProblemKind::Busy, detail)
        }
        Error::Failed(_) | Error::Io(_) => Problem::unreadable("make the video of a shot", error),
    }
}
