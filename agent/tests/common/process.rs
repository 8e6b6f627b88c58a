// SPDX-License-Identifier: GPL-3.0-or-later
//! A Worker as a process of its own, for tests that kill it, and a look at what it has started.
//!
//! Every process of its tree carries the path of its data directory in its environment, which is
//! how what is left behind is found, whoever has become its parent.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Manager, program};

/// Name of an environment variable that marks every process of one Worker.
const MARK: &str = "TABLAO_TEST_MARK";

/// A running Worker, which goes when this does.
pub(crate) struct Process {
    child: Child,
    mark: String,
}

impl Process {
    pub(crate) fn start(manager: &Manager, data_dir: &Path) -> Self {
        Self::start_with(manager, data_dir, &[])
    }

    /// Starts one with more in its environment.
    pub(crate) fn start_with(
        manager: &Manager,
        data_dir: &Path,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        Self::spawn(Command::new(program()), manager, data_dir, environment, &[])
    }

    /// Starts one in a control group, with two slots of so many bytes each.
    pub(crate) fn start_in_group(
        manager: &Manager,
        data_dir: &Path,
        group: &Path,
        bytes: u64,
    ) -> Self {
        let mut enters = Command::new("sh");
        enters
            .args(["-c", "echo 0 >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(group)
            .arg(program());
        Self::spawn(enters, manager, data_dir, &[], &[bytes.to_string()])
    }

    fn spawn(
        mut program: Command,
        manager: &Manager,
        data_dir: &Path,
        environment: &[(&str, &OsStr)],
        more: &[String],
    ) -> Self {
        let child = program
            .arg("worker")
            .arg(&manager.url)
            .arg(data_dir)
            .args(more)
            .env(MARK, data_dir)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mark = format!("{MARK}={}", data_dir.display());
        Self { child, mark }
    }

    /// Whether it has started a program with these words in its command line. Whoever only asks a
    /// program for its version runs nothing of a task.
    pub(crate) fn runs(&self, words: &str) -> bool {
        marked(&self.mark).iter().any(|line| {
            let supervises = line.split(' ').any(|word| word == "supervise");
            !supervises && !line.contains("--version") && line.contains(words)
        })
    }

    /// Waits until the Worker has ended by itself, and well.
    pub(crate) async fn end(mut self) {
        let child = std::cell::RefCell::new(&mut self.child);
        let ended = || child.borrow_mut().try_wait().unwrap();
        until("the end of a worker", || ended().is_some()).await;
        assert!(ended().is_some_and(|status| status.success()));
    }

    /// Kills the Worker and waits until no process that it had started is left.
    pub(crate) async fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        until("the end of what a killed worker had started", || {
            marked(&self.mark).is_empty()
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // For a test that failed: its tree goes with the Worker.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Command lines of all processes with this mark.
fn marked(mark: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|pair| pair == mark.as_bytes())
        })
        .map(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        })
        .collect()
}

/// Process ids of Blenders, not of those who watch over them, that have these words in their
/// command line.
pub(crate) fn blenders_with(words: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(process.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let supervises = line.split('\0').any(|word| word == "supervise");
            (!supervises && line.contains(words)).then_some(pid)
        })
        .collect()
}

/// Waits for something that no Manager hears of.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(seen.is_ok(), "never saw {what}");
}

/// Whether some file below `folder` contains these bytes.
pub(crate) fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}
