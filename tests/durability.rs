// SPDX-License-Identifier: GPL-3.0-or-later
//! Under strace: before an answer to a change is sent, its record was written and synced.
//!
//! Each request of these tests has a mark, the id of a worker or job that its record must
//! contain. The write that brought the mark after the request came in has to be covered by a
//! sync that returned before the answer began to be sent.
//!
//! That these tests notice a missing sync is shown by hand with
//! `cargo test --features planted-no-sync --test durability`, where both must fail, and with
//! `cargo test -p tablao-journal --features planted-no-sync --test crash`.
#![cfg(target_os = "linux")]

mod farm_support;

use farm_support::http::{Answer, Connection};
use farm_support::process::Place;
use farm_support::trace::{Call, Target, Traced};
use farm_support::worker::{HandWorker, echo_submission};
use serde_json::{Value, json};

/// Under strace everything is slow; nothing may lapse meanwhile and write on its own account.
const PATIENT: &str = "[rules]\nlease_s = 3600\nstart_within_s = 3600\nworker_timeout_s = 0\n";

/// A request that changed something: what it was, and the id that its record must hold.
#[derive(Debug)]
struct Change {
    what: &'static str,
    mark: [u8; 16],
}

/// Everything that one connection asked for, in order.
struct Story {
    port: u16,
    changes: Vec<Change>,
}

fn mark(id: &str) -> [u8; 16] {
    *uuid::Uuid::parse_str(id).expect("a UUID").as_bytes()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// A worker's life and a person's wishes about one job, each on a connection of its own.
fn live_and_wish(address: &str, name: &str) -> [Story; 2] {
    let mut worker = HandWorker::sign_on(address, name);
    let worker_mark = mark(&worker.id);
    let mut said: Vec<Change> = ["register", "sign on", "become awake"]
        .map(|what| Change {
            what,
            mark: worker_mark,
        })
        .into();
    let mut person = Connection::open(address).expect("the Manager listens");
    let mut wished = Vec::new();

    let submitted = person.json("POST", "/api/v3/jobs", &echo_submission(name));
    assert_eq!(submitted.status, 200, "{}", submitted.text());
    let job = text(&submitted.json(), "id").to_owned();
    let job_mark = mark(&job);
    wished.push(Change {
        what: "submit",
        mark: job_mark,
    });

    let mut wish = |what, path: &str, body: Value, status: u16| -> Answer {
        let answer = person.json("POST", path, &body);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        wished.push(Change {
            what,
            mark: job_mark,
        });
        answer
    };
    let status_path = format!("/api/v3/jobs/{job}/setstatus");
    let priority_path = format!("/api/v3/jobs/{job}/setpriority");
    wish(
        "set the priority",
        &priority_path,
        json!({"priority": 70}),
        204,
    );
    // A person's refused wish is part of the history too.
    let nonsense = json!({"status": "under-construction", "reason": "a test"});
    wish("a refused wish", &status_path, nonsense, 422);

    let task = worker.task();
    for (what, report) in [
        ("ask for a task", Value::Null),
        ("start it", json!({"taskStatus": "active"})),
        ("a finished step", json!({"steps_completed": 1})),
        (
            "complete it",
            json!({"taskStatus": "completed", "activity": "done"}),
        ),
    ] {
        if !report.is_null() {
            let answer = worker.report(&task, report);
            assert_eq!(answer.status, 204, "{what}: {}", answer.text());
        }
        said.push(Change {
            what,
            mark: worker_mark,
        });
    }
    let answer = worker.post("/api/v3/worker/sign-off", &Value::Null);
    assert_eq!(answer.status, 204, "{}", answer.text());
    said.push(Change {
        what: "sign off",
        mark: worker_mark,
    });

    let cancel = json!({"status": "cancel-requested", "reason": "a test"});
    wish("cancel", &status_path, cancel, 204);
    wish(
        "change the priority again",
        &priority_path,
        json!({"priority": 30}),
        204,
    );
    let port = worker.connection.own_port();
    [
        Story {
            port,
            changes: said,
        },
        Story {
            port: person.own_port(),
            changes: wished,
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

fn holds(data: &[u8], mark: [u8; 16]) -> bool {
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
                    && holds(&call.data, change.mark)
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
    let stories = live_and_wish(&place.address, "alone");
    let checked = check(&traced.stop(), &stories);
    println!("{checked} answers checked");
    assert!(checked >= 13, "only {checked} answers were looked at");
}

/// The same where one sync covers the records of several askers.
#[test]
fn answers_to_many_at_once_follow_the_sync_that_covers_each() {
    let place = Place::new(PATIENT);
    let traced = Traced::start(&place);
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let address = place.address.clone();
            std::thread::spawn(move || live_and_wish(&address, &format!("worker {number}")))
        })
        .collect();
    let stories: Vec<Story> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("no thread panics"))
        .collect();
    let calls = traced.stop();
    let checked = check(&calls, &stories);
    let writes = calls.iter().filter(|call| call.is_journal_write()).count();
    println!("{checked} answers checked, {writes} journal writes");
    assert!(checked >= 100, "only {checked} answers were looked at");
}
