// SPDX-License-Identifier: GPL-3.0-or-later
//! What a task needs of the machine: files that it reads, folders that it writes to, programs.
//!
//! Read from its commands, without a look at any disk. What only the scene knows stays unknown;
//! commands that are not known here need nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::blender::arguments::CommandLine;
use crate::commands::{FFMPEG, Parameters};
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
        let mut named = of_command(command);
        // What a command before this one is to make need not be there yet.
        named.retain(|subject| match subject {
            Subject::Input(path) => !is_made(path, &subjects),
            _ => true,
        });
        subjects.extend(named);
    }
    subjects
}

/// Whether a file lies where something is to be written.
fn is_made(path: &Path, subjects: &BTreeSet<Subject>) -> bool {
    subjects
        .iter()
        .any(|subject| matches!(subject, Subject::Output(folder) if path.starts_with(folder)))
}

fn of_command(command: &Command) -> Vec<Subject> {
    let parameters = Parameters::of(command);
    // A parameter that is missing or of the wrong kind is the command's to complain about.
    let text = |name: &str| parameters.filled_string(name).unwrap_or_default();
    let input = |name: &str| input(text(name));
    let inputs = |name: &str| inputs(command.parameters.get(name));
    let beside = |name: &str| parent_of(text(name)).map(Subject::Output);
    let program = |of: fn(String) -> Subject, other: &str| {
        match text("exe") {
            "" => Some(other).filter(|other| !other.is_empty()),
            exe => Some(exe),
        }
        .map(|exe| of(exe.to_owned()))
    };
    let mut found: Vec<Subject> = Vec::new();
    match command.name.as_str() {
        "blender-render" => {
            found.extend(input("blendfile"));
            found.extend(program(Subject::Blender, ""));
            let line = CommandLine::read(parameters.strings("args").unwrap_or_default());
            for output in line.outputs() {
                found.extend(output_folder(output, text("blendfile")).map(Subject::Output));
            }
        }
        "exec" => found.extend(program(Subject::Program, "")),
        "frames-to-video" => {
            found.extend(beside("outputFile"));
            found.extend(program(Subject::Ffmpeg, ""));
        }
        "concatenate-videos" | "mux-audio" | "encode-audio" => {
            found.extend(inputs("inputFiles"));
            found.extend(
                ["videoFile", "audioFile", "inputFile"]
                    .into_iter()
                    .filter_map(input),
            );
            found.extend(beside("outputFile"));
            found.extend(program(Subject::Ffmpeg, FFMPEG));
        }
        "merge-exr" | "join-exr-tiles" | "exr-to-jpeg" => {
            found.extend(["inputs", "tiles"].into_iter().flat_map(inputs));
            found.extend(input("input"));
            found.extend(beside("output"));
        }
        "verify-frames" | "make-thumbnail" => found.extend(input("path")),
        "copy-file" | "publish-files" => {
            found.extend(input("src"));
            found.extend(beside("dest"));
        }
        "move-directory" | "move-to-final" | "move-with-counter" => found.extend(beside("dest")),
        "move-out-of-way" => found.extend(beside("src")),
        "make-directory" | "create-python-file" | "remove-file" | "remove-tree" => {
            found.extend(beside("path"));
        }
        _ => {}
    }
    found
}

fn input(path: &str) -> Option<Subject> {
    (!path.is_empty()).then(|| Subject::Input(absolute(Path::new(path))))
}

/// A list of paths, each as text or as the `path` of an object.
fn inputs(listed: Option<&Value>) -> Vec<Subject> {
    let listed = listed.and_then(Value::as_array).into_iter().flatten();
    let path = |item: &Value| input(item.as_str().or(item["path"].as_str())?);
    listed.filter_map(path).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The folder in which a file is to be.
fn parent_of(path: &str) -> Option<PathBuf> {
    let whole = absolute(Path::new(path));
    let parent = whole.parent().filter(|_| !path.is_empty())?;
    Some(parent.to_owned())
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
            { "name": "merge-exr", "parameters": {
                "inputs": [{ "path": "/samples/1_####.exr", "samples": 4 }], "output": "/merged/####.exr" } },
            { "name": "join-exr-tiles", "parameters": {
                "tiles": [{ "path": "/tiles/1.exr", "x": 0, "y": 0 }], "output": "/merged/a.exr" } },
            { "name": "publish-files", "parameters": { "src": "/done/a.exr", "dest": "/shown/a.exr" } },
            { "name": "concatenate-videos", "parameters": {
                "inputFiles": ["/parts/1.mkv", { "path": "/parts/2.mkv", "seconds": 2 }],
                "outputFile": "/film/b.mkv", "exe": "" } },
            { "name": "move-out-of-way", "parameters": { "src": "/w/old" } },
        ])));
        let path = PathBuf::from;
        let expected = [
            Subject::Input(path("/done/a.exr")),
            Subject::Input(path("/parts/1.mkv")),
            Subject::Input(path("/parts/2.mkv")),
            Subject::Input(path("/samples/1_####.exr")),
            Subject::Input(path("/shots/a.blend")),
            Subject::Input(path("/tiles/1.exr")),
            Subject::Input(path("/x/c")),
            Subject::Output(path("/film")),
            Subject::Output(path("/merged")),
            Subject::Output(path("/out")),
            Subject::Output(path("/shown")),
            Subject::Output(path("/w")),
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
    fn what_the_task_makes_itself_is_not_looked_for() {
        // Protects machines from being called sick for a folder that the task is about to make.
        let found = of(&task(&json!([
            { "name": "exr-to-jpeg", "parameters": { "input": "/a/1.exr", "output": "/job/made/1.jpg" } },
            { "name": "copy-file", "parameters": { "src": "/job/made/1.jpg", "dest": "/b/1.jpg" } },
        ])));
        let path = PathBuf::from;
        let expected = [
            Subject::Input(path("/a/1.exr")),
            Subject::Output(path("/b")),
            Subject::Output(path("/job/made")),
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
