// SPDX-License-Identifier: GPL-3.0-or-later
//! What a task needs of the machine: files that it reads, folders that it writes to, programs.
//!
//! Read from its commands, without a look at any disk. What only the scene knows stays unknown;
//! commands that are not known here need nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::blender::arguments::CommandLine;
use crate::commands::Parameters;
use crate::wire::{AssignedTask, Command};

/// One thing that a task needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A file that is read.
    Input(PathBuf),
    /// A folder that is written to; it may have to be made.
    Output(PathBuf),
    /// Blender, by command or path.
    Blender(String),
    /// FFmpeg.
    Ffmpeg(String),
    /// Another program, which only this job names.
    Program(String),
}

/// What the commands of a task name.
pub(crate) fn of(task: &AssignedTask) -> BTreeSet<Subject> {
    let mut subjects = BTreeSet::new();
    for command in &task.commands {
        add(command, &mut subjects);
    }
    subjects
}

fn add(command: &Command, subjects: &mut BTreeSet<Subject>) {
    let parameters = Parameters::of(command);
    // A parameter that is missing or of the wrong kind is the command's to complain about.
    let text = |name: &str| parameters.filled_string(name).unwrap_or_default();
    let mut input = |path: &str| {
        if !path.is_empty() {
            subjects.insert(Subject::Input(absolute(Path::new(path))));
        }
    };
    match command.name.as_str() {
        "blender-render" => {
            input(text("blendfile"));
            let exe = text("exe").to_owned();
            if !exe.is_empty() {
                subjects.insert(Subject::Blender(exe));
            }
            let line = CommandLine::read(parameters.strings("args").unwrap_or_default());
            for output in line.outputs() {
                subjects.extend(output_folder(output, text("blendfile")).map(Subject::Output));
            }
        }
        "exec" => {
            let exe = text("exe").to_owned();
            if !exe.is_empty() {
                subjects.insert(Subject::Program(exe));
            }
        }
        "frames-to-video" => {
            let exe = text("exe").to_owned();
            subjects.extend(parent_of(text("outputFile")));
            if !exe.is_empty() {
                subjects.insert(Subject::Ffmpeg(exe));
            }
        }
        "make-directory" => subjects.extend(parent_of(text("path"))),
        "move-directory" => subjects.extend(parent_of(text("dest"))),
        "copy-file" => {
            input(text("src"));
            subjects.extend(parent_of(text("dest")));
        }
        _ => {}
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The folder in which a file is to be.
fn parent_of(path: &str) -> Option<Subject> {
    let parent = absolute(Path::new(path));
    let parent = parent.parent().filter(|_| !path.is_empty())?;
    Some(Subject::Output(parent.to_owned()))
}

/// The folder of Blender's output path; `//` is beside the blend file.
fn output_folder(output: &str, blendfile: &str) -> Option<PathBuf> {
    let path = match output.strip_prefix("//") {
        Some(rest) => Path::new(blendfile).parent()?.join(rest),
        None => PathBuf::from(output),
    };
    let path = absolute(&path);
    if output.ends_with(std::path::is_separator) {
        return Some(path);
    }
    path.parent().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(commands: &serde_json::Value) -> AssignedTask {
        serde_json::from_value(json!({ "uuid": "t", "commands": commands })).unwrap()
    }

    #[test]
    #[cfg(unix)]
    fn what_commands_name_is_found() {
        // Protects the checks from looking at nothing: inputs, output folders and programs of
        // every command that has any.
        let found = of(&task(&json!([
            { "name": "blender-render", "parameters": {
                "exe": "/opt/blender", "blendfile": "/shots/a.blend",
                "args": ["--render-output", "/out/f_######", "--render-format", "PNG", "-f", "1"] } },
            { "name": "frames-to-video", "parameters": { "exe": "ffmpeg", "outputFile": "/film/a.mp4" } },
            { "name": "move-directory", "parameters": { "src": "/x/a", "dest": "/y/b" } },
            { "name": "copy-file", "parameters": { "src": "/x/c", "dest": "/z/d" } },
            { "name": "exec", "parameters": { "exe": "true" } },
            { "name": "echo", "parameters": { "message": "/not/a/path" } },
        ])));
        let path = PathBuf::from;
        let expected = [
            Subject::Input(path("/shots/a.blend")),
            Subject::Input(path("/x/c")),
            Subject::Output(path("/film")),
            Subject::Output(path("/out")),
            Subject::Output(path("/y")),
            Subject::Output(path("/z")),
            Subject::Blender("/opt/blender".to_owned()),
            Subject::Ffmpeg("ffmpeg".to_owned()),
            Subject::Program("true".to_owned()),
        ];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    #[cfg(unix)]
    fn a_path_beside_the_scene_is_resolved() {
        // Protects jobs that render to `//`, and commands with parameters left out.
        assert_eq!(
            output_folder("//render/f_", "/shots/a.blend"),
            Some(PathBuf::from("/shots/render"))
        );
        assert_eq!(
            output_folder("/out/", "x.blend"),
            Some(PathBuf::from("/out/"))
        );
        assert!(
            of(&task(
                &json!([{ "name": "blender-render", "parameters": {} }])
            ))
            .is_empty()
        );
    }
}
