// SPDX-License-Identifier: GPL-3.0-or-later
//! `/api/farm/v1/events`: a stream that can be cut at any event and goes on exactly there, and
//! the shape of what it tells.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Farm, Message};
use tablao_core::{Request, kind::kind_of};
use tablao_journal::Lsn;
use tablao_net::engine::Ask;

fn named<'a>(messages: &'a [Message], kind: &str) -> &'a Value {
    let found = messages.iter().find(|message| message.event == kind);
    &found
        .unwrap_or_else(|| panic!("no {kind} in {messages:#?}"))
        .data
}

fn is_completed(message: &Message) -> bool {
    message.event == "JobStatusChanged" && message.data["data"]["to"] == "completed"
}

/// A dashboard that loses its connection must neither miss an event nor see one twice: cut after
/// every single event, the pieces are the same as one uncut stream.
#[test]
fn a_stream_cut_at_every_event_loses_and_doubles_nothing() {
    let farm = Farm::start();
    let mut whole = farm.stream("/api/farm/v1/events", None);
    let hello = whole.next();
    assert_eq!(hello.event, "hello");
    assert_eq!(hello.data, json!({ "position": hello.id }));

    let worker = farm.awake_worker("hut");
    farm.submit_render("cut", "1-3");
    // The pieces are taken while the farm works, so that cuts fall into what is live as well.
    let mut pieces = Vec::new();
    let mut after = hello.id.clone();
    let mut piece = |after: &mut String| {
        let message = farm.stream("/api/farm/v1/events", Some(after)).next();
        assert_ne!(*after, message.id, "told again what it had");
        *after = message.id.clone();
        pieces.push(message.clone());
        message
    };
    let mut last = piece(&mut after);
    while !is_completed(&last) {
        if let Some(task) = farm.ask(&worker) {
            farm.finish(&worker, &task);
        }
        last = piece(&mut after);
    }
    let uncut = whole.until(is_completed);
    assert!(uncut.len() > 20, "{}", uncut.len());
    assert_eq!(pieces, uncut);
    for message in &uncut {
        assert_eq!(message.data["position"], message.id);
        assert_eq!(message.data["kind"], message.event);
    }

    // What the journal itself holds, read without any of the code that streams it.
    let view = farm.node.site.as_ref().unwrap().view();
    let kinds: Vec<&str> = (view.reader.records(Lsn::FIRST).unwrap())
        .filter_map(|record| kind_of(record.unwrap().kind))
        .map(|kind| kind.name)
        .filter(|name| *name != "Decision")
        .skip_while(|name| *name != "WorkerRegistered")
        .collect();
    let told: Vec<&str> = uncut.iter().map(|message| &*message.event).collect();
    assert_eq!(told, kinds);

    // The same from `?after=`, from JSON, and after the process was started anew.
    let path = format!("/api/farm/v1/events?after={}", hello.id);
    let listed = farm.read(&format!("{path}&limit=1000"));
    let told: Vec<&Value> = uncut.iter().map(|message| &message.data).collect();
    let items: Vec<&Value> = listed["items"].as_array().unwrap().iter().collect();
    assert_eq!(items, told);
    assert_eq!(listed["position"], last.id);
    drop(whole);
    let farm = farm.restart();
    let mut again = farm.stream(&path, None);
    assert_eq!(again.until(is_completed), uncut);
    farm.submit_echo("after the restart", 1);
    let mut resumed = farm.stream("/api/farm/v1/events", Some(&last.id));
    let next = again.next();
    assert_eq!(next.event, "JobAccepted", "a clean restart is no event");
    assert_eq!(resumed.next(), next);
}

