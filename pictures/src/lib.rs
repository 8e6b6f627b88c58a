// SPDX-License-Identifier: GPL-3.0-or-later
//! What a render leaves behind: Blender's own account of it, and how its files look.
//!
//! The Worker reads the lines of the Blender that it runs; the Manager reads them in the logs of
//! Flamenco's workers, who tell of frames in no other way. Both make the same thumbnails, and
//! both look at files for what may be wrong with them. Knows nothing of jobs, processes or HTTP.

pub mod blender_lines;
pub mod endings;
pub mod examine;
mod exr_layers;
pub mod judge;
pub mod thumbnail;
pub mod whole;
