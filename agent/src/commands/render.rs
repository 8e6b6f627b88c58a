// SPDX-License-Identifier: GPL-3.0-or-later
//! `blender-render`: renders into staging, publishes each frame as it is done, and accounts for
//! every frame the task asked for.
//!
//! The order of a run: read the command line, report frames whose files exist, start Blender for
//! the rest, publish while it renders, and compare with what was asked.

use std::path::{Path, PathBuf};

use super::exec::{exe_args, run_logged};
use super::parameters::Parameters;
use super::{Context, Ending, Failure, expect_success};
use crate::blender::arguments::CommandLine;
use crate::blender::naming;
use crate::frames::blend_hash::BlendHash;
use crate::frames::staging::{Staging, StagingError};
use crate::frames::{publish, renew};
use crate::media::wants_thumbnails;
use crate::outbox::Thumbnail;
use crate::wire::{Command, FailureClass, FrameReport};
use tablao_pictures::blender_lines::{self as lines, BlenderLine};
use tablao_pictures::whole;

mod publisher;

use publisher::{Accounted, Event, Publisher};

/// Found frames are reported in groups of this size, so that a report stays small.
const FOUND_PER_REPORT: usize = 50;

/// One render of the command line with its output resolved.
#[derive(Debug, Clone)]
struct Output {
    /// Folder of the final files.
    dir: PathBuf,
    /// Last part of the output path, with its `#`.
    base: String,
    /// Extensions of the format; none when the scene decides.
    extensions: &'static [&'static str],
    use_extension: bool,
    frames: Option<Vec<i64>>,
}

/// Runs Blender.
pub(super) async fn blender_render(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let exe = parameters.filled_string("exe")?;
    let blendfile = parameters.string("blendfile")?;
    let mut args = exe_args(&parameters)?;
    args.extend(parameters.strings("argsBefore")?);
    if !blendfile.is_empty() {
        args.push(blendfile.to_owned());
    }
    args.extend(parameters.strings("args")?);

    let outbox = context.reporter.outbox().clone();
    let mut staging = Staging::new(outbox, context.reporter.attempt());
    let result = render(context, exe, blendfile, args, &mut staging).await;
    staging.close();
    result
}

async fn render(
    context: &Context,
    exe: &str,
    blendfile: &str,
    args: Vec<String>,
    staging: &mut Staging,
) -> Result<(), Ending> {
    let line = CommandLine::read(args);
    let outputs: Vec<Option<Output>> = line
        .renders
        .iter()
        .map(|render| output_of(render, blendfile))
        .collect();
    let found = report_found(context, &outputs).await?;
    let staged = stage_outputs(&line, blendfile, staging).await?;
    let rewritten = line.rewrite(
        |output| {
            let known = staged.iter().find(|(written, _)| written == output);
            known.map(|(_, replacement)| replacement.clone())
        },
        |render, frame| !found.contains(&(render, frame)),
    );
    if !line.renders.is_empty() && rewritten.renders_left == 0 {
        context
            .reporter
            .log("tablao: every frame of this task exists already, Blender is not started");
        return Ok(());
    }
    context.go_on()?;

    let (events, inbox) = tokio::sync::mpsc::unbounded_channel();
    let blend = BlendHash::begin(blendfile);
    let publisher = Publisher::new(context, staging, &outputs, blend);
    let mut observer = Observer::default();
    // The channel closes with `events`, which lives exactly as long as Blender.
    let running = async {
        let ended = run_logged(context, exe, &rewritten.args, |line| {
            observer.line(line, context, &events);
        })
        .await;
        drop(events);
        ended
    };
    let (ended, accounted) = tokio::join!(running, publisher.run(inbox));
    let (mut accounted, mut publisher) = accounted?;
    let ended = expect_success(exe, ended).map_err(|ending| explain(ending, &observer))?;
    debug_assert_eq!(ended.exit, Some(0));
    publisher.publish_unannounced(&mut accounted).await?;
    context.go_on()?;
    judge(&line, &found, &accounted, &observer)
}

/// What Blender's output says beyond single frames.
#[derive(Debug, Default)]
struct Observer {
    status: lines::Status,
    advice: Option<&'static str>,
    out_of_memory: bool,
}

