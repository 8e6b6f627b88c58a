// SPDX-License-Identifier: GPL-3.0-or-later
//! The `tablao` command line: parses, hands to one file per subcommand, turns errors into words
//! and exit codes.

mod client;
mod commands;
mod exit;
mod follow;
mod journals;
mod logging;
mod output;
mod progress;

use clap::Parser;

use commands::Command;

/// Records are made on one thread and let go on two others, which the system's own allocator
/// answers with locks and sweeps: a quarter of a busy Manager's time (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A render farm that can tell you why.
///
/// One program plays every part: `tablao up` is a whole farm on this machine; `tablao manager`
/// and `tablao worker` are its parts on several. Exit codes: 0 done, 1 failed, 2 wrong usage,
/// 3 damage found, 4 could not reach the farm, 5 refused.
#[derive(Parser)]
#[command(name = "tablao", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    logging: logging::Logging,
    #[command(subcommand)]
    command: Command,
}

/// The word that makes a process run one job type script for the Manager that started it.
const RUN_SCRIPT: &str = "run-script";

fn main() -> std::process::ExitCode {
    // Before anything else: the supervisor of a worker's program must be small and quick.
    let mut raw = std::env::args_os().skip(1);
    match raw.next().as_ref().and_then(|first| first.to_str()) {
        Some("supervise") => return tablao_agent::supervise(raw).into(),
        Some(RUN_SCRIPT) => return tablao_jobtypes::run_script_for_parent().into(),
        Some(_) | None => {}
    }
    // Scripts that this process is to compile run in processes of their own. Where the system does
    // not tell which program this is, they run in this one.
    if let Ok(program) = tablao_jobtypes::ChildProgram::this_one(RUN_SCRIPT) {
        program.make_default();
    }
    let arguments = Arguments::parse();
    arguments.logging.start();
    match arguments.command.run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
