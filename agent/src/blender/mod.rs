// SPDX-License-Identifier: GPL-3.0-or-later
//! What the Worker knows about Blender: its command line, its file names, its output.
//!
//! Pure text: no file is touched and no process started here.

pub(crate) mod arguments;
pub(crate) mod frame_list;
pub(crate) mod lines;
pub(crate) mod naming;
