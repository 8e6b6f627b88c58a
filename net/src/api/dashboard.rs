// SPDX-License-Identifier: GPL-3.0-or-later
//! The dashboard's files, embedded in the binary when they were built before it.

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use crate::node::SharedNode;

include!(concat!(env!("OUT_DIR"), "/dashboard_files.rs"));

/// What the page says when the dashboard was not built.
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Tablao</title>\
<p>This build of Tablao has no dashboard inside. Run <code>make dashboard</code> (it needs Node.js) \
and build again, or run <code>make release</code>.</p>";

/// Routes of the dashboard.
pub fn router() -> Router<SharedNode> {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/app/") }))
        .route("/app", get(|| async { Redirect::temporary("/app/") }))
        .route("/app/", get(|| async { page("index.html") }))
        .route(
            "/app/{*path}",
            get(|Path(path): Path<String>| async move { page(&path) }),
        )
}

fn page(path: &str) -> Response {
    let find = |wanted: &str| FILES.iter().find(|(name, _)| *name == wanted);
    // A page that is not a file is a place within the app.
    let found = find(path).or_else(|| find("index.html"));
    let Some((name, bytes)) = found else {
        return (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
            NOT_BUILT,
        )
            .into_response();
    };
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    // Built files carry a hash in their name; the page itself must be asked for each time.
    let cache = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_string()),
        (header::CACHE_CONTROL, cache.to_owned()),
    ];
    (headers, *bytes).into_response()
}
