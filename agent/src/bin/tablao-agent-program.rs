// SPDX-License-Identifier: GPL-3.0-or-later
//! The Worker as a program of its own, for this crate's tests: `tablao-agent-program worker URL DATA
//! [BYTES]`, and the `supervise` subcommand that it needs. With a number of bytes it has two slots
//! with so much memory each, kept to it by control groups.
//!
//! The product is `tablao worker`; what both run is the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_ref().and_then(|word| word.to_str()) {
        Some("supervise") => ExitCode::from(tablao_agent::supervise(args)),
        Some("worker") => worker(args),
        Some(_) | None => ExitCode::from(2),
    }
}

#[tokio::main]
async fn worker(mut args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let (Some(url), Some(data_dir)) = (args.next(), args.next()) else {
        return ExitCode::from(2);
    };
    let mut options = tablao_agent::Options::new(url.to_string_lossy(), data_dir);
    if let Some(bytes) = args.next() {
        let Some(bytes) = bytes.to_str().and_then(|bytes| bytes.parse().ok()) else {
            return ExitCode::from(2);
        };
        options.slots = 2;
        options.division.memory_bytes = Some(bytes);
        options.division.limits_by = tablao_agent::LimitsBy::Groups;
    }
    match tablao_agent::run(options, std::future::pending()).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to {error}");
            ExitCode::FAILURE
        }
    }
}
