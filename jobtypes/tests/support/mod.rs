// SPDX-License-Identifier: GPL-3.0-or-later
//! Shared by the tests of this crate: a scripts folder on disk, and jobs to submit.
//! Everything runs the real engine on real files; there is nothing to stub.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part; a failed unwrap is a failed test"
)]

use std::{collections::BTreeMap, fs};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use tablao_jobtypes::{Command, CompiledJob, CompiledTask, Error, JobTypes, Options, SubmittedJob};
use tempfile::TempDir;
use uuid::Uuid;

/// A scripts folder that is removed at the end of the test.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file below the folder, making the folders above it.
    pub fn write(&self, path: &str, text: &str) {
        let target = self.0.path().join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, text).unwrap();
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.0.path().join(path)).unwrap();
    }

    /// Options for this folder, without a watching thread and in a fixed time zone.
    pub fn options(&self) -> Options {
        Options {
            scripts_dir: Some(self.0.path().to_owned()),
            watch: false,
            time_zone: Some(TimeZone::UTC),
            ..Options::default()
        }
    }

    pub fn open(&self) -> JobTypes {
        JobTypes::open(self.options()).unwrap()
    }
}

/// The built-in job types alone.
pub fn built_in() -> JobTypes {
    let options = Options {
        time_zone: Some(TimeZone::UTC),
        ..Options::default()
    };
    JobTypes::open(options).unwrap()
}

/// A submission with the given settings.
pub fn job(job_type: &str, settings: Value) -> SubmittedJob {
    let Value::Object(settings) = settings else {
        panic!("settings must be an object");
    };
    SubmittedJob {
        id: Uuid::from_u128(7),
        name: "日本語 job ünïcode".into(),
        job_type: job_type.into(),
        type_etag: None,
        priority: 50,
        settings,
        metadata: BTreeMap::from([("project".into(), "Špröite".into())]),
        submitter_platform: "linux".into(),
        shaman_checkout_id: None,
        worker_tag: Some("e0e05417-9773-46f5-b1d0-850945f9d417".into()),
        // 2006-01-02 15:04:05 UTC
        created: Timestamp::from_second(1_136_214_245).unwrap(),
    }
}

/// A job type script around the body of its `compileJob(job)`.
pub fn script(body: &str) -> String {
    format!(
        "const JOB_TYPE = {{ label: \"Probe\", settings: [] }};\nfunction compileJob(job) {{\n{body}\n}}\n"
    )
}

/// Compiles with a script of this body and no settings.
pub fn compile_body(body: &str) -> Result<CompiledJob, Error> {
    compile_body_with(body, Value::Object(serde_json::Map::new()), |_| {})
}

/// Compiles with a script of this body, with settings and adjusted options.
pub fn compile_body_with(
    body: &str,
    settings: Value,
    adjust: impl FnOnce(&mut Options),
) -> Result<CompiledJob, Error> {
    let folder = Folder::new();
    folder.write("probe.js", &script(body));
    let mut options = folder.options();
    adjust(&mut options);
    let types = JobTypes::open(options).unwrap();
    assert_eq!(types.problems(), [], "the probe itself must load");
    types.compile(job("probe", settings))
}

/// Compiles a body that stores what it found out in `job.settings.result`.
pub fn probe(body: &str) -> Value {
    let compiled = compile_body(body).unwrap();
    compiled.settings["result"].clone()
}

/// The text of the error a body ends with.
pub fn failure(body: &str) -> String {
    compile_body(body).unwrap_err().to_string()
}

/// Compiles a job of this type.
pub fn compiled(types: &JobTypes, job_type: &str, settings: Value) -> Result<CompiledJob, Error> {
    types.compile(job(job_type, settings))
}

/// Settings with some changed.
pub fn changed(mut settings: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        settings[key] = value.clone();
    }
    settings
}

/// Names of all tasks in order.
pub fn names(job: &CompiledJob) -> Vec<&str> {
    job.tasks.iter().map(|task| task.name.as_str()).collect()
}

/// The task of this name.
pub fn task<'a>(job: &'a CompiledJob, name: &str) -> &'a CompiledTask {
    let found = job.tasks.iter().find(|task| task.name == name);
    found.unwrap_or_else(|| panic!("no task {name} in {:?}", names(job)))
}

/// Names of the tasks that it waits for.
pub fn parents<'a>(job: &'a CompiledJob, name: &str) -> Vec<&'a str> {
    let parents = task(job, name).depends_on.iter();
    parents
        .map(|parent| job.tasks[*parent].name.as_str())
        .collect()
}

/// Its first command.
pub fn command(job: &CompiledJob, name: &str) -> Command {
    task(job, name).commands().remove(0)
}

/// The words of a command line.
pub fn arguments(command: &Command) -> Vec<String> {
    let listed = command.parameters["args"].as_array().unwrap().iter();
    listed
        .map(|word| {
            word.as_str()
                .map_or_else(|| word.to_string(), str::to_owned)
        })
        .collect()
}

/// The word after this one.
pub fn after(command: &Command, flag: &str) -> String {
    let words = arguments(command);
    let at = words.iter().position(|word| word == flag);
    words[at.unwrap_or_else(|| panic!("no {flag} in {words:?}")) + 1].clone()
}
