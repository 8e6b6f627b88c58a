// SPDX-License-Identifier: GPL-3.0-or-later
//! The files that a job reads, as they were when it was compiled, and whether they have changed.
//!
//! Only files that the settings name and that this Manager can see. Size and time of a file are
//! compared first; its content is read where they differ.

use std::{fs::File, io, path::Path, time::UNIX_EPOCH};

use serde_json::{Map, Value};
use tablao_core::detail::Input;

use crate::variables::Resolved;

/// Up to this size content is hashed with each compilation; of a larger file size and time count.
const HASHED_BYTES_MAX: u64 = 256 << 20;

/// The setting names a file that is read: a blend file, or whatever is called an input.
fn is_input(key: &str, value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    key == "blendfile" || key.starts_with("input") || lower.ends_with(".blend")
}

/// The inputs that settings in effect name. Reads files: not for a thread that serves others.
pub fn of_settings(settings: &Map<String, Value>, variables: &Resolved) -> Vec<Input> {
    let texts = settings
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?)));
    let mut inputs: Vec<Input> = texts
        .filter(|(key, value)| is_input(key, value))
        .filter_map(|(_, value)| look(value, Path::new(&variables.expand(value))).ok())
        .collect();
    inputs.dedup_by(|one, other| one.path == other.path);
    inputs
}

fn look(path: &str, place: &Path) -> io::Result<Input> {
    let metadata = place.metadata()?;
    if !metadata.is_file() || !place.is_absolute() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let age = metadata.modified()?.duration_since(UNIX_EPOCH);
    let age = age.unwrap_or_default().as_micros();
    let hash = (metadata.len() <= HASHED_BYTES_MAX)
        .then(|| hash_of(place))
        .transpose()?;
    Ok(Input {
        path: path.to_owned(),
        hash,
        size: metadata.len(),
        modified_us: u64::try_from(age).unwrap_or(u64::MAX),
    })
}

fn hash_of(place: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(place)?)?;
    Ok(*hasher.finalize().as_bytes())
}

/// A file's content is another one. What cannot be told from what is known counts as the same.
fn differs(before: &Input, now: &Input) -> bool {
    match (before.hash, now.hash) {
        (Some(before), Some(now)) => before != now,
        _ => (before.size, before.modified_us) != (now.size, now.modified_us),
    }
}

/// The paths of those inputs that have changed. `told`: what somebody says about files that this
/// Manager may not see; a file that nobody knew anything of has changed if it is spoken of.
pub fn changed(before: &[Input], now: &[Input], told: &[Input]) -> Vec<String> {
    let of = |list: &[Input], path: &str| list.iter().find(|input| input.path == path).cloned();
    let seen = now.iter().filter(|now| {
        let before = of(before, &now.path);
        before.is_some_and(|before| differs(&before, now))
    });
    let told = told
        .iter()
        .filter(|told| of(before, &told.path).is_none_or(|before| differs(&before, told)));
    let mut paths: Vec<String> = (seen.chain(told)).map(|input| input.path.clone()).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// What is known of the inputs from now on: what is seen, else what was told.
pub fn known(now: Vec<Input>, told: Vec<Input>) -> Vec<Input> {
    let mut inputs = now;
    for input in told {
        if !inputs.iter().any(|known| known.path == input.path) {
            inputs.push(input);
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(hash: Option<u8>, size: u64, modified_us: u64) -> Input {
        Input {
            path: "/shot.blend".to_owned(),
            hash: hash.map(|byte| [byte; 32]),
            size,
            modified_us,
        }
    }

    /// Protects finished frames: a file that was copied or saved without a change renders nothing
    /// anew, one that did change does, and one that nobody can look at is taken at its word.
    #[test]
    fn content_counts_and_time_only_where_it_is_all_there_is() {
        let before = [input(Some(1), 5, 10)];
        let changed = |now: &[Input], told: &[Input]| changed(&before, now, told).len();
        assert_eq!(changed(&[input(Some(1), 5, 99)], &[]), 0);
        assert_eq!(changed(&[input(Some(2), 5, 10)], &[]), 1);
        assert_eq!(changed(&[input(None, 5, 99)], &[]), 1);
        assert_eq!(changed(&[input(None, 5, 10)], &[]), 0);
        assert_eq!(changed(&[], &[]), 0);
        assert_eq!(changed(&[], &[input(Some(2), 5, 10)]), 1);
        assert_eq!(super::changed(&[], &[], &[input(None, 1, 1)]).len(), 1);
    }

    /// Protects against taking a job's own output for something it reads.
    #[test]
    fn only_what_is_read_is_an_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).expect("it can be written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let settings = serde_json::json!({
            "blendfile": path("shot.blend"),
            "input_audio": path("sound.wav"),
            "outfile": path("film.mp4"),
            "blender_cmd": "{blender}",
            "frames": "1-4",
        });
        let Value::Object(settings) = settings else {
            unreachable!("it is an object");
        };
        let variables = Resolved::new(
            &crate::variables::defaults(),
            "/jobs",
            crate::variables::Audience::Workers,
            "linux",
        );
        let inputs = of_settings(&settings, &variables);
        let sizes: Vec<u64> = inputs.iter().map(|input| input.size).collect();
        assert_eq!(sizes, [10, 9]);
        assert!(inputs.iter().all(|input| input.hash.is_some()));
    }
}
