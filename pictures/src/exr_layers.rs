// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds the picture in a multilayer OpenEXR file, as Blender writes it: the combined pass.
//!
//! Channels are named `<view layer>.<pass>.<R|G|B|A>`, in one part or in one part per pass.
//! Files with plain colour channels are read elsewhere.

use std::path::Path;

use exr::prelude::{AnyChannel, FlatSamples, ReadChannels as _, ReadLayers as _, read};
use image::{DynamicImage, Rgba32FImage};

/// A file that would need more memory than this to decode gets no picture.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Decodes the combined pass, or the first that has colours.
pub(crate) fn decode(path: &Path) -> Option<DynamicImage> {
    if path.metadata().ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let file = read()
        .no_deep_data()
        .largest_resolution_level()
        .all_channels()
        .all_layers()
        .all_attributes()
        .from_file(path)
        .ok()?;
    let mut best: Option<(bool, DynamicImage)> = None;
    for layer in &file.layer_data {
        let part = layer.attributes.layer_name.as_ref();
        let part = part.map(ToString::to_string).unwrap_or_default();
        let channels = &layer.channel_data.list;
        for red in channels {
            let name = red.name.to_string();
            let Some(pass) = pass_of(&name, "R") else {
                continue;
            };
            let is_combined = format!("{part}.{pass}").contains("Combined");
            if best
                .as_ref()
                .is_some_and(|(combined, _)| *combined || !is_combined)
            {
                continue;
            }
            let size = (layer.size.width(), layer.size.height());
            if let Some(picture) = compose(channels, red, pass, size) {
                best = Some((is_combined, picture));
            }
        }
    }
    best.map(|(_, picture)| picture)
}

/// The file's layers cannot be read to their end, and not for want of something on our side.
pub(crate) fn is_damaged(path: &Path) -> bool {
    let everything = read()
        .no_deep_data()
        .largest_resolution_level()
        .all_channels()
        .all_layers()
        .all_attributes()
        .from_file(path);
    match everything {
        Ok(_) | Err(exr::error::Error::NotSupported(_) | exr::error::Error::Aborted) => false,
        Err(exr::error::Error::Invalid(_) | exr::error::Error::Io(_)) => true,
    }
}

/// The name before the last part, if that part is `component`; empty for a bare component.
fn pass_of<'a>(name: &'a str, component: &str) -> Option<&'a str> {
    let rest = name.strip_suffix(component)?;
    match rest.strip_suffix('.') {
        Some(pass) => Some(pass),
        None => rest.is_empty().then_some(rest),
    }
}

fn compose(
    channels: &[AnyChannel<FlatSamples>],
    red: &AnyChannel<FlatSamples>,
    pass: &str,
    (width, height): (usize, usize),
) -> Option<DynamicImage> {
    let component = |component: &str| {
        channels
            .iter()
            .find(|channel| pass_of(&channel.name.to_string(), component) == Some(pass))
    };
    let (green, blue, alpha) = (component("G")?, component("B")?, component("A"));
    let count = width * height;
    let mut samples = Vec::with_capacity(count * 4);
    for index in 0..count {
        samples.push(sample(red, index)?);
        samples.push(sample(green, index)?);
        samples.push(sample(blue, index)?);
        samples.push(match alpha {
            Some(alpha) => sample(alpha, index)?,
            None => 1.0,
        });
    }
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    Rgba32FImage::from_raw(width, height, samples).map(DynamicImage::from)
}

fn sample(channel: &AnyChannel<FlatSamples>, index: usize) -> Option<f32> {
    match &channel.sample_data {
        FlatSamples::F16(samples) => samples.get(index).map(|value| value.to_f32()),
        FlatSamples::F32(samples) => samples.get(index).copied(),
        // Whole numbers are ids of objects, not colours.
        FlatSamples::U32(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_told_by_their_channel_names() {
        // Protects thumbnails of multilayer renders from showing a normal or depth pass.
        assert_eq!(
            pass_of("ViewLayer.Combined.R", "R"),
            Some("ViewLayer.Combined")
        );
        assert_eq!(pass_of("R", "R"), Some(""));
        assert_eq!(pass_of("ViewLayer.ColoR", "R"), None);
        assert_eq!(pass_of("ViewLayer.Combined.G", "R"), None);
    }
}
