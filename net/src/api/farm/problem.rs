// SPDX-License-Identifier: GPL-3.0-or-later
//! Errors of our own API: `application/problem+json` (RFC 9457) of a closed set of kinds.
//!
//! A kind fixes type, title, status and hint; the detail is of the case at hand and for the
//! caller. What only the operator should see goes to the log where the problem is made.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::whole::Gone;

/// Every kind of problem that this API answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProblemKind {
    BadQuery,
    BadId,
    BadCursor,
    BadPosition,
    BadBody,
    NotCompiled,
    StalePreview,
    UnknownJob,
    UnknownTask,
    UnknownWorker,
    UnknownShot,
    UnknownRoute,
    LogElsewhere,
    JobElsewhere,
    WorkerElsewhere,
    NotNow,
    MethodNotAllowed,
    PositionGone,
    NoTimeTravel,
    NotYet,
    NotRetained,
    Unreadable,
    NoPreview,
    NoFfmpeg,
    Busy,
}

/// What a kind of problem is the same in each time.
struct Row {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    hint: &'static str,
}

const fn row(
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    hint: &'static str,
) -> Row {
    Row {
        name,
        status,
        title,
        hint,
    }
}

impl ProblemKind {
    const fn row(self) -> Row {
        use StatusCode as S;
        match self {
            Self::BadQuery => row(
                "bad-query",
                S::BAD_REQUEST,
                "The query is not understood",
                "correct the parameter that the detail names; /api/farm/v1/openapi.json lists them all",
            ),
            Self::BadId => row(
                "bad-id",
                S::BAD_REQUEST,
                "The id is malformed",
                "send an id as the farm gave it, a UUID of 36 characters",
            ),
            Self::BadCursor => row(
                "bad-cursor",
                S::BAD_REQUEST,
                "The cursor is not one of this list",
                "send the value of `next` exactly as the same list gave it, or begin without a cursor",
            ),
            Self::BadPosition => row(
                "bad-position",
                S::BAD_REQUEST,
                "The position is malformed",
                "send a position exactly as the farm gave it, or begin without one",
            ),
            Self::BadBody => row(
                "bad-body",
                S::BAD_REQUEST,
                "The body is not understood",
                "send JSON with Content-Type: application/json, as /api/farm/v1/openapi.json describes it",
            ),
            Self::NotCompiled => row(
                "not-compiled",
                S::UNPROCESSABLE_ENTITY,
                "The job type does not compile this job",
                "correct the setting or the script that the detail names; nothing was changed",
            ),
            Self::StalePreview => row(
                "stale-preview",
                S::PRECONDITION_FAILED,
                "Something else would happen by now",
                "ask for a preview anew, and send its ETag in If-Match",
            ),
            Self::UnknownJob => row(
                "unknown-job",
                S::NOT_FOUND,
                "There is no such job",
                "GET /api/farm/v1/jobs lists the jobs; a removed job is gone from it",
            ),
            Self::UnknownTask => row(
                "unknown-task",
                S::NOT_FOUND,
                "There is no such task",
                "GET /api/farm/v1/jobs/{id}/tasks lists the tasks of a job",
            ),
            Self::UnknownWorker => row(
                "unknown-worker",
                S::NOT_FOUND,
                "There is no such worker",
                "GET /api/farm/v1/workers lists the workers; a removed worker is gone from it",
            ),
            Self::UnknownShot => row(
                "unknown-shot",
                S::NOT_FOUND,
                "There is no such shot",
                "GET /api/farm/v1/shots lists the shots that have jobs or frames",
            ),
            Self::UnknownRoute => row(
                "unknown-route",
                S::NOT_FOUND,
                "There is nothing at this address",
                "/api/farm/v1/openapi.json lists every address of this API",
            ),
            Self::LogElsewhere => row(
                "log-elsewhere",
                S::NOT_FOUND,
                "The log is kept by another Manager",
                "ask the Manager that runs the job; GET /api/farm/v1/managers names it",
            ),
            Self::JobElsewhere => row(
                "job-elsewhere",
                S::NOT_FOUND,
                "The job is run by another Manager",
                "ask the Manager that runs the job; GET /api/farm/v1/managers names it",
            ),
            Self::WorkerElsewhere => row(
                "worker-elsewhere",
                S::NOT_FOUND,
                "The worker works for another Manager",
                "ask the Manager that it works for; GET /api/farm/v1/managers names it",
            ),
            Self::NotNow => row(
                "not-now",
                S::CONFLICT,
                "As things stand, this cannot be done",
                "the detail says what has to happen first",
            ),
            Self::MethodNotAllowed => row(
                "method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "This address is for reading",
                "use GET here; changes are made through /api/v3",
            ),
            Self::PositionGone => row(
                "position-gone",
                S::GONE,
                "The position no longer holds",
                "read the lists anew and go on from the position that they give",
            ),
            Self::NoTimeTravel => row(
                "no-time-travel",
                S::BAD_REQUEST,
                "This address shows no state of the farm",
                "leave out `at`; events are told by position, with `after`",
            ),
            Self::NotYet => row(
                "not-yet",
                S::BAD_REQUEST,
                "The moment is still to come",
                "leave out `at` to see the farm as it is",
            ),
            Self::NotRetained => row(
                "not-retained",
                S::GONE,
                "The journal no longer reaches back so far",
                "ask for a later moment; `tablao journal info` says where the journals begin",
            ),
            Self::NoPreview => row(
                "no-preview",
                S::NOT_FOUND,
                "There is nothing to be seen yet",
                "ask again when frames of the shot have been rendered",
            ),
            Self::NoFfmpeg => row(
                "no-ffmpeg",
                S::NOT_IMPLEMENTED,
                "Videos cannot be made here",
                "install FFmpeg on the Manager's machine, or name it in the variable `ffmpeg` of tablao.toml; the flip-book needs none",
            ),
            Self::Busy => row(
                "busy",
                S::SERVICE_UNAVAILABLE,
                "Others are being served first",
                "ask again in some seconds",
            ),
            Self::Unreadable => row(
                "unreadable",
                S::INTERNAL_SERVER_ERROR,
                "The Manager cannot read its own files",
                "the Manager's log says which file and why; `tablao journal verify` checks the journal",
            ),
        }
    }
}

/// An error answer, before it has a body.
#[derive(Debug)]
pub(super) struct Problem {
    kind: ProblemKind,
    detail: String,
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }

    /// Our own files cannot be read: the cause goes to the log, not to the caller.
    pub(super) fn unreadable(doing: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "{doing}");
        Self::new(ProblemKind::Unreadable, format!("could not {doing}"))
    }
}

impl From<Gone> for Problem {
    fn from(gone: Gone) -> Self {
        if let Gone::Unreadable(cause) = &gone {
            tracing::warn!(%cause, "read the journal at a position that a client asked for");
        }
        Self::new(
            ProblemKind::PositionGone,
            format!("position no longer holds; read the lists anew ({gone})"),
        )
    }
}

/// The body of an error answer.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Which kind of problem, as a URN that stays.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status, again.
    status: u16,
    /// What is wrong in this case.
    detail: String,
    /// What to do next.
    hint: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.kind.row();
        let body = ProblemBody {
            kind: format!("urn:tablao:problem:{}", row.name),
            title: row.title,
            status: row.status.as_u16(),
            detail: self.detail,
            hint: row.hint,
        };
        let mut response = (row.status, Json(body)).into_response();
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
    }
}
