// SPDX-License-Identifier: GPL-3.0-or-later
//! Commands on OpenEXR images: `merge-exr`, `join-exr-tiles` and `exr-to-jpeg`.
//!
//! They read what renders of the job left, make their result in staging and give it its name when
//! it is whole. A sequence is worked off frame by frame; each is a step if the command counts them.
//! The pictures themselves are the submodules' work.

mod average;
mod cryptomatte;
mod passes;
#[cfg(test)]
mod tests;
mod tiles;

use std::path::{Path, PathBuf};

use serde_json::Value;

use self::average::{MergeError, Weighted};
use self::tiles::Tile;
use super::made::{InTheWay, Maker};
use super::parameters::{ParameterError, Parameters};
use super::sequence;
use super::{Context, Ending, Failure};
use crate::outbox::Thumbnail;
use crate::wire::{Command, FailureClass};

/// A picture larger than this is a mistake in the job type.
const TILE_PIXELS_MAX: u64 = 1 << 30;

/// Averages images of different samples of one picture, frame by frame.
pub(super) async fn merge_exr(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let inputs = weighted_inputs(&parameters)?;
    let output = parameters.filled_string("output")?;
    let frames = sequence::frames(&parameters)?;
    sequence::check_pattern(&parameters, "output", output, frames.as_deref())?;
    for_each_frame(context, command, frames, output, |frame| {
        let inputs: Vec<Weighted> = inputs
            .iter()
            .map(|(pattern, samples)| Weighted {
                path: sequence::path_of(pattern, frame),
                samples: *samples,
            })
            .collect();
        Box::new(move |target| {
            let merged = average::average(&inputs).map_err(|error| unmerged(&error))?;
            tiles::write_image(&merged, target)
                .map_err(|error| Failure::io(format!("{}: {error}", target.display())))
        })
    })
    .await
}

/// Puts tiles together into the whole picture.
pub(super) async fn join_exr_tiles(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let listed = tiles_of(&parameters)?;
    let (width, height) = (size(&parameters, "width")?, size(&parameters, "height")?);
    if (width as u64).saturating_mul(height as u64) > TILE_PIXELS_MAX {
        return Err(parameters
            .invalid("width", "no picture is that large")
            .into());
    }
    let output = parameters.filled_string("output")?;
    for_each_frame(context, command, None, output, |_| {
        let listed = listed.clone();
        Box::new(move |target| {
            let whole = tiles::join(&listed, width, height).map_err(|error| unmerged(&error))?;
            tiles::write_image(&whole, target)
                .map_err(|error| Failure::io(format!("{}: {error}", target.display())))
        })
    })
    .await
}

/// Makes JPEGs of images as a person would see them, and shows the last one on the dashboard.
pub(super) async fn exr_to_jpeg(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let input = parameters.filled_string("input")?;
    let output = parameters.filled_string("output")?;
    let frames = sequence::frames(&parameters)?;
    sequence::check_pattern(&parameters, "output", output, frames.as_deref())?;
    let last = frames.as_ref().and_then(|frames| frames.last().copied());
    for_each_frame(context, command, frames, output, |frame| {
        let source = sequence::path_of(input, frame);
        Box::new(move |target| {
            let made = tablao_pictures::thumbnail::make(&source, true);
            let (_, preview) =
                made.map_err(|error| Failure::io(format!("{}: {error}", source.display())))?;
            let jpeg = preview.map(|picture| picture.data).unwrap_or_default();
            std::fs::write(target, jpeg)
                .map_err(|error| Failure::io(format!("{}: {error}", target.display())))
        })
    })
    .await?;
    let path = sequence::path_of(output, last);
    let stem = path.file_stem().unwrap_or_default();
    context.media.want(Thumbnail {
        task: context.reporter.task().to_owned(),
        attempt: context.reporter.attempt().to_owned(),
        // No frame of the shot: it is only shown as last rendered.
        shot: String::new(),
        number: last.unwrap_or(0),
        name: stem.to_string_lossy().into_owned(),
        path,
        preview: true,
    });
    Ok(())
}

