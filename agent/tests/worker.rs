// SPDX-License-Identifier: GPL-3.0-or-later
//! The Worker's life against a Manager over real HTTP: registration, statuses, tasks, refusals.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};
use tablao_agent::ExitReason;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_registers_once_and_runs_tasks_one_after_the_other() {
    // Protects the plain path: one registration for all runs, tasks in order, log and steps told.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    manager.change(|heard| {
        heard.tasks.push_back(task(
            "t1",
            json!([
                { "name": "echo", "parameters": { "message": "привет" } },
                { "name": "exec", "parameters": { "exe": "sh", "args": ["-c", "echo out; echo err >&2"] } },
            ]),
        ));
        heard.tasks.push_back(task("t2", json!([])));
    });
    let worker = RunningWorker::start(&manager, dir.path());
    let end = manager.task_end("t1").await;
    assert_eq!(end["taskStatus"], "completed");
    manager.task_end("t2").await;
    let log = manager.log("t1");
    assert!(log.contains("echo: \"привет\"\n"), "{log}");
    assert!(log.contains("> out\n") && log.contains("> err\n"), "{log}");
    assert_eq!(manager.steps("t1"), 2);
    assert_eq!(worker.shut_down().await, ExitReason::Shutdown);

    let worker = RunningWorker::start(&manager, dir.path());
    manager
        .until("a second sign-on", |heard| {
            (heard.sign_ons.len() == 2).then_some(())
        })
        .await;
    worker.shut_down().await;
    manager.change(|heard| {
        assert_eq!(heard.registrations.len(), 1);
        assert_eq!(heard.sign_offs, 2);
        assert_eq!(heard.statuses[0], "awake");
        assert_eq!(heard.prefer.as_deref(), Some("wait=30"));
        assert_eq!(heard.updates[0].1["taskStatus"], "active");
        assert_eq!(heard.updates[0].1["tablao"]["attempt"], "attempt-t1");
    });
}

fn exec(script: &str) -> Value {
    json!([{ "name": "exec", "parameters": { "exe": "sh", "args": ["-c", script] } }])
}

async fn started() -> (Manager, tempfile::TempDir, RunningWorker) {
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let worker = RunningWorker::start(&manager, dir.path());
    manager
        .until("the first ask", |heard| (heard.asks > 0).then_some(()))
        .await;
    (manager, dir, worker)
}

