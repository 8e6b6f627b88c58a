// SPDX-License-Identifier: GPL-3.0-or-later
//! One Blender that stays up: started with the server inside, given an order, listened to.
//!
//! Orders go through a named pipe of the Worker's own folder; answers come on standard output,
//! behind all that was printed before, so that they cannot overtake a line of the log. It runs
//! under the supervisor as any command does and goes with it. When to end it is decided elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::warm_plan::Order;
use crate::process::{self, Launcher, Output, Unended};
use crate::stop::{Stop, StopReason};

/// What runs inside Blender.
const SERVER: &str = include_str!("warm_server.py");

/// A longer order might not fit into the pipe, and writing it would wait.
const ORDER_BYTES_MAX: usize = 60_000;

/// Memory of a Blender as it tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub(super) struct Memory {
    /// Held now.
    pub(super) held: u64,
    /// The most that the task held.
    pub(super) most: u64,
}

/// An answer of the server.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Answer {
    Ready { ready: String, memory: Memory },
    Unfit { unfit: String },
    Stale { stale: String },
    Failed { failed: String },
    Done { done: u64, memory: Memory },
}

/// Something that the process did.
#[derive(Debug)]
enum Heard {
    Started(u32),
    Line(String),
}

/// Why a Blender could not be used, or not any more.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Something it depends on has changed: a new one can do it.
    Stale(String),
    /// It does not work here: a cold start shall do it.
    Doubt(String),
    /// The task is to stop.
    Stopped(StopReason),
}

/// Where the lines go.
#[derive(Debug, Default)]
struct Listener {
    /// None while no task listens.
    sender: Option<UnboundedSender<Heard>>,
    /// The process is gone, so nobody would ever hear anything.
    ended: bool,
}

type Sink = Arc<Mutex<Listener>>;

/// Ends the process when it goes.
///
/// None when its end has been seen.
#[derive(Debug)]
struct Running(Option<tokio::task::JoinHandle<String>>);

impl Running {
    /// Waits for the end; how it came is told once.
    async fn end(&mut self) -> String {
        let seen = match &mut self.0 {
            Some(running) => running.await.ok(),
            None => None,
        };
        self.0 = None;
        seen.unwrap_or_else(|| "its end was not seen".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            // The lifeline of the supervisor goes with it.
            running.abort();
        }
    }
}

/// A Blender that is up.
#[derive(Debug)]
pub(super) struct WarmProcess {
    orders: File,
    mark: String,
    sink: Sink,
    stop: Stop,
    running: Running,
    silence: Duration,
    pub(super) pid: u32,
    pub(super) version: String,
    pub(super) at_load: Memory,
}

/// Where and how one is started.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) launcher: &'a Launcher,
    /// A folder that nobody else uses, for the pipe and the server's script.
    pub(super) folder: &'a Path,
    pub(super) exe: &'a str,
    /// The arguments that tasks share.
    pub(super) shared: &'a [String],
    /// Neither a word nor processor time for so long is a hang.
    pub(super) silence: Duration,
}

impl WarmProcess {
    /// Starts one and waits until it has loaded the file; its lines go to `log`.
    pub(super) async fn start(
        start: &Start<'_>,
        task_stop: &Stop,
        log: &mut (dyn FnMut(u32, &str) + Send),
    ) -> Result<Self, Trouble> {
        let doubt = |error: std::io::Error| Trouble::Doubt(format!("no pipe to it: {error}"));
        let mark = format!("tablao-warm-{:016x} ", rand::random::<u64>());
        let (script, orders) = prepare(start.folder, &mark).map_err(doubt)?;
        let mut args = start.shared.to_vec();
        // Behind a bare `--` Blender reads nothing.
        let end = args.iter().position(|word| word == "--");
        let end = end.unwrap_or(args.len());
        args.splice(end..end, ["--python".to_owned(), script]);
        let (heard, mut lines) = unbounded_channel();
        let sink = Sink::default();
        sink.lock().expect("no holder panics").sender = Some(heard);
        let stop = Stop::new();
        let running = Running(Some(tokio::spawn(run(
            start.launcher.clone(),
            start.exe.to_owned(),
            args,
            stop.clone(),
            Arc::clone(&sink),
        ))));
        let mut process = Self {
            orders,
            mark,
            sink,
            stop,
            running,
            silence: start.silence,
            pid: 0,
            version: String::new(),
            at_load: Memory::default(),
        };
        let answer = process.listen(&mut lines, task_stop, log).await;
        process.hear(None);
        match answer {
            Ok(Answer::Ready { ready, memory }) => {
                process.version = ready;
                process.at_load = memory;
                Ok(process)
            }
            other => {
                process.end().await;
                Err(match other {
                    Ok(Answer::Unfit { unfit }) => Trouble::Doubt(unfit),
                    Ok(_) => Trouble::Doubt("it gave an answer that nobody understands".into()),
                    Err(trouble) => trouble,
                })
            }
        }
    }

