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
    for (name, values) in &found {
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
        println!("{name}: differs by {worst} at most");
    }
}