/// Waits until the log of a task has some text, and tells what it has.
async fn log_with(manager: &Manager, task: &str, text: &str) {
    manager
        .until(&format!("`{text}` in the log of {task}"), |heard| {
            let updates = heard.updates.iter();
            let mut logs = updates
                .filter(|(id, _)| id == task)
                .filter_map(|(_, update)| update["log"].as_str());
            logs.any(|log| log.contains(text)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_command_fails_with_what_to_do() {
    // Protects authors of job types: class and words for each kind of mistake.
    let (manager, _dir, worker) = started().await;
    let cases = [
        (
            "unknown",
            json!([{ "name": "explode" }]),
            "bad_command",
            "blender-render, concatenate-videos",
        ),
        (
            "missing",
            json!([{ "name": "exec", "parameters": {} }]),
            "bad_command",
            "`exe` is missing",
        ),
        (
            "invalid",
            json!([{ "name": "sleep", "parameters": { "duration_in_seconds": -47 } }]),
            "bad_command",
            "negative",
        ),
        ("exit", exec("exit 7"), "process", "exit code 7"),
        ("signal", exec("kill -KILL $$"), "signal", "signal 9"),
        (
            "split",
            json!([{ "name": "blender-render", "parameters": {
                "exe": "blender", "exeArgs": "it's", "blendfile": "" } }]),
            "bad_command",
            "exeArgs",
        ),
        (
            "blendfile",
            json!([{ "name": "blender-render", "parameters": { "exe": "blender" } }]),
            "bad_command",
            "`blendfile` is missing",
        ),
        (
            "copy",
            json!([{ "name": "copy-file", "parameters": { "src": "relative", "dest": "/x" } }]),
            "bad_command",
            "absolute",
        ),
    ];
    for (id, commands, class, words) in cases {
        manager.change(|heard| heard.tasks.push_back(task(id, commands)));
        let end = manager.task_end(id).await;
        assert_eq!(end["taskStatus"], "failed", "{id}");
        assert_eq!(end["tablao"]["failure"]["class"], class, "{id}: {end}");
        let activity = end["activity"].as_str().unwrap();
        assert!(
            activity.starts_with("Failed: ") && activity.contains(words),
            "{activity}"
        );
        assert!(manager.log(id).contains(activity), "{id}");
    }
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_commands_do_not_run_after_a_failed_one() {
    // Protects file management after a render: nothing is moved when the render failed.
    let (manager, dir, worker) = started().await;
    let made = dir.path().join("made");
    let mut commands = exec("exit 1");
    commands.as_array_mut().unwrap().push(json!({
        "name": "make-directory", "parameters": { "path": made }
    }));
    manager.change(|heard| heard.tasks.push_back(task("t", commands)));
    manager.task_end("t").await;
    assert!(!made.exists());
    assert_eq!(manager.steps("t"), 0);
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_managed_without_losing_any() {
    // Protects renders in the way of a move: they are renamed with a date, and numbered.
    let (manager, dir, worker) = started().await;
    let path = |name: &str| dir.path().join("files").join(name);
    for round in 1..=3 {
        let commands = json!([
            { "name": "make-directory", "parameters": { "path": path("src") } },
            { "name": "exec", "parameters": { "exe": "touch", "args": [
                "-d", "2020-01-01 00:00:00", path("src/a"), path("src") ] } },
            { "name": "move-directory", "parameters": { "src": path("src"), "dest": path("dest") } },
        ]);
        let id = format!("move-{round}");
        manager.change(|heard| heard.tasks.push_back(task(&id, commands)));
        let end = manager.task_end(&id).await;
        assert_eq!(end["taskStatus"], "completed", "{}", manager.log(&id));
        assert!(manager.log(&id).contains("move-directory: moving"));
    }
    let mut names: Vec<String> = std::fs::read_dir(dir.path().join("files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "dest",
            "dest-2020-01-01_000000",
            "dest-2020-01-01_000000-001"
        ]
    );
    assert!(path("dest/a").exists());

    let missing = json!([{ "name": "move-directory", "parameters": {
        "src": path("nothing"), "dest": path("x") } }]);
    manager.change(|heard| heard.tasks.push_back(task("missing", missing)));
    let end = manager.task_end("missing").await;
    assert!(
        end["activity"]
            .as_str()
            .unwrap()
            .contains("`src` is invalid"),
        "{end}"
    );
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_line_comes_soon_and_a_huge_one_comes_whole() {
    // Protects watching a long render, and the Worker from a program that prints without breaks.
    let (manager, _dir, worker) = started().await;
    let script = "echo hello; head -c 1048576 /dev/zero | tr '\\0' x; echo; \
                  printf '\\377bad\\n'; sleep 600";
    manager.change(|heard| heard.tasks.push_back(task("t", exec(script))));
    // The program still runs when its lines arrive.
    log_with(&manager, "t", "> hello").await;
    log_with(&manager, "t", "> \u{FFFD}bad").await;
    let log = manager.log("t");
    assert_eq!(
        log.matches('x').count(),
        1_048_576 + script.matches('x').count()
    );
    assert!(log.lines().all(|line| line.len() < 50_000));
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immediate_status_change_stops_the_task() {
    // Protects "sleep now": the task's processes end, the status is told, waking works again.
    let (manager, _dir, worker) = started().await;
    manager.change(|heard| {
        heard
            .tasks
            .push_back(task("t", exec("echo begun; sleep 600")));
    });
    log_with(&manager, "t", "> begun").await;
    manager.change(|heard| {
        heard.stop_running = Some(("status change requested".into(), true));
        heard.requested = Some("asleep".into());
    });
    manager
        .until("asleep", |heard| {
            (heard.statuses.last().map(String::as_str) == Some("asleep")).then_some(())
        })
        .await;
    assert!(manager.log("t").contains("tablao: stopped"));
    manager.change(|heard| {
        heard.stop_running = None;
        heard.requested = Some("awake".into());
        heard.tasks.push_back(task("next", json!([])));
    });
    manager.task_end("next").await;
    // An offline request ends the Worker in good order.
    manager.change(|heard| heard.requested = Some("offline".into()));
    assert_eq!(worker.end().await, ExitReason::Offline);
    manager.change(|heard| assert_eq!(heard.sign_offs, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_status_change_waits_for_the_task() {
    // Protects a render that may finish: the change comes with the next ask only.
    let (manager, dir, worker) = started().await;
    let gate = dir.path().join("gate");
    let script = format!(
        "echo begun; until [ -e {} ]; do sleep 0.1; done",
        gate.display()
    );
    manager.change(|heard| {
        heard.tasks.push_back(task("t", exec(&script)));
    });
    log_with(&manager, "t", "> begun").await;
    manager.change(|heard| heard.requested = Some("restart".into()));
    std::fs::write(&gate, b"").unwrap();
    assert_eq!(manager.task_end("t").await["taskStatus"], "completed");
    assert_eq!(worker.end().await, ExitReason::Restart);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_given_away_is_stopped_and_not_spoken_of_again() {
    // Protects the new owner of a task: 409 ends ours, its reports are dropped, work goes on.
    let (manager, _dir, worker) = started().await;
    manager.change(|heard| {
        let script = "echo begun; while true; do echo more; sleep 0.2; done";
        heard.tasks.push_back(task("t", exec(script)));
    });
    log_with(&manager, "t", "> begun").await;
    let asks = manager.change(|heard| {
        heard.update_code = 409;
        heard.asks
    });
    manager
        .until("the next ask", |heard| (heard.asks > asks).then_some(()))
        .await;
    manager.change(|heard| {
        heard.update_code = 0;
        heard.tasks.push_back(task("next", json!([])));
    });
    manager.task_end("next").await;
    let ended = manager.change(|heard| {
        let updates = heard.updates.iter();
        updates
            .filter(|(id, update)| id == "t" && update["taskStatus"] != "active")
            .any(|(_, update)| update["taskStatus"].is_string())
    });
    assert!(!ended, "a task that was given away was reported as ended");
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_the_manager_never_takes_does_not_hold_up_the_farm() {
    // Protects the rest of the work from one poisoned report; it is kept aside for people.
    let (manager, dir, worker) = started().await;
    manager.change(|heard| {
        heard.update_code = 400;
        heard.tasks.push_back(task("bad", json!([])));
    });
    let refused = dir.path().join("outbox.refused.jsonl");
    manager
        .until("the report set aside", |_| refused.exists().then_some(()))
        .await;
    manager.change(|heard| {
        heard.update_code = 0;
        heard.tasks.push_back(task("good", json!([])));
    });
    manager.task_end("good").await;
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_managers_own_word_makes_a_worker_register_anew() {
    // Protects the identity from a proxy's error page, and lets a forgotten worker come back.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let worker = RunningWorker::start(&manager, dir.path());
    manager
        .until("work", |heard| (heard.asks > 0).then_some(()))
        .await;
    worker.shut_down().await;

    manager.change(|heard| {
        heard.as_proxy = true;
        heard.sign_on_codes.extend([403, 502, 500]);
    });
    let worker = RunningWorker::start(&manager, dir.path());
    manager
        .until("sign-on", |heard| (heard.sign_ons.len() >= 5).then_some(()))
        .await;
    worker.shut_down().await;
    manager.change(|heard| {
        assert_eq!(heard.registrations.len(), 1);
        heard.as_proxy = false;
        heard.sign_on_codes.push_back(403);
    });
    let worker = RunningWorker::start(&manager, dir.path());
    manager
        .until("registration", |heard| {
            (heard.registrations.len() == 2).then_some(())
        })
        .await;
    manager
        .until("sign-on", |heard| (heard.sign_ons.len() >= 7).then_some(()))
        .await;
    worker.shut_down().await;
    let identity = std::fs::read_to_string(dir.path().join("worker.json")).unwrap();
    assert!(identity.contains("worker-2"), "{identity}");
}
