// SPDX-License-Identifier: GPL-3.0-or-later
//! Tasks as people look at them.

use serde_json::{Value, json};

use crate::{
    case::{Case, Reply, run},
    ground::Grounds,
    worker::UNKNOWN,
};

/// A task that a worker has, and another one that waits.
fn tasks(on: &Grounds) -> (String, String) {
    let ground = on.manager();
    let job = ground.keep("job", || ground.job("two tasks"));
    let running = ground.keep("running", || {
        let worker = ground.awake("hut");
        let task = ground.task(&worker);
        let call = ground.call("taskUpdate").by(&worker).at(&task);
        let update = json!({ "taskStatus": "active", "log": "first line\n" });
        assert_eq!(call.json(&update).send().code, 204);
        task
    });
    let listed = ground.call("fetchJobTasks").at(&job).send();
    let listed = listed.json()["tasks"].as_array().unwrap().clone();
    let waiting = listed
        .iter()
        .find(|task| task["id"] != running.as_str())
        .unwrap();
    (running, waiting["id"].as_str().unwrap().to_owned())
}

fn at(on: &Grounds, operation: &'static str, id: &str) -> Reply {
    on.manager().call(operation).at(id).send()
}

fn set_status(on: &Grounds, id: &str, body: &Value) -> Reply {
    on.manager().call("setTaskStatus").at(id).json(body).send()
}

/// Its log cannot be read: a file stands where the folder of it would be.
fn without_log(on: &Grounds) -> String {
    let (_, waiting) = tasks(on);
    let job = on.manager().kept.lock().unwrap()["job"].clone();
    let folder = on.manager().node.data.path("logs").join(job);
    std::fs::write(folder.join(&waiting), b"in the way").unwrap();
    waiting
}

const CANCEL: fn() -> Value = || json!({ "status": "canceled", "reason": "not needed" });

/// In the order in which they are run.
pub(crate) const CASES: &[Case] = &[
    ("fetchTask", 200, |on| {
        let (running, waiting) = tasks(on);
        let never_had = json!({ "id": "", "name": "", "address": "" });
        assert_eq!(at(on, "fetchTask", &waiting).json()["worker"], never_had);
        let reply = at(on, "fetchTask", &running);
        assert_eq!(reply.json()["worker"]["name"], "hut");
        reply
    }),
    ("fetchTask", 400, |on| at(on, "fetchTask", "seven")),
    ("fetchTask", 404, |on| at(on, "fetchTask", UNKNOWN)),
    ("fetchTaskLogTail", 200, |on| {
        let reply = at(on, "fetchTaskLogTail", &tasks(on).0);
        assert_eq!(reply.body, b"first line\n");
        reply
    }),
    ("fetchTaskLogTail", 204, |on| {
        at(on, "fetchTaskLogTail", &tasks(on).1)
    }),
    ("fetchTaskLogTail", 400, |on| {
        at(on, "fetchTaskLogTail", "seven")
    }),
    ("fetchTaskLogTail", 404, |on| {
        at(on, "fetchTaskLogTail", UNKNOWN)
    }),
    ("fetchTaskLogInfo", 200, |on| {
        let reply = at(on, "fetchTaskLogInfo", &tasks(on).0);
        assert_eq!(reply.json()["size"], 11);
        reply
    }),
    ("fetchTaskLogInfo", 204, |on| {
        at(on, "fetchTaskLogInfo", &tasks(on).1)
    }),
    ("fetchTaskLogInfo", 400, |on| {
        at(on, "fetchTaskLogInfo", "seven")
    }),
    ("fetchTaskLogInfo", 404, |on| {
        at(on, "fetchTaskLogInfo", UNKNOWN)
    }),
    ("fetchTaskLogTail", 500, |on| {
        at(on, "fetchTaskLogTail", &without_log(on))
    }),
    ("fetchTaskLogInfo", 500, |on| {
        at(on, "fetchTaskLogInfo", &without_log(on))
    }),
    ("setTaskStatus", 400, |on| {
        let body = json!({ "status": "forgotten", "reason": "" });
        set_status(on, &tasks(on).1, &body).saying("forgotten")
    }),
    ("setTaskStatus", 404, |on| {
        assert_eq!(
            set_status(on, "seven", &CANCEL()).code,
            404,
            "as Flamenco answers"
        );
        set_status(on, UNKNOWN, &CANCEL())
    }),
    ("setTaskStatus", 413, |on| {
        let call = on.manager().call("setTaskStatus").at(tasks(on).1);
        call.too_large().send()
    }),
    ("setTaskStatus", 204, |on| {
        set_status(on, &tasks(on).1, &CANCEL())
    }),
    ("setTaskStatus", 422, |on| {
        let body = json!({ "status": "active", "reason": "wishful" });
        set_status(on, &tasks(on).1, &body)
    }),
];

/// One task, its log, its status.
#[test]
fn task_operations() {
    run(CASES);
}
