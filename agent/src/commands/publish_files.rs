// SPDX-License-Identifier: GPL-3.0-or-later
//! `publish-files`: brings finished files of a job from where it worked to where people look.
//!
//! A copy, so that a task that is run again finds its source. Nothing is overwritten; a file that
//! is there with the same content is fine. With `asFrames` each file becomes a frame of the job,
//! with everything that comes with it.

use std::path::Path;

use super::made::{InTheWay, Maker, blocking};
use super::parameters::Parameters;
use super::sequence;
use super::{Context, Ending, Failure};
use crate::media::wants_thumbnails;
use crate::outbox::{Entry, Publishing, Thumbnail};
use crate::wire::{Command, FrameReport};

/// Copies one file, or one for each frame.
pub(super) async fn publish_files(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let src = parameters.filled_string("src")?;
    let dest = parameters.filled_string("dest")?;
    let frames = sequence::frames(&parameters)?;
    sequence::check_pattern(&parameters, "dest", dest, frames.as_deref())?;
    let as_frames = command.parameters.get("asFrames") == Some(&true.into());
    let samples = command.parameters.get("samples").and_then(|samples| {
        samples
            .as_u64()
            .and_then(|samples| u32::try_from(samples).ok())
    });
    let numbers = frames.map_or_else(|| vec![None], |all| all.into_iter().map(Some).collect());
    let mut maker = Maker::new(context);
    let result = async {
        for number in numbers {
            context.go_on()?;
            let from = sequence::path_of(src, number);
            let place = std::path::absolute(sequence::path_of(dest, number))
                .map_err(|error| Failure::io(format!("{dest}: {error}")))?;
            let frame = number.filter(|_| as_frames);
            publish(context, &mut maker, &from, &place, frame, samples).await?;
            if command.total_step_count > 0 && frame.is_none() {
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

async fn publish(
    context: &Context,
    maker: &mut Maker<'_>,
    from: &Path,
    place: &Path,
    frame: Option<i64>,
    samples: Option<u32>,
) -> Result<(), Ending> {
    let staged = maker.staged(place).await?;
    let (source, target) = (from.to_owned(), staged.clone());
    let copied = blocking(move || std::fs::copy(&source, &target)).await;
    copied.map_err(|error| Failure::io(format!("{}: {error}", from.display())))?;
    let content = Maker::seal(&staged, place).await?;
    let stem = place.file_stem().unwrap_or_default();
    let report = frame.map(|number| FrameReport {
        number,
        name: stem.to_string_lossy().into_owned(),
        path: place.to_string_lossy().into_owned(),
        size: content.size,
        hash: content.hash.clone(),
        outcome: "published".to_owned(),
        rendered_at: content.written_at.clone(),
        samples,
        ..FrameReport::default()
    });
    let mut intents = Vec::new();
    if let Some(report) = &report {
        let intent = Entry::Publishing(Publishing {
            task: context.reporter.task().to_owned(),
            attempt: context.reporter.attempt().to_owned(),
            staged: staged.clone(),
            inode: content.inode,
            report: report.clone(),
        });
        intents.push(context.reporter.outbox().put(intent).await?);
    }
    maker
        .give(&staged, place, InTheWay::KeepIfSame, content)
        .await?;
    let line = format!("publish-files: {} is {}", from.display(), place.display());
    context.reporter.log(&line);
    if let Some(report) = report {
        context.reporter.frames(vec![report.clone()], 1).await?;
        context.reporter.outbox().done(intents);
        want_pictures(context, &report);
    }
    Ok(())
}

fn want_pictures(context: &Context, frame: &FrameReport) {
    let shot = if wants_thumbnails(&context.assignment) {
        context.assignment.shot.clone()
    } else {
        String::new()
    };
    context.media.want(Thumbnail {
        task: context.reporter.task().to_owned(),
        attempt: context.reporter.attempt().to_owned(),
        shot,
        number: frame.number,
        name: frame.name.clone(),
        path: frame.path.clone().into(),
        preview: true,
    });
}
