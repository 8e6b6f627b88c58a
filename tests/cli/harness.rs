// SPDX-License-Identifier: GPL-3.0-or-later
//! Starts farms for the tests and runs `tablao` against them. Nothing of the program's own code
//! is used here, only the binary.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::folder::JournalFolder;

/// Far more than anything here takes, also on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(180);

/// A `tablao` that listens nowhere and has none of the caller's settings.
pub(crate) fn tablao() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tablao"));
    for name in [
        "TABLAO_URL",
        "TABLAO_TOKEN",
        "TABLAO_LOG",
        "TABLAO_LOG_FORMAT",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the binary runs");
        Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8(output.stdout).expect("it prints UTF-8"),
            err: String::from_utf8(output.stderr).expect("it prints UTF-8"),
        }
    }

    /// Ended like this, or the test fails and shows everything.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The error says all of this.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.err.contains(word),
                "it does not say {word:?}: {self:#?}"
            );
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Runs without a farm.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Run {
    Run::of(tablao().args(arguments))
}

/// A farm of its own, in a folder of its own.
pub(crate) struct Farm {
    child: Child,
    /// Dropped after the process has ended: then its journals are read.
    folder: JournalFolder,
    pub(crate) url: String,
}

impl Farm {
    pub(crate) fn start(workers: u32) -> Self {
        Self::start_with(workers, |_| {})
    }

    /// Starts it in a data directory that is prepared first.
    pub(crate) fn start_with(workers: u32, prepare: impl FnOnce(&Path)) -> Self {
        let folder = JournalFolder::new();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).expect("a folder");
        prepare(&data);
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let mut child = tablao()
            .args(["up", "--until-stdin-closes", "--listen", "127.0.0.1:0"])
            .args(["--workers", &workers.to_string(), "--data"])
            .arg(&data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| {
                let log = std::fs::read_to_string(folder.path().join("log"));
                panic!("the farm did not start: {line:?} {log:?}")
            });
        Self {
            url: url.trim_end_matches('/').to_owned(),
            child,
            folder,
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = tablao();
        command.env("TABLAO_URL", &self.url);
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        Run::of(self.command().args(arguments))
    }

    /// Runs one of the tools that read a data directory.
    pub(crate) fn look(&self, arguments: &[&str]) -> Run {
        Run::of(tablao().args(arguments).arg("--data").arg(self.data()))
    }

    /// Submits a job that only says something, and gives its id.
    pub(crate) fn submit(&self, more: &[&str]) -> String {
        let mut arguments = vec!["submit", "--type", "echo-sleep-test"];
        arguments.extend([
            "--set",
            "message=hello",
            "--set",
            "sleep_duration_seconds=0",
        ]);
        arguments.extend(more);
        self.run(&arguments).ended(0).out.trim().to_owned()
    }

    /// Ends it in order and keeps its data.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        wait_for("the farm to end", || {
            self.child.try_wait().expect("it is our child")
        })
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again until there is something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
