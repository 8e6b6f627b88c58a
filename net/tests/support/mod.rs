// SPDX-License-Identifier: GPL-3.0-or-later
//! A real Manager in a folder of its own, called through its real router, without a socket.
//!
//! Everything is synchronous on the outside, so that a test reads from top to bottom.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    missing_docs,
    reason = "shared by several test binaries, each of which uses its part"
)]

pub mod flamenco;
#[path = "../../../tests/journal_reader/folder.rs"]
mod folder;
pub mod stream;

use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode},
};
use base64::Engine as _;
use folder::JournalFolder;
use serde_json::{Value, json};
pub use stream::{Message, Stream};
use tablao_net::{
    api,
    node::{Node, NodeOptions, Role},
};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// A running Manager.
pub struct Farm {
    pub runtime: Runtime,
    pub node: Arc<Node>,
    router: Router,
    folder: JournalFolder,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {self:?} {}", String::from_utf8_lossy(&self.body))
        })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body, of an answer that has to have this status.
    pub fn ok(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        self
    }
}

/// A registered worker's credentials.
#[derive(Clone)]
pub struct Worker {
    pub id: String,
    pub secret: String,
}

impl Worker {
    pub fn header(&self) -> String {
        let pair = format!("{}:{}", self.id, self.secret);
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        format!("Basic {encoded}")
    }
}

fn open(folder: &Path) -> (Runtime, Arc<Node>, Router) {
    let options = NodeOptions {
        data: folder.to_owned(),
        role: Role::Manager,
        link: None,
    };
    let node = Arc::new(Node::start(&options).unwrap());
    let router = api::router(Arc::clone(&node));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    (runtime, node, router)
}

impl Farm {
    pub fn start() -> Self {
        Self::with_config("")
    }

    /// A farm with this `tablao.toml`.
    pub fn with_config(text: &str) -> Self {
        let folder = JournalFolder::new();
        std::fs::write(folder.path().join("tablao.toml"), text).unwrap();
        let (runtime, node, router) = open(folder.path());
        Self {
            runtime,
            node,
            router,
            folder,
        }
    }

    /// Ends the Manager in order and starts it again on the same folder.
    pub fn restart(self) -> Self {
        let Self {
            runtime,
            node,
            router,
            folder,
        } = self;
        drop(router);
        node.close();
        // Waits for what still runs on it; after that nobody else has the node.
        drop(runtime);
        drop(
            Arc::try_unwrap(node)
                .map_err(|_| "the node is still held")
                .unwrap(),
        );
        let (runtime, node, router) = open(folder.path());
        Self {
            runtime,
            node,
            router,
            folder,
        }
    }

