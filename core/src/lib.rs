// SPDX-License-Identifier: GPL-3.0-or-later
//! Ids, events, requests, state machines and scheduling of a farm, without I/O.
