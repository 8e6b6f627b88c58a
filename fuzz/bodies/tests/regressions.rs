// SPDX-License-Identifier: GPL-3.0-or-later
//! Every seed and every earlier finding goes through the body of its target, in an ordinary test.
//!
//! A finding that came back fails here, without a fuzzer, on every machine.

use std::path::{Path, PathBuf};

use tablao_fuzz_bodies::TARGETS;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(kind)
        .join(target)
}

/// The files of a folder, in order. One that is not there is an empty one.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    files
}

fn feed(target: &str) {
    let (_, body) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target of this name");
    let seeds = files(&folder("seeds", target));
    assert!(!seeds.is_empty(), "the target {target} begins from seeds");
    body(&[]);
    for file in seeds.iter().chain(&files(&folder("regressions", target))) {
        println!("{}", file.display());
        let bytes = std::fs::read(file).expect("a file of the repository can be read");
        body(&bytes);
    }
}

/// Protects the journal's reader from bytes that no writer of ours made.
#[test]
fn journal() {
    feed("journal");
}

/// Protects recovery from any folder that a crash, a disk or a person left.
#[test]
fn recovery() {
    feed("recovery");
}

/// Protects both sides of a link from the other one.
#[test]
fn link() {
    feed("link");
}

/// Protects the APIs from any body: no panic, and no answer that makes a worker fail its task.
#[test]
fn bodies() {
    feed("bodies");
}

/// Protects what people write as frames from being read as other frames.
#[test]
fn frames() {
    feed("frames");
}

/// Protects path functions and variables from text of any shape.
#[test]
fn paths() {
    feed("paths");
}

/// Protects the check of settings from job types and values of any shape.
#[test]
fn settings() {
    feed("settings");
}

/// Protects the lists from each other: each target has its program, and is one of cargo-fuzz's.
#[test]
fn every_target_has_its_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("fuzz has a manifest");
    for (target, _) in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        assert!(
            root.join(format!("fuzz_targets/{target}.rs")).is_file(),
            "{target}"
        );
    }
}
