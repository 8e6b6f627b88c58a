// SPDX-License-Identifier: GPL-3.0-or-later
//! The configuration operations of Flamenco's API against a running Manager: the file there and
//! back, reload without a restart, a broken file, and the set-up assistant.
#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps fails with a line number, which is all that is asked of it"
)]

mod support;

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use support::{Answer, Farm};

const FILE: &str = "/api/v3/configuration/file";

fn put(farm: &Farm, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    farm.call("PUT", FILE, &headers, body.to_string())
}

fn kinds(farm: &Farm) -> Vec<String> {
    let events = farm.read("/api/farm/v1/events?limit=1000");
    (events["items"].as_array().unwrap().iter())
        .map(|event| event["kind"].as_str().unwrap().to_owned())
        .filter(|kind| kind.starts_with("Config"))
        .collect()
}

/// What a client wrote is in use at once, in the file with its comments, and in the journal
/// without its secrets; what it did not mention is as it was.
#[test]
fn the_file_is_changed_and_in_use_at_once() {
    let farm = Farm::with_config(
        "# night\nmanager_name = \"Night\" # yes\n[rules]\nlease_s = 45 # ours\n",
    );
    let before = farm.read(FILE);
    assert_eq!(before["manager_name"], "Night");
    assert_eq!(before["worker_timeout"], "1m0s");
    put(&farm, &before).ok(204);
    assert_eq!(farm.read(FILE), before);
    let answer = put(
        &farm,
        &json!({
            "manager_name": "Day", "worker_timeout": "2m", "database": "old.sqlite",
            "mqtt": { "client": { "username": "u", "password": "swordfish" } },
            "variables": { "disk": { "is_twoway": true, "values": [
                { "platform": "linux", "value": "/disk" }, { "platform": "windows", "value": "D:\\" }] } },
        }),
    );
    let answer = answer.ok(204);
    assert!(answer.body.is_empty() && answer.header("content-type").is_empty());
    assert_eq!(farm.read("/api/v3/version")["name"], "Day");
    let resolved = farm.read("/api/v3/configuration/variables/workers/windows");
    assert_eq!(
        resolved["disk"],
        json!({ "value": "D:", "is_twoway": true })
    );
    assert_eq!(resolved["blender"]["value"], "blender.exe");
    let policy = farm
        .node
        .site
        .as_ref()
        .unwrap()
        .model()
        .farm()
        .policy()
        .clone();
    assert_eq!(
        (policy.worker_timeout_ms, policy.lease_ms),
        (120_000, 45_000)
    );
    let shown = farm.read(FILE);
    assert_eq!(shown["database"], "old.sqlite");
    assert_eq!(shown["mqtt"]["client"]["password"], "(hidden)");
    put(&farm, &shown).ok(204);
    let path = farm.node.settings.path().to_owned();
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# night\nmanager_name = \"Day\" # yes\n"),
        "{text}"
    );
    assert!(
        text.contains("lease_s = 45 # ours\n") && text.contains("swordfish"),
        "{text}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    assert_eq!(kinds(&farm), ["ConfigApplied", "ConfigApplied"]);
    let model = farm.node.site.as_ref().unwrap().model();
    assert!(model.config_text().contains("Day") && !model.config_text().contains("swordfish"));
    drop(model);
    put(&farm, &json!({ "manager_name": "Dusk" })).ok(204);
    assert_eq!(kinds(&farm).last().unwrap(), "ConfigNoted");
    let farm = farm.restart();
    assert_eq!(farm.read("/api/v3/version")["name"], "Dusk");
    assert_eq!(
        kinds(&farm).len(),
        3,
        "a start with the same configuration writes nothing"
    );
}

/// A mistake is told and changes neither the file nor what is in use.
#[test]
fn mistakes_change_nothing() {
    let farm = Farm::with_config("manager_name = \"Night\"\n");
    let before = fs::read(farm.node.settings.path()).unwrap();
    for (body, words) in [
        (
            json!({ "task_timeout": 5, "manager_name": "x" }),
            "task_timeout",
        ),
        (json!({ "_meta": { "version": 9 } }), "_meta.version"),
        (json!({ "task_fail_after_softfail_count": 0 }), "at least 1"),
        (json!([1]), "form"),
    ] {
        let answer = put(&farm, &body).ok(400).json();
        assert_eq!(answer["code"], 400);
        assert!(
            answer["message"].as_str().unwrap().contains(words),
            "{answer}"
        );
    }
    put(&farm, &Value::Null).ok(400);
    assert_eq!(fs::read(farm.node.settings.path()).unwrap(), before);
    assert_eq!(farm.read("/api/v3/version")["name"], "Night");
}

/// An edit is in use as soon as somebody looks; a broken one leaves the last good one in use and
/// is told, and a client cannot overwrite what a person is in the middle of.
#[test]
fn a_broken_file_leaves_the_last_good_one_in_use() {
    let farm = Farm::with_config("manager_name = \"Night\"\nbody_bytes_max = 100\n");
    let path = farm.node.settings.path().to_owned();
    fs::write(&path, "manager_name = \"Day\"\nbody_bytes_max = 100\n").unwrap();
    let told = farm.read("/api/v3/configuration");
    assert_eq!(told["isFirstRun"], true);
    assert_eq!(told.get("problem"), None);
    assert_eq!(farm.read("/api/v3/version")["name"], "Day");
    fs::write(&path, "manager_name = \"Noon\"\nlease = 5\n").unwrap();
    let told = farm.read("/api/v3/configuration");
    let problem = told["problem"].as_str().unwrap();
    assert!(problem.contains("line 2, lease"), "{problem}");
    assert_eq!(farm.read("/api/v3/version")["name"], "Day");
    let answer = put(&farm, &json!({ "manager_name": "Other" }))
        .ok(409)
        .json();
    assert!(
        answer["message"].as_str().unwrap().contains("lease"),
        "{answer}"
    );
    let body = json!({ "name": "x".repeat(200) });
    farm.post("/api/v3/jobs", &body).ok(413);
    fs::write(&path, "manager_name = \"Noon\"\n").unwrap();
    assert_eq!(farm.read("/api/v3/configuration").get("problem"), None);
    assert_eq!(farm.read("/api/v3/version")["name"], "Noon");
    farm.post("/api/v3/jobs", &body).ok(400);
}

