// SPDX-License-Identifier: GPL-3.0-or-later
//! Nothing that a command started may outlive the command, an order to stop, or the Worker.
//!
//! These tests start real processes and kill real ones. Each command holds a named pipe open;
//! the pipe's end tells the test that every one of its processes is gone.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tablao_agent::Note;

/// A program that starts a child, a grandchild, and (on Linux) one that leaves group and session,
/// then says `ready` and waits. All hold standard output open and ignore polite signals if asked.
fn family(ignore_term: bool) -> String {
    let trap = if ignore_term { "trap '' TERM; " } else { "" };
    format!(
        "{trap}sleep 600 & (sleep 600 & sleep 600) & setsid sleep 600 & \
         (setsid sh -c 'sleep 600 & sleep 600') & echo ready; wait"
    )
}

struct Supervised {
    supervisor: Child,
    output: BufReader<std::process::ChildStdout>,
    notes: BufReader<std::process::ChildStderr>,
}

impl Supervised {
    fn start(command: &[&str]) -> Self {
        let mut supervisor = Command::new(common::program())
            .args(["supervise", "--"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(supervisor.stdout.take().unwrap());
        let notes = BufReader::new(supervisor.stderr.take().unwrap());
        Self {
            supervisor,
            output,
            notes,
        }
    }

    fn note(&mut self) -> Note {
        let mut line = String::new();
        self.notes.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn wait_ready(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }

    /// Reads the output to its end, which comes when the last process that holds it is gone.
    fn wait_all_gone(&mut self) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
    }
}

#[test]
fn a_command_that_ends_takes_what_it_started_along() {
    // Protects the next task from processes of this one, also from those that left the group.
    let mut supervised = Supervised::start(&["sh", "-c", "setsid sleep 600 & sleep 600 & exit 3"]);
    assert!(matches!(supervised.note(), Note::Started { .. }));
    supervised.wait_all_gone();
    let Note::Ended {
        exit,
        signal,
        peak_memory_bytes,
        killed_for_memory,
        outgrew_group,
        left_behind,
    } = supervised.note()
    else {
        panic!("no end");
    };
    assert_eq!((exit, signal), (Some(3), None));
    assert!(peak_memory_bytes.unwrap() > 100_000);
    assert!(left_behind >= 1 && !killed_for_memory && !outgrew_group);
    assert!(supervised.supervisor.wait().unwrap().success());
}

#[test]
fn an_order_to_stop_ends_a_family_that_does_not_listen() {
    // Protects cancelling: processes that ignore the polite signal get the other one.
    for ignore_term in [false, true] {
        let mut supervised = Supervised::start(&["sh", "-c", &family(ignore_term)]);
        supervised.note();
        supervised.wait_ready();
        let asked = Instant::now();
        let mut lifeline = supervised.supervisor.stdin.take().unwrap();
        lifeline.write_all(b"stop\n").unwrap();
        supervised.wait_all_gone();
        let Note::Ended {
            exit: None,
            signal: Some(signal),
            ..
        } = supervised.note()
        else {
            panic!("no end by a signal");
        };
        assert_eq!(signal, if ignore_term { 9 } else { 15 });
        assert!(asked.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn the_death_of_the_worker_ends_everything() {
    // Protects a machine from a Blender that nobody watches: the lifeline closes, all is killed.
    let mut supervised = Supervised::start(&["sh", "-c", &family(true)]);
    supervised.note();
    supervised.wait_ready();
    drop(supervised.supervisor.stdin.take());
    supervised.wait_all_gone();
    supervised.supervisor.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn the_death_of_the_supervisor_ends_the_command() {
    // Protects against somebody killing the supervisor itself: its command dies with it.
    let mut supervised = Supervised::start(&["sh", "-c", "echo ready; exec sleep 600"]);
    supervised.note();
    supervised.wait_ready();
    supervised.supervisor.kill().unwrap();
    supervised.wait_all_gone();
}

#[test]
fn a_program_that_is_not_there_is_told_so() {
    // Protects the reason in the task: "not found" and not "exit code 127".
    let mut supervised = Supervised::start(&["/no/such/program"]);
    let notes = [supervised.note(), supervised.note()];
    let told = notes.iter().any(
        |note| matches!(note, Note::NotStarted { message } if message.contains("No such file")),
    );
    assert!(told, "{notes:?}");
}
