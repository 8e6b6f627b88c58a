// SPDX-License-Identifier: GPL-3.0-or-later
//! From a file Blender wrote to a frame under its final name: staging, checking, publishing.
//!
//! The promise kept here: a final name is given once, to a whole file, and never taken away.

pub(crate) mod blend_hash;
pub(crate) mod publish;
pub(crate) mod renew;
pub(crate) mod settle;
pub(crate) mod staging;
