// SPDX-License-Identifier: GPL-3.0-or-later
//! The supervisor process: stands between the Worker and one command, so that nothing the
//! command started outlives it, the Worker's orders, or the Worker itself.
//!
//! Its contract with the Worker: standard input is a lifeline (closed: kill everything; a line
//! `stop`: ask politely, then kill), standard output is handed on to the command, standard error
//! carries one JSON [`Note`] per line back. It is started as `EXE supervise [--oom N]
//! [--processors N,N...] [--memory BYTES] [--group FOLDER] -- COMMAND ARGS...`, and starts itself once
//! more as `EXE supervise --exec ...` to become the command.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(unix)]
mod memory;

/// How long a command may take to end by itself when asked to stop.
#[cfg(unix)]
pub(crate) const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// What the supervisor tells the Worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The command runs as this process.
    Started {
        /// Process id, for the task's log.
        pid: u32,
    },
    /// The command could not be started.
    NotStarted {
        /// What the operating system said.
        message: String,
    },
    /// The command has ended, and so has all it had started.
    Ended {
        /// Exit code, unless a signal ended it.
        exit: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Largest resident size of one process; of all together when they outgrew their group.
        peak_memory_bytes: Option<u64>,
        /// The system killed it, while it was killing processes because memory ran out.
        #[serde(default)]
        killed_for_memory: bool,
        /// It was killed because all in its control group together took more than that has.
        #[serde(default)]
        outgrew_group: bool,
        /// Processes it left behind, which were killed.
        left_behind: u32,
    },
}

/// The supervisor's arguments, as they follow the word `supervise`.
#[derive(Debug, Default, PartialEq)]
struct Arguments {
    exec: bool,
    limits: Limits,
    command: Vec<OsString>,
}

/// What a command may have of the machine.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// Score for Linux's out-of-memory killer.
    pub(crate) oom_score_adj: Option<i32>,
    /// Numbers of the processors that the command may run on; empty means all.
    pub(crate) processors: Vec<usize>,
    /// Bytes of memory that each process may ask for.
    pub(crate) memory_bytes: Option<u64>,
    /// Folder of the control group that the command and all it starts are in.
    pub(crate) group: Option<PathBuf>,
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Arguments> {
    let mut parsed = Arguments::default();
    let limits = &mut parsed.limits;
    let mut args = args.into_iter();
    loop {
        let word = args.next()?;
        match word.to_str() {
            Some("--exec") => parsed.exec = true,
            Some("--processors") => limits.processors = numbers(args.next()?.to_str()?)?,
            Some("--memory") => limits.memory_bytes = Some(args.next()?.to_str()?.parse().ok()?),
            Some("--group") => limits.group = Some(args.next()?.into()),
            Some("--oom") => limits.oom_score_adj = args.next()?.to_str()?.parse().ok(),
            Some("--") => break,
            Some(_) | None => return None,
        }
    }
    parsed.command = args.collect();
    (!parsed.command.is_empty()).then_some(parsed)
}

impl Limits {
    /// The options that say it, as `parse` reads them.
    pub(crate) fn options(&self) -> Vec<OsString> {
        let numbers: Vec<String> = self.processors.iter().map(usize::to_string).collect();
        let numbers = (!numbers.is_empty()).then(|| numbers.join(","));
        let memory = self.memory_bytes.map(|bytes| bytes.to_string());
        let options = [
            (
                "--oom",
                self.oom_score_adj.map(|score| score.to_string().into()),
            ),
            ("--processors", numbers.map(OsString::from)),
            ("--memory", memory.map(OsString::from)),
            ("--group", self.group.clone().map(PathBuf::into_os_string)),
        ];
        options
            .into_iter()
            .filter_map(|(option, value)| Some([option.into(), value?]))
            .flatten()
            .collect()
    }
}

fn numbers(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|number| number.parse().ok()).collect()
}

