// SPDX-License-Identifier: GPL-3.0-or-later
//! What our own Workers call beside Flamenco's endpoints: thumbnails.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use tablao_core::{Request, ShotId, entity::FrameKey};

use crate::{
    api::v3::{Problem, WorkerIdentity},
    data_dir::write_durably,
    engine::Ask,
    node::SharedNode,
};

/// Stores a thumbnail under `thumbnails/<shot>/<file>` and notes it on its frame.
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
    let named_so = file.ends_with("_thumbnail.jpg") || file.ends_with("_thumbnail.png");
    if !named_so || file.starts_with('.') || file.contains(['/', '\\', '\0', ':']) {
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
    let hash = *blake3::hash(&body).as_bytes();
    let path = node
        .data
        .path("thumbnails")
        .join(shot.to_string())
        .join(&file);
    let written = tokio::task::spawn_blocking(move || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| crate::Error::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        write_durably(&path, &body)
    })
    .await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(?written, "store a thumbnail");
        return Err(Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "the Manager cannot store the thumbnail; see its log",
        ));
    }
    let request = Request::StoreThumbnail { key, hash, file };
    let ask = Ask::new(request, worker.actor(), worker.asker());
    match engine.ask(ask).await {
        Ok(reply) => reply?,
        Err(_) => std::future::pending().await,
    };
    Ok(StatusCode::NO_CONTENT)
}
