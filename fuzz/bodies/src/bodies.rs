// SPDX-License-Identifier: GPL-3.0-or-later
//! Request bodies, for every address that takes one, through the real router of a real Manager.
//!
//! Whatever comes, no handler may panic and none may answer 5xx (507 and 501 are answers of their
//! own): a Flamenco worker fails its task on those. The Manager is started anew now and then, so
//! that a long run neither fills the disk nor depends on what it did an hour ago.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, header::CONTENT_TYPE},
};
use base64::Engine as _;
use serde_json::{Value, json};
use tablao_net::{
    api,
    node::{Node, NodeOptions, Role},
};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::take::Take;

/// After this many inputs a new Manager takes over.
const INPUTS_MAX: u32 = 2_000;
/// A secret that no fuzzer has to guess.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Addresses with a body. `{job}`, `{task}`, `{worker}` and `{tag}` stand for ids that are there.
const ADDRESSES: &[(&str, &str)] = &[
    ("POST", "/api/v3/jobs"),
    ("POST", "/api/v3/jobs/check"),
    ("POST", "/api/v3/jobs/{job}/setstatus"),
    ("POST", "/api/v3/jobs/{job}/setpriority"),
    ("POST", "/api/v3/jobs/{job}/settag"),
    ("DELETE", "/api/v3/jobs/{job}/blocklist"),
    ("POST", "/api/v3/tasks/{task}/setstatus"),
    ("POST", "/api/v3/worker/register-worker"),
    ("POST", "/api/v3/worker/sign-on"),
    ("POST", "/api/v3/worker/state-changed"),
    ("POST", "/api/v3/worker/task"),
    ("POST", "/api/v3/worker/task/{task}"),
    ("POST", "/api/v3/worker/task/{task}/output-produced"),
    ("POST", "/api/v3/worker-mgt/workers/{worker}/setstatus"),
    ("POST", "/api/v3/worker-mgt/workers/{worker}/settags"),
    ("POST", "/api/v3/worker-mgt/tags"),
    ("PUT", "/api/v3/worker-mgt/tag/{tag}"),
    ("POST", "/api/farm/v1/link-tokens"),
    ("POST", "/api/farm/v1/replication/hello"),
    ("POST", "/api/farm/v1/replication/site"),
    (
        "POST",
        "/api/farm/v1/worker/thumbnails/{job}/frame_0001_thumbnail.png",
    ),
    // Query strings are outside's words as well.
    ("GET", "/api/farm/v1/jobs?{body}"),
    ("GET", "/api/farm/v1/jobs/{job}/tasks?{body}"),
    ("GET", "/api/farm/v1/frames?{body}"),
    ("GET", "/api/farm/v1/events?{body}"),
    ("GET", "/api/farm/v1/tasks/{task}/log?{body}"),
    ("GET", "/{body}"),
];

struct Farm {
    router: Router,
    node: Arc<Node>,
    runtime: Runtime,
    ids: [(&'static str, String); 4],
    authorization: String,
    inputs: u32,
    _folder: tempfile::TempDir,
}

static FARM: Mutex<Option<Farm>> = Mutex::new(None);

/// Sends the input to the address that its first byte picks.
pub fn bodies(data: &[u8]) {
    let mut farm = FARM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = farm.take_if(|farm| farm.inputs >= INPUTS_MAX) {
        old.node.close();
    }
    let farm = farm.get_or_insert_with(Farm::start);
    farm.inputs += 1;
    farm.send(data);
}

impl Farm {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let options = NodeOptions {
            data: folder.path().to_owned(),
            role: Role::Manager,
            link: None,
        };
        let node = Arc::new(Node::start(&options).expect("a Manager starts in an empty folder"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        let mut farm = Self {
            router: api::router(Arc::clone(&node)),
            node,
            runtime,
            ids: ["{job}", "{task}", "{worker}", "{tag}"].map(|name| (name, String::new())),
            authorization: String::new(),
            inputs: 0,
            _folder: folder,
        };
        farm.fill();
        farm
    }

    /// One job with a task, one worker that holds it, one tag.
    fn fill(&mut self) {
        let worker = self.json(
            "/api/v3/worker/register-worker",
            &json!({"name": "w", "secret": SECRET, "platform": "linux",
                "supported_task_types": ["misc", "blender", "ffmpeg", "file-management"]}),
        );
        let worker = text(&worker, "uuid");
        let pair = format!("{worker}:{SECRET}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        self.authorization = format!("Basic {encoded}");
        self.json(
            "/api/v3/worker/sign-on",
            &json!({"name": "w", "supported_task_types": ["misc"], "software_version": "Tablao 1",
                "tablao": {"protocol": 1, "slots": 1, "held_attempts": []}}),
        );
        self.json("/api/v3/worker/state-changed", &json!({"status": "awake"}));
        let job = self.json(
            "/api/v3/jobs",
            &json!({"name": "j", "type": "echo-sleep-test", "submitter_platform": "linux",
                "settings": {"message": "m", "sleep_duration_seconds": 1, "sleep_repeats": 3}}),
        );
        let tag = self.json("/api/v3/worker-mgt/tags", &json!({"name": "t"}));
        let task = self.json("/api/v3/worker/task", &json!({}));
        let found = [
            text(&job, "id"),
            text(&task, "uuid"),
            worker,
            text(&tag, "id"),
        ];
        for ((_, id), found) in self.ids.iter_mut().zip(found) {
            assert!(!found.is_empty(), "the farm to be fuzzed has one of each");
            *id = found;
        }
    }

    fn json(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call("POST", path, "application/json", body.to_string().into());
        assert!(status < 300, "{path}: {status}");
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    fn send(&self, data: &[u8]) {
        let mut take = Take(data);
        let (method, address) = ADDRESSES[usize::from(take.byte()) % ADDRESSES.len()];
        // Ids in the input may be those that are there.
        let mut body = take.0.to_vec();
        let mut path = address.to_owned();
        for (name, id) in &self.ids {
            path = path.replace(name, id);
            body = replace(&body, name.as_bytes(), id.as_bytes());
        }
        if path.contains("{body}") {
            path = path.replace("{body}", &escaped(&body));
            body.clear();
        }
        let kind = if address.ends_with("output-produced") || address.ends_with("png") {
            "image/png"
        } else {
            "application/json"
        };
        let (status, answer) = self.call(method, &path, kind, body);
        assert!(
            status < 500 || matches!(status, 501 | 507),
            "{method} {path} answered {status}: {}",
            String::from_utf8_lossy(&answer)
        );
    }

    fn call(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        let method = Method::from_bytes(method.as_bytes()).expect("one of ours");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, kind)
            .header("authorization", &self.authorization);
        let Ok(mut request) = request.body(Body::from(body)) else {
            return (400, Vec::new());
        };
        let address: std::net::SocketAddr = ([192, 0, 2, 7], 4711).into();
        request.extensions_mut().insert(ConnectInfo(address));
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await;
            let (parts, body) = match response {
                Ok(response) => response.into_parts(),
                Err(never) => match never {},
            };
            // An event stream does not end; its status is all there is to see.
            let whole = axum::body::to_bytes(body, 1 << 22);
            let read = tokio::time::timeout(std::time::Duration::from_secs(5), whole).await;
            let body = read.ok().and_then(Result::ok).unwrap_or_default();
            (parts.status.as_u16(), body.to_vec())
        })
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}

/// What an address can hold; the rest as `%xx`.
fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~&=/%+?:,".contains(byte);
    let mut text = String::new();
    for byte in bytes {
        match plain(byte) {
            true => text.push(char::from(*byte)),
            false => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}
