// SPDX-License-Identifier: GPL-3.0-or-later
//! Errors in Flamenco's shape: `{code, message}`, with the code repeating the HTTP status.

use axum::{
    Json,
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tablao_core::Refusal;

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    message: String,
    body: Option<serde_json::Value>,
}

impl Problem {
    /// An answer with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            body: None,
        }
    }

    /// The status that it answers with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 403, for a worker only: always that, whatever is wrong, without a code and never with a
    /// challenge. It is what workers act upon.
    pub fn forbidden() -> Self {
        let message =
            "the worker is not known here, or its secret is wrong: it has to register again";
        Self {
            status: StatusCode::FORBIDDEN,
            message: String::new(),
            body: Some(json!({ "message": message })),
        }
    }

    /// 423 with what the worker is to become.
    pub fn status_change(status: tablao_core::WorkerStatus) -> Self {
        Self {
            status: StatusCode::LOCKED,
            message: String::new(),
            body: Some(json!({ "status_requested": status.name() })),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self
            .body
            .unwrap_or_else(|| json!({ "code": self.status.as_u16(), "message": self.message }));
        (self.status, Json(body)).into_response()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::StatusChangePending { status } => return Self::status_change(*status),
            Refusal::UnknownJob { .. }
            | Refusal::UnknownTask { .. }
            | Refusal::UnknownWorker { .. }
            | Refusal::UnknownManager { .. }
            | Refusal::TaskRetired { .. }
            | Refusal::UnknownFrame { .. } => StatusCode::NOT_FOUND,
            Refusal::UnknownTag { .. } => StatusCode::NOT_FOUND,
            Refusal::JobTransition { .. }
            | Refusal::TaskTransition { .. }
            | Refusal::NotRemovable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::NotAwake { .. } | Refusal::NotAssigned { .. } | Refusal::JobExists { .. } => {
                StatusCode::CONFLICT
            }
            Refusal::CannotRestart { .. } => StatusCode::PRECONDITION_FAILED,
            Refusal::ReportedStatus { .. }
            | Refusal::UnsoundSubmission { .. }
            | Refusal::PriorityOutOfRange { .. } => StatusCode::BAD_REQUEST,
            Refusal::StaleTerm { .. }
            | Refusal::JobLeased { .. }
            | Refusal::NotRegenerable { .. }
            | Refusal::StaleGeneration { .. } => StatusCode::CONFLICT,
        };
        Self::new(status, refusal.to_string())
    }
}

/// Closes the connection without a word: something that had to be kept could not be, and a worker
/// would take any code for the task's failure or for its own dismissal. What got no answer it
/// sends again.
pub(super) fn hang_up() -> Response {
    let broken = std::io::Error::other("the store failed; see the Manager's log");
    // A body that breaks before its first byte takes the head of the answer with it.
    let body = futures_util::stream::once(async { Err::<Bytes, _>(broken) });
    Response::new(Body::from_stream(body))
}

/// The engine has stopped: its journal cannot be written, or the process ends. A worker takes
/// any error code for the task's failure, so the connection says nothing and closes with the
/// process.
pub(super) async fn stopped<T>(_: crate::engine::Stopped) -> T {
    std::future::pending().await
}
