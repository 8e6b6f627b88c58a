// SPDX-License-Identifier: GPL-3.0-or-later
//! The Worker: commands, process control, outbox, frames.
