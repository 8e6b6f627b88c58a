// SPDX-License-Identifier: GPL-3.0-or-later
//! What runs again: regeneration with its preview, and the ways to queue some tasks of a job anew,
//! over the real API. Which tasks ran is read from the events.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Farm, Worker};
use tablao_core::{JobId, Request};
use tablao_net::engine::Ask;

/// A task for each frame, and a film of them all. `$FILM` is what the film is made with. The time
/// of the job's creation, to the millisecond, is in it as it is in the paths of real job types.
const SCRIPT: &str = r#"
const JOB_TYPE = { label: "Shot", settings: [
    { key: "frames", type: "string", required: true },
    { key: "samples", type: "int32", default: 16 },
    { key: "blendfile", type: "string", required: true },
]};
function compileJob(job) {
    const film = author.Task("film", "ffmpeg");
    film.addCommand(author.Command("echo", { message: `$FILM, ${Number(job.created)}` }));
    for (const frame of frameChunker(job.settings.frames, 1)) {
        const task = author.Task("render-" + frame, "blender");
        task.addCommand(author.Command("blender-render", {
            exe: "{blender}", exeArgs: "-b", argsBefore: [], blendfile: job.settings.blendfile,
            args: ["--samples", job.settings.samples, "--render-frame", frame],
        }));
        film.addDependency(task);
        job.addTask(task);
    }
    job.addTask(film);
}
"#;

fn put_script(farm: &Farm, film: &str) {
    let folder = farm.node.data.root().join("scripts");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("shot.js"), SCRIPT.replace("$FILM", film)).unwrap();
    farm.node.job_types.rescan();
}

fn submit(farm: &Farm, frames: &str) -> String {
    farm.submit(&json!({
        "name": "sh010", "type": "shot", "submitter_platform": "linux",
        "settings": { "frames": frames, "samples": 16, "blendfile": "/shared/sh010.blend" },
        "metadata": { "project": "Night Shift", "shot": "sh010" },
    }))
}

