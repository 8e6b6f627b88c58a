// SPDX-License-Identifier: GPL-3.0-or-later
//! The supervisor as a program of its own, for this crate's tests.
//!
//! The product starts `tablao supervise`; tests start this with the same arguments.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(word) if word == "supervise" => ExitCode::from(tablao_agent::supervise(args)),
        Some(_) | None => ExitCode::from(2),
    }
}