type Make = Box<dyn FnOnce(&Path) -> Result<(), Failure> + Send>;

/// Makes the file of each frame, or the one file there is.
async fn for_each_frame(
    context: &Context,
    command: &Command,
    frames: Option<Vec<i64>>,
    output: &str,
    make: impl Fn(Option<i64>) -> Make,
) -> Result<(), Ending> {
    let frames = frames.map_or_else(
        || vec![None],
        |frames| frames.into_iter().map(Some).collect(),
    );
    let mut maker = Maker::new(context);
    let result = async {
        for frame in frames {
            let place = absolute(&sequence::path_of(output, frame))?;
            maker.make(&place, InTheWay::Replace, make(frame)).await?;
            context
                .reporter
                .log(&format!("{}: made {}", command.name, place.display()));
            if command.total_step_count > 0 {
                context.reporter.step();
            }
        }
        Ok(())
    }
    .await;
    maker.close();
    context.reporter.flush();
    result
}

fn absolute(path: &Path) -> Result<PathBuf, Ending> {
    std::path::absolute(path)
        .map_err(|error| Failure::io(format!("{}: {error}", path.display())).into())
}

/// Missing renders are somebody else's lack; renders that do not fit are the job's.
fn unmerged(error: &MergeError) -> Failure {
    let class = match error {
        MergeError::Read { .. } => FailureClass::Io,
        MergeError::Differs { .. } => FailureClass::BadCommand,
    };
    Failure::new(class, error.to_string())
}

/// Reads `inputs`: a list of `{path, samples}`.
fn weighted_inputs(parameters: &Parameters<'_>) -> Result<Vec<(String, u32)>, ParameterError> {
    let wrong = |why: &str| parameters.invalid("inputs", why);
    let Value::Array(listed) = parameters.any("inputs")? else {
        return Err(wrong("it must be a list"));
    };
    if listed.is_empty() {
        return Err(wrong("there must be at least one"));
    }
    listed
        .iter()
        .map(|input| {
            let path = input["path"].as_str().filter(|path| !path.is_empty());
            let path = path.ok_or_else(|| wrong("each needs a `path`"))?;
            let samples = input["samples"].as_u64();
            let samples = samples.and_then(|samples| u32::try_from(samples).ok());
            let samples = samples
                .filter(|samples| *samples > 0)
                .ok_or_else(|| wrong("each needs its number of `samples`, at least 1"))?;
            Ok((path.to_owned(), samples))
        })
        .collect()
}

/// Reads `tiles`: a list of `{path, x, y}`.
fn tiles_of(parameters: &Parameters<'_>) -> Result<Vec<Tile>, ParameterError> {
    let wrong = |why: &str| parameters.invalid("tiles", why);
    let Value::Array(listed) = parameters.any("tiles")? else {
        return Err(wrong("it must be a list"));
    };
    if listed.is_empty() {
        return Err(wrong("there must be at least one"));
    }
    let place = |value: &Value| value.as_u64().and_then(|place| u32::try_from(place).ok());
    listed
        .iter()
        .map(|tile| {
            let path = tile["path"].as_str().filter(|path| !path.is_empty());
            match (path, place(&tile["x"]), place(&tile["y"])) {
                (Some(path), Some(x), Some(y)) => Ok(Tile {
                    path: path.into(),
                    x: x as usize,
                    y: y as usize,
                }),
                _ => Err(wrong(
                    "each needs a `path` and the pixel `x`, `y` it begins at",
                )),
            }
        })
        .collect()
}

fn size(parameters: &Parameters<'_>, name: &str) -> Result<usize, ParameterError> {
    let value = parameters.any(name)?.as_u64();
    value
        .and_then(|value| u32::try_from(value).ok())
        .filter(|value| *value > 0)
        .map(|value| value as usize)
        .ok_or_else(|| parameters.invalid(name, "it must be a number of pixels"))
}
