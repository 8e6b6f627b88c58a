// SPDX-License-Identifier: GPL-3.0-or-later
//! Shaman, Flamenco's way to send files: requirements, uploads, checkouts.
//!
//! A handler here turns HTTP into calls of the store and its errors into codes. Bodies of uploads
//! go to the disk as they come; whatever blocks runs off the event loop.

use std::time::Duration;

use axum::{
    Json,
    body::{Body as HttpBody, BodyDataStream, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH},
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tablao_shaman::{
    Begin, BlobId, CheckoutPath, Error, FilePath, FileSpec, Outcome, Store, Upload,
};
use tokio::sync::mpsc;

use super::{Body, Problem, mime_words};
use crate::{node::SharedNode, shaman::causes};

/// Pieces of a body that wait for the disk. A piece is what one read of the socket brought.
const PIECES_WAITING: usize = 4;
/// A client that sends nothing for so long has gone, or might as well have.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// So much of a body that is not wanted is read all the same: a client that is still sending
/// hears an answer only if its connection is not reset under it.
const UNWANTED_BYTES_MAX: usize = 256 << 10;
/// And for so long.
const UNWANTED_TIME_MAX: Duration = Duration::from_secs(2);

/// A file as the requests name it.
#[derive(Deserialize)]
pub(super) struct SpecJson {
    sha: String,
    size: u64,
    path: String,
}

impl SpecJson {
    fn check(self) -> Result<FileSpec, Problem> {
        Ok(FileSpec {
            id: BlobId::parse(&self.sha, self.size)?,
            path: FilePath::parse(&self.path)?,
        })
    }
}

/// A file that is lacking, by the first path that asked for it.
#[derive(Serialize)]
struct LackingJson {
    sha: String,
    size: u64,
    path: String,
    status: &'static str,
}

#[derive(Deserialize)]
pub(super) struct Requirements {
    files: Vec<SpecJson>,
}

#[derive(Deserialize)]
pub(super) struct Checkout {
    files: Vec<SpecJson>,
    #[serde(rename = "checkoutPath")]
    path: String,
}

pub(super) async fn requirements(
    State(node): State<SharedNode>,
    Body(body): Body<Requirements>,
) -> Result<Json<Value>, Problem> {
    let store = store(&node)?;
    let files = blocking(move || {
        let files = checked(body.files)?;
        let lacking = store.requirements(&files)?;
        let lacking = lacking.into_iter().map(|(file, status)| LackingJson {
            sha: file.id.checksum(),
            size: file.id.size(),
            path: file.path.as_str().to_owned(),
            status: status.name(),
        });
        Ok(lacking.collect::<Vec<_>>())
    })
    .await?;
    Ok(Json(json!({ "files": files })))
}

pub(super) async fn checkout(
    State(node): State<SharedNode>,
    Body(body): Body<Checkout>,
) -> Result<Json<Value>, Problem> {
    let store = store(&node)?;
    let made = blocking(move || {
        let path = CheckoutPath::requested(&body.path)?;
        Ok(store.checkout(&path, &checked(body.files)?)?)
    })
    .await?;
    Ok(Json(json!({ "checkoutPath": made.as_str() })))
}

pub(super) async fn status(
    State(node): State<SharedNode>,
    Path((checksum, size)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let store = store(&node)?;
    let id = blob_id(&checksum, &size)?;
    let status = blocking(move || Ok(store.status(id)?)).await?;
    Ok(Json(json!({ "status": status.name() })))
}

pub(super) async fn upload(
    State(node): State<SharedNode>,
    Path((checksum, size)): Path<(String, String)>,
    headers: HeaderMap,
    body: HttpBody,
) -> Result<StatusCode, Problem> {
    let store = store(&node)?;
    let id = blob_id(&checksum, &size)?;
    let can_defer = can_defer(&headers)?;
    let name = original_name(&headers)?;
    let mut body = body.into_data_stream();
    let result = match announced_length(&headers) {
        Some(length) if length != id.size() => Err(Problem::from(Error::SizeMismatch {
            id,
            received: length,
        })),
        _ => match blocking(move || Ok(store.upload(id, can_defer)?)).await? {
            Begin::AlreadyStored => Ok(StatusCode::ALREADY_REPORTED),
            Begin::Deferred => Ok(StatusCode::TOO_EARLY),
            Begin::Upload(upload) => receive(upload, &mut body).await,
        },
    };
    let status = result
        .as_ref()
        .map_or_else(Problem::status, |status| *status);
    tracing::debug!(file = %id, name, %status, "an upload ended");
    if status != StatusCode::NO_CONTENT {
        drain(body).await;
    }
    result
}

/// What the reading side of a connection tells the writing side.
enum Piece {
    Bytes(Bytes),
    /// All of them came. Without this word nothing is stored.
    End,
}

/// Passes a body on to the disk. When this future is dropped because the client went away, so is
/// the channel, and the writing side drops what it has.
async fn receive(
    mut upload: Box<Upload>,
    body: &mut BodyDataStream,
) -> Result<StatusCode, Problem> {
    let (pieces, mut incoming) = mpsc::channel(PIECES_WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(piece) = incoming.blocking_recv() {
            match piece {
                Piece::Bytes(bytes) => upload.write(&bytes)?,
                Piece::End => return upload.finish().map(Some),
            }
            if upload.is_overtaken() {
                return Ok(Some(Outcome::AlreadyStored));
            }
        }
        Ok(None)
    });
    let broken = pass_on(body, &pieces).await.err();
    drop(pieces);
    match (writing.await, broken) {
        (Ok(Ok(Some(Outcome::Stored))), _) => Ok(StatusCode::NO_CONTENT),
        (Ok(Ok(Some(Outcome::AlreadyStored))), _) => Ok(StatusCode::ALREADY_REPORTED),
        (Ok(Err(error)), _) => Err(error.into()),
        (Ok(Ok(None)), broken) => Err(broken
            .unwrap_or_else(|| Problem::bad_request("the upload ended before all of it had come"))),
        (Err(error), _) => Err(panicked(&error)),
    }
}

async fn pass_on(body: &mut BodyDataStream, pieces: &mpsc::Sender<Piece>) -> Result<(), Problem> {
    loop {
        let next = tokio::select! {
            biased;
            // The writing side has ended: it knows why.
            () = pieces.closed() => return Ok(()),
            next = tokio::time::timeout(SILENCE_MAX, body.next()) => next,
        };
        let piece = match next {
            Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
            Ok(None) => Piece::End,
            Ok(Some(Err(error))) => {
                return Err(Problem::bad_request(format!("read the upload: {error}")));
            }
            Err(_) => {
                let message = "nothing came for two minutes; send the file again";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message));
            }
        };
        let is_last = matches!(piece, Piece::End);
        if pieces.send(piece).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// Reads a little of what nobody wants.
async fn drain(mut body: BodyDataStream) {
    let some = async {
        let mut read = 0;
        while let Some(Ok(bytes)) = body.next().await {
            read += bytes.len();
            if read > UNWANTED_BYTES_MAX {
                break;
            }
        }
    };
    // Whether it was all of it changes nothing.
    let _ = tokio::time::timeout(UNWANTED_TIME_MAX, some).await;
}

fn store(node: &SharedNode) -> Result<Store, Problem> {
    node.shaman().ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this farm takes no files: set shared_storage_path and shaman.enabled in tablao.toml",
        )
    })
}

