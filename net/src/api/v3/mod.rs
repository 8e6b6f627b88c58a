// SPDX-License-Identifier: GPL-3.0-or-later
//! The Flamenco 3 Manager API. Interface and behaviour are matched, faults are not.
//!
//! Differences from Flamenco are listed in docs/flamenco-compatibility.md.

mod assigned;
mod body;
mod configuration;
mod document;
mod error;
mod findings;
mod jobs;
mod mass_deletion;
mod meta;
mod mime_words;
mod shaman;
mod sleep_schedule;
mod tasks;
mod types;
mod worker;
mod worker_auth;
mod worker_mgt;
mod worker_task;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, delete, get, post},
};

use crate::node::SharedNode;

pub use body::Body;
pub use error::Problem;
pub(crate) use worker::settled;
pub use worker_auth::WorkerIdentity;

/// Routes under `/api/v3`.
pub fn router(node: &SharedNode) -> Router<SharedNode> {
    let picture = post(worker_task::output_produced)
        .layer(DefaultBodyLimit::max(crate::previews::UPLOAD_BYTES_MAX + 1));
    Router::new()
        .route("/api/v3/openapi3.json", get(document::serve))
        .route("/api/v3/swagger-ui/", get(document::serve_page))
        .route("/api/v3/version", get(meta::version))
        .route("/api/v3/status", get(meta::status))
        .route("/api/v3/configuration", get(configuration::configuration))
        .route(
            "/api/v3/configuration/file",
            get(configuration::file).put(configuration::put_file),
        )
        .route(
            "/api/v3/configuration/check/shared-storage",
            post(configuration::check_shared_storage),
        )
        .route(
            "/api/v3/configuration/check/blender",
            get(configuration::blenders).post(configuration::check_one_blender),
        )
        .route(
            "/api/v3/configuration/setup-assistant",
            post(configuration::save_setup),
        )
        .route(
            "/api/v3/configuration/variables/{audience}/{platform}",
            get(configuration::variables),
        )
        .route(
            "/api/v3/configuration/shared-storage/{audience}/{platform}",
            get(configuration::shared_storage),
        )
        .route("/api/v3/worker/register-worker", post(worker::register))
        .route("/api/v3/worker/sign-on", post(worker::sign_on))
        .route("/api/v3/worker/sign-off", post(worker::sign_off))
        .route("/api/v3/worker/state", get(worker::state))
        .route("/api/v3/worker/state-changed", post(worker::state_changed))
        .route("/api/v3/worker/task", post(worker_task::task))
        .route("/api/v3/worker/task/{task}", post(worker_task::task_update))
        .route(
            "/api/v3/worker/task/{task}/may-i-run",
            get(worker_task::may_i_run),
        )
        .route("/api/v3/worker/task/{task}/output-produced", picture)
        .route("/api/v3/worker-mgt/workers", get(worker_mgt::workers))
        .route(
            "/api/v3/worker-mgt/workers/{worker}",
            get(worker_mgt::worker).delete(worker_mgt::delete_worker),
        )
        .route(
            "/api/v3/worker-mgt/workers/{worker}/setstatus",
            post(worker_mgt::set_status),
        )
        .route(
            "/api/v3/worker-mgt/workers/{worker}/sleep-schedule",
            get(sleep_schedule::show).post(sleep_schedule::set),
        )
        .route(
            "/api/v3/worker-mgt/workers/{worker}/settags",
            post(worker_mgt::set_tags),
        )
        .route(
            "/api/v3/worker-mgt/tags",
            get(worker_mgt::tags).post(worker_mgt::create_tag),
        )
        .route(
            "/api/v3/worker-mgt/tag/{tag}",
            get(worker_mgt::tag)
                .put(worker_mgt::change_tag)
                .delete(worker_mgt::delete_tag),
        )
        .route("/api/v3/jobs/types", get(jobs::types))
        .route("/api/v3/jobs/type/{name}", get(jobs::job_type))
        .route("/api/v3/jobs", get(jobs::list).post(jobs::submit))
        .route("/api/v3/jobs/check", post(jobs::check))
        .route(
            "/api/v3/jobs/mass-delete",
            delete(mass_deletion::mass_delete),
        )
        .route("/api/v3/jobs/last-rendered", get(jobs::last_rendered))
        .route("/api/v3/jobs/{job}", get(jobs::show).delete(jobs::delete))
        .route(
            "/api/v3/jobs/{job}/what-would-delete-do",
            get(jobs::what_would_delete_do),
        )
        .route(
            "/api/v3/jobs/{job}/last-rendered",
            get(jobs::last_rendered_of),
        )
        .route("/api/v3/jobs/{job}/setstatus", post(jobs::set_status))
        .route("/api/v3/jobs/{job}/setpriority", post(jobs::set_priority))
        .route("/api/v3/jobs/{job}/settag", post(jobs::set_tag))
        .route("/api/v3/jobs/{job}/tasks", get(tasks::of_job))
        .route(
            "/api/v3/jobs/{job}/blocklist",
            get(jobs::blocklist).merge(delete(jobs::clear_blocklist)),
        )
        .route("/api/v3/tasks/{task}", get(tasks::show))
        .route("/api/v3/tasks/{task}/logtail", get(tasks::log_tail))
        .route("/api/v3/tasks/{task}/log", get(tasks::log_info))
        .route("/api/v3/tasks/{task}/setstatus", post(tasks::set_status))
        .route(
            "/api/v3/shaman/checkout/requirements",
            post(shaman::requirements),
        )
        .route("/api/v3/shaman/checkout/create", post(shaman::checkout))
        .route(
            "/api/v3/shaman/files/{checksum}/{size}",
            get(shaman::status).post(shaman::upload),
        )
        .method_not_allowed_fallback(no_such_method)
        .route("/api/v3/{*rest}", any(no_such_route))
        .layer(middleware::from_fn_with_state(
            SharedNode::clone(node),
            limit_body,
        ))
        .layer(middleware::map_response(in_our_shape))
}

/// What the framework refuses by itself (an address that is not UTF-8), it refuses in plain text,
/// which Flamenco's clients cannot show.
async fn in_our_shape(answer: Response) -> Response {
    /// More words than the framework has.
    const BYTES_MAX: usize = 4096;
    let is_text = (answer.headers().get(CONTENT_TYPE))
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let status = answer.status();
    if !is_text || !status.is_client_error() {
        return answer;
    }
    let said = axum::body::to_bytes(answer.into_body(), BYTES_MAX).await;
    let said = said.unwrap_or_default();
    Problem::new(status, String::from_utf8_lossy(&said)).into_response()
}

/// Bounds what a request may bring by the configuration of this moment.
async fn limit_body(State(node): State<SharedNode>, mut request: Request, next: Next) -> Response {
    DefaultBodyLimit::max(node.in_force().config.body_bytes_max).apply(&mut request);
    next.run(request).await
}

async fn no_such_route(uri: Uri) -> Problem {
    Problem::not_found(format!("{} is no address of this API", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let message = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
