// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line from outside: the real binary against real farms. What it prints, how it
//! ends, and what it says to somebody who did something wrong.

#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps fails with a line number, which is all that is asked of it"
)]

mod again;
mod client;
mod flamenco;
#[path = "../journal_reader/folder.rs"]
#[allow(dead_code, reason = "shared with tests that use other parts of it")]
mod folder;
mod harness;
mod import;
mod jobtype;
mod journals;
mod lost_answer;
mod moving;
mod scripts;
mod setup;
mod shaman;
mod start;
