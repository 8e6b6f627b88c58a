// SPDX-License-Identifier: GPL-3.0-or-later
//! A small Manager for tests of the Worker: hands out what a test puts in, keeps what it hears.
//!
//! It speaks the worker endpoints over real HTTP and decides nothing by itself. Tests wait for
//! what they want to see, never for time to pass.
#![allow(dead_code, reason = "each test file uses its own part of this")]

#[cfg(target_os = "linux")]
pub(crate) mod process;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tablao_agent::{Error, ExitReason, Options};
use tokio::sync::{oneshot, watch};

/// Everything the Manager was told and has to say.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) tasks: VecDeque<Value>,
    pub(crate) updates: Vec<(String, Value)>,
    /// Path, headers, and width and height of the decoded picture.
    pub(crate) thumbnails: Vec<(String, HeaderMap, (u32, u32))>,
    pub(crate) previews: usize,
    pub(crate) registrations: Vec<Value>,
    pub(crate) sign_ons: Vec<Value>,
    pub(crate) sign_offs: usize,
    pub(crate) statuses: Vec<String>,
    pub(crate) asks: usize,
    /// How patient the first ask was.
    pub(crate) prefer: Option<String>,
    /// A status that is asked for.
    pub(crate) requested: Option<String>,
    /// Answer to may-i-run.
    pub(crate) stop_running: Option<(String, bool)>,
    /// Status code for task updates; 0 is 204.
    pub(crate) update_code: u16,
    /// What is taken and never answered: `registrations`, `frames` or `farewells`.
    pub(crate) unanswered: &'static str,
    /// Who was given which task and has said nothing of it since.
    pub(crate) handed_out: Vec<(String, Value)>,
    /// Whether nobody gets an answer that says anything.
    pub(crate) away: bool,
    /// Tasks that were given to somebody else meanwhile.
    pub(crate) not_ours: std::collections::BTreeSet<String>,
    /// Status code for the next sign-ons, in order.
    pub(crate) sign_on_codes: VecDeque<u16>,
    /// Whether 403 comes as a proxy would send it.
    pub(crate) as_proxy: bool,
    /// What the Worker said about its machine.
    pub(crate) health: Vec<Value>,
    /// Whether a Worker that finds something wrong with its machine is kept from work.
    pub(crate) quarantines: bool,
    /// Asks for work, words about the machine and ends of tasks, in their order.
    pub(crate) story: Vec<String>,
}

impl Heard {
    fn has_work_for(&self, worker: &str) -> bool {
        !self.tasks.is_empty() || self.handed_out.iter().any(|(to, _)| to == worker)
    }

    /// The task for who asks. As with the real Manager it is the one that it was given before,
    /// when it has said nothing of that: the answer went to a connection that nobody read.
    fn hand_out(&mut self, worker: &str) -> Option<Value> {
        if let Some((_, task)) = self.handed_out.iter().find(|(to, _)| to == worker) {
            return Some(task.clone());
        }
        let task = self.tasks.pop_front()?;
        self.handed_out.push((worker.to_owned(), task.clone()));
        Some(task)
    }
}

/// A running Manager; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    heard: Arc<Mutex<Heard>>,
    changed: watch::Sender<u64>,
    pub(crate) url: String,
}

impl Manager {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let manager = Self {
            heard: Arc::default(),
            changed: watch::Sender::new(0),
            url,
        };
        let app = router(manager.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        manager
    }

