// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao import flamenco`, and the page about moving whose commands are run here.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    flamenco::{self, ALPHA, BETA, GPU, JOBS, SECRET, job, task},
    harness::{Farm, Run, run, tablao},
};

fn import(folder: &Path, data: &Path, more: &[&str]) -> Run {
    let mut command = tablao();
    command
        .args(["import", "flamenco", "--json", "--config"])
        .arg(folder.join("flamenco-manager.yaml"))
        .arg("--database")
        .arg(folder.join("flamenco-manager.sqlite"))
        .arg("--data")
        .arg(data);
    Run::of(command.args(more))
}

/// Asks a farm something; a worker's password may go along.
fn ask(url: &str, method: &str, path: &str, secret: Option<&str>) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client.request(method, format!("{url}{path}"));
        if let Some(secret) = secret {
            request = request.basic_auth(ALPHA, Some(secret));
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    })
}

fn read(farm: &Farm, path: &str) -> Value {
    let (status, body) = ask(&farm.url, "GET", path, None);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// A studio that moves has everything where it was: workers with their secrets, what they were
/// asked, tags, schedules, jobs and each task in the state it was in. Moving twice changes nothing.
#[test]
fn a_flamenco_farm_arrives_whole() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().join("storage");
    fs::create_dir(&storage).unwrap();
    flamenco::make(folder.path(), &storage);
    let before = fs::read(folder.path().join("flamenco-manager.sqlite")).unwrap();
    let mut farm = Farm::start_with(0, |data| {
        let told = import(folder.path(), data, &["--dry-run"]).ended(0).json();
        assert_eq!(
            told["found"],
            json!({ "tags": 1, "workers": 2, "jobs": 7, "tasks": 20 })
        );
        assert!(
            fs::read_dir(data).unwrap().next().is_none(),
            "a dry run wrote something"
        );
        let told = import(folder.path(), data, &[]).ended(0).json();
        assert_eq!(
            told["imported"]["jobs"],
            json!({ "new": 7, "here_already": 0 }),
            "{told}"
        );
        assert_eq!(told["imported"]["tasks"], 20);
        let state = || {
            let mut command = tablao();
            command.args(["replay", "--json", "--data"]).arg(data);
            let told = Run::of(&mut command).ended(0).json();
            (told["digest"].clone(), told["position"].clone())
        };
        let (first, config) = (state(), fs::read(data.join("tablao.toml")).unwrap());
        let told = import(folder.path(), data, &[]).ended(0).json();
        assert_eq!(
            told["imported"]["jobs"],
            json!({ "new": 0, "here_already": 7 }),
            "{told}"
        );
        assert_eq!(
            told["imported"]["workers"],
            json!({ "new": 0, "here_already": 2 })
        );
        assert_eq!(told["configuration_changed"], false);
        assert_eq!(state(), first, "importing twice changed something");
        assert_eq!(fs::read(data.join("tablao.toml")).unwrap(), config);
    });
    assert_eq!(
        fs::read(folder.path().join("flamenco-manager.sqlite")).unwrap(),
        before
    );
    configuration(&farm, &storage);
    workers(&farm);
    jobs(&farm);
    assert!(farm.stop().success());
    farm.look(&["journal", "verify"]).ended(0);
}

