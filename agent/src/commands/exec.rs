// SPDX-License-Identifier: GPL-3.0-or-later
//! `exec`: runs any program, without a shell. Also the helpers that the other commands which
//! start programs share.

use super::parameters::Parameters;
use super::{Context, Ending, expect_success};
use crate::process::{self, Ended, Output, Unended};
use crate::shell_words;
use crate::wire::Command;

/// Runs a program; exit code 0 is success.
pub(super) async fn exec(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let exe = parameters.filled_string("exe")?;
    let args = parameters.strings("args")?;
    let ended = run_logged(context, exe, &args, |_| {}).await;
    expect_success(exe, ended)?;
    Ok(())
}

/// Runs a program with its command line and output in the task's log.
pub(super) async fn run_logged(
    context: &Context,
    exe: &str,
    args: &[String],
    mut on_line: impl FnMut(&str),
) -> Result<Ended, Unended> {
    let reporter = &context.reporter;
    let Some(place) = context.turn.place() else {
        let fault = "it is not this task's turn, which is a fault of the worker";
        return Err(Unended::NotStarted(fault.to_owned()));
    };
    if place.launcher.share.has_memory_together() {
        // A Blender that waits would take of what this program may have.
        place.warm.end().await;
    }
    reporter.log(&format!("$ {}", shell_words::quote(exe, args)));
    let mut pid = 0;
    let ended = process::run(
        &place.launcher,
        exe,
        args,
        &context.stop,
        |output| match output {
            Output::Started(number) => pid = number,
            Output::Line(line) => {
                reporter.log(&format!("pid={pid} > {line}"));
                on_line(line);
            }
        },
    )
    .await;
    if let Ok(ended) = &ended {
        reporter.peak_memory(ended.peak_memory_bytes);
        if ended.left_behind > 0 {
            reporter.log(&format!(
                "tablao: ended {} more processes that pid={pid} had left behind",
                ended.left_behind
            ));
        }
    }
    reporter.flush();
    ended
}

/// Splits `exeArgs`, telling which parameter is wrong when it cannot be split.
pub(super) fn exe_args(parameters: &Parameters<'_>) -> Result<Vec<String>, Ending> {
    let text = parameters.optional_string("exeArgs")?;
    shell_words::split(text)
        .map_err(|error| parameters.invalid("exeArgs", error.to_string()).into())
}
