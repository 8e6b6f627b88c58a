// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao completions`: what a shell needs to complete our commands and options.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Print the completions of a shell.
///
/// Example: tablao completions bash > ~/.local/share/bash-completion/completions/tablao
#[derive(Args)]
pub(crate) struct Completions {
    /// Which shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        let mut command = crate::Arguments::command();
        clap_complete::generate(self.shell, &mut command, "tablao", &mut script);
        crate::output::line(String::from_utf8_lossy(&script).trim_end())
    }
}
