// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds Blender on this machine and tries it with `--version`.
//!
//! Whoever reaches the API can have a program run by this: so it must be called like Blender, is
//! run without a shell, reads nothing, may take so long and say so much, and few run at a time.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt as _, sync::Semaphore};

/// A Blender that starts answers in a second; one on a network share takes longer the first time.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Blender says some twenty lines.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// How many are tried at once.
static TRYING: Semaphore = Semaphore::const_new(2);

/// What came of looking for Blender, in the shape of Flamenco's API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlenderCheck {
    /// What was given to look for.
    pub input: String,
    /// The program that was found.
    pub path: String,
    /// How it was found.
    pub source: String,
    /// It is a Blender that runs.
    pub is_usable: bool,
    /// Its version, or what is wrong.
    pub cause: String,
}

/// Every Blender that this machine offers by itself: where it is installed by default, and what
/// the command `blender` starts.
pub async fn find_blender() -> Vec<BlenderCheck> {
    let mut found = Vec::new();
    for path in installed() {
        found.push(tried(&path.to_string_lossy(), &path, "system_location").await);
    }
    if let Some(path) = on_path("blender") {
        let known = found.iter().any(|other| Path::new(&other.path) == path);
        if !known {
            found.push(tried("blender", &path, "path_envvar").await);
        }
    }
    found.retain(|check| check.is_usable);
    found.truncate(2);
    found
}

/// Looks for the Blender that a command or path means, and tries it.
pub async fn check_blender(input: &str) -> BlenderCheck {
    let asked = input.trim();
    let none = |source: &str, cause: String| BlenderCheck {
        input: input.to_owned(),
        source: source.to_owned(),
        cause,
        ..BlenderCheck::default()
    };
    if asked.is_empty() {
        return match installed().into_iter().next() {
            Some(path) => tried(&path.to_string_lossy(), &path, "system_location").await,
            None => none(
                "system_location",
                "Blender is not installed where it usually is: give a command or a path".to_owned(),
            ),
        };
    }
    if asked.contains(|c: char| c.is_control()) {
        return none("input_path", "the path has a control character".to_owned());
    }
    if !asked.contains(['/', '\\']) {
        return match on_path(asked) {
            Some(path) => tried(input, &path, "path_envvar").await,
            None => none(
                "path_envvar",
                format!("there is no command {asked:?} on this Manager's PATH"),
            ),
        };
    }
    let path = Path::new(asked);
    if !path.is_absolute() {
        return none(
            "input_path",
            "give the whole path: Workers start in other folders".to_owned(),
        );
    }
    let path = if path.is_dir() {
        let inside = [
            "blender",
            "blender.exe",
            "Blender",
            "Contents/MacOS/Blender",
        ];
        let there = inside
            .iter()
            .map(|name| path.join(name))
            .find(|path| path.is_file());
        match there {
            Some(path) => path,
            None => {
                return none(
                    "input_path",
                    "there is no Blender in this folder".to_owned(),
                );
            }
        }
    } else {
        path.to_owned()
    };
    tried(input, &path, "input_path").await
}

async fn tried(input: &str, path: &Path, source: &str) -> BlenderCheck {
    let (is_usable, cause) = match version(path).await {
        Ok(version) => (true, version),
        Err(cause) => (false, cause),
    };
    BlenderCheck {
        input: input.to_owned(),
        path: path.to_string_lossy().into_owned(),
        source: source.to_owned(),
        is_usable,
        cause,
    }
}

