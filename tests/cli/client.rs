// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands that ask a farm: submission, lists, changes, and the exit codes of each.

use std::net::TcpListener;

use crate::harness::{Farm, run};

/// The whole way of a job as a person at a terminal goes it.
#[test]
fn a_submitted_job_is_followed_to_its_end() {
    let farm = Farm::start(1);
    let job = farm.submit(&["--wait", "--name", "first", "--meta", "project=film"]);

    let jobs = farm.run(&["jobs", "list", "--json"]).ended(0).json();
    assert_eq!(jobs["items"][0]["id"], *job, "{jobs}");
    assert_eq!(jobs["items"][0]["status"], "completed");
    let shown = farm.run(&["jobs", "show", &job, "--json"]).ended(0).json();
    assert_eq!(shown["name"], "first");
    assert_eq!(shown["project"], "film");
    assert_eq!(
        shown["settings"]["sleep_duration_seconds"], 0,
        "a number, as declared"
    );

    let tasks = farm.run(&["tasks", "list", &job, "--json"]).ended(0).json();
    let task = tasks["items"][0]["id"].as_str().unwrap();
    assert!(
        farm.run(&["tasks", "log", task])
            .ended(0)
            .out
            .contains("hello")
    );
    let task = farm.run(&["tasks", "show", task, "--json"]).ended(0).json();
    assert_eq!(task["job"], *job);
    assert!(task["commands"].is_array(), "{task}");

    farm.run(&["jobs", "wait", &job]).ended(0);
    let text = farm
        .run(&["jobs", "list", "--status", "completed"])
        .ended(0)
        .out;
    assert!(text.starts_with("ID") && text.contains(&job), "{text}");
    let none = farm
        .run(&["jobs", "list", "--status", "failed", "--json"])
        .ended(0)
        .json();
    assert_eq!(none["items"].as_array().map(Vec::len), Some(0), "{none}");
    farm.run(&["frames", "list", "--job", &job]).ended(0);
}

/// Each change reaches the farm and is told as what the job has become.
#[test]
fn jobs_are_paused_queued_canceled_and_deleted() {
    let farm = Farm::start(0);
    let job = farm.submit(&["--paused", "--priority", "20"]);
    let status = || {
        let shown = farm.run(&["jobs", "show", &job, "--json"]).ended(0).json();
        (
            shown["status"].as_str().unwrap().to_owned(),
            shown["priority"].clone(),
        )
    };
    assert_eq!(status(), ("paused".to_owned(), 20.into()));
    farm.run(&["jobs", "requeue", &job]).ended(0);
    assert_eq!(status().0, "queued");
    farm.run(&["jobs", "priority", &job, "70"]).ended(0);
    assert_eq!(status().1, 70);
    let told = farm
        .run(&["jobs", "cancel", &job, "--reason", "a test"])
        .ended(0);
    assert!(told.out.contains("canceled"), "{told:?}");
    farm.run(&["jobs", "wait", &job])
        .ended(1)
        .says(&["canceled"]);
    let task = farm.run(&["tasks", "list", &job, "--json"]).json()["items"][0].clone();
    let task = task["id"].as_str().unwrap();
    farm.run(&["tasks", "requeue", task]).ended(0);
    farm.run(&["tasks", "cancel", task]).ended(0);
    let told = farm.run(&["jobs", "delete", &job]).ended(0);
    assert!(told.out.contains("jobs restore"), "{told:?}");
    let marked = || {
        let shown = farm.run(&["jobs", "show", &job, "--json"]).ended(0).json();
        shown["delete_requested_at"].is_string()
    };
    assert!(marked());
    farm.run(&["jobs", "restore", &job]).ended(0);
    assert!(!marked());
    farm.run(&["jobs", "delete", &job, "--now"]).ended(0);
    farm.run(&["jobs", "show", &job]).ended(1);
    farm.run(&["jobs", "restore", &job]).ended(1);
}

