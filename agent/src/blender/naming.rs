// SPDX-License-Identifier: GPL-3.0-or-later
//! How Blender names the files of a render: padding, extension, views.
//!
//! The rules were taken from running Blender 3.4, 4.2 and 5.0, which agree. A name predicted
//! wrongly only means that a frame is rendered again: publishing never overwrites.

use tablao_pictures::endings;

/// The extensions a format's files may have; the first is the one Blender adds.
///
/// `None` for video formats, whose files are not one per frame, and for unknown ones.
pub(crate) fn extensions(format: &str) -> Option<&'static [&'static str]> {
    Some(match format.to_ascii_uppercase().as_str() {
        "PNG" => &["png"],
        "JPEG" => &["jpg", "jpeg"],
        "OPEN_EXR" | "EXR" | "OPEN_EXR_MULTILAYER" | "MULTILAYER" => &["exr"],
        "TIFF" => &["tif", "tiff"],
        "BMP" => &["bmp"],
        "TGA" | "TARGA" | "RAWTGA" | "TARGA_RAW" => &["tga"],
        "WEBP" => &["webp"],
        "HDR" => &["hdr"],
        "IRIS" => &["rgb"],
        "DPX" => &["dpx"],
        "CINEON" => &["cin"],
        "JP2" | "JPEG2000" => &["jp2", "j2c"],
        _ => return None,
    })
}

/// Whether a format makes one film of all frames instead of one file per frame.
pub(crate) fn is_video(format: &str) -> bool {
    matches!(
        format.to_ascii_uppercase().as_str(),
        "FFMPEG"
            | "AVI_RAW"
            | "AVIRAW"
            | "AVI_JPEG"
            | "AVIJPEG"
            | "MPEG"
            | "H264"
            | "XVID"
            | "THEORA"
    )
}

/// The file name without extension of one frame, from the last part of the output path.
///
/// The last run of `#` becomes the padded number; without one, four digits are added at the end.
pub(crate) fn frame_stem(base: &str, frame: i64) -> String {
    let numbered = match base.rfind('#') {
        Some(last) => {
            let width = base[..=last]
                .bytes()
                .rev()
                .take_while(|byte| *byte == b'#')
                .count();
            let start = last + 1 - width;
            format!(
                "{}{}{}",
                &base[..start],
                padded(frame, width),
                &base[last + 1..]
            )
        }
        None => format!("{base}{}", padded(frame, 4)),
    };
    match numbered.rsplit_once('.') {
        // Blender replaces what it takes for the ending of a picture by the right one.
        Some((stem, extension)) if endings::is_picture(extension) => stem.to_owned(),
        Some(_) | None => numbered,
    }
}

fn padded(frame: i64, width: usize) -> String {
    format!("{frame:0width$}")
}

/// What a file name says of the frame it holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Recognised {
    pub(crate) frame: i64,
    /// `L`, `R` or what the scene calls its views; empty for a render with one view.
    pub(crate) view: String,
}

/// Finds out which frame a file named `stem` holds, where `base` is the output's last part and
/// `frames` are those that were asked for, as far as they are known.
pub(crate) fn recognise(base: &str, stem: &str, frames: Option<&[i64]>) -> Option<Recognised> {
    let numbers = numbers_in(stem);
    let frames = frames.unwrap_or(&numbers);
    frames.iter().find_map(|frame| {
        let rest = stem.strip_prefix(&frame_stem(base, *frame))?;
        let view = match rest {
            "" => "",
            // A digit here belongs to another frame: `f_1` begins `f_10`.
            suffix => suffix.strip_prefix('_')?,
        };
        Some(Recognised {
            frame: *frame,
            view: view.to_owned(),
        })
    })
}

/// All numbers in a name, the likeliest (last) first.
fn numbers_in(name: &str) -> Vec<i64> {
    let mut numbers: Vec<i64> = name
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    numbers.reverse();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_blender_names_them() {
        // Protects skipping of what exists and naming of what is missing. Seen in Blender 3.4.
        let table = [
            ("x", 12, "x0012"),
            ("x##", 12, "x12"),
            ("x_##_y.png", 12, "x_12_y"),
            ("x.png", 12, "x.png0012"),
            ("a##b###", 12, "a##b012"),
            ("", 12, "0012"),
            ("#", 12, "12"),
            ("x_##.jpg", 12, "x_12"),
            ("y_##.foo", 12, "y_12.foo"),
            ("z##.JPG", 12, "z12"),
            ("f", 123_456, "f123456"),
            ("f", -5, "f-005"),
            ("ü######", 1, "ü000001"),
        ];
        for (base, frame, stem) in table {
            assert_eq!(frame_stem(base, frame), stem, "{base}");
        }
    }

    #[test]
    fn frames_and_views_are_recognised_in_file_names() {
        // Protects the frame number in a report, also where one number begins another.
        let of = |frame, view: &str| {
            let view = view.to_owned();
            Some(Recognised { frame, view })
        };
        assert_eq!(recognise("f_#", "f_10", Some(&[1, 10])), of(10, ""));
        assert_eq!(recognise("f_", "f_0010_L", Some(&[1, 10])), of(10, "L"));
        assert_eq!(recognise("f_", "g_0010", Some(&[1, 10])), None);
        assert_eq!(recognise("f_", "f_0011", Some(&[1, 10])), None);
        // Only the scene knew the frames.
        assert_eq!(recognise("s2_", "s2_0017", None), of(17, ""));
        assert_eq!(recognise("s2_", "s2_0017_R", None), of(17, "R"));
        assert_eq!(recognise("s2_", "notes", None), None);
    }
}