impl Observer {
    fn line(
        &mut self,
        line: &str,
        context: &Context,
        events: &tokio::sync::mpsc::UnboundedSender<Event>,
    ) {
        let event = match lines::recognise(line) {
            None => return,
            Some(BlenderLine::Status(status)) => {
                if status.frame != self.status.frame {
                    self.status = lines::Status::default();
                }
                self.status.frame = status.frame;
                self.status.samples = status.samples.or(self.status.samples);
                let peak = &mut self.status.peak_memory_bytes;
                *peak = (*peak).max(status.peak_memory_bytes);
                return;
            }
            Some(BlenderLine::Version(version)) => {
                context.reporter.software(&format!("Blender {version}"));
                Event::Version(version)
            }
            Some(BlenderLine::FeatureMissing(advice)) => {
                self.advice.get_or_insert(advice);
                return;
            }
            Some(BlenderLine::OutOfMemory) => {
                self.out_of_memory = true;
                return;
            }
            Some(BlenderLine::Saved(path)) => Event::Saved {
                path: PathBuf::from(path),
                status: self.status.clone(),
            },
            Some(BlenderLine::FrameDone { render_ms }) => Event::FrameDone { render_ms },
            Some(BlenderLine::Skipped) => Event::Skipped,
        };
        // The publisher ends early only when the task is stopped.
        let _ = events.send(event);
    }
}

/// Gives a failed end the reason that the output named.
fn explain(ending: Ending, observer: &Observer) -> Ending {
    match ending {
        Ending::Failed(mut failure) if failure.report.class != FailureClass::BadCommand => {
            if let Some(advice) = observer.advice {
                failure.report.class = FailureClass::FeatureMissing;
                failure.reason = format!("{advice} ({})", failure.reason);
            } else if observer.out_of_memory {
                failure.report.class = FailureClass::OutOfMemory;
                failure.reason = format!(
                    "the machine or its GPU ran out of memory; use a worker with more, or simplify the scene ({})",
                    failure.reason
                );
            }
            Ending::Failed(failure)
        }
        other => other,
    }
}

/// Compares what the task asked for with what there is.
fn judge(
    line: &CommandLine,
    found: &[(usize, i64)],
    accounted: &Accounted,
    observer: &Observer,
) -> Result<(), Ending> {
    let mut missing = Vec::new();
    for (number, render) in line.renders.iter().enumerate() {
        for frame in render.frames.iter().flatten() {
            if !accounted.frames.contains(frame) && !found.contains(&(number, *frame)) {
                missing.push(*frame);
            }
        }
    }
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() || missing.len() <= accounted.unnumbered {
        return Ok(());
    }
    let names = crate::blender::frame_list::compact(&missing);
    let mut reason = format!(
        "Blender ended without an error but did not save frames {names}; its log says more"
    );
    for problem in accounted.problems.iter().take(3) {
        reason.push_str(&format!("; {problem}"));
    }
    let class = match observer.advice {
        Some(advice) => {
            reason = format!("{advice} ({reason})");
            FailureClass::FeatureMissing
        }
        None => FailureClass::MissingOutput,
    };
    Err(Ending::Failed(Failure::new(class, reason)))
}

fn output_of(render: &crate::blender::arguments::Render, blendfile: &str) -> Option<Output> {
    let format = render.format.as_deref();
    if format.is_some_and(naming::is_video) {
        return None;
    }
    let (dir, base) = resolve_output(render.output.as_deref()?, blendfile)?;
    Some(Output {
        dir,
        base,
        extensions: format.and_then(naming::extensions).unwrap_or(&[]),
        use_extension: render.use_extension,
        frames: render.frames.clone(),
    })
}

/// Folder and last part of an output path; `//` is beside the blend file.
fn resolve_output(output: &str, blendfile: &str) -> Option<(PathBuf, String)> {
    let path = match output.strip_prefix("//") {
        Some(rest) => Path::new(blendfile).parent()?.join(rest),
        None => PathBuf::from(output),
    };
    let path = std::path::absolute(path).ok()?;
    let ends_in_folder = output.is_empty() || output.ends_with(std::path::is_separator);
    if ends_in_folder {
        return Some((path, String::new()));
    }
    let base = path.file_name()?.to_str()?.to_owned();
    Some((path.parent()?.to_path_buf(), base))
}

