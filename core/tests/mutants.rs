// SPDX-License-Identifier: GPL-3.0-or-later
//! Mutants: farms with one rule changed, each of which the model test must find.
//!
//! Each is a patch of one place in the core's source. The core is copied to a workspace of its
//! own under the build folder, the patch is made there, and the model test is run on it: it has
//! to fail. The core itself holds nothing for this. A usual run takes some of the mutants, a
//! different few for each state of the source; `TABLAO_SOAK` takes all.

#[path = "mutants/list.rs"]
mod list;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use list::{MUTANTS, Mutant};

/// How many of them a usual run takes: each costs a build of the core and of the model test.
const USUAL: usize = 3;

fn core_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Protects the list from rotting: each patch still fits exactly one place of the source.
#[test]
fn every_mutant_fits_one_place() {
    assert!(MUTANTS.len() >= 20, "only {} mutants", MUTANTS.len());
    let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.rule).collect();
    assert_eq!(names.len(), MUTANTS.len(), "each breaks another rule");
    for mutant in MUTANTS {
        let path = core_folder().join("src").join(mutant.file);
        let source = fs::read_to_string(&path).expect("the mutant names a file of the core");
        assert_eq!(
            source.matches(mutant.old).count(),
            1,
            "{}: {} does not have this text once: {}",
            mutant.rule,
            mutant.file,
            mutant.old
        );
        assert_ne!(mutant.old, mutant.new, "{} changes nothing", mutant.rule);
    }
}

/// Protects the model test itself: a farm with one rule broken does not pass it, and the farm
/// as it is passes in the same place, so that a mutant is not found merely by failing to build.
#[test]
fn the_model_test_finds_the_mutants() {
    let workspace = Workspace::new();
    let sound = workspace.model_test();
    assert!(
        sound.status.success(),
        "the unchanged core does not pass in the copy:\n{}",
        text(&sound)
    );
    let mut missed = Vec::new();
    for mutant in chosen() {
        let output = workspace.with(mutant, Workspace::model_test);
        let said = text(&output);
        assert!(
            said.contains("running 1 test"),
            "mutant {:?} does not build, so it proves nothing:\n{said}",
            mutant.rule
        );
        let found = !output.status.success();
        let how = said.lines().find(|line| line.contains("TABLAO_SEED="));
        println!(
            "{:<7} {}  ({})",
            if found { "found" } else { "MISSED" },
            mutant.rule,
            how.unwrap_or("-")
        );
        if !found {
            missed.push(mutant.rule);
        }
    }
    assert!(
        missed.is_empty(),
        "the model test passes although: {missed:#?}"
    );
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// All of them for a soak, or named by `TABLAO_MUTANT`; else a few, chosen by the source's hash.
fn chosen() -> Vec<&'static Mutant> {
    if let Ok(name) = std::env::var("TABLAO_MUTANT") {
        let named = MUTANTS.iter().filter(|mutant| mutant.rule.contains(&name));
        return named.collect();
    }
    if std::env::var_os("TABLAO_SOAK").is_some() {
        return MUTANTS.iter().collect();
    }
    let mut hasher = blake3::Hasher::new();
    for path in files(&core_folder().join("src")) {
        hasher.update(&fs::read(path).expect("the core's source is there"));
    }
    let start = usize::from(hasher.finalize().as_bytes()[0]);
    (0..USUAL)
        .map(|n| &MUTANTS[(start + n * MUTANTS.len() / USUAL) % MUTANTS.len()])
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).expect("the folder is there");
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A copy of the core in a workspace of its own, with its own build folder.
struct Workspace {
    root: PathBuf,
}

impl Workspace {
    fn new() -> Self {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mutants");
        let original = core_folder();
        let above = original.parent().expect("the core lies in a workspace");
        let manifest =
            fs::read_to_string(above.join("Cargo.toml")).expect("the workspace has a manifest");
        fs::create_dir_all(&root).expect("the build folder can be written");
        write_if_new(
            &root.join("Cargo.toml"),
            workspace_alone(&manifest).as_bytes(),
        );
        let lock = fs::read(above.join("Cargo.lock")).expect("versions are locked");
        if !root.join("Cargo.lock").exists() {
            write_if_new(&root.join("Cargo.lock"), &lock);
        }
        let mut wanted = BTreeSet::new();
        for part in ["src", "tests/common", "tests/model"] {
            for path in files(&original.join(part)) {
                let inside = path.strip_prefix(&original).expect("it was listed there");
                let copy = root.join("core").join(inside);
                let bytes = fs::read(&path).expect("the source can be read");
                write_if_new(&copy, &bytes);
                wanted.insert(copy);
            }
        }
        let manifest = fs::read(original.join("Cargo.toml")).expect("the core has a manifest");
        write_if_new(&root.join("core/Cargo.toml"), &manifest);
        for path in files(&root.join("core/src")) {
            if !wanted.contains(&path) {
                fs::remove_file(path).expect("a file of an earlier copy can go");
            }
        }
        Self { root }
    }

    /// Runs `action` while the mutant is in place.
    fn with<T>(&self, mutant: &Mutant, action: impl FnOnce(&Self) -> T) -> T {
        let path = self.root.join("core/src").join(mutant.file);
        let sound = fs::read_to_string(&path).expect("the copy is there");
        let broken = sound.replacen(mutant.old, mutant.new, 1);
        assert_ne!(sound, broken, "{}: the patch fits", mutant.rule);
        fs::write(&path, broken).expect("the copy can be written");
        let result = action(self);
        fs::write(&path, sound).expect("the copy can be written");
        result
    }

    fn model_test(&self) -> Output {
        Command::new(env!("CARGO"))
            .args([
                "test",
                "--quiet",
                "--offline",
                "-p",
                "tablao-core",
                "--test",
                "model",
            ])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("RUST_BACKTRACE", "0")
            .env_remove("TABLAO_SOAK")
            .env_remove("TABLAO_SEED")
            .output()
            .expect("cargo runs: it runs this test")
    }
}

/// Unchanged files keep their times, so that only what a mutant changes is built again.
fn write_if_new(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return;
    }
    let folder = path.parent().expect("every file lies in a folder");
    fs::create_dir_all(folder).expect("the build folder can be written");
    fs::write(path, bytes).expect("the build folder can be written");
}

/// The workspace's manifest with the core as its only member and no package of its own.
fn workspace_alone(manifest: &str) -> String {
    let mut keep = true;
    let mut alone = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            keep = line.starts_with("[workspace");
        }
        if line.starts_with("members") {
            alone.push_str("members = [\"core\"]\n");
        } else if keep {
            alone.push_str(line);
            alone.push('\n');
        }
    }
    alone
}
