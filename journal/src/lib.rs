// SPDX-License-Identifier: GPL-3.0-or-later
//! The append-only journal: records, segments, group commit, recovery, chain.
