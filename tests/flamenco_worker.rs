// SPDX-License-Identifier: GPL-3.0-or-later
//! A worker with the habits of Flamenco's renders a real scene across a kill of the Manager.
//!
//! It is `tests/flamenco/worker.py`, with every wait ten times shorter. Nothing that it says may be
//! dropped, it must not register again, and what its log tells of becomes frames with thumbnails.
#![cfg(target_os = "linux")]

mod farm_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use farm_support::http::{self, Connection};
use farm_support::process::{Place, Process};
use farm_support::{scene, until};
use serde_json::{Value, json};

const FRAMES: u32 = 12;

fn start_worker(place: &Place) -> Process {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flamenco/worker.py");
    let mut command = Command::new("python3");
    command.arg(script).args(["--pace", "10", "--manager"]);
    command.arg(format!("http://{}", place.address));
    command.arg("--home").arg(place.folder.join("home"));
    Process::start(&place.folder, "worker", &mut command)
}

fn get(place: &Place, path: &str) -> Option<Value> {
    let answer = http::get(&place.address, path).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn pictures(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = (entries.map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "png"))
        .collect();
    paths.sort();
    paths
}

/// Protects studios that keep their workers: they go on across a restart of the Manager, and their
/// frames are seen as ours are.
#[test]
fn renders_across_a_killed_manager() {
    scene::require_programs();
    let place = Place::new("");
    let output = place.folder.join("frames");
    std::fs::create_dir_all(&output).expect("a folder");
    let mut manager = place.manager();
    let mut worker = start_worker(&place);
    let submission = scene::submission(FRAMES, 3, &output);
    let mut connection = Connection::open(&place.address).expect("a connection");
    let submitted = connection.json("POST", "/api/v3/jobs", &submission);
    assert_eq!(submitted.status, 200, "{}", submitted.text());
    let job = submitted.json()["id"].as_str().expect("an id").to_owned();

    until("the first frames", || {
        (pictures(&output).len() >= 4).then_some(())
    });
    manager.kill();
    until("an update that nobody took", || {
        worker.said().contains("queued ").then_some(())
    });
    manager = place.manager();

    until("the end of the job", || {
        assert!(worker.ended().is_none(), "the worker ended");
        let shown = get(&place, &format!("/api/v3/jobs/{job}"))?;
        assert_ne!(shown["status"], "failed", "{shown}");
        (shown["status"] == "completed").then_some(())
    });
    let path = format!("/api/farm/v1/frames?job={job}&limit=100");
    let frames = until("thumbnails of all frames", || {
        let frames = get(&place, &path)?["items"].as_array()?.clone();
        let all = frames.len() == FRAMES as usize;
        (all && frames.iter().all(|frame| frame["thumbnail"].is_string())).then_some(frames)
    });
    let files = pictures(&output);
    assert_eq!(files.len(), FRAMES as usize, "{files:?}");
    let mut numbers: Vec<i64> = Vec::new();
    for frame in &frames {
        numbers.push(frame["number"].as_i64().expect("a number"));
        let path = PathBuf::from(frame["path"].as_str().expect("a path"));
        let bytes = std::fs::read(&path).expect("the frame is where its record says");
        assert_eq!(frame["hash"], json!(blake3::hash(&bytes).to_string()));
        assert_eq!(frame["size"], json!(bytes.len()));
        let thumbnail = frame["thumbnail"].as_str().expect("a thumbnail");
        let thumbnail = http::get(&place.address, thumbnail).expect("an answer");
        assert!(image::load_from_memory(&thumbnail.body).is_ok(), "{frame}");
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=i64::from(FRAMES)).collect::<Vec<_>>());
    let last = get(&place, &format!("/api/v3/jobs/{job}/last-rendered"));
    assert!(last.is_some(), "the job has no last rendered picture");

    worker.stop();
    let said = worker.said();
    assert_eq!(said.matches("registered").count(), 1, "{said}");
    for unwanted in ["rejected", "dropped", "failed", "answered"] {
        assert!(!said.contains(unwanted), "{said}");
    }
    manager.stop();
}
