// SPDX-License-Identifier: GPL-3.0-or-later
//! A worker as a Manager sees one: it registers, signs on, asks for tasks and reports on them, and
//! renders nothing.
//!
//! It speaks as our own Worker does, with the attempt in each report.

use std::{net::SocketAddr, time::Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::{
    Error,
    http::{Answer, Connection, position, request},
    load::{Caller, CycleLatencies},
};

/// All task types of the built-in job types.
const TASK_TYPES: [&str; 4] = ["misc", "blender", "ffmpeg", "file-management"];
/// How our Worker names itself, which says that its reports name attempts.
const AGENT: &str = "user-agent: Tablao/0.1.0 (bench)\r\n";

/// A worker that is signed on.
pub(crate) struct RenderWorker {
    connection: Connection,
    headers: String,
    ask: Vec<u8>,
    report: Vec<u8>,
}

impl RenderWorker {
    /// Registers a new worker and brings it to `awake`.
    pub(crate) async fn sign_on(address: SocketAddr, name: &str) -> Result<Self, Error> {
        let mut connection = Connection::open(address).await?;
        let secret = blake3::hash(name.as_bytes()).to_hex();
        let registration = json!({
            "name": name, "secret": secret.as_str(), "platform": "linux",
            "supported_task_types": TASK_TYPES,
        });
        let path = "/api/v3/worker/register-worker";
        let bytes = request("POST", path, AGENT, &registration.to_string());
        let answer = connection.call(&bytes).await?.expect(path, 200)?;
        let registered = parse(answer.body)?;
        let id = registered["uuid"].as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        let headers = format!("{AGENT}authorization: Basic {encoded}\r\n");
        let mut worker = Self {
            connection,
            ask: request("POST", "/api/v3/worker/task", &headers, ""),
            headers,
            report: Vec::new(),
        };
        let sign_on = json!({
            "name": name, "supported_task_types": TASK_TYPES, "software_version": "Tablao 0.1.0",
            "tablao": { "protocol": 1, "slots": 1, "held_attempts": [] },
        });
        worker
            .post("/api/v3/worker/sign-on", &sign_on.to_string())
            .await?
            .expect("sign-on", 200)?;
        worker
            .post("/api/v3/worker/state-changed", r#"{"status":"awake"}"#)
            .await?
            .expect("state-changed", 204)?;
        Ok(worker)
    }

    async fn post(&mut self, path: &str, body: &str) -> Result<Answer<'_>, Error> {
        let bytes = request("POST", path, &self.headers, body);
        self.connection.call(&bytes).await
    }

    /// Reports a status of the task. False: it is not this worker's to report on.
    pub(crate) async fn report_once(&mut self, task: &Task, status: &str) -> Result<bool, Error> {
        let body_length = r#"{"taskStatus":"","tablao":{"attempt":""}}"#.len()
            + status.len()
            + task.attempt.len();
        self.report.clear();
        for piece in [
            "POST /api/v3/worker/task/",
            &task.id,
            " HTTP/1.1\r\nhost: farm\r\n",
            &self.headers,
            "content-type: application/json\r\ncontent-length: ",
            &body_length.to_string(),
            "\r\n\r\n{\"taskStatus\":\"",
            status,
            "\",\"tablao\":{\"attempt\":\"",
            &task.attempt,
            "\"}}",
        ] {
            self.report.extend_from_slice(piece.as_bytes());
        }
        let answer = self.connection.call(&self.report).await?;
        // 409: what was said is not (or no longer) this worker's to say.
        if answer.status == 409 {
            return Ok(false);
        }
        answer.expect("a report", 204).map(|_| true)
    }

    /// Asks for a task.
    pub(crate) async fn ask_once(&mut self) -> Result<Task, Error> {
        let answer = self.connection.call(&self.ask).await?;
        let answer = answer.expect("an ask for a task", 200)?;
        Task::find(answer.body).ok_or_else(|| Error::Unsound {
            what: "an assigned task has no id or no attempt".to_owned(),
        })
    }

    /// Comes back with the same credentials over a new connection.
    pub(crate) async fn reconnect(&mut self, address: SocketAddr) -> Result<(), Error> {
        self.connection = Connection::open(address).await?;
        Ok(())
    }
}

/// What a worker has to know of its task to report on it.
pub(crate) struct Task {
    id: String,
    attempt: String,
}

impl Task {
    /// Picks the two out without reading the rest.
    fn find(body: &[u8]) -> Option<Self> {
        Some(Self {
            id: text_after(body, b"\"uuid\":\"")?,
            attempt: text_after(body, b"\"attempt\":\"")?,
        })
    }
}

fn text_after(body: &[u8], name: &[u8]) -> Option<String> {
    let rest = &body[position(body, name)? + name.len()..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

fn parse(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Unsound {
        what: format!("an answer is not JSON: {error}"),
    })
}

impl Caller for RenderWorker {
    async fn cycle(&mut self, due: Instant, latencies: &mut CycleLatencies) -> Result<(), Error> {
        let task = self.ask_once().await?;
        latencies.ask.note(due.elapsed());
        for status in ["active", "completed"] {
            let sent = Instant::now();
            if !self.report_once(&task, status).await? {
                let what = format!("a report that a task is {status} was refused");
                return Err(Error::Unsound { what });
            }
            latencies.report.note(sent.elapsed());
        }
        Ok(())
    }
}

/// A submission of a render job of this many frames, one frame a task.
pub(crate) fn render_job(number: u32, frames: u32) -> Value {
    json!({
        "name": format!("sh{number:03} lighting"), "type": "simple-blender-render",
        "submitter_platform": "linux", "priority": 50,
        "settings": {
            "frames": format!("1-{frames}"), "chunk_size": 1, "add_path_components": 0,
            "render_output_root": "/srv/render",
            "render_output_path": format!("/srv/render/sh{number:03}/######"),
            "blendfile": format!("/srv/shots/sh{number:03}/sh{number:03}-lighting.blend"),
            "fps": 24, "format": "PNG", "image_file_extension": ".png",
            "has_previews": false, "scene": "Scene",
        },
        "metadata": { "project": "Night Shift", "shot": format!("sh{number:03}") },
    })
}

/// Submits render jobs of this many frames each, one frame a task.
pub(crate) async fn submit_render_jobs(
    address: SocketAddr,
    jobs: u32,
    frames: u32,
) -> Result<(), Error> {
    let mut connection = Connection::open(address).await?;
    for number in 1..=jobs {
        let job = render_job(number, frames);
        let bytes = request("POST", "/api/v3/jobs", "", &job.to_string());
        connection.call(&bytes).await?.expect("a submission", 200)?;
    }
    Ok(())
}
