// SPDX-License-Identifier: GPL-3.0-or-later
//! Puts rendered tiles together into the whole picture, bit for bit.
//!
//! Nothing is blended: every pixel of the result comes from exactly one tile. A pixel that no tile
//! has, or two have, is an error.

use std::path::{Path, PathBuf};

use exr::image::{FlatImage, FlatSamples};
use exr::math::Vec2;
use exr::meta::attribute::IntegerBounds;

use super::average::{MergeError, compare_channels, read_image};

/// A tile and where its upper left pixel belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) path: PathBuf,
    pub(super) x: usize,
    pub(super) y: usize,
}

/// Joins tiles to a picture of this size.
pub(super) fn join(tiles: &[Tile], width: usize, height: usize) -> Result<FlatImage, MergeError> {
    let first = &tiles[0].path;
    let mut whole: Option<FlatImage> = None;
    let mut covered = vec![false; width * height];
    for tile in tiles {
        let differs = |what: String| MergeError::Differs {
            path: tile.path.clone(),
            first: first.clone(),
            what,
        };
        let image = read_image(&tile.path)?;
        let target = whole.get_or_insert_with(|| enlarged(&image, width, height));
        if image.layer_data.len() != target.layer_data.len() {
            return Err(differs("it has another number of parts".to_owned()));
        }
        let size = image.layer_data[0].size;
        cover(&mut covered, width, height, tile, size).map_err(differs)?;
        for (into, from) in target.layer_data.iter_mut().zip(&image.layer_data) {
            if from.size != size {
                return Err(differs("its parts differ in size".to_owned()));
            }
            compare_channels(into, from).map_err(differs)?;
            let list = into.channel_data.list.iter_mut();
            for (into, from) in list.zip(&from.channel_data.list) {
                copy(&mut into.sample_data, &from.sample_data, width, tile, size);
            }
        }
    }
    match (whole, covered.iter().position(|covered| !covered)) {
        (Some(whole), None) => Ok(whole),
        (_, missing) => {
            let pixel = missing.unwrap_or(0);
            Err(MergeError::Differs {
                path: first.clone(),
                first: first.clone(),
                what: format!(
                    "no tile has the pixel {},{} of {width}x{height}",
                    pixel % width,
                    pixel / width
                ),
            })
        }
    }
}

/// An image like this one of the size of the whole, with nothing in it yet.
fn enlarged(tile: &FlatImage, width: usize, height: usize) -> FlatImage {
    let mut whole = tile.clone();
    let size = Vec2(width, height);
    whole.attributes.display_window = IntegerBounds::from_dimensions(size);
    for layer in &mut whole.layer_data {
        layer.size = size;
        layer.attributes.layer_position = Vec2(0, 0);
        for channel in &mut layer.channel_data.list {
            channel.sample_data = match &channel.sample_data {
                FlatSamples::F16(_) => FlatSamples::F16(vec![Default::default(); size.area()]),
                FlatSamples::F32(_) => FlatSamples::F32(vec![0.0; size.area()]),
                FlatSamples::U32(_) => FlatSamples::U32(vec![0; size.area()]),
            };
        }
    }
    whole
}

/// Notes which pixels a tile brings.
fn cover(
    covered: &mut [bool],
    width: usize,
    height: usize,
    tile: &Tile,
    size: Vec2<usize>,
) -> Result<(), String> {
    if tile.x + size.0 > width || tile.y + size.1 > height {
        return Err(format!(
            "a tile of {}x{} at {},{} does not lie within {width}x{height}",
            size.0, size.1, tile.x, tile.y
        ));
    }
    for y in tile.y..tile.y + size.1 {
        for pixel in &mut covered[y * width + tile.x..y * width + tile.x + size.0] {
            if std::mem::replace(pixel, true) {
                return Err(format!(
                    "a tile of {}x{} at {},{} overlaps another",
                    size.0, size.1, tile.x, tile.y
                ));
            }
        }
    }
    Ok(())
}

fn copy(into: &mut FlatSamples, from: &FlatSamples, width: usize, tile: &Tile, size: Vec2<usize>) {
    for row in 0..size.1 {
        let source = row * size.0..(row + 1) * size.0;
        let start = (tile.y + row) * width + tile.x;
        let target = start..start + size.0;
        match (&mut *into, from) {
            (FlatSamples::F16(into), FlatSamples::F16(from)) => {
                into[target].copy_from_slice(&from[source]);
            }
            (FlatSamples::F32(into), FlatSamples::F32(from)) => {
                into[target].copy_from_slice(&from[source]);
            }
            (FlatSamples::U32(into), FlatSamples::U32(from)) => {
                into[target].copy_from_slice(&from[source]);
            }
            // The kinds were compared before.
            _ => return,
        }
    }
}

/// Writes an image; everything that was read is written again.
pub(super) fn write_image(image: &FlatImage, path: &Path) -> Result<(), exr::error::Error> {
    use exr::prelude::WritableImage as _;
    image.write().to_file(path)
}
