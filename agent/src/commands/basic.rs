// SPDX-License-Identifier: GPL-3.0-or-later
//! `echo`, `log-a-lot` and `sleep`: commands that start no program and touch no file.

use std::time::Duration;

use serde_json::Value;

use super::parameters::Parameters;
use super::{Context, Ending};
use crate::wire::Command;

/// Shows a message in the task's log.
pub(super) fn echo(context: &Context, command: &Command) -> Result<(), Ending> {
    let message = Parameters::of(command).any("message")?;
    let text = match message {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    context.reporter.log(&format!("echo: {}", quoted(&text)));
    context.reporter.flush();
    Ok(())
}

/// Lines that `log-a-lot` writes unless told otherwise.
const LINES: u64 = 20_000;

/// Writes many lines into the task's log, to see whether the farm takes them.
pub(super) async fn log_a_lot(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let message = parameters.string("message")?;
    let lines = match parameters.any("lines") {
        Err(_) => LINES,
        Ok(lines) => lines
            .as_u64()
            .ok_or_else(|| parameters.invalid("lines", "it must be a number of lines"))?,
    };
    for number in 1..=lines {
        context.reporter.log(&format!("{number}: {message}"));
        if number % 1000 == 0 {
            context.go_on()?;
            tokio::task::yield_now().await;
        }
    }
    context.reporter.flush();
    Ok(())
}

/// Waits some whole seconds.
pub(super) async fn sleep(context: &Context, command: &Command) -> Result<(), Ending> {
    let seconds = sleep_seconds(command)?;
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        reason = context.stop.wait() => return Err(Ending::Stopped(reason)),
    }
    context
        .reporter
        .log(&format!("slept {}", duration_text(seconds)));
    context.reporter.flush();
    Ok(())
}

fn sleep_seconds(command: &Command) -> Result<u64, Ending> {
    let parameters = Parameters::of(command);
    let name = "duration_in_seconds";
    let value = parameters
        .any(name)?
        .as_f64()
        .ok_or_else(|| parameters.invalid(name, "it must be a number"))?;
    // Flamenco cuts fractions off, so -0.5 is no negative duration either.
    let whole = value.trunc();
    if whole < 0.0 {
        return Err(parameters
            .invalid(name, "a duration cannot be negative")
            .into());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and not negative; a cast saturates, and no sleep is that long"
    )]
    Ok(whole as u64)
}

/// A text in double quotes with its quotes, backslashes and control characters escaped; other
/// letters stay as they are.
fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            control if control.is_control() => {
                result.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => result.push(other),
        }
    }
    result.push('"');
    result
}

/// Seconds as `1h2m3s`, leading zero units left out.
fn duration_text(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        (_, _) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_quoted_with_their_letters() {
        // Protects readable logs for everybody who does not write ASCII.
        assert_eq!(quoted("кот"), "\"кот\"");
        assert_eq!(quoted("a\"b\\\n\u{1}"), "\"a\\\"b\\\\\\n\\x01\"");
    }

    #[test]
    fn sleep_durations_follow_the_reference() {
        // Protects whole seconds, the refusal of negative ones, and the words for them.
        let seconds = |value: Value| {
            let parameters = json!({ "duration_in_seconds": value });
            let command = Command {
                name: "sleep".into(),
                parameters: parameters.as_object().unwrap().clone(),
                total_step_count: 0,
            };
            sleep_seconds(&command)
        };
        assert_eq!(seconds(json!(47)).unwrap(), 47);
        assert_eq!(seconds(json!(1.5)).unwrap(), 1);
        assert_eq!(seconds(json!(-0.5)).unwrap(), 0);
        for bad in [json!(-47), json!("3"), json!(null)] {
            let Err(Ending::Failed(failure)) = seconds(bad.clone()) else {
                panic!("{bad} was taken");
            };
            if bad == json!(-47) {
                assert!(failure.reason.contains("negative"), "{}", failure.reason);
            }
        }
        assert_eq!(duration_text(47), "47s");
        assert_eq!(duration_text(60), "1m0s");
        assert_eq!(duration_text(3723), "1h2m3s");
    }
}
