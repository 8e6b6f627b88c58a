// SPDX-License-Identifier: GPL-3.0-or-later
//! Publishes frames while Blender renders the next, and keeps account of them.
//!
//! Runs beside the reading of Blender's output, so that a slow disk does not stop the render.
//! Every publication stops at the task's stop signal: after a lapsed lease nothing is published.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::{Output, want_picture};
use tablao_pictures::blender_lines as lines;

use crate::blender::naming;
use crate::commands::{Context, Ending};
use crate::frames::blend_hash::BlendHash;
use crate::frames::publish::{self, Content, Named};
use crate::frames::renew;
use crate::frames::staging::Staging;
use crate::outbox::{Entry, Publishing, Seq};
use crate::wire::FrameReport;

/// Blender 5.0 may print no `Time:` line; a saved file waits at most this long for it.
const TIME_LINE_WAIT: Duration = Duration::from_millis(500);

/// Something Blender did.
#[derive(Debug)]
pub(super) enum Event {
    /// It wrote a file.
    Saved {
        path: PathBuf,
        /// State of the render when it did.
        status: lines::Status,
    },
    /// It finished a frame.
    FrameDone { render_ms: u64 },
    /// It left out a frame.
    Skipped,
    /// It told its version.
    Version(String),
}

/// What has become of the frames.
#[derive(Debug, Default)]
pub(super) struct Accounted {
    /// Frames that are in their place.
    pub(super) frames: BTreeSet<i64>,
    /// Files and skipped frames whose number could not be told.
    pub(super) unnumbered: usize,
    /// What went wrong with single files, for the reason of a failure.
    pub(super) problems: Vec<String>,
}

struct SavedFile {
    path: PathBuf,
    status: lines::Status,
}

