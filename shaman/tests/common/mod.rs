// SPDX-License-Identifier: GPL-3.0-or-later
//! A store in a folder of its own, and what tests send to it and find in it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "shared by several test binaries, each of which uses its part"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use tablao_shaman::{
    Begin, BlobId, CheckoutPath, FilePath, FileSpec, Outcome, Status, Store, Upload,
};

pub struct Shelf {
    pub root: tempfile::TempDir,
    pub store: Store,
}

impl Shelf {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        Self { root, store }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Sends contents whole.
    pub fn send(&self, contents: &[u8]) -> BlobId {
        let id = id_of(contents);
        let mut upload = begun(self.store.upload(id, false).unwrap());
        upload.write(contents).unwrap();
        assert_eq!(upload.finish().unwrap(), Outcome::Stored);
        assert_eq!(self.store.status(id).unwrap(), Status::Stored);
        id
    }

    pub fn blob(&self, id: BlobId) -> PathBuf {
        let checksum = id.checksum();
        self.path("file-store/stored")
            .join(&checksum[..2])
            .join(&checksum[2..])
            .join(format!("{}.blob", id.size()))
    }

    /// Every file and link below a folder, with the text that is read through it.
    pub fn tree(&self, relative: &str) -> BTreeMap<String, String> {
        let top = self.path(relative);
        let mut found = BTreeMap::new();
        walk(&top, &mut |path| {
            let name = path
                .strip_prefix(&top)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let text = fs::read(path).map_or_else(
                |error| error.to_string(),
                |bytes| String::from_utf8_lossy(&bytes).into_owned(),
            );
            found.insert(name, text);
        });
        found
    }

    /// Names of what lies directly in a folder.
    pub fn names(&self, relative: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(relative))
            .map(|entries| {
                entries
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }
}

fn walk(folder: &Path, see: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), see);
        } else {
            see(&entry.path());
        }
    }
}

pub fn id_of(contents: &[u8]) -> BlobId {
    BlobId::new(Sha256::digest(contents).into(), contents.len() as u64)
}

#[track_caller]
pub fn begun(begin: Begin) -> Box<Upload> {
    match begin {
        Begin::Upload(upload) => upload,
        other => panic!("not an upload: {other:?}"),
    }
}

pub fn file(path: &str, id: BlobId) -> FileSpec {
    FileSpec {
        id,
        path: FilePath::parse(path).unwrap(),
    }
}

pub fn requested(path: &str) -> CheckoutPath {
    CheckoutPath::requested(path).unwrap()
}

/// Makes a file or folder as old as said.
pub fn age(path: &Path, age: Duration) {
    let file = fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);
