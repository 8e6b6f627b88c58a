// SPDX-License-Identifier: GPL-3.0-or-later
//! Under strace: before an answer to a change is sent, its record was written and synced.
//!
//! Each request of these tests has a mark that its record must contain and no record of another
//! asker does: the worker's id, or a person's name made for this one request. The write that
//! brought the mark after the request came in has to be covered by a sync that returned before
//! the answer began to be sent.
//!
//! That these tests notice a missing sync is shown by hand with
//! `cargo test --features planted-no-sync --test durability`, where both must fail, and with
//! `cargo test -p tablao-journal --features planted-no-sync --test crash`.
#![cfg(target_os = "linux")]

mod farm_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use farm_support::http::{Answer, Connection};
use farm_support::journals;
use farm_support::process::Place;
use farm_support::trace::{Call, Target, Traced};
use farm_support::until;
use farm_support::worker::{HandWorker, echo_submission};
use serde_json::{Value, json};

/// Under strace everything is slow; nothing may lapse meanwhile and write on its own account.
const PATIENT: &str = "[rules]\nlease_s = 3600\nstart_within_s = 3600\nworker_timeout_s = 0\n";

/// A request that changed something: what it was, and what its record must hold.
#[derive(Debug)]
struct Change {
    what: &'static str,
    mark: Vec<u8>,
}

/// Everything that one connection asked for, in order.
struct Story {
    port: u16,
    changes: Vec<Change>,
}

/// A person who goes by another name in each request.
struct Person {
    connection: Connection,
    changes: Vec<Change>,
}