    /// Has it render; returns the memory that it tells. After any trouble it is to be ended.
    pub(super) async fn render(
        &mut self,
        order: &Order,
        task_stop: &Stop,
        log: &mut (dyn FnMut(u32, &str) + Send),
    ) -> Result<Memory, Trouble> {
        let mut text = serde_json::to_string(order).expect("an order is plain JSON");
        text.push('\n');
        if text.len() > ORDER_BYTES_MAX {
            return Err(Trouble::Doubt("its command line is too long".into()));
        }
        let (heard, mut lines) = unbounded_channel();
        self.hear(Some(heard));
        std::io::Write::write_all(&mut self.orders, text.as_bytes())
            .map_err(|error| Trouble::Doubt(format!("no order reaches it: {error}")))?;
        let answer = self.listen(&mut lines, task_stop, log).await?;
        self.hear(None);
        match answer {
            Answer::Done { done, memory } if done == order.number => Ok(memory),
            Answer::Stale { stale } => Err(Trouble::Stale(stale)),
            Answer::Failed { failed } => Err(Trouble::Doubt(failed)),
            Answer::Done { .. } | Answer::Ready { .. } | Answer::Unfit { .. } => Err(
                Trouble::Doubt("it gave an answer that nobody understands".into()),
            ),
        }
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        let running = self.running.0.as_ref();
        running.is_none_or(tokio::task::JoinHandle::is_finished)
    }

    /// Ends it and waits until all its processes are gone.
    pub(super) async fn end(mut self) {
        self.stop.request(StopReason::NotNeeded);
        self.running.end().await;
    }

    /// Changes who listens. A sender that nobody would use goes at once, which its listener sees.
    fn hear(&self, sender: Option<UnboundedSender<Heard>>) {
        let mut listener = self.sink.lock().expect("no holder panics");
        listener.sender = sender.filter(|_| !listener.ended);
    }

    /// Hands lines on until the server answers.
    async fn listen(
        &mut self,
        lines: &mut UnboundedReceiver<Heard>,
        task_stop: &Stop,
        log: &mut (dyn FnMut(u32, &str) + Send),
    ) -> Result<Answer, Trouble> {
        let mut quiet_since = Instant::now();
        let mut worked = processor_ticks(self.pid);
        loop {
            let heard = tokio::select! {
                biased;
                heard = lines.recv() => heard,
                reason = task_stop.wait() => return Err(Trouble::Stopped(reason)),
                () = tokio::time::sleep_until(quiet_since + self.silence) => {
                    let now = processor_ticks(self.pid);
                    if now == worked {
                        let seconds = self.silence.as_secs();
                        return Err(Trouble::Doubt(format!(
                            "it hangs: neither a word nor any work for {seconds} s"
                        )));
                    }
                    worked = now;
                    quiet_since = Instant::now();
                    continue;
                }
            };
            quiet_since = Instant::now();
            match heard {
                None => {
                    return Err(Trouble::Doubt(self.running.end().await));
                }
                Some(Heard::Started(pid)) => self.pid = pid,
                Some(Heard::Line(line)) => {
                    let Some((before, answer)) = line.split_once(&self.mark) else {
                        log(self.pid, &line);
                        continue;
                    };
                    if !before.is_empty() {
                        log(self.pid, before);
                    }
                    return serde_json::from_str(answer).map_err(|_| {
                        Trouble::Doubt("it gave an answer that nobody understands".into())
                    });
                }
            }
        }
    }
}