/// A first start without configuration becomes a working farm through the assistant alone: the
/// storage, the content store and Blender are in use without a restart.
#[test]
fn the_assistant_sets_up_a_farm() {
    let farm = Farm::start();
    let share = tempfile::tempdir().unwrap();
    let share = share.path().canonicalize().unwrap();
    let share = share.to_str().unwrap();
    assert_eq!(farm.read("/api/v3/configuration")["isFirstRun"], true);
    let check = |path: &str| {
        let body = json!({ "path": path });
        farm.post("/api/v3/configuration/check/shared-storage", &body)
            .ok(200)
            .json()
    };
    assert_eq!(check(share)["is_usable"], true);
    assert_eq!(check(share)["path"], share);
    for path in [
        "",
        "\\\\NAS\\share",
        "/does/not/exist",
        farm.node.data.root().to_str().unwrap(),
    ] {
        let answer = check(path);
        assert_eq!(answer["is_usable"], false, "{answer}");
        assert!(!answer["cause"].as_str().unwrap().is_empty());
    }
    let blender = json!({ "input": "blender", "path": "/usr/bin/blender", "source": "path_envvar",
        "is_usable": true, "cause": "Blender 3.4.1" });
    let save = |storage: &str, blender: &Value| {
        let body = json!({ "storageLocation": storage, "blenderExecutable": blender });
        farm.post("/api/v3/configuration/setup-assistant", &body)
    };
    save("", &blender).ok(400);
    save("/does/not/exist", &blender).ok(400);
    for (field, value) in [
        ("is_usable", json!(false)),
        ("path", json!("")),
        ("source", json!("default ")),
    ] {
        let mut wrong = blender.clone();
        wrong[field] = value;
        let answer = save(share, &wrong).ok(400).json();
        assert_eq!(answer["code"], 400);
    }
    let mut unknown = blender.clone();
    unknown["source"] = json!("");
    save(share, &unknown).ok(400);
    save(share, &blender).ok(204);
    let told = farm.read("/api/v3/configuration");
    assert_eq!(told["isFirstRun"], false);
    if cfg!(unix) {
        assert_eq!(told["storageLocation"], format!("{share}/jobs"));
        let answer = farm.get(&format!("/api/v3/shaman/files/{}/1", "a".repeat(64)));
        assert_eq!(answer.ok(200).json()["status"], "unknown");
    }
    let resolved = farm.read("/api/v3/configuration/variables/workers/darwin");
    assert_eq!(resolved["blender"]["value"], "blender");
    let store = |farm: &Farm| farm.node.shaman().map(|store| store.checkouts());
    let before = store(&farm);
    put(&farm, &json!({ "manager_name": "Set up" })).ok(204);
    assert_eq!(store(&farm), before);
    let farm = farm.restart();
    assert_eq!(farm.read("/api/v3/configuration"), told);
}

/// The Blender of this machine, where there is one, is found and tried for real.
#[test]
fn blender_is_found_and_tried() {
    let farm = Farm::start();
    let path = "/api/v3/configuration/check/blender";
    let check = |command: &str| farm.post(path, &json!({ "path": command })).ok(200).json();
    let found = farm.read(path);
    let answer = check("blender");
    assert_eq!(
        (&answer["input"], &answer["source"]),
        (&json!("blender"), &json!("path_envvar"))
    );
    if answer["is_usable"] == true {
        assert!(
            answer["cause"].as_str().unwrap().starts_with("Blender "),
            "{answer}"
        );
        assert_eq!(found, json!([answer]));
        let by_path = check(answer["path"].as_str().unwrap());
        assert_eq!(by_path["source"], "input_path");
        assert_eq!(by_path["cause"], answer["cause"]);
    } else {
        assert_eq!(found, json!([]));
        assert!(
            answer["cause"].as_str().unwrap().contains("PATH"),
            "{answer}"
        );
    }
    assert_eq!(check("/bin/sh")["is_usable"], false);
    farm.post(path, &json!({})).ok(400);
}

/// A change of the file is noticed by itself while the Manager serves.
#[test]
fn an_edit_is_noticed() {
    let farm = Farm::with_config("manager_name = \"Night\"\n");
    let mut changes = farm.node.settings.changes();
    let path = farm.node.settings.path().to_owned();
    let node = Arc::clone(&farm.node);
    farm.runtime.block_on(async move {
        let listener = tablao_net::serve::listen("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(tablao_net::serve::serve(
            Arc::clone(&node),
            listener,
            async {
                let _ = stopped.await;
            },
        ));
        let edited = path.with_extension("new");
        fs::write(&edited, "manager_name = \"Day\"\n").unwrap();
        fs::rename(&edited, &path).unwrap();
        changes.changed().await.unwrap();
        assert_eq!(node.in_force().config.manager_name, "Day");
        stop.send(()).unwrap();
        serving.await.unwrap();
    });
}
