// SPDX-License-Identifier: GPL-3.0-or-later
//! One event of every kind with every field filled, for the codec and its golden bytes.
