// SPDX-License-Identifier: GPL-3.0-or-later
//! Tasks that are claimed while another one runs: they begin when their turn comes, and what they
//! render is published only after the Manager has taken their start.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::path::Path;

use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};

/// A program with Blender's command line that writes the frame it is asked for, and says so.
fn fake_blender(folder: &Path) -> String {
    let program = folder.join("fake-blender");
    let text = "#!/bin/sh\n\
        if [ \"$1\" = --version ]; then echo \"Blender 3.4.1\"; exit 0; fi\n\
        while [ $# -gt 0 ]; do\n  case $1 in -o) out=$2;; -f) frame=$2;; esac\n  shift\ndone\n\
        echo \"Blender 3.4.1\"\n\
        file=$out$(printf %04d $frame).bin\n\
        echo content > \"$file\"\n\
        echo \"Saved: '$file'\"\necho ' Time: 00:00.01 (Saving: 00:00.00)'\n";
    std::fs::write(&program, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    program.display().to_string()
}

fn render(exe: &str, out: &Path, frame: u32) -> Value {
    json!([{
        "name": "blender-render",
        "parameters": {
            "exe": exe, "exeArgs": "-b", "blendfile": "",
            "args": ["-o", out.join("f_"), "-f", frame],
        },
        "total_step_count": 1,
    }])
}

/// A program that runs until the file is there.
fn until_there(gate: &Path) -> Value {
    let script = format!("until [ -e '{}' ]; do sleep 0.05; done", gate.display());
    json!([{ "name": "exec", "parameters": { "exe": "sh", "args": ["-c", script] } }])
}

fn starts_of(heard: &common::Heard) -> Vec<String> {
    let updates = heard.updates.iter();
    updates
        .filter(|(_, update)| update["taskStatus"] == "active")
        .map(|(id, _)| id.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_task_is_claimed_and_waits_for_its_turn() {
    // Protects both sides of claiming ahead: the task is ours while another runs, nothing of it
    // begins before, and more than one is not taken from the others.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (gate, made) = (dir.path().join("gate"), dir.path().join("made"));
    let make = json!([{ "name": "make-directory", "parameters": { "path": made } }]);
    manager.change(|heard| {
        heard.tasks.push_back(task("first", until_there(&gate)));
        heard.tasks.push_back(task("second", make));
        heard.tasks.push_back(task("third", json!([])));
    });
    let worker = RunningWorker::start(&manager, &dir.path().join("data"));
    manager
        .until("the claim", |heard| (heard.tasks.len() == 1).then_some(()))
        .await;
    manager.change(|heard| assert_eq!(starts_of(heard), ["first"]));
    assert!(!made.exists());
    std::fs::write(&gate, b"").unwrap();
    for name in ["first", "second", "third"] {
        let end = manager.task_end(name).await;
        assert_eq!(end["taskStatus"], "completed", "{end}");
    }
    manager.change(|heard| {
        assert_eq!(starts_of(heard), ["first", "second", "third"]);
        assert_eq!(heard.sign_ons[0]["tablao"]["slots"], 3);
    });
    assert!(made.exists());
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_rendered_and_not_published() {
    // Protects one publication per frame: the Manager gave the claimed task to somebody else, so
    // its start is refused, and the frame that was rendered meanwhile gets no final name.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (gate, out) = (dir.path().join("gate"), dir.path().join("out"));
    let exe = fake_blender(dir.path());
    manager.change(|heard| {
        heard.tasks.push_back(task("first", until_there(&gate)));
        heard.tasks.push_back(task("taken", render(&exe, &out, 1)));
        heard.not_ours.insert("taken".to_owned());
    });
    let worker = RunningWorker::start(&manager, &dir.path().join("data"));
    manager
        .until("the claim", |heard| heard.tasks.is_empty().then_some(()))
        .await;
    std::fs::write(&gate, b"").unwrap();
    manager
        .until("the start that comes too late", |heard| {
            let mut updates = heard.updates.iter();
            updates.any(|(id, _)| id == "taken").then_some(())
        })
        .await;
    manager.change(|heard| {
        heard.tasks.push_back(task("next", render(&exe, &out, 2)));
    });
    let end = manager.task_end("next").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("next"));
    assert!(out.join("f_0002.bin").exists());
    assert!(!out.join("f_0001.bin").exists());
    assert!(manager.frames("taken").is_empty());
    assert!(!out.join(".tablao-staging").exists());
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_is_left_when_the_worker_is_to_sleep() {
    // Protects whoever wants the machine: the task that runs ends, the next does not begin.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    manager.change(|heard| heard.tasks.push_back(task("first", until_there(&gate))));
    let worker = RunningWorker::start(&manager, &dir.path().join("data"));
    manager
        .until("the start", |heard| {
            (!heard.updates.is_empty()).then_some(())
        })
        .await;
    manager.change(|heard| {
        heard.requested = Some("asleep".into());
        heard.tasks.push_back(task("second", json!([])));
    });
    std::fs::write(&gate, b"").unwrap();
    manager.task_end("first").await;
    manager
        .until("sleep", |heard| {
            (heard.statuses.last().map(String::as_str) == Some("asleep")).then_some(())
        })
        .await;
    manager.change(|heard| {
        assert_eq!(starts_of(heard), ["first"]);
        assert_eq!(heard.tasks.len(), 1);
    });
    worker.shut_down().await;
}
