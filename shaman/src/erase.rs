// SPDX-License-Identifier: GPL-3.0-or-later
//! Erasing a checkout, and nothing but that checkout.

use std::{fs, io, path::PathBuf};

use crate::{CheckoutPath, Error, Store, files, layout, path::RESERVED, store::is_absence};

/// Beginning of the hidden name of a checkout that is being erased.
pub(crate) const ERASING: &str = "erased-";

impl Store {
    /// Erases a checkout and the folders above it that are empty then. `false` if there is none,
    /// which is as good. Links are removed, never followed.
    pub fn erase(&self, checkout: &CheckoutPath) -> Result<bool, Error> {
        let Some(place) = self.find(checkout)? else {
            return Ok(false);
        };
        let jobs = layout::resolved(&self.layout.jobs())?;
        let parent = place.parent().unwrap_or(&jobs).to_owned();
        // Renamed first: what a crash leaves is hidden, and a collection takes it away.
        let hidden = parent.join(format!("{RESERVED}{ERASING}{}", files::random(12)));
        match fs::rename(&place, &hidden) {
            Ok(()) => {}
            Err(error) if is_absence(&error) => return Ok(false),
            Err(source) => return Err(Error::io("erase", &place)(source)),
        }
        files::remove_all(&hidden)?;
        files::remove_empty(&parent, &jobs);
        Ok(true)
    }

    /// The checkout is there and could be erased.
    pub fn has_checkout(&self, checkout: &CheckoutPath) -> Result<bool, Error> {
        Ok(self.find(checkout)?.is_some())
    }

    /// The folder of a checkout: real folders all the way down from that of all checkouts.
    fn find(&self, checkout: &CheckoutPath) -> Result<Option<PathBuf>, Error> {
        let jobs = self.layout.jobs();
        let mut place = match fs::canonicalize(&jobs) {
            Ok(jobs) => jobs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::io("open", &jobs)(source)),
        };
        for name in checkout.names() {
            place.push(name);
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    return Err(Error::NotACheckout {
                        path: checkout.to_string(),
                    });
                }
                Err(error) if is_absence(&error) => return Ok(None),
                Err(source) => return Err(Error::io("look at", &place)(source)),
            }
        }
        Ok(Some(place))
    }
}
