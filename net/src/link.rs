// SPDX-License-Identifier: GPL-3.0-or-later
//! Between a Server and its Managers: the link upward, and the mirrors of those below.

use crate::{Error, data_dir::DataDir, view::View};

/// Mirrors of linked Managers' site journals, on a Server.
#[derive(Default)]
pub struct Mirrors {}

impl Mirrors {
    /// Opens the mirrors in the data directory.
    pub fn open(_data: &DataDir) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// What can be read of each linked Manager.
    pub fn views(&self) -> Vec<View> {
        Vec::new()
    }

    /// Ends in order.
    pub fn close(&self) {}
}

/// The link to a Server above, on a Manager.
#[derive(Default)]
pub struct Link {}

impl Link {
    /// Reads whether this Manager is linked.
    pub fn open(_data: &DataDir) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// A Server above owns the control journal.
    pub fn is_linked(&self) -> bool {
        false
    }

    /// Ends in order.
    pub fn close(&self) {}
}
