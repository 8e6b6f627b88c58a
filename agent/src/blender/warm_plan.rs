// SPDX-License-Identifier: GPL-3.0-or-later
//! Divides a command line into what a warm Blender is started with and what changes from task to
//! task of a job.
//!
//! All that tasks share stays on the command line, where Blender itself acts upon it in its own
//! order. Only output path, frames and their range are left to the server inside Blender. What is
//! not surely understood is no warm render: the answer is then the reason, for the task's log.

use serde::Serialize;

use super::arguments::takes_value;
use super::frame_list;

/// How a task is rendered in a warm Blender.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WarmPlan {
    /// Arguments that the tasks of a job share, in order, with the blend file.
    pub(crate) shared: Vec<String>,
    /// Script files among them, whose content is part of what is shared.
    pub(crate) scripts: Vec<String>,
    /// What this task wants.
    pub(crate) order: Order,
}

/// One task for the server inside Blender.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Order {
    /// Names the answer.
    pub(crate) number: u64,
    /// The command line of a cold start, which scripts may look at.
    pub(crate) argv: Vec<String>,
    pub(crate) output: Option<String>,
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) jump: Option<i64>,
    /// First and last frame of each run; none for the whole range.
    pub(crate) frames: Option<Vec<(i64, i64)>>,
}

/// Reads the arguments behind the name of the program.
pub(crate) fn plan(exe: &str, args: &[String], blendfile: &str) -> Result<WarmPlan, String> {
    if blendfile.is_empty() {
        return Err("there is no blend file".into());
    }
    let mut plan = WarmPlan {
        shared: Vec::with_capacity(args.len()),
        scripts: Vec::new(),
        order: Order {
            argv: std::iter::once(exe.to_owned())
                .chain(args.iter().cloned())
                .collect(),
            ..Order::default()
        },
    };
    let (mut loaded, mut varied, mut rendered, mut background) = (false, false, false, false);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let option = word.as_str();
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| format!("`{option}` has no value"))
        };
        match option {
            "-o" | "--render-output" => plan.order.output = Some(value()?.clone()),
            "-s" | "--frame-start" => plan.order.start = Some(number(option, value()?)?),
            "-e" | "--frame-end" => plan.order.end = Some(number(option, value()?)?),
            "-j" | "--frame-jump" => plan.order.jump = Some(number(option, value()?)?),
            "-f" | "--render-frame" | "-a" | "--render-anim" => {
                if rendered {
                    return Err("it renders more than once".into());
                }
                rendered = true;
                if option.starts_with("-f") || option == "--render-frame" {
                    let frames = value()?;
                    let frames = frame_list::runs(frames)
                        .ok_or_else(|| format!("only the scene knows the frames `{frames}`"))?;
                    plan.order.frames = Some(frames);
                } else if plan.order.start.is_none() || plan.order.end.is_none() {
                    return Err("only the scene knows the range of frames".into());
                }
            }
            _ => {
                if rendered {
                    return Err(format!("`{option}` comes after the render"));
                }
                if option.starts_with('-') {
                    share(&mut plan, option, varied, value)?;
                    background |= matches!(option, "-b" | "--background");
                } else if !loaded && option == blendfile {
                    loaded = true;
                    plan.shared.push(word.clone());
                } else {
                    return Err(format!("it is not known what `{option}` does"));
                }
                continue;
            }
        }
        if !loaded {
            return Err(format!("`{option}` comes before the blend file"));
        }
        varied = true;
    }
    if !background || !loaded || !rendered {
        return Err("it is no render of a blend file in the background".into());
    }
    Ok(plan)
}

