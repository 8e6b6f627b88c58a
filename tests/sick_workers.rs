// SPDX-License-Identifier: GPL-3.0-or-later
//! Workers on sick machines, as real processes: an output that is mounted read-only, a clock that
//! is an hour off, no Blender, programs that die under every task.
//!
//! Each gives its work back with the right words before it costs the job anything; the job ends on
//! a healthy machine; and once the cause is gone the worker is well by itself, unless it failed
//! for a reason that nobody knows yet.
#![cfg(target_os = "linux")]

mod farm_support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use farm_support::http::{self, Connection};
use farm_support::process::{Place, Process, TABLAO};
use farm_support::{scene, until};
use serde_json::{Value, json};

fn get(place: &Place, path: &str) -> Option<Value> {
    let answer = http::get(&place.address, path).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn submit(place: &Place, submission: &Value) -> String {
    let mut connection = Connection::open(&place.address).expect("a connection");
    let answer = connection.json("POST", "/api/v3/jobs", submission);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn worker(place: &Place, name: &str) -> Option<Value> {
    let found = get(place, &format!("/api/farm/v1/workers?name={name}"))?;
    found["items"].as_array()?.first().cloned()
}

/// Waits until a worker is in quarantine and gives the reason.
fn in_quarantine(place: &Place, name: &str, cause: &str) -> String {
    until(&format!("the quarantine of {name}"), || {
        let quarantine = worker(place, name)?["quarantine"].clone();
        let is_so = quarantine["cause"] == cause;
        is_so.then(|| quarantine["reason"].as_str().expect("a reason").to_owned())
    })
}

fn is_well(place: &Place, name: &str) {
    until(&format!("{name} to be well"), || {
        (worker(place, name)?["quarantined"] == false).then_some(())
    });
}

fn completed(place: &Place, job: &str) {
    until("the end of the job", || {
        let shown = get(place, &format!("/api/farm/v1/jobs/{job}"))?;
        assert_ne!(shown["status"], "failed", "{shown}");
        (shown["status"] == "completed").then_some(())
    });
}

/// Every attempt of a job, with what came of it: name of the worker, outcome.
fn attempts(place: &Place, job: &str) -> Vec<(String, String)> {
    let tasks = get(place, &format!("/api/farm/v1/jobs/{job}/tasks")).expect("its tasks");
    let mut all = Vec::new();
    for task in tasks["items"].as_array().expect("a list") {
        assert_eq!(task["failed_by"], json!([]), "{task}");
        let id = task["id"].as_str().expect("an id");
        let found = get(place, &format!("/api/farm/v1/tasks/{id}/attempts")).expect("attempts");
        for attempt in found["items"].as_array().expect("a list") {
            let word = |pointer| attempt.pointer(pointer).and_then(Value::as_str);
            let worker = word("/worker/name").expect("a name").to_owned();
            all.push((worker, word("/outcome").unwrap_or("none").to_owned()));
        }
    }
    all
}

/// The command line of a worker that looks at itself every second while it is sick.
fn worker_command(place: &Place, program: &str, name: &str) -> Command {
    let mut command = Command::new(program);
    if program != TABLAO {
        command.arg(TABLAO);
    }
    command
        .args(["worker", "--recheck", "1", "--name", name, "--manager"])
        .arg(format!("http://{}", place.address))
        .arg("--data")
        .arg(place.folder.join(name));
    command
}

/// A worker in a mount namespace in which a folder cannot be written, until a file appears.
fn without_writing(place: &Place, output: &Path, mended: &Path) -> Process {
    let script = format!(
        "mount --bind {output} {output} && mount -o remount,bind,ro {output} || exit 9\n\
         (for turn in $(seq 3000); do [ -e {mended} ] && break; sleep 0.1; done; umount -l {output}) &\n\
         exec \"$@\"",
        output = output.display(),
        mended = mended.display(),
    );
    let inner = worker_command(place, TABLAO, "read-only");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    Process::start(&place.folder, "read-only", &mut command)
}

/// A worker whose clock is off by what a file says.
fn with_clock(place: &Place, offset: &Path) -> Process {
    let asked = Command::new("faketime")
        .args(["-m", "-f", "+0", "env"])
        .output();
    let asked = asked.expect("faketime is on PATH; run: make setup-test");
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    let library = (said.lines())
        .find_map(|line| line.strip_prefix("LD_PRELOAD="))
        .expect("faketime preloads its library")
        .trim()
        .to_owned();
    // Blender itself hangs under that library: only the Worker's clock is wrong.
    let real = which("blender");
    let script = format!("unset LD_PRELOAD\nexec {} \"$@\"", real.display());
    let programs = place.folder.join("late-programs");
    program(&programs, "blender", &script);
    let mut command = worker_command(place, TABLAO, "late");
    command
        .env("PATH", programs)
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", offset)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Process::start(&place.folder, "late", &mut command)
}

/// A worker whose search path is this folder and nothing else.
fn with_path(place: &Place, name: &str, folder: &Path) -> Process {
    let mut command = worker_command(place, TABLAO, name);
    command.env("PATH", folder);
    Process::start(&place.folder, name, &mut command)
}

/// A program of a worker's own.
fn program(folder: &Path, name: &str, script: &str) {
    fs::create_dir_all(folder).expect("a folder");
    let fresh = folder.join("fresh");
    fs::write(&fresh, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).expect("rights");
    fs::rename(fresh, folder.join(name)).expect("a name");
}

fn tablao(place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::new(TABLAO);
    command.args(arguments).current_dir(&place.folder);
    command.args(["--url", &format!("http://{}", place.address)]);
    command.output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where a command is on the search path.
fn which(command: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a search path");
    let found = std::env::split_paths(&path).map(|folder| folder.join(command));
    found
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{command} is not on PATH; run: make setup-test"))
}

/// Protects jobs from sick machines, and machines from staying away for longer than they are
/// sick: right words, nothing on the job's account, and back by itself.
#[test]
fn three_sick_machines_cost_a_job_nothing_and_come_back_by_themselves() {
    scene::require_programs();
    let may = Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status();
    if !may.is_ok_and(|status| status.success()) {
        println!("skipped: three_sick_machines (this system lets nobody have mounts of their own)");
        return;
    }
    let place = Place::new("");
    let [output, programs] = ["frames", "programs"].map(|name| place.folder.join(name));
    for folder in [&output, &programs] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let [offset, mended] = ["offset", "mended"].map(|name| place.folder.join(name));
    fs::write(&offset, "+1h\n").expect("a file");
    let mut manager = place.manager();
    let mut sick = [
        without_writing(&place, &output, &mended),
        with_clock(&place, &offset),
        with_path(&place, "bare", &programs),
    ];
    let job = submit(&place, &scene::submission(4, 1, &output));

    let words = in_quarantine(&place, "read-only", "self-check");
    assert!(
        words.contains("is mounted read-only on this machine"),
        "{words}"
    );
    assert!(words.contains(output.to_str().expect("UTF-8")), "{words}");
    let words = in_quarantine(&place, "late", "self-check");
    assert!(words.contains("its clock shows"), "{words}");
    assert!(
        words.contains("60 min ahead") || words.contains("59 min ahead"),
        "{words}"
    );
    let words = in_quarantine(&place, "bare", "self-check");
    assert!(
        words.contains("no command `blender` on the search path"),
        "{words}"
    );

    // Told on every side on which somebody looks.
    let listed = tablao(&place, &["workers", "list", "--quarantined", "--json"]);
    let listed: Value = serde_json::from_str(&text(&listed)).expect("JSON");
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(3),
        "{listed}"
    );
    let metrics = http::get(&place.address, "/metrics")
        .expect("an answer")
        .text();
    let gauge = metrics
        .lines()
        .find(|line| line.starts_with("tablao_workers_quarantined{"));
    assert!(gauge.is_some_and(|line| line.ends_with(" 3")), "{gauge:?}");
    let examined = tablao(&place, &["doctor", "--json"]);
    let found: Value = serde_json::from_str(&text(&examined)).expect("JSON");
    let clock = |check: &&Value| {
        let text = check["text"].as_str().unwrap_or_default();
        check["state"] == "failed" && text.starts_with("the clock of late")
    };
    assert!(
        found["checks"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|check| clock(&check)),
        "{found}"
    );
    assert_eq!(examined.status.code(), Some(1));

    let mut healthy = place.worker("healthy");
    completed(&place, &job);
    for (worker, outcome) in attempts(&place, &job) {
        let expected = if worker == "healthy" {
            "completed"
        } else {
            "returned"
        };
        assert_eq!(outcome, expected, "of {worker}");
    }
    assert!(healthy.stop().success());

    // The causes go, and the workers come back and do what they could not.
    fs::write(&offset, "+0\n").expect("a file");
    fs::write(&mended, "").expect("a file");
    symlink(which("blender"), programs.join("blender")).expect("a link");
    for name in ["read-only", "late", "bare"] {
        is_well(&place, name);
    }
    let again = place.folder.join("again");
    fs::create_dir_all(&again).expect("a folder");
    let job = submit(&place, &scene::submission(3, 1, &again));
    completed(&place, &job);
    // What one of them has claimed ahead another may start sooner, and that is no failure.
    let mut outcomes: Vec<String> = attempts(&place, &job)
        .into_iter()
        .map(|each| each.1)
        .collect();
    outcomes.retain(|outcome| outcome != "returned");
    assert_eq!(outcomes, ["completed"; 4], "three frames and their video");
    for process in &mut sick {
        assert!(process.stop().success());
    }
    assert!(manager.stop().success());
}

const VICTIMS: &str = "// SPDX-License-Identifier: GPL-3.0-or-later
const JOB_TYPE = { label: 'Victims', settings: [] };
function compileJob(job) {
  for (let number = 0; number < 3; number++) {
    const task = author.Task('victim-' + number, 'misc');
    task.addCommand(author.Command('exec', { exe: 'victim', args: [] }));
    job.addTask(task);
  }
}
";

fn victim(folder: &Path, script: &str) {
    program(folder, "victim", script);
}

/// Protects a farm from a machine on which everything dies for a reason that no check knows: it
/// is kept from work with its failures in words, across a restart, until a person releases it.
#[test]
fn a_machine_on_which_tasks_die_stays_away_until_somebody_releases_it() {
    let place = Place::new("");
    let scripts = place.data.join("scripts");
    fs::create_dir_all(&scripts).expect("a folder");
    fs::write(scripts.join("victims.js"), VICTIMS).expect("a file");
    let [good, bad] = ["good-programs", "bad-programs"].map(|name| place.folder.join(name));
    let go = place.folder.join("go");
    victim(
        &good,
        &format!("until [ -e {} ]; do /bin/sleep 0.05; done", go.display()),
    );
    victim(&bad, "kill -9 $$");
    let mut manager = place.manager();
    let mut first = with_path(&place, "good", &good);
    let submission = |name: &str| {
        json!({ "name": name, "type": "victims", "priority": 50,
            "submitter_platform": "linux", "settings": {} })
    };
    let one = submit(&place, &submission("one"));
    let other = submit(&place, &submission("other"));
    until("the good worker's task", || {
        (worker(&place, "good")?["task"]["status"] == "active").then_some(())
    });
    let mut second = with_path(&place, "bad", &bad);
    let words = in_quarantine(&place, "bad", "failures");
    assert!(
        words.contains("failed 3 tasks of 2 jobs one after another"),
        "{words}"
    );
    assert!(words.contains("signal 9"), "{words}");
    fs::write(&go, "").expect("a file");
    for job in [&one, &other] {
        completed(&place, job);
    }

    // Neither time, nor a restart of anybody, nor that its own checks find nothing brings it back.
    assert!(second.stop().success());
    manager.kill();
    manager = place.manager();
    second = with_path(&place, "bad", &bad);
    until("the worker", || {
        (worker(&place, "bad")?["status"] == "awake").then_some(())
    });
    assert_eq!(
        worker(&place, "bad").expect("it is known")["quarantine"]["cause"],
        "failures"
    );
    assert!(first.stop().success());
    victim(&bad, "exit 0");
    let last = submit(&place, &submission("last"));
    let released = tablao(&place, &["workers", "release", "bad", "a new power supply"]);
    assert!(released.status.success(), "{released:?}");
    completed(&place, &last);
    assert_eq!(
        worker(&place, "bad").expect("it is known")["quarantined"],
        false
    );

    // A person's word has the same weight, and takes back what runs.
    let kept = tablao(&place, &["workers", "quarantine", "bad", "its fan is loud"]);
    assert!(
        text(&kept).contains("in quarantine: its fan is loud"),
        "{kept:?}"
    );
    assert!(second.stop().success());
    assert!(manager.stop().success());
}
