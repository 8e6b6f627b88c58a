// SPDX-License-Identifier: GPL-3.0-or-later
//! Jobs that go, on a Manager that really runs: marks and their bound, what a purge takes along,
//! what a crash in the middle of one leaves; and the files that go with a job: logs, previews.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, io::Cursor, path::PathBuf, sync::Arc};

use axum::body::Body;
use serde_json::{Value, json};
use support::{
    Farm, Worker,
    flamenco::{UNKNOWN, nothing, refused},
};
use tablao_core::{Actor, Request, Timestamp, decide::Asker};
use tablao_net::{clock, deletion, engine::Ask};

fn delete(farm: &Farm, job: &str) {
    nothing(farm.call("DELETE", &format!("/api/v3/jobs/{job}"), &[], Body::empty()));
}

fn mass_delete(farm: &Farm, body: &Value) -> support::Answer {
    let json_type = [("content-type", "application/json")];
    farm.call(
        "DELETE",
        "/api/v3/jobs/mass-delete",
        &json_type,
        body.to_string(),
    )
}

fn farm_post(farm: &Farm, job: &str, verb: &str) -> support::Answer {
    let path = format!("/api/farm/v1/jobs/{job}/{verb}");
    farm.call("POST", &path, &[], Body::empty())
}

fn job(farm: &Farm, job: &str) -> Value {
    farm.read(&format!("/api/v3/jobs/{job}"))
}

/// Has deleted jobs removed that are due at this moment.
fn purge_due(farm: &Farm, now: Timestamp) {
    let engine = farm.node.site.clone().unwrap();
    let wait = farm
        .runtime
        .block_on(deletion::purge_due(&farm.node, &engine, now));
    assert!(wait.is_some());
}

fn hours_from_now(hours: u64) -> Timestamp {
    clock::now().plus_millis(hours * 3_600_000)
}

/// Protects a studio that clears up: the bound is one that it can read off the list, everything
/// up to it is marked and nothing else, and nobody is given a task of a marked job.
#[test]
fn mass_deletion() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    refused(mass_delete(&farm, &json!({})), 400, "last_updated_max");
    refused(
        mass_delete(&farm, &json!({ "last_updated_max": "soon" })),
        400,
        "time",
    );
    refused(
        mass_delete(&farm, &json!({ "last_updated_max": null })),
        400,
        "",
    );
    let bound = json!({ "last_updated_max": "2030-01-01T00:00:00Z" });
    refused(mass_delete(&farm, &bound), 416, "no job");
    let jobs: Vec<String> = (0..3)
        .map(|n| farm.submit_echo(&format!("job {n}"), 1))
        .collect();
    let running = farm.ask(&worker).unwrap();
    let updated = |id: &str| job(&farm, id)["updated"].as_str().unwrap().to_owned();
    // Only what lies before a bound in the past.
    refused(
        mass_delete(
            &farm,
            &json!({ "last_updated_max": "2001-01-01T00:00:00Z" }),
        ),
        416,
        "",
    );
    // The last one's own time, as shown, means that one, too: seconds are rounded up.
    let last = jobs.iter().map(|id| updated(id)).max().unwrap();
    let shown = format!("{}Z", &last[..19]);
    let exact = json!({ "last_updated_max": if last.len() > 20 { last } else { shown } });
    nothing(mass_delete(&farm, &exact));
    for id in &jobs {
        assert!(job(&farm, id)["delete_requested_at"].is_string());
    }
    assert_eq!(
        job(&farm, &jobs[0])["status"],
        "cancel-requested",
        "its worker is told to stop"
    );
    assert_eq!(job(&farm, &jobs[1])["status"], "canceled");
    refused(mass_delete(&farm, &bound), 416, "no job");
    let path = format!(
        "/api/v3/worker/task/{}/may-i-run",
        running["uuid"].as_str().unwrap()
    );
    let auth = worker.header();
    let may = farm
        .call("GET", &path, &[("authorization", &auth)], "")
        .ok(200)
        .json();
    assert_eq!(may["mayKeepRunning"], false);
    assert!(farm.ask(&worker).is_none());
    assert_eq!(job(&farm, &jobs[0])["status"], "canceled");
}

