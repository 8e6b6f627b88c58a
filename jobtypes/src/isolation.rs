// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs a script in a process of its own, so that nothing a script does can end the Manager.
//!
//! The limits inside the virtual machine (`sandbox`) answer most scripts. What they cannot answer,
//! this can: one native operation that never ends is killed, and where the JavaScript engine or
//! the memory limit ends the process, that is told in words. What the process does is `child`'s.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use crate::{
    error::Error,
    job::{CompiledJob, CompiledTask, SubmittedJob},
    job_type::AvailableJobType,
    options::Options,
    sources::{SourceFile, Sources},
    wire::{self, Heard, LogLine, Order, Work},
};

/// A machine that is busy for so long that a program cannot start is not the script's fault.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// The machine's own time limit comes first; this much later the process is killed.
const KILL_AFTER: Duration = Duration::from_millis(500);
/// How long it may take to hand over what came out.
const TRANSFER_TIME_MAX: Duration = Duration::from_secs(60);
/// What a dying process said, as far as it is repeated.
const LAST_WORDS_MAX: usize = 500;

/// The program that runs one script and ends: usually the running one, with a word of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildProgram {
    /// The file to run.
    pub program: PathBuf,
    /// The arguments with which it calls [`crate::run_script_for_parent`].
    pub arguments: Vec<OsString>,
}

static PROGRAM: OnceLock<ChildProgram> = OnceLock::new();

impl ChildProgram {
    /// The program that is running now, called with `word`.
    pub fn this_one(word: &str) -> std::io::Result<Self> {
        // On Linux this names the running file even after another one has taken its place.
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()?
        };
        Ok(Self {
            program,
            arguments: vec![word.into()],
        })
    }

    /// What [`Options::default`] says from now on in this process. The first call counts.
    pub fn make_default(self) {
        let _ = PROGRAM.set(self);
    }

    pub(crate) fn the_default() -> Option<Self> {
        PROGRAM.get().cloned()
    }
}

/// Reads what job type a script declares, in a process of its own.
pub(crate) fn declare(
    program: &ChildProgram,
    script: &SourceFile,
    sources: &Sources,
    options: &Options,
) -> Result<AvailableJobType, Error> {
    let order = Order::new(Work::Declare, script, sources, options);
    let run = Run {
        program,
        script: &script.path,
        options,
        script_time_max: options.load_time_max,
    };
    run.order(&order, |stdout, ran| {
        wire::read_mark(stdout)?;
        ran();
        wire::read_declared(stdout)
    })
}

/// Compiles a job with a script, in a process of its own. Its tasks are handed over, many of them
/// while the script still runs; they are worth nothing where an error follows.
pub(crate) fn compile(
    program: &ChildProgram,
    script: &SourceFile,
    sources: &Sources,
    options: &Options,
    job: SubmittedJob,
    take: &mut (dyn FnMut(CompiledTask) + Send),
) -> Result<CompiledJob, Error> {
    let (id, job_type) = (job.id, job.job_type.clone());
    let order = Order::new(
        Work::Compile(Box::new(wire::JobOrder::new(job))),
        script,
        sources,
        options,
    );
    let run = Run {
        program,
        script: &script.path,
        options,
        script_time_max: options.compile_time_max,
    };
    run.order(&order, |stdout, ran| {
        let early = wire::read_early(stdout, take)?;
        ran();
        wire::read_compiled(stdout, id, job_type, early, take)
    })
}

struct Run<'a> {
    program: &'a ChildProgram,
    script: &'a str,
    options: &'a Options,
    script_time_max: Duration,
}

/// What the reading thread tells.
enum Told<T> {
    /// The script begins to run.
    Started,
    /// The script has run; what came out follows.
    Ran,
    /// What came out, or nothing where the process ended before it was whole.
    Answer(Option<Result<T, Error>>),
}