    /// Sends a request exactly as given.
    pub fn send(&self, mut request: Request<Body>) -> Answer {
        // What a connection's address is on a socket.
        let address: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.to_vec(),
            }
        })
    }

    /// Sends a request with headers and perhaps a body.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], Body::empty())
    }

    /// The JSON of an address that has to be there.
    pub fn read(&self, path: &str) -> Value {
        self.get(path).ok(200).json()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.call("POST", path, &headers, body.to_string())
    }

    pub fn post_as(&self, worker: &Worker, path: &str, body: &Value) -> Answer {
        let auth = worker.header();
        let headers = [
            ("content-type", "application/json"),
            ("authorization", auth.as_str()),
            ("user-agent", "Tablao/0.1.0"),
        ];
        self.call("POST", path, &headers, body.to_string())
    }

    /// Registers a worker of ours and brings it to `awake`.
    pub fn awake_worker(&self, name: &str) -> Worker {
        let worker = self.register(name);
        let body = json!({
            "name": name, "supported_task_types": ["misc", "blender", "ffmpeg", "file-management"],
            "software_version": "Tablao 0.1.0",
            "tablao": { "protocol": 1, "slots": 1, "held_attempts": [] },
        });
        self.post_as(&worker, "/api/v3/worker/sign-on", &body)
            .ok(200);
        self.post_as(
            &worker,
            "/api/v3/worker/state-changed",
            &json!({ "status": "awake" }),
        )
        .ok(204);
        worker
    }

    pub fn register(&self, name: &str) -> Worker {
        let secret = "5e".repeat(32);
        let body = json!({
            "name": name, "secret": secret, "platform": "linux",
            "supported_task_types": ["misc", "blender", "ffmpeg", "file-management"],
        });
        let answer = self.post("/api/v3/worker/register-worker", &body).ok(200);
        let id = answer.json()["uuid"].as_str().unwrap().to_owned();
        Worker { id, secret }
    }

    /// Submits a job that says something and sleeps this often. Returns its id.
    pub fn submit_echo(&self, name: &str, sleeps: usize) -> String {
        let body = json!({
            "name": name, "type": "echo-sleep-test", "submitter_platform": "linux", "priority": 50,
            "settings": { "message": "hello", "sleep_duration_seconds": 0, "sleep_repeats": sleeps },
            "metadata": { "project": "Night Shift", "user.name": "ines" },
        });
        self.submit(&body)
    }

    /// Submits a job that renders these frames, one a task.
    pub fn submit_render(&self, name: &str, frames: &str) -> String {
        let body = json!({
            "name": name, "type": "simple-blender-render", "submitter_platform": "linux",
            "settings": {
                "frames": frames, "chunk_size": 1, "render_output_root": "/render",
                "add_path_components": 0, "render_output_path": "/render/sh010/######",
                "blendfile": "/shared/sh010.blend", "fps": 24, "format": "PNG",
                "image_file_extension": ".png", "has_previews": false, "scene": "Scene",
            },
            "metadata": { "project": "Night Shift", "shot": "sh010" },
        });
        self.submit(&body)
    }

    pub fn submit(&self, body: &Value) -> String {
        let answer = self.post("/api/v3/jobs", body).ok(200);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Has the worker given a task, if there is one.
    pub fn ask(&self, worker: &Worker) -> Option<Value> {
        let answer = self.post_as(worker, "/api/v3/worker/task", &Value::Null);
        match answer.status.as_u16() {
            200 => Some(answer.json()),
            204 => None,
            other => panic!("asked for a task, got {other}: {answer:?}"),
        }
    }

    /// Reports on a task that the worker was given; `report` is merged into the extension.
    pub fn report(&self, worker: &Worker, task: &Value, update: Value, extension: Value) -> Answer {
        let mut body = update;
        body["tablao"] = extension;
        body["tablao"]["attempt"] = task["tablao"]["attempt"].clone();
        let path = format!("/api/v3/worker/task/{}", task["uuid"].as_str().unwrap());
        self.post_as(worker, &path, &body)
    }

    /// Renders everything there is, and reports one frame for each task that has frames.
    pub fn work_off(&self, worker: &Worker) -> usize {
        let mut done = 0;
        while let Some(task) = self.ask(worker) {
            self.report(worker, &task, json!({ "taskStatus": "active" }), json!({}))
                .ok(204);
            self.finish(worker, &task);
            done += 1;
        }
        done
    }

    /// Completes a task, with its frames.
    pub fn finish(&self, worker: &Worker, task: &Value) {
        let frames: Vec<Value> = frames_of(task).into_iter().map(frame).collect();
        let update = json!({ "taskStatus": "completed", "steps_completed": 1, "log": "done\n" });
        let extension = json!({ "frames": frames, "log_offset": 0 });
        self.report(worker, task, update, extension).ok(204);
    }

    /// Opens the event stream; `after` goes into `Last-Event-ID`.
    pub fn stream(&self, path: &str, after: Option<&str>) -> Stream<'_> {
        let mut request = Request::builder()
            .uri(path)
            .header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self
            .runtime
            .block_on(self.router.clone().oneshot(request))
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream {
            farm: self,
            body: response.into_body().into_data_stream(),
            buffer: String::new(),
        }
    }
}

fn frames_of(task: &Value) -> Vec<i32> {
    let text = task["tablao"]["frames"].as_str().unwrap_or_default();
    let is_render = task["task_type"] == "blender";
    (text.split(',').filter(|part| is_render && !part.is_empty()))
        .flat_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            first.parse::<i32>().unwrap()..=last.parse::<i32>().unwrap()
        })
        .collect()
}

/// What our worker says of a frame that it published.
pub fn frame(number: i32) -> Value {
    json!({
        "number": number, "name": format!("{number:06}"), "output": "", "view": "",
        "path": format!("/render/sh010/{number:06}.png"), "size": 1000 + number,
        "hash": blake3::hash(&number.to_le_bytes()).to_string(), "outcome": "published",
        "rendered_at": "2026-08-03T12:00:00.25Z", "render_ms": 1500, "samples": 16,
        "peak_memory_bytes": 1_000_000, "blender_version": "3.4.1",
    })
}
