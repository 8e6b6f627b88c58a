// SPDX-License-Identifier: GPL-3.0-or-later
//! What workers call. None of it may ever answer 5xx.

use serde_json::{Value, json};

use crate::{
    case::{Case, Reply, run},
    ground::{Call, Grounds, Worker, sign_on},
};

/// An id that nobody has.
pub(crate) const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

fn by(on: &Grounds, operation: &'static str) -> Reply {
    on.manager().call(operation).by(&hut(on)).send()
}

/// The area's worker, awake and without a task unless a case has changed that.
fn hut(on: &Grounds) -> Worker {
    let ground = on.manager();
    let id = ground.keep("hut", || ground.awake("hut").id);
    let secret = "5e".repeat(32);
    Worker { id, secret }
}

/// A worker that nobody knows.
fn stranger(call: Call<'_>) -> Reply {
    let id = UNKNOWN.to_owned();
    let secret = "5e".repeat(32);
    let reply = call.by(&Worker { id, secret }).send();
    assert!(reply.json().get("code").is_none(), "a message alone");
    reply
}

/// A task of the area's worker.
fn task(on: &Grounds) -> String {
    let ground = on.manager();
    ground.keep("task", || {
        ground.job("of the hut");
        ground.task(&hut(on))
    })
}

fn setstatus(on: &Grounds, status: &str, is_lazy: bool) {
    let call = on.manager().call("requestWorkerStatusChange");
    let body = json!({ "status": status, "is_lazy": is_lazy });
    assert_eq!(call.at(hut(on).id).json(&body).send().code, 204);
}

fn picture(on: &Grounds, kind: &str, bytes: &[u8]) -> Reply {
    let call = on.manager().call("taskOutputProduced").by(&hut(on));
    call.at(task(on)).body(kind, bytes).send()
}

fn update(on: &Grounds, task: &str, body: Value) -> Reply {
    let call = on.manager().call("taskUpdate").by(&hut(on));
    call.at(task).json(&body).send()
}

fn png() -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(16, 9)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    png.into_inner()
}

