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
use crate::blender::arguments::{CommandLine, Rewritten};
use crate::blender::naming;
use crate::blender::warm::{self, NotWarm, Request, Said, WarmPlan};
use crate::frames::blend_hash::BlendHash;
use crate::frames::staging::{Staging, StagingError};
use crate::frames::{publish, renew};
use crate::media::wants_thumbnails;
use crate::outbox::Thumbnail;
use crate::shell_words;
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
    let staged = stage_outputs(&line, blendfile, staging).await?;
    // All before this is done while another task may still have its turn.
    context.begin().await?;
    let found = report_found(context, &outputs).await?;
    let mut accounted = Accounted::default();
    let rewritten = left_to_do(&line, &staged, &found, &accounted);
    if !line.renders.is_empty() && rewritten.renders_left == 0 {
        context
            .reporter
            .log("tablao: every frame of this task exists already, Blender is not started");
        return Ok(());
    }
    context.go_on()?;
    let outputs = &outputs[..];
    if let Some(plan) = warm_plan(context, exe, &rewritten.args, blendfile) {
        let request = Request {
            job: &context.job,
            exe,
            blendfile,
            plan: &plan,
        };
        let way = Way::Warm(&request, &rewritten.args);
        let mut done = published(context, staging, outputs, blendfile, way, &mut accounted).await?;
        if done.result.is_ok() {
            done.publisher.publish_unannounced(&mut accounted).await?;
            context.go_on()?;
            done.result = judge(&line, &found, &accounted, &done.observer);
        }
        match done.result {
            Err(Ending::Failed(failure)) => context.reporter.log(&format!(
                "tablao: {}; Blender is started anew for this task",
                failure.reason
            )),
            decided => return decided,
        }
        // Half of a file is no frame, and Blender would skip it as one that exists.
        staging.clear();
        context.begin().await?;
    }
    let rewritten = left_to_do(&line, &staged, &found, &accounted);
    if rewritten.renders_left > 0 || line.renders.is_empty() {
        let way = Way::Cold(exe, &rewritten.args);
        let mut done = published(context, staging, outputs, blendfile, way, &mut accounted).await?;
        done.result?;
        done.publisher.publish_unannounced(&mut accounted).await?;
        context.go_on()?;
        return judge(&line, &found, &accounted, &done.observer);
    }
    Ok(())
}

/// The command line for what is neither found nor published, with its output into staging.
fn left_to_do(
    line: &CommandLine,
    staged: &[(String, String)],
    found: &[(usize, i64)],
    accounted: &Accounted,
) -> Rewritten {
    // A frame of an attempt that renders once needs no number of its render.
    let renders_once = line.renders.len() == 1;
    line.rewrite(
        |output| {
            let known = staged.iter().find(|(written, _)| written == output);
            known.map(|(_, replacement)| replacement.clone())
        },
        |render, frame| {
            !(found.contains(&(render, frame)) || renders_once && accounted.frames.contains(&frame))
        },
    )
}

/// How a warm Blender would render this; none when it is to be started anew, which the log tells.
fn warm_plan(context: &Context, exe: &str, args: &[String], blendfile: &str) -> Option<WarmPlan> {
    if !context.warm.is_enabled() {
        return None;
    }
    match warm::plan(exe, args, blendfile) {
        Ok(plan) => Some(plan),
        Err(why) => {
            let text = format!("tablao: Blender is started for this task alone: {why}");
            context.reporter.log(&text);
            None
        }
    }
}

/// How Blender renders.
enum Way<'a> {
    /// A Blender for this task alone.
    Cold(&'a str, &'a [String]),
    /// One that stays up; with the arguments of a cold start.
    Warm(&'a Request<'a>, &'a [String]),
}

/// What became of one run of Blender. All that it saved is in its place.
struct Rendered<'a> {
    result: Result<(), Ending>,
    observer: Observer,
    publisher: Publisher<'a>,
}

/// Has Blender render and publishes beside it.
async fn published<'a>(
    context: &'a Context,
    staging: &'a Staging,
    outputs: &'a [Option<Output>],
    blendfile: &str,
    way: Way<'_>,
    accounted: &mut Accounted,
) -> Result<Rendered<'a>, Ending> {
    let (events, inbox) = tokio::sync::mpsc::unbounded_channel();
    let publisher = Publisher::new(context, staging, outputs, BlendHash::begin(blendfile));
    let mut observer = Observer::default();
    // The channel closes with `events`, which lives exactly as long as Blender renders.
    let running = async {
        let mut on_line = |line: &str| observer.line(line, context, &events);
        let result = match way {
            Way::Cold(exe, args) => {
                let ended = run_logged(context, exe, args, on_line).await;
                expect_success(exe, ended).map(|_| ())
            }
            Way::Warm(request, args) => render_warm(context, request, args, &mut on_line).await,
        };
        drop(events);
        if result.is_ok() && context.ends_with_render {
            context.turn.give();
        }
        result
    };
    let (result, publishing) = tokio::join!(running, publisher.run(inbox, accounted));
    let publisher = publishing?;
    let result = result.map_err(|ending| explain(ending, &observer));
    Ok(Rendered {
        result,
        observer,
        publisher,
    })
}

/// Renders in a Blender that stays up. Failing means that a cold start is to do what is missing.
async fn render_warm(
    context: &Context,
    request: &Request<'_>,
    args: &[String],
    on_line: &mut (dyn FnMut(&str) + Send),
) -> Result<(), Ending> {
    let reporter = &context.reporter;
    reporter.log(&format!("$ {}", shell_words::quote(request.exe, args)));
    let mut say = |said: Said<'_>| match said {
        Said::Note(note) => reporter.log(&format!("tablao: {note}")),
        // As Blender introduces itself when it starts, which may be long ago.
        Said::Version(version) => on_line(&format!("Blender {version}")),
        Said::Line(pid, line) => {
            reporter.log(&format!("pid={pid} > {line}"));
            on_line(line);
        }
    };
    let rendered = context.warm.render(request, &context.stop, &mut say).await;
    reporter.flush();
    match rendered {
        Ok(peak) => {
            reporter.peak_memory(peak);
            Ok(())
        }
        Err(NotWarm::Stopped(reason)) => Err(Ending::Stopped(reason)),
        Err(NotWarm::Doubt(why)) => Err(Ending::Failed(Failure::new(
            FailureClass::Process,
            format!("no warm render: {why}"),
        ))),
    }
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
    // Where all is to be rendered anew, only what this task has published since is there.
    let assignment = &context.assignment;
    let is_fresh = |frame: i64| {
        let ranges = &mut assignment.fresh.iter();
        ranges.any(|&(first, last)| (first..=last).contains(&frame))
    };
    let counts = |frame: &i64| !assignment.overwrite || is_fresh(*frame);
    let mut found = Vec::new();
    let mut reports = Vec::new();
    for (number, output) in outputs.iter().enumerate() {
        let Some(output) = output else { continue };
        for frame in (output.frames.iter().flatten()).filter(|frame| counts(frame)) {
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
