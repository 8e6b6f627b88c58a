// SPDX-License-Identifier: GPL-3.0-or-later
//! `/api/v3` as Flamenco's workers meet it: success, and the main ways to be refused.
//!
//! What each client requires of an answer is in docs/flamenco-compatibility.md; these tests hold
//! the basics of it on a Manager that really runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::body::Body;
use serde_json::{Value, json};
use support::{
    Farm, Worker,
    flamenco::{UNKNOWN, nothing, refused},
};

/// A worker acts upon 403 by registering anew; a challenge or another shape would confuse it.
#[test]
fn a_worker_that_is_not_known_gets_a_plain_403() {
    let farm = Farm::start();
    let known = farm.awake_worker("known");
    let wrong_secret = Worker {
        secret: "00".repeat(32),
        ..known.clone()
    };
    let stranger = Worker {
        id: UNKNOWN.to_owned(),
        ..known.clone()
    };
    let deleted = farm.awake_worker("deleted");
    let path = format!("/api/v3/worker-mgt/workers/{}", deleted.id);
    nothing(farm.call("DELETE", &path, &[], Body::empty()));
    let headers = [
        wrong_secret.header(),
        stranger.header(),
        deleted.header(),
        "Basic !!".to_owned(),
        "Basic Og==".to_owned(),
        "Bearer abc".to_owned(),
        String::new(),
    ];
    let task_path = format!("/api/v3/worker/task/{UNKNOWN}");
    let calls = [
        ("POST", "/api/v3/worker/sign-on"),
        ("POST", "/api/v3/worker/sign-off"),
        ("GET", "/api/v3/worker/state"),
        ("POST", "/api/v3/worker/state-changed"),
        ("POST", "/api/v3/worker/task"),
        ("POST", task_path.as_str()),
    ];
    for header in &headers {
        for (method, path) in calls {
            let sent = [
                ("authorization", header.as_str()),
                ("content-type", "application/json"),
            ];
            let sent = if header.is_empty() {
                &sent[1..]
            } else {
                &sent[..]
            };
            // Even a malformed body does not come before who it is.
            let answer = farm.call(method, path, sent, "{").ok(403);
            let body = answer.json();
            assert!(body["message"].is_string());
            assert!(body.get("code").is_none());
            assert_eq!(answer.header("www-authenticate"), "");
        }
    }
    // Registration is open, and tolerates the empty credentials that a Worker sends with it.
    let body = json!({
        "name": "new", "secret": "ab", "platform": "Linux", "supported_task_types": ["misc"],
    });
    let sent = [
        ("authorization", "Basic Og=="),
        ("content-type", "application/json"),
    ];
    let path = "/api/v3/worker/register-worker";
    let registered = farm
        .call("POST", path, &sent, body.to_string())
        .ok(200)
        .json();
    assert!(
        registered["uuid"]
            .as_str()
            .unwrap()
            .parse::<uuid::Uuid>()
            .is_ok()
    );
    assert_eq!(registered["status"], "offline");
    assert_eq!(registered["software"], "");
}

/// A pending status change is delivered whatever the worker's status is: 423 comes before 409.
#[test]
fn asking_for_a_task_delivers_status_changes_first() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let manage = format!("/api/v3/worker-mgt/workers/{}/setstatus", worker.id);
    let asked = |status: &str, lazy: bool| {
        nothing(farm.post(&manage, &json!({ "status": status, "is_lazy": lazy })));
    };
    let changed = |status: &str| {
        let body = json!({ "status": status });
        nothing(farm.post_as(&worker, "/api/v3/worker/state-changed", &body));
    };
    let ask = || farm.post_as(&worker, "/api/v3/worker/task", &Value::Null);
    let state = || {
        let auth = worker.header();
        farm.call(
            "GET",
            "/api/v3/worker/state",
            &[("authorization", &auth)],
            "",
        )
    };
    nothing(ask());
    nothing(state());
    for lazy in [true, false] {
        asked("asleep", lazy);
        assert_eq!(
            ask().ok(423).json(),
            json!({ "status_requested": "asleep" })
        );
        assert_eq!(
            state().ok(200).json(),
            json!({ "status_requested": "asleep" })
        );
    }
    changed("asleep");
    refused(ask(), 409, "awake");
    asked("awake", false);
    assert_eq!(
        ask().ok(423).json(),
        json!({ "status_requested": "awake" }),
        "before 409"
    );
    changed("awake");
    nothing(ask());
    let restart = json!({ "status": "restart", "is_lazy": false });
    refused(farm.post(&manage, &restart), 412, "restart");
    nothing(farm.post_as(&worker, "/api/v3/worker/sign-off", &Value::Null));
    // Signing off remembers what it was, and the next sign-on gives it back.
    let body =
        json!({ "name": "hut", "supported_task_types": ["misc"], "software_version": "3.9" });
    let signed_on = farm
        .post_as(&worker, "/api/v3/worker/sign-on", &body)
        .ok(200)
        .json();
    assert_eq!(signed_on, json!({ "status_requested": "awake" }));
}