/// In the order in which they are run.
pub(crate) const CASES: &[Case] = &[
    ("registerWorker", 200, |on| {
        let body = json!({
            "name": "new", "secret": "ab", "platform": "Linux", "supported_task_types": ["misc"],
        });
        // Flamenco's worker sends empty credentials along.
        let call = on.manager().call("registerWorker");
        call.header("Authorization", "Basic Og==")
            .json(&body)
            .send()
    }),
    ("registerWorker", 400, |on| {
        on.manager().call("registerWorker").broken().send()
    }),
    ("registerWorker", 404, |on| {
        let body = json!({
            "name": "lost", "secret": "ab", "platform": "linux", "supported_task_types": [],
        });
        on.server()
            .call("registerWorker")
            .json(&body)
            .send()
            .saying("Manager")
    }),
    ("registerWorker", 413, |on| {
        on.manager().call("registerWorker").too_large().send()
    }),
    ("signOn", 200, |on| {
        let worker = on.manager().registered("extended");
        let mut body = sign_on("extended");
        body["tablao"] = json!({ "protocol": 1, "slots": 1, "held_attempts": [] });
        let ours = on.manager().call("signOn").by(&worker).json(&body).send();
        assert!(ours.json()["tablao"].is_object());
        let plain = on
            .manager()
            .call("signOn")
            .by(&worker)
            .json(&sign_on("plain"))
            .send();
        assert_eq!(plain.json(), &json!({ "status_requested": "awake" }));
        plain
    }),
    ("signOn", 400, |on| {
        on.manager().call("signOn").by(&hut(on)).broken().send()
    }),
    ("signOn", 403, |on| {
        stranger(on.manager().call("signOn").broken())
    }),
    ("signOn", 413, |on| {
        on.manager().call("signOn").by(&hut(on)).too_large().send()
    }),
    ("workerState", 204, |on| by(on, "workerState")),
    ("workerState", 403, |on| {
        stranger(on.manager().call("workerState"))
    }),
    ("scheduleTask", 204, |on| by(on, "scheduleTask")),
    ("scheduleTask", 403, |on| {
        stranger(on.manager().call("scheduleTask"))
    }),
    ("scheduleTask", 200, |on| {
        on.manager().job("first");
        let reply = by(on, "scheduleTask");
        assert_eq!(reply.json()["status"], "active");
        assert!(
            reply.json().get("tablao").is_none(),
            "only ours is told more"
        );
        let again = by(on, "scheduleTask");
        assert_eq!(
            again.json()["uuid"],
            reply.json()["uuid"],
            "a lost answer comes again"
        );
        let task = reply.json()["uuid"].as_str().unwrap().to_owned();
        on.manager().kept.lock().unwrap().insert("task", task);
        reply
    }),
    ("mayWorkerRun", 200, |on| {
        let may = |task: &str| {
            on.manager()
                .call("mayWorkerRun")
                .by(&hut(on))
                .at(task)
                .send()
        };
        assert_eq!(may(UNKNOWN).json()["mayKeepRunning"], false);
        let reply = may(&task(on));
        assert_eq!(
            reply.json(),
            &json!({ "mayKeepRunning": true, "reason": "", "statusChangeRequested": false })
        );
        reply
    }),
    ("mayWorkerRun", 400, |on| {
        on.manager()
            .call("mayWorkerRun")
            .by(&hut(on))
            .at("seven")
            .send()
    }),
    ("mayWorkerRun", 403, |on| {
        stranger(on.manager().call("mayWorkerRun").at(task(on)))
    }),
    ("taskOutputProduced", 202, |on| {
        picture(on, "image/png", &png())
    }),
    ("taskOutputProduced", 400, |on| {
        let call = on.manager().call("taskOutputProduced").by(&hut(on));
        call.at("seven").body("image/png", &png()).send()
    }),
    ("taskOutputProduced", 403, |on| {
        stranger(on.manager().call("taskOutputProduced").at(task(on)))
    }),
    ("taskOutputProduced", 404, |on| {
        let call = on.manager().call("taskOutputProduced").by(&hut(on));
        call.at(UNKNOWN).body("image/png", &png()).send()
    }),
    ("taskOutputProduced", 411, |on| {
        picture(on, "image/png", b"")
    }),
    ("taskOutputProduced", 413, |on| {
        picture(on, "image/png", &vec![0; (25 << 20) + 1]).saying("25 MiB")
    }),
    ("taskOutputProduced", 415, |on| {
        picture(on, "image/gif", b"GIF89a")
    }),
    ("taskOutputProduced", 429, |on| {
        // As fast as they can be sent, large ones that take a while to look at.
        let mut large = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(2000, 2000)
            .write_to(&mut large, image::ImageFormat::Png)
            .unwrap();
        let replies = (0..50).map(|_| picture(on, "image/png", large.get_ref()));
        let mut refused = replies.skip_while(|reply| reply.code == 202);
        refused
            .next()
            .expect("nobody looks at fifty pictures at once")
    }),
    ("taskUpdate", 204, |on| {
        update(
            on,
            &task(on),
            json!({ "taskStatus": "active", "activity": "on it", "log": "a" }),
        );
        update(
            on,
            &task(on),
            json!({ "taskStatus": "completed", "steps_completed": 1 }),
        )
    }),
    ("taskUpdate", 400, |on| {
        update(on, "seven", json!({}));
        update(on, &task(on), json!({ "taskStatus": "done" }));
        update(on, &task(on), json!({ "taskStatus": "soft-failed" })).saying("soft-failed")
    }),
    ("taskUpdate", 403, |on| {
        stranger(
            on.manager()
                .call("taskUpdate")
                .at(task(on))
                .json(&json!({})),
        )
    }),
    ("taskUpdate", 404, |on| {
        update(on, UNKNOWN, json!({ "activity": "lost" }))
    }),
    ("taskUpdate", 409, |on| {
        update(on, &task(on), json!({ "taskStatus": "active" }))
    }),
    ("taskUpdate", 413, |on| {
        let call = on.manager().call("taskUpdate").by(&hut(on));
        call.at(task(on)).too_large().send()
    }),
    ("workerState", 200, |on| {
        setstatus(on, "asleep", true);
        by(on, "workerState")
    }),
    ("scheduleTask", 423, |on| {
        // It comes before 409, whatever the worker is, so that a wish is always heard.
        let reply = by(on, "scheduleTask");
        assert_eq!(reply.json(), &json!({ "status_requested": "asleep" }));
        reply
    }),
    ("workerStateChanged", 204, |on| {
        let call = on.manager().call("workerStateChanged").by(&hut(on));
        call.json(&json!({ "status": "asleep" })).send()
    }),
    ("workerStateChanged", 400, |on| {
        let call = on.manager().call("workerStateChanged").by(&hut(on));
        call.json(&json!({ "status": "dreaming" }))
            .send()
            .saying("dreaming")
    }),
    ("workerStateChanged", 403, |on| {
        stranger(
            on.manager()
                .call("workerStateChanged")
                .json(&json!({ "status": "awake" })),
        )
    }),
    ("workerStateChanged", 413, |on| {
        on.manager()
            .call("workerStateChanged")
            .by(&hut(on))
            .too_large()
            .send()
    }),
    ("scheduleTask", 409, |on| {
        by(on, "scheduleTask").saying("awake")
    }),
    ("scheduleTask", 423, |on| {
        setstatus(on, "awake", false);
        by(on, "scheduleTask")
    }),
    ("signOff", 204, |on| by(on, "signOff")),
    ("signOff", 403, |on| {
        // Forgotten workers are strangers.
        let call = on.manager().call("deleteWorker").at(hut(on).id);
        assert_eq!(call.send().code, 204);
        by(on, "signOff")
    }),
];

/// A worker's whole life, and every way to be refused in it.
#[test]
fn worker_operations() {
    run(CASES);
}
