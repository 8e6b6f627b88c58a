// SPDX-License-Identifier: GPL-3.0-or-later
//! What the Worker knows about Blender: its command line, its file names, and how one that stays
//! up renders task after task.
//!
//! All but `warm` is about text alone. What a render means for a task is not known here.

pub(crate) mod arguments;
pub(crate) mod frame_list;
pub(crate) mod naming;
pub(crate) mod warm;
mod warm_key;
mod warm_plan;
mod warm_process;
