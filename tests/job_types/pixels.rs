// SPDX-License-Identifier: GPL-3.0-or-later
//! Compares OpenEXR images channel by channel.

use std::collections::BTreeMap;
use std::path::Path;

use exr::prelude::{ReadChannels as _, ReadLayers as _, read};

/// Every channel of a file by its name.
pub(crate) fn channels(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let image = read()
        .no_deep_data()
        .largest_resolution_level()
        .all_channels()
        .all_layers()
        .all_attributes()
        .from_file(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = BTreeMap::new();
    for layer in &image.layer_data {
        for channel in &layer.channel_data.list {
            let values = channel.sample_data.values_as_f32().collect();
            found.insert(channel.name.to_string(), values);
        }
    }
    found
}

/// Fails unless two files have the same channels with the same values, up to `tolerance` of a
/// value, or of 1 where a value is smaller.
pub(crate) fn assert_same(one: &Path, other: &Path, tolerance: f32) {
    let (found, expected) = (channels(one), channels(other));
    let names = |channels: &BTreeMap<String, Vec<f32>>| -> Vec<String> {
        channels.keys().cloned().collect()
    };
    assert_eq!(names(&found), names(&expected));
    assert_same_mattes(&found, &expected, tolerance);
    let mut all: f32 = 0.0;
    for (name, values) in &found {
        if name.contains("Crypto") {
            continue;
        }
        let wanted = &expected[name];
        assert_eq!(values.len(), wanted.len(), "{name}");
        let worst = values
            .iter()
            .zip(wanted)
            .map(|(value, wanted)| {
                if value.to_bits() == wanted.to_bits() {
                    0.0
                } else {
                    (value - wanted).abs() / wanted.abs().max(1.0)
                }
            })
            .fold(0.0, f32::max);
        assert!(
            worst <= tolerance,
            "{name} differs by {worst}, allowed is {tolerance}: {} and {}",
            one.display(),
            other.display()
        );
        all = all.max(worst);
    }
    println!("{}: differs by {all} at most", one.display());
}

/// The id and share channels of each pair of a matte, by the name of the first.
fn pairs(channels: &BTreeMap<String, Vec<f32>>) -> Vec<(&Vec<f32>, &Vec<f32>)> {
    let halves = [(".r", ".g"), (".b", ".a")];
    let levels = channels.keys().filter(|name| name.contains("Crypto"));
    let levels = levels.filter_map(|name| name.strip_suffix(".r"));
    levels
        .flat_map(|level| {
            halves.map(|(id, share)| (format!("{level}{id}"), format!("{level}{share}")))
        })
        .map(|(id, share)| (&channels[&id], &channels[&share]))
        .collect()
}

/// Fails unless every pixel has the same ids with the same shares: ids with equal shares have no
/// order.
fn assert_same_mattes(
    found: &BTreeMap<String, Vec<f32>>,
    expected: &BTreeMap<String, Vec<f32>>,
    tolerance: f32,
) {
    let (found, expected) = (pairs(found), pairs(expected));
    let pixels = found.first().map_or(0, |(ids, _)| ids.len());
    let shares = |pairs: &[(&Vec<f32>, &Vec<f32>)], pixel: usize| -> BTreeMap<u32, f32> {
        let of_pixel = pairs
            .iter()
            .map(|(ids, shares)| (ids[pixel].to_bits(), shares[pixel]));
        of_pixel.filter(|(_, share)| *share > 0.0).collect()
    };
    for pixel in 0..pixels {
        let (found, expected) = (shares(&found, pixel), shares(&expected, pixel));
        let is_same = found.len() == expected.len()
            && found.iter().all(|(id, share)| {
                let wanted = expected.get(id);
                wanted.is_some_and(|wanted| (share - wanted).abs() <= tolerance)
            });
        assert!(is_same, "pixel {pixel}: {found:?} and not {expected:?}");
    }
}
