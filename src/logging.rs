// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the program's own log goes: standard error, as text or JSON.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Options about the log, the same for every subcommand.
#[derive(Args)]
pub(crate) struct Logging {
    /// What to log: error, warn, info, debug, trace, or per module as in tablao_net=debug.
    #[arg(
        long,
        global = true,
        help_heading = "Log",
        env = "TABLAO_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log: String,
    /// How to write the log.
    #[arg(
        long,
        global = true,
        help_heading = "Log",
        env = "TABLAO_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A JSON object per line.
    Json,
}

impl Logging {
    pub(crate) fn start(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|_| EnvFilter::new("info"));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.log_format {
            Format::Text => builder
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .init(),
            Format::Json => builder.json().init(),
        }
    }
}
