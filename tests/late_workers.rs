// SPDX-License-Identifier: GPL-3.0-or-later
//! Two Workers and one frame: the first hangs until its lease has lapsed, the second renders the
//! frame, the first wakes up. One publication, from the current attempt, and the story is told.
//!
//! The Workers are real processes, the first is suspended by a signal. The program that they take
//! for Blender writes who it renders for, so that the frame says whose it is.
#![cfg(target_os = "linux")]

mod farm_support;

use std::path::{Path, PathBuf};

use farm_support::http::{self, Connection};
use farm_support::process::{Place, Process};
use farm_support::until;
use serde_json::{Value, json};

const JOB_TYPE: &str = r#"// SPDX-License-Identifier: GPL-3.0-or-later
const JOB_TYPE = { label: "One frame", settings: [
  { key: "exe", type: "string", required: true },
  { key: "output", type: "string", required: true },
] };
function compileJob(job) {
  const task = author.Task("frame", "blender");
  const args = ["-o", job.settings.output, "-f", 1];
  const exe = job.settings.exe;
  task.addCommand(author.Command("blender-render", { exe, exeArgs: "-b", blendfile: "", args }, 1));
  job.addTask(task);
}
"#;

/// The first that is started waits for its gate and then suspends its Worker (whose number the
/// test has written down), or not; the second waits for another gate.
const PROGRAM: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "Blender 3.4.1"; exit 0; fi
while [ $# -gt 0 ]; do
  case $1 in -o) out=$2;; esac
  shift
done
place=$(dirname "$0")
if mkdir "$place/render-of-first" 2>/dev/null; then me=first
else me=second; mkdir "$place/render-of-second"; fi
until [ -e "$place/gate-of-$me" ]; do sleep 0.02; done
echo "$me" > "${out}0001.bin"
if [ $me = first ] && [ -e "$place/suspend" ]; then kill -STOP "$(cat "$place/suspend")"; fi
echo "Saved: '${out}0001.bin'"
echo " Time: 00:00.10 (Saving: 00:00.00)"
"#;

struct Farm {
    place: Place,
    _manager: Process,
    job: String,
    task: String,
    frames: PathBuf,
}