/// Runs `supervise` with the arguments after that word and returns the exit code of the process.
///
/// The code only says whether supervising worked; how the command ended is told by a [`Note`].
pub fn supervise(args: impl IntoIterator<Item = OsString>) -> u8 {
    match parse(args) {
        Some(arguments) if arguments.exec => platform::become_command(&arguments),
        Some(arguments) => platform::supervise(&arguments),
        None => {
            eprintln!(
                "usage: supervise [--oom N] [--processors N,N...] [--memory BYTES] [--group FOLDER] -- COMMAND [ARGUMENT]..."
            );
            2
        }
    }
}

fn tell(note: &Note) {
    let text = serde_json::to_string(note).expect("a note is plain JSON");
    // The Worker may be gone; then there is nobody left to tell.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

#[cfg(unix)]
mod platform {
    use std::io::{BufRead as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::{Command, ExitStatus, Stdio};
    use std::sync::{Arc, Mutex};

    use nix::sys::signal::{Signal, killpg};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::memory::{RanOut, Watch};
    use super::{Arguments, GRACE, Limits, Note, tell};
    use crate::groups;

    pub(super) fn supervise(arguments: &Arguments) -> u8 {
        #[cfg(target_os = "linux")]
        if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
            // Without it a process that left the group and its parent is out of reach.
            tell(&Note::NotStarted {
                message: format!("cannot become the reaper of the command's processes: {error}"),
            });
            return 1;
        }
        let watch = Watch::begin(arguments.limits.group.as_deref());
        let child = match start(arguments) {
            Ok(child) => child,
            Err(error) => {
                tell(&Note::NotStarted {
                    message: error.to_string(),
                });
                return 1;
            }
        };
        let pid = Pid::from_raw(i32::try_from(child).expect("process ids are small"));
        tell(&Note::Started { pid: child });

        // True while the command has not been reaped, that is, while its number is its own.
        let alive = Arc::new(Mutex::new(true));
        let lifeline = Arc::clone(&alive);
        std::thread::spawn(move || follow_lifeline(pid, &lifeline));

        let status = wait_for(pid, &alive);
        let left_behind = end_left_behind();
        let status = status.unwrap_or_default();
        let ran_out = watch.ran_out(status);
        tell(&Note::Ended {
            exit: status.code(),
            signal: status.signal(),
            peak_memory_bytes: watch.peak_bytes(ran_out),
            killed_for_memory: ran_out == Some(RanOut::Machine),
            outgrew_group: ran_out == Some(RanOut::Group),
            left_behind,
        });
        0
    }

    /// Starts this executable once more, as leader of a new process group, to become the command.
    ///
    /// The detour lets code run between fork and exec without unsafe code: the death signal and
    /// the score for the out-of-memory killer are set there.
    fn start(arguments: &Arguments) -> std::io::Result<u32> {
        let output = std::io::stdout().as_fd().try_clone_to_owned()?;
        let errors = output.try_clone()?;
        // Standard input is the way for `become_command` to say that the exec failed.
        let notes = std::io::stderr().as_fd().try_clone_to_owned()?;
        let mut command = Command::new(own_executable()?);
        command.arg("supervise").arg("--exec");
        let child = command
            .args(arguments.limits.options())
            .arg("--")
            .args(&arguments.command)
            .stdin(Stdio::from(notes))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors))
            .process_group(0)
            .spawn()?;
        Ok(child.id())
    }

    /// This program, also while an update is replacing its file.
    fn own_executable() -> std::io::Result<std::path::PathBuf> {
        if cfg!(target_os = "linux") {
            Ok("/proc/self/exe".into())
        } else {
            std::env::current_exe()
        }
    }

    pub(super) fn become_command(arguments: &Arguments) -> u8 {
        #[cfg(target_os = "linux")]
        {
            // If somebody kills the supervisor itself, its command must not go on unwatched.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            if let Some(score) = arguments.limits.oom_score_adj {
                // Lowering it takes a privilege; a farm without it runs as well.
                let _ = std::fs::write("/proc/self/oom_score_adj", score.to_string());
            }
        }
        let notes = std::io::stdin().as_fd().try_clone_to_owned();
        let message = match limit(&arguments.limits) {
            Ok(()) => Command::new(&arguments.command[0])
                .args(&arguments.command[1..])
                .stdin(Stdio::null())
                .exec()
                .to_string(),
            Err(message) => message,
        };
        let note = Note::NotStarted { message };
        if let Ok(notes) = notes {
            let text = serde_json::to_string(&note).expect("a note is plain JSON");
            let _ = std::fs::File::from(notes).write_all(format!("{text}\n").as_bytes());
        }
        127
    }

    /// Gives this process, and with it the command, its share of the machine.
    fn limit(limits: &Limits) -> Result<(), String> {
        // First, because who enters a group may lose the processors that it had.
        if let Some(folder) = &limits.group {
            groups::enter(folder).map_err(|error| {
                format!("it cannot enter the control group of its slot: {error}; is the worker's group gone? Start the worker again")
            })?;
        }
        #[cfg(target_os = "linux")]
        if !limits.processors.is_empty() {
            let mut set = nix::sched::CpuSet::new();
            (limits.processors.iter())
                .try_for_each(|&number| set.set(number))
                .and_then(|()| nix::sched::sched_setaffinity(Pid::from_raw(0), &set))
                .map_err(|error| {
                    let numbers = &limits.processors;
                    format!("it cannot be kept to processors {numbers:?}: {error}; are they there, and is --slot-cpus right?")
                })?;
        }
        // What a process maps and does not write costs nothing, so only its own data counts.
        if let Some(bytes) = limits.memory_bytes {
            let resource = nix::sys::resource::Resource::RLIMIT_DATA;
            nix::sys::resource::setrlimit(resource, bytes, bytes).map_err(|error| {
                format!("its memory cannot be limited to {bytes} bytes: {error}")
            })?;
        }
        Ok(())
    }

    /// Reads the Worker's orders until its end of the pipe closes, which is the last order.
    fn follow_lifeline(group: Pid, alive: &Mutex<bool>) {
        for line in std::io::stdin().lock().lines() {
            match line {
                Ok(order) if order == "stop" => {
                    signal_group(group, Signal::SIGTERM, alive);
                    // A second thread, because the pipe may close during the grace.
                    let started = std::time::Instant::now();
                    while started.elapsed() < GRACE && *alive.lock().expect("no holder panics") {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                    }
                    signal_group(group, Signal::SIGKILL, alive);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        signal_group(group, Signal::SIGKILL, alive);
    }

    fn signal_group(group: Pid, signal: Signal, alive: &Mutex<bool>) {
        let alive = alive.lock().expect("no holder panics");
        if *alive {
            let _ = killpg(group, signal);
        }
    }

    /// Waits for the command itself, reaping adopted processes meanwhile, and ends its group.
    fn wait_for(command: Pid, alive: &Mutex<bool>) -> Option<ExitStatus> {
        loop {
            let ended = look(command, alive)?;
            match waitpid(ended, None) {
                Ok(WaitStatus::Exited(pid, code)) if pid == command => {
                    end_group(command, alive);
                    return Some(ExitStatus::from_raw((code & 0xff) << 8));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                    end_group(command, alive);
                    return Some(ExitStatus::from_raw(signal as i32));
                }
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits for some child to end without reaping it, so that the command's group can be killed
    /// while its number is still taken. The outer `None` means that there is no child.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    fn look(command: Pid, alive: &Mutex<bool>) -> Option<Option<Pid>> {
        use nix::sys::wait::{Id, waitid};
        loop {
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(seen) => {
                    if seen.pid() == Some(command) {
                        end_group(command, alive);
                    }
                    return Some(seen.pid());
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    fn look(_command: Pid, _alive: &Mutex<bool>) -> Option<Option<Pid>> {
        Some(None)
    }

    fn end_group(command: Pid, alive: &Mutex<bool>) {
        let mut alive = alive.lock().expect("no holder panics");
        if *alive {
            let _ = killpg(command, Signal::SIGKILL);
            *alive = false;
        }
    }

    /// Kills and reaps every process that came to us when its parent went; returns how many.
    fn end_left_behind() -> u32 {
        let mut ended = 0;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {
                    for pid in children() {
                        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
                    }
                    if waitpid(None, None).is_ok() {
                        ended += 1;
                    }
                }
                Ok(_) => ended += 1,
                Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return ended,
            }
        }
    }

    /// Direct children of this process.
    fn children() -> Vec<Pid> {
        let own = std::process::id().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        processes
            .flatten()
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
                // The name in parentheses may hold anything; the fields after it do not.
                let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
                (parent == own).then(|| Pid::from_raw(pid))
            })
            .collect()
    }
}

#[cfg(not(unix))]
mod platform {
    //! Without process groups only the command itself is ended; what it started may outlive it.

    use std::io::BufRead as _;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Arguments, Note, tell};

    pub(super) fn supervise(arguments: &Arguments) -> u8 {
        let started = Command::new(&arguments.command[0])
            .args(&arguments.command[1..])
            .stdin(Stdio::null())
            .stdout(std::io::stdout())
            .stderr(std::io::stdout())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                tell(&Note::NotStarted {
                    message: error.to_string(),
                });
                return 1;
            }
        };
        tell(&Note::Started { pid: child.id() });
        let (order, orders) = mpsc::channel();
        std::thread::spawn(move || {
            // The first line or the end of the pipe: both mean that it is over.
            let _ = std::io::stdin().lock().lines().next();
            let _ = order.send(());
        });
        loop {
            if orders.recv_timeout(Duration::from_millis(50)).is_ok() {
                let _ = child.kill();
            }
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    tell(&Note::Ended {
                        exit: status.code(),
                        signal: None,
                        peak_memory_bytes: None,
                        killed_for_memory: false,
                        outgrew_group: false,
                        left_behind: 0,
                    });
                    return 0;
                }
                Err(_) => return 1,
            }
        }
    }

    pub(super) fn become_command(_arguments: &Arguments) -> u8 {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_command_are_never_taken_for_the_supervisors() {
        // Protects commands whose own arguments look like ours.
        let words = |text: &str| {
            text.split(' ')
                .map(std::ffi::OsString::from)
                .collect::<Vec<_>>()
        };
        let parsed = parse(words("--oom 500 -- blender --exec -- x")).unwrap();
        assert_eq!(parsed.limits.oom_score_adj, Some(500));
        assert!(!parsed.exec);
        assert_eq!(parsed.command, words("blender --exec -- x"));
        let parsed = parse(words(
            "--processors 2,3 --memory 4096 -- blender --memory 1",
        ))
        .unwrap();
        assert_eq!(parsed.limits.processors, [2, 3]);
        assert_eq!(parsed.limits.memory_bytes, Some(4096));
        assert_eq!(parsed.limits.group, None);
        assert_eq!(parsed.command, words("blender --memory 1"));
        // What is passed on to the second start is what came in.
        let limits = Limits {
            oom_score_adj: Some(-5),
            processors: vec![0, 7],
            memory_bytes: Some(1),
            group: Some("/a group/slot-1".into()),
        };
        let mut all = limits.options();
        all.extend(words("-- blender --group x"));
        let parsed = parse(all).unwrap();
        assert_eq!(parsed.limits, limits);
        assert_eq!(parsed.command, words("blender --group x"));
        // A limit that cannot be read must not become none.
        assert!(parse(words("--memory much -- blender")).is_none());
        assert!(parse(words("--processors 0-3 -- blender")).is_none());
        assert!(parse(words("blender")).is_none());
        assert!(parse(words("--")).is_none());
    }
}