/// A Worker that can be restarted ends with the code that it was started with, so that whoever
/// looks after it starts it again.
#[test]
fn a_worker_ends_with_its_restart_exit_code() {
    let farm = Farm::start(0);
    let folder = tempfile::tempdir().unwrap();
    let mut worker = crate::harness::tablao()
        .args(["worker", "--name", "phoenix", "--restart-exit-code", "47"])
        .args(["--manager", &farm.url, "--data"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::harness::wait_for("the worker to wake up", || {
        let list = ["workers", "list", "--status", "awake", "--json"];
        let workers = farm.run(&list).ended(0).json();
        (workers["items"][0]["name"] == "phoenix").then_some(())
    });
    farm.run(&["workers", "set-status", "phoenix", "restart"])
        .ended(0);
    let ended = crate::harness::wait_for("the worker to end", || worker.try_wait().unwrap());
    assert_eq!(ended.code(), Some(47));
    let shown = farm.run(&["workers", "show", "phoenix", "--json"]).json();
    assert_eq!(shown["status"], "offline");
}

/// A list longer than one page of the farm comes whole, and a limited one says that there is more.
#[test]
fn lists_are_read_page_by_page() {
    let farm = Farm::start(0);
    let mut jobs: Vec<String> = (0..3).map(|_| farm.submit(&["--paused"])).collect();
    let list = |more: &[&str]| {
        let listed = farm
            .run(&[&["jobs", "list", "--json"], more].concat())
            .ended(0)
            .json();
        let ids = listed["items"].as_array().unwrap().iter();
        let ids: Vec<String> = ids
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, listed["next"].is_string())
    };
    assert_eq!(list(&["--limit", "2"]), (jobs[..2].to_vec(), true));
    let (mut all, more) = list(&[]);
    all.sort();
    jobs.sort();
    assert_eq!((all, more), (jobs, false));
}

/// Workers are found by name, changed, and what they cannot do is refused with its own code.
#[test]
fn workers_are_shown_sent_to_sleep_and_tagged() {
    let farm = Farm::start(1);
    let name = crate::harness::wait_for("the worker to wake up", || {
        let workers = farm
            .run(&["workers", "list", "--status", "awake", "--json"])
            .ended(0)
            .json();
        workers["items"][0]["name"].as_str().map(str::to_owned)
    });
    farm.run(&["workers", "set-status", &name, "restart"])
        .ended(5)
        .says(&["restart"]);
    let tags = farm.run(&["workers", "tags", &name, "gpu"]).ended(1);
    tags.says(&["--create"]);
    let tagged = farm
        .run(&["workers", "tags", &name, "gpu", "--create", "--json"])
        .ended(0)
        .json();
    assert_eq!(tagged["tags"][0]["name"], "gpu");
    farm.run(&["workers", "set-status", &name, "asleep"])
        .ended(0);
    crate::harness::wait_for("the worker to sleep", || {
        let shown = farm
            .run(&["workers", "show", &name, "--json"])
            .ended(0)
            .json();
        (shown["status"] == "asleep").then_some(())
    });
    let managers = farm.run(&["managers", "list", "--json"]).ended(0).json();
    let manager = managers["items"][0]["id"].as_str().unwrap();
    farm.run(&["managers", "show", manager]).ended(0);
}

/// A person who mistypes learns what there is, and nothing is submitted.
#[test]
fn wrong_submissions_are_explained() {
    let farm = Farm::start(0);
    let submit = |more: &[&str]| farm.run(&[&["submit", "--type"], more].concat()).ended(2);
    submit(&["no-such-type"]).says(&["no-such-type", "echo-sleep-test", "simple-blender-render"]);
    submit(&["echo-sleep-test"]).says(&["message", "--set"]);
    submit(&["echo-sleep-test", "--set", "mesage=x"]).says(&["mesage", "message"]);
    submit(&[
        "echo-sleep-test",
        "--set",
        "message=x",
        "--set",
        "sleep_repeats=many",
    ])
    .says(&["sleep_repeats=many", "whole number"]);
    submit(&["simple-blender-render", "no-such-file.blend"]).says(&["no-such-file.blend"]);
    let jobs = farm.run(&["jobs", "list", "--json"]).ended(0).json();
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(0), "{jobs}");
}

/// A path that JSON cannot name must be refused in words, not sent as another path.
#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_not_utf8_are_refused() {
    use std::os::unix::ffi::OsStringExt as _;

    let farm = Farm::start(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join(std::ffi::OsString::from_vec(b"shot\xff.blend".to_vec()));
    std::fs::write(&path, b"").unwrap();
    let mut command = farm.command();
    command
        .args(["submit", "--type", "simple-blender-render"])
        .arg(&path);
    crate::harness::Run::of(&mut command)
        .ended(2)
        .says(&["not UTF-8"]);
}

/// A job that fails must end the command with 1 and say why, with what its task said.
#[test]
fn waiting_for_a_failing_job_tells_why() {
    let farm = Farm::start_with(1, |data| {
        let scripts = data.join("scripts");
        std::fs::create_dir_all(&scripts).unwrap();
        let script = r#"
            const JOB_TYPE = { label: "Copy nothing", settings: [] };
            function compileJob(job) {
                const task = author.Task("copy", "file-management");
                task.addCommand(author.Command("copy-file", { src: "/no/such/file", dest: "/no/such/copy" }));
                job.addTask(task);
            }"#;
        std::fs::write(scripts.join("copy_nothing.js"), script).unwrap();
    });
    let failed = farm
        .run(&["submit", "--type", "copy-nothing", "--wait"])
        .ended(1);
    let job = failed.out.trim().to_owned();
    assert_eq!(job.len(), 36, "the id is printed: {failed:?}");
    failed.says(&[&job, "failed", "task copy", "/no/such/file"]);
}

/// Nobody answers: the code says so, and the words say what to try.
#[test]
fn an_unreachable_farm_ends_with_4() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for command in [
        &["jobs", "list"][..],
        &["submit", "--type", "echo-sleep-test"],
    ] {
        let ended = run(&[command, &["--url", &url]].concat()).ended(4);
        ended.says(&[&url, "tablao up", "TABLAO_URL"]);
    }
}

/// An id that nothing has is a failure, not a refusal and not wrong usage.
#[test]
fn unknown_ids_end_with_1() {
    let farm = Farm::start(0);
    let id = "00000000-0000-4000-8000-000000000000";
    for command in [
        ["jobs", "show", id],
        ["jobs", "cancel", id],
        ["jobs", "wait", id],
        ["tasks", "list", id],
        ["tasks", "log", id],
        ["tasks", "requeue", id],
        ["workers", "show", id],
        ["workers", "show", "nobody"],
        ["managers", "show", id],
    ] {
        farm.run(&command).ended(1);
    }
}
