// SPDX-License-Identifier: GPL-3.0-or-later
//! The set-up of a new farm: is this folder fit to be shared, which Blender is there, and what of
//! it goes into the configuration. Used by the API, the command line and `config check`.

mod blender;
mod save;
mod storage;

pub use blender::{BlenderCheck, check_blender, find_blender};
pub use save::{Choice, choose, save};
pub use storage::{PathCheck, check_storage};
