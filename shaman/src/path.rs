// SPDX-License-Identifier: GPL-3.0-or-later
//! Paths that clients send, checked component by component before anything touches a disk.
//!
//! A path is text with `/` between names. It is never resolved, never repaired silently except
//! for the ends of names in a requested checkout, and joins only below a folder of ours.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::Error;

/// Longest name that every file system of a farm holds, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Longest path in bytes. Half of what Linux takes; the other half is for the storage's own path.
const PATH_BYTES_MAX: usize = 2048;
/// Beginning of names that the store gives to its own folders beside checkouts.
pub(crate) const RESERVED: &str = ".tablao-";
/// Characters that Flamenco does not take in the path of a checkout. Braces would read as
/// variables in commands, and a studio's scripts may rely on none being there.
const NOT_IN_CHECKOUTS: &[char] = &['?', '*', ':', ';', '{', '}'];
/// Characters that names on Windows cannot have, beside the separators.
const NOT_ON_WINDOWS: &[char] = &['<', '>', ':', '"', '|', '?', '*'];
/// Names that mean devices on Windows, with any extension.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Where a file goes, relative to its checkout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

/// Where a checkout lies, relative to the folder of all checkouts. Also called its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckoutPath(String);

impl FilePath {
    /// The path, if it stays inside and every platform of a farm can hold it.
    pub fn parse(given: &str) -> Result<Self, Error> {
        let checked = check(given).and_then(|()| check_names(given));
        checked.map_err(|why| refused(given, why))?;
        Ok(Self(given.to_owned()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CheckoutPath {
    /// What a client asks for. Often it is a job's name, so dots and spaces at the ends of names,
    /// which Windows drops, are taken away here: the answer says where the checkout is anyway.
    pub fn requested(given: &str) -> Result<Self, Error> {
        let checked = check(given).and_then(|()| {
            if given.contains(NOT_IN_CHECKOUTS) {
                return Err("a checkout has none of ? * : ; { } in its path");
            }
            let names: Vec<&str> = given
                .split('/')
                .map(|name| name.trim_end_matches(['.', ' ']))
                .collect();
            if names.contains(&"") {
                return Err("a name in it is only dots and spaces");
            }
            let path = names.join("/");
            check_names(&path)?;
            check_reserved(&path)?;
            Ok(path)
        });
        checked.map(Self).map_err(|why| refused(given, why))
    }

    /// A checkout that exists, perhaps made by a Flamenco Manager with looser rules for names.
    /// What would leave the folder of checkouts is refused all the same.
    pub fn existing(given: &str) -> Result<Self, Error> {
        let checked = check(given)
            .and_then(|()| {
                if cfg!(windows) {
                    check_names(given)
                } else {
                    Ok(())
                }
            })
            .and_then(|()| check_reserved(given));
        checked.map_err(|why| refused(given, why))?;
        Ok(Self(given.to_owned()))
    }

    /// As the client is told.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The other checkout lies inside this one, or is this one.
    pub fn contains(&self, other: &Self) -> bool {
        other
            .0
            .strip_prefix(&self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The same with something added to its last name, which stays short enough for it.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        let (folder, name) = match self.0.rsplit_once('/') {
            Some((folder, name)) => (Some(folder), name),
            None => (None, self.0.as_str()),
        };
        let mut kept = name.len().min(NAME_BYTES_MAX - suffix.len());
        while !name.is_char_boundary(kept) {
            kept -= 1;
        }
        let name = format!("{}{suffix}", &name[..kept]);
        Self(match folder {
            Some(folder) => format!("{folder}/{name}"),
            None => name,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Its place below the folder of all checkouts.
    pub(crate) fn below(&self, folder: &Path) -> PathBuf {
        let mut path = folder.to_owned();
        path.extend(self.names());
        path
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for CheckoutPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What could lead out of a folder on any platform, or cannot be a name anywhere.
fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("it is longer than 2048 bytes");
    }
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    if path.contains('\\') {
        return Err("it has a backslash; names are separated by /");
    }
    if path.contains(|character: char| character.is_ascii_control()) {
        return Err("it has a control character");
    }
    for name in path.split('/') {
        match name {
            "" => return Err("it has an empty name: two slashes in a row, or one at the end"),
            "." | ".." => return Err("it has . or .. as a name"),
            _ => {}
        }
        if name.len() > NAME_BYTES_MAX {
            return Err("a name in it is longer than 255 bytes");
        }
        if let [letter, b':', ..] = name.as_bytes()
            && letter.is_ascii_alphabetic()
        {
            return Err("it names a drive");
        }
    }
    Ok(())
}

/// What Windows takes for another name than it reads, wherever the Manager runs: its Workers may
/// run there.
fn check_names(path: &str) -> Result<(), &'static str> {
    for name in path.split('/') {
        if name.ends_with(['.', ' ']) {
            return Err("a name in it ends with a dot or a space, which Windows drops");
        }
        let stem = name.split('.').next().unwrap_or_default().trim_end();
        if is_device(&stem.to_lowercase()) {
            return Err("a name in it means a device on Windows");
        }
        if cfg!(windows) && name.contains(NOT_ON_WINDOWS) {
            return Err("a name in it has a character that Windows does not take");
        }
    }
    Ok(())
}

fn check_reserved(path: &str) -> Result<(), &'static str> {
    if path.split('/').any(|name| name.starts_with(RESERVED)) {
        return Err("a name in it begins with .tablao-, as the store's own folders do");
    }
    Ok(())
}

fn is_device(stem: &str) -> bool {
    let numbered = |prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest: &str| {
            let mut characters = rest.chars();
            // Windows takes the raised digits for digits here.
            matches!(characters.next(), Some('0'..='9' | '¹' | '²' | '³'))
                && characters.next().is_none()
        })
    };
    DEVICES.contains(&stem) || numbered("com") || numbered("lpt")
}

fn refused(given: &str, why: &'static str) -> Error {
    Error::Path {
        given: shortened(given),
        why,
    }
}

/// What a client sent, in a length that a message can show.
pub(crate) fn shortened(given: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let mut text: String = given.chars().take(CHARACTERS_MAX).collect();
    if text.len() < given.len() {
        text.push_str("...");
    }
    text
}
