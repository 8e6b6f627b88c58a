// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify-frames`: looks at the files of frames and tells the Manager what is wrong with them;
//! `make-thumbnail`: makes pictures of them anew.
//!
//! Both name their files by a path with `#` for the number, and the frames. What was found is
//! noted on the frames; the task itself fails only where it was asked to.

use std::path::PathBuf;

use tablao_pictures::examine::examine;
use tablao_pictures::judge::{Fault, judge};
use tablao_pictures::thumbnail;

use super::parameters::Parameters;
use super::{Context, Ending, Failure};
use crate::blender::{frame_list, naming};
use crate::outbox::Thumbnail;
use crate::wire::{Command, FailureClass, FrameFinding};

/// Findings in one report, so that a report stays small.
const FINDINGS_PER_REPORT: usize = 100;

/// The files that a command names.
struct Files(Vec<(i64, PathBuf)>);

impl Files {
    fn read(parameters: &Parameters<'_>) -> Result<Self, Ending> {
        let path = PathBuf::from(parameters.filled_string("path")?);
        let Some(base) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(parameters.invalid("path", "it names no file").into());
        };
        let frames = parameters.filled_string("frames")?.replace('-', "..");
        let Some(mut frames) = frame_list::parse(&frames) else {
            let why = "it must be frame numbers, such as 1-10,12";
            return Err(parameters.invalid("frames", why).into());
        };
        frames.sort_unstable();
        frames.dedup();
        let ending = path.extension().map(|ending| ending.to_string_lossy());
        let file = |frame: i64| {
            let stem = naming::frame_stem(base, frame);
            let name = match &ending {
                Some(ending) if !stem.ends_with(&format!(".{ending}")) => {
                    format!("{stem}.{ending}")
                }
                Some(_) | None => stem,
            };
            (frame, path.with_file_name(name))
        };
        Ok(Self(frames.into_iter().map(file).collect()))
    }
}

fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Missing => "missing",
        Fault::Empty => "empty",
        Fault::Truncated => "truncated",
        Fault::Black => "black",
        Fault::Changed => "changed",
        Fault::WrongSize => "wrong_size",
    }
}

/// Looks at files and reports what is wrong.
pub(super) async fn verify_frames(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let files = Files::read(&parameters)?;
    let shot = Some(parameters.optional_string("shot")?.to_owned()).filter(|shot| !shot.is_empty());
    let may_fail = matches!(parameters.any("fail"), Ok(serde_json::Value::Bool(true)));
    // A storage that is not mounted here is no fault of its frames.
    let folder = files.0.first().and_then(|(_, file)| file.parent());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let why = format!("{}: this worker sees no such folder", folder.display());
        return Err(Failure::io(why).into());
    }
    let mut examined = Vec::with_capacity(files.0.len());
    for (_, file) in &files.0 {
        context.go_on()?;
        let path = file.clone();
        let looked = tokio::task::spawn_blocking(move || examine(&path)).await;
        let looked = looked.map_err(|_| Failure::io("looking at a file failed"))?;
        let looked = looked.map_err(|error| {
            Failure::io(format!(
                "{}: {error}; can this worker read the folder of the frames?",
                file.display()
            ))
        })?;
        examined.push(looked);
    }
    let judged = judge(&examined);
    let mut flawed = 0;
    let mut findings = Vec::with_capacity(examined.len());
    for (((number, file), examined), found) in files.0.iter().zip(&examined).zip(judged) {
        let words: Vec<String> = found.iter().map(|found| found.words.clone()).collect();
        let words = words.join("; ");
        if !found.is_empty() {
            flawed += 1;
            context
                .reporter
                .log(&format!("tablao: {}: {words}", file.display()));
        }
        findings.push(FrameFinding {
            shot: shot.clone(),
            number: *number,
            hash: (examined.as_ref())
                .map(|examined| blake3::Hash::from_bytes(examined.hash).to_string()),
            flags: found
                .iter()
                .map(|found| name_of(found.fault).to_owned())
                .collect(),
            words,
        });
    }
    let all = findings.len();
    for group in findings.chunks(FINDINGS_PER_REPORT) {
        context.go_on()?;
        context.reporter.findings(group.to_vec()).await?;
    }
    let words = format!("{flawed} of {all} frames have something wrong with them");
    context.reporter.log(&format!("tablao: {words}"));
    if may_fail && flawed > 0 {
        return Err(Failure::new(FailureClass::MissingOutput, words).into());
    }
    Ok(())
}

/// Makes thumbnails of files: for the frames of the job's shot, or as a file of its own.
pub(super) async fn make_thumbnail(context: &Context, command: &Command) -> Result<(), Ending> {
    let parameters = Parameters::of(command);
    let output = parameters.optional_string("outputFile")?;
    if !output.is_empty() {
        let file = PathBuf::from(parameters.filled_string("path")?);
        let made = tokio::task::spawn_blocking(move || {
            thumbnail::make(&file, false).map_err(|error| format!("{}: {error}", file.display()))
        });
        let made = made
            .await
            .map_err(|_| Failure::io("the image decoder failed"))?;
        let (picture, _) = made.map_err(Failure::io)?;
        let output = PathBuf::from(output);
        let wanted = output.extension().map(|ending| ending.to_ascii_lowercase());
        let is_right = match picture.extension() {
            "png" => wanted.is_some_and(|ending| ending == "png"),
            _ => wanted.is_some_and(|ending| ending == "jpg" || ending == "jpeg"),
        };
        // The content decides: where there is transparency it is a PNG.
        let output = if is_right {
            output
        } else {
            output.with_extension(picture.extension())
        };
        std::fs::write(&output, &picture.data)
            .map_err(|error| Failure::io(format!("{}: {error}", output.display())))?;
        context
            .reporter
            .log(&format!("tablao: made {}", output.display()));
        return Ok(());
    }
    for (number, path) in Files::read(&parameters)?.0 {
        context.go_on()?;
        if !path.is_file() {
            let why = format!("{}: there is no such file", path.display());
            return Err(Failure::new(FailureClass::MissingOutput, why).into());
        }
        let stem = path.file_stem().unwrap_or_default();
        context.media.want(Thumbnail {
            task: context.reporter.task().to_owned(),
            attempt: context.reporter.attempt().to_owned(),
            shot: context.assignment.shot.clone(),
            number,
            name: stem.to_string_lossy().into_owned(),
            path: path.clone(),
            preview: false,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_named_by_pattern_and_number() {
        // Protects verification from looking beside the frames: names are those of a render.
        let command = |parameters: serde_json::Value| Command {
            name: "verify-frames".into(),
            parameters: parameters.as_object().unwrap().clone(),
            total_step_count: 0,
        };
        let asked = command(json!({ "path": "/out/f_####.png", "frames": "2-3,7" }));
        let files = Files::read(&Parameters::of(&asked)).expect("sound");
        let names: Vec<String> = (files.0.iter())
            .map(|(_, file)| file.to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            ["/out/f_0002.png", "/out/f_0003.png", "/out/f_0007.png"]
        );
        let odd = command(json!({ "path": "/out/f_####.dat", "frames": "1" }));
        let files = Files::read(&Parameters::of(&odd)).expect("sound");
        assert!(files.0[0].1.ends_with("f_0001.dat"), "{:?}", files.0);
        let unsound = command(json!({ "path": "/out/f_####.png", "frames": "all" }));
        assert!(Files::read(&Parameters::of(&unsound)).is_err());
    }
}
