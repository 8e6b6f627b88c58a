// SPDX-License-Identifier: GPL-3.0-or-later
//! A data directory that cannot be used, a disk that fills up, a journal that was damaged: real
//! processes, and what they say.
//!
//! Each time the process ends with a message that says what to do next, nothing in the journal is
//! changed by it, and what had been acknowledged is there once the cause is mended.
#![cfg(target_os = "linux")]

mod farm_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use farm_support::http::{self, Connection};
use farm_support::process::{Place, Process, TABLAO};
use farm_support::worker::{HandWorker, echo_submission};
use farm_support::{journals, until};
use serde_json::{Value, json};
use tablao_journal::{
    Authority, Draft, FORMAT_VERSION, Journal, JournalId, KIND_MAY_BE_SKIPPED, OpenOptions,
    RealFiles, RecordDraft,
};

/// Nothing lapses while a disk is being filled.
const PATIENT: &str = "[rules]\nlease_s = 3600\nstart_within_s = 3600\nworker_timeout_s = 0\n";

/// Runs a command that is to end by itself; its exit code and everything it said.
fn ends(place: &Place, name: &str, command: &mut Command) -> (Option<i32>, String) {
    let mut process = Process::start(&place.folder, name, command);
    let status = until(&format!("the end of {name}"), || process.ended());
    (status.code(), process.said())
}

