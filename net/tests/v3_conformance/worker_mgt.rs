// SPDX-License-Identifier: GPL-3.0-or-later
//! Workers and tags as people manage them.

use serde_json::{Value, json};

use crate::{
    case::{Case, Reply, run},
    ground::Grounds,
    worker::UNKNOWN,
};

/// A worker that has signed on.
fn hut(on: &Grounds) -> String {
    let ground = on.manager();
    ground.keep("hut", || ground.awake("hut").id)
}

fn tag(on: &Grounds) -> String {
    let ground = on.manager();
    ground.keep("tag", || {
        let body = json!({ "name": "gpu", "description": "with a fast one" });
        let reply = ground.call("createWorkerTag").json(&body).send();
        reply.json()["id"].as_str().unwrap().to_owned()
    })
}

fn at(on: &Grounds, operation: &'static str, id: &str) -> Reply {
    on.manager().call(operation).at(id).send()
}

fn change(on: &Grounds, operation: &'static str, id: &str, body: &Value) -> Reply {
    on.manager().call(operation).at(id).json(body).send()
}

fn too_large(on: &Grounds, operation: &'static str) -> Reply {
    on.manager().call(operation).at(UNKNOWN).too_large().send()
}

fn at_the_server(on: &Grounds, operation: &'static str, body: &Value) -> Reply {
    let call = on.server().call(operation).at(UNKNOWN).json(body);
    call.send().saying("Manager")
}

const NIGHT: fn() -> Value = || {
    json!({
        "is_active": false, "days_of_week": "mo fr", "start_time": "18:30", "end_time": "08:00",
    })
};

