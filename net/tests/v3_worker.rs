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
    assert_eq!(shown["activity"], "on it");
    nothing(update(&worker, json!({ "activity": "half of it" })));
    let shown = farm.read(&format!("/api/v3/tasks/{id}"));
    assert_eq!(shown["activity"], "half of it", "it is seen while it runs");
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
    assert_ne!(shown["activity"], "half of it");
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

/// Protects sleep schedules as Flamenco's web application sets them: what is stored comes back as
/// it was sent, over midnight too, it counts at once, and what is no time or day is refused.
#[test]
fn sleep_schedules() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let path = format!("/api/v3/worker-mgt/workers/{}/sleep-schedule", worker.id);
    let schedule = |active: bool, days: &str, start: &str, end: &str| json!({ "is_active": active, "days_of_week": days, "start_time": start, "end_time": end });
    nothing(farm.get(&path));
    for sent in [
        schedule(false, "mo tu we", "09:00", "18:00"),
        schedule(false, "", "22:00", "06:00"),
        schedule(false, "sa su", "", ""),
        schedule(false, "", "", "12:30"),
    ] {
        nothing(farm.post(&path, &sent));
        assert_eq!(farm.read(&path), sent);
    }
    nothing(farm.post(&path, &schedule(false, "Monday  SUN", "9:05", "")));
    assert_eq!(farm.read(&path), schedule(false, "mo su", "09:05", ""));
    let kept = farm.read(&path);
    for wrong in [
        schedule(true, "m", "", ""),
        schedule(true, "mo xx", "", ""),
        schedule(true, "", "24:00", ""),
        schedule(true, "", "12:00", "noon"),
        schedule(true, "", "12", ""),
        json!({ "is_active": true, "days_of_week": "", "start_time": "" }),
        json!({ "is_active": "yes", "days_of_week": "", "start_time": "", "end_time": "" }),
    ] {
        refused(farm.post(&path, &wrong), 400, "");
    }
    let mut elsewhere = schedule(false, "", "22:00", "06:00");
    elsewhere["time_zone"] = json!("Europe/Entenhausen");
    refused(farm.post(&path, &elsewhere), 400, "Entenhausen");
    assert_eq!(farm.read(&path), kept, "what is refused changes nothing");
    elsewhere["time_zone"] = json!("Asia/Kathmandu");
    nothing(farm.post(&path, &elsewhere));
    assert_eq!(farm.read(&path), elsewhere);
    let of = |id: &str| format!("/api/v3/worker-mgt/workers/{id}/sleep-schedule");
    for id in ["seven", UNKNOWN] {
        let status = if id == UNKNOWN { 404 } else { 400 };
        refused(farm.get(&of(id)), status, "");
        refused(farm.post(&of(id), &kept), status, "");
    }

    // The whole day, every day: it is to sleep, now. What a person wants then counts.
    let ask = || farm.post_as(&worker, "/api/v3/worker/task", &Value::Null);
    nothing(farm.post(&path, &schedule(true, "", "", "")));
    assert_eq!(
        ask().ok(423).json(),
        json!({ "status_requested": "asleep" })
    );
    let shown = farm.read(&format!("/api/v3/worker-mgt/workers/{}", worker.id));
    assert_eq!(
        shown["status_change"],
        json!({ "status": "asleep", "is_lazy": true })
    );
    let set = format!("/api/v3/worker-mgt/workers/{}/setstatus", worker.id);
    nothing(farm.post(&set, &json!({ "status": "awake", "is_lazy": false })));
    nothing(ask());
    let body =
        json!({ "name": "hut", "supported_task_types": ["misc"], "software_version": "3.9" });
    let sign_on = || {
        let answer = farm.post_as(&worker, "/api/v3/worker/sign-on", &body);
        answer.ok(200).json()["status_requested"].clone()
    };
    assert_eq!(sign_on(), "asleep");
    let said = json!({ "status": "asleep" });
    nothing(farm.post_as(&worker, "/api/v3/worker/state-changed", &said));
    nothing(farm.post(&path, &schedule(false, "", "", "")));
    assert_eq!(ask().ok(423).json(), json!({ "status_requested": "awake" }));
    let by = farm.read("/api/farm/v1/events?limit=1000");
    let asked: Vec<&Value> = (by["items"].as_array().unwrap().iter())
        .filter(|event| event["kind"] == "WorkerStatusRequested")
        .map(|event| &event["actor"]["kind"])
        .collect();
    assert_eq!(asked, ["schedule", "schedule", "schedule"]);
}

