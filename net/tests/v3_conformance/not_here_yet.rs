// SPDX-License-Identifier: GPL-3.0-or-later
//! Operations that are documented and not built. It is to be empty.

/// By their ids.
pub(crate) const NOT_HERE_YET: &[&str] = &[];
