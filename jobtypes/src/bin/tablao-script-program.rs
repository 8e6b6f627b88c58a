// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs one script for the process that started it: the other half of this crate's tests of
//! isolation. The product's is a hidden word of `tablao`; what both run is the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tablao_jobtypes::run_script_for_parent())
}