fn position(farm: &Farm) -> String {
    farm.read("/api/farm/v1/jobs")["position"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Names of the tasks that were handed out since a position, as the events have it.
fn ran_since(farm: &Farm, position: &str) -> Vec<String> {
    let path = format!("/api/farm/v1/events?limit=1000&after={position}");
    let events = farm.read(&path);
    let assigned = events["items"].as_array().unwrap().iter();
    let tasks = assigned.filter(|event| event["kind"] == "AttemptAssigned");
    tasks
        .map(|event| {
            let task = event["task"].as_str().unwrap();
            let shown = farm.read(&format!("/api/farm/v1/tasks/{task}"));
            shown["name"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn regenerate(farm: &Farm, job: &str, body: &Value) -> Value {
    let path = format!("/api/farm/v1/jobs/{job}/regenerate");
    farm.post(&path, body).ok(200).json()
}

/// Regenerates, works everything off, and tells which tasks that took.
fn regenerated(farm: &Farm, worker: &Worker, job: &str, body: &Value) -> (Value, Vec<String>) {
    let before = position(farm);
    let told = regenerate(farm, job, body);
    farm.work_off(worker);
    let shown = farm.read(&format!("/api/farm/v1/jobs/{job}"));
    assert_eq!(shown["status"], "completed");
    let total = shown["steps_total"].as_u64();
    assert_eq!(shown["steps_completed"].as_u64(), total, "{shown}");
    (told, ran_since(farm, &before))
}

fn counts(told: &Value) -> [u64; 4] {
    let count = |key: &str| told[key]["count"].as_u64().unwrap();
    let kept = told["kept"].as_u64().unwrap();
    [kept, count("changed"), count("added"), count("vanished")]
}

/// The promise of regeneration: after a change of the samples, of the frames and of the script,
/// just those tasks run that have to, and each time a preview says so and changes nothing.
#[test]
fn exactly_what_changed_runs_again() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let worker = farm.awake_worker("hut");
    let job = submit(&farm, "1-3");
    assert_eq!(farm.work_off(&worker), 4);

    let before = position(&farm);
    let told = regenerate(&farm, &job, &json!({}));
    assert_eq!(counts(&told), [4, 0, 0, 0]);
    assert_eq!(
        position(&farm),
        before,
        "nothing changed, nothing is written"
    );

    let samples = json!({ "settings": { "samples": 32 } });
    let preview = json!({ "settings": { "samples": 32 }, "preview": true });
    let told = regenerate(&farm, &job, &preview);
    assert_eq!(counts(&told), [0, 4, 0, 0]);
    assert_eq!(position(&farm), before, "a preview writes nothing");
    let (told, ran) = regenerated(&farm, &worker, &job, &samples);
    assert_eq!(counts(&told), [0, 4, 0, 0]);
    assert_eq!(ran, ["render-1", "render-2", "render-3", "film"]);

    let frames = json!({ "settings": { "frames": "2-5" } });
    let (told, ran) = regenerated(&farm, &worker, &job, &frames);
    assert_eq!(counts(&told), [2, 1, 2, 1]);
    assert_eq!(told["vanished"]["names"], json!(["render-1"]));
    assert_eq!(ran, ["render-4", "render-5", "film"]);

    put_script(&farm, "theora");
    let (told, ran) = regenerated(&farm, &worker, &job, &json!({}));
    assert_eq!(counts(&told), [4, 1, 0, 0]);
    assert_eq!(ran, ["film"]);

    // The same tasks from other text: the job knows its script, and nothing runs.
    let text = SCRIPT.replace("$FILM", "theora") + "// a remark\n";
    std::fs::write(farm.node.data.root().join("scripts/shot.js"), text).unwrap();
    farm.node.job_types.rescan();
    let (told, ran) = regenerated(&farm, &worker, &job, &json!({}));
    assert_eq!((counts(&told), ran.len()), ([5, 0, 0, 0], 0));

    let shown = farm.read(&format!("/api/farm/v1/jobs/{job}"));
    assert_eq!(shown["generation"], 5);
    assert_eq!(shown["settings"]["samples"], 32);
    assert_eq!(shown["settings"]["frames"], "2-5");
    let list = |query: &str| {
        let page = farm.read(&format!("/api/farm/v1/jobs/{job}/tasks{query}"));
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(list(""), 5);
    assert_eq!(list("?retired=true"), 4 + 2 + 1);
    let flamenco = farm.read(&format!("/api/v3/jobs/{job}/tasks"));
    assert_eq!(flamenco["tasks"].as_array().unwrap().len(), 5);

    // Nothing of it is lost or different after a restart.
    let digest = farm.read("/api/farm/v1/digest");
    let farm = farm.restart();
    let shown = farm.read(&format!("/api/farm/v1/jobs/{job}"));
    assert_eq!(shown["generation"], 5);
    assert_eq!(shown["steps_total"], 5);
    assert_ne!(digest["digest"], Value::Null);
}

/// Protects whoever looked first: what was shown is what is done, or nothing is.
#[test]
fn a_stale_preview_is_refused() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let job = submit(&farm, "1-3");
    let path = format!("/api/farm/v1/jobs/{job}/regenerate");
    let preview = json!({ "settings": { "frames": "1-2" }, "preview": true });
    let seen = farm.post(&path, &preview).ok(200);
    let etag = seen.header("etag").to_owned();
    let order = json!({ "settings": { "frames": "1-2" } }).to_string();
    let headers = [("content-type", "application/json"), ("if-match", &*etag)];

    put_script(&farm, "theora");
    let before = position(&farm);
    let refused = farm.call("POST", &path, &headers, order.clone()).ok(412);
    assert_eq!(refused.json()["type"], "urn:tablao:problem:stale-preview");
    assert_eq!(position(&farm), before);

    put_script(&farm, "cinepak");
    farm.call("POST", &path, &headers, order).ok(200);
    assert_eq!(
        farm.read(&format!("/api/farm/v1/jobs/{job}"))["generation"],
        2
    );
}

/// Protects frames from two writers: a task that runs is asked to stop, nothing of the job is
/// handed out until it has, what it says later changes nothing, and what comes renders over it.
#[test]
fn what_runs_is_stopped_before_anything_new_starts() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let (slow, other) = (farm.awake_worker("slow"), farm.awake_worker("other"));
    let job = submit(&farm, "1-2");
    let old = farm.ask(&slow).unwrap();
    assert_eq!(old["tablao"]["overwrite"], false);
    let active = json!({ "taskStatus": "active" });
    farm.report(&slow, &old, active.clone(), json!({})).ok(204);

    let told = regenerate(&farm, &job, &json!({ "settings": { "samples": 99 } }));
    assert_eq!(told["stopped"], 1);
    assert!(farm.ask(&other).is_none(), "the old one still runs");
    let stopped = json!({ "taskStatus": "canceled" });
    farm.report(&slow, &old, stopped, json!({})).ok(204);
    let new = farm.ask(&other).unwrap();
    assert_eq!(new["name"], "render-1");
    assert_eq!(new["tablao"]["overwrite"], true);
    assert_ne!(new["uuid"], old["uuid"]);
    let late = json!({ "taskStatus": "completed" });
    farm.report(&slow, &old, late, json!({})).ok(409);

    // One of its frames is there: given back, the task renders only the rest over.
    farm.report(
        &other,
        &new,
        active,
        json!({ "frames": [support::frame(1)] }),
    )
    .ok(204);
    let queued = json!({ "taskStatus": "queued" });
    farm.report(&other, &new, queued, json!({})).ok(204);
    let again = farm.ask(&other).unwrap();
    assert_eq!(again["uuid"], new["uuid"]);
    assert_eq!(again["tablao"]["fresh"], json!([[1, 1]]));
    let shown = farm.read(&format!("/api/farm/v1/jobs/{job}"));
    assert_eq!(shown["task_counts"]["active"], 1);
    assert_eq!(shown["task_counts"]["queued"], 2);
}

/// Protects jobs from a crash in the middle: tasks that were prepared and never exchanged are no
/// part of the job, before and after a restart, and the next regeneration goes through.
#[test]
fn a_regeneration_that_was_cut_off_changed_nothing() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let worker = farm.awake_worker("hut");
    let job = submit(&farm, "1-2");
    farm.work_off(&worker);
    let id: JobId = job.parse().unwrap();
    let engine = farm.node.site.clone().unwrap();
    let chunk = tablao_core::request::TaskChunk {
        first_number: 3,
        types: vec!["misc".to_owned()],
        tasks: vec![tablao_core::event::NewTask {
            uuid: tablao_core::TaskId::new(uuid::Uuid::from_u128(7)),
            task_type: 0,
            priority: 50,
            depends_on: vec![],
            frames: tablao_core::frames::FrameRanges::default(),
            steps_total: 1,
            content_hash: [1; 32],
        }]
        .into(),
        detail: tablao_core::detail::TasksDetail {
            names: vec!["half".to_owned()],
            command_lists: vec!["[]".to_owned()],
            commands_of: vec![0],
        },
    };
    let request = Request::PrepareTasks {
        job: id,
        generation: 2,
        chunk: Box::new(chunk),
    };
    let asked = farm.runtime.block_on(engine.ask(Ask::system(request)));
    asked.unwrap().unwrap();
    drop(engine);

    let farm = farm.restart();
    let shown = farm.read(&format!("/api/farm/v1/jobs/{job}"));
    assert_eq!(
        (&shown["status"], &shown["steps_total"]),
        (&json!("completed"), &json!(3))
    );
    assert!(farm.ask(&worker).is_none());
    let frames = json!({ "settings": { "frames": "1-3" } });
    let (told, ran) = regenerated(&farm, &worker, &job, &frames);
    assert_eq!(counts(&told), [2, 1, 1, 0]);
    assert_eq!(ran, ["render-3", "film"]);
}

/// Protects the night: a changed blend file is noticed by its content, and one that was only
/// touched is not.
#[test]
fn a_changed_blend_file_renders_anew() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let worker = farm.awake_worker("hut");
    let folder = tempfile::tempdir().unwrap();
    let blend = folder.path().join("sh010.blend");
    std::fs::write(&blend, "BLENDER one").unwrap();
    let body = json!({
        "name": "sh010", "type": "shot", "submitter_platform": "linux",
        "settings": { "frames": "1-2", "samples": 16, "blendfile": blend },
        "metadata": {},
    });
    let job = farm.submit(&body);
    farm.work_off(&worker);

    std::fs::write(&blend, "BLENDER one").unwrap();
    let told = regenerate(&farm, &job, &json!({}));
    assert_eq!(counts(&told), [3, 0, 0, 0]);
    std::fs::write(&blend, "BLENDER two").unwrap();
    let (told, ran) = regenerated(&farm, &worker, &job, &json!({}));
    assert_eq!(counts(&told), [0, 3, 0, 0]);
    assert_eq!(told["inputs"], json!([blend]));
    assert_eq!(ran, ["render-1", "render-2", "film"]);
    let (told, _) = regenerated(&farm, &worker, &job, &json!({}));
    assert_eq!(counts(&told), [3, 0, 0, 0], "it is known by now");
}

fn requeue(farm: &Farm, job: &str, body: &Value) -> Vec<String> {
    let path = format!("/api/farm/v1/jobs/{job}/requeue");
    let told = farm.post(&path, body).ok(200).json();
    let tasks = told["tasks"].as_array().unwrap().iter();
    tasks
        .map(|task| task["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Protects against rendering too much or too little: each way to queue tasks again names just
/// the ones it is about, its preview the same ones, and those run.
#[test]
fn what_is_queued_again_is_what_was_asked_for() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let worker = farm.awake_worker("hut");
    let job = submit(&farm, "1-3");
    // The second frame is reported by nobody.
    while let Some(task) = farm.ask(&worker) {
        farm.report(&worker, &task, json!({ "taskStatus": "active" }), json!({}))
            .ok(204);
        if task["name"] == "render-2" {
            let done = json!({ "taskStatus": "completed" });
            farm.report(&worker, &task, done, json!({})).ok(204);
        } else {
            farm.finish(&worker, &task);
        }
    }

    let before = position(&farm);
    let preview = json!({ "which": "missing", "preview": true });
    assert_eq!(requeue(&farm, &job, &preview), ["render-2"]);
    assert_eq!(position(&farm), before, "a preview writes nothing");
    let missing = json!({ "which": "missing", "dependants": true });
    assert_eq!(requeue(&farm, &job, &missing), ["render-2", "film"]);
    farm.work_off(&worker);
    assert_eq!(ran_since(&farm, &before), ["render-2", "film"]);
    assert!(requeue(&farm, &job, &json!({ "which": "missing" })).is_empty());

    let before = position(&farm);
    let by_worker =
        json!({ "which": "rendered-by", "worker": "hut", "since": "2020-01-01T00:00:00Z" });
    let all = ["render-1", "render-2", "render-3", "film"];
    assert_eq!(requeue(&farm, &job, &by_worker), all);
    let task = farm.ask(&worker).unwrap();
    assert_eq!(
        task["tablao"]["overwrite"], true,
        "what is there is no good"
    );
    assert_eq!(task["tablao"].get("fresh"), None);
    farm.finish(&worker, &task);
    farm.work_off(&worker);
    assert_eq!(ran_since(&farm, &before), all);
    let later = json!({ "which": "rendered-by", "worker": "hut", "since": "2999-01-01T00:00:00Z" });
    assert!(requeue(&farm, &job, &later).is_empty());

    let tasks = farm.read(&format!("/api/farm/v1/jobs/{job}/tasks"));
    let third = tasks["items"][2]["id"].as_str().unwrap().to_owned();
    let before = position(&farm);
    let path = format!("/api/farm/v1/tasks/{third}/requeue");
    let told = farm
        .post(&path, &json!({ "dependants": true }))
        .ok(200)
        .json();
    assert_eq!(told["count"], 2);
    farm.work_off(&worker);
    assert_eq!(ran_since(&farm, &before), ["render-3", "film"]);
}

/// Protects failed jobs: what failed runs again with what was canceled by that, and no more.
#[test]
fn what_failed_runs_again() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let worker = farm.awake_worker("hut");
    let job = submit(&farm, "1-3");
    let first = farm.ask(&worker).unwrap();
    farm.finish(&worker, &first);
    let second = farm.ask(&worker).unwrap();
    farm.report(
        &worker,
        &second,
        json!({ "taskStatus": "active" }),
        json!({}),
    )
    .ok(204);
    let failed = json!({ "taskStatus": "failed", "activity": "no such file" });
    farm.report(&worker, &second, failed, json!({})).ok(204);
    let path = format!("/api/farm/v1/jobs/{job}");
    assert_eq!(farm.read(&path)["status"], "failed");

    let before = position(&farm);
    let body = json!({ "which": "failed" });
    assert_eq!(
        requeue(&farm, &job, &body),
        ["render-2", "render-3", "film"]
    );
    farm.work_off(&worker);
    assert_eq!(ran_since(&farm, &before), ["render-2", "render-3", "film"]);
    assert_eq!(farm.read(&path)["status"], "completed");
}

/// Protects callers from silence: each mistake is answered with its own words and changes nothing.
#[test]
fn mistakes_are_told() {
    let farm = Farm::start();
    put_script(&farm, "cinepak");
    let job = submit(&farm, "1-3");
    let before = position(&farm);
    let told = |path: &str, body: &Value, status: u16| {
        let answer = farm.post(&format!("/api/farm/v1/{path}"), body).ok(status);
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let path = format!("jobs/{job}/regenerate");
    assert!(told(&path, &json!({ "setings": {} }), 400).contains("settings"));
    let wrong = json!({ "settings": { "samples": "many" } });
    assert!(told(&path, &wrong, 422).contains("samples"));
    let frames = json!({ "settings": { "frames": "one" } });
    assert!(!told(&path, &frames, 422).is_empty());
    let nobody = uuid::Uuid::from_u128(9);
    told(&format!("jobs/{nobody}/regenerate"), &json!({}), 404);
    let path = format!("jobs/{job}/requeue");
    assert!(told(&path, &json!({ "which": "some" }), 400).contains("rendered-by"));
    told(&path, &json!({ "which": "rendered-by" }), 400);
    let nobody = json!({ "which": "rendered-by", "worker": "nobody" });
    told(&path, &nobody, 404);
    assert_eq!(position(&farm), before);
}