fn assert_says(said: &str, wanted: &[&str]) {
    for words in wanted {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

fn submit(address: &str, name: &str) -> http::Answer {
    let mut connection = Connection::open(address).expect("the Manager listens");
    connection.json("POST", "/api/v3/jobs", &echo_submission(name))
}

fn job_names(address: &str) -> Vec<String> {
    let answer = http::get(address, "/api/v3/jobs").expect("the Manager listens");
    let body = answer.json();
    let jobs = body["jobs"].as_array().expect("a list").clone();
    let mut names: Vec<String> = jobs
        .iter()
        .filter_map(|job| Some(job["name"].as_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Protects a farm's journal from a second writer: it is refused and told who has the data.
#[test]
fn a_data_directory_in_use_is_refused_and_its_holder_named() {
    let place = Place::new(PATIENT);
    let manager = place.manager();
    let mut second = Command::new(TABLAO);
    second
        .args(["manager", "--listen", "127.0.0.1:0", "--data"])
        .arg(&place.data);
    let (code, said) = ends(&place, "second", &mut second);
    assert_eq!(code, Some(1), "{said}");
    let holder = format!("process {}", manager.id());
    assert_says(&said, &[&holder, "--data"]);
    assert_eq!(submit(&place.address, "still works").status, 200);
}

/// Protects a person from guessing: a place that cannot hold data is named with the reason.
#[test]
fn a_place_that_cannot_hold_data_is_named() {
    let place = Place::new(PATIENT);
    let file = place.folder.join("a-file");
    fs::write(&file, b"in the way").expect("a file");
    // Nobody, not even root, can make a folder in /proc.
    for (name, data) in [
        ("file", file.as_path()),
        ("proc", Path::new("/proc/tablao")),
    ] {
        let mut command = Command::new(TABLAO);
        command
            .args(["manager", "--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        let (code, said) = ends(&place, name, &mut command);
        assert_eq!(code, Some(1), "{said}");
        assert_says(&said, &[&data.to_string_lossy(), "--data"]);
    }
    assert_eq!(fs::read(&file).expect("still there"), b"in the way");
}

/// Protects a person from guessing: an address that is taken is named, and how to choose another.
#[test]
fn an_address_in_use_is_named() {
    let place = Place::new(PATIENT);
    let _manager = place.manager();
    let mut second = Command::new(TABLAO);
    second
        .args(["manager", "--listen", &place.address, "--data"])
        .arg(place.folder.join("other"));
    let (code, said) = ends(&place, "second", &mut second);
    assert_eq!(code, Some(1), "{said}");
    assert_says(&said, &[&place.address, "--listen"]);
}

/// A small file system of its own; gone with this value.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounted over this folder, with its content taken along. `None` where that is not allowed.
    fn over(folder: &Path, mebibytes: u32) -> Option<Self> {
        let configuration = fs::read(folder.join("tablao.toml")).expect("a configuration");
        let status = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mebibytes}m"),
                "tablao-test",
            ])
            .arg(folder)
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return None;
        }
        fs::write(folder.join("tablao.toml"), configuration).expect("a file");
        Some(Self {
            folder: folder.to_owned(),
        })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Writes until nothing more fits, or so many bytes are there.
    fn fill(&self, bytes_max: usize) {
        use std::io::Write as _;
        let mut options = fs::File::options();
        let file = options.create(true).append(true).open(self.ballast());
        let mut file = file.expect("a file");
        let mut written = 0;
        for step in [1 << 20, 4096, 1] {
            while written + step <= bytes_max && file.write_all(&vec![1; step]).is_ok() {
                written += step;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is still being killed may hold it for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// Protects running tasks from a disk that fills: submissions are refused while there is still
/// room for workers' reports; when nothing fits the process ends and says why; with space freed
/// everything acknowledged is there.
#[test]
fn a_disk_that_fills_up_refuses_submissions_first_and_loses_nothing() {
    let place = Place::new(PATIENT);
    let Some(disk) = SmallDisk::over(&place.data, 72) else {
        println!("not checked: mounting a small file system needs root");
        return;
    };
    let mut manager = place.manager();
    assert_eq!(submit(&place.address, "before").status, 200);
    let mut worker = HandWorker::sign_on(&place.address, "hand");
    let task = worker.task();

    disk.fill(16 << 20);
    let refused = submit(&place.address, "refused");
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert_says(&refused.text(), &["free some space"]);
    let answer = worker.report(&task, json!({"taskStatus": "active"}));
    assert_eq!(
        answer.status,
        204,
        "the reserve is for reports: {}",
        answer.text()
    );

    disk.fill(usize::MAX);
    let acknowledged = change_until_nothing_comes_back(&mut worker, &task);
    let status = until("the end of the Manager", || manager.ended());
    let said = manager.said();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_says(
        &said,
        &["cannot be written", "No space left", "start again"],
    );
    // As long as the disk is full it does not start and says so, or it found room for a few records
    // where the checkpoints had been, and takes no work.
    let mut early = Process::start(&place.folder, "too-early", &mut place.manager_command());
    let ended = until("the end of the early one, or its answer", || {
        let answers = || {
            http::get(&place.address, "/healthz")
                .is_ok()
                .then_some(None)
        };
        early.ended().map(Some).or_else(answers)
    });
    if let Some(status) = ended {
        let said = early.said();
        assert_eq!(status.code(), Some(1), "{said}");
        assert_says(&said, &["No space left", "free some space"]);
    } else {
        assert_eq!(submit(&place.address, "too early").status, 507);
        early.kill();
    }

    disk.free();
    let mut manager = place.manager();
    assert_eq!(job_names(&place.address), ["before"]);
    assert_eq!(priority(&place.address, &task), acknowledged);
    assert_eq!(submit(&place.address, "after").status, 200);
    manager.stop();
    journals::verify_all(&place.data);
}

/// Changes a job's priority until no answer comes any more; the last acknowledged one. Each change
/// is a record, and the journal has to grow by a whole page before it finds the disk full.
fn change_until_nothing_comes_back(worker: &mut HandWorker, task: &Value) -> u64 {
    let mut steps = 0;
    loop {
        let priority = 1 + steps % 100;
        match worker.try_priority(task, priority) {
            Ok(answer) => {
                assert_eq!(answer.status, 204, "{}", answer.text());
                steps += 1;
            }
            Err(_) => return 1 + (steps - 1) % 100,
        }
    }
}

/// The priority of the task's job, as the farm has it.
fn priority(address: &str, task: &Value) -> u64 {
    let path = format!("/api/v3/jobs/{}", task["job"].as_str().expect("an id"));
    let answer = http::get(address, &path).expect("the Manager listens");
    answer.json()["priority"].as_u64().expect("a number")
}

/// Starts the Manager so that no file of its can become larger than this, as on a disk on which
/// nothing more fits. Nobody's rights matter to that.
fn limited_manager(place: &Place, kibibytes: u64) -> Process {
    let script = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$@\"");
    let unlimited = place.manager_command();
    let mut limited = Command::new("bash");
    limited.args(["-c", &script, "limited"]);
    limited.arg(unlimited.get_program());
    limited.args(unlimited.get_args());
    place.started("limited", &mut limited)
}

/// What a worker may hear from each of its operations while it does nothing wrong. It takes any
/// other code for the failure of its task, or registers anew.
const HEARD: &[(&str, &str, &[u16])] = &[
    ("POST", "sign-on", &[200]),
    ("POST", "state-changed", &[204]),
    ("GET", "state", &[200, 204]),
    ("POST", "task", &[200]),
    ("GET", "task/{}/may-i-run", &[200]),
    ("POST", "task/{}", &[204]),
    ("POST", "sign-off", &[204]),
];

/// Protects workers' tasks from a store that fails: each call of theirs is answered as ever, or
/// its connection closes without a word, so that the worker keeps what it has to say. What was
/// acknowledged is there afterwards, and of what was not, all of it or nothing.
#[test]
fn workers_hear_no_error_from_a_store_that_fails() {
    let place = Place::new(PATIENT);
    let mut manager = place.manager();
    assert_eq!(submit(&place.address, "long").status, 200);
    let mut worker = HandWorker::sign_on(&place.address, "hand");
    manager.stop();

    // The journal takes so much at once before it needs it.
    let mut manager = limited_manager(&place, 256);
    worker.connection = Connection::open(&place.address).expect("the Manager listens");
    let mut task = Value::Null;
    let mut calls = 0;
    let mut acknowledged = false;
    'calls: loop {
        for (method, operation, codes) in HEARD {
            let body = match *operation {
                "sign-on" => json!({
                    "name": "hand", "software_version": "3.9", "supported_task_types": ["misc"],
                    "tablao": { "held_attempts": [] },
                }),
                "state-changed" => json!({ "status": "awake" }),
                "task/{}" => json!({
                    "taskStatus": "active", "steps_completed": 1, "log": "words\n",
                    "tablao": { "attempt": task["tablao"]["attempt"] },
                }),
                _ => Value::Null,
            };
            let id = task["uuid"].as_str().unwrap_or_default();
            let path = format!("/api/v3/worker/{}", operation.replace("{}", id));
            let Ok(answer) = worker.try_call(method, &path, &body) else {
                break 'calls;
            };
            let status = answer.status;
            assert!(
                codes.contains(&status),
                "{operation}: {status} {}",
                answer.text()
            );
            calls += 1;
            match *operation {
                "task" => task = answer.json(),
                "task/{}" => acknowledged = true,
                "sign-off" => acknowledged = false,
                _ => {}
            }
        }
    }
    assert!(calls > HEARD.len(), "something was still acknowledged");
    let status = until("the end of the Manager", || manager.ended());
    let said = manager.said();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_says(&said, &["cannot be written", "start again"]);

    let mut manager = place.manager();
    let path = format!("/api/v3/tasks/{}", task["uuid"].as_str().expect("an id"));
    let shown = http::get(&place.address, &path).expect("the Manager listens");
    let shown = shown.json();
    // The call that got no answer may have been the worker's good-bye, and been kept.
    let is_kept = shown["steps_completed"] == 1 || shown["status"] == "queued";
    assert!(is_kept || !acknowledged, "{shown}");
    manager.stop();
    journals::verify_all(&place.data);
}

/// A data directory at rest with some jobs in it, and its site segment.
fn at_rest(kill: bool) -> (Place, PathBuf) {
    let place = Place::new(PATIENT);
    let mut manager = place.manager();
    for name in ["one", "two", "three"] {
        assert_eq!(submit(&place.address, name).status, 200);
    }
    if kill {
        manager.kill();
    } else {
        manager.stop();
    }
    let segment = place.data.join("journal/site/00000000000000000001.seg");
    (place, segment)
}

/// Starts the Manager on a journal that it must not touch; what it said.
fn refuses(place: &Place, segment: &Path, code: i32) -> String {
    let before = fs::read(segment).expect("a segment");
    let (ended, said) = ends(place, "refusing", &mut place.manager_command());
    assert_eq!(ended, Some(code), "{said}");
    assert_eq!(
        fs::read(segment).expect("a segment"),
        before,
        "it was changed"
    );
    said
}

/// Protects history from silent loss: a flipped bit is found, placed, and nothing is thrown away.
#[test]
fn a_flipped_bit_is_refused_and_named() {
    let (place, segment) = at_rest(false);
    let mut bytes = fs::read(&segment).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&segment, &bytes).expect("written");
    let said = refuses(&place, &segment, 3);
    assert_says(
        &said,
        &[
            "damaged at byte",
            "position",
            "00000000000000000001.seg",
            "restore it",
        ],
    );
    bytes[middle] ^= 0x10;
    fs::write(&segment, &bytes).expect("written");
    let _manager = place.manager();
    assert_eq!(job_names(&place.address), ["one", "three", "two"]);
}

/// Protects acknowledged records of a journal that was closed in order: bytes missing from its end
/// are damage, not a torn tail.
#[test]
fn a_closed_journal_with_its_tail_cut_is_refused() {
    let (place, segment) = at_rest(false);
    let bytes = fs::read(&segment).expect("a segment");
    fs::write(&segment, &bytes[..bytes.len() - 40]).expect("written");
    let said = refuses(&place, &segment, 3);
    assert_says(&said, &["damaged", "closed in order", "restore it"]);
}

/// Protects a farm after a crash: the incomplete last write is cut off and kept aside, and
/// everything before it is there.
#[test]
fn a_torn_tail_after_a_crash_is_cut_off_and_kept_aside() {
    let (place, segment) = at_rest(true);
    let mut bytes = fs::read(&segment).expect("a segment");
    // The beginning of one more batch, as a write that was never answered leaves it.
    let batch: Vec<u8> = bytes[128..168].to_vec();
    bytes.extend_from_slice(&batch);
    fs::write(&segment, &bytes).expect("written");
    let mut manager = place.manager();
    assert_says(
        &manager.said(),
        &["incomplete", "nothing acknowledged is lost"],
    );
    assert_eq!(job_names(&place.address), ["one", "three", "two"]);
    manager.stop();
    journals::verify_all(&place.data);
    let aside = fs::read_dir(place.data.join("journal/site")).expect("a folder");
    let names: Vec<String> = aside
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("torn-")),
        "{names:?}"
    );
}

/// Protects journals of later releases from this one: it says so and touches nothing.
#[test]
fn a_newer_format_is_refused_untouched() {
    let (place, segment) = at_rest(false);
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[8..10].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..124]);
    bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&segment, &bytes).expect("written");
    let said = refuses(&place, &segment, 1);
    assert_says(&said, &["newer", "start a tablao at least as new"]);
}

