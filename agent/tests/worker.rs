// SPDX-License-Identifier: GPL-3.0-or-later
//! The Worker's life against a Manager over real HTTP: registration, statuses, tasks, refusals.

mod common;

use common::{Manager, RunningWorker, task};
use serde_json::json;
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
    manager.until("a second sign-on", |heard| (heard.sign_ons.len() == 2).then_some(())).await;
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