/// Takes in an option that tasks share.
fn share<'a>(
    plan: &mut WarmPlan,
    option: &str,
    varied: bool,
    mut value: impl FnMut() -> Result<&'a String, String>,
) -> Result<(), String> {
    plan.shared.push(option.to_owned());
    if stands_alone(option) {
        return Ok(());
    }
    let settles = matches!(
        option,
        "-S" | "--scene" | "-F" | "--render-format" | "-x" | "--use-extension"
    );
    if !settles && (!takes_value(option) || matches!(option, "--command" | "-c")) {
        return Err(format!("it is not known what `{option}` does"));
    }
    let value = value()?;
    let is_script = matches!(
        option,
        "-P" | "--python" | "--python-text" | "--python-expr"
    );
    // Both act on what stands before them, which another task would have to do again.
    if varied && (is_script || matches!(option, "-S" | "--scene")) {
        return Err(format!("`{option}` comes after output or frames"));
    }
    if matches!(option, "-P" | "--python") {
        let text = std::fs::read_to_string(value)
            .map_err(|error| format!("the script {value} cannot be looked at: {error}"))?;
        suits(&text)?;
        plan.scripts.push(value.clone());
    } else if is_script {
        suits(value)?;
    }
    plan.shared.push(value.clone());
    Ok(())
}

/// Whether a script may run once for many tasks, as far as its text shows.
fn suits(script: &str) -> Result<(), String> {
    for (word, what) in [
        ("argv", "looks at the command line"),
        ("render.render", "renders by itself"),
        ("TABLAO", "looks at the environment"),
    ] {
        if script.contains(word) {
            return Err(format!("a script {what}"));
        }
    }
    Ok(())
}

/// Options without a value that say how Blender is to start.
fn stands_alone(option: &str) -> bool {
    matches!(
        option,
        "-b" | "--background"
            | "-y"
            | "--enable-autoexec"
            | "-Y"
            | "--disable-autoexec"
            | "--factory-startup"
            | "-noaudio"
            | "--offline-mode"
            | "--online-mode"
    )
}

/// A whole number; with a sign it would be relative to the scene's range.
fn number(option: &str, text: &str) -> Result<i64, String> {
    let plain = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("only the scene knows what `{option} {text}` means"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str) -> Result<WarmPlan, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        plan("blender", &words, "f.blend")
    }

    #[test]
    fn tasks_of_the_built_in_job_type_share_all_but_output_and_frames() {
        // Protects warm renders from being started anew for each task, and the order of what stays.
        let plan = planned(
            "-b -y f.blend --scene S --python-expr x=1 --render-output /o/1/#### \
             --render-format PNG --render-frame 1..3,7",
        )
        .unwrap();
        assert_eq!(
            plan.shared.join(" "),
            "-b -y f.blend --scene S --python-expr x=1 --render-format PNG"
        );
        assert_eq!(plan.order.output.as_deref(), Some("/o/1/####"));
        assert_eq!(plan.order.frames, Some(vec![(1, 3), (7, 7)]));
        assert_eq!(plan.order.argv.len(), 14);
        let animation = planned("-b f.blend -E CYCLES -s 2 -e 9 -j 2 -o /o/ -t 2 -a").unwrap();
        assert_eq!(animation.shared.join(" "), "-b f.blend -E CYCLES -t 2");
        let order = &animation.order;
        assert_eq!(
            (order.start, order.end, order.jump),
            (Some(2), Some(9), Some(2))
        );
        assert_eq!(order.frames, None);
    }

    #[test]
    fn what_is_not_surely_understood_is_a_cold_start() {
        // Protects frames from a warm Blender that would do something else than a cold start.
        for text in [
            "-b -f 1",
            "f.blend -f 1",
            "-b f.blend",
            "-b f.blend -a",
            "-b f.blend -s 1 -a",
            "-b f.blend -s +1 -e 3 -a",
            "-b f.blend -f -1",
            "-b -o /early f.blend -f 1",
            "-b f.blend -f 1 -f 2",
            "-b f.blend -f 1 -x 1",
            "-b f.blend -s 1 -S Other -f 1",
            "-b f.blend -o /o --python-expr x -f 1",
            "-b f.blend --python-expr sys.argv -f 1",
            "-b f.blend --python-expr bpy.ops.render.render() -f 1",
            "-b f.blend -P /no/such/script.py -f 1",
            "-b f.blend --brand-new-option -f 1",
            "-b f.blend other.blend -f 1",
            "-b f.blend -f 1 -- more",
            "-b f.blend -o",
        ] {
            assert!(planned(text).is_err(), "{text}");
        }
    }
}
