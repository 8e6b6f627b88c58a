// SPDX-License-Identifier: GPL-3.0-or-later
//! Wire types, the engine's shell, HTTP APIs, replication and the HTTP client.
