// SPDX-License-Identifier: GPL-3.0-or-later
//! A temporary folder that, when a test is done with it, has every journal below it read twice:
//! by the program's reader and by the independent one in Python. Both must come to the same chain.
//!
//! Shared by the tests of several packages, so it knows journals and folders, not farms. It does
//! not judge a journal that a test damaged: such a test takes a plain temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tablao_journal::{FileStore, Reader, RealFiles};
use tempfile::TempDir;

/// A temporary folder whose journals are checked before it is removed.
pub(crate) struct JournalFolder(TempDir);

impl JournalFolder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for JournalFolder {
    fn drop(&mut self) {
        // A test that fails leaves anything; its own message is the one to read.
        if !std::thread::panicking() {
            for journal in journals_below(self.0.path()) {
                both_readers_agree(&journal);
            }
        }
    }
}

/// Every folder at or below this one that holds segments.
pub(crate) fn journals_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let mut has_segments = false;
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                has_segments |= path.extension().is_some_and(|ending| ending == "seg");
            }
        }
        if has_segments {
            found.push(folder);
        }
    }
    found
}

/// Reads one journal twice. Where a process still writes to it, both look until they saw the same
/// end.
fn both_readers_agree(folder: &Path) {
    for _ in 0..100 {
        let files: Arc<dyn FileStore> = Arc::new(RealFiles::existing(folder));
        let ours = Reader::open(files).and_then(|reader| reader.verify());
        let ours = ours.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let theirs = in_python(folder);
        if theirs["next"].as_u64() == Some(ours.next.get()) {
            assert_eq!(
                theirs["chain"],
                ours.chain.to_string(),
                "{}",
                folder.display()
            );
            assert_eq!(theirs["records"], ours.records, "{}", folder.display());
            return;
        }
    }
    panic!(
        "{}: the two readers never saw the same end",
        folder.display()
    );
}

/// What the reader that was written from FORMAT.md alone says of a folder that is whole.
pub(crate) fn in_python(folder: &Path) -> serde_json::Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = "tests/journal_reader/read_journal.py";
    let script = [root.join(script), root.join("..").join(script)]
        .into_iter()
        .find(|path| path.exists())
        .expect("the reader is in the repository");
    let output = Command::new("python3")
        .arg("-B")
        .arg(script)
        .arg(folder)
        .output()
        .expect("python3 (3.9 or newer) is on PATH: run `make setup-test`");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}", folder.display());
    serde_json::from_slice(&output.stdout).expect("the reader prints JSON")
}