/// A Server tells what its Managers' journals say, also those of a Manager that is linked while
/// the stream is open, and cuts lose nothing between several journals either.
#[test]
fn several_journals_make_one_stream() {
    let server = Farm::start();
    let mut whole = server.stream("/api/farm/v1/events", None);
    let begin = whole.next().id;
    let site = Farm::start();
    let worker = site.awake_worker("below");
    let job = site.submit_render("sh010", "1-2");
    let mut sent = 1;
    replicate(&site, &server, &mut sent);
    let manager = site.node.manager();
    let link = Request::LinkManager {
        manager,
        name: "site below".to_owned(),
    };
    let linked = server.node.control.ask(Ask::system(link));
    server.runtime.block_on(linked).unwrap().unwrap();

    let mut pieces = Vec::new();
    let mut after = begin.clone();
    loop {
        if let Some(task) = site.ask(&worker) {
            site.finish(&worker, &task);
            server.submit_echo("above", 1);
            replicate(&site, &server, &mut sent);
        }
        let message = server.stream("/api/farm/v1/events", Some(&after)).next();
        assert_ne!(after, message.id, "told again what it had");
        after = message.id.clone();
        let done = is_completed(&message);
        pieces.push(message);
        if done {
            break;
        }
    }
    // Of several journals each has its own order; between them only each piece's own counts.
    let of = |messages: &[Message], manager: &Value| -> Vec<Value> {
        let events = messages.iter().map(|message| &message.data);
        let found = events.filter(|event| &event["manager"] == manager);
        found
            .map(|event| json!([event["time"], event["kind"], event["data"]]))
            .collect()
    };
    let below = json!(manager.to_string());
    let uncut = whole.until(is_completed);
    assert!(of(&uncut, &below).len() > 15);
    assert_eq!(of(&pieces, &below), of(&uncut, &below));
    let own = json!(server.node.manager().to_string());
    let (cut, whole) = (of(&pieces, &own), of(&uncut, &own));
    let shorter = cut.len().min(whole.len());
    assert!(shorter > 0);
    assert_eq!(cut[..shorter], whole[..shorter]);
    let told = uncut[0].data["kind"].as_str().unwrap();
    assert_eq!(told, "ManagerLinked");

    let jobs = server.read("/api/farm/v1/jobs");
    let managers: Vec<&Value> = (jobs["items"].as_array().unwrap().iter())
        .map(|job| &job["manager"])
        .collect();
    assert!(managers.contains(&&below) && managers.contains(&&own));
    assert_eq!(
        server.read(&format!("/api/farm/v1/jobs/{job}"))["status"],
        "completed"
    );
    let listed = server.read("/api/farm/v1/managers");
    let roles: Vec<&Value> = (listed["items"].as_array().unwrap().iter())
        .map(|manager| &manager["role"])
        .collect();
    assert!(roles.contains(&&json!("standalone")) && roles.contains(&&json!("linked")));
    let segments = server.read("/api/farm/v1/journal/segments");
    assert_eq!(segments["items"][2]["role"], "mirror");
    let task = server.read(&format!("/api/farm/v1/jobs/{job}/tasks"))["items"][0]["id"].clone();
    let log = server.get(&format!(
        "/api/farm/v1/tasks/{}/log",
        task.as_str().unwrap()
    ));
    assert_eq!(
        log.ok(404).json()["type"],
        "urn:tablao:problem:log-elsewhere"
    );
}

/// Brings what a site wrote since to its mirror, as the link does.
fn replicate(site: &Farm, server: &Farm, sent: &mut u64) {
    let view = site.node.site.as_ref().unwrap().view().clone();
    let mirror = server
        .node
        .mirrors
        .site(view.manager, view.journal.id)
        .unwrap();
    let up_to = Lsn::new(view.at().get());
    let raw = view
        .reader
        .read_raw(Lsn::new(*sent), up_to, usize::MAX)
        .unwrap();
    *sent = mirror.append(&raw.bytes).unwrap();
}

