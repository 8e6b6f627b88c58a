// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether the programs that tasks start are there, and whether Blender starts at all.
//!
//! That a program is there is seen at once. Blender is also asked for its version, once for each
//! file that it is, while the first task runs already: its answer counts when a task fails, and
//! before the next job. So a healthy machine never waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::subjects::Subject;
use crate::process::{self, Launcher, Unended};
use crate::stop::{Stop, StopReason};
use crate::wire::{Finding, FindingKind};

/// A Blender that starts answers in a second; one on a network share takes longer the first time.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// What shells and systems say where a program or a library of it is missing.
const CANNOT_START: [i32; 2] = [126, 127];

/// One file that is a program: another one at the same place is another program.
type Installed = (PathBuf, u64, Option<SystemTime>);
/// What asking for the version brought; nothing yet while it is asked.
type Answer = watch::Receiver<Option<Result<(), String>>>;

/// The Blenders that were asked.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// Without one programs are asked directly, and may outlive this process.
    launcher: Option<Launcher>,
    asked: Mutex<BTreeMap<Installed, Answer>>,
}

impl Programs {
    pub(super) fn new(launcher: Launcher) -> Self {
        Self {
            launcher: Some(launcher),
            asked: Mutex::default(),
        }
    }

    /// What is wrong with programs, as far as it is known at once.
    pub(super) fn look(&self, subjects: &BTreeSet<Subject>) -> Vec<Finding> {
        let mut found = Vec::new();
        for subject in subjects {
            found.extend(missing(subject));
            if let Some(answer) = self.ask(subject) {
                let answer = answer.borrow().clone();
                found.extend(broken(subject, answer));
            }
        }
        found
    }

    /// What is wrong with programs, once those that were asked have answered.
    pub(super) async fn failed(&self, subjects: &BTreeSet<Subject>) -> Vec<Finding> {
        let mut found = Vec::new();
        for subject in subjects {
            let Some(mut answer) = self.ask(subject) else {
                continue;
            };
            // Whoever asks answers, or its time is over.
            let answered = answer.wait_for(Option::is_some).await;
            let answer = answered.ok().and_then(|answer| answer.clone());
            let is_bad = matches!(answer, Some(Err(_)));
            found.extend(broken(subject, answer));
            if is_bad {
                // It may be mended without being replaced: a library is installed.
                self.forget(subject);
            }
        }
        found
    }

    fn forget(&self, subject: &Subject) {
        if let Some(installed) = blender(subject) {
            let mut asked = self.asked.lock().expect("no holder panics");
            asked.remove(&installed);
        }
    }

    /// Asks a Blender for its version, unless it was asked.
    fn ask(&self, subject: &Subject) -> Option<Answer> {
        let installed = blender(subject)?;
        let mut asked = self.asked.lock().expect("no holder panics");
        let answer = asked.entry(installed).or_insert_with_key(|(path, ..)| {
            let (tell, answer) = watch::channel(None);
            let (launcher, path) = (self.launcher.clone(), path.clone());
            tokio::spawn(async move {
                let started = match launcher {
                    Some(launcher) => starts(&launcher, &path).await,
                    None => version(&path).await.map(drop),
                };
                tell.send_replace(Some(started));
            });
            answer
        });
        Some(answer.clone())
    }
}

fn blender(subject: &Subject) -> Option<Installed> {
    let Subject::Blender(command) = subject else {
        return None;
    };
    let path = locate(command)?;
    let known = std::fs::metadata(&path).ok()?;
    Some((path, known.len(), known.modified().ok()))
}

/// A program that is not there.
pub(super) fn missing(subject: &Subject) -> Option<Finding> {
    let (command, of_job, advice) = match subject {
        Subject::Blender(command) => (
            command,
            false,
            "install Blender there, or correct the variable {blender}",
        ),
        Subject::Ffmpeg(command) => {
            if has_tools() {
                return None;
            }
            (command, false, "install FFmpeg on this worker")
        }
        Subject::Program(command) => (
            command,
            true,
            "install it on this worker, or correct the job type",
        ),
        Subject::Input(_) | Subject::Output(_) => return None,
    };
    if locate(command).is_some() {
        return None;
    }
    let what = if is_path(command) {
        format!("there is no program {command} on this machine")
    } else {
        format!("there is no command `{command}` on the search path of this worker")
    };
    Some(Finding {
        kind: FindingKind::Program,
        subject: command.clone(),
        of_job,
        words: format!("{what}: {advice}"),
    })
}

