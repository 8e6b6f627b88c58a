// SPDX-License-Identifier: GPL-3.0-or-later
//! Jobs: types, submission, what people do with them.

use serde_json::{Value, json};

use crate::{
    case::{Case, Reply, run},
    ground::{Grounds, echo},
    worker::UNKNOWN,
};

/// A job that waits.
fn job(on: &Grounds) -> String {
    let ground = on.manager();
    ground.keep("job", || ground.job("waits"))
}

fn at(on: &Grounds, operation: &'static str, id: &str) -> Reply {
    on.manager().call(operation).at(id).send()
}

fn change(on: &Grounds, operation: &'static str, id: &str, body: &Value) -> Reply {
    on.manager().call(operation).at(id).json(body).send()
}

fn too_large(on: &Grounds, operation: &'static str) -> Reply {
    on.manager().call(operation).at(job(on)).too_large().send()
}

fn submit(on: &Grounds, operation: &'static str, field: &str, value: Value) -> Reply {
    let mut body = echo("submitted");
    body[field] = value;
    on.manager().call(operation).json(&body).send()
}

/// A job of independent tasks that goes before all others.
fn render(on: &Grounds) -> String {
    let body = json!({
        "name": "render", "type": "simple-blender-render", "submitter_platform": "linux",
        "priority": 100,
        "settings": {
            "frames": "1-6", "chunk_size": 1, "render_output_root": "/render",
            "add_path_components": 0, "render_output_path": "/render/sh010/######",
            "blendfile": "/shared/sh010.blend", "fps": 24, "format": "PNG",
            "image_file_extension": ".png", "has_previews": false, "scene": "Scene",
        },
    });
    on.manager().keep("render", || {
        let reply = on.manager().call("submitJob").json(&body).send();
        reply.json()["id"].as_str().unwrap().to_owned()
    })
}

fn blocked(on: &Grounds) -> Value {
    at(on, "fetchJobBlocklist", &render(on)).json().clone()
}

fn mass_delete(on: &Grounds, until: &str) -> Reply {
    let body = json!({ "last_updated_max": until });
    on.manager().call("deleteJobMass").json(&body).send()
}

const PAUSE: fn() -> Value = || json!({ "status": "paused", "reason": "looked at first" });
const WORKER: fn() -> Value = || json!([{ "worker_id": UNKNOWN, "task_type": "misc" }]);

