// SPDX-License-Identifier: GPL-3.0-or-later
//! Progress for people: a bar on a terminal, plain lines elsewhere (a pipe, a CI log).

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

/// How many plain lines a whole run writes at most.
const PLAIN_LINES_MAX: u64 = 25;

/// Progress of one piece of work.
pub(crate) struct Progress {
    unit: &'static str,
    bar: Option<ProgressBar>,
    /// What the last plain line said.
    told: Option<u64>,
    total: u64,
}

impl Progress {
    /// Progress in so many units, nothing done yet. It goes to standard error, so that standard
    /// output stays what a script reads.
    pub(crate) fn new(unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template(
                "{bar:40.cyan/blue} {pos:>4} of {len} {prefix} [{elapsed_precise}] {msg}",
            )
            .expect("the template is fixed and sound");
            bar.set_style(style);
            bar.set_prefix(unit);
            bar
        });
        Self {
            unit,
            bar,
            told: None,
            total: 0,
        }
    }

    /// So much of so much is done.
    pub(crate) fn set(&mut self, done: u64, total: u64, message: &str) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(message.to_owned());
            bar.tick();
            return;
        }
        let step = total.div_ceil(PLAIN_LINES_MAX).max(1);
        let due = self
            .told
            .is_none_or(|told| done >= told + step || (done == total && done != told));
        if due && total > 0 {
            self.told = Some(done);
            // A closed pipe is no reason to stop what is being watched.
            let _ = writeln!(
                std::io::stderr(),
                "{done} of {total} {} {message}",
                self.unit
            );
        }
    }

    /// A line above the bar.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