/// Runs what waits for a disk where waiting is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(panicked(&error)))
}

fn panicked(error: &tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "work on the file store panicked");
    let message = "the file store failed; see the Manager's log";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message)
}

fn checked(files: Vec<SpecJson>) -> Result<Vec<FileSpec>, Problem> {
    files.into_iter().map(SpecJson::check).collect()
}

fn blob_id(checksum: &str, size: &str) -> Result<BlobId, Problem> {
    let digits = !size.is_empty() && size.bytes().all(|digit| digit.is_ascii_digit());
    let size =
        size.parse().ok().filter(|_| digits).ok_or_else(|| {
            Problem::bad_request("the size in the address is not a number of bytes")
        })?;
    Ok(BlobId::parse(checksum, size)?)
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Flamenco's add-on writes it as Python does, with a capital.
fn can_defer(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(value) = headers.get("x-shaman-can-defer-upload") else {
        return Ok(false);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(Problem::bad_request(
            "X-Shaman-Can-Defer-Upload is neither true nor false",
        ))
    }
}

/// What the client calls the file, for the log.
fn original_name(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get("x-shaman-original-filename") else {
        return Ok(String::new());
    };
    value
        .to_str()
        .ok()
        .and_then(mime_words::decode)
        .ok_or_else(|| {
            Problem::bad_request(
                "X-Shaman-Original-Filename is neither ASCII nor UTF-8 encoded as RFC 2047 says",
            )
        })
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Checksum { .. }
            | Error::Path { .. }
            | Error::Clash { .. }
            | Error::NotACheckout { .. } => StatusCode::BAD_REQUEST,
            Error::SizeMismatch { .. } | Error::ChecksumMismatch { .. } => {
                StatusCode::EXPECTATION_FAILED
            }
            Error::FilesMissing { .. } => StatusCode::FAILED_DEPENDENCY,
            Error::CheckoutExists { .. } => StatusCode::CONFLICT,
            Error::StorageMissing { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Error::Io { .. } => {
                tracing::error!(error = %causes(&error), "work on the file store");
                if error.is_storage_full() {
                    StatusCode::INSUFFICIENT_STORAGE
                } else {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            }
        };
        Self::new(status, causes(&error))
    }
}
