// SPDX-License-Identifier: GPL-3.0-or-later
//! Exit codes, and how an error is told on a terminal.

use std::{fmt, process::ExitCode};

/// An error with an exit code of its own. Anything else ends with 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// The work was done but did not succeed.
    Failed = 1,
    /// The command was used wrongly.
    Usage = 2,
    /// A journal is damaged.
    Damage = 3,
    /// The farm could not be reached.
    Unreachable = 4,
    /// The farm refused.
    Refused = 5,
}

/// What went wrong, what to do next, and the code to end with.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Exit {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}

/// Tells the error with its causes and gives the code to end with.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let io = error.downcast_ref::<std::io::Error>();
    if io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let code = error
        .downcast_ref::<Exit>()
        .map_or_else(|| of_cause(error), |exit| exit.code);
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    eprintln!("tablao: {text}");
    ExitCode::from(code as u8)
}

/// The code of an error that brings none of its own.
fn of_cause(error: &anyhow::Error) -> Code {
    match error.downcast_ref::<tablao_net::Error>() {
        Some(tablao_net::Error::Journal(tablao_journal::Error::Damage(_))) => Code::Damage,
        _ => Code::Failed,
    }
}
