// SPDX-License-Identifier: GPL-3.0-or-later
//! Endings of the names of pictures, as Blender gives them and as it understands them.
//!
//! One list for everybody: who names a frame, who recognises one, and who looks for one in a log.

use std::path::Path;

/// Endings that Blender takes for those of a picture, in lower case.
pub const PICTURES: [&str; 18] = [
    "png", "tga", "bmp", "jpg", "jpeg", "sgi", "rgb", "rgba", "tif", "tiff", "jp2", "j2c", "hdr",
    "dds", "dpx", "cin", "exr", "webp",
];

/// An ending, in upper or lower case, is one of a picture.
pub fn is_picture(ending: &str) -> bool {
    (PICTURES.iter()).any(|known| known.eq_ignore_ascii_case(ending))
}

/// The name of a file says that it is a picture. Caches and films are saved by renders, too.
pub fn names_picture(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(is_picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_from_what_else_is_saved() {
        // Protects the list of frames from caches and films.
        for name in ["f_0001.png", "f.EXR", "a.b/f_0001.Jpeg"] {
            assert!(names_picture(Path::new(name)), "{name}");
        }
        for name in ["f.mp4", "cloth.abc", "png", "f_0001", ".png"] {
            assert!(!names_picture(Path::new(name)), "{name}");
        }
    }
}