/// Makes a staging folder for each output that is not a film; returns old and new paths.
async fn stage_outputs(
    line: &CommandLine,
    blendfile: &str,
    staging: &mut Staging,
) -> Result<Vec<(String, String)>, Ending> {
    let mut staged = Vec::new();
    for output in line.outputs() {
        let is_film = line.renders.iter().any(|render| {
            render.output.as_deref() == Some(output)
                && render.format.as_deref().is_some_and(naming::is_video)
        });
        if is_film || staged.iter().any(|(known, _)| known == output) {
            continue;
        }
        let Some((dir, base)) = resolve_output(output, blendfile) else {
            continue;
        };
        let folder = staging
            .folder_for(&dir)
            .await
            .map_err(|error| match error {
                StagingError::Outbox(failed) => Ending::from(failed),
                StagingError::Io { .. } => Ending::Failed(Failure::io(format!(
                    "{error}; can this worker write to the output folder?"
                ))),
            })?;
        // A file name of "" needs the separator, or Blender would take the folder for a prefix.
        let mut path = folder.into_os_string();
        path.push(std::path::MAIN_SEPARATOR_STR);
        path.push(base);
        let Ok(path) = path.into_string() else {
            continue;
        };
        staged.push((output.to_owned(), path));
    }
    Ok(staged)
}

/// Reports the frames whose files exist; Blender would skip them, so they are not rendered.
async fn report_found(
    context: &Context,
    outputs: &[Option<Output>],
) -> Result<Vec<(usize, i64)>, Ending> {
    if context.assignment.overwrite {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut reports = Vec::new();
    for (number, output) in outputs.iter().enumerate() {
        let Some(output) = output else { continue };
        for frame in output.frames.iter().flatten() {
            context.go_on()?;
            if let Some(report) = existing(context, output, *frame) {
                found.push((number, *frame));
                reports.push(report);
            }
        }
    }
    for group in reports.chunks(FOUND_PER_REPORT) {
        let steps = u32::try_from(group.len()).expect("a group is small");
        context.reporter.frames(group.to_vec(), steps).await?;
        for frame in group {
            want_picture(context, frame, false);
        }
    }
    Ok(found)
}

fn existing(context: &Context, output: &Output, frame: i64) -> Option<FrameReport> {
    let stem = naming::frame_stem(&output.base, frame);
    let place = if output.use_extension {
        let names = output.extensions.iter();
        names
            .map(|extension| output.dir.join(format!("{stem}.{extension}")))
            .find(|path| path.is_file())?
    } else {
        Some(output.dir.join(&stem)).filter(|path| path.is_file())?
    };
    let content = publish::content(&place).ok()?;
    if renew::makes_way(&context.assignment, frame, &content.hash) {
        context.reporter.log(&format!(
            "tablao: frame {frame} is rendered anew; {} makes way when it is done",
            place.display()
        ));
        return None;
    }
    context.reporter.log(&format!(
        "tablao: frame {frame} exists already: {}",
        place.display()
    ));
    let mut flags = Vec::new();
    if let Err(error) = whole::check(&place) {
        context.reporter.log(&format!(
            "tablao: warning: {}: {error}; it is kept as it is, `tablao frames rerender` renders it again",
            place.display()
        ));
        let flag = if content.size == 0 {
            "empty"
        } else {
            "truncated"
        };
        flags.push(flag.to_owned());
    }
    Some(FrameReport {
        number: frame,
        name: stem,
        path: place.to_string_lossy().into_owned(),
        size: content.size,
        hash: content.hash,
        outcome: "found".into(),
        rendered_at: content.written_at,
        flags,
        ..FrameReport::default()
    })
}

/// Asks for the thumbnail of a frame, and with `preview` for showing it as last rendered.
fn want_picture(context: &Context, frame: &FrameReport, preview: bool) {
    if !preview && !wants_thumbnails(&context.assignment) {
        return;
    }
    context.media.want(Thumbnail {
        task: context.reporter.task().to_owned(),
        attempt: context.reporter.attempt().to_owned(),
        shot: if wants_thumbnails(&context.assignment) {
            context.assignment.shot.clone()
        } else {
            String::new()
        },
        number: frame.number,
        name: frame.name.clone(),
        path: PathBuf::from(&frame.path),
        preview,
    });
}