/// A Flamenco worker's whole way through a task, and who may not go it.
#[test]
fn a_task_belongs_to_its_worker() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let other = farm.awake_worker("barn");
    let job = farm.submit_echo("owned", 1);
    let task = farm.ask(&worker).unwrap();
    let id = task["uuid"].as_str().unwrap();
    assert_eq!(task["job"], job);
    assert_eq!(task["status"], "active");
    assert_eq!(task["job_type"], "echo-sleep-test");
    assert_eq!(
        task["commands"][0],
        json!({
            "name": "echo", "parameters": { "message": "hello" }, "total_step_count": 0,
        })
    );
    let path = format!("/api/v3/worker/task/{id}");
    let update = |worker: &Worker, body: Value| {
        // As Flamenco's worker sends it: without attempt.
        let auth = worker.header();
        let headers = [
            ("authorization", auth.as_str()),
            ("content-type", "application/json"),
            ("user-agent", "Flamenco/3.9 (git)"),
        ];
        farm.call("POST", &path, &headers, body.to_string())
    };
    refused(
        update(&other, json!({ "taskStatus": "completed" })),
        409,
        "not assigned",
    );
    refused(
        update(&worker, json!({ "taskStatus": "soft-failed" })),
        400,
        "soft-failed",
    );
    refused(
        update(&worker, json!({ "taskStatus": "done" })),
        400,
        "done",
    );
    refused(
        update(&worker, json!({ "steps_completed": "one" })),
        400,
        "",
    );
    let foreign = json!({ "taskStatus": "completed", "tablao": { "attempt": "a9.9.9" } });
    refused(update(&worker, foreign), 409, "not assigned");
    let malformed = json!({ "tablao": { "attempt": "seven" } });
    refused(update(&worker, malformed), 400, "attempt");
    nothing(update(
        &worker,
        json!({ "taskStatus": "active", "activity": "on it" }),
    ));
    nothing(update(&worker, json!({ "log": "line one" })));
    let shown = farm.read(&format!("/api/v3/tasks/{id}"));
    assert_eq!(shown["worker"]["name"], "hut");
    assert_eq!(shown["failed_by_workers"], json!([]));
    let tail = farm.get(&format!("/api/v3/tasks/{id}/logtail")).ok(200);
    assert_eq!(tail.body, b"line one\n");
    let info = farm.read(&format!("/api/v3/tasks/{id}/log"));
    assert_eq!(info["size"], 9);
    let whole = farm.get(info["url"].as_str().unwrap()).ok(200);
    assert_eq!(whole.body, tail.body);
    nothing(update(
        &worker,
        json!({ "taskStatus": "completed", "steps_completed": 9 }),
    ));
    refused(
        update(&worker, json!({ "taskStatus": "active" })),
        409,
        "not assigned",
    );
    let shown = farm.read(&format!("/api/v3/tasks/{id}"));
    assert_eq!(
        (&shown["status"], &shown["steps_completed"]),
        (&json!("completed"), &json!(1))
    );
    nothing(farm.get(&format!("/api/v3/tasks/{}/logtail", {
        let tasks = farm.read(&format!("/api/v3/jobs/{job}/tasks"));
        tasks["tasks"][1]["id"].as_str().unwrap().to_owned()
    })));
}

/// A preview that is none, or too large, is told apart from one that comes too often.
#[test]
fn previews_are_checked() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    farm.submit_echo("previews", 1);
    let task = farm.ask(&worker).unwrap();
    let path = format!(
        "/api/v3/worker/task/{}/output-produced",
        task["uuid"].as_str().unwrap()
    );
    let auth = worker.header();
    let send = |kind: &str, bytes: Vec<u8>| {
        let headers = [("authorization", auth.as_str()), ("content-type", kind)];
        farm.call("POST", &path, &headers, bytes)
    };
    refused(send("image/gif", vec![1]), 415, "jpeg");
    refused(send("image/png", vec![]), 411, "empty");
    refused(send("image/png", vec![0; (25 << 20) + 1]), 413, "25 MiB");
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(16, 9)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    send("image/png", png.into_inner()).ok(202);
}
