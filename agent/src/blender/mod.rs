// SPDX-License-Identifier: GPL-3.0-or-later
//! What the Worker knows about Blender: its command line and its file names.
//!
//! Pure text: no file is touched and no process started here.

pub(crate) mod arguments;
pub(crate) mod frame_list;
pub(crate) mod naming;