fn broken(subject: &Subject, answer: Option<Result<(), String>>) -> Option<Finding> {
    let (Subject::Blender(command), Some(Err(why))) = (subject, answer) else {
        return None;
    };
    Some(Finding {
        kind: FindingKind::Program,
        subject: command.clone(),
        of_job: false,
        words: format!("`{command} --version` {why}: install Blender on this machine anew"),
    })
}

fn is_path(command: &str) -> bool {
    command.contains(['/', std::path::MAIN_SEPARATOR])
}

/// FFmpeg may lie in a folder of its own beside the Worker.
fn has_tools() -> bool {
    let own = std::env::current_exe().ok();
    own.is_some_and(|own| own.with_file_name("tools").is_dir())
}

/// The file that a command starts.
pub(super) fn locate(command: &str) -> Option<PathBuf> {
    let endings: &[&str] = if cfg!(windows) { &["", ".exe"] } else { &[""] };
    let named = |folder: &Path| {
        endings
            .iter()
            .map(|ending| folder.join(format!("{command}{ending}")))
            .find(|path| is_program(path))
    };
    if is_path(command) {
        return named(Path::new(""));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find_map(|folder| named(&folder))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|known| known.is_file() && known.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// Asks a program for its version, under the supervisor: nothing of it outlives this Worker. Only
/// one that cannot start, hangs or crashes is broken: what it answers is its own affair.
async fn starts(launcher: &Launcher, path: &Path) -> Result<(), String> {
    let stop = Stop::new();
    let (exe, asks) = (path.to_string_lossy(), ["--version".to_owned()]);
    let run = process::run(launcher, &exe, &asks, &stop, |_| {});
    let overdue = async {
        tokio::time::sleep(ANSWER_TIME_MAX).await;
        stop.request(StopReason::NotNeeded);
    };
    tokio::pin!(run);
    let ended = tokio::select! {
        ended = &mut run => ended,
        () = overdue => run.await,
    };
    match ended {
        Ok(ended) => judge(ended.exit, || match ended.signal {
            Some(signal) => format!("signal {signal}"),
            None => "no exit code".to_owned(),
        }),
        Err(Unended::NotStarted(why)) => Err(does_not_start(&why)),
        Err(Unended::Stopped(_)) => Err(does_not_answer()),
        // That says nothing about the program.
        Err(Unended::SupervisorLost) => Ok(()),
    }
}

/// Asks a program for its version, at a person's wish.
pub(super) async fn version(path: &Path) -> Result<String, String> {
    let mut command = tokio::process::Command::new(path);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(ANSWER_TIME_MAX, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(does_not_start(&error.to_string())),
        Err(_) => return Err(does_not_answer()),
    };
    judge(output.status.code(), || output.status.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    Ok(line.unwrap_or_default().chars().take(100).collect())
}

fn judge(code: Option<i32>, how: impl FnOnce() -> String) -> Result<(), String> {
    match code {
        None => Err(format!("crashes ({})", how())),
        Some(code) if CANNOT_START.contains(&code) => Err(does_not_start(&format!(
            "exit code {code}: a library may be missing"
        ))),
        Some(_) => Ok(()),
    }
}

fn does_not_start(why: &str) -> String {
    format!("does not start ({why})")
}

fn does_not_answer() -> String {
    format!("does not answer within {} s", ANSWER_TIME_MAX.as_secs())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(path: &Path, text: &str) -> BTreeSet<Subject> {
        // Beside it and renamed: a file that is open for writing cannot be started.
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&fresh, path).unwrap();
        BTreeSet::from([Subject::Blender(path.display().to_string())])
    }

    #[tokio::test]
    async fn a_blender_that_cannot_start_is_told_and_asked_again_once_mended() {
        // Protects against a broken installation that fails every task, and against remembering
        // it for ever.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blender");
        let programs = Programs::default();
        let none = BTreeSet::from([Subject::Blender(path.display().to_string())]);
        assert!(
            programs.look(&none)[0]
                .words
                .contains("there is no program")
        );
        let broken = script(&path, "exit 127");
        let found = programs.failed(&broken).await;
        assert!(
            found[0].words.contains("a library may be missing"),
            "{found:?}"
        );
        let whole = script(&path, "echo Blender 4.2.1 of ours");
        assert!(programs.look(&whole).is_empty());
        assert!(programs.failed(&whole).await.is_empty());
        let odd = script(&path, "exit 1");
        assert!(programs.failed(&odd).await.is_empty(), "it starts");
    }
}
