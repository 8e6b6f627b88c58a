// SPDX-License-Identifier: GPL-3.0-or-later
//! A Worker in a test's hands: says over one connection what a real one would, when told to.
//!
//! For tests of what the Manager does with reports; no program is run.

use base64::Engine as _;
use serde_json::{Value, json};

use super::http::{Answer, Connection};

/// A registered worker.
pub(crate) struct HandWorker {
    pub(crate) connection: Connection,
    pub(crate) id: String,
    authorization: String,
}

impl HandWorker {
    /// Registers and signs on.
    pub(crate) fn sign_on(address: &str, name: &str) -> Self {
        let mut connection = Connection::open(address).expect("the Manager listens");
        let secret = format!("{:064x}", 7);
        let body = json!({
            "name": name, "secret": secret, "platform": "linux",
            "supported_task_types": ["blender", "ffmpeg", "file-management", "misc"],
        });
        let answer = connection.json("POST", "/api/v3/worker/register-worker", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.json()["uuid"].as_str().expect("an id").to_owned();
        let credentials = format!("{id}:{secret}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
        let mut worker = Self {
            connection,
            id,
            authorization: format!("Basic {encoded}"),
        };
        let answer = worker.post(
            "/api/v3/worker/sign-on",
            &json!({
                "name": name, "supported_task_types": ["blender", "ffmpeg", "misc"],
                "software_version": "Tablao test", "tablao": { "protocol": 1, "slots": 1 },
            }),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = worker.post("/api/v3/worker/state-changed", &json!({"status": "awake"}));
        assert_eq!(answer.status, 204, "{}", answer.text());
        worker
    }

    /// Posts as this worker.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.try_call("POST", path, body)
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Calls as this worker; an error when no answer comes.
    pub(crate) fn try_call(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> std::io::Result<Answer> {
        let headers = [
            ("Content-Type", "application/json"),
            ("Authorization", self.authorization.as_str()),
            ("User-Agent", "Tablao/test"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.connection
            .send(method, path, &headers, body.as_bytes())
    }

    /// Asks for a task; panics when there is none.
    pub(crate) fn task(&mut self) -> Value {
        let answer = self.post("/api/v3/worker/task", &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Says something about a task that this worker was given.
    pub(crate) fn report(&mut self, task: &Value, mut what: Value) -> Answer {
        what["tablao"]["attempt"] = task["tablao"]["attempt"].clone();
        let path = format!(
            "/api/v3/worker/task/{}",
            task["uuid"].as_str().expect("an id")
        );
        self.post(&path, &what)
    }
}

/// A submission of 21 tasks that only echo and sleep, for farms without Blender. More than a test
/// of a few workers completes.
pub(crate) fn echo_submission(name: &str) -> Value {
    json!({
        "name": name, "type": "echo-sleep-test", "priority": 50,
        "submitter_platform": "linux",
        "settings": { "message": "words", "sleep_duration_seconds": 0, "sleep_repeats": 20 },
    })
}

impl HandWorker {
    /// Changes the priority of a task's job; an error when no answer comes.
    pub(crate) fn try_priority(&mut self, task: &Value, priority: u64) -> std::io::Result<Answer> {
        let job = task["job"].as_str().expect("an id");
        let path = format!("/api/v3/jobs/{job}/setpriority");
        let headers = [("Content-Type", "application/json")];
        let body = json!({ "priority": priority }).to_string();
        self.connection
            .send("POST", &path, &headers, body.as_bytes())
    }
}
