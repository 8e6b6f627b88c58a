// SPDX-License-Identifier: GPL-3.0-or-later
//! Commands on files and logs, run by a real Worker: what they do, what they refuse, and that
//! running them again does no harm.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::path::Path;

use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};

fn command(name: &str, parameters: Value) -> Value {
    json!({ "name": name, "parameters": parameters, "total_step_count": 0 })
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_moved_numbered_published_and_removed() {
    // Protects results on shared storage: nothing is overwritten, what is in the way stays beside
    // it, and a task that is run again finds everything as it should be.
    let out = tempfile::tempdir().unwrap();
    let at = |name: &str| out.path().join(name);
    for folder in ["old", "new", "scratch/deep"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    std::fs::write(at("old/a.txt"), "old").unwrap();
    std::fs::write(at("new/a.txt"), "new").unwrap();
    std::fs::write(at("scratch/deep/x"), "x").unwrap();
    for number in ["0001", "0007"] {
        std::fs::write(at(&format!("src_{number}.bin")), number).unwrap();
    }
    std::fs::write(at("film.mkv"), "film").unwrap();
    let publish = command(
        "publish-files",
        json!({"src": at("src_####.bin"), "dest": at("published/f_####.bin"), "frames": "1,7"}),
    );
    let to_final = command(
        "move-to-final",
        json!({"src": at("new"), "dest": at("old")}),
    );
    let commands = json!([
        to_final.clone(),
        to_final,
        command("move-out-of-way", json!({"src": at("old")})),
        command("move-out-of-way", json!({"src": at("old")})),
        command(
            "move-with-counter",
            json!({"src": at("film.mkv"), "dest": at("films/film.mkv")})
        ),
        publish.clone(),
        publish,
        command(
            "create-python-file",
            json!({"path": at("code/run.py"), "contents": "print('ü')\n"})
        ),
        command("remove-file", json!({"path": at("src_0001.bin")})),
        command("remove-file", json!({"path": at("src_0001.bin")})),
        command("remove-tree", json!({"path": at("scratch")})),
        command("remove-tree", json!({"path": at("scratch")})),
    ]);
    let clash = json!([command(
        "publish-files",
        json!({"src": at("films/film_001.mkv"), "dest": at("published/f_0007.bin")}),
    )]);
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    manager.change(|heard| {
        heard.tasks.push_back(task("files", commands));
        heard.tasks.push_back(task("clash", clash));
    });
    let worker = RunningWorker::start(&manager, dir.path());
    let end = manager.task_end("files").await;
    let log = manager.log("files");
    assert_eq!(end["taskStatus"], "completed", "{log}");
    assert_eq!(manager.steps("files"), 12);

    let names = names_in(out.path());
    let backups: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with("old-"))
        .collect();
    // Both the older and the newer content are kept, each under a dated name.
    let mut contents: Vec<String> = backups
        .iter()
        .map(|name| std::fs::read_to_string(at(name).join("a.txt")).unwrap())
        .collect();
    contents.sort();
    assert_eq!(contents, ["new", "old"], "{names:?}");
    assert!(!names.contains(&"old".to_owned()) && !names.contains(&"scratch".to_owned()));
    assert_eq!(names_in(&at("films")), ["film_001.mkv"]);
    assert_eq!(names_in(&at("published")), ["f_0001.bin", "f_0007.bin"]);
    assert_eq!(std::fs::read(at("published/f_0007.bin")).unwrap(), b"0007");
    let written = std::fs::read_to_string(at("code/run.py")).unwrap();
    assert_eq!(written, "print('ü')\n");
    assert!(log.contains("print('ü')"), "what runs is told in the log");
    assert!(!at("src_0001.bin").exists() && at("src_0007.bin").exists());

    let end = manager.task_end("clash").await;
    assert_eq!(end["taskStatus"], "failed");
    let reason = end["activity"].as_str().unwrap();
    assert!(reason.contains("other content"), "{reason}");
    assert_eq!(std::fs::read(at("published/f_0007.bin")).unwrap(), b"0007");
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_make_no_sense_are_told() {
    // Protects authors of job types: which parameter of which command is wrong, and why; nothing
    // is done before it is known.
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("file.exr");
    std::fs::write(&file, b"no image").unwrap();
    let rows = [
        ("merge-exr", json!({"output": "/x.exr"}), "inputs"),
        (
            "merge-exr",
            json!({"inputs": [], "output": "/x.exr"}),
            "at least one",
        ),
        (
            "merge-exr",
            json!({"inputs": [{"path": "/a", "samples": 0}], "output": "/x.exr"}),
            "at least 1",
        ),
        (
            "merge-exr",
            json!({"inputs": [{"path": file, "samples": 3}], "output": out.path().join("x.exr")}),
            "cannot read",
        ),
        (
            "exr-to-jpeg",
            json!({"input": "/a_#.exr", "output": "/a.jpg", "frames": "1,2"}),
            "needs a #",
        ),
        (
            "exr-to-jpeg",
            json!({"input": "/a", "output": "/a_#.jpg"}),
            "frames",
        ),
        (
            "join-exr-tiles",
            json!({"tiles": [{"path": "/a", "x": -1, "y": 0}], "width": 4, "height": 4, "output": "/x"}),
            "pixel",
        ),
        (
            "remove-tree",
            json!({"path": "relative/folder"}),
            "absolute",
        ),
        ("remove-file", json!({"path": out.path()}), "folder"),
        (
            "create-python-file",
            json!({"path": "/x.sh", "contents": "x"}),
            ".py",
        ),
        (
            "concatenate-videos",
            json!({"inputFiles": [], "outputFile": "/x"}),
            "at least one",
        ),
        (
            "log-a-lot",
            json!({"message": "x", "lines": "many"}),
            "lines",
        ),
        ("no-such-command", json!({}), "merge-exr"),
    ];
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    manager.change(|heard| {
        for (number, (name, parameters, _)) in rows.iter().enumerate() {
            let commands = json!([command(name, parameters.clone())]);
            heard.tasks.push_back(task(&number.to_string(), commands));
        }
    });
    let worker = RunningWorker::start(&manager, dir.path());
    for (number, (name, _, words)) in rows.iter().enumerate() {
        let end = manager.task_end(&number.to_string()).await;
        assert_eq!(end["taskStatus"], "failed", "{name}");
        let reason = end["activity"].as_str().unwrap();
        assert!(reason.contains(words), "{name}: {reason}");
    }
    assert!(file.exists() && !out.path().join("x.exr").exists());
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lot_of_log_arrives_in_order() {
    // Protects the log of a talkative program: every line once, in its place.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let commands = json!([command(
        "log-a-lot",
        json!({"message": "tick", "lines": 5000})
    )]);
    manager.change(|heard| heard.tasks.push_back(task("talk", commands)));
    let worker = RunningWorker::start(&manager, dir.path());
    let end = manager.task_end("talk").await;
    assert_eq!(end["taskStatus"], "completed");
    let log = manager.log("talk");
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.ends_with(": tick"))
        .collect();
    assert_eq!(lines.len(), 5000);
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(index, line)| *line == format!("{}: tick", index + 1))
    );
    worker.shut_down().await;
}
