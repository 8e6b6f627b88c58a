// SPDX-License-Identifier: GPL-3.0-or-later
//! A farm for one test: submits jobs, waits for them, tells what became of their tasks.
//!
//! Also runs Blender by itself, for the pictures that the farm's are compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::farm_support::http::{self, Connection};
use crate::farm_support::process::{Place, Process};
use crate::farm_support::{scene::require_programs, until};

/// A Blender: the program on the search path, or a module behind a program of ours.
pub(crate) struct Blender {
    pub(crate) program: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Blender {
    /// The program.
    pub(crate) fn installed() -> Self {
        Self {
            program: "blender".into(),
            _folder: None,
        }
    }

    /// The module of the Python that this variable names; nothing where it names none.
    pub(crate) fn module(variable: &str) -> Option<Self> {
        let python = PathBuf::from(std::env::var_os(variable)?);
        if !python.exists() {
            println!(
                "skipped: {variable} names {}, which is not there",
                python.display()
            );
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = folder.path().join("blender");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("addon/tests/blender_by_bpy.py");
        let text = format!(
            "#!/bin/sh\nexec '{}' '{}' \"$@\"\n",
            python.display(),
            script.display()
        );
        std::fs::write(&program, text).expect("a file");
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("a mode");
        Some(Self {
            program,
            _folder: Some(folder),
        })
    }

    /// Runs it with these arguments; panics unless it is content.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let output = Command::new(&self.program)
            .args(["-b", "-y"])
            .args(arguments)
            .output()
            .expect("blender runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Makes a scene with a script that finds the file's name in its last argument.
    pub(crate) fn make_scene(&self, file: &Path, script: &str) {
        let file_name = file.display().to_string();
        let arguments = ["--factory-startup", "--python-exit-code", "1"];
        let arguments = [&arguments[..], &["--python-expr", script, "--", &file_name]].concat();
        self.run(&arguments);
        assert!(file.exists(), "no {file_name}");
    }
}

/// A Manager with two Workers.
pub(crate) struct Farm {
    place: Place,
    _manager: Process,
    _workers: Vec<Process>,
}

impl Farm {
    /// Starts it with this Blender and two Workers.
    pub(crate) fn start(blender: &Blender) -> Self {
        Self::start_with(blender, |place| {
            ["first", "second"].map(|name| place.worker(name)).into()
        })
    }

    /// The same with other Workers.
    pub(crate) fn start_with(
        blender: &Blender,
        workers: impl FnOnce(&Place) -> Vec<Process>,
    ) -> Self {
        require_programs();
        let place = Place::new(&format!(
            "[variables.blender]\nvalues = [{{ platform = \"linux\", value = \"{}\" }}]\n",
            blender.program.display()
        ));
        let manager = place.manager();
        let workers = workers(&place);
        let farm = Self {
            place,
            _manager: manager,
            _workers: workers,
        };
        // A job fails at once when nobody but a worker that failed it could run a task.
        until("two workers", || {
            let workers = farm.get("/api/farm/v1/workers");
            let awake = workers["items"].as_array()?.iter();
            (awake.filter(|worker| worker["status"] == "awake").count() == 2).then_some(())
        });
        farm
    }

    /// A folder for this test.
    pub(crate) fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Where its Manager listens.
    pub(crate) fn address(&self) -> String {
        self.place.address.clone()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = http::get(&self.place.address, path).expect("the Manager listens");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Submits a job; returns its id.
    pub(crate) fn submit(&self, job_type: &str, settings: &Value) -> String {
        let mut connection = Connection::open(&self.place.address).expect("the Manager listens");
        let body = json!({
            "name": job_type, "type": job_type, "priority": 50, "submitter_platform": "linux",
            "settings": settings,
        });
        let answer = connection.json("POST", "/api/v3/jobs", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the job has this status; a job that ends otherwise fails the test with what its
    /// tasks said.
    pub(crate) fn wait_for(&self, job: &str, wanted: &str) {
        until(&format!("job {wanted}"), || {
            let shown = self.get(&format!("/api/v3/jobs/{job}"));
            let status = shown["status"].as_str()?;
            let is_over = matches!(status, "completed" | "failed" | "canceled");
            assert!(
                !is_over || status == wanted,
                "the job is {status}: {}\n{}",
                shown["activity"],
                self.failures(job)
            );
            (status == wanted).then_some(())
        });
    }

    /// Submits a job and waits until it is completed; returns its id.
    pub(crate) fn complete(&self, job_type: &str, settings: &Value) -> String {
        let job = self.submit(job_type, settings);
        self.wait_for(&job, "completed");
        job
    }

    /// All tasks of a job.
    pub(crate) fn tasks(&self, job: &str) -> Vec<Value> {
        let path = format!("/api/farm/v1/jobs/{job}/tasks?limit=1000");
        let listed = self.get(&path)["items"].as_array().cloned();
        listed.expect("a list of tasks")
    }

    /// The frames of a job.
    pub(crate) fn frames(&self, job: &str) -> Vec<Value> {
        let listed = self.get(&format!("/api/farm/v1/frames?job={job}&limit=1000"));
        listed["items"]
            .as_array()
            .cloned()
            .expect("a list of frames")
    }

    fn failures(&self, job: &str) -> String {
        let mut text = String::new();
        for task in self.tasks(job) {
            if matches!(task["status"].as_str(), Some("failed" | "soft-failed")) {
                let id = task["id"].as_str().unwrap_or_default();
                let path = format!("/api/farm/v1/tasks/{id}/log");
                let log = http::get(&self.place.address, &path).map(|answer| answer.text());
                text.push_str(&format!(
                    "{} {}: {}\n{}\n",
                    task["name"],
                    task["status"],
                    task["activity"],
                    log.unwrap_or_default()
                ));
            }
        }
        text
    }
}