/// Appends a record of a kind that no build has yet.
fn append_unknown(place: &Place, kind: u16) {
    let files = RealFiles::existing(place.data.join("journal/site"));
    let options = OpenOptions::new(JournalId([0; 16]), 0);
    let opened = Journal::open(Arc::new(files), &options).expect("opened");
    let mut journal = opened.journal;
    let draft = Draft {
        time_us: journal.last_time_us(),
        records: vec![RecordDraft {
            kind,
            version: 1,
            authority: Authority::Site,
            decision_offset: 0,
            facts: b"from a later build".to_vec(),
            detail: None,
        }],
    };
    journal
        .commit(journal.next_lsn(), &[&draft])
        .expect("appended");
    journal.close().expect("closed");
}

/// Protects the state from being folded wrongly: a record that may not be passed over stops the
/// start and says what to install; one that may is passed over and the farm works on.
#[test]
fn unknown_kinds_of_both_sorts_are_told_apart() {
    let (place, segment) = at_rest(false);
    append_unknown(&place, KIND_MAY_BE_SKIPPED | 0x0f00);
    let mut manager = place.manager();
    assert_eq!(job_names(&place.address), ["one", "three", "two"]);
    assert_eq!(submit(&place.address, "four").status, 200);
    manager.stop();

    append_unknown(&place, 0x0f00);
    let said = refuses(&place, &segment, 1);
    assert_says(&said, &["unknown kind 3840", "position", "upgrade"]);
    journals::verify_all(&place.data);
}