fn configuration(farm: &Farm, storage: &Path) {
    let told = read(farm, "/api/v3/configuration/file");
    for (key, value) in [
        ("manager_name", json!("Old studio")),
        ("task_timeout", json!("15m0s")),
        ("worker_timeout", json!("2m0s")),
        ("blocklist_threshold", json!(4)),
        ("task_fail_after_softfail_count", json!(5)),
        ("autodiscoverable", json!(false)),
        ("shared_storage_path", json!(storage)),
        ("database", json!("flamenco-manager.sqlite")),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
    assert_eq!(told["shaman"]["garbageCollect"]["maxAge"], "500h0m0s");
    let resolved = read(farm, "/api/v3/configuration/variables/workers/windows");
    assert_eq!(resolved["blender"]["value"], "C:\\Blender\\blender.exe");
    assert_eq!(
        resolved["project"],
        json!({ "value": "P:", "is_twoway": true })
    );
}

fn workers(farm: &Farm) {
    let alpha = read(farm, &format!("/api/v3/worker-mgt/workers/{ALPHA}"));
    assert_eq!(
        (&alpha["name"], &alpha["status"]),
        (&json!("alpha"), &json!("awake"))
    );
    assert_eq!(
        alpha["supported_task_types"],
        json!(["blender", "ffmpeg", "misc"])
    );
    assert_eq!(
        (&alpha["version"], &alpha["can_restart"]),
        (&json!("3.8"), &json!(true))
    );
    let beta = read(farm, &format!("/api/v3/worker-mgt/workers/{BETA}"));
    assert_eq!(beta["status"], "asleep");
    assert_eq!(
        beta["status_change"],
        json!({ "status": "offline", "is_lazy": true })
    );
    assert_eq!(beta["tags"][0]["id"], GPU);
    assert_eq!(beta["tags"][0]["description"], "fast ones");
    let all = read(farm, "/api/v3/worker-mgt/workers");
    assert_eq!(
        all["workers"].as_array().unwrap().len(),
        2,
        "a deleted worker stays deleted"
    );
    // The worker goes on where it was, with the password that it has, and with no other one.
    for _ in 0..2 {
        let (status, _) = ask(&farm.url, "GET", "/api/v3/worker/state", Some(SECRET));
        assert_eq!(status, 204);
        let (status, _) = ask(&farm.url, "GET", "/api/v3/worker/state", Some("another"));
        assert_eq!(status, 403);
    }
}

fn jobs(farm: &Farm) {
    for &(number, was, tasks) in JOBS {
        let id = job(number);
        let told = read(farm, &format!("/api/v3/jobs/{id}"));
        let status = match was {
            "pause-requested" => "paused",
            "cancel-requested" => "canceled",
            other => other,
        };
        assert_eq!(told["status"], status, "{told}");
        assert_eq!(told["name"], format!("job {number}"));
        assert_eq!(told["priority"], 40 + number);
        assert_eq!(told["created"], format!("2024-05-0{number}T12:00:00.25Z"));
        assert_eq!(told["activity"], format!("it was {was}"));
        assert_eq!(told["settings"]["scene"], "Szene ä");
        assert_eq!(told["metadata"]["user.name"], "ines");
        let listed = read(farm, &format!("/api/v3/jobs/{id}/tasks"));
        let listed = listed["tasks"].as_array().unwrap();
        assert_eq!(listed.len(), tasks.len());
        for (place, (told, task_was)) in (1..).zip(listed.iter().zip(tasks.iter().copied())) {
            let status = match (task_was, was) {
                ("completed", _) => "completed",
                ("active" | "queued" | "soft-failed", "pause-requested") => "paused",
                ("active" | "queued" | "soft-failed", "cancel-requested") => "canceled",
                ("active", _) => "queued",
                (other, _) => other,
            };
            assert_eq!(told["status"], status, "job {number} task {place}: {told}");
            assert_eq!(told["id"], task(number, place));
            let whole = (status == "completed").then(|| told["steps_total"].clone());
            assert_eq!(told["steps_completed"], whole.unwrap_or(json!(0)));
        }
    }
    assert!(read(farm, &format!("/api/v3/jobs/{}", job(1)))["delete_requested_at"].is_string());
    let tagged = read(farm, &format!("/api/v3/jobs/{}", job(3)));
    assert_eq!(tagged["worker_tag"], GPU);
    let blocks = read(farm, &format!("/api/v3/jobs/{}/blocklist", job(3)));
    assert_eq!(blocks[0]["worker_id"], ALPHA);
    let failed = read(farm, &format!("/api/v3/tasks/{}", task(3, 1)));
    let by: Vec<&str> = (failed["failed_by_workers"].as_array().unwrap().iter())
        .map(|worker| worker["id"].as_str().unwrap())
        .collect();
    assert_eq!(by, [ALPHA, BETA]);
    assert_eq!(failed["worker"]["id"], ALPHA);
    assert_eq!(failed["commands"][0]["parameters"]["args"][1], "1");
    assert_eq!(failed["steps_total"], 2);
    let last = read(farm, &format!("/api/farm/v1/tasks/{}", task(2, 4)));
    let needed: Vec<String> = (1..4).map(|number| task(2, number)).collect();
    assert_eq!(last["depends_on"], json!(needed), "{last}");
}

/// What cannot be read is told, and nothing is begun.
#[test]
fn wrong_files_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::write(folder.path().join("flamenco-manager.yaml"), "listen: [\n").unwrap();
    import(folder.path(), &data, &[])
        .ended(2)
        .says(&["no configuration of Flamenco"]);
    fs::write(
        folder.path().join("flamenco-manager.yaml"),
        "task_timeout: 5\n",
    )
    .unwrap();
    import(folder.path(), &data, &[])
        .ended(1)
        .says(&["task_timeout"]);
    fs::write(
        folder.path().join("flamenco-manager.yaml"),
        "manager_name: X\n",
    )
    .unwrap();
    import(folder.path(), &data, &[])
        .ended(2)
        .says(&["there is no database"]);
    rusqlite::Connection::open(folder.path().join("flamenco-manager.sqlite"))
        .unwrap()
        .execute_batch("create table other (id integer)")
        .unwrap();
    import(folder.path(), &data, &[])
        .ended(2)
        .says(&["no database of Flamenco 3"]);
    assert!(!data.exists());
    run(&["import", "flamenco"]).ended(2);
}
