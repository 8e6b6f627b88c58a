// SPDX-License-Identifier: GPL-3.0-or-later
//! Checkouts: a folder of links to stored files, for one job.
//!
//! It is built beside its final place under a hidden name and renamed when it is whole, so that
//! nobody ever sees half of one, and a failure leaves nothing.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    BlobId, CheckoutPath, Error, FileSpec, Store,
    files::{self, TRIES},
    layout, link,
    path::RESERVED,
    store::is_absence,
};

/// Names that are tried after the one that was asked for.
const SUFFIXES: usize = 10;
/// Random characters in such a name.
const SUFFIX_LENGTH: usize = 4;
/// Beginning of the hidden name of a checkout that is being built.
pub(crate) const BUILDING: &str = "checkout-";

impl Store {
    /// Makes a checkout of these files. Its path is the requested one, or that with a suffix when
    /// something is there already.
    pub fn checkout(
        &self,
        requested: &CheckoutPath,
        wanted: &[FileSpec],
    ) -> Result<CheckoutPath, Error> {
        self.layout.require_root()?;
        let places = places(wanted)?;
        self.require_stored(wanted)?;
        let building = Building::begin(self, requested)?;
        building.fill(self, &places)?;
        building.publish(requested)
    }

    fn require_stored(&self, wanted: &[FileSpec]) -> Result<(), Error> {
        let mut missing = Vec::new();
        for file in wanted {
            if !self.is_stored(file.id)? {
                missing.push(file);
            }
        }
        match missing.first() {
            None => Ok(()),
            Some(first) => Err(Error::FilesMissing {
                count: missing.len(),
                first: first.path.as_str().to_owned(),
            }),
        }
    }
}

/// Every place once. The same file asked for twice at one place is one; two different ones, or a
/// file where another file's folder is, cannot be.
fn places(wanted: &[FileSpec]) -> Result<BTreeMap<&str, BlobId>, Error> {
    let mut places = BTreeMap::new();
    for file in wanted {
        let before = places.insert(file.path.as_str(), file.id);
        if before.is_some_and(|before| before != file.id) {
            return Err(Error::Clash {
                path: file.path.to_string(),
            });
        }
    }
    for path in places.keys() {
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        for folder in folders {
            if places.contains_key(folder) {
                return Err(Error::Clash {
                    path: folder.to_owned(),
                });
            }
        }
    }
    Ok(places)
}

/// A checkout under a hidden name. Dropped before it is published, it goes away, and so do the
/// folders that were made for it.
struct Building {
    jobs: PathBuf,
    parent: PathBuf,
    folder: PathBuf,
    published: bool,
}

impl Building {
    fn begin(store: &Store, requested: &CheckoutPath) -> Result<Self, Error> {
        let jobs = layout::resolved(&store.layout.jobs())?;
        let place = requested.below(&jobs);
        let parent = place.parent().unwrap_or(&jobs).to_owned();
        let folder = parent.join(format!("{RESERVED}{BUILDING}{}", files::random(12)));
        // From here on, what is made is taken away again.
        let building = Self {
            jobs,
            parent,
            folder,
            published: false,
        };
        building.make(requested)?;
        Ok(building)
    }

