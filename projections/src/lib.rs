// SPDX-License-Identifier: GPL-3.0-or-later
//! Views folded from the journal, and their checkpoints.