impl Run<'_> {
    /// `read` reads what comes after the script has begun, and says when it has run.
    fn order<T: Send>(
        &self,
        order: &Order<'_>,
        read: impl FnOnce(&mut BufReader<ChildStdout>, &dyn Fn()) -> Heard<T> + Send,
    ) -> Result<T, Error> {
        let mut child = self.start()?;
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let (teller, told) = mpsc::channel();
        let (answer, status, last_words) = thread::scope(|scope| {
            scope.spawn(move || {
                // A process that is gone already is noticed where its answer is missing.
                let mut stdin = std::io::BufWriter::new(stdin);
                let _ = serde_json::to_writer(&mut stdin, order);
                let _ = stdin.flush();
            });
            let errors = scope.spawn(|| self.log(BufReader::new(stderr)));
            scope.spawn(move || {
                let mut stdout = BufReader::with_capacity(1 << 16, stdout);
                // The other end waits for each of these, unless it has given up.
                let tell = |told| {
                    let _ = teller.send(told);
                };
                let answer = wire::read_mark(&mut stdout).and_then(|()| {
                    tell(Told::Started);
                    read(&mut stdout, &|| tell(Told::Ran))
                });
                tell(Told::Answer(answer));
            });
            let answer = self.wait(&told);
            // Whatever the process still does is of no use: its answer is here, or will not come.
            let status = end(&mut child, matches!(answer, Some(None)));
            let last_words = errors.join().unwrap_or_default();
            (answer, status, last_words)
        });
        match answer {
            Some(Some(answer)) => answer,
            Some(None) => Err(self.died(status, &last_words)),
            None => Err(Error::TimeLimit {
                script: self.script.to_owned(),
                limit: self.script_time_max,
            }),
        }
    }

    fn start(&self) -> Result<Child, Error> {
        Command::new(&self.program.program)
            .args(&self.program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Isolation {
                script: self.script.to_owned(),
                source,
            })
    }

    /// What the process answers; `None` when its time is up.
    #[expect(
        clippy::option_option,
        reason = "no answer in time is not no answer at all"
    )]
    fn wait<T>(&self, told: &mpsc::Receiver<Told<T>>) -> Option<Option<Result<T, Error>>> {
        let mut patience = START_TIME_MAX;
        loop {
            match told.recv_timeout(patience) {
                Ok(Told::Started) => patience = self.script_time_max + KILL_AFTER,
                Ok(Told::Ran) => patience = TRANSFER_TIME_MAX,
                Ok(Told::Answer(answer)) => return Some(answer),
                Err(mpsc::RecvTimeoutError::Timeout) => return None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Some(None),
            }
        }
    }

    /// Hands the script's own lines to the log; keeps what else was said last.
    fn log(&self, stderr: impl BufRead) -> String {
        let mut last_words = String::new();
        for line in stderr.split(b'\n') {
            let Ok(line) = line else { break };
            match serde_json::from_slice::<LogLine>(&line) {
                Ok(line) => line.log(self.script),
                Err(_) => last_words = String::from_utf8_lossy(&line).into_owned(),
            }
        }
        last_words.chars().take(LAST_WORDS_MAX).collect()
    }

    /// Why a process ended without an answer.
    fn died(&self, status: Option<ExitStatus>, last_words: &str) -> Error {
        let script = self.script.to_owned();
        let how = match status {
            Some(status) if last_words.is_empty() => status.to_string(),
            Some(status) => format!("{status}: {last_words}"),
            None => "it cannot be asked".to_owned(),
        };
        if status.is_some_and(ended_itself) {
            Error::OutOfMemory {
                script,
                limit_bytes: self.options.memory_bytes_max,
                how,
            }
        } else {
            Error::Interrupted { script, how }
        }
    }
}

/// Ends the process where it has not ended, and says how it did. One whose answer broke off is
/// ending by itself, and the reason is wanted.
fn end(child: &mut Child, is_ending: bool) -> Option<ExitStatus> {
    if !is_ending {
        // It may have ended in this very moment; waiting tells.
        let _ = child.kill();
    }
    child.wait().ok()
}

/// Whether the process ended itself, as the engine and the allocator do when memory is gone: by
/// abort, or by a fault after an allocation that failed.
#[cfg(unix)]
fn ended_itself(status: ExitStatus) -> bool {
    use nix::sys::signal::Signal;
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status
        .signal()
        .and_then(|signal| Signal::try_from(signal).ok());
    signal.is_some_and(|signal| {
        matches!(
            signal,
            Signal::SIGABRT | Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGTRAP
        )
    })
}

/// Elsewhere a fault is an exit code that no program chooses.
#[cfg(not(unix))]
fn ended_itself(status: ExitStatus) -> bool {
    status.code().is_none_or(|code| code < 0 || code == 3)
}
