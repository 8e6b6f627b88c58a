// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs one program under the supervisor and hands its output on, line by line.
//!
//! The program's end, however it comes, is reported as [`Ended`]; whether that is a failure is
//! for the command to say.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::lines::LineSplitter;
use crate::places::Share;
use crate::stop::{Stop, StopReason};
use crate::supervisor::Note;

/// How the supervisor is started and what it passes on.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The program that has the `supervise` subcommand.
    pub(crate) supervisor: PathBuf,
    /// Score for Linux's out-of-memory killer.
    pub(crate) oom_score_adj: Option<i32>,
    /// What a program may have of the machine.
    pub(crate) share: Share,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) peak_memory_bytes: Option<u64>,
    /// How it failed for want of memory, if it did.
    pub(crate) out_of_memory: Option<OutOfMemory>,
    /// Processes it had left behind.
    pub(crate) left_behind: u32,
}

/// How a program runs out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutOfMemory {
    /// The system killed it because the machine had none left.
    Killed,
    /// It was refused more than its place has, or killed when all in it together took more.
    Refused {
        /// So many bytes.
        limit: u64,
    },
}

/// Why there is no end to report.
#[derive(Debug)]
pub(crate) enum Unended {
    /// The program did not start.
    NotStarted(String),
    /// The task was stopped; the program and all it started are gone.
    Stopped(StopReason),
    /// The supervisor went without a word. Its death took the program along.
    SupervisorLost,
}

/// One thing the program did.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output<'a> {
    /// It runs as this process.
    Started(u32),
    /// It printed a line.
    Line(&'a str),
}

/// A stopped supervisor that does not end by then is given up; its lifeline closes with it.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the program to its end. `on_output` is called for each line and must not block.
pub(crate) async fn run(
    launcher: &Launcher,
    exe: &str,
    args: &[String],
    stop: &Stop,
    mut on_output: impl FnMut(Output<'_>),
) -> Result<Ended, Unended> {
    let mut command = Command::new(&launcher.supervisor);
    command.arg("supervise");
    let share = &launcher.share;
    command
        .args(share.limits(launcher.oom_score_adj).options())
        .envs(share.environment.iter().map(|(name, value)| (name, value)))
        .arg("--")
        .arg(exe)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Its own group: an interrupt typed at the Worker's terminal must not reach the command
    // before the Worker has decided what to do.
    #[cfg(unix)]
    command.process_group(0);
    let mut supervisor = command.spawn().map_err(|error| {
        Unended::NotStarted(format!(
            "cannot start the supervisor {}: {error}",
            launcher.supervisor.display()
        ))
    })?;
    let mut lifeline = supervisor.stdin.take();
    let mut output = supervisor.stdout.take().expect("stdout was asked for");
    let notes = supervisor.stderr.take().expect("stderr was asked for");
    let mut notes = BufReader::new(notes).lines();

    let mut splitter = LineSplitter::default();
    let mut buffer = vec![0; 40 * 1024];
    let limit = share.memory_bytes;
    let mut complained = false;
    let mut not_started = None;
    let mut ended = None;
    let mut stopped = None;
    let (mut output_open, mut notes_open) = (true, true);
    let give_up = tokio::time::sleep(Duration::MAX / 4);
    tokio::pin!(give_up);
    while output_open || notes_open {
        tokio::select! {
            biased;
            note = notes.next_line(), if notes_open => match note {
                Ok(Some(line)) => match serde_json::from_str(&line) {
                    Ok(Note::Started { pid }) => on_output(Output::Started(pid)),
                    Ok(Note::NotStarted { message }) => not_started = Some(message),
                    Ok(Note::Ended { exit, signal, peak_memory_bytes, killed_for_memory, outgrew_group, left_behind }) => {
                        let outgrew = limit.filter(|_| outgrew_group);
                        let out_of_memory = outgrew.map(|limit| OutOfMemory::Refused { limit });
                        let out_of_memory = out_of_memory.or(killed_for_memory.then_some(OutOfMemory::Killed));
                        ended = Some(Ended { exit, signal, peak_memory_bytes, out_of_memory, left_behind });
                    }
                    Err(_) => tracing::warn!(line, "the supervisor said something unknown"),
                },
                Ok(None) | Err(_) => notes_open = false,
            },
            reason = stop.wait(), if stopped.is_none() => {
                stopped = Some(reason);
                give_up.as_mut().reset(tokio::time::Instant::now() + END_TIMEOUT);
                if let Some(pipe) = &mut lifeline {
                    // A closed pipe means that the supervisor is ending already.
                    let _ = pipe.write_all(b"stop\n").await;
                }
            }
            () = &mut give_up, if stopped.is_some() => break,
            read = output.read(&mut buffer), if output_open => match read {
                Ok(0) | Err(_) => output_open = false,
                Ok(count) => {
                    splitter.push(&buffer[..count], &mut |line| {
                        complained |= limit.is_some() && complains_of_memory(line);
                        on_output(Output::Line(line));
                    });
                }
            },
        }
    }
    splitter.finish(&mut |line| {
        complained |= limit.is_some() && complains_of_memory(line);
        on_output(Output::Line(line));
    });
    drop(lifeline);
    // Collects the supervisor's own end, so that no zombie stays.
    let _ = tokio::time::timeout(END_TIMEOUT, supervisor.wait()).await;
    if let Some(reason) = stopped {
        return Err(Unended::Stopped(reason));
    }
    if let Some(message) = not_started {
        return Err(Unended::NotStarted(message));
    }
    let mut ended = ended.ok_or(Unended::SupervisorLost)?;
    if let Some(limit) = limit
        && ended.out_of_memory.is_none()
        && (complained || !share.has_memory_together() && ended.broke_near(limit))
    {
        ended.out_of_memory = Some(OutOfMemory::Refused { limit });
    }
    Ok(ended)
}

impl Ended {
    /// It broke off while it held most of what it may have: many programs do not survive that they
    /// are refused memory, and say nothing. A group refuses nobody.
    fn broke_near(&self, limit: u64) -> bool {
        let near = limit / 4 * 3;
        self.signal.is_some() && self.peak_memory_bytes.is_some_and(|peak| peak >= near)
    }
}

/// Whether a line is one in which programs say that they were refused memory.
fn complains_of_memory(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    [
        "out of memory",
        "cannot allocate memory",
        "memoryerror",
        "bad_alloc",
        "alloc returns null",
        "memory allocation of",
    ]
    .iter()
    .any(|words| line.contains(words))
}
