// SPDX-License-Identifier: GPL-3.0-or-later
//! Collection: stored files go when they are old and no checkout uses them; so do parts of
//! uploads and hidden folders that nobody finished.
//!
//! A file is taken aside by a rename before it is judged for the last time. Whoever makes a
//! checkout touches the file first. So either the touch came before the rename, is seen, and the
//! file goes back; or it finds no file, and the client sends it again. This needs no lock and
//! holds between processes. Whatever cannot be looked at stops the collection: what is not known
//! to be unused stays.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    BlobId, Error, Store, checkout::BUILDING, erase::ERASING, files, layout, path::RESERVED,
};

/// An upload or a checkout to which nothing came for so long has no process any more.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// What a collection looks at, and whether it only tells.
#[derive(Clone, Copy, Debug)]
pub struct Collection {
    /// The time by which ages are reckoned.
    pub now: SystemTime,
    /// How long a file stays that nobody asks for.
    pub age_max: Duration,
    /// Tell, and remove nothing.
    pub dry_run: bool,
}

/// What a collection found (or would remove, when it only tells).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Stored files that were looked at.
    pub examined: u64,
    /// Of those, old ones that a checkout uses.
    pub in_use: u64,
    /// Files removed, in the order of their names.
    pub blobs: Vec<BlobId>,
    /// Their size together.
    pub bytes: u64,
    /// Parts of uploads removed.
    pub parts: u64,
    /// Hidden folders of checkouts removed.
    pub folders: u64,
}

impl Store {
    /// Collects once.
    pub fn collect(&self, collection: &Collection) -> Result<Garbage, Error> {
        self.layout.require_root()?;
        let mut garbage = Garbage::default();
        if !collection.dry_run {
            self.put_back_what_was_left()?;
        }
        self.collect_parts(collection, &mut garbage)?;
        let oldest = before(collection.now, collection.age_max);
        let mut old = self.old_blobs(oldest, &mut garbage)?;
        // The folders of checkouts are walked even when no file is old, for what was left there.
        let used = self.used_blobs(collection, &mut garbage)?;
        old.sort_unstable();
        for id in old {
            let path = self.layout.blob(id);
            let Some(real) = present(fs::canonicalize(&path), "open", &path)? else {
                continue;
            };
            if used.contains(&real) || has_other_names(&path) {
                garbage.in_use += 1;
            } else if collection.dry_run || self.remove_unless_touched(id, oldest)? {
                garbage.bytes += id.size();
                garbage.blobs.push(id);
            }
        }
        Ok(garbage)
    }

    /// Stored files that nobody touched since `oldest`.
    fn old_blobs(&self, oldest: SystemTime, garbage: &mut Garbage) -> Result<Vec<BlobId>, Error> {
        let mut old = Vec::new();
        for first in entries(&self.layout.stored())? {
            for rest in entries(&first.path)? {
                for file in entries(&rest.path)? {
                    let Some(id) = layout::blob_at(&first.name, &rest.name, &file.name) else {
                        continue;
                    };
                    let Some(found) = present(fs::metadata(&file.path), "look at", &file.path)?
                    else {
                        continue;
                    };
                    garbage.examined += 1;
                    if files::is_older(found.modified(), oldest) {
                        old.push(id);
                    }
                }
            }
        }
        Ok(old)
    }

    /// Where all links below the folder of checkouts lead in the end, links on the way resolved.
    fn used_blobs(
        &self,
        collection: &Collection,
        garbage: &mut Garbage,
    ) -> Result<HashSet<PathBuf>, Error> {
        let mut used = HashSet::new();
        let mut folders = vec![self.layout.jobs()];
        while let Some(folder) = folders.pop() {
            for entry in entries(&folder)? {
                let Some(found) =
                    present(fs::symlink_metadata(&entry.path), "look at", &entry.path)?
                else {
                    continue;
                };
                if found.is_symlink() {
                    // A link to nothing uses nothing. One that cannot be followed might.
                    let target = fs::canonicalize(&entry.path);
                    used.extend(present(no_loop(target), "follow", &entry.path)?);
                } else if found.is_dir() {
                    let idle_since = before(collection.now, IDLE_MAX);
                    if is_hidden_of_ours(&entry.name)
                        && files::is_older(newest_below(&entry.path), idle_since)
                    {
                        garbage.folders += 1;
                        if !collection.dry_run {
                            files::remove_all(&entry.path)?;
                            files::remove_empty(&folder, &self.layout.jobs());
                        }
                    } else {
                        folders.push(entry.path);
                    }
                }
            }
        }
        Ok(used)
    }

