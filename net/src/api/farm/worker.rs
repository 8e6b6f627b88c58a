// SPDX-License-Identifier: GPL-3.0-or-later
//! What our own Workers call beside Flamenco's endpoints: thumbnails.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use tablao_core::{ShotId, entity::FrameKey};
use utoipa::ToSchema;

use crate::{
    api::v3::{Problem, WorkerIdentity},
    node::SharedNode,
    thumbnails::{self, NotStored},
};

/// Errors to workers have Flamenco's shape, as everywhere they call.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "a schema; the answer is made by the v3 API's error"
)]
struct WorkerProblem {
    /// The HTTP status, again.
    code: u16,
    /// What is wrong.
    message: String,
}

/// Stores a thumbnail under `thumbnails/<shot>/<file>` and notes it on its frame.
#[utoipa::path(post, path = "/api/farm/v1/worker/thumbnails/{shot}/{file}", tag = "worker",
    params(
        ("shot" = String, Path, description = "The shot's id", format = "uuid"),
        ("file" = String, Path, description = "`<frame name>_thumbnail.jpg` or `.png`"),
        ("Tablao-Frame" = i32, Header, description = "The frame's number"),
        ("Tablao-Output" = Option<String>, Header, description = "The frame's output, where it is not the main one"),
        ("Tablao-View" = Option<String>, Header, description = "The frame's view, where there are several"),
    ),
    request_body(content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
    responses(
        (status = 204, description = "Stored"),
        (status = 400, description = "Not a thumbnail, or not of a frame", body = WorkerProblem),
        (status = 403, description = "Not a worker that this Manager knows", body = Object),
        (status = 404, description = "No such frame", body = WorkerProblem),
        (status = 507, description = "The Manager cannot store it", body = WorkerProblem),
    ))]
pub(super) async fn thumbnail(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    Path((shot, file)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Some(engine) = &node.site else {
        return Err(Problem::not_found(
            "thumbnails are kept by a Manager, not by the Server alone",
        ));
    };
    let shot: ShotId = shot
        .parse()
        .map_err(|_| Problem::bad_request("the shot id is not a UUID"))?;
    if !thumbnails::is_name(&file) {
        return Err(Problem::bad_request(
            "a thumbnail is named <frame name>_thumbnail.jpg or .png",
        ));
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number: i32 = header("tablao-frame")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| {
            Problem::bad_request("name the frame's number in the header Tablao-Frame")
        })?;
    let decodes = image::guess_format(&body)
        .is_ok_and(|format| matches!(format, image::ImageFormat::Jpeg | image::ImageFormat::Png));
    if !decodes {
        return Err(Problem::bad_request("a thumbnail is a JPEG or PNG picture"));
    }
    let key = FrameKey {
        shot,
        output: header("tablao-output").unwrap_or_default().to_owned(),
        view: header("tablao-view").unwrap_or_default().to_owned(),
        number,
    };
    let by = (worker.actor(), worker.asker());
    match thumbnails::store(&node, engine, (key, file), body, by).await {
        Ok(reply) => reply?,
        Err(NotStored::Unwritten) => {
            return Err(Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "the Manager cannot store the thumbnail; see its log",
            ));
        }
        Err(NotStored::Stopped(_)) => std::future::pending().await,
    };
    Ok(StatusCode::NO_CONTENT)
}
