// SPDX-License-Identifier: GPL-3.0-or-later
//! Quarantine through the real router: what people decide, what workers say about their machines,
//! whom the Manager believes, and how many failures are too many.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Farm, Worker};

fn shown(farm: &Farm, worker: &Worker) -> Value {
    farm.read(&format!("/api/farm/v1/workers/{}", worker.id))
}

fn cause(farm: &Farm, worker: &Worker) -> Option<String> {
    let shown = shown(farm, worker);
    assert_eq!(shown["quarantined"], shown["quarantine"].is_object());
    Some(shown["quarantine"]["cause"].as_str()?.to_owned())
}

fn decide(farm: &Farm, worker: &Worker, verb: &str, reason: &str) -> u16 {
    let path = format!("/api/farm/v1/workers/{}/{verb}", worker.id);
    farm.post(&path, &json!({ "reason": reason }))
        .status
        .as_u16()
}

/// What a worker says about its machine, and what it is told.
fn says(farm: &Farm, worker: &Worker, job: Option<&str>, findings: &[Value]) -> Value {
    let body = json!({ "job": job, "findings": findings });
    let path = "/api/farm/v1/worker/health";
    farm.post_as(worker, path, &body).ok(200).json()
}

fn finding(kind: &str, subject: &str, of_job: bool) -> Value {
    json!({ "kind": kind, "subject": subject, "of_job": of_job, "words": format!("{kind} {subject}") })
}

/// Protects a person's decision: it is shown with its reason, holds against what the worker says,
/// and ends with a person's word; what makes no sense is refused.
#[test]
fn a_person_quarantines_and_releases() {
    let farm = Farm::start();
    let (worker, other) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    farm.submit_echo("words", 2);
    let task = farm.ask(&worker).unwrap();
    assert_eq!(decide(&farm, &worker, "quarantine", "its fan is loud"), 204);
    let quarantine = shown(&farm, &worker)["quarantine"].clone();
    assert_eq!(quarantine["reason"], "its fan is loud");
    assert_eq!(quarantine["cause"], "person");
    farm.report(&worker, &task, json!({ "taskStatus": "active" }), json!({}))
        .ok(409);
    assert_eq!(farm.ask(&worker), None);
    let taken = farm.ask(&other).unwrap();
    assert_eq!(taken["uuid"], task["uuid"], "it went to somebody else");
    for (query, expected) in [("true", "hut"), ("false", "barn")] {
        let list = farm.read(&format!("/api/farm/v1/workers?quarantined={query}"));
        assert_eq!(list["items"][0]["name"], expected);
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
    }
    let told = says(&farm, &worker, None, &[]);
    assert_eq!(
        told,
        json!({ "quarantined": true, "cause": "person", "go_on": false })
    );
    assert_eq!(decide(&farm, &worker, "release", ""), 204);
    assert_eq!(decide(&farm, &worker, "release", ""), 204);
    assert_eq!(cause(&farm, &worker), None);
    let path = "/api/farm/v1/workers/00000000-0000-4000-8000-000000000000/release";
    farm.post(path, &json!({})).ok(404);
    let path = format!("/api/farm/v1/workers/{}/release", worker.id);
    farm.post(&path, &json!({ "why": "?" })).ok(400);
}

/// Protects a released worker from waiting for the end of its patience: the ask that it left with
/// the Manager is answered with a task.
#[test]
fn a_waiting_ask_wakes_when_the_quarantine_is_lifted() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    decide(&farm, &worker, "quarantine", "a test wants it");
    farm.submit_echo("words", 0);
    let auth = worker.header();
    let status = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let headers = [
                ("authorization", auth.as_str()),
                ("user-agent", "Tablao/0.1.0"),
                ("prefer", "wait=50"),
            ];
            farm.call("POST", "/api/v3/worker/task", &headers, "")
                .status
        });
        decide(&farm, &worker, "release", "");
        asked.join().unwrap()
    });
    assert_eq!(status, 200);
}