impl Farm {
    fn start() -> Self {
        let place = Place::new("[rules]\nlease_s = 3\n");
        let write = |path: PathBuf, text: &str| {
            std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        write(place.data.join("scripts/one_frame.js"), JOB_TYPE);
        let program = place.folder.join("fake-blender");
        write(program.clone(), PROGRAM);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("a mode");
        let manager = place.manager();
        let frames = place.folder.join("frames");
        let submission = json!({
            "name": "late", "type": "one-frame", "priority": 50, "submitter_platform": "linux",
            "settings": { "exe": program, "output": frames.join("f_") },
        });
        let mut connection = Connection::open(&place.address).expect("a connection");
        let submitted = connection.json("POST", "/api/v3/jobs", &submission);
        assert_eq!(submitted.status, 200, "{}", submitted.text());
        let job = submitted.json()["id"].as_str().expect("an id").to_owned();
        let tasks = items(&place, &format!("jobs/{job}/tasks"));
        let task = tasks[0]["id"].as_str().expect("an id").to_owned();
        Self {
            place,
            _manager: manager,
            job,
            task,
            frames,
        }
    }

    /// Lets a program that waits go on.
    fn open(&self, gate: &str) {
        std::fs::write(self.place.folder.join(gate), b"").expect("a gate");
    }

    fn is_there(&self, name: &str) -> bool {
        self.place.folder.join(name).exists()
    }

    fn attempts(&self) -> Vec<Value> {
        items(&self.place, &format!("tasks/{}/attempts", self.task))
    }

    fn until_completed(&self) {
        until("the job's end", || {
            let jobs = items(&self.place, "jobs");
            (jobs[0]["status"] == "completed").then_some(())
        });
    }

    fn until_attempt_lapsed(&self) -> String {
        until("the lapse of the first attempt", || {
            let attempts = self.attempts();
            let lapsed = attempts
                .iter()
                .find(|attempt| attempt["outcome"] == "lapsed")?;
            Some(lapsed["id"].as_str()?.to_owned())
        })
    }

    /// One publication, by the second worker, and a history that tells what happened.
    fn judge(&self) {
        let content = std::fs::read_to_string(self.frames.join("f_0001.bin"));
        assert_eq!(content.expect("the frame").trim(), "second");
        // The folder of staged files goes after the last attempt's in it.
        until("nothing but the frame to be there", || {
            let files = std::fs::read_dir(&self.frames).expect("the folder");
            (files.count() == 1).then_some(())
        });
        let frames = items(&self.place, &format!("frames?job={}", self.job));
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(frames[0]["worker"]["name"], "second", "{frames:?}");
        let published = items(&self.place, "events?limit=1000")
            .iter()
            .filter(|event| event["kind"] == "FramePublished")
            .count();
        assert_eq!(published, 1);
        let mut told: Vec<(String, String)> = (self.attempts().iter())
            .map(|attempt| {
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (word(&attempt["worker"]["name"]), word(&attempt["outcome"]))
            })
            .collect();
        told.sort();
        let story = [("first", "lapsed"), ("second", "completed")];
        assert_eq!(told, story.map(|(who, what)| (who.into(), what.into())));
    }
}

fn items(place: &Place, path: &str) -> Vec<Value> {
    let answer = http::get(&place.address, &format!("/api/farm/v1/{path}")).expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let list = answer.json();
    list["items"].as_array().cloned().unwrap_or_default()
}

fn signal(worker: &Process, signal: &str) {
    let arguments = [format!("-{signal}"), worker.id().to_string()];
    let sent = std::process::Command::new("kill").args(arguments).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

fn is_suspended(worker: &Process) -> bool {
    let path = format!("/proc/{}/stat", worker.id());
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .unwrap_or_default()
        .trim_start()
        .starts_with('T')
}

fn is_gone(folder: &Path) -> Option<()> {
    (!folder.exists()).then_some(())
}

/// Protects a frame from a Worker that hung while it rendered and wakes up when all is done.
#[test]
fn a_worker_that_hung_publishes_nothing_when_it_wakes_up() {
    let farm = Farm::start();
    let first = farm.place.worker("first");
    until("the render", || {
        farm.is_there("render-of-first").then_some(())
    });
    signal(&first, "STOP");
    let late = farm.until_attempt_lapsed();
    farm.open("gate-of-second");
    let _second = farm.place.worker("second");
    farm.until_completed();
    // The frame of the first is done now, too, and its Worker hears of it.
    farm.open("gate-of-first");
    signal(&first, "CONT");
    let staging = farm.frames.join(".tablao-staging");
    until("the end of the late attempt", || {
        is_gone(&staging.join(&late))
    });
    farm.judge();
}

/// Protects the moment that matters most: the late Worker has its frame and is about to publish
/// when it wakes up, and the frame of the current attempt is not there yet.
#[test]
fn a_worker_that_wakes_up_before_it_publishes_does_not() {
    let farm = Farm::start();
    let first = farm.place.worker("first");
    let suspend = farm.place.folder.join("suspend");
    std::fs::write(suspend, first.id().to_string()).expect("a file");
    farm.open("gate-of-first");
    until("the suspension", || is_suspended(&first).then_some(()));
    let late = farm.until_attempt_lapsed();
    let _second = farm.place.worker("second");
    until("the second render", || {
        farm.is_there("render-of-second").then_some(())
    });
    signal(&first, "CONT");
    let staging = farm.frames.join(".tablao-staging");
    until("the end of the late attempt", || {
        is_gone(&staging.join(&late))
    });
    assert!(!farm.frames.join("f_0001.bin").exists());
    farm.open("gate-of-second");
    farm.until_completed();
    farm.judge();
}