    pub(crate) fn change<T>(&self, action: impl FnOnce(&mut Heard) -> T) -> T {
        let result = action(&mut self.heard.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Waits until the test sees what it waits for.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut seen: impl FnMut(&Heard) -> Option<T>,
    ) -> T {
        let mut changes = self.changed.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(result) = seen(&self.heard.lock().unwrap()) {
                    return result;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(120), wait).await {
            Ok(result) => result,
            Err(_) => {
                let heard = format!("{:#?}", self.heard.lock().unwrap());
                panic!("never saw {what}: {heard}")
            }
        }
    }

    /// Waits for the end of a task and returns the update that told it.
    pub(crate) async fn task_end(&self, task: &str) -> Value {
        self.until(&format!("the end of {task}"), |heard| {
            let updates = heard.updates.iter();
            updates
                .filter(|(id, _)| id == task)
                .find(|(_, update)| {
                    matches!(update["taskStatus"].as_str(), Some("completed" | "failed"))
                })
                .map(|(_, update)| update.clone())
        })
        .await
    }

    pub(crate) fn frames(&self, task: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        let updates = heard.updates.iter().filter(|(id, _)| id == task);
        updates
            .filter_map(|(_, update)| update["tablao"]["frames"].as_array())
            .flatten()
            .cloned()
            .collect()
    }

    /// The log of an attempt, put together by offset as the real Manager does.
    pub(crate) fn log(&self, task: &str) -> String {
        let heard = self.heard.lock().unwrap();
        let mut log = String::new();
        for (_, update) in heard.updates.iter().filter(|(id, _)| id == task) {
            if let Some(text) = update["log"].as_str() {
                let offset = update["tablao"]["log_offset"].as_u64().unwrap();
                assert_eq!(offset, log.len() as u64, "a gap or repetition in the log");
                log.push_str(text);
            }
        }
        log
    }

    pub(crate) fn steps(&self, task: &str) -> u64 {
        let heard = self.heard.lock().unwrap();
        let updates = heard.updates.iter().filter(|(id, _)| id == task);
        updates
            .filter_map(|(_, update)| update["steps_completed"].as_u64())
            .max()
            .unwrap_or(0)
    }
}

/// A task as the Manager hands it out.
pub(crate) fn task(id: &str, commands: Value) -> Value {
    json!({
        "uuid": id, "job": "job", "name": id, "status": "active", "priority": 50,
        "job_priority": 50, "job_type": "test", "task_type": "misc", "commands": commands,
        "tablao": {
            "attempt": format!("attempt-{id}"), "lease_ms": 30_000, "start_within_ms": 10_000,
            "shot": "shot-1", "overwrite": false, "thumbnails": "upload",
        },
    })
}

fn router(manager: Manager) -> Router {
    Router::new()
        .route("/api/v3/worker/register-worker", post(register))
        .route("/api/v3/worker/sign-on", post(sign_on))
        .route("/api/v3/worker/sign-off", post(sign_off))
        .route("/api/v3/worker/state", get(state))
        .route("/api/v3/worker/state-changed", post(state_changed))
        .route("/api/v3/worker/task", post(next_task))
        .route("/api/v3/worker/task/{task}", post(update))
        .route("/api/v3/worker/task/{task}/may-i-run", get(may_i_run))
        .route("/api/v3/worker/task/{task}/output-produced", post(preview))
        .route(
            "/api/farm/v1/worker/thumbnails/{shot}/{name}",
            post(thumbnail),
        )
        .route("/api/farm/v1/worker/health", post(health))
        .layer(axum::middleware::from_fn_with_state(manager.clone(), away))
        .with_state(manager)
}

/// A Manager that is away: whoever calls is told nothing, also who has waited already.
async fn away(
    State(manager): State<Manager>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let is_away = || manager.change(|heard| heard.away);
    if is_away() {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let answer = next.run(request).await;
    if is_away() {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    answer
}

/// Waits until the caller has hung up.
async fn silence() {
    std::future::pending().await
}

type Told = axum::Json<Value>;

async fn register(State(manager): State<Manager>, axum::Json(body): Told) -> Response {
    let (count, unanswered) = manager.change(|heard| {
        heard.registrations.push(body.clone());
        (
            heard.registrations.len(),
            heard.unanswered == "registrations",
        )
    });
    if unanswered {
        silence().await;
    }
    axum::Json(json!({ "uuid": format!("worker-{count}"), "name": body["name"] })).into_response()
}

async fn sign_on(State(manager): State<Manager>, axum::Json(body): Told) -> Response {
    manager.change(|heard| {
        heard.sign_ons.push(body);
        match heard.sign_on_codes.pop_front() {
            Some(code) if heard.as_proxy => {
                (StatusCode::from_u16(code).unwrap(), "<html>no</html>").into_response()
            }
            Some(code) => (
                StatusCode::from_u16(code).unwrap(),
                axum::Json(json!({ "message": "unknown worker" })),
            )
                .into_response(),
            None => axum::Json(json!({ "status_requested": "awake" })).into_response(),
        }
    })
}

async fn sign_off(State(manager): State<Manager>) -> StatusCode {
    let unanswered = manager.change(|heard| {
        heard.sign_offs += 1;
        heard.unanswered == "farewells"
    });
    if unanswered {
        silence().await;
    }
    StatusCode::NO_CONTENT
}

async fn state(State(manager): State<Manager>) -> Response {
    match manager.change(|heard| heard.requested.clone()) {
        Some(status) => axum::Json(json!({ "status_requested": status })).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn state_changed(State(manager): State<Manager>, axum::Json(body): Told) -> StatusCode {
    manager.change(|heard| {
        let status = body["status"].as_str().unwrap().to_owned();
        if heard.requested.as_ref() == Some(&status) {
            heard.requested = None;
        }
        heard.statuses.push(status);
    });
    StatusCode::NO_CONTENT
}

async fn next_task(State(manager): State<Manager>, headers: HeaderMap) -> Response {
    manager.change(|heard| {
        heard.asks += 1;
        heard.story.push("ask".to_owned());
        let prefer = headers.get("prefer");
        let prefer = prefer.map(|value| value.to_str().unwrap().to_owned());
        heard.prefer = heard.prefer.take().or(prefer);
    });
    let worker = headers.get("authorization");
    let worker = worker.map_or("", |value| value.to_str().unwrap());
    // Holds the answer back like the real one, until a test has something to say.
    let ready = manager.until("work", |heard| {
        (heard.has_work_for(worker) || heard.requested.is_some()).then_some(())
    });
    // Who claims a task while it runs another gets its answer at once.
    let patience = if headers.get("prefer").is_some_and(|wait| wait == "wait=0") {
        Duration::ZERO
    } else {
        Duration::from_secs(20)
    };
    if tokio::time::timeout(patience, ready).await.is_err() {
        return StatusCode::NO_CONTENT.into_response();
    }
    manager.change(|heard| {
        if let Some(status) = &heard.requested {
            let body = axum::Json(json!({ "status_requested": status }));
            return (StatusCode::LOCKED, body).into_response();
        }
        match heard.hand_out(worker) {
            Some(task) => axum::Json(task).into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        }
    })
}

async fn update(
    State(manager): State<Manager>,
    UrlPath(task): UrlPath<String>,
    axum::Json(body): Told,
) -> StatusCode {
    let tells_frames = body["tablao"]["frames"].is_array();
    let (code, is_answered) = manager.change(|heard| {
        let code = match heard.update_code {
            _ if heard.not_ours.contains(&task) => StatusCode::CONFLICT,
            0 => StatusCode::NO_CONTENT,
            code => StatusCode::from_u16(code).unwrap(),
        };
        if !code.is_server_error() {
            heard
                .handed_out
                .retain(|(_, handed)| handed["uuid"] != *task);
        }
        if code == StatusCode::NO_CONTENT && body["taskStatus"] == "completed" {
            heard.story.push(format!("{task} completed"));
        }
        if code == StatusCode::NO_CONTENT || heard.not_ours.contains(&task) {
            heard.updates.push((task, body));
        }
        (code, !(heard.unanswered == "frames" && tells_frames))
    });
    if !is_answered {
        silence().await;
    }
    code
}

async fn may_i_run(State(manager): State<Manager>) -> Response {
    let stop = manager.change(|heard| heard.stop_running.clone());
    let (reason, change) = stop.clone().unwrap_or_default();
    axum::Json(json!({
        "mayKeepRunning": stop.is_none(), "reason": reason, "statusChangeRequested": change,
    }))
    .into_response()
}

async fn health(State(manager): State<Manager>, axum::Json(body): Told) -> Response {
    let quarantined = manager.change(|heard| {
        let is_well = body["findings"] == json!([]);
        heard
            .story
            .push(if is_well { "well" } else { "sick" }.to_owned());
        heard.health.push(body);
        heard.quarantines && !is_well
    });
    axum::Json(json!({ "quarantined": quarantined, "go_on": !quarantined })).into_response()
}

async fn preview(State(manager): State<Manager>, _body: Bytes) -> StatusCode {
    manager.change(|heard| heard.previews += 1);
    StatusCode::ACCEPTED
}

async fn thumbnail(
    State(manager): State<Manager>,
    UrlPath((shot, name)): UrlPath<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let name = format!("{shot}/{name}");
    let picture = image::load_from_memory(&body).expect("a thumbnail decodes");
    let size = (picture.width(), picture.height());
    manager.change(|heard| heard.thumbnails.push((name, headers, size)));
    StatusCode::NO_CONTENT
}

/// A Worker running in this process.
pub(crate) struct RunningWorker {
    shutdown: oneshot::Sender<()>,
    end: tokio::task::JoinHandle<Result<ExitReason, Error>>,
}

impl RunningWorker {
    pub(crate) fn start(manager: &Manager, data_dir: &Path) -> Self {
        Self::start_with(manager, data_dir, |_| {})
    }

    /// Starts one that is set up otherwise.
    pub(crate) fn start_with(
        manager: &Manager,
        data_dir: &Path,
        set_up: impl FnOnce(&mut Options),
    ) -> Self {
        let mut options = Options::new(&manager.url, data_dir);
        options.name = Some("test worker".into());
        options.supervisor = Some(program());
        set_up(&mut options);
        let (shutdown, asked) = oneshot::channel();
        let end = tokio::spawn(async move {
            tablao_agent::run(options, async {
                let _ = asked.await;
            })
            .await
        });
        Self { shutdown, end }
    }

    pub(crate) async fn shut_down(self) -> ExitReason {
        self.shutdown.send(()).unwrap();
        self.end.await.unwrap().unwrap()
    }

    pub(crate) async fn end(self) -> ExitReason {
        self.end.await.unwrap().unwrap()
    }
}

/// The program with `worker` and `supervise`.
pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_tablao-agent-program").into()
}