    /// Parts of uploads whose process is gone.
    fn collect_parts(&self, collection: &Collection, garbage: &mut Garbage) -> Result<(), Error> {
        let idle_since = before(collection.now, IDLE_MAX);
        let top = self.layout.uploading();
        for first in entries(&top)? {
            for rest in entries(&first.path)? {
                for part in entries(&rest.path)? {
                    let Some(found) = present(fs::metadata(&part.path), "look at", &part.path)?
                    else {
                        continue;
                    };
                    if !part.name.ends_with(".tmp")
                        || !files::is_older(found.modified(), idle_since)
                    {
                        continue;
                    }
                    garbage.parts += 1;
                    if !collection.dry_run {
                        present(fs::remove_file(&part.path), "remove", &part.path)?;
                    }
                }
                if !collection.dry_run {
                    files::remove_empty(&rest.path, &top);
                }
            }
        }
        Ok(())
    }

    /// Takes a file aside, judges it again, and removes it or puts it back.
    fn remove_unless_touched(&self, id: BlobId, oldest: SystemTime) -> Result<bool, Error> {
        let path = self.layout.blob(id);
        let collecting = self.layout.collecting();
        fs::create_dir_all(&collecting).map_err(Error::io("create", &collecting))?;
        // The name says where it belongs, should the process end here.
        let aside = collecting.join(format!(
            "{}-{}-{}",
            id.checksum(),
            id.size(),
            files::random(8)
        ));
        if present(fs::rename(&path, &aside), "take aside", &path)?.is_none() {
            return Ok(false);
        }
        let written = fs::metadata(&aside).and_then(|found| found.modified());
        if !files::is_older(written, oldest) || has_other_names(&aside) {
            put_back(&aside, &path)?;
            return Ok(false);
        }
        if present(fs::remove_file(&aside), "remove", &aside)?.is_none() {
            return Ok(false);
        }
        if let Some(folder) = path.parent() {
            files::remove_empty(folder, &self.layout.stored());
        }
        // Left in place where another collection works at the same time.
        let _ = fs::remove_dir(&collecting);
        Ok(true)
    }

    /// A collection that ended half-way left files aside: they go back, and are judged anew.
    fn put_back_what_was_left(&self) -> Result<(), Error> {
        for entry in entries(&self.layout.collecting())? {
            let mut parts = entry.name.split('-');
            let id = parts
                .next()
                .zip(parts.next())
                .and_then(|(checksum, size)| BlobId::parse(checksum, size.parse().ok()?).ok());
            if let Some(id) = id {
                put_back(&entry.path, &self.layout.blob(id))?;
            }
        }
        Ok(())
    }
}

/// Gives a file its name again, unless somebody has sent it anew.
fn put_back(aside: &Path, path: &Path) -> Result<(), Error> {
    if path.exists() {
        present(fs::remove_file(aside), "remove", aside)?;
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    present(fs::rename(aside, path), "put back", path)?;
    Ok(())
}

struct Entry {
    name: String,
    path: PathBuf,
}

/// What is in a folder; nothing if it is not there, or is no folder. A name that is no Unicode
/// is none of ours, and shows with its damage marked: its path still leads to it.
fn entries(folder: &Path) -> Result<Vec<Entry>, Error> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if crate::store::is_absence(&error) => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("list", folder)(source)),
    };
    listing
        .map(|entry| {
            let entry = entry.map_err(Error::io("list", folder))?;
            Ok(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                path: entry.path(),
            })
        })
        .collect()
}

/// What came of a step, `None` if the file was gone: others work in the same store.
fn present<T>(result: io::Result<T>, doing: &'static str, path: &Path) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if crate::store::is_absence(&error) => Ok(None),
        Err(source) => Err(Error::io(doing, path)(source)),
    }
}

/// A link that leads back to itself leads nowhere.
fn no_loop(target: io::Result<PathBuf>) -> io::Result<PathBuf> {
    const TOO_MANY_LINKS: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };
    target.map_err(|error| {
        if cfg!(unix) && error.raw_os_error() == Some(TOO_MANY_LINKS) {
            io::ErrorKind::NotFound.into()
        } else {
            error
        }
    })
}

fn before(now: SystemTime, age: Duration) -> SystemTime {
    now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn is_hidden_of_ours(name: &str) -> bool {
    name.strip_prefix(RESERVED)
        .is_some_and(|rest| rest.starts_with(BUILDING) || rest.starts_with(ERASING))
}

/// When something was last made in a folder or below it: a large checkout may be busy deep down.
fn newest_below(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = fs::metadata(folder)?.modified()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            newest = newest.max(newest_below(&entry.path())?);
        }
    }
    Ok(newest)
}

/// A checkout holds the file by a second name; removing the first would free nothing.
#[cfg(unix)]
fn has_other_names(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).is_ok_and(|found| found.nlink() > 1)
}

/// Names cannot be counted here. A checkout keeps its contents by its own name anyway.
#[cfg(not(unix))]
fn has_other_names(_: &Path) -> bool {
    false
}