    fn make(&self, requested: &CheckoutPath) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let made = self
                .make_parents(requested)?
                .and_then(|()| fs::create_dir(&self.folder));
            match made {
                Ok(()) => return Ok(()),
                // The erasing of a neighbour took the folder away because it was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
                Err(source) => return Err(Error::io("create", &self.folder)(source)),
            }
        }
    }

    /// Makes the folders above the checkout. One that is a link could lead anywhere.
    fn make_parents(&self, requested: &CheckoutPath) -> Result<io::Result<()>, Error> {
        let mut folder = self.jobs.clone();
        for name in requested.names() {
            if folder != self.jobs {
                match fs::create_dir(&folder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Ok(Err(error));
                    }
                    _ => {}
                }
                match fs::symlink_metadata(&folder) {
                    Ok(found) if found.is_dir() => {}
                    Ok(_) => {
                        return Err(Error::NotACheckout {
                            path: requested.to_string(),
                        });
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            folder.push(name);
        }
        Ok(Ok(()))
    }

    fn fill(&self, store: &Store, places: &BTreeMap<&str, BlobId>) -> Result<(), Error> {
        let stored = layout::resolved(&store.layout.stored())?;
        let mut methods = store.links.clone();
        let mut folders = HashSet::from([self.folder.clone()]);
        for (path, id) in places {
            let mut place = self.folder.clone();
            place.extend(path.split('/'));
            let parent = place.parent().unwrap_or(&self.folder).to_owned();
            if !folders.contains(&parent) {
                fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
                let made = parent.ancestors().take_while(|above| *above != self.folder);
                folders.extend(made.map(Path::to_owned));
            }
            let blob = stored.join(layout::relative_blob(*id));
            let target = match layout::way(&parent, &stored) {
                Some(way) => way.join(layout::relative_blob(*id)),
                None => blob.clone(),
            };
            let missing = || Error::FilesMissing {
                count: 1,
                first: (*path).to_owned(),
            };
            // First the touch, then the link, then a look: a collection that runs at the same
            // time either sees the touch and keeps the file, or has taken it before, and then
            // the touch fails.
            if !store.touch(*id)? {
                return Err(missing());
            }
            link_once(&mut methods, &blob, &target, &place, path)?;
            match fs::metadata(&place) {
                Ok(found) if found.is_file() => {}
                Ok(_) => return Err(missing()),
                Err(error) if is_absence(&error) => return Err(missing()),
                Err(source) => return Err(Error::io("look at", &place)(source)),
            }
        }
        folders
            .iter()
            .try_for_each(|folder| files::sync_folder(folder))
    }

    /// Gives the checkout its name, without replacing anything that is there.
    fn publish(mut self, requested: &CheckoutPath) -> Result<CheckoutPath, Error> {
        let suffixed = (0..SUFFIXES)
            .map(|_| requested.with_suffix(&format!("-{}", files::random(SUFFIX_LENGTH))));
        for name in std::iter::once(requested.clone()).chain(suffixed) {
            let place = name.below(&self.jobs);
            if !claim(&place)? {
                continue;
            }
            if let Err(source) = fs::rename(&self.folder, &place) {
                if cfg!(unix) {
                    let _ = fs::remove_dir(&place);
                }
                return Err(Error::io("give its name to", &place)(source));
            }
            self.published = true;
            for folder in place.ancestors().skip(1) {
                files::sync_folder(folder)?;
                if folder == self.jobs {
                    break;
                }
            }
            return Ok(name);
        }
        Err(Error::CheckoutExists {
            path: requested.to_string(),
        })
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now stays hidden until a collection takes it away.
            let _ = files::remove_all(&self.folder);
            files::remove_empty(&self.parent, &self.jobs);
        }
    }
}

/// A link at a place where nothing may be yet. A file system that takes two names for one (by
/// case, or by the way an accent is written) shows here and nowhere before.
fn link_once(
    methods: &mut Vec<link::LinkMethod>,
    blob: &Path,
    target: &Path,
    place: &Path,
    path: &str,
) -> Result<(), Error> {
    match link::place(methods, blob, target, place) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::Clash {
                path: path.to_owned(),
            })
        }
        other => other,
    }
}

/// Takes a name if it is free. Where a folder can be renamed over an empty one, making that one
/// is the test: of two that race, one makes it.
#[cfg(unix)]
fn claim(place: &Path) -> Result<bool, Error> {
    match fs::create_dir(place) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(Error::io("create", place)(source)),
    }
}

/// Takes a name if it is free. Here a rename never replaces a folder, so looking is enough to
/// choose a name, and the rename itself settles a race.
#[cfg(not(unix))]
fn claim(place: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(place) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(Error::io("look at", place)(source)),
    }
}
