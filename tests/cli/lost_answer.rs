// SPDX-License-Identifier: GPL-3.0-or-later
//! A submission whose answer gets lost on the way. Between command and farm stands a relay that
//! passes every request on, but closes the connection instead of giving the first answer to a
//! submission.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::harness::{Farm, Run};

/// Reads one request and gives it as it is to be passed on: the same, on a connection of its own.
fn read_request(from: &TcpStream) -> Option<(bool, Vec<u8>)> {
    let mut reader = BufReader::new(from);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|&read| read > 0)?;
    let mut head = first.clone();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    head.push_str("connection: close\r\n\r\n");
    let mut request = head.into_bytes();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.extend(body);
    Some((first.starts_with("POST /api/v3/jobs "), request))
}

/// Relays until the test process ends; counts the submissions that it saw.
fn relay(farm: String, submissions: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else {
                return;
            };
            let Some((is_submission, request)) = read_request(&connection) else {
                continue;
            };
            let mut up = TcpStream::connect(&farm).unwrap();
            up.write_all(&request).unwrap();
            let mut answer = Vec::new();
            up.read_to_end(&mut answer).unwrap();
            if is_submission && submissions.fetch_add(1, Ordering::SeqCst) == 0 {
                assert!(answer.starts_with(b"HTTP/1.1 200"), "the farm accepted it");
                continue;
            }
            let _ = connection.write_all(&answer);
        }
    });
    url
}

/// The farm has accepted the job and the command does not know: the retry must find that job and
/// not make a second one.
#[test]
fn a_lost_answer_makes_no_second_job() {
    let farm = Farm::start(0);
    let submissions = Arc::new(AtomicUsize::new(0));
    let address = farm.url.trim_start_matches("http://").to_owned();
    let url = relay(address, Arc::clone(&submissions));
    let mut command = farm.command();
    command.env("TABLAO_URL", url);
    command.args([
        "submit",
        "--type",
        "echo-sleep-test",
        "--set",
        "message=once",
        "--paused",
    ]);
    let job = Run::of(&mut command).ended(0).out.trim().to_owned();
    assert_eq!(submissions.load(Ordering::SeqCst), 2, "it was sent again");
    let jobs = farm.run(&["jobs", "list", "--json"]).ended(0).json();
    let jobs = jobs["items"].as_array().unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0]["id"], *job);
}