/// What the program says its version is, such as `Blender 4.2.1`.
async fn version(path: &Path) -> Result<String, String> {
    match std::fs::metadata(path) {
        Ok(known) if known.is_file() => {}
        Ok(_) => return Err("this is no program".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("there is no such program on this machine".to_owned());
        }
        Err(error) => return Err(format!("it cannot be looked at: {error}")),
    }
    let name = (path.file_name().unwrap_or_default())
        .to_string_lossy()
        .to_lowercase();
    if !name.contains("blender") {
        return Err(
            "its name has no \"blender\" in it, so it is not tried: rename it, or make a link"
                .to_owned(),
        );
    }
    let Ok(_turn) = TRYING.acquire().await else {
        return Err("this Manager is stopping".to_owned());
    };
    let mut command = tokio::process::Command::new(path);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = (command.spawn()).map_err(|error| format!("it cannot be started: {error}"))?;
    let group = child.id();
    let mut said = Vec::new();
    let output = child.stdout.take().expect("it was asked for");
    let ended = tokio::time::timeout(TIME_MAX, async {
        let read = output.take(OUTPUT_BYTES_MAX).read_to_end(&mut said).await;
        if read
            .as_ref()
            .is_ok_and(|bytes| *bytes as u64 >= OUTPUT_BYTES_MAX)
        {
            return Err("it says far more than Blender does".to_owned());
        }
        child.wait().await.map_err(|error| error.to_string())
    })
    .await;
    end_group(group);
    let status = match ended {
        Ok(ended) => ended?,
        Err(_) => {
            return Err(format!(
                "it did not answer within {} seconds and was ended",
                TIME_MAX.as_secs()
            ));
        }
    };
    let said = String::from_utf8_lossy(&said);
    let line = said
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("Blender "));
    match line {
        Some(line) if status.success() => Ok(line.chars().take(100).collect()),
        _ => Err(format!(
            "this is not Blender: with --version it ended with {status}"
        )),
    }
}

/// Ends what a program left behind that was one of several.
fn end_group(leader: Option<u32>) {
    #[cfg(unix)]
    if let Some(leader) = leader.and_then(|id| i32::try_from(id).ok()) {
        use nix::{
            sys::signal::{Signal, killpg},
            unistd::Pid,
        };
        // Mostly nobody is left.
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
    #[cfg(not(unix))]
    let _ = leader;
}

/// The program that a command starts.
fn on_path(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let endings: &[&str] = if cfg!(windows) { &["", ".exe"] } else { &[""] };
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .flat_map(|folder| {
            let named = |ending: &&str| folder.join(format!("{command}{ending}"));
            endings.iter().map(named).collect::<Vec<_>>()
        })
        .find(|path| is_program(path))
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

/// Where installers put Blender, the newest first.
fn installed() -> Vec<PathBuf> {
    if cfg!(target_os = "macos") {
        let path = PathBuf::from("/Applications/Blender.app/Contents/MacOS/Blender");
        return Vec::from_iter(path.is_file().then_some(path));
    }
    if cfg!(windows) {
        let root = std::env::var_os("ProgramFiles").unwrap_or_else(|| "C:\\Program Files".into());
        let folder = Path::new(&root).join("Blender Foundation");
        let mut found: Vec<PathBuf> = (std::fs::read_dir(folder).into_iter().flatten().flatten())
            .map(|entry| entry.path().join("blender.exe"))
            .filter(|path| path.is_file())
            .collect();
        found.sort_unstable();
        found.reverse();
        return found;
    }
    Vec::new()
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn program(folder: &Path, name: &str, script: &str) -> String {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn check(input: &str) -> BlenderCheck {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check_blender(input))
    }

    /// Each way in which a command is not Blender is told, and nothing else is ever started.
    #[test]
    fn only_blender_is_taken_for_blender() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let good = program(path, "blender", "echo noise; echo 'Blender 9.9.9'");
        let found = check(&good);
        assert!(found.is_usable, "{found:?}");
        assert_eq!(
            (found.cause.as_str(), found.source.as_str()),
            ("Blender 9.9.9", "input_path")
        );
        let folder_itself = check(path.to_str().unwrap());
        assert_eq!((folder_itself.path, folder_itself.is_usable), (good, true));
        let trace = path.join("ran");
        let other = program(path, "cat", &format!("touch {}", trace.display()));
        for (input, words) in [
            (other.as_str(), "no \"blender\" in it"),
            (&program(path, "blender-else", "echo Hello"), "not Blender"),
            (
                &program(path, "blender-fails", "echo 'Blender 1'; exit 3"),
                "not Blender",
            ),
            (&program(path, "blender-yes", "yes"), "far more"),
            (
                &format!("{}/none/blender", path.display()),
                "no such program",
            ),
            ("some/blender", "whole path"),
            ("blender-that-nobody-has", "PATH"),
            ("a\nb", "control"),
        ] {
            let found = check(input);
            assert!(!found.is_usable && found.cause.contains(words), "{found:?}");
        }
        assert!(
            !trace.exists(),
            "a program that is not called like Blender was run"
        );
    }
}