/// Protects a farm from one slip in a path: what only a job names brings the first worker into
/// quarantine, the second that says the same acquits both, and the job is left to fail.
#[test]
fn what_two_workers_cannot_reach_is_the_jobs_fault() {
    let farm = Farm::start();
    let (one, other) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    let job = farm.submit_render("sh010", "1-3");
    let gone = [finding("absent", "/nowhere/a.blend", true)];
    let told = says(&farm, &one, Some(&job), &gone);
    assert_eq!(
        (&told["quarantined"], &told["go_on"]),
        (&json!(true), &json!(false))
    );
    let told = says(&farm, &other, Some(&job), &gone);
    assert_eq!(
        (&told["quarantined"], &told["go_on"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(cause(&farm, &one), None, "it was not its machine");
}

/// Protects farms of one machine, where nobody is there to compare with: a folder that is nowhere
/// fails its job; a machine that cannot write, or lacks a program, waits until it can.
#[test]
fn alone_a_worker_waits_only_for_what_can_be_mended() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let job = farm.submit_render("sh010", "1");
    let said = |kind, of_job| says(&farm, &worker, Some(&job), &[finding(kind, "/out", of_job)]);
    assert_eq!(said("absent", true)["quarantined"], false);
    assert_eq!(said("unwritable", true)["quarantined"], true);
    assert_eq!(says(&farm, &worker, None, &[])["quarantined"], false);
    assert_eq!(said("program", false)["quarantined"], true);
    // The job that named it has gone: nothing is left to wait for but the machine's own.
    assert_eq!(said("unwritable", true)["quarantined"], true);
    farm.post(
        &format!("/api/v3/jobs/{job}/setstatus"),
        &json!({ "status": "canceled", "reason": "" }),
    )
    .ok(204);
    let told = said("unwritable", true);
    assert_eq!(
        (&told["quarantined"], &told["go_on"]),
        (&json!(false), &json!(true))
    );
}

/// Protects sick machines of a job that others get on with: then there is no doubt whose fault
/// it is, whoever says it second.
#[test]
fn where_others_get_on_it_is_the_machine() {
    let farm = Farm::start();
    let workers = ["hut", "barn", "shed"].map(|name| farm.awake_worker(name));
    let job = farm.submit_render("sh010", "1-3");
    let task = farm.ask(&workers[0]).unwrap();
    farm.finish(&workers[0], &task);
    for worker in &workers[1..] {
        let told = says(
            &farm,
            worker,
            Some(&job),
            &[finding("unreadable", "/a", true)],
        );
        assert_eq!(told["quarantined"], true);
    }
    // A worker that was started anew is told, so that it looks at itself.
    let body = json!({ "name": "barn", "supported_task_types": ["misc"], "software_version": "x",
        "tablao": { "protocol": 1, "slots": 1, "clock_ms": 0 } });
    let told = farm
        .post_as(&workers[1], "/api/v3/worker/sign-on", &body)
        .ok(200)
        .json();
    assert_eq!(told["tablao"]["quarantine"], "self-check");
    let found = farm.read("/api/farm/v1/doctor");
    let checks = found["checks"].as_array().unwrap();
    let has = |state: &str, words: &str| {
        checks
            .iter()
            .any(|check| check["state"] == state && check["text"].as_str().unwrap().contains(words))
    };
    assert!(has("warning", "barn is in quarantine since"), "{found}");
    assert!(has("ok", "is written, up to"), "{found}");
}

/// A worker that fails its next task with this class.
fn fails(farm: &Farm, worker: &Worker, class: &str) {
    let task = farm.ask(worker).expect("there is a task");
    let update = json!({ "taskStatus": "failed", "activity": "the disk died" });
    let extension = json!({ "failure": { "class": class } });
    farm.report(worker, &task, update, extension).ok(204);
    // What follows from a failure is decided behind its answer, and before whatever comes next.
    says(farm, worker, None, &[]);
}

/// Jobs of independent tasks: three each.
fn two_jobs(farm: &Farm) -> [String; 2] {
    ["sh010", "sh020"].map(|name| farm.submit_render(name, "1-3"))
}

/// Protects jobs from a machine on which everything fails, and machines from jobs that fail
/// everywhere: three in a row, of two jobs, while somebody else is there.
#[test]
fn failures_in_a_row_bring_a_worker_into_quarantine() {
    let farm = Farm::start();
    let (worker, _other) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    two_jobs(&farm);
    farm.submit_render("sh030", "1-3");
    fails(&farm, &worker, "io");
    fails(&farm, &worker, "io");
    assert_eq!(cause(&farm, &worker), None, "two of one job");
    // The third of this job blocks it there, and is still the failure of one job.
    fails(&farm, &worker, "io");
    assert_eq!(cause(&farm, &worker), None, "one job may be wrong");
    fails(&farm, &worker, "io");
    assert_eq!(cause(&farm, &worker).as_deref(), Some("failures"));
    let reason = shown(&farm, &worker)["quarantine"]["reason"].clone();
    let reason = reason.as_str().unwrap();
    assert!(
        reason.contains("failed 4 tasks of 2 jobs") && reason.contains("the disk died"),
        "{reason}"
    );
    assert_eq!(
        says(&farm, &worker, None, &[])["cause"],
        "failures",
        "it is not its to lift"
    );
    decide(&farm, &worker, "release", "");
    fails(&farm, &worker, "io");
    assert_eq!(cause(&farm, &worker), None, "it begins with a clean slate");
}

/// Protects machines from what failures do not say: what a program says of a scene, what others
/// fail as well, what is completed in between, and what nobody else is there to do.
#[test]
fn failures_that_say_nothing_about_the_machine_do_not_count() {
    for class in ["process", "missing_output"] {
        let farm = Farm::start();
        let (worker, _other) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
        two_jobs(&farm);
        for _ in 0..5 {
            fails(&farm, &worker, class);
        }
        assert_eq!(cause(&farm, &worker), None, "{class}");
    }
    // What a worker lacks it lacks by nature or by its owner's will. Each job bars it at once.
    let farm = Farm::start();
    let (worker, _other) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    for name in ["sh010", "sh020", "sh030", "sh040"] {
        farm.submit_render(name, "1-2");
        fails(&farm, &worker, "feature_missing");
    }
    assert_eq!(cause(&farm, &worker), None, "it is barred, not sick");

    let farm = Farm::start();
    let alone = farm.awake_worker("hut");
    two_jobs(&farm);
    for _ in 0..2 {
        fails(&farm, &alone, "io");
    }
    assert_eq!(
        cause(&farm, &alone),
        None,
        "nobody is there to compare with"
    );

    let farm = Farm::start();
    let (worker, other) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    let _third = farm.awake_worker("shed");
    two_jobs(&farm);
    for _ in 0..2 {
        fails(&farm, &worker, "io");
        fails(&farm, &other, "io");
    }
    for _ in 0..2 {
        fails(&farm, &worker, "io");
    }
    assert_eq!(cause(&farm, &worker), None, "others fail it as well");

    let farm = Farm::with_config("[upkeep]\nquarantine_after_failures = 0\n");
    let (worker, _other) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    two_jobs(&farm);
    for _ in 0..6 {
        fails(&farm, &worker, "io");
    }
    assert_eq!(cause(&farm, &worker), None, "it is switched off");
}
