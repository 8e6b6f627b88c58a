// SPDX-License-Identifier: GPL-3.0-or-later
//! What this Worker may be asked to do: which commands, which programs, and what may be removed.
//!
//! A task that asks for more fails here with the reason, as one that lacks a feature, so that the
//! Manager gives it and others of its kind to workers that may. The Worker's owner decides; nothing
//! a job says changes it.

use std::path::{Component, Path, PathBuf};

use super::{Ending, Failure, KNOWN};
use crate::wire::{Command, FailureClass};

/// The owner's limits. Empty lists allow everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Names of commands.
    pub(crate) commands: Vec<String>,
    /// Programs by name or by path.
    pub(crate) programs: Vec<String>,
    /// Folders below which trees and files may be removed.
    pub(crate) removable: Vec<PathBuf>,
    /// Never removed, nor anything around it: the Worker's own data.
    pub(crate) kept: Vec<PathBuf>,
}

/// The program that commands without `exe` start.
pub(crate) const FFMPEG: &str = "ffmpeg";

impl Limits {
    /// Refuses a command that is not among the allowed ones, or whose program is not.
    pub(crate) fn check(&self, command: &Command) -> Result<(), Ending> {
        let name = command.name.as_str();
        if !self.commands.is_empty() && !self.commands.iter().any(|allowed| allowed == name) {
            return Err(refused(format!(
                "this worker runs only the commands {} (its option --allowed-commands); `{name}` is not among them",
                self.commands.join(", ")
            )));
        }
        let program = command.parameters.get("exe").and_then(|exe| exe.as_str());
        let program = program.or(match name {
            "concatenate-videos" | "mux-audio" | "encode-audio" => Some(FFMPEG),
            _ => None,
        });
        match program {
            Some(program) if !self.allows_program(program) => Err(refused(format!(
                "this worker starts only the programs {} (its option --allowed-programs); `{program}` is not among them",
                self.programs.join(", ")
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// A name allows the program wherever it lies on the search path, a path exactly that file.
    fn allows_program(&self, program: &str) -> bool {
        self.programs.is_empty() || self.programs.iter().any(|allowed| allowed == program)
    }

    /// Says why a tree must not be removed.
    pub(super) fn may_remove(&self, path: &Path) -> Result<(), String> {
        let real = self.real_place(path)?;
        if !real.is_dir() {
            return Err("it is no folder; remove-file removes files".to_owned());
        }
        let mut kept = self.kept.clone();
        kept.extend(std::env::current_dir().ok());
        kept.extend(std::env::current_exe().ok());
        kept.extend(std::env::home_dir());
        kept.push(std::env::temp_dir());
        for place in kept {
            // A folder that is not there holds nothing worth keeping.
            let place = place.canonicalize().unwrap_or(place);
            if !place.as_os_str().is_empty() && place.starts_with(&real) {
                return Err(format!("{} lies in it", place.display()));
            }
        }
        if is_mount_point(&real) {
            return Err("it is where a disk or share is mounted".to_owned());
        }
        Ok(())
    }

    /// Says why a file must not be removed.
    pub(super) fn may_remove_file(&self, path: &Path) -> Result<(), String> {
        self.real_place(path).map(|_| ())
    }

    /// The path without links, if it may be spoken of at all.
    fn real_place(&self, path: &Path) -> Result<PathBuf, String> {
        if !path.is_absolute() {
            return Err("it must be an absolute path".to_owned());
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err("it must not have `..` in it".to_owned());
        }
        let is_link = path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_symlink());
        if is_link {
            return Err(
                "it is a link, and what it leads to may belong to somebody else".to_owned(),
            );
        }
        let real = path.canonicalize().map_err(|error| error.to_string())?;
        let depth = real
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .count();
        if depth < 2 {
            return Err("it lies too close to the root of its disk".to_owned());
        }
        let roots: Vec<PathBuf> = self
            .removable
            .iter()
            .map(|root| root.canonicalize().unwrap_or_else(|_| root.clone()))
            .collect();
        let is_below = |root: &PathBuf| real.starts_with(root) && real != *root;
        if !roots.is_empty() && !roots.iter().any(is_below) {
            return Err(
                "this worker removes nothing outside the folders of its option --removable-roots"
                    .to_owned(),
            );
        }
        Ok(real)
    }
}

fn refused(reason: String) -> Ending {
    Ending::Failed(Failure::new(FailureClass::FeatureMissing, reason))
}

/// Names in a list of allowed commands that no command has, so that a typing error is seen.
pub(crate) fn unknown_names(commands: &[String]) -> Vec<&str> {
    let names = commands.iter().map(String::as_str);
    names.filter(|name| !KNOWN.contains(name)).collect()
}

#[cfg(unix)]
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
    path.parent()
        .is_none_or(|parent| device(parent) != device(path))
}

#[cfg(not(unix))]
fn is_mount_point(path: &Path) -> bool {
    path.parent().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(name: &str, parameters: serde_json::Value) -> Command {
        Command {
            name: name.into(),
            parameters: parameters.as_object().unwrap().clone(),
            total_step_count: 0,
        }
    }

    #[test]
    fn only_what_the_owner_allows_is_run() {
        // Protects machines that are lent to a farm: no other command, no other program, and the
        // task goes to a worker that may.
        let limits = Limits {
            commands: vec!["exec".into(), "encode-audio".into(), "echo".into()],
            programs: vec!["blender".into(), "/opt/tool".into()],
            ..Limits::default()
        };
        let check = |name: &str, parameters| limits.check(&command(name, parameters));
        assert!(check("echo", json!({})).is_ok());
        assert!(check("exec", json!({"exe": "blender"})).is_ok());
        assert!(check("exec", json!({"exe": "/opt/tool"})).is_ok());
        for (name, parameters, words) in [
            ("remove-tree", json!({}), "--allowed-commands"),
            (
                "exec",
                json!({"exe": "/usr/bin/blender"}),
                "--allowed-programs",
            ),
            ("exec", json!({"exe": "sh"}), "blender, /opt/tool"),
            ("encode-audio", json!({}), "ffmpeg"),
        ] {
            let Err(Ending::Failed(failure)) = check(name, parameters) else {
                panic!("{name} was allowed");
            };
            assert_eq!(failure.report.class, FailureClass::FeatureMissing);
            assert!(failure.reason.contains(words), "{}", failure.reason);
        }
        let anything = Limits::default();
        assert!(
            anything
                .check(&command("exec", json!({"exe": "sh"})))
                .is_ok()
        );
        let names = ["echo".to_owned(), "ecko".to_owned()];
        assert_eq!(unknown_names(&names), ["ecko"]);
    }

    #[test]
    fn what_must_stay_is_not_removed() {
        // Protects disks, homes and the Worker's own memory from a setting with a wrong path.
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let tree = root.join("out__intermediate/deep");
        std::fs::create_dir_all(&tree).unwrap();
        let data = root.join("worker/data");
        std::fs::create_dir_all(&data).unwrap();
        let file = tree.join("file");
        std::fs::write(&file, b"x").unwrap();
        let limits = Limits {
            kept: vec![data.clone()],
            ..Limits::default()
        };
        assert_eq!(limits.may_remove(&tree), Ok(()));
        assert_eq!(limits.may_remove_file(&file), Ok(()));
        for (path, words) in [
            (PathBuf::from("out"), "absolute"),
            (tree.join("../deep"), "`..`"),
            (PathBuf::from("/"), "root"),
            (PathBuf::from("/usr"), "root"),
            (std::env::current_dir().unwrap(), "lies in it"),
            (std::env::temp_dir().join("."), "l"),
            (root.join("worker"), "lies in it"),
            (data.clone(), "lies in it"),
            (file.clone(), "no folder"),
        ] {
            let why = limits.may_remove(&path).unwrap_err();
            assert!(why.contains(words), "{}: {why}", path.display());
        }
        let limited = Limits {
            removable: vec![root.join("out__intermediate")],
            ..Limits::default()
        };
        assert_eq!(limited.may_remove(&tree), Ok(()));
        for outside in [&root.join("out__intermediate"), &data] {
            let why = limited.may_remove(outside).unwrap_err();
            assert!(why.contains("--removable-roots"), "{why}");
        }
        #[cfg(unix)]
        {
            let link = root.join("link");
            std::os::unix::fs::symlink(&tree, &link).unwrap();
            assert!(limits.may_remove(&link).unwrap_err().contains("link"));
        }
    }
}
