// SPDX-License-Identifier: GPL-3.0-or-later
//! Names of the files of a sequence: the last `#` of a path are the frame's number.
//!
//! Which frames there are is said by the command, so that ranges with holes are no guess.

use std::path::{Path, PathBuf};

use super::parameters::{ParameterError, Parameters};
use crate::blender::frame_list;

/// The frames in parameter `frames`, such as `1-3,7`; none when it is left out.
pub(super) fn frames(parameters: &Parameters<'_>) -> Result<Option<Vec<i64>>, ParameterError> {
    let text = parameters.optional_string("frames")?;
    if text.is_empty() {
        return Ok(None);
    }
    let dotted = text.replace("..", "-").replace('-', "..");
    match frame_list::parse(&dotted) {
        Some(frames) => Ok(Some(frames)),
        None => Err(parameters.invalid("frames", "it must be frames such as 1-3,7")),
    }
}

/// The path of one frame: the last run of `#` in the file name becomes the padded number.
pub(super) fn path_of(pattern: &str, frame: Option<i64>) -> PathBuf {
    let path = Path::new(pattern);
    let (Some(frame), Some(name)) = (frame, path.file_name().and_then(|name| name.to_str())) else {
        return path.to_owned();
    };
    let Some(end) = name.rfind('#') else {
        return path.to_owned();
    };
    let width = name[..=end]
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'#')
        .count();
    let start = end + 1 - width;
    path.with_file_name(format!(
        "{}{frame:0width$}{}",
        &name[..start],
        &name[end + 1..]
    ))
}

/// Refuses a pattern that would give several frames one name.
pub(super) fn check_pattern(
    parameters: &Parameters<'_>,
    name: &str,
    pattern: &str,
    frames: Option<&[i64]>,
) -> Result<(), ParameterError> {
    let is_numbered = Path::new(pattern)
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains('#'));
    match frames {
        Some([_, _, ..]) if !is_numbered => Err(parameters.invalid(
            name,
            "a file name for several frames needs a # for each digit of their numbers",
        )),
        None if is_numbered => Err(parameters.missing("frames")),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_replace_the_last_signs_of_the_file_name() {
        // Protects merges and previews from reading another frame than they are asked for.
        let rows = [
            ("/a/smpl-0001-######.exr", 7, "/a/smpl-0001-000007.exr"),
            ("/a/##/f_#.exr", 12, "/a/##/f_12.exr"),
            ("/a/f##_##.exr", 3, "/a/f##_03.exr"),
            ("/a/plain.exr", 3, "/a/plain.exr"),
            ("/a/ü######", 1, "/a/ü000001"),
        ];
        for (pattern, frame, expected) in rows {
            assert_eq!(path_of(pattern, Some(frame)), Path::new(expected));
            assert_eq!(path_of(pattern, None), Path::new(pattern));
        }
    }
}