/// Publishes the files of one run of Blender.
pub(super) struct Publisher<'a> {
    context: &'a Context,
    staging: &'a Staging,
    outputs: &'a [Option<Output>],
    version: Option<String>,
    blend: BlendHash,
    /// When the frame being rendered began, for a Blender that does not tell its time.
    frame_began: Instant,
    /// Intents whose outcome is not yet durable in a report.
    intents: Vec<Seq>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(
        context: &'a Context,
        staging: &'a Staging,
        outputs: &'a [Option<Output>],
        blend: BlendHash,
    ) -> Self {
        Self {
            context,
            staging,
            outputs,
            version: None,
            blend,
            frame_began: Instant::now(),
            intents: Vec::new(),
        }
    }

    /// Publishes until Blender has ended and all it saved is in its place.
    pub(super) async fn run(
        mut self,
        mut inbox: UnboundedReceiver<Event>,
        accounted: &mut Accounted,
    ) -> Result<Self, Ending> {
        let mut saved: Vec<SavedFile> = Vec::new();
        // A frame counted without its `Time:` line must not be counted again by it.
        let mut time_line_due = false;
        loop {
            let event = if saved.is_empty() {
                inbox.recv().await
            } else {
                match tokio::time::timeout(TIME_LINE_WAIT, inbox.recv()).await {
                    Ok(event) => event,
                    Err(_) => {
                        self.group(&mut saved, None, accounted).await?;
                        time_line_due = true;
                        continue;
                    }
                }
            };
            match event {
                Some(Event::Saved { path, status }) => {
                    let next_frame = saved
                        .last()
                        .is_some_and(|last| self.frame_of(&last.path) != self.frame_of(&path));
                    if next_frame {
                        self.group(&mut saved, None, accounted).await?;
                    }
                    time_line_due = false;
                    saved.push(SavedFile { path, status });
                }
                Some(Event::FrameDone { render_ms }) => {
                    if !saved.is_empty() {
                        self.group(&mut saved, Some(render_ms), accounted).await?;
                    } else if !time_line_due {
                        self.context.reporter.step();
                    }
                    time_line_due = false;
                }
                Some(Event::Skipped) => {
                    accounted.unnumbered += 1;
                    self.context.reporter.step();
                }
                Some(Event::Version(version)) => self.version = Some(version),
                None => {
                    if !saved.is_empty() {
                        self.group(&mut saved, None, accounted).await?;
                    }
                    return Ok(self);
                }
            }
        }
    }

    /// Publishes whole frames that Blender wrote without saying so; called when it ended well.
    pub(super) async fn publish_unannounced(
        &mut self,
        accounted: &mut Accounted,
    ) -> Result<(), Ending> {
        for path in self.staging.files() {
            self.context.go_on()?;
            let file = SavedFile {
                path,
                status: lines::Status::default(),
            };
            let report = self.file(&file, 0, accounted).await?;
            self.report(report.into_iter().collect(), 1).await?;
        }
        Ok(())
    }

    /// Publishes the files of one frame and reports them with its step.
    async fn group(
        &mut self,
        saved: &mut Vec<SavedFile>,
        render_ms: Option<u64>,
        accounted: &mut Accounted,
    ) -> Result<(), Ending> {
        let measured = u64::try_from(self.frame_began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.frame_began = Instant::now();
        let render_ms = render_ms.unwrap_or(measured);
        let mut reports: Vec<FrameReport> = Vec::new();
        for file in std::mem::take(saved) {
            self.context.go_on()?;
            if let Some(report) = self.file(&file, render_ms, accounted).await? {
                let same = reports.iter().any(|known| {
                    (known.number, &known.output, &known.view)
                        == (report.number, &report.output, &report.view)
                });
                // Blender's preview beside an OpenEXR has the frame's name; it is no frame.
                if !same {
                    reports.push(report);
                }
            }
        }
        self.report(reports, 1).await
    }

    /// Reports frames with their steps; only then are their intents done.
    async fn report(&mut self, reports: Vec<FrameReport>, steps: u32) -> Result<(), Ending> {
        if reports.is_empty() {
            self.context.reporter.steps(steps);
        } else {
            self.context.reporter.frames(reports.clone(), steps).await?;
        }
        let intents = std::mem::take(&mut self.intents);
        if !intents.is_empty() {
            self.context.reporter.outbox().done(intents);
        }
        for report in reports.iter().filter(|report| report.output.is_empty()) {
            want_picture(self.context, report, true);
        }
        Ok(())
    }

    /// Brings one file to its place; returns what to report of it.
    async fn file(
        &mut self,
        file: &SavedFile,
        render_ms: u64,
        accounted: &mut Accounted,
    ) -> Result<Option<FrameReport>, Ending> {
        let path = std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone());
        let Some(place) = self.staging.final_path(&path) else {
            return Ok(self.unfenced(path, file, render_ms, accounted).await);
        };
        let staged = path.clone();
        let content = match blocking(move || publish::seal(&staged)).await {
            Ok(content) => content,
            Err(error) => {
                self.problem(accounted, &path, &error);
                return Ok(None);
            }
        };
        let recognised = self.recognise(&place);
        let number = recognised.as_ref().map(|known| known.frame);
        let number = number.or(file.status.frame);
        let mut report = self.report_of(&place, &content, file, render_ms);
        report.blend_hash = self.blend.get().await;
        report.number = number.unwrap_or(0);
        report.view = recognised.map(|known| known.view).unwrap_or_default();
        report.outcome = "published".into();
        let intent = Entry::Publishing(Publishing {
            task: self.context.reporter.task().to_owned(),
            attempt: self.context.reporter.attempt().to_owned(),
            staged: path.clone(),
            inode: content.inode,
            report: report.clone(),
        });
        let outbox = self.context.reporter.outbox();
        if self.context.reporter.tells_frames() {
            self.intents.push(outbox.put(intent).await?);
        }
        // The last look at the fence: after this line the frame is ours to publish.
        self.context.is_ours().await?;
        let (target, overwrite) = (place.clone(), self.context.assignment.overwrite);
        let makes_way = number.and_then(|number| renew::hash_of(&self.context.assignment, number));
        let named = blocking(move || {
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let aside = match makes_way {
                Some(hash) => renew::set_aside(&target, &hash)?,
                None => None,
            };
            let named = publish::give_name(&path, &target, overwrite)?;
            Ok::<_, std::io::Error>((named, aside))
        })
        .await;
        if let Ok((_, Some(aside))) = &named {
            self.context.reporter.log(&format!(
                "tablao: the former {} is kept as {}",
                place.display(),
                aside.display()
            ));
        }
        match named {
            Err(error) => {
                self.problem(accounted, &place, &error);
                return Ok(None);
            }
            Ok((Named::Published { note }, _)) => {
                if let Some(note) = note {
                    self.context.reporter.log(&note);
                }
            }
            Ok((Named::Taken, _)) => self.keep_existing(&place, &mut report).await,
        }
        match number {
            Some(number) => {
                accounted.frames.insert(number);
            }
            None => accounted.unnumbered += 1,
        }
        Ok(number.map(|_| report))
    }

    /// The name was taken meanwhile: the file that has it is the frame, and ours is dropped.
    async fn keep_existing(&self, place: &Path, report: &mut FrameReport) {
        let reporter = &self.context.reporter;
        let target = place.to_path_buf();
        report.outcome = "found".into();
        if let Ok(existing) = blocking(move || publish::content(&target)).await {
            let same = existing.hash == report.hash;
            reporter.log(&format!(
                "tablao: {} exists already with {} content; it is kept and the new render of it dropped",
                place.display(),
                if same { "the same" } else { "other" }
            ));
            report.hash = existing.hash;
            report.size = existing.size;
            report.rendered_at = existing.written_at;
        }
    }

    /// A file written straight to its place by a node or script: told of, and marked.
    async fn unfenced(
        &self,
        path: PathBuf,
        file: &SavedFile,
        render_ms: u64,
        accounted: &mut Accounted,
    ) -> Option<FrameReport> {
        let target = path.clone();
        let content = match blocking(move || publish::content(&target)).await {
            Ok(content) => content,
            Err(error) => {
                self.problem(accounted, &path, &error);
                return None;
            }
        };
        let mut report = self.report_of(&path, &content, file, render_ms);
        report.outcome = "published".into();
        report.flags = vec!["unfenced".into()];
        let Some(number) = file.status.frame.or_else(|| self.only_frame()) else {
            accounted.unnumbered += 1;
            return None;
        };
        accounted.frames.insert(number);
        report.number = number;
        if self.outputs.iter().any(Option::is_some) {
            // The render itself goes through staging, so this is another output of the frame.
            let digits = |character: char| character.is_ascii_digit();
            let output = report
                .name
                .trim_end_matches(digits)
                .trim_end_matches(['_', '.', '-']);
            report.output = if output.is_empty() { "other" } else { output }.to_owned();
        }
        Some(report)
    }

    fn report_of(
        &self,
        place: &Path,
        content: &Content,
        file: &SavedFile,
        render_ms: u64,
    ) -> FrameReport {
        let stem = place.file_stem().unwrap_or_default();
        FrameReport {
            name: stem.to_string_lossy().into_owned(),
            path: place.to_string_lossy().into_owned(),
            size: content.size,
            hash: content.hash.clone(),
            rendered_at: content.written_at.clone(),
            render_ms,
            samples: file.status.samples,
            peak_memory_bytes: file.status.peak_memory_bytes,
            blender_version: self.version.clone(),
            ..FrameReport::default()
        }
    }

    /// Finds the frame in the name of a file that went through staging.
    fn recognise(&self, place: &Path) -> Option<naming::Recognised> {
        let stem = place.file_stem()?.to_str()?;
        self.outputs.iter().flatten().find_map(|output| {
            if place.parent() != Some(&output.dir) {
                return None;
            }
            naming::recognise(&output.base, stem, output.frames.as_deref())
        })
    }

    /// The frame of a command that renders just one.
    fn only_frame(&self) -> Option<i64> {
        let mut frames = self.outputs.iter().flatten().flat_map(|output| {
            let frames = output.frames.as_deref();
            frames.unwrap_or_default().iter().copied()
        });
        let only = frames.next()?;
        frames.next().is_none().then_some(only)
    }

    /// The frame a saved file belongs to, as far as its name tells.
    fn frame_of(&self, path: &Path) -> Option<i64> {
        let place = self.staging.final_path(path)?;
        self.recognise(&place).map(|known| known.frame)
    }

    fn problem(&self, accounted: &mut Accounted, path: &Path, error: &dyn std::fmt::Display) {
        let text = format!("{}: {error}", path.display());
        self.context.reporter.log(&format!("tablao: {text}"));
        accounted.problems.push(text);
    }
}

async fn blocking<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(action)
        .await
        .expect("file operations do not panic and are not aborted")
}
