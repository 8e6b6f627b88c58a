// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads from Blender's command line what a task will render and where to, and rewrites it.
//!
//! Blender acts on its arguments in order, so each render has the output and format given
//! before it. What only the scene knows (an output path that is not on the command line,
//! relative frames) stays unknown: then nothing is rewritten or checked.

use super::frame_list;

/// One `--render-frame` or `--render-anim`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Render {
    /// Where the option stands in the arguments.
    index: usize,
    /// Whether the option has a value after it.
    has_value: bool,
    /// Frames, where they can be known.
    pub(crate) frames: Option<Vec<i64>>,
    /// Output path as it is written, where the command line has one.
    pub(crate) output: Option<String>,
    /// Format, where the command line has one.
    pub(crate) format: Option<String>,
    /// False after `--use-extension 0`.
    pub(crate) use_extension: bool,
}

/// A command line and what it renders.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommandLine {
    args: Vec<String>,
    /// Where the values of `--render-output` stand.
    outputs: Vec<usize>,
    pub(crate) renders: Vec<Render>,
}

impl CommandLine {
    pub(crate) fn read(args: Vec<String>) -> Self {
        let mut outputs = Vec::new();
        let mut renders = Vec::new();
        let (mut output, mut format): (Option<String>, Option<String>) = (None, None);
        let (mut start, mut end, mut jump): (Option<i64>, Option<i64>, i64) = (None, None, 1);
        let mut use_extension = true;
        let mut index = 0;
        while index < args.len() {
            let option = args[index].as_str();
            let value = args.get(index + 1);
            let number = || value.and_then(|text| text.parse::<i64>().ok());
            let mut has_value = true;
            match option {
                "--" => break,
                "-o" | "--render-output" => {
                    output = value.cloned();
                    if value.is_some() {
                        outputs.push(index + 1);
                    }
                }
                "-F" | "--render-format" => format = value.cloned(),
                "-x" | "--use-extension" => {
                    use_extension = !value.is_some_and(|text| text == "0" || text == "false");
                }
                "-s" | "--frame-start" => start = number(),
                "-e" | "--frame-end" => end = number(),
                "-j" | "--frame-jump" => jump = number().unwrap_or(1).max(1),
                "-S" | "--scene" => {
                    // Another scene brings its own range.
                    (start, end, jump) = (None, None, 1);
                }
                "-f" | "--render-frame" => renders.push(Render {
                    index,
                    has_value: true,
                    frames: value.and_then(|text| frame_list::parse(text)),
                    output: output.clone(),
                    format: format.clone(),
                    use_extension,
                }),
                "-a" | "--render-anim" => {
                    has_value = false;
                    renders.push(Render {
                        index,
                        has_value,
                        frames: animation(start, end, jump),
                        output: output.clone(),
                        format: format.clone(),
                        use_extension,
                    });
                }
                _ => has_value = takes_value(option),
            }
            index += if has_value { 2 } else { 1 };
        }
        Self {
            args,
            outputs,
            renders,
        }
    }

    /// All output paths as they are written.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|index| self.args[*index].as_str())
    }

    /// The arguments with each output path replaced, and each render of known frames reduced to
    /// those that `keep` wants. Renders without any frame left are dropped.
    pub(crate) fn rewrite(
        &self,
        replace_output: impl Fn(&str) -> Option<String>,
        keep: impl Fn(usize, i64) -> bool,
    ) -> Rewritten {
        let mut args: Vec<Option<String>> = self.args.iter().cloned().map(Some).collect();
        for index in &self.outputs {
            if let Some(replacement) = replace_output(&self.args[*index]) {
                args[*index] = Some(replacement);
            }
        }
        let mut renders_left = 0;
        for (number, render) in self.renders.iter().enumerate() {
            let Some(frames) = &render.frames else {
                renders_left += 1;
                continue;
            };
            let left: Vec<i64> = frames
                .iter()
                .copied()
                .filter(|frame| keep(number, *frame))
                .collect();
            if left.len() == frames.len() {
                renders_left += 1;
                continue;
            }
            if render.has_value {
                args[render.index + 1] = None;
            }
            if left.is_empty() {
                args[render.index] = None;
            } else {
                renders_left += 1;
                // One string for two arguments would be one argument, so the list is spliced
                // in below; a NUL cannot occur in an argument.
                args[render.index] =
                    Some(format!("--render-frame\0{}", frame_list::compact(&left)));
            }
        }
        let args = args
            .into_iter()
            .flatten()
            .flat_map(|arg| arg.split('\0').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        Rewritten { args, renders_left }
    }
}

