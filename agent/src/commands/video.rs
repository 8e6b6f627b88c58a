// SPDX-License-Identifier: GPL-3.0-or-later
//! `frames-to-video`: makes a film of frames with FFmpeg, in staging, and puts it in place when
//! it is whole.
//!
//! FFmpeg reads the frames by a pattern; its Windows builds cannot, so there it gets a list.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exec::{exe_args, run_logged};
use super::parameters::{Parameters, number_text};
use super::{Context, Ending, Failure, expect_success};
use crate::frames::publish::{self, Named};
use crate::frames::staging::Staging;
use crate::wire::{Command, FailureClass};

/// Name of the list of frames on Windows, in the folder of the frames.
#[cfg(any(windows, test))]
const INDEX_FILE: &str = "ffmpeg-file-index.txt";

/// Runs FFmpeg.
pub(super) async fn frames_to_video(context: &Context, command: &Command) -> Result<(), Ending> {
    let film = Film::read(command)?;
    let exe = locate(&film.exe)
        .await
        .map_err(|why| Parameters::of(command).invalid("exe", why))?;
    let place = std::path::absolute(&film.output_file)
        .map_err(|error| Failure::io(format!("{}: {error}", film.output_file)))?;
    if !film.may_replace && place.exists() {
        let why = "it exists already and the arguments do not allow to replace it (-y)";
        return Err(Parameters::of(command).invalid("outputFile", why).into());
    }
    let (Some(dir), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(Parameters::of(command)
            .invalid("outputFile", "it names no file")
            .into());
    };
    let outbox = context.reporter.outbox().clone();
    let mut staging = Staging::new(outbox, context.reporter.attempt());
    let staged = staging
        .folder_for(dir)
        .await
        .map(|folder| folder.join(name))
        .map_err(|error| Failure::io(error.to_string()));
    let result = match staged {
        Ok(staged) => make(context, &film, &exe, &staged, &place).await,
        Err(failure) => Err(failure.into()),
    };
    staging.close();
    result
}

/// The parameters, checked.
#[derive(Debug)]
struct Film {
    exe: String,
    exe_args: Vec<String>,
    args_before: Vec<String>,
    args: Vec<String>,
    fps: String,
    #[cfg_attr(
        not(any(windows, test)),
        expect(dead_code, reason = "for Windows' list")
    )]
    fps_value: f64,
    input_glob: String,
    output_file: String,
    may_replace: bool,
}

impl Film {
    fn read(command: &Command) -> Result<Self, Ending> {
        let parameters = Parameters::of(command);
        let exe = parameters.filled_string("exe")?.to_owned();
        let exe_args = exe_args(&parameters)?;
        let serde_json::Value::Number(fps) = parameters.any("fps")? else {
            return Err(parameters.invalid("fps", "it must be a number").into());
        };
        let fps_value = fps.as_f64().unwrap_or(0.0);
        if fps_value == 0.0 {
            return Err(parameters.invalid("fps", "it must not be zero").into());
        }
        let args_before = parameters.strings("argsBefore")?;
        let args = parameters.strings("args")?;
        let mut words = exe_args.iter().chain(&args_before).chain(&args);
        Ok(Self {
            may_replace: words.any(|word| word == "-y"),
            exe,
            exe_args,
            args_before,
            args,
            fps: number_text(fps),
            fps_value,
            input_glob: parameters.filled_string("inputGlob")?.to_owned(),
            output_file: parameters.filled_string("outputFile")?.to_owned(),
        })
    }

    /// The command line with the given input and output.
    fn command_line(&self, input: Vec<String>, output: &str) -> Vec<String> {
        let mut line = self.exe_args.clone();
        line.extend(self.args_before.iter().cloned());
        line.extend(input);
        line.extend(self.args.iter().cloned());
        line.extend(["-r".to_owned(), self.fps.clone(), output.to_owned()]);
        line
    }