/// In the order in which they are run.
pub(crate) const CASES: &[Case] = &[
    ("getJobTypes", 200, |on| {
        on.manager().call("getJobTypes").send()
    }),
    ("getJobType", 200, |on| {
        at(on, "getJobType", "simple-blender-render")
    }),
    ("getJobType", 400, |on| at(on, "getJobType", "%FF")),
    ("getJobType", 404, |on| at(on, "getJobType", "no-such-type")),
    ("fetchGlobalLastRenderedInfo", 204, |on| {
        on.manager().call("fetchGlobalLastRenderedInfo").send()
    }),
    ("fetchJobs", 200, |on| {
        let none = on.manager().call("fetchJobs").send();
        assert_eq!(none.json(), &json!({ "jobs": [] }));
        job(on);
        on.manager().call("fetchJobs").send()
    }),
    ("submitJob", 200, |on| {
        let reply = submit(on, "submitJob", "initial_status", json!("paused"));
        assert_eq!(reply.json()["status"], "paused");
        assert_eq!(reply.json()["submitter_platform"], "");
        reply
    }),
    ("submitJob", 400, |on| {
        submit(on, "submitJob", "priority", json!(101)).saying("101");
        submit(on, "submitJob", "type", json!("no-such-type"))
    }),
    ("submitJob", 404, |on| {
        submit(on, "submitJob", "worker_tag", json!(UNKNOWN)).saying("tag")
    }),
    ("submitJob", 412, |on| {
        submit(on, "submitJob", "type_etag", json!("old"))
    }),
    ("submitJob", 413, |on| {
        on.manager().call("submitJob").too_large().send()
    }),
    ("submitJobCheck", 204, |on| {
        submit(on, "submitJobCheck", "name", json!("checked"))
    }),
    ("submitJobCheck", 400, |on| {
        submit(on, "submitJobCheck", "settings", json!({}))
    }),
    ("submitJobCheck", 412, |on| {
        submit(on, "submitJobCheck", "type_etag", json!("old"))
    }),
    ("submitJobCheck", 413, |on| {
        on.manager().call("submitJobCheck").too_large().send()
    }),
    ("fetchJob", 200, |on| at(on, "fetchJob", &job(on))),
    ("fetchJob", 400, |on| at(on, "fetchJob", "seven")),
    ("fetchJob", 404, |on| at(on, "fetchJob", UNKNOWN)),
    ("fetchJobTasks", 200, |on| {
        let none = at(on, "fetchJobTasks", UNKNOWN);
        assert_eq!(none.json(), &json!({ "tasks": [] }));
        at(on, "fetchJobTasks", &job(on))
    }),
    ("fetchJobTasks", 400, |on| at(on, "fetchJobTasks", "seven")),
    ("setJobPriority", 204, |on| {
        let reply = change(on, "setJobPriority", &job(on), &json!({ "priority": 80 }));
        assert_eq!(at(on, "fetchJob", &job(on)).json()["priority"], 80);
        reply
    }),
    ("setJobPriority", 400, |on| {
        change(on, "setJobPriority", &job(on), &json!({ "priority": -1 }))
    }),
    ("setJobPriority", 404, |on| {
        change(on, "setJobPriority", UNKNOWN, &json!({ "priority": 1 }))
    }),
    ("setJobPriority", 413, |on| too_large(on, "setJobPriority")),
    ("setJobTag", 204, |on| {
        let body = json!({ "name": "gpu" });
        let tag = on.manager().call("createWorkerTag").json(&body).send();
        let reply = change(on, "setJobTag", &job(on), &body);
        let shown = at(on, "fetchJob", &job(on));
        assert_eq!(shown.json()["worker_tag"], tag.json()["id"]);
        change(on, "setJobTag", &job(on), &json!({}));
        reply
    }),
    ("setJobTag", 400, |on| {
        change(on, "setJobTag", "seven", &json!({}))
    }),
    ("setJobTag", 404, |on| {
        change(on, "setJobTag", UNKNOWN, &json!({}))
    }),
    ("setJobTag", 406, |on| {
        change(on, "setJobTag", &job(on), &json!({ "id": UNKNOWN }));
        change(on, "setJobTag", &job(on), &json!({ "name": "no such" }))
    }),
    ("setJobTag", 413, |on| too_large(on, "setJobTag")),
    ("fetchJobBlocklist", 200, |on| {
        // A worker that fails often enough is blocked, where others are there to go on.
        render(on);
        let [bad, ..] = ["bad", "good", "better"].map(|name| on.manager().awake(name));
        for _ in 0..3 {
            let task = on.manager().task(&bad);
            let update = |status: &str| {
                let call = on.manager().call("taskUpdate").by(&bad).at(&task);
                let body = json!({ "taskStatus": status, "activity": "no" });
                call.json(&body).send()
            };
            update("active");
            assert_eq!(update("failed").code, 204);
        }
        let reply = at(on, "fetchJobBlocklist", &render(on));
        assert_eq!(reply.json()[0]["worker_name"], "bad");
        reply
    }),
    ("fetchJobBlocklist", 400, |on| {
        at(on, "fetchJobBlocklist", "seven")
    }),
    ("removeJobBlocklist", 204, |on| {
        let reply = change(on, "removeJobBlocklist", &render(on), &blocked(on));
        assert_eq!(blocked(on), json!([]));
        reply
    }),
    ("removeJobBlocklist", 400, |on| {
        change(on, "removeJobBlocklist", &job(on), &json!([])).saying("at least one")
    }),
    ("removeJobBlocklist", 404, |on| {
        change(on, "removeJobBlocklist", UNKNOWN, &WORKER())
    }),
    ("removeJobBlocklist", 413, |on| {
        too_large(on, "removeJobBlocklist")
    }),
    ("fetchJobLastRenderedInfo", 204, |on| {
        at(on, "fetchJobLastRenderedInfo", &job(on))
    }),
    ("fetchJobLastRenderedInfo", 400, |on| {
        at(on, "fetchJobLastRenderedInfo", "seven")
    }),
    ("fetchJobLastRenderedInfo", 200, |on| {
        let worker = on.manager().awake("painter");
        let given = on.manager().call("scheduleTask").by(&worker).send();
        let id = |field: &str| given.json()[field].as_str().unwrap().to_owned();
        let mut png = std::io::Cursor::new(Vec::new());
        let image = image::RgbImage::new(16, 9);
        image.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let call = on.manager().call("taskOutputProduced").by(&worker);
        let sent = call.at(id("uuid")).body("image/png", png.get_ref()).send();
        assert_eq!(sent.code, 202);
        // Pictures are looked at after the answer.
        let replies = std::iter::repeat_with(|| {
            std::thread::yield_now();
            at(on, "fetchJobLastRenderedInfo", &id("job"))
        });
        let mut found = replies.take(100_000).skip_while(|reply| reply.code == 204);
        found.next().expect("somebody looks at it")
    }),
    ("fetchGlobalLastRenderedInfo", 200, |on| {
        on.manager().call("fetchGlobalLastRenderedInfo").send()
    }),
    ("setJobStatus", 204, |on| {
        change(on, "setJobStatus", &job(on), &PAUSE())
    }),
    ("setJobStatus", 400, |on| {
        change(on, "setJobStatus", &job(on), &json!({ "status": "paused" })).saying("reason")
    }),
    ("setJobStatus", 404, |on| {
        change(on, "setJobStatus", UNKNOWN, &PAUSE())
    }),
    ("setJobStatus", 413, |on| too_large(on, "setJobStatus")),
    ("setJobStatus", 422, |on| {
        let body = json!({ "status": "completed", "reason": "wishful" });
        change(on, "setJobStatus", &job(on), &body)
    }),
    ("deleteJobWhatWouldItDo", 200, |on| {
        let reply = at(on, "deleteJobWhatWouldItDo", &job(on));
        assert_eq!(reply.json(), &json!({ "shaman_checkout": false }));
        reply
    }),
    ("deleteJobWhatWouldItDo", 400, |on| {
        at(on, "deleteJobWhatWouldItDo", "seven")
    }),
    ("deleteJobWhatWouldItDo", 404, |on| {
        at(on, "deleteJobWhatWouldItDo", UNKNOWN)
    }),
    ("deleteJob", 204, |on| at(on, "deleteJob", &job(on))),
    ("deleteJob", 400, |on| at(on, "deleteJob", "seven")),
    ("deleteJob", 404, |on| at(on, "deleteJob", UNKNOWN)),
    ("deleteJobMass", 416, |on| {
        mass_delete(on, "2001-01-01T00:00:00Z")
    }),
    ("deleteJobMass", 400, |on| mass_delete(on, "yesterday")),
    ("deleteJobMass", 413, |on| {
        on.manager().call("deleteJobMass").too_large().send()
    }),
    ("deleteJobMass", 501, |on| {
        let body = json!({ "last_updated_max": "2001-01-01T00:00:00Z" });
        on.server().call("deleteJobMass").json(&body).send()
    }),
    ("deleteJobMass", 204, |on| {
        mass_delete(on, "2999-01-01T00:00:00+02:00")
    }),
];

/// From a job's type to its deletion.
#[test]
fn job_operations() {
    run(CASES);
}
