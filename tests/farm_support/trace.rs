// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs a program under strace and reads what it wrote, synced and sent, in order.
//!
//! Order is sound: a thread stands still at the entry and at the end of each traced call until
//! strace has noted it. So a sync noted as ended before a send is noted as begun had really
//! returned before the send could happen.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Place, Process};
use super::until;

const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendfile,splice,\
                     read,readv,recvfrom,recvmsg,fsync,fdatasync,sync_file_range,msync";

/// What a call was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    File(PathBuf),
    /// Port of the other end.
    Connection(u16),
    Other,
}

/// One system call, by the lines of the trace where it began and ended.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) target: Target,
    /// The bytes that went in or out.
    pub(crate) data: Vec<u8>,
    pub(crate) began: usize,
    pub(crate) ended: usize,
    pub(crate) result: i64,
}

impl Call {
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync")
    }

    pub(crate) fn is_send(&self) -> bool {
        matches!(
            self.name.as_str(),
            "write" | "writev" | "sendto" | "sendmsg"
        ) && matches!(self.target, Target::Connection(_))
    }

    pub(crate) fn is_receive(&self) -> bool {
        matches!(
            self.name.as_str(),
            "read" | "readv" | "recvfrom" | "recvmsg"
        ) && matches!(self.target, Target::Connection(_))
    }

    /// Wrote to a segment of a journal.
    pub(crate) fn is_journal_write(&self) -> bool {
        let Target::File(path) = &self.target else {
            return false;
        };
        let is_segment = path.extension().is_some_and(|extension| extension == "seg");
        is_segment && self.name.contains("write")
    }
}

/// A Manager that runs under strace.
pub(crate) struct Traced {
    strace: Process,
    file: PathBuf,
    data: PathBuf,
}

impl Traced {
    /// Starts the Manager of this place under strace.
    pub(crate) fn start(place: &Place) -> Self {
        let version = Command::new("strace").arg("--version").output();
        assert!(
            version.is_ok(),
            "strace is not on PATH; run: make setup-test (or: apt-get install -y strace)"
        );
        let file = place.folder.join("trace");
        let manager = place.manager_command();
        let mut command = Command::new("strace");
        // Whole strings in hexadecimal; descriptors with what stands behind them.
        command.args(["-f", "-yy", "-xx", "-s", "8000000", "-e", CALLS, "-o"]);
        command
            .arg(&file)
            .arg(manager.get_program())
            .args(manager.get_args());
        let strace = place.started("traced-manager", &mut command);
        Self {
            strace,
            file,
            data: place.data.clone(),
        }
    }

    /// The traced process, as it wrote it down; strace itself would detach if it were signalled.
    fn manager_id(&self) -> String {
        let text = std::fs::read_to_string(self.data.join("lock"));
        text.expect("the Manager has locked its data")
            .trim()
            .to_owned()
    }

    /// Ends the Manager in order and reads the trace.
    pub(crate) fn stop(mut self) -> Vec<Call> {
        let status = Command::new("kill")
            .args(["-TERM", &self.manager_id()])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "kill runs");
        until("the end of the traced Manager", || self.strace.ended());
        read(&self.file)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if self.strace.ended().is_none() {
            let _ = Command::new("kill")
                .args(["-KILL", &self.manager_id()])
                .status();
        }
    }
}

fn read(path: &Path) -> Vec<Call> {
    let text = std::fs::read(path).expect("strace wrote its file");
    let text = String::from_utf8(text).expect("strings are in hexadecimal");
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, begun.to_owned()));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_, tail) = resumed.split_once(" resumed>").unwrap_or_default();
            if let Some((began, head)) = unfinished.remove(thread) {
                calls.extend(call(&format!("{head}{tail}"), began, number));
            }
        } else {
            calls.extend(call(rest, number, number));
        }
    }
    // A call that never ended (the process did) is a write that may have happened.
    for (_, (began, head)) in unfinished {
        calls.extend(call(&format!("{head}) = 0"), began, usize::MAX));
    }
    calls.sort_by_key(|call| call.began);
    calls
}

/// Reads `name(descriptor<what>, ...) = result`. Lines about signals and ends are no calls.
fn call(text: &str, began: usize, ended: usize) -> Option<Call> {
    let (name, arguments) = text.split_once('(')?;
    let (arguments, result) = arguments.rsplit_once(" = ")?;
    let result = result.split([' ', '<']).next()?.parse().ok()?;
    let descriptor = arguments.split([',', ')']).next()?;
    let target = match descriptor.split_once('<') {
        Some((_, what)) => target(what),
        None => Target::Other,
    };
    Some(Call {
        name: name.to_owned(),
        target,
        data: strings(arguments),
        began,
        ended,
        result,
    })
}

fn target(what: &str) -> Target {
    if let Some(ends) = what.strip_prefix("TCP:[") {
        let other = ends.split_once("->").map(|(_, other)| other);
        let port =
            other.and_then(|other| other.split(']').next()?.rsplit(':').next()?.parse().ok());
        return port.map_or(Target::Other, Target::Connection);
    }
    let path = unhex(what.trim_end_matches('>'));
    match String::from_utf8(path) {
        Ok(path) if path.starts_with('/') => Target::File(PathBuf::from(path)),
        Ok(_) | Err(_) => Target::Other,
    }
}

/// All quoted strings, one after the other.
fn strings(arguments: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for (place, part) in arguments.split('"').enumerate() {
        if place % 2 == 1 {
            all.extend(unhex(part));
        }
    }
    all
}

/// `\x41\x42` as bytes.
fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").filter(|part| part.len() >= 2);
    digits
        .filter_map(|part| u8::from_str_radix(part.get(..2)?, 16).ok())
        .collect()
}
