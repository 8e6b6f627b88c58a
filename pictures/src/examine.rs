// SPDX-License-Identifier: GPL-3.0-or-later
//! Looks at one file of a frame: is it there, is it whole, how bright and how large is it.
//!
//! The whole file is read and decoded, which costs about as much as it did to write it. What
//! this means beside the frame's neighbours is not told here (`judge.rs`).

use std::fs::File;
use std::io;
use std::path::Path;

use image::ImageError;

use crate::{exr_layers, thumbnail, whole};

/// How a whole picture looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Looks {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Mean luminance as it is seen, 0 to 1; what is transparent counts as black.
    pub luminance: f32,
    /// The brightest channel of the brightest pixel, 0 to 1.
    pub brightest: f32,
}

/// What the content of a file is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// It has none.
    Empty,
    /// It breaks off, or cannot be decoded to its end; why, in words.
    Broken(String),
    /// It is a whole picture.
    Whole(Looks),
    /// It is a picture of a kind that is not decoded here; its beginning and end are right.
    Unread,
}

/// A file that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// In bytes.
    pub size: u64,
    /// BLAKE3 of the content.
    pub hash: [u8; 32],
    /// What that is.
    pub content: Content,
}

/// Endings of the kinds that are decoded.
const DECODED: [&str; 8] = ["png", "jpg", "jpeg", "exr", "tif", "tiff", "webp", "hdr"];

/// Looks at a file; nothing where there is none.
pub fn examine(path: &Path) -> io::Result<Option<Examined>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&file)?;
    Ok(Some(Examined {
        size: file.metadata()?.len(),
        hash: *hasher.finalize().as_bytes(),
        content: content(path)?,
    }))
}

fn content(path: &Path) -> io::Result<Content> {
    if path.metadata()?.len() == 0 {
        return Ok(Content::Empty);
    }
    match whole::check(path) {
        Ok(()) => {}
        Err(whole::Broken::Io(error)) => return Err(error),
        Err(whole::Broken::Content(why)) => return Ok(Content::Broken(why.to_owned())),
    }
    // A decoder that is handed a damaged file may fail an assertion of its own.
    let decoded = std::panic::catch_unwind(|| thumbnail::as_seen_from(path));
    let picture = match decoded {
        Ok(Ok(picture)) => picture,
        Ok(Err(error)) if is_beyond_us(path, &error) => return Ok(Content::Unread),
        Ok(Err(error)) => return Ok(Content::Broken(format!("it cannot be decoded: {error}"))),
        Err(_) => return Ok(Content::Broken("it cannot be decoded".to_owned())),
    };
    let seen = thumbnail::opaque(&picture);
    let (mut sum, mut brightest) = (0.0_f64, 0);
    for pixel in seen.pixels() {
        let [red, green, blue] = pixel.0;
        // Weights of Rec. 709, of values as they are seen: this tells dark from bright, no more.
        sum += 0.2126 * f64::from(red) + 0.7152 * f64::from(green) + 0.0722 * f64::from(blue);
        brightest = brightest.max(red).max(green).max(blue);
    }
    let count = f64::from(seen.width()) * f64::from(seen.height());
    #[expect(clippy::cast_possible_truncation, reason = "a mean between 0 and 1")]
    let luminance = (sum / count.max(1.0) / 255.0) as f32;
    Ok(Content::Whole(Looks {
        width: seen.width(),
        height: seen.height(),
        luminance,
        brightest: f32::from(brightest) / 255.0,
    }))
}

/// The error says what our decoders cannot do, and nothing against the file.
fn is_beyond_us(path: &Path, error: &ImageError) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let is = |known: &str| ending.is_some_and(|ending| known.eq_ignore_ascii_case(ending));
    !DECODED.iter().any(|known| is(known))
        || matches!(error, ImageError::Unsupported(_) | ImageError::Limits(_))
        // A render of data passes alone is whole without having a picture.
        || is("exr") && !exr_layers::is_damaged(path)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn looks(path: &Path) -> Looks {
        match examine(path).unwrap().expect("it is there").content {
            Content::Whole(looks) => looks,
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    #[test]
    fn every_kind_of_picture_tells_its_size_and_brightness() {
        // Protects the search for black frames: grey is grey in every format, also in linear light.
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.jpg", "a.webp", "a.tif"] {
            let path = dir.path().join(name);
            RgbImage::from_pixel(20, 10, Rgb([128, 128, 128]))
                .save(&path)
                .unwrap();
            let looks = looks(&path);
            assert_eq!((looks.width, looks.height), (20, 10), "{name}");
            assert!((looks.luminance - 0.5).abs() < 0.02, "{name}: {looks:?}");
        }
        for name in ["a.exr", "a.hdr"] {
            let path = dir.path().join(name);
            let linear = image::Rgb32FImage::from_pixel(20, 10, Rgb([0.214, 0.214, 0.214]));
            DynamicImage::from(linear).save(&path).unwrap();
            let looks = looks(&path);
            assert!((looks.luminance - 0.5).abs() < 0.02, "{name}: {looks:?}");
        }
        let clear = dir.path().join("clear.png");
        RgbaImage::from_pixel(4, 4, Rgba([255, 255, 255, 0]))
            .save(&clear)
            .unwrap();
        assert_eq!(looks(&clear).brightest, 0.0);
    }

    #[test]
    fn what_is_no_whole_picture_is_told_apart() {
        // Protects five kinds of corruption from being one: each leads a person elsewhere.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        assert_eq!(examine(&path).unwrap(), None);
        std::fs::write(&path, b"").unwrap();
        assert_eq!(examine(&path).unwrap().unwrap().content, Content::Empty);
        let mut picture = RgbImage::new(64, 64);
        let mut noise = 1_u32;
        for pixel in picture.pixels_mut() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            pixel.0 = noise.to_le_bytes()[1..].try_into().unwrap();
        }
        picture.save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let half = examine(&path).unwrap().unwrap();
        assert!(matches!(half.content, Content::Broken(_)), "{half:?}");
        // Its end is right and its middle is not.
        let mut patched = whole.clone();
        patched[whole.len() / 2..][..64].fill(0);
        std::fs::write(&path, &patched).unwrap();
        let patched = examine(&path).unwrap().unwrap();
        assert!(matches!(patched.content, Content::Broken(_)), "{patched:?}");
        let odd = dir.path().join("a.dpx");
        std::fs::write(&odd, b"SDPX and what follows").unwrap();
        assert_eq!(examine(&odd).unwrap().unwrap().content, Content::Unread);
    }
}