    #[cfg(any(not(windows), test))]
    fn pattern_input(&self) -> Vec<String> {
        let pattern = self.input_glob.replace('\\', "/");
        ["-r", &self.fps, "-pattern_type", "glob", "-i", &pattern]
            .map(str::to_owned)
            .to_vec()
    }

    #[cfg(any(windows, test))]
    fn list_input(&self, index: &Path) -> Vec<String> {
        let index = index.to_string_lossy().into_owned();
        ["-f", "concat", "-safe", "0", "-i", &index]
            .map(str::to_owned)
            .to_vec()
    }

    /// Writes the list of frames; the file is removed when the returned guard is dropped.
    #[cfg(any(windows, test))]
    fn write_index(&self) -> Result<IndexFile, Failure> {
        use std::fmt::Write as _;
        let files = matching_files(&self.input_glob)?;
        let first = files.first().ok_or_else(|| {
            Failure::new(
                FailureClass::MissingOutput,
                format!("no files match {}", self.input_glob),
            )
        })?;
        let duration = 1.0 / self.fps_value;
        let mut text = String::new();
        for file in &files {
            let name = file.to_string_lossy().replace('\'', "\\'");
            writeln!(text, "file '{name}'\nduration {duration:.6}").expect("a String takes all");
        }
        let path = first.with_file_name(INDEX_FILE);
        std::fs::write(&path, text)
            .map_err(|error| Failure::io(format!("{}: {error}", path.display())))?;
        Ok(IndexFile(path))
    }
}

#[cfg(any(windows, test))]
#[derive(Debug)]
struct IndexFile(PathBuf);

#[cfg(any(windows, test))]
impl Drop for IndexFile {
    fn drop(&mut self) {
        // It is in the way of nothing; the next run writes it anew.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn matching_files(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let bad = |why: String| Failure::new(FailureClass::BadCommand, format!("inputGlob: {why}"));
    let paths = glob::glob(pattern).map_err(|error| bad(error.to_string()))?;
    Ok(paths.flatten().collect())
}

async fn make(
    context: &Context,
    film: &Film,
    exe: &str,
    staged: &Path,
    place: &Path,
) -> Result<(), Ending> {
    let output = staged.to_string_lossy().into_owned();
    #[cfg(windows)]
    let index = film.write_index()?;
    #[cfg(windows)]
    let input = film.list_input(&index.0);
    #[cfg(not(windows))]
    let input = film.pattern_input();
    #[cfg(not(windows))]
    if matching_files(&film.input_glob)?.is_empty() {
        return Err(Ending::Failed(Failure::new(
            FailureClass::MissingOutput,
            format!(
                "no frames match {}; were they rendered by this job?",
                film.input_glob
            ),
        )));
    }
    let args = film.command_line(input, &output);
    let ended = run_logged(context, exe, &args, |_| {}).await;
    expect_success(exe, ended)?;
    context.go_on()?;
    let (from, to, replace) = (staged.to_path_buf(), place.to_path_buf(), film.may_replace);
    let named = tokio::task::spawn_blocking(move || {
        std::fs::File::options()
            .read(true)
            .write(cfg!(windows))
            .open(&from)?
            .sync_all()?;
        publish::give_name(&from, &to, replace)
    })
    .await
    .expect("publishing does not panic and is not aborted");
    match named {
        Ok(Named::Published { note }) => {
            if let Some(note) = note {
                context.reporter.log(&note);
            }
            context
                .reporter
                .log(&format!("tablao: the film is {}", place.display()));
            Ok(())
        }
        Ok(Named::Taken) => Err(Ending::Failed(Failure::io(format!(
            "{} appeared meanwhile and was not replaced",
            place.display()
        )))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Ending::Failed(Failure::new(
                FailureClass::MissingOutput,
                format!(
                    "FFmpeg ended without an error but made no {}",
                    place.display()
                ),
            )))
        }
        Err(error) => Err(Ending::Failed(Failure::io(format!(
            "{}: {error}",
            place.display()
        )))),
    }
}

