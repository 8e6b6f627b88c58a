// SPDX-License-Identifier: GPL-3.0-or-later
//! A Worker on a machine that is not fit: what it says, what it keeps to itself, what it leaves
//! alone until it is well, and that its looks leave nothing behind.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};

/// A program with Blender's command line that renders one frame; `asked` is what it does when it
/// is asked for its version.
fn fake_blender(program: &Path, asked: &str) {
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then {asked}; fi\n\
         while [ $# -gt 0 ]; do\n  case $1 in -o) out=$2;; esac\n  shift\ndone\n\
         echo content > \"${{out}}0001.bin\"\n\
         echo \"Saved: '${{out}}0001.bin'\"\necho ' Time: 00:00.01 (Saving: 00:00.00)'\n"
    );
    let fresh = program.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&fresh, mode).unwrap();
    std::fs::rename(fresh, program).unwrap();
}

fn render(exe: &Path, out: &Path) -> Value {
    json!([{
        "name": "blender-render",
        "parameters": {
            "exe": exe, "exeArgs": "", "blendfile": "", "args": ["-o", out.join("f_"), "-f", 1],
        },
        "total_step_count": 1,
    }])
}

/// A Worker that looks at itself twenty times a second while it is sick.
fn worker(manager: &Manager, data: &Path) -> RunningWorker {
    RunningWorker::start_with(manager, data, |options| {
        options.health.recheck = Duration::from_millis(50);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_worker_says_so_and_takes_nothing_until_it_is_well() {
    // Protects a job from a machine without its program: the task that was claimed ahead is given
    // up without a word about it, none other is claimed meanwhile, and the task that runs goes on.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (gate, blender) = (dir.path().join("gate"), dir.path().join("blender"));
    let script = format!("until [ -e '{}' ]; do sleep 0.05; done", gate.display());
    let waits = json!([{ "name": "exec", "parameters": { "exe": "sh", "args": ["-c", script] } }]);
    manager.change(|heard| {
        heard.quarantines = true;
        heard.tasks.push_back(task("first", waits));
        let rendered = render(&blender, &dir.path().join("out"));
        heard.tasks.push_back(task("claimed", rendered));
        heard.tasks.push_back(task("later", json!([])));
    });
    let worker = worker(&manager, &dir.path().join("data"));
    let said = manager
        .until("a word about the machine", |heard| {
            heard.health.first().cloned()
        })
        .await;
    let found = &said["findings"][0];
    assert_eq!(
        (&said["job"], &found["kind"]),
        (&json!("job"), &json!("program"))
    );
    let words = format!("there is no program {}", blender.display());
    assert!(found["words"].as_str().unwrap().contains(&words), "{found}");
    std::fs::write(&gate, b"").unwrap();
    manager.task_end("first").await;
    manager.change(|heard| {
        let place = |of: &str| heard.story.iter().position(|word| word == of).unwrap();
        let meanwhile = &heard.story[place("sick")..place("first completed")];
        assert!(!meanwhile.contains(&"ask".to_owned()), "{:?}", heard.story);
        assert!(heard.updates.iter().all(|(id, _)| id != "claimed"));
    });

    fake_blender(&blender, "echo Blender; exit");
    manager
        .until("the end of the sickness", |heard| {
            heard.story.contains(&"well".to_owned()).then_some(())
        })
        .await;
    let rendered = render(&blender, &dir.path().join("out"));
    manager.change(|heard| heard.tasks.push_back(task("again", rendered)));
    let end = manager.task_end("again").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("again"));
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_forbids_is_no_sickness() {
    // Protects a Worker that its owner lets run only some programs: that it lacks the others is
    // as it should be.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let rendered = render(&dir.path().join("blender"), &dir.path().join("out"));
    manager.change(|heard| {
        heard.quarantines = true;
        heard.tasks.push_back(task("render", rendered));
    });
    let data = dir.path().join("data");
    let worker = RunningWorker::start_with(&manager, &data, |options| {
        options.allowed_programs = vec!["ffmpeg".to_owned()];
    });
    let end = manager.task_end("render").await;
    assert_eq!(end["tablao"]["failure"]["class"], "feature_missing");
    manager.change(|heard| assert!(heard.health.is_empty(), "{:?}", heard.health));
    worker.shut_down().await;
}

/// Whether a process runs.
fn runs(process: &str) -> bool {
    let path = PathBuf::from("/proc").join(process).join("stat");
    std::fs::read_to_string(path).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blender_that_hangs_goes_with_its_worker() {
    // Protects a machine from programs that nobody waits for any more: one that never says its
    // version holds up no render, and is ended when its Worker is killed.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (blender, asked) = (dir.path().join("blender"), dir.path().join("asked"));
    fake_blender(
        &blender,
        &format!(
            "echo $$ > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 1000",
            asked.display()
        ),
    );
    let rendered = render(&blender, &dir.path().join("out"));
    manager.change(|heard| heard.tasks.push_back(task("render", rendered)));
    let mut worker = Command::new(common::program())
        .arg("worker")
        .arg(&manager.url)
        .arg(dir.path().join("data"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let end = manager.task_end("render").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("render"));
    let waited = async {
        while !asked.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let process = std::fs::read_to_string(&asked).unwrap();
        worker.kill().unwrap();
        worker.wait().unwrap();
        while runs(process.trim()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Sooner than the looks themselves give up.
    tokio::time::timeout(Duration::from_secs(15), waited)
        .await
        .expect("what a killed worker had asked is left");
}