/// Protects from a deletion that was not meant: the mark can be taken back until the time is
/// over, and the job then runs again; what is not marked is not removed.
#[test]
fn a_deletion_can_be_taken_back() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let id = farm.submit_echo("dear", 1);
    let refusal = farm_post(&farm, &id, "purge").ok(409).json();
    assert!(
        refusal["detail"]
            .as_str()
            .unwrap()
            .contains("deletion first"),
        "{refusal}"
    );
    delete(&farm, &id);
    delete(&farm, &id);
    assert!(farm.ask(&worker).is_none());
    purge_due(&farm, hours_from_now(23));
    nothing(farm_post(&farm, &id, "restore"));
    nothing(farm_post(&farm, &id, "restore"));
    assert!(job(&farm, &id).get("delete_requested_at").is_none());
    purge_due(&farm, hours_from_now(48));
    let queued = json!({ "status": "requeueing", "reason": "it is needed" });
    nothing(farm.post(&format!("/api/v3/jobs/{id}/setstatus"), &queued));
    assert_eq!(farm.work_off(&worker), 2);
    assert_eq!(job(&farm, &id)["status"], "completed");
    delete(&farm, &id);
    purge_due(&farm, hours_from_now(23));
    assert!(job(&farm, &id)["delete_requested_at"].is_string());
    purge_due(&farm, hours_from_now(25));
    refused(farm.get(&format!("/api/v3/jobs/{id}")), 404, "");
    for verb in ["restore", "purge"] {
        assert_eq!(farm_post(&farm, &id, verb).status, 404);
        assert_eq!(farm_post(&farm, UNKNOWN, verb).status, 404);
        assert_eq!(farm_post(&farm, "seven", verb).status, 400);
    }
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 9]));
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn send_preview(farm: &Farm, worker: &Worker, task: &Value, bytes: Vec<u8>) -> support::Answer {
    let path = format!(
        "/api/v3/worker/task/{}/output-produced",
        task["uuid"].as_str().unwrap()
    );
    let auth = worker.header();
    let headers = [
        ("authorization", auth.as_str()),
        ("content-type", "image/png"),
    ];
    farm.call("POST", &path, &headers, bytes)
}

fn wait_for_preview(farm: &Farm, id: &str) -> Value {
    let path = format!("/api/v3/jobs/{id}/last-rendered");
    loop {
        let answer = farm.get(&path);
        if answer.status == 200 {
            return answer.json();
        }
        nothing(answer);
        std::thread::yield_now();
    }
}

/// A job with everything that a purge has to take along, and the folders of it.
fn furnished(farm: &Farm, worker: &Worker) -> (String, Vec<PathBuf>) {
    let id = farm.submit(&json!({
        "name": "furnished", "type": "simple-blender-render", "submitter_platform": "linux",
        "storage": { "shaman_checkout_id": "furnished-1" },
        "settings": {
            "frames": "1", "chunk_size": 1, "render_output_root": "/render",
            "add_path_components": 0, "render_output_path": "/render/sh010/######",
            "blendfile": "/shared/sh010.blend", "fps": 24, "format": "PNG",
            "image_file_extension": ".png", "has_previews": false, "scene": "Scene",
        },
        "metadata": { "project": "Night Shift", "shot": "sh010" },
    }));
    let checkout = (farm.node.in_force().config.shared_storage_path).join("jobs/furnished-1");
    fs::create_dir_all(checkout.join("scenes")).unwrap();
    fs::write(checkout.join("scenes/a.blend"), "blend").unwrap();
    let task = farm.ask(worker).unwrap();
    send_preview(farm, worker, &task, png(20, 10)).ok(202);
    farm.finish(worker, &task);
    farm.work_off(worker);
    wait_for_preview(farm, &id);
    let shot = farm.read("/api/farm/v1/frames")["items"][0]["shot"]
        .as_str()
        .unwrap()
        .to_owned();
    let auth = worker.header();
    let headers = [
        ("authorization", auth.as_str()),
        ("content-type", "image/png"),
        ("tablao-frame", "1"),
    ];
    let path = format!("/api/farm/v1/worker/thumbnails/{shot}/000001_thumbnail.png");
    nothing(farm.call("POST", &path, &headers, png(4, 4)));
    let root = &farm.node.data;
    let folders = vec![
        checkout,
        root.path("logs").join(&id),
        root.path("previews")
            .join(format!("job-{}", &id[..4]))
            .join(&id),
        root.path("thumbnails").join(shot),
    ];
    for folder in &folders {
        assert!(folder.is_dir(), "{}", folder.display());
    }
    (id, folders)
}

fn on_shelf(storage: &tempfile::TempDir) -> Farm {
    Farm::with_config(&format!(
        "shared_storage_path = {:?}\n[shaman]\nenabled = true\n",
        storage.path()
    ))
}

