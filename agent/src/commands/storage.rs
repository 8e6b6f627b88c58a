// SPDX-License-Identifier: GPL-3.0-or-later
//! `remove-tree`, `remove-file`, `move-out-of-way`, `move-to-final`, `move-with-counter` and
//! `create-python-file`: what job types do with folders of their own on shared storage.
//!
//! Moves never overwrite. What is removed is looked at first: `allowed` says which places are out
//! of the question.

use std::path::{Path, PathBuf};

use super::files::{backup_name, exists, fail, rename, say};
use super::made::{InTheWay, Maker, blocking};
use super::parameters::{ParameterError, Parameters};
use super::{Context, Ending, Failure};
use crate::frames::publish::{self, Named};
use crate::wire::Command;

/// Removes a folder with everything in it; one that is not there is fine.
pub(super) async fn remove_tree(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let path = absolute(&parameters)?.to_owned();
    if !exists(&path) {
        let line = format!("remove-tree: {} is not there", path.display());
        say(context, line);
        return Ok(());
    }
    context
        .limits
        .may_remove(&path)
        .map_err(|why| parameters.invalid("path", why))?;
    say(context, format!("remove-tree: removing {}", path.display()));
    // Links in it are removed, not followed.
    let removed = blocking(move || std::fs::remove_dir_all(&path)).await;
    removed.map_err(|error| fail(context, "remove-tree", &error))
}

/// The parameter `path`. A relative one would mean another place on each worker.
fn absolute<'a>(parameters: &Parameters<'a>) -> Result<&'a Path, ParameterError> {
    let path = Path::new(parameters.filled_string("path")?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(parameters.invalid("path", "it must be an absolute path"))
    }
}

/// Removes one file; one that is not there is fine.
pub(super) fn remove_file(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let path = absolute(&parameters)?;
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let line = format!("remove-file: {} is not there", path.display());
            say(context, line);
            return Ok(());
        }
        Ok(metadata) if metadata.is_dir() => {
            let why = "it is a folder; remove-tree removes those";
            return Err(parameters.invalid("path", why).into());
        }
        Ok(_) | Err(_) => {}
    }
    context
        .limits
        .may_remove_file(path)
        .map_err(|why| parameters.invalid("path", why))?;
    say(context, format!("remove-file: removing {}", path.display()));
    std::fs::remove_file(path).map_err(|error| fail(context, "remove-file", &error))
}

/// Renames what is there, so that its name is free; nothing there is fine.
pub(super) fn move_out_of_way(context: &Context, command: &Command) -> Result<(), Ending> {
    let src = Path::new(Parameters::of(command).filled_string("src")?);
    if !exists(src) {
        let line = format!("move-out-of-way: {} is not there", src.display());
        say(context, line);
        return Ok(());
    }
    let backup = backup_name(src).map_err(|error| fail(context, "move-out-of-way", &error))?;
    rename(context, src, &backup)
}

/// Gives a result its final name; what has that name is renamed first. A source that is not there
/// was moved by an earlier attempt, if the destination is.
pub(super) fn move_to_final(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let src = Path::new(parameters.filled_string("src")?);
    let dest = Path::new(parameters.filled_string("dest")?);
    if !exists(src) {
        if exists(dest) {
            let line = format!("move-to-final: {} is in its place", dest.display());
            say(context, line);
            return Ok(());
        }
        let why = "it does not exist, and neither does the destination";
        return Err(parameters.invalid("src", why).into());
    }
    if exists(dest) {
        let backup = backup_name(dest).map_err(|error| fail(context, "move-to-final", &error))?;
        rename(context, dest, &backup)?;
    } else if let Some(parent) = dest.parent() {
        std::fs::create_dir_all(parent).map_err(|error| fail(context, "move-to-final", &error))?;
    }
    rename(context, src, dest)
}

/// Gives a file a numbered name, one more than the largest there is.
pub(super) async fn move_with_counter(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let src = PathBuf::from(parameters.filled_string("src")?);
    let dest = PathBuf::from(parameters.filled_string("dest")?);
    if !src.is_file() {
        let why = "there is no such file; was it moved by an earlier run of this task?";
        return Err(parameters.invalid("src", why).into());
    }
    context.go_on()?;
    let moved = blocking(move || {
        if let Some(parent) = dest.parent() {
            std::fs::create_dir_all(parent)?;
        }
        loop {
            let place = next_numbered(&dest)?;
            // Another worker may take the same number at the same moment.
            match publish::give_name(&src, &place, false)? {
                Named::Published { .. } => return Ok(place),
                Named::Taken => {}
            }
        }
    })
    .await;
    let place = moved.map_err(|error| fail(context, "move-with-counter", &error))?;
    let line = format!("move-with-counter: the result is {}", place.display());
    say(context, line);
    Ok(())
}

/// `2026_11_23-edit.mkv` becomes `2026_11_23_001-edit.mkv`; a name that does not begin with digits
/// gets its number at its end.
fn next_numbered(dest: &Path) -> std::io::Result<PathBuf> {
    let name = dest.file_name().unwrap_or_default().to_string_lossy();
    let date = name.len()
        - name
            .trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_')
            .len();
    let (before, after) = if date > 0 {
        (name[..date].to_owned(), name[date..].to_owned())
    } else {
        let stem = dest.file_stem().unwrap_or_default().to_string_lossy();
        (stem.clone().into_owned(), name[stem.len()..].to_owned())
    };
    let mut largest: u64 = 0;
    let parent = match dest.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?.file_name();
        let entry = entry.to_string_lossy();
        let number = entry
            .strip_prefix(&*before)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(|rest| rest.strip_suffix(&*after))
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        largest = largest.max(number.unwrap_or(0));
    }
    Ok(dest.with_file_name(format!("{before}_{:03}{after}", largest + 1)))
}

/// Writes a Python file, for a program that is to run it; its text is in the log.
pub(super) async fn create_python_file(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let path = Path::new(parameters.filled_string("path")?);
    let contents = parameters.filled_string("contents")?.to_owned();
    if path.extension().is_none_or(|extension| extension != "py") {
        let why = "its name must end in .py";
        return Err(parameters.invalid("path", why).into());
    }
    let place = std::path::absolute(path)
        .map_err(|error| Failure::io(format!("{}: {error}", path.display())))?;
    say(
        context,
        format!("create-python-file: {}\n{contents}", place.display()),
    );
    let mut maker = Maker::new(context);
    let made = maker
        .make(&place, InTheWay::Replace, move |target| {
            std::fs::write(target, contents)
                .map_err(|error| Failure::io(format!("{}: {error}", target.display())))
        })
        .await;
    maker.close();
    made.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_largest_there_is() {
        // Protects films made earlier: the next export never takes the name of one, also after
        // one in between was removed.
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "2026_11_23_001-edit.mkv",
            "2026_11_23_004-edit.mkv",
            "2026_11_23_009-other.mkv",
            "film_002.mp4",
            "film_x.mp4",
        ] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        for (dest, expected) in [
            ("2026_11_23-edit.mkv", "2026_11_23_005-edit.mkv"),
            ("2026_11_24-edit.mkv", "2026_11_24_001-edit.mkv"),
            ("film.mp4", "film_003.mp4"),
            ("new", "new_001"),
        ] {
            let next = next_numbered(&dir.path().join(dest)).unwrap();
            assert_eq!(next.file_name().unwrap(), expected);
        }
    }
}
