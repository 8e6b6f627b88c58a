// SPDX-License-Identifier: GPL-3.0-or-later
//! The frames that the log of a Flamenco worker tells of: files that Blender says it saved.
//!
//! Such a worker tells of frames in no other way. Text in, frames out; whether there is such a
//! file is `foreign_frames`' part.

use tablao_pictures::blender_lines::{BlenderLine, recognise};

/// A file that Blender says it saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Its path, as the worker's machine names it.
    pub(crate) path: String,
    /// Its name, without folder and ending.
    pub(crate) name: String,
    /// The frame's number: the last digits in its name.
    pub(crate) number: i32,
    /// Time to render it, in milliseconds; 0 where the log does not say.
    pub(crate) render_ms: u32,
}

/// The frames in some text of a log, in their order.
///
/// Blender writes all files of a frame, then says how long it took. Beside the frame itself there
/// may be a preview of it, which comes second and bears the same number.
pub(crate) fn saved_in(text: &str) -> Vec<Saved> {
    let mut all: Vec<Saved> = Vec::new();
    let mut untimed = 0;
    for line in text.lines() {
        match recognise(output_of(line)) {
            Some(BlenderLine::Saved(path)) => {
                let Some((name, number)) = name_and_number(&path) else {
                    continue;
                };
                if all[untimed..].iter().any(|saved| saved.number == number) {
                    continue;
                }
                all.push(Saved {
                    name: name.to_owned(),
                    path,
                    number,
                    render_ms: 0,
                });
            }
            Some(BlenderLine::FrameDone { render_ms }) => {
                for saved in &mut all[untimed..] {
                    saved.render_ms = u32::try_from(render_ms).unwrap_or(u32::MAX);
                }
                untimed = all.len();
            }
            _ => {}
        }
    }
    all
}

/// What the program said, behind the `pid=123 > ` that the worker puts before it.
fn output_of(line: &str) -> &str {
    let said = line.split_once("pid=").and_then(|(_, rest)| {
        let (pid, said) = rest.split_once(" > ")?;
        let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
        is_pid.then_some(said)
    });
    said.unwrap_or(line)
}

/// The name of a file without its ending, and the last number in it.
fn name_and_number(path: &str) -> Option<(&str, i32)> {
    let file = path.rsplit(['/', '\\']).next()?;
    let name = file.rsplit_once('.').map_or(file, |(name, _)| name);
    let is_digit = |c: char| c.is_ascii_digit();
    let end = name.rfind(is_digit)? + 1;
    let start = name[..end].trim_end_matches(is_digit).len();
    let before = &name[..start];
    let number: i32 = name[start..end].parse().ok()?;
    // Blender writes negative frames as -0012; after a name such as shot-0012 it is a dash.
    let negative = before == "-" || before.ends_with("_-") || before.ends_with(".-");
    Some((name, if negative { -number } else { number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(path: &str, name: &str, number: i32, render_ms: u32) -> Saved {
        Saved {
            path: path.to_owned(),
            name: name.to_owned(),
            number,
            render_ms,
        }
    }

    /// Protects frames of Flamenco's workers: lines as Blender 3.4 and 5.0 print them, with what
    /// the worker puts before them, and nothing else that looks a little like it.
    #[test]
    fn finds_what_blender_saved() {
        let log = "\
pid=4711 > Fra:12 Mem:20.1M (Peak 21.0M) | Time:00:01.02 | Sample 3/24\n\
pid=4711 > Saved: '/render/sh_010/000012.exr'\n\
pid=4711 > Saved: '/render/sh_010/000012.jpg'\n\
pid=4711 >  Time: 00:03.25 (Saving: 00:00.10)\n\
pid=4711 > 00:04.822  render           | Saved: 'R:\\out\\it's_v2_0013.png'\n\
pid=4711 > 00:05.100  render           | Time: 00:01.50 (Saving: 00:00.01)\n\
pid=4711 > I said: Saved: '/x/0014.png'\n\
pid=4711 > Saved: '/x/no_number.png'\n\
Saved: '/render/-0002.png'\n";
        let expected = [
            saved("/render/sh_010/000012.exr", "000012", 12, 3250),
            saved("R:\\out\\it's_v2_0013.png", "it's_v2_0013", 13, 1500),
            saved("/render/-0002.png", "-0002", -2, 0),
        ];
        assert_eq!(saved_in(log), expected);
    }

    /// Text comes from outside: numbers too large and lines cut anywhere are no frames, and no
    /// panic.
    #[test]
    fn odd_text_is_no_frame() {
        let log = "Saved: '/render/99999999999.png'\nSaved: ''\nSaved: '\npid= > Saved: '/é7.png'";
        assert_eq!(saved_in(log), [saved("/é7.png", "é7", 7, 0)][..0]);
        let whole = "pid=1 > Saved: '/é7é.png'\n";
        for end in (0..=whole.len()).filter(|&end| whole.is_char_boundary(end)) {
            saved_in(&whole[..end]);
        }
        assert_eq!(saved_in(whole), [saved("/é7é.png", "é7é", 7, 0)]);
    }
}