/// Protects the disk: what is gone is gone with its files, and what belongs to others stays.
#[test]
fn a_purge_takes_the_files_along() {
    let storage = tempfile::tempdir().unwrap();
    let farm = on_shelf(&storage);
    let worker = farm.awake_worker("hut");
    let other = farm.submit_echo("other", 1);
    farm.work_off(&worker);
    let (id, folders) = furnished(&farm, &worker);
    let would = farm.read(&format!("/api/v3/jobs/{id}/what-would-delete-do"));
    assert_eq!(would, json!({ "shaman_checkout": true }));
    delete(&farm, &id);
    for folder in &folders {
        assert!(
            folder.is_dir(),
            "a mark removes nothing: {}",
            folder.display()
        );
    }
    nothing(farm_post(&farm, &id, "purge"));
    for folder in &folders {
        assert!(!folder.exists(), "{}", folder.display());
    }
    assert!(farm.node.data.path("logs").join(&other).is_dir());
    nothing(farm.get("/api/v3/jobs/last-rendered"));
    assert_eq!(farm.read("/api/farm/v1/frames")["items"], json!([]));
    assert_eq!(
        farm.read("/api/v3/jobs")["jobs"].as_array().unwrap().len(),
        1
    );
}

/// Protects from half a deletion: a Manager that ends when the files, or some of them, are gone
/// removes the rest and the job when it is back, and nobody restores a job without its files in
/// silence: until then it is marked.
#[test]
fn a_purge_that_is_cut_off_is_done_again() {
    let storage = tempfile::tempdir().unwrap();
    let farm = on_shelf(&storage);
    let worker = farm.awake_worker("hut");
    let (id, folders) = furnished(&farm, &worker);
    delete(&farm, &id);
    deletion::erase_files(&farm.node, id.parse().unwrap()).unwrap();
    // As if the process had ended with these still to do.
    fs::create_dir_all(&folders[1]).unwrap();
    fs::create_dir_all(&folders[3]).unwrap();
    let farm = farm.restart();
    assert!(job(&farm, &id)["delete_requested_at"].is_string());
    purge_due(&farm, hours_from_now(25));
    refused(farm.get(&format!("/api/v3/jobs/{id}")), 404, "");
    for folder in &folders {
        assert!(!folder.exists(), "{}", folder.display());
    }
}

/// Protects what runs: a job is not removed before its workers have stopped.
#[test]
fn a_purge_waits_for_those_who_run() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let id = farm.submit_echo("runs", 1);
    farm.ask(&worker).unwrap();
    delete(&farm, &id);
    assert!(
        farm_post(&farm, &id, "purge").ok(409).json()["detail"]
            .as_str()
            .unwrap()
            .contains("still run")
    );
    purge_due(&farm, hours_from_now(25));
    assert_eq!(job(&farm, &id)["status"], "cancel-requested");
    assert!(
        farm.ask(&worker).is_none(),
        "asking for another, it has stopped"
    );
    nothing(farm_post(&farm, &id, "purge"));
}

/// Protects the others: while a job of many tasks is marked and removed, a worker's ask is decided
/// in between, not behind everything.
#[test]
fn large_jobs_are_removed_one_decision_at_a_time() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let jobs: Vec<String> = (0..3)
        .map(|n| farm.submit_echo(&format!("large {n}"), 3000))
        .collect();
    nothing(mass_delete(
        &farm,
        &json!({ "last_updated_max": "2100-01-01T00:00:00Z" }),
    ));
    let small = farm.submit_echo("small", 1);
    let engine = farm.node.site.clone().unwrap();
    let node = Arc::clone(&farm.node);
    // The purges are asked for together, and the worker's ask behind the first of them.
    let order = farm.runtime.block_on(async {
        let done = std::sync::Mutex::new(Vec::new());
        let purges = async {
            for id in &jobs {
                let job = id.parse().unwrap();
                let ask = Ask::system(Request::PurgeJob { job });
                deletion::purge(&node, &engine, job, ask).await.unwrap();
                done.lock().unwrap().push("purge");
            }
        };
        let work = async {
            let worker = worker.id.parse().unwrap();
            let ask = Ask::new(
                Request::AskForTask { worker },
                Actor::SYSTEM,
                Asker::default(),
            );
            engine.ask(ask).await.unwrap().unwrap();
            done.lock().unwrap().push("task");
        };
        futures_util::future::join(purges, work).await;
        done.into_inner().unwrap()
    });
    assert_ne!(order.last(), Some(&"task"), "{order:?}");
    assert_eq!(job(&farm, &small)["status"], "active");
}