/// Finds FFmpeg when it is only named: beside the Worker in `tools/`, then on the search path.
pub(super) async fn locate(exe: &str) -> Result<String, String> {
    if exe != "ffmpeg" && exe != "ffmpeg.exe" {
        return Ok(exe.to_owned());
    }
    let own = std::env::current_exe().ok();
    let tools = own
        .as_deref()
        .and_then(Path::parent)
        .map(|dir| dir.join("tools"));
    let bundled = tools.into_iter().flat_map(|tools| {
        let (system, processor) = (crate::wire::platform(), std::env::consts::ARCH);
        let suffix = std::env::consts::EXE_SUFFIX;
        [
            format!("ffmpeg-{system}-{processor}{suffix}"),
            format!("ffmpeg-{system}{suffix}"),
            format!("ffmpeg{suffix}"),
        ]
        .map(|name| tools.join(name))
    });
    for candidate in bundled {
        if candidate.is_file() && is_ffmpeg(&candidate).await.is_ok() {
            return Ok(candidate.to_string_lossy().into_owned());
        }
    }
    is_ffmpeg(Path::new(exe)).await.map(|()| exe.to_owned())
}

/// Asks the candidate for its version.
async fn is_ffmpeg(candidate: &Path) -> Result<(), String> {
    let asked = tokio::process::Command::new(candidate)
        .arg("-version")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(Ok(output)) if output.stdout.starts_with(b"ffmpeg version ") => Ok(()),
        Ok(Ok(_)) => Err(format!("{} is no FFmpeg", candidate.display())),
        Ok(Err(error)) => Err(format!(
            "{error}; install FFmpeg on this worker or name its place in the job type"
        )),
        Err(_) => Err(format!(
            "{} did not tell its version within 5 s",
            candidate.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn film(parameters: serde_json::Value) -> Result<Film, Ending> {
        Film::read(&Command {
            name: "frames-to-video".into(),
            parameters: parameters.as_object().unwrap().clone(),
            total_step_count: 0,
        })
    }

    #[test]
    fn arguments_come_in_the_references_order() {
        // Protects filters and codecs of job types, whose meaning depends on the order.
        let film = film(json!({
            "exe": "ffmpeg", "exeArgs": "-hide_banner", "argsBefore": ["-loglevel", "info"],
            "fps": 24.0, "inputGlob": "C:\\out\\*.png", "outputFile": "/out/x.mp4",
            "args": ["-crf", 20, "-y"],
        }))
        .unwrap();
        assert!(film.may_replace);
        let line = film.command_line(film.pattern_input(), "/out/x.mp4");
        assert_eq!(
            line.join(" "),
            "-hide_banner -loglevel info -r 24 -pattern_type glob -i C:/out/*.png -crf 20 -y -r 24 /out/x.mp4"
        );
        let line = film.command_line(film.list_input(Path::new("/out/i.txt")), "/out/x.mp4");
        assert!(
            line.join(" ")
                .contains("info -f concat -safe 0 -i /out/i.txt -crf")
        );
    }

    #[test]
    fn the_list_of_frames_is_gone_when_it_was_used() {
        // Protects the render folder from our helper file, and Windows from a wrong list.
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.png", "a'1.png"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        let pattern = dir.path().join("*.png").display().to_string();
        let film = film(json!({ "exe": "f", "fps": 25, "inputGlob": pattern, "outputFile": "o" }));
        let index = film.unwrap().write_index().unwrap();
        let text = std::fs::read_to_string(&index.0).unwrap();
        let first = dir.path().display();
        assert!(
            text.starts_with(&format!("file '{first}/a\\'1.png'\nduration 0.040000\n")),
            "{text}"
        );
        let path = index.0.clone();
        drop(index);
        assert!(!path.exists());
    }

    #[test]
    fn a_frame_rate_must_be_a_number_and_not_zero() {
        // Protects against a film without end, or FFmpeg's own less clear message.
        for fps in [json!("24"), json!(0), json!(null)] {
            let parameters = json!({ "exe": "f", "fps": fps, "inputGlob": "g", "outputFile": "o" });
            assert!(matches!(film(parameters), Err(Ending::Failed(_))));
        }
    }
}
