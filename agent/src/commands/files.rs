// SPDX-License-Identifier: GPL-3.0-or-later
//! `make-directory`, `move-directory` and `copy-file`: file management on shared storage.
//!
//! Nothing here ever overwrites: what is in the way of a move is renamed with a date, and a copy
//! refuses. Each step is told in the task's log.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::parameters::Parameters;
use super::{Context, Ending, Failure};
use crate::wire::Command;

/// Makes a directory and those above it; one that exists is fine.
pub(super) fn make_directory(context: &Context, command: &Command) -> Result<(), Ending> {
    let path = Parameters::of(command).filled_string("path")?;
    say(context, format!("make-directory: creating {path}"));
    make_dirs(Path::new(path), 0o775).map_err(|error| fail(context, "make-directory", &error))
}

/// Renames a directory; one that is in the way is renamed first.
pub(super) fn move_directory(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let src = Path::new(parameters.filled_string("src")?);
    let dest = Path::new(parameters.filled_string("dest")?);
    if !exists(src) {
        let why = "it does not exist";
        say(
            context,
            format!("move-directory: source {} does not exist", src.display()),
        );
        return Err(parameters.invalid("src", why).into());
    }
    if exists(dest) {
        let backup = backup_name(dest).map_err(|error| fail(context, "move-directory", &error))?;
        rename(context, dest, &backup)?;
    }
    rename(context, src, dest)
}

/// Copies one file to a place where there is none yet.
pub(super) fn copy_file(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let src = Path::new(parameters.filled_string("src")?);
    if !src.is_absolute() {
        return Err(parameters
            .invalid("src", "it must be an absolute path")
            .into());
    }
    if !exists(src) {
        return Err(parameters.invalid("src", "it does not exist").into());
    }
    let dest = Path::new(parameters.filled_string("dest")?);
    if !dest.is_absolute() {
        return Err(parameters
            .invalid("dest", "it must be an absolute path")
            .into());
    }
    if exists(dest) {
        return Err(parameters
            .invalid("dest", "it exists already; copy-file never overwrites")
            .into());
    }
    say(
        context,
        format!("copy-file: copying {} to {}", src.display(), dest.display()),
    );
    let bytes = copy(src, dest).map_err(|error| fail(context, "copy-file", &error))?;
    say(context, format!("copy-file: copied {bytes} bytes"));
    Ok(())
}

fn copy(src: &Path, dest: &Path) -> std::io::Result<u64> {
    if !src.metadata()?.is_file() {
        return Err(std::io::Error::other(format!(
            "{} is not a regular file",
            src.display()
        )));
    }
    if let Some(parent) = dest.parent() {
        make_dirs(parent, 0o750)?;
    }
    let mut from = std::fs::File::open(src)?;
    // `create_new`, so that a file which appeared since the check above is not overwritten.
    let mut to = std::fs::File::create_new(dest)?;
    let copied = std::io::copy(&mut from, &mut to).and_then(|bytes| {
        to.sync_all()?;
        Ok(bytes)
    });
    if copied.is_err() {
        // Half a file would stop the next attempt by being in its way.
        let _ = std::fs::remove_file(dest);
    }
    copied
}

fn make_dirs(path: &Path, mode: u32) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(path)
}

/// Whether a name is taken, also by a link that leads nowhere.
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

pub(super) fn rename(context: &Context, from: &Path, to: &Path) -> Result<(), Ending> {
    say(
        context,
        format!(
            "move-directory: moving {} to {}",
            from.display(),
            to.display()
        ),
    );
    std::fs::rename(from, to).map_err(|error| fail(context, "move-directory", &error))
}

/// A free name for what is in the way: with its date, and a rising number where that is taken.
pub(super) fn backup_name(path: &Path) -> std::io::Result<PathBuf> {
    let modified = jiff::Timestamp::try_from(path.metadata()?.modified()?)
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    let local = modified.to_zoned(jiff::tz::TimeZone::system());
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(local.strftime("-%Y-%m-%d_%H%M%S").to_string());
    let backup = path.with_file_name(name);
    if exists(&backup) {
        unique_suffix(&backup)
    } else {
        Ok(backup)
    }
}

/// Adds `-NNN`, one more than the largest such number that exists.
fn unique_suffix(path: &Path) -> std::io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default();
    let mut stem = name.to_string_lossy().into_owned();
    stem.push('-');
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut largest: u64 = 0;
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?.file_name();
        let entry = entry.to_string_lossy();
        if let Some(suffix) = entry.strip_prefix(&stem)
            && suffix.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = suffix.parse::<u64>()
        {
            largest = largest.max(number);
        }
    }
    let mut numbered = OsString::from(name);
    numbered.push(format!("-{:03}", largest + 1));
    Ok(path.with_file_name(numbered))
}

pub(super) fn say(context: &Context, line: String) {
    tracing::info!("{line}");
    context.reporter.log(&line);
    context.reporter.flush();
}

pub(super) fn fail(context: &Context, command: &str, error: &std::io::Error) -> Ending {
    let reason = format!("{command}: {error}");
    say(context, reason.clone());
    Ending::Failed(Failure::io(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_is_one_more_than_the_largest() {
        // Protects every backup made before: no number is used twice, whatever its width.
        for (existing, expected) in [
            (&["x-1", "x-003", "x-46", "x-nope", "other-99"][..], "x-047"),
            (&["x-1", "x-10327"][..], "x-10328"),
            (&[][..], "x-001"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for name in existing {
                std::fs::create_dir(dir.path().join(name)).unwrap();
            }
            let unique = unique_suffix(&dir.path().join("x")).unwrap();
            assert_eq!(unique.file_name().unwrap(), expected);
        }
    }

    #[test]
    fn a_copy_neither_overwrites_nor_leaves_half_a_file() {
        // Protects what is at the destination, and the next attempt from a remnant of this one.
        let dir = tempfile::tempdir().unwrap();
        let src = dir.path().join("src.bin");
        let dest = dir.path().join("a/b/dest.bin");
        std::fs::write(&src, b"content").unwrap();
        assert_eq!(copy(&src, &dest).unwrap(), 7);
        std::fs::write(&src, b"newer").unwrap();
        assert!(copy(&src, &dest).is_err());
        assert_eq!(std::fs::read(&dest).unwrap(), b"content");
        assert!(copy(dir.path(), &dir.path().join("c")).is_err());
        assert!(!dir.path().join("c").exists());
    }
}
