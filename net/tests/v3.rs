// SPDX-License-Identifier: GPL-3.0-or-later
//! `/api/v3` as Flamenco's add-on, web app and scripts meet it: success, and the main ways to be refused.
//!
//! What each client requires of an answer is in docs/flamenco-compatibility.md; these tests hold
//! the basics of it on a Manager that really runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::body::Body;
use serde_json::{Value, json};
use support::{
    Farm,
    flamenco::{UNKNOWN, nothing, refused},
};

fn echo() -> Value {
    json!({
        "name": "echo", "type": "echo-sleep-test", "submitter_platform": "linux",
        "settings": { "message": "hello", "sleep_duration_seconds": 1, "sleep_repeats": 1 },
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// Whatever is wrong with a body, the add-on can show a message and act on a code.
#[test]
fn wrong_bodies_are_400_with_code_and_message() {
    let farm = Farm::with_config("body_bytes_max = 5000\n");
    let json_type = [("content-type", "application/json")];
    for path in ["/api/v3/jobs", "/api/v3/jobs/check"] {
        refused(
            farm.call("POST", path, &json_type, "{\"name\": "),
            400,
            "form",
        );
        refused(farm.call("POST", path, &json_type, ""), 400, "empty");
        refused(farm.call("POST", path, &json_type, "[]"), 400, "form");
        refused(
            farm.call("POST", path, &[], echo().to_string()),
            400,
            "Content-Type",
        );
        let text = [("content-type", "text/plain")];
        refused(
            farm.call("POST", path, &text, echo().to_string()),
            400,
            "Content-Type",
        );
        let large = with(echo(), "name", Value::String("x".repeat(6000)));
        refused(farm.post(path, &large), 413, "body_bytes_max");
        let charset = [("content-type", "application/json; charset=utf-8")];
        let answer = farm.call("POST", path, &charset, echo().to_string());
        assert!(answer.status.is_success());
    }
    for field in ["name", "type", "submitter_platform"] {
        let mut body = echo();
        body.as_object_mut().unwrap().remove(field);
        refused(farm.post("/api/v3/jobs", &body), 400, field);
        let wrong_type = with(echo(), field, json!(7));
        refused(farm.post("/api/v3/jobs", &wrong_type), 400, "string");
    }
    refused(
        farm.post("/api/v3/jobs", &with(echo(), "metadata", json!({ "n": 7 }))),
        400,
        "string",
    );
    refused(
        farm.post(
            "/api/v3/jobs",
            &with(echo(), "initial_status", json!("asleep")),
        ),
        400,
        "asleep",
    );
    let only_the_good_one = farm.read("/api/v3/jobs");
    assert_eq!(only_the_good_one["jobs"].as_array().unwrap().len(), 1);
}

/// A submission that cannot become a job says why, and leaves nothing behind.
#[test]
fn submissions_that_cannot_be_are_refused() {
    let farm = Farm::start();
    let settings = |settings: Value| with(echo(), "settings", settings);
    let render = |frames: Value| {
        json!({
            "name": "render", "type": "simple-blender-render", "submitter_platform": "linux",
            "settings": {
                "frames": frames, "chunk_size": 1, "render_output_root": "/render",
                "add_path_components": 0, "render_output_path": "/render/######",
                "blendfile": "/a.blend", "fps": 24, "format": "PNG",
                "image_file_extension": ".png", "has_previews": false, "scene": "Scene",
            },
        })
    };
    let cases = [
        (
            with(echo(), "type", json!("no-such-type")),
            400,
            "no-such-type",
        ),
        (with(echo(), "type_etag", json!("1234")), 412, ""),
        (settings(json!({})), 400, "message"),
        (settings(json!({ "message": 7 })), 400, "message"),
        (
            settings(json!({ "message": "m", "sleep_repeats": "many" })),
            400,
            "sleep_repeats",
        ),
        (render(json!("1-100000000")), 400, ""),
        (render(json!("1-")), 400, ""),
        (render(json!("")), 400, ""),
        (render(json!(7)), 400, "frames"),
        (with(echo(), "priority", json!(101)), 400, "101"),
        (with(echo(), "priority", json!("high")), 400, ""),
        (with(echo(), "worker_tag", json!("seven")), 400, "UUID"),
    ];
    for (body, status, says) in &cases {
        refused(farm.post("/api/v3/jobs", body), *status, says);
        if !body["worker_tag"].is_string() {
            refused(farm.post("/api/v3/jobs/check", body), *status, says);
        }
    }
    assert_eq!(farm.read("/api/v3/jobs"), json!({ "jobs": [] }));
    let etag = farm.read("/api/v3/jobs/type/echo-sleep-test")["etag"].clone();
    let good = with(echo(), "type_etag", etag);
    nothing(farm.post("/api/v3/jobs/check", &good));
    let job = farm.post("/api/v3/jobs", &good).ok(200).json();
    assert_eq!(job["submitter_platform"], "");
    assert_eq!(job["priority"], 50, "filled in");
    assert_eq!(job["status"], "queued");
    let text = job.to_string();
    assert!(
        !text.contains("null"),
        "Flamenco's add-on refuses nulls: {text}"
    );
}

/// A studio's own script that throws, or never ends, costs its submitter an answer, nobody else.
#[test]
fn scripts_that_fail_are_the_submitters_problem() {
    let farm = Farm::start();
    let scripts = farm.node.data.path("scripts");
    let script = |body: &str| {
        format!(
            "const JOB_TYPE = {{ label: \"Own\", settings: [] }};\nfunction compileJob(job) {{ {body} }}\n"
        )
    };
    std::fs::write(
        scripts.join("throws.js"),
        script("throw 'the moon is in the wrong place';"),
    )
    .unwrap();
    std::fs::write(scripts.join("loops.js"), script("for (;;) {}")).unwrap();
    let submission = |name: &str| json!({ "name": "own", "type": name, "submitter_platform": "linux", "settings": {} });
    // The folder is watched; until a script is seen, its type is not known.
    while farm.get("/api/v3/jobs/type/loops").status != 200
        || farm.get("/api/v3/jobs/type/throws").status != 200
    {
        std::thread::yield_now();
    }
    refused(
        farm.post("/api/v3/jobs", &submission("throws")),
        400,
        "the moon is in the wrong place",
    );
    refused(farm.post("/api/v3/jobs", &submission("loops")), 400, "");
    farm.submit_echo("still works", 1);
}

/// Ids that nobody has are 404, ids that are none are 400 (and 404 where Flamenco answers so).
#[test]
fn unknown_and_malformed_ids() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let status = json!({ "status": "paused", "reason": "test" });
    let asleep = json!({ "status": "asleep", "is_lazy": false });
    let priority = json!({ "priority": 10 });
    let tags = json!({ "tag_ids": [] });
    let tag = json!({ "name": "renamed" });
    let none = Value::Null;
    let cases: [(&str, &str, &Value); 16] = [
        ("GET", "jobs/{}", &none),
        ("DELETE", "jobs/{}", &none),
        ("GET", "jobs/{}/what-would-delete-do", &none),
        ("POST", "jobs/{}/setstatus", &status),
        ("POST", "jobs/{}/setpriority", &priority),
        ("POST", "jobs/{}/settag", &json!({})),
        ("GET", "tasks/{}", &none),
        ("GET", "tasks/{}/logtail", &none),
        ("GET", "tasks/{}/log", &none),
        ("GET", "worker-mgt/workers/{}", &none),
        ("DELETE", "worker-mgt/workers/{}", &none),
        ("POST", "worker-mgt/workers/{}/setstatus", &asleep),
        ("POST", "worker-mgt/workers/{}/settags", &tags),
        ("GET", "worker-mgt/tag/{}", &none),
        ("PUT", "worker-mgt/tag/{}", &tag),
        ("DELETE", "worker-mgt/tag/{}", &none),
    ];
    let json_type = [("content-type", "application/json")];
    for (method, path, body) in cases {
        let call = |id: &str| {
            let path = format!("/api/v3/{}", path.replace("{}", id));
            farm.call(method, &path, &json_type, body.to_string())
        };
        refused(call(UNKNOWN), 404, "");
        refused(call("seven"), 400, "UUID");
        refused(call(&UNKNOWN.replace('-', "")), 400, "UUID");
    }
    for id in [UNKNOWN, "seven"] {
        let answer = farm.post(&format!("/api/v3/tasks/{id}/setstatus"), &status);
        refused(answer, 404, "");
    }
    refused(
        farm.get("/api/v3/jobs/type/no-such-type"),
        404,
        "no-such-type",
    );
    let empty = farm.read(&format!("/api/v3/jobs/{UNKNOWN}/tasks"));
    assert_eq!(empty, json!({ "tasks": [] }), "as Flamenco answers");
    refused(farm.get("/api/v3/jobs/seven/tasks"), 400, "UUID");
    let update = json!({ "activity": "busy" });
    refused(
        farm.post_as(&worker, &format!("/api/v3/worker/task/{UNKNOWN}"), &update),
        404,
        "",
    );
    refused(
        farm.post_as(&worker, "/api/v3/worker/task/seven", &update),
        400,
        "UUID",
    );
    let auth = worker.header();
    let headers = [("authorization", auth.as_str())];
    let path = format!("/api/v3/worker/task/{UNKNOWN}/may-i-run");
    let may = farm.call("GET", &path, &headers, "").ok(200).json();
    assert_eq!(may["mayKeepRunning"], false);
    let path = "/api/v3/worker/task/seven/may-i-run";
    refused(farm.call("GET", path, &headers, ""), 400, "UUID");
    // Addresses and methods that do not exist answer in the same shape.
    let message = farm.get("/api/v3/no-such-thing").ok(404).json();
    assert!(message["message"].is_string());
    let message = farm.call("PUT", "/api/v3/jobs", &[], "").ok(405).json();
    assert!(message["message"].is_string());
}

/// People's changes: what may follow what is refused with the reason, not carried out.
#[test]
fn changes_of_jobs_are_checked() {
    let farm = Farm::start();
    let job = farm.submit_echo("changed", 1);
    let post = |path: &str, body: Value| farm.post(&format!("/api/v3/jobs/{job}/{path}"), &body);
    nothing(post("setpriority", json!({ "priority": 100 })));
    refused(post("setpriority", json!({ "priority": 101 })), 400, "101");
    refused(post("setpriority", json!({ "priority": "high" })), 400, "");
    refused(
        post("setstatus", json!({ "status": "resting", "reason": "" })),
        400,
        "resting",
    );
    refused(
        post("setstatus", json!({ "status": "paused" })),
        400,
        "reason",
    );
    refused(
        post("setstatus", json!({ "status": "completed", "reason": "x" })),
        422,
        "queued",
    );
    refused(post("settag", json!({ "name": "no such tag" })), 406, "tag");
    refused(post("settag", json!({ "id": "seven" })), 400, "UUID");
    let tag = farm
        .post("/api/v3/worker-mgt/tags", &json!({ "name": "gpu" }))
        .ok(200)
        .json();
    refused(
        farm.post("/api/v3/worker-mgt/tags", &json!({ "name": "gpu" })),
        409,
        "gpu",
    );
    nothing(post("settag", json!({ "name": "gpu" })));
    let shown = farm.read(&format!("/api/v3/jobs/{job}"));
    assert_eq!(shown["worker_tag"], tag["id"]);
    nothing(post("settag", json!({})));
    assert!(
        farm.read(&format!("/api/v3/jobs/{job}"))
            .get("worker_tag")
            .is_none()
    );
    nothing(post(
        "setstatus",
        json!({ "status": "cancel-requested", "reason": "wrong" }),
    ));
    assert_eq!(
        farm.read(&format!("/api/v3/jobs/{job}"))["status"],
        "canceled"
    );
    assert_eq!(
        farm.read(&format!("/api/v3/jobs/{job}/blocklist")),
        json!([])
    );
    nothing(farm.call("DELETE", &format!("/api/v3/jobs/{job}"), &[], Body::empty()));
    nothing(farm.get("/api/v3/jobs/last-rendered"));
}

/// A retry with the same key after a lost answer finds the first job instead of making a second.
#[test]
fn an_idempotency_key_makes_one_job() {
    let farm = Farm::start();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k-1"),
    ];
    let submit = || {
        let answer = farm.call("POST", "/api/v3/jobs", &headers, echo().to_string());
        answer.ok(200).json()["id"].clone()
    };
    assert_eq!(submit(), submit());
    assert_eq!(
        farm.read("/api/v3/jobs")["jobs"].as_array().unwrap().len(),
        1
    );
}
