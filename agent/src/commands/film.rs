// SPDX-License-Identifier: GPL-3.0-or-later
//! `concatenate-videos`, `mux-audio` and `encode-audio`: FFmpeg on films that the job made.
//!
//! Nothing is encoded twice: films are joined and sound is added by copying their streams. Each
//! result is made in staging and named when FFmpeg was content.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::allowed::FFMPEG;
use super::exec::{exe_args, run_logged};
use super::made::{InTheWay, Maker};
use super::parameters::{ParameterError, Parameters};
use super::video::locate;
use super::{Context, Ending, Failure, expect_success};
use crate::wire::Command;

/// One of the films that are joined.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    path: String,
    /// How long it lasts. Films tell it themselves, but some only to the millisecond.
    seconds: Option<f64>,
}

/// Joins films of the same kind, one after the other.
pub(super) async fn concatenate_videos(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let parts = parts(&parameters)?;
    let mut list = String::from("ffconcat version 1.0\n");
    for part in &parts {
        let path = absolute(&part.path)?;
        let path = path.to_string_lossy().replace('\\', "/");
        // A quote ends the quoted text, stands for itself, and begins the next.
        writeln!(list, "file '{}'", path.replace('\'', "'\\''")).expect("a String takes all");
        if let Some(seconds) = part.seconds {
            writeln!(list, "duration {seconds:.9}").expect("a String takes all");
        }
    }
    make(context, &parameters, |folder| {
        let name = folder.join("parts.ffconcat");
        std::fs::write(&name, &list)
            .map_err(|error| Failure::io(format!("{}: {error}", name.display())))?;
        let name = name.to_string_lossy().into_owned();
        let words = ["-f", "concat", "-safe", "0", "-i", &name, "-c", "copy"];
        Ok(words.map(str::to_owned).to_vec())
    })
    .await
}

/// Adds sound to a film.
pub(super) async fn mux_audio(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let video = parameters.filled_string("videoFile")?;
    let audio = parameters.filled_string("audioFile")?;
    make(context, &parameters, |_| {
        let words = [
            "-i", video, "-i", audio, "-map", "0:v:0", "-map", "1:a:0", "-c", "copy",
        ];
        Ok(words.map(str::to_owned).to_vec())
    })
    .await
}

/// Encodes sound.
pub(super) async fn encode_audio(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let input = parameters.filled_string("inputFile")?;
    let codec = parameters.filled_string("codec")?;
    let bitrate = parameters.optional_string("bitrate")?;
    make(context, &parameters, |_| {
        let mut words = ["-i", input, "-vn", "-c:a", codec]
            .map(str::to_owned)
            .to_vec();
        if !bitrate.is_empty() {
            words.extend(["-b:a", bitrate].map(str::to_owned));
        }
        Ok(words)
    })
    .await
}

/// Runs FFmpeg with these arguments and its output in `outputFile`.
async fn make(
    context: &Context,
    parameters: &Parameters<'_>,
    arguments: impl FnOnce(&Path) -> Result<Vec<String>, Failure>,
) -> Result<(), Ending> {
    let exe = match parameters.optional_string("exe")? {
        "" => FFMPEG,
        exe => exe,
    };
    let exe = locate(exe)
        .await
        .map_err(|why| parameters.invalid("exe", why))?;
    let place = absolute(parameters.filled_string("outputFile")?)?;
    let mut maker = Maker::new(context);
    let result = async {
        let staged = maker.staged(&place).await?;
        let folder = staged.parent().unwrap_or(&staged).to_owned();
        let mut line = exe_args(parameters)?;
        line.extend(["-hide_banner", "-nostdin"].map(str::to_owned));
        line.extend(arguments(&folder)?);
        line.extend(parameters.strings("args")?);
        line.extend(["-y".to_owned(), staged.to_string_lossy().into_owned()]);
        let ended = run_logged(context, &exe, &line, |_| {}).await;
        expect_success(&exe, ended)?;
        maker.name(&staged, &place, InTheWay::Replace).await
    }
    .await;
    maker.close();
    result?;
    context
        .reporter
        .log(&format!("tablao: made {}", place.display()));
    Ok(())
}

fn absolute(path: &str) -> Result<PathBuf, Ending> {
    std::path::absolute(path).map_err(|error| Failure::io(format!("{path}: {error}")).into())
}

/// Reads `inputFiles`: a list of paths, or of `{path, seconds}`.
fn parts(parameters: &Parameters<'_>) -> Result<Vec<Part>, ParameterError> {
    let name = "inputFiles";
    let wrong = |why: &str| parameters.invalid(name, why);
    let Value::Array(listed) = parameters.any(name)? else {
        return Err(wrong("it must be a list"));
    };
    let parts: Result<Vec<Part>, ParameterError> = listed
        .iter()
        .map(|part| {
            let path = part.as_str().or(part["path"].as_str());
            let path = path.filter(|path| !path.is_empty());
            let seconds = part.get("seconds").and_then(Value::as_f64);
            if seconds.is_some_and(|seconds| seconds <= 0.0) {
                return Err(wrong("`seconds` must be more than nothing"));
            }
            Ok(Part {
                path: path.ok_or_else(|| wrong("each needs a path"))?.to_owned(),
                seconds,
            })
        })
        .collect();
    let parts = parts?;
    if parts.is_empty() {
        return Err(wrong("there must be at least one"));
    }
    Ok(parts)
}