/// Protects a restart that a person asks for: only of a worker that can, after its task if lazy;
/// it is delivered, forgotten when the worker leaves, and what it was is remembered.
#[test]
fn a_restart_is_asked_for_and_done() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let set = format!("/api/v3/worker-mgt/workers/{}/setstatus", worker.id);
    let restart = json!({ "status": "restart", "is_lazy": true });
    refused(farm.post(&set, &restart), 412, "restart exit code");
    let body = json!({
        "name": "hut", "supported_task_types": ["misc"], "software_version": "3.9", "can_restart": true,
    });
    let sign_on = || {
        let answer = farm.post_as(&worker, "/api/v3/worker/sign-on", &body);
        answer.ok(200).json()["status_requested"].clone()
    };
    assert_eq!(sign_on(), "awake");
    let awake = json!({ "status": "awake" });
    nothing(farm.post_as(&worker, "/api/v3/worker/state-changed", &awake));
    let job = farm.submit_echo("runs", 1);
    let task = farm.ask(&worker).unwrap();
    let may = || {
        let path = format!(
            "/api/v3/worker/task/{}/may-i-run",
            task["uuid"].as_str().unwrap()
        );
        let auth = worker.header();
        farm.call("GET", &path, &[("authorization", &auth)], "")
            .ok(200)
            .json()
    };
    nothing(farm.post(&set, &restart));
    assert_eq!(
        may(),
        json!({ "mayKeepRunning": true, "reason": "", "statusChangeRequested": false })
    );
    nothing(farm.post(&set, &json!({ "status": "restart", "is_lazy": false })));
    assert_eq!(may()["mayKeepRunning"], false);
    assert_eq!(may()["statusChangeRequested"], true);
    let asked = farm.post_as(&worker, "/api/v3/worker/task", &Value::Null);
    assert_eq!(
        asked.ok(423).json(),
        json!({ "status_requested": "restart" })
    );
    nothing(farm.post_as(&worker, "/api/v3/worker/sign-off", &Value::Null));
    let tasks = farm.read(&format!("/api/v3/jobs/{job}/tasks"));
    assert_eq!(
        tasks["tasks"][0]["status"], "queued",
        "it gave its task back"
    );
    assert_eq!(sign_on(), "awake", "what it was before it was restarted");
}

/// Protects from a worker that was removed: its task goes to others, it is not listed, and its
/// credentials open nothing any more.
#[test]
fn a_removed_worker_is_gone() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let other = farm.awake_worker("barn");
    farm.submit_echo("runs", 1);
    let task = farm.ask(&worker).unwrap();
    let path = format!("/api/v3/worker-mgt/workers/{}", worker.id);
    nothing(farm.call("DELETE", &path, &[], Body::empty()));
    refused(farm.get(&path), 404, "");
    refused(farm.call("DELETE", &path, &[], Body::empty()), 404, "");
    refused(farm.get(&format!("{path}/sleep-schedule")), 404, "");
    let listed = farm.read("/api/v3/worker-mgt/workers");
    assert_eq!(listed["workers"].as_array().unwrap().len(), 1);
    let update = format!("/api/v3/worker/task/{}", task["uuid"].as_str().unwrap());
    let late = farm.post_as(&worker, &update, &json!({ "taskStatus": "completed" }));
    assert_eq!(late.status, 403);
    assert_eq!(farm.ask(&other).unwrap()["uuid"], task["uuid"]);
}