/// Thousands of events while nobody reads must not be lost when reading goes on.
#[test]
fn a_reader_that_falls_behind_catches_up() {
    let farm = Farm::with_config("");
    let mut slow = farm.stream("/api/farm/v1/events", None);
    let hello = slow.next();
    let job = farm.submit_echo("priorities", 1);
    // More than the live channel holds.
    let count = 4096 + 500;
    for n in 0..count {
        let body = json!({ "priority": n % 2 });
        farm.post(&format!("/api/v3/jobs/{job}/setpriority"), &body)
            .ok(204);
    }
    let mut changes = Vec::new();
    while changes.len() < count {
        let message = slow.next();
        if message.event == "JobPriorityChanged" {
            changes.push(message.data["data"]["to"].as_u64().unwrap() as usize);
        }
    }
    let expected: Vec<usize> = (0..count).map(|n| n % 2).collect();
    assert_eq!(changes, expected);
    assert_ne!(hello.id, farm.read("/api/farm/v1/digest")["position"]);
}

/// Each event says whom it concerns, who did it and what, in the words of the API.
#[test]
fn events_speak_the_words_of_the_api() {
    let farm = Farm::start();
    let mut stream = farm.stream("/api/farm/v1/events", None);
    let position = stream.next().id;
    let worker = farm.awake_worker("hut");
    let job = farm.submit_render("sh010", "1-2");
    let task = farm.ask(&worker).unwrap();
    let steps = json!({ "taskStatus": "active", "steps_completed": 1 });
    farm.report(&worker, &task, steps, json!({})).ok(204);
    farm.finish(&worker, &task);
    let path = format!("/api/v3/jobs/{job}/setstatus");
    let user = [
        ("content-type", "application/json"),
        ("tablao-user", "ines"),
        ("user-agent", "Mozilla/5.0"),
    ];
    let body = json!({ "status": "cancel-requested", "reason": "wrong camera" });
    farm.call("POST", &path, &user, body.to_string()).ok(204);
    let refused = json!({ "status": "completed", "reason": "no" });
    farm.call("POST", &path, &user, refused.to_string()).ok(422);
    let messages = stream.until(|message| message.event == "Decision");

    let accepted = named(&messages, "JobAccepted");
    assert_eq!(accepted["job"], job);
    assert_eq!(accepted["manager"], farm.node.manager().to_string());
    assert_eq!(accepted["data"]["name"], "sh010");
    assert_eq!(accepted["data"]["project_name"], "Night Shift");
    assert_eq!(accepted["data"]["job_type"], "simple-blender-render");
    assert_eq!(accepted["data"]["script_hash"].as_str().unwrap().len(), 64);
    assert!(accepted["data"]["created"].as_str().unwrap().ends_with('Z'));
    assert_eq!(accepted["actor"]["kind"], "user");
    let added = named(&messages, "TasksAdded");
    let count = added["data"]["count"].as_u64().unwrap();
    assert_eq!(added["tasks"].as_array().unwrap().len() as u64, count);
    assert!(added["data"].get("tasks").is_none());

    let assigned = named(&messages, "AttemptAssigned");
    let expected = json!({ "kind": "worker", "id": worker.id, "name": "hut", "via": "worker" });
    assert_eq!(assigned["actor"], expected);
    assert_eq!(assigned["task"], task["uuid"]);
    assert_eq!(assigned["worker"], worker.id);
    let started = named(&messages, "AttemptStarted");
    assert_eq!(started["data"]["attempt"], task["tablao"]["attempt"]);
    assert_eq!(started["worker"], worker.id, "the worker of its attempt");
    assert_eq!(
        named(&messages, "StepsAdvanced")["data"]["to"],
        1,
        "the task's total so far"
    );
    let ended = named(&messages, "AttemptEnded");
    assert_eq!(ended["data"]["outcome"], "completed");
    assert_eq!(ended["data"]["task_to"], "completed");

    let published = named(&messages, "FramePublished");
    assert_eq!(published["data"]["path"], "/render/sh010/000001.png");
    assert_eq!(published["data"]["key"]["number"], 1);
    assert_eq!(published["data"]["rendered_at"], "2026-08-03T12:00:00.25Z");
    let hash = blake3::hash(&1i32.to_le_bytes()).to_string();
    assert_eq!(published["data"]["hash"], hash);

    let registered = named(&messages, "WorkerRegistered");
    assert_eq!(registered["worker"], worker.id);
    assert_eq!(registered["data"]["name"], "hut");
    let awake = named(&messages, "WorkerStatusChanged");
    assert_eq!(awake["data"]["to"], "awake");

    let canceled = messages
        .iter()
        .find(|message| message.data["data"]["to"] == "canceled");
    let canceled = &canceled.unwrap().data;
    let expected = json!({ "kind": "user", "name": "ines", "via": "web" });
    assert_eq!(canceled["actor"], expected);
    let asked = messages.iter().find(|message| {
        message.event == "JobStatusChanged" && message.data["data"]["to"] == "cancel-requested"
    });
    if let Some(asked) = asked {
        assert!(
            asked.data["data"]["reason"]
                .as_str()
                .unwrap()
                .contains("wrong camera")
        );
    }
    let refusal = named(&messages, "Decision");
    assert_eq!(refusal["actor"]["name"], "ines");
    assert_eq!(refusal["data"]["request"], "SetJobStatus");
    assert!(
        refusal["data"]["reason"]
            .as_str()
            .unwrap()
            .contains("canceled")
    );

    let mut bytes = Vec::new();
    for message in &messages {
        find_raw(&message.data, &mut bytes);
    }
    assert!(bytes.is_empty(), "raw bytes or nulls: {bytes:?}");

    let other = farm.submit_echo("other", 1);
    let only = farm.read(&format!(
        "/api/farm/v1/events?after={position}&job={job}&limit=1000"
    ));
    let jobs: Vec<&Value> = only["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["job"])
        .collect();
    assert!(
        jobs.len() > 5 && jobs.iter().all(|one| **one == json!(job)),
        "{jobs:?}"
    );
    let mut filtered = farm.stream(
        &format!("/api/farm/v1/events?job={other}&after={position}"),
        None,
    );
    let first = filtered.next();
    assert_eq!(
        (first.event.as_str(), &first.data["job"]),
        ("JobAccepted", &json!(other))
    );
}

/// Collects what no client should have to make sense of.
fn find_raw(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Null => found.push(Value::Null),
        Value::Array(items) => {
            if items.len() >= 16 && items.iter().all(Value::is_u64) {
                found.push(value.clone());
            }
            items.iter().for_each(|item| find_raw(item, found));
        }
        Value::Object(map) => {
            if map.contains_key("lsn") {
                found.push(value.clone());
            }
            map.values().for_each(|item| find_raw(item, found));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A client whose farm was replaced or rolled back must learn it, not wait for ever.
#[test]
fn positions_that_do_not_hold_are_refused() {
    let farm = Farm::start();
    let position = farm.read("/api/farm/v1/digest")["position"]
        .as_str()
        .unwrap()
        .to_owned();
    let (rest, lsn) = position.rsplit_once('.').unwrap();
    let ahead = format!("{rest}.{}", lsn.parse::<u64>().unwrap() + 1);
    let (site_rest, _) = rest.rsplit_once('.').unwrap();
    let later = format!("{site_rest}.2.{lsn}");
    let other = Farm::start().read("/api/farm/v1/digest")["position"].clone();
    for gone in [ahead.as_str(), later.as_str(), other.as_str().unwrap()] {
        for accept in ["application/json", "text/event-stream"] {
            let path = format!("/api/farm/v1/events?after={gone}&limit=1");
            let answer = farm.call("GET", &path, &[("accept", accept)], "").ok(410);
            assert_eq!(answer.json()["type"], "urn:tablao:problem:position-gone");
        }
    }
    let path = format!("/api/farm/v1/events?after={position}&limit=1");
    let nothing = farm.read(&path);
    assert_eq!(nothing, json!({ "items": [], "position": position }));
}