/// Runs Blender to its end and says how it ended.
async fn run(launcher: Launcher, exe: String, args: Vec<String>, stop: Stop, sink: Sink) -> String {
    let tell = |heard: Heard| {
        let listener = sink.lock().expect("no holder panics");
        // While no task listens, what an add-on prints belongs to nobody.
        if let Some(sender) = &listener.sender {
            let _ = sender.send(heard);
        }
    };
    let ended = process::run(&launcher, &exe, &args, &stop, |output| match output {
        Output::Started(pid) => tell(Heard::Started(pid)),
        Output::Line(line) => tell(Heard::Line(line.to_owned())),
    })
    .await;
    let how = match ended {
        Ok(ended) if ended.out_of_memory.is_some() => "it ran out of memory".to_owned(),
        Ok(ended) => match (ended.exit, ended.signal) {
            (Some(code), _) => format!("it ended with exit code {code}"),
            (None, signal) => format!("it was ended by signal {}", signal.unwrap_or(-1)),
        },
        Err(Unended::NotStarted(message)) => format!("it did not start: {message}"),
        Err(Unended::Stopped(reason)) => reason.to_string(),
        Err(Unended::SupervisorLost) => "its supervisor was killed".to_owned(),
    };
    // Whoever listens learns of the end.
    *sink.lock().expect("no holder panics") = Listener {
        sender: None,
        ended: true,
    };
    how
}

/// Makes the pipe and the script that names it; returns the script's path and the open pipe.
fn prepare(folder: &Path, mark: &str) -> std::io::Result<(String, File)> {
    private_folder(folder)?;
    let text = |path: PathBuf| {
        path.into_os_string().into_string().map_err(|path| {
            std::io::Error::other(format!("{} is no text", Path::new(&path).display()))
        })
    };
    let pipe = text(std::path::absolute(folder.join("orders"))?)?;
    let script = text(std::path::absolute(folder.join("warm_server.py"))?)?;
    let orders = make_pipe(Path::new(&pipe))?;
    // A string of JSON is one of Python.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let names = format!("ORDERS = {}\nMARK = {}\n", quoted(&pipe), quoted(mark));
    std::fs::write(&script, names + SERVER)?;
    Ok((script, orders))
}

/// Makes the folder anew, for this user only.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Makes a named pipe and opens both of its ends, so that neither side waits for the other; the
/// reader sees its end when this process is gone.
#[cfg(unix)]
fn make_pipe(path: &Path) -> std::io::Result<File> {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
    File::options().read(true).write(true).open(path)
}

/// There are no named pipes of this kind; every start is a cold one.
#[cfg(not(unix))]
fn make_pipe(_path: &Path) -> std::io::Result<File> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Processor time of a process so far; always the same where the system does not tell.
fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the fields after it do not.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(2);
    times.filter_map(|time| time.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        // Protects the protocol: a line of the server is read as what it is, and nothing else is.
        let read = |text: &str| serde_json::from_str::<Answer>(text).ok();
        let memory = Memory { held: 1, most: 2 };
        assert_eq!(
            read(r#"{"ready": "3.4.1", "memory": {"held": 1, "most": 2}}"#),
            Some(Answer::Ready {
                ready: "3.4.1".into(),
                memory
            })
        );
        assert_eq!(
            read(r#"{"done": 7, "memory": {"held": 1, "most": 2}}"#),
            Some(Answer::Done { done: 7, memory })
        );
        assert_eq!(
            read(r#"{"stale": "x"}"#),
            Some(Answer::Stale { stale: "x".into() })
        );
        assert_eq!(read(r#"{"other": 1}"#), None);
        assert_eq!(read(r#"{"done": 7"#), None);
    }
}
