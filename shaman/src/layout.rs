// SPDX-License-Identifier: GPL-3.0-or-later
//! Where everything lies below the shared storage. Works out paths; touches no file but to
//! resolve links.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{BlobId, Error};

/// Ending of stored files.
const BLOB: &str = ".blob";

/// The folders of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The shared storage itself is made by people: making it would fill the disk below a
    /// network share that is not mounted.
    pub(crate) fn require_root(&self) -> Result<(), Error> {
        if self.root.is_dir() {
            Ok(())
        } else {
            Err(Error::StorageMissing {
                path: self.root.clone(),
            })
        }
    }

    /// All checkouts.
    pub(crate) fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// All complete files.
    pub(crate) fn stored(&self) -> PathBuf {
        self.root.join("file-store").join("stored")
    }

    /// All files that are being sent.
    pub(crate) fn uploading(&self) -> PathBuf {
        self.root.join("file-store").join("uploading")
    }

    /// Files that a collection has taken aside and not decided on yet.
    pub(crate) fn collecting(&self) -> PathBuf {
        self.root.join("file-store").join("collecting")
    }

    /// A complete file.
    pub(crate) fn blob(&self, id: BlobId) -> PathBuf {
        self.stored().join(relative_blob(id))
    }

    /// A file that is being sent; each sender has its own.
    pub(crate) fn part(&self, id: BlobId, random: &str) -> PathBuf {
        let checksum = id.checksum();
        self.uploading()
            .join(&checksum[..2])
            .join(&checksum[2..])
            .join(format!("{}-{random}.tmp", id.size()))
    }
}

/// A complete file, relative to the folder of all of them.
pub(crate) fn relative_blob(id: BlobId) -> PathBuf {
    let checksum = id.checksum();
    [
        &checksum[..2],
        &checksum[2..],
        &format!("{}{BLOB}", id.size()),
    ]
    .iter()
    .collect()
}

/// The contents that a path below the folder of complete files names; `None` for anything that
/// the store did not put there.
pub(crate) fn blob_at(first: &str, rest: &str, file: &str) -> Option<BlobId> {
    let size = file.strip_suffix(BLOB)?;
    let id = BlobId::parse(&format!("{first}{rest}"), size.parse().ok()?).ok()?;
    // Only the one way of writing it: no sign, no leading zero, no upper case.
    (relative_blob(id) == [first, rest, file].iter().collect::<PathBuf>()).then_some(id)
}

/// The folder with all links resolved, made before if it is not there.
pub(crate) fn resolved(folder: &Path) -> Result<PathBuf, Error> {
    let made = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            fs::canonicalize(folder)
        }
        _ => Err(source),
    };
    fs::canonicalize(folder)
        .or_else(made)
        .map_err(Error::io("open", folder))
}

/// The way from one resolved folder to another, `None` where there is none (other drives).
pub(crate) fn way(from: &Path, to: &Path) -> Option<PathBuf> {
    let common = from
        .components()
        .zip(to.components())
        .take_while(|(left, right)| left == right)
        .count();
    if common == 0 {
        return None;
    }
    let mut way: PathBuf = from
        .components()
        .skip(common)
        .map(|_| Component::ParentDir)
        .collect();
    way.extend(to.components().skip(common));
    Some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Links must hold wherever the storage is mounted, so they go by way of parents.
    #[test]
    fn the_way_between_two_folders() {
        let between = |from: &str, to: &str| way(Path::new(from), Path::new(to));
        let expected = |text: &str| Some(PathBuf::from(text));
        assert_eq!(
            between("/s/jobs", "/s/file-store/stored"),
            expected("../file-store/stored")
        );
        assert_eq!(between("/a/b", "/c"), expected("../../c"));
        assert_eq!(between("relative", "/c"), None);
    }

    /// Collection deletes by these names: what the store did not write must not be taken for its own.
    #[test]
    fn only_what_the_store_writes_is_a_blob() {
        let rest = "b".repeat(62);
        assert!(blob_at("aa", &rest, "12.blob").is_some());
        for (first, file) in [
            ("aa", "12"),
            ("aa", "x.blob"),
            ("aa", "+1.blob"),
            ("aa", "012.blob"),
            ("AA", "12.blob"),
            ("a", "12.blob"),
            ("aa", "12.blob.part"),
        ] {
            assert_eq!(blob_at(first, &rest, file), None, "{first} {file}");
        }
    }
}
