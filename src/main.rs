// SPDX-License-Identifier: GPL-3.0-or-later
//! The `tablao` command line.

fn main() {}
