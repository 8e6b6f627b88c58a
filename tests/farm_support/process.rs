// SPDX-License-Identifier: GPL-3.0-or-later
//! Real `tablao` processes of a test: started, waited for, killed with no warning.
//!
//! Their logs go to files that are printed when the test fails. Nothing outlives the test.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use super::{http, until};

/// The program under test.
pub(crate) const TABLAO: &str = env!("CARGO_BIN_EXE_tablao");

/// One process and where its log is.
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; its output goes to `<folder>/<name>.log`, after what is there.
    pub(crate) fn start(folder: &Path, name: &str, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let open = || {
            let mut options = File::options();
            let opened = options.create(true).append(true).open(&log);
            opened.unwrap_or_else(|error| panic!("{}: {error}", log.display()))
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL to this process alone, and its remains collected.
    pub(crate) fn kill(&mut self) {
        // A process that is gone already cannot be killed, and is gone all the same.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Asks it to end in order and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        until(&format!("the end of {}", self.name), || self.ended())
    }

    fn signal(&self, signal: &str) {
        let arguments = [format!("-{signal}"), self.id().to_string()];
        let status = Command::new("kill").args(arguments).status();
        assert!(status.is_ok_and(|status| status.success()), "kill runs");
    }

    /// Everything it has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if failed {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- end of {}:\n{}", self.name, last.join("\n"));
        }
    }
}

/// A farm's place: a folder for everything, a data directory in it, an address.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) address: String,
    _lifetime: tempfile::TempDir,
}

impl Place {
    /// A fresh one whose `tablao.toml` says this.
    pub(crate) fn new(configuration: &str) -> Self {
        let lifetime = tempfile::tempdir().expect("a temporary folder");
        let folder = lifetime.path().to_owned();
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("a folder");
        fs::write(data.join("tablao.toml"), configuration).expect("a file");
        Self {
            folder,
            data,
            address: format!("127.0.0.1:{}", reserved_port()),
            _lifetime: lifetime,
        }
    }

    /// The command line of its Manager.
    pub(crate) fn manager_command(&self) -> Command {
        let mut command = Command::new(TABLAO);
        command.args(["manager", "--listen", &self.address, "--data"]);
        command.arg(&self.data);
        command
    }

    /// Starts its Manager and waits until it answers.
    pub(crate) fn manager(&self) -> Process {
        self.started("manager", &mut self.manager_command())
    }

    /// Starts a Server and waits until it answers.
    pub(crate) fn server(&self) -> Process {
        let mut command = Command::new(TABLAO);
        command.args(["server", "--listen", &self.address, "--data"]);
        command.arg(&self.data);
        self.started("server", &mut command)
    }

    /// Starts its Manager for the first time below a Server and waits until it answers.
    pub(crate) fn manager_below(&self, server: &str, token: &str) -> Process {
        let mut command = self.manager_command();
        let server = format!("http://{server}");
        command.args(["--server", &server, "--link-token", token]);
        self.started("manager", &mut command)
    }

    /// Starts a whole farm with one Worker in one process and waits until it answers.
    pub(crate) fn up(&self) -> Process {
        let mut command = Command::new(TABLAO);
        command.args(["up", "--workers", "1", "--listen", &self.address, "--data"]);
        command.arg(&self.data);
        self.started("farm", &mut command)
    }

    /// Starts a command and waits until the farm's address answers.
    pub(crate) fn started(&self, name: &str, command: &mut Command) -> Process {
        let mut process = Process::start(&self.folder, name, command);
        until(&format!("an answer of the {name}"), || {
            if let Some(status) = process.ended() {
                panic!("the {name} ended with {status}: {}", process.said());
            }
            let answer = http::get(&self.address, "/readyz").ok()?;
            (answer.status == 200).then_some(())
        });
        process
    }

    /// Starts a Worker whose own data is kept under its name.
    pub(crate) fn worker(&self, name: &str) -> Process {
        self.worker_of_slots(name, 1)
    }

    /// Starts a Worker that runs so many tasks at a time.
    pub(crate) fn worker_of_slots(&self, name: &str, slots: u32) -> Process {
        let mut command = Command::new(TABLAO);
        command
            .args(["worker", "--name", name, "--manager"])
            .arg(format!("http://{}", self.address))
            .arg("--data")
            .arg(self.folder.join(name))
            .args(["--slots", &slots.to_string()]);
        Process::start(&self.folder, name, &mut command)
    }
}

/// A port that is free now and that no other test of this binary gets. Below those that the
/// system gives to outgoing connections: one of these, trying to reach a Manager that is down,
/// could otherwise connect to itself and keep the port.
fn reserved_port() -> u16 {
    static TAKEN: Mutex<Option<u16>> = Mutex::new(None);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let offset = u16::try_from(std::process::id() % 9_000).expect("below 9000");
    let mut port = taken.map_or(20_000 + offset, |port| port + 1);
    while TcpListener::bind(("127.0.0.1", port)).is_err() {
        port += 1;
    }
    *taken = Some(port);
    port
}