/// In the order in which they are run.
pub(crate) const CASES: &[Case] = &[
    ("fetchWorkers", 200, |on| {
        let none = on.manager().call("fetchWorkers").send();
        assert_eq!(none.json(), &json!({ "workers": [] }));
        hut(on);
        on.manager().registered("never signed on");
        on.manager().call("fetchWorkers").send()
    }),
    ("fetchWorkerTags", 200, |on| {
        let none = on.manager().call("fetchWorkerTags").send();
        assert_eq!(none.json(), &json!({ "tags": [] }));
        tag(on);
        on.manager().call("fetchWorkerTags").send()
    }),
    ("createWorkerTag", 200, |on| {
        let body = json!({ "name": "cpu" });
        let reply = on.manager().call("createWorkerTag").json(&body).send();
        assert!(
            reply.json().get("description").is_none(),
            "left out, not empty"
        );
        reply
    }),
    ("createWorkerTag", 400, |on| {
        on.manager()
            .call("createWorkerTag")
            .json(&json!({}))
            .send()
            .saying("name")
    }),
    ("createWorkerTag", 409, |on| {
        let same_id = json!({ "id": tag(on), "name": "other" });
        assert_eq!(
            on.manager()
                .call("createWorkerTag")
                .json(&same_id)
                .send()
                .code,
            409
        );
        let same_name = json!({ "name": "gpu" });
        on.manager()
            .call("createWorkerTag")
            .json(&same_name)
            .send()
            .saying("gpu")
    }),
    ("createWorkerTag", 413, |on| {
        on.manager().call("createWorkerTag").too_large().send()
    }),
    ("createWorkerTag", 501, |on| {
        let body = json!({ "name": "gpu" });
        on.server().call("createWorkerTag").json(&body).send()
    }),
    ("fetchWorkerTag", 200, |on| {
        at(on, "fetchWorkerTag", &tag(on))
    }),
    ("fetchWorkerTag", 400, |on| {
        at(on, "fetchWorkerTag", "seven").saying("UUID")
    }),
    ("fetchWorkerTag", 404, |on| {
        at(on, "fetchWorkerTag", UNKNOWN)
    }),
    ("updateWorkerTag", 204, |on| {
        let reply = change(on, "updateWorkerTag", &tag(on), &json!({ "name": "fast" }));
        let shown = at(on, "fetchWorkerTag", &tag(on));
        assert_eq!(shown.json()["description"], "with a fast one", "it stays");
        reply
    }),
    ("updateWorkerTag", 400, |on| {
        change(on, "updateWorkerTag", "seven", &json!({ "name": "x" }))
    }),
    ("updateWorkerTag", 404, |on| {
        change(on, "updateWorkerTag", UNKNOWN, &json!({ "name": "x" }))
    }),
    ("updateWorkerTag", 409, |on| {
        change(on, "updateWorkerTag", &tag(on), &json!({ "name": "cpu" })).saying("cpu")
    }),
    ("updateWorkerTag", 413, |on| {
        too_large(on, "updateWorkerTag")
    }),
    ("updateWorkerTag", 501, |on| {
        at_the_server(on, "updateWorkerTag", &json!({ "name": "x" }))
    }),
    ("setWorkerTags", 204, |on| {
        change(
            on,
            "setWorkerTags",
            &hut(on),
            &json!({ "tag_ids": [tag(on), UNKNOWN] }),
        )
    }),
    ("setWorkerTags", 400, |on| {
        change(on, "setWorkerTags", "seven", &json!({ "tag_ids": [] }))
    }),
    ("setWorkerTags", 404, |on| {
        change(on, "setWorkerTags", UNKNOWN, &json!({ "tag_ids": [] }))
    }),
    ("setWorkerTags", 413, |on| too_large(on, "setWorkerTags")),
    ("setWorkerTags", 501, |on| {
        at_the_server(on, "setWorkerTags", &json!({ "tag_ids": [] }))
    }),
    ("requestWorkerStatusChange", 204, |on| {
        let body = json!({ "status": "asleep", "is_lazy": true });
        change(on, "requestWorkerStatusChange", &hut(on), &body)
    }),
    ("requestWorkerStatusChange", 400, |on| {
        let body = json!({ "status": "dreaming", "is_lazy": true });
        change(on, "requestWorkerStatusChange", &hut(on), &body).saying("dreaming")
    }),
    ("requestWorkerStatusChange", 404, |on| {
        let body = json!({ "status": "asleep", "is_lazy": true });
        change(on, "requestWorkerStatusChange", UNKNOWN, &body)
    }),
    ("requestWorkerStatusChange", 412, |on| {
        let body = json!({ "status": "restart", "is_lazy": true });
        change(on, "requestWorkerStatusChange", &hut(on), &body)
    }),
    ("requestWorkerStatusChange", 413, |on| {
        too_large(on, "requestWorkerStatusChange")
    }),
    ("requestWorkerStatusChange", 501, |on| {
        let body = json!({ "status": "asleep", "is_lazy": true });
        at_the_server(on, "requestWorkerStatusChange", &body)
    }),
    ("fetchWorker", 200, |on| {
        let busy = on.manager().awake("busy");
        on.manager().job("its own");
        on.manager().task(&busy);
        let shown = at(on, "fetchWorker", &busy.id);
        assert_eq!(shown.json()["task"]["status"], "active");
        let reply = at(on, "fetchWorker", &hut(on));
        assert_eq!(reply.json()["tags"][0]["name"], "fast");
        assert_eq!(reply.json()["status_change"]["is_lazy"], true);
        reply
    }),
    ("fetchWorker", 400, |on| at(on, "fetchWorker", "seven")),
    ("fetchWorker", 404, |on| at(on, "fetchWorker", UNKNOWN)),
    ("fetchWorkerSleepSchedule", 204, |on| {
        at(on, "fetchWorkerSleepSchedule", &hut(on))
    }),
    ("setWorkerSleepSchedule", 204, |on| {
        change(on, "setWorkerSleepSchedule", &hut(on), &NIGHT())
    }),
    ("setWorkerSleepSchedule", 400, |on| {
        let mut body = NIGHT();
        body["start_time"] = json!("half past six");
        change(on, "setWorkerSleepSchedule", &hut(on), &body).saying("half past six")
    }),
    ("setWorkerSleepSchedule", 404, |on| {
        change(on, "setWorkerSleepSchedule", UNKNOWN, &NIGHT())
    }),
    ("setWorkerSleepSchedule", 413, |on| {
        too_large(on, "setWorkerSleepSchedule")
    }),
    ("setWorkerSleepSchedule", 501, |on| {
        at_the_server(on, "setWorkerSleepSchedule", &NIGHT())
    }),
    ("fetchWorkerSleepSchedule", 200, |on| {
        let reply = at(on, "fetchWorkerSleepSchedule", &hut(on));
        assert_eq!(reply.json(), &NIGHT());
        reply
    }),
    ("fetchWorkerSleepSchedule", 400, |on| {
        at(on, "fetchWorkerSleepSchedule", "seven")
    }),
    ("fetchWorkerSleepSchedule", 404, |on| {
        at(on, "fetchWorkerSleepSchedule", UNKNOWN)
    }),
    ("deleteWorkerTag", 204, |on| {
        let reply = at(on, "deleteWorkerTag", &tag(on));
        let shown = at(on, "fetchWorker", &hut(on));
        assert!(shown.json().get("tags").is_none(), "nobody has it any more");
        reply
    }),
    ("deleteWorkerTag", 400, |on| {
        at(on, "deleteWorkerTag", "seven")
    }),
    ("deleteWorkerTag", 404, |on| {
        at(on, "deleteWorkerTag", &tag(on))
    }),
    ("deleteWorkerTag", 501, |on| {
        at_the_server(on, "deleteWorkerTag", &Value::Null)
    }),
    ("deleteWorker", 204, |on| at(on, "deleteWorker", &hut(on))),
    ("deleteWorker", 400, |on| at(on, "deleteWorker", "seven")),
    ("deleteWorker", 404, |on| at(on, "deleteWorker", &hut(on))),
    ("deleteWorker", 501, |on| {
        at_the_server(on, "deleteWorker", &Value::Null)
    }),
];

/// Looking, grouping, asking for a status, forgetting.
#[test]
fn worker_management_operations() {
    run(CASES);
}