/// Protects who reads a log: it is there whole, attempt after attempt, under the address that
/// Flamenco's web application opens, and under no other.
#[test]
fn a_log_is_downloaded_whole() {
    let farm = Farm::start();
    let (first, second) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    let id = farm.submit_echo("talks", 1);
    let task = farm.ask(&first).unwrap();
    let long = "x".repeat(99_999) + "\n";
    let mut text = String::new();
    for n in 0..7_usize {
        let update = json!({ "taskStatus": "active", "log": long });
        farm.report(
            &first,
            &task,
            update,
            json!({ "log_offset": n * long.len() }),
        )
        .ok(204);
        text += &long;
    }
    let failed = json!({ "taskStatus": "failed", "activity": "it broke", "log": "it broke\n" });
    farm.report(&first, &task, failed, json!({ "log_offset": text.len() }))
        .ok(204);
    text += "it broke\n";
    let again = farm.ask(&second).unwrap();
    assert_eq!(again["uuid"], task["uuid"]);
    farm.report(
        &second,
        &again,
        json!({ "log": "better now\n" }),
        json!({ "log_offset": 0 }),
    )
    .ok(204);
    text += "better now\n";
    let task_id = task["uuid"].as_str().unwrap();
    let info = farm.read(&format!("/api/v3/tasks/{task_id}/log"));
    let prefix = &id[..4];
    let url = format!("/job-files/job-{prefix}/{id}/task-{task_id}.txt");
    assert_eq!(info["url"], url);
    assert_eq!(info["size"], text.len());
    let answer = farm.get(&url).ok(200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("content-length"), text.len().to_string());
    assert!(answer.body == text.as_bytes());
    let tail = farm
        .get(&format!("/api/v3/tasks/{task_id}/logtail"))
        .ok(200);
    assert_eq!(
        tail.body, b"it broke\nbetter now\n",
        "from the start of a line"
    );
    for path in [
        format!("/job-files/job-0000/{id}/task-{task_id}.txt"),
        format!("/job-files/job-{prefix}/{UNKNOWN}/task-{task_id}.txt"),
        format!("/job-files/job-{prefix}/{id}/task-{UNKNOWN}.txt"),
        format!("/job-files/job-{prefix}/{id}/task-{task_id}.log"),
        format!("/job-files/job-{prefix}/{id}/..%2f..%2ftablao.toml"),
        format!("/job-files/job-{prefix}/..%2f../task-{task_id}.txt"),
    ] {
        assert_eq!(farm.get(&path).status, 404, "{path}");
    }
}

/// Protects who watches: the newest picture of a job, and of all jobs, in three sizes that are
/// never larger than what was sent; what is no picture changes nothing; who sends too many is told.
#[test]
fn the_last_rendered_picture() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let jobs = [farm.submit_echo("first", 1), farm.submit_echo("second", 1)];
    nothing(farm.get("/api/v3/jobs/last-rendered"));
    let sizes = |id: &str| -> Vec<(u32, u32)> {
        let info = farm.read(&format!("/api/v3/jobs/{id}/last-rendered"));
        assert_eq!(info["base"], format!("/job-files/job-{}/{id}", &id[..4]));
        assert_eq!(
            info["suffixes"],
            json!([
                "last-rendered.jpg",
                "last-rendered-small.jpg",
                "last-rendered-tiny.jpg"
            ])
        );
        let size = |suffix: &Value| {
            let path = format!(
                "{}/{}",
                info["base"].as_str().unwrap(),
                suffix.as_str().unwrap()
            );
            let answer = farm.get(&path).ok(200);
            assert_eq!(answer.header("content-type"), "image/jpeg");
            let picture =
                image::load_from_memory_with_format(&answer.body, image::ImageFormat::Jpeg);
            let picture = picture.unwrap();
            (picture.width(), picture.height())
        };
        info["suffixes"]
            .as_array()
            .unwrap()
            .iter()
            .map(size)
            .collect()
    };
    let task = farm.ask(&worker).unwrap();
    assert_eq!(task["job"], jobs[0]);
    send_preview(&farm, &worker, &task, b"no picture at all".to_vec()).ok(202);
    send_preview(&farm, &worker, &task, png(1936, 1089)).ok(202);
    wait_for_preview(&farm, &jobs[0]);
    assert_eq!(sizes(&jobs[0]), [(1920, 1080), (600, 338), (199, 112)]);
    farm.finish(&worker, &task);
    farm.finish(&worker, &farm.ask(&worker).unwrap());
    let task = farm.ask(&worker).unwrap();
    assert_eq!(task["job"], jobs[1]);
    send_preview(&farm, &worker, &task, png(100, 400)).ok(202);
    wait_for_preview(&farm, &jobs[1]);
    assert_eq!(sizes(&jobs[1]), [(100, 400), (85, 338), (28, 112)]);
    let newest = || {
        farm.read("/api/v3/jobs/last-rendered")["base"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    while !newest().ends_with(&jobs[1]) {
        std::thread::yield_now();
    }
    let more = png(800, 450);
    let mut told = false;
    for _ in 0..100 {
        let answer = send_preview(&farm, &worker, &task, more.clone());
        if answer.status == 429 {
            refused(answer, 429, "waiting");
            told = true;
            break;
        }
        assert_eq!(answer.status, 202);
    }
    assert!(told, "a hundred pictures at once are too many");
}
