// SPDX-License-Identifier: GPL-3.0-or-later
//! Turns a rendered file into a thumbnail and a preview: pure image work on one file.
//!
//! Floating point renders (OpenEXR, Radiance) go through one stated view transform: exposure 0,
//! clamped to what a screen can show, from linear light to sRGB. It is that of Blender's view
//! `Standard`; which one a scene was made for is not in its files.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageError, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage};

/// Thumbnails fit into this.
const THUMBNAIL_SIZE: (u32, u32) = (320, 180);

const JPEG_QUALITY: u8 = 85;

/// A frame that would need more memory than this to decode gets no picture.
const DECODE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// An encoded picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// `image/jpeg` or `image/png`.
    pub content_type: &'static str,
    /// The file's bytes.
    pub data: Vec<u8>,
}

impl Picture {
    /// What a file of it ends in.
    pub fn extension(&self) -> &'static str {
        match self.content_type {
            "image/png" => "png",
            _ => "jpg",
        }
    }
}

/// Makes the thumbnail of a file, and a full-size JPEG of it when `with_preview`.
pub fn make(path: &Path, with_preview: bool) -> Result<(Picture, Option<Picture>), ImageError> {
    let picture = as_seen_from(path)?;
    let preview = with_preview.then(|| jpeg(&opaque(&picture))).transpose()?;
    let (width, height) = THUMBNAIL_SIZE;
    let small = if picture.width() > width || picture.height() > height {
        picture.thumbnail(width, height)
    } else {
        picture
    };
    let thumbnail = if is_transparent(&small) {
        let mut data = Vec::new();
        small.write_to(&mut Cursor::new(&mut data), ImageFormat::Png)?;
        Picture {
            content_type: "image/png",
            data,
        }
    } else {
        jpeg(&small.to_rgb8())?
    };
    Ok((thumbnail, preview))
}

/// A file as a person would see it: eight bits in sRGB.
pub(crate) fn as_seen_from(path: &Path) -> Result<DynamicImage, ImageError> {
    decode(path).map(as_seen)
}

fn decode(path: &Path) -> Result<DynamicImage, ImageError> {
    match decode_plain(path) {
        // A multilayer render has no plain colour channels; its layers are looked through.
        Err(error) if is_exr(path) => crate::exr_layers::decode(path).ok_or(error),
        other => other,
    }
}

fn is_exr(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("exr"))
}

fn decode_plain(path: &Path) -> Result<DynamicImage, ImageError> {
    let mut reader = ImageReader::open(path)?.with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    reader.decode()
}

/// Brings an image to eight bits in sRGB.
fn as_seen(picture: DynamicImage) -> DynamicImage {
    match picture {
        DynamicImage::ImageRgb32F(linear) => {
            let (width, height) = linear.dimensions();
            let bytes = linear.into_raw().into_iter().map(srgb_byte).collect();
            RgbImage::from_raw(width, height, bytes)
                .expect("as many bytes as there were values")
                .into()
        }
        DynamicImage::ImageRgba32F(linear) => {
            let (width, height) = linear.dimensions();
            let mut bytes = Vec::with_capacity(linear.as_raw().len());
            for pixel in linear.pixels() {
                let [red, green, blue, alpha] = pixel.0;
                // Renders hold colour multiplied by alpha; pictures for people do not.
                let scale = if alpha > 0.0 { 1.0 / alpha } else { 1.0 };
                bytes.extend([red, green, blue].map(|value| srgb_byte(value * scale)));
                bytes.push(byte(alpha));
            }
            RgbaImage::from_raw(width, height, bytes)
                .expect("as many bytes as there were values")
                .into()
        }
        other if other.color().has_alpha() => other.into_rgba8().into(),
        other => other.into_rgb8().into(),
    }
}

fn srgb_byte(linear: f32) -> u8 {
    // NaN, which a broken sample can be, fails every comparison and ends as black.
    let encoded = if linear > 0.003_130_8 {
        1.055 * linear.min(1.0).powf(1.0 / 2.4) - 0.055
    } else if linear > 0.0 {
        12.92 * linear
    } else {
        0.0
    };
    byte(encoded)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of a byte before"
)]
fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

fn is_transparent(picture: &DynamicImage) -> bool {
    picture
        .as_rgba8()
        .is_some_and(|pixels| pixels.pixels().any(|pixel| pixel.0[3] < 255))
}

/// The picture on black: a JPEG knows no transparency.
pub(crate) fn opaque(picture: &DynamicImage) -> RgbImage {
    let Some(pixels) = picture.as_rgba8() else {
        return picture.to_rgb8();
    };
    let mut result = RgbImage::new(pixels.width(), pixels.height());
    for (target, source) in result.pixels_mut().zip(pixels.pixels()) {
        let [red, green, blue, alpha] = source.0;
        target.0 = [red, green, blue].map(|value| {
            let product = u32::from(value) * u32::from(alpha) / 255;
            u8::try_from(product).expect("a share of a byte is a byte")
        });
    }
    result
}

fn jpeg(picture: &RgbImage) -> Result<Picture, ImageError> {
    let mut data = Vec::new();
    picture.write_with_encoder(JpegEncoder::new_with_quality(&mut data, JPEG_QUALITY))?;
    Ok(Picture {
        content_type: "image/jpeg",
        data,
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgba, Rgba32FImage};

    use super::*;

    #[test]
    fn thumbnails_fit_and_keep_their_shape() {
        // Protects the dashboard's grid: small, right proportions, JPEG unless transparent.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        DynamicImage::new_rgb8(640, 480).save(&path).unwrap();
        let (thumbnail, preview) = make(&path, true).unwrap();
        assert_eq!(thumbnail.extension(), "jpg");
        let small = image::load_from_memory(&thumbnail.data).unwrap();
        assert_eq!((small.width(), small.height()), (240, 180));
        let full = image::load_from_memory(&preview.unwrap().data).unwrap();
        assert_eq!((full.width(), full.height()), (640, 480));
    }

    #[test]
    fn transparency_stays_visible_in_the_thumbnail() {
        // Protects film-transparent renders from black thumbnails.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        RgbaImage::from_pixel(8, 8, Rgba([255, 0, 0, 128]))
            .save(&path)
            .unwrap();
        let (thumbnail, preview) = make(&path, true).unwrap();
        assert_eq!(thumbnail.extension(), "png");
        let small = image::load_from_memory(&thumbnail.data).unwrap().to_rgba8();
        assert_eq!(small.get_pixel(4, 4).0, [255, 0, 0, 128]);
        assert_eq!(preview.unwrap().content_type, "image/jpeg");
    }

    #[test]
    fn linear_light_is_shown_as_srgb() {
        // Protects EXR thumbnails from being too dark: middle grey is 0.214 in linear light.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.exr");
        Rgba32FImage::from_pixel(8, 8, Rgba([0.214, 7.0, f32::NAN, 1.0]))
            .save(&path)
            .unwrap();
        let (thumbnail, _) = make(&path, false).unwrap();
        let small = image::load_from_memory(&thumbnail.data).unwrap().to_rgb8();
        let [red, green, blue] = small.get_pixel(4, 4).0;
        assert!((125..=130).contains(&red), "{red}");
        assert!(green > 245 && blue < 10, "{green} {blue}");
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        // Protects the Worker from files that only look like frames.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, b"not a picture").unwrap();
        assert!(make(&path, true).is_err());
    }
}