impl Person {
    fn wish(&mut self, what: &'static str, path: &str, body: &Value, status: u16) -> Answer {
        let name = format!("person-{}", uuid::Uuid::new_v4());
        let headers = [("Content-Type", "application/json"), ("Tablao-User", &name)];
        let body = body.to_string();
        let answer = self
            .connection
            .send("POST", path, &headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        let mark = name.into_bytes();
        self.changes.push(Change { what, mark });
        answer
    }
}

/// A worker's life and a person's wishes about one job, each on a connection of its own. Nothing is
/// taken from a worker before all `busy` ones have signed off: each of their requests changes
/// something.
fn live_and_wish(address: &str, name: &str, busy: &AtomicUsize) -> [Story; 2] {
    let mut worker = HandWorker::sign_on(address, name);
    let id = uuid::Uuid::parse_str(&worker.id).expect("a UUID");
    let mut said = Vec::new();
    let mut say = |what| {
        let mark = id.as_bytes().to_vec();
        said.push(Change { what, mark });
    };
    for what in ["register", "sign on", "become awake"] {
        say(what);
    }
    let mut person = Person {
        connection: Connection::open(address).expect("the Manager listens"),
        changes: Vec::new(),
    };
    let submitted = person.wish("submit", "/api/v3/jobs", &echo_submission(name), 200);
    let job = submitted.json()["id"].as_str().expect("an id").to_owned();
    let status_path = format!("/api/v3/jobs/{job}/setstatus");
    let priority_path = format!("/api/v3/jobs/{job}/setpriority");
    let status = |status: &str| json!({ "status": status, "reason": "a test" });
    person.wish(
        "set the priority",
        &priority_path,
        &json!({"priority": 70}),
        204,
    );
    // A person's refused wish is part of the history too.
    person.wish(
        "a refused wish",
        &status_path,
        &status("under-construction"),
        422,
    );

    let task = worker.task();
    say("ask for a task");
    for (what, report) in [
        ("start it", json!({"taskStatus": "active"})),
        ("a finished step", json!({"steps_completed": 1})),
        (
            "complete it",
            json!({"taskStatus": "completed", "activity": "done"}),
        ),
    ] {
        let answer = worker.report(&task, report);
        assert_eq!(answer.status, 204, "{what}: {}", answer.text());
        say(what);
    }
    let answer = worker.post("/api/v3/worker/sign-off", &Value::Null);
    assert_eq!(answer.status, 204, "{}", answer.text());
    say("sign off");

    busy.fetch_sub(1, Ordering::SeqCst);
    until("all workers to sign off", || {
        (busy.load(Ordering::SeqCst) == 0).then_some(())
    });
    person.wish("cancel", &status_path, &status("cancel-requested"), 204);
    person.wish(
        "change the priority",
        &priority_path,
        &json!({"priority": 30}),
        204,
    );
    [
        Story {
            port: worker.connection.own_port(),
            changes: said,
        },
        Story {
            port: person.connection.own_port(),
            changes: person.changes,
        },
    ]
}

/// One request and its answer on a connection, as the trace has them.
struct Exchange {
    /// Line where the first byte of the request came in.
    asked: usize,
    /// Line where the answer began to be sent.
    answered: usize,
}

fn exchanges(calls: &[Call], port: u16) -> Vec<Exchange> {
    let mut found = Vec::new();
    let mut asked = None;
    for call in calls
        .iter()
        .filter(|call| call.target == Target::Connection(port))
    {
        if call.is_receive() && call.result > 0 && asked.is_none() {
            asked = Some(call.began);
        } else if call.is_send() && call.data.starts_with(b"HTTP/1.1 ") {
            let asked = asked.take().expect("an answer follows its request");
            found.push(Exchange {
                asked,
                answered: call.began,
            });
        }
    }
    found
}

fn holds(data: &[u8], mark: &[u8]) -> bool {
    data.windows(mark.len()).any(|window| window == mark)
}

/// A sync of the written file that began after the write and returned before this line.
fn is_synced(calls: &[Call], write: &Call, before: usize) -> bool {
    calls.iter().any(|call| {
        call.is_sync()
            && call.target == write.target
            && call.result == 0
            && call.began > write.ended
            && call.ended < before
    })
}

/// Checks every answer of every story; returns how many there were.
fn check(calls: &[Call], stories: &[Story]) -> usize {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for story in stories {
        let exchanges = exchanges(calls, story.port);
        assert_eq!(
            exchanges.len(),
            story.changes.len(),
            "the trace shows other answers than {:?}",
            story.changes
        );
        for (change, exchange) in story.changes.iter().zip(exchanges) {
            checked += 1;
            let mut writes = calls.iter().filter(|call| {
                call.is_journal_write()
                    && call.began > exchange.asked
                    && call.ended < exchange.answered
                    && holds(&call.data, &change.mark)
            });
            let what = change.what;
            match writes.next_back() {
                None => wrong.push(format!("{what}: answered before its record was written")),
                Some(write) if !is_synced(calls, write, exchange.answered) => {
                    wrong.push(format!("{what}: answered before its record was synced"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {checked}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    checked
}

/// Protects every acknowledgement: with one request at a time, each kind of change that a worker
/// or a person makes is on disk before its answer begins to leave.
#[test]
fn each_answer_to_a_change_follows_its_sync() {
    let place = Place::new(PATIENT);
    let traced = Traced::start(&place);
    let stories = live_and_wish(&place.address, "alone", &AtomicUsize::new(1));
    let checked = check(&traced.stop(), &stories);
    journals::verify_all(&place.data);
    println!("{checked} answers checked");
    assert!(checked >= 13, "only {checked} answers were looked at");
}

/// The same where one sync covers the records of several askers.
#[test]
fn answers_to_many_at_once_follow_the_sync_that_covers_each() {
    let place = Place::new(PATIENT);
    let traced = Traced::start(&place);
    let busy = Arc::new(AtomicUsize::new(8));
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (address, busy) = (place.address.clone(), Arc::clone(&busy));
            let name = format!("worker {number}");
            std::thread::spawn(move || live_and_wish(&address, &name, &busy))
        })
        .collect();
    let stories: Vec<Story> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("no thread panics"))
        .collect();
    let calls = traced.stop();
    let checked = check(&calls, &stories);
    let writes = calls.iter().filter(|call| call.is_journal_write()).count();
    journals::verify_all(&place.data);
    println!("{checked} answers checked, {writes} journal writes");
    assert!(checked >= 100, "only {checked} answers were looked at");
}