/// A command line ready to be run.
#[derive(Debug, PartialEq)]
pub(crate) struct Rewritten {
    pub(crate) args: Vec<String>,
    /// Renders that still have something to do.
    pub(crate) renders_left: usize,
}

fn animation(start: Option<i64>, end: Option<i64>, jump: i64) -> Option<Vec<i64>> {
    let (start, end) = (start?, end?);
    // Without this bound an absurd range would be counted out frame by frame.
    if end < start || end - start > 1_000_000 {
        return None;
    }
    let step = usize::try_from(jump).ok()?;
    Some((start..=end).step_by(step).collect())
}

/// Other options whose value must not be taken for an option.
pub(super) fn takes_value(option: &str) -> bool {
    matches!(
        option,
        "-E" | "--engine"
            | "-P"
            | "--python"
            | "--python-text"
            | "--python-expr"
            | "--python-exit-code"
            | "-t"
            | "--threads"
            | "--addons"
            | "--log"
            | "--log-level"
            | "--log-file"
            | "--verbose"
            | "--cycles-device"
            | "--cycles-print-stats"
            | "--command"
            | "-c"
            | "--app-template"
            | "--gpu-backend"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_built_in_job_types_command_is_understood() {
        // Protects staging and the missing-frame check of simple-blender-render.
        let mut args = words("-b -y file.blend --scene Shot --python-expr");
        args.push("-f --render-output /not/an/option".into());
        args.extend(words(
            "--render-output /out/f_###### --render-format PNG --render-frame 1..3,7",
        ));
        let line = CommandLine::read(args);
        assert_eq!(line.outputs().collect::<Vec<_>>(), ["/out/f_######"]);
        let [render] = &line.renders[..] else {
            panic!("one render expected: {:?}", line.renders);
        };
        assert_eq!(render.frames.as_deref(), Some(&[1, 2, 3, 7][..]));
        assert_eq!(render.format.as_deref(), Some("PNG"));
        let rewritten = line.rewrite(|_| Some("/stage/f_######".into()), |_, frame| frame != 2);
        assert_eq!(rewritten.args[6], "-f --render-output /not/an/option");
        assert_eq!(
            rewritten.args[7..].join(" "),
            "--render-output /stage/f_###### --render-format PNG --render-frame 1,3,7"
        );
        assert_eq!(rewritten.renders_left, 1);
    }

    #[test]
    fn renders_without_frames_left_are_dropped() {
        // Protects against starting Blender when every file exists.
        let line = CommandLine::read(words("-b f.blend -o /o/x -F PNG -s 1 -e 5 -j 2 -a -f 9"));
        assert_eq!(line.renders[0].frames.as_deref(), Some(&[1, 3, 5][..]));
        let none = line.rewrite(|_| None, |_, _| false);
        assert_eq!(none.renders_left, 0);
        assert_eq!(
            none.args.join(" "),
            "-b f.blend -o /o/x -F PNG -s 1 -e 5 -j 2"
        );
        let some = line.rewrite(|_| None, |_, frame| frame > 3);
        assert_eq!(
            some.args.join(" "),
            "-b f.blend -o /o/x -F PNG -s 1 -e 5 -j 2 --render-frame 5 -f 9"
        );
    }

    #[test]
    fn what_only_the_scene_knows_stays_unknown() {
        // Protects against dropping frames on a guess.
        for text in [
            "f.blend -a",
            "f.blend -s 1 -a",
            "f.blend -f +1",
            "f.blend -s 1 -e 3 -S B -a",
        ] {
            let line = CommandLine::read(words(text));
            assert_eq!(line.renders[0].frames, None, "{text}");
            assert_eq!(line.rewrite(|_| None, |_, _| false).args, words(text));
        }
        assert!(
            CommandLine::read(words("f.blend -- -f 1"))
                .renders
                .is_empty()
        );
    }
}
