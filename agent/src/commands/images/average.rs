// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes one OpenEXR image of several that hold different samples of the same picture.
//!
//! Weights are whole numbers of samples and sums are kept in double precision, so each value is
//! rounded once. All layers, channels and attributes are kept; how each channel is merged is
//! `passes`' to say. Nothing is written here.

use std::path::{Path, PathBuf};

use exr::image::{AnyChannels, FlatImage, FlatSamples, Layer};
use exr::meta::attribute::{AttributeValue, Text};
use exr::prelude::{ReadChannels as _, ReadLayers as _, f16, read};

use super::cryptomatte::Shares;
use super::passes::{self, Rule, Slot};

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weighted {
    pub(super) path: PathBuf,
    /// Samples that it holds; at least one.
    pub(super) samples: u32,
}

/// Why images do not become one.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    /// A file cannot be read as OpenEXR.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: exr::error::Error,
    },
    /// The inputs are not of one picture.
    #[error("{path} does not fit to {first}: {what}")]
    Differs {
        /// The file.
        path: PathBuf,
        /// The one it was compared with.
        first: PathBuf,
        /// Where they differ.
        what: String,
    },
}

type FlatLayer = Layer<AnyChannels<FlatSamples>>;

/// Reads a whole file with everything in it.
pub(super) fn read_image(path: &Path) -> Result<FlatImage, MergeError> {
    read()
        .no_deep_data()
        .largest_resolution_level()
        .all_channels()
        .all_layers()
        .all_attributes()
        .from_file(path)
        .map_err(|source| MergeError::Read {
            path: path.to_owned(),
            source,
        })
}

/// Merges the inputs. The one with the first samples comes first.
pub(super) fn average(inputs: &[Weighted]) -> Result<FlatImage, MergeError> {
    let mut images = Vec::with_capacity(inputs.len());
    for input in inputs {
        let image = read_image(&input.path)?;
        if let Some(first) = images.first() {
            compare(first, &image).map_err(|what| MergeError::Differs {
                path: input.path.clone(),
                first: inputs[0].path.clone(),
                what,
            })?;
        }
        images.push(image);
    }
    let weights: Vec<f64> = inputs.iter().map(|input| input.samples.into()).collect();
    let mut layers = Vec::with_capacity(images[0].layer_data.len());
    for index in 0..images[0].layer_data.len() {
        let sources: Vec<&FlatLayer> = images
            .iter()
            .map(|image| &image.layer_data[index])
            .collect();
        layers.push((merge_layer(&sources, &weights), sample_counts(&sources)));
    }
    let mut merged = images.swap_remove(0);
    for (layer, (channels, counts)) in merged.layer_data.iter_mut().zip(layers) {
        for (channel, samples) in layer.channel_data.list.iter_mut().zip(channels) {
            channel.sample_data = samples;
        }
        layer.attributes.other.extend(counts);
    }
    Ok(merged)
}

/// Says where two images differ in shape.
pub(super) fn compare(first: &FlatImage, other: &FlatImage) -> Result<(), String> {
    if first.layer_data.len() != other.layer_data.len() {
        return Err(format!(
            "it has {} parts and not {}",
            other.layer_data.len(),
            first.layer_data.len()
        ));
    }
    for (one, another) in first.layer_data.iter().zip(&other.layer_data) {
        if one.size != another.size {
            return Err(format!(
                "it has {}x{} pixels and not {}x{}",
                another.size.0, another.size.1, one.size.0, one.size.1
            ));
        }
        compare_channels(one, another)?;
    }
    Ok(())
}

/// Says where the channels of two layers differ.
pub(super) fn compare_channels(one: &FlatLayer, another: &FlatLayer) -> Result<(), String> {
    let describe = |layer: &FlatLayer| -> Vec<String> {
        let list = layer.channel_data.list.iter();
        list.map(|channel| format!("{} ({})", channel.name, kind(&channel.sample_data)))
            .collect()
    };
    let (known, found) = (describe(one), describe(another));
    if known == found {
        return Ok(());
    }
    let of = |these: &[String], those: &[String]| {
        let only: Vec<&str> = these
            .iter()
            .filter(|name| !those.contains(name))
            .map(String::as_str)
            .collect();
        only.join(", ")
    };
    Err(format!(
        "only it has the channels [{}], only the other has [{}]",
        of(&found, &known),
        of(&known, &found)
    ))
}

fn kind(samples: &FlatSamples) -> &'static str {
    match samples {
        FlatSamples::F16(_) => "half",
        FlatSamples::F32(_) => "float",
        FlatSamples::U32(_) => "whole",
    }
}

/// Merged samples of each channel, in the order of the channels.
fn merge_layer(sources: &[&FlatLayer], weights: &[f64]) -> Vec<FlatSamples> {
    let first = &sources[0].channel_data.list;
    let names: Vec<String> = first
        .iter()
        .map(|channel| channel.name.to_string())
        .collect();
    let rules: Vec<Rule> = names
        .iter()
        .map(|name| passes::rule(name, |other| names.iter().any(|known| known == other)))
        .collect();
    let mut merged: Vec<FlatSamples> = Vec::with_capacity(first.len());
    for (index, rule) in rules.iter().enumerate() {
        let inputs: Vec<&FlatSamples> = sources
            .iter()
            .map(|layer| &layer.channel_data.list[index].sample_data)
            .collect();
        merged.push(match rule {
            // Whole numbers are ids of things.
            _ if matches!(inputs[0], FlatSamples::U32(_)) => inputs[0].clone(),
            // Mattes are merged below, all channels of one together.
            Rule::First | Rule::Cryptomatte(_) => inputs[0].clone(),
            Rule::Mean => mean(&inputs, weights),
            Rule::MeanOfProducts(divisor) => {
                let divisor = names.iter().position(|name| name == divisor);
                let divisor = divisor.expect("the rule names a channel that exists");
                let divisors: Vec<&FlatSamples> = sources
                    .iter()
                    .map(|layer| &layer.channel_data.list[divisor].sample_data)
                    .collect();
                mean_of_products(&inputs, &divisors, weights)
            }
        });
    }
    merge_mattes(sources, weights, &rules, &mut merged);
    merged
}

fn mean(inputs: &[&FlatSamples], weights: &[f64]) -> FlatSamples {
    let total: f64 = weights.iter().sum();
    collect(inputs[0], |pixel| {
        let sum: f64 = inputs
            .iter()
            .zip(weights)
            .map(|(input, weight)| value(input, pixel) * weight)
            .sum();
        sum / total
    })
}

/// The mean of light that each input holds divided by a colour of its own.
fn mean_of_products(
    inputs: &[&FlatSamples],
    divisors: &[&FlatSamples],
    weights: &[f64],
) -> FlatSamples {
    let plain = mean(inputs, weights);
    collect(inputs[0], |pixel| {
        let (mut light, mut colour) = (0.0, 0.0);
        for ((input, divisor), weight) in inputs.iter().zip(divisors).zip(weights) {
            let share = value(divisor, pixel) * weight;
            light += value(input, pixel) * share;
            colour += share;
        }
        if colour > 0.0 {
            light / colour
        } else {
            value(&plain, pixel)
        }
    })
}

fn merge_mattes(
    sources: &[&FlatLayer],
    weights: &[f64],
    rules: &[Rule],
    merged: &mut [FlatSamples],
) {
    let slots: Vec<(usize, &Slot)> = rules
        .iter()
        .enumerate()
        .filter_map(|(index, rule)| match rule {
            Rule::Cryptomatte(slot) => Some((index, slot)),
            Rule::Mean | Rule::MeanOfProducts(_) | Rule::First => None,
        })
        .collect();
    let mut mattes: Vec<&str> = slots.iter().map(|(_, slot)| slot.matte.as_str()).collect();
    mattes.sort_unstable();
    mattes.dedup();
    let total: f64 = weights.iter().sum();
    for matte in mattes {
        let channel = |rank: usize, is_share: bool| {
            slots
                .iter()
                .find(|(_, slot)| {
                    slot.matte == matte && slot.rank == rank && slot.is_share == is_share
                })
                .map(|(index, _)| *index)
        };
        let pairs: Vec<(usize, usize)> = (0..)
            .map_while(|rank| Some((channel(rank, false)?, channel(rank, true)?)))
            .collect();
        let mut shares = Shares::default();
        let samples = sources[0].size.area();
        for pixel in 0..samples {
            shares.clear();
            for (source, weight) in sources.iter().zip(weights) {
                let list = &source.channel_data.list;
                for (id, share) in &pairs {
                    let id = list[*id].sample_data.value_by_flat_index(pixel).to_f32();
                    let share = value(&list[*share].sample_data, pixel);
                    shares.add(id, share * weight / total);
                }
            }
            let mut ranked = shares.ranked();
            for (id, share) in &pairs {
                let (found_id, found_share) = ranked.next().unwrap_or((0.0, 0.0));
                set(&mut merged[*id], pixel, found_id.into());
                if let FlatSamples::F32(ids) = &mut merged[*id] {
                    // Not by way of a number: an id may be a pattern that is none.
                    ids[pixel] = found_id;
                }
                set(&mut merged[*share], pixel, found_share);
            }
        }
    }
}

/// The samples that Cycles notes for each view layer, added up.
fn sample_counts(sources: &[&FlatLayer]) -> Vec<(Text, AttributeValue)> {
    let names = sources[0].attributes.other.keys();
    let names = names.filter(|name| {
        let name = name.to_string();
        name.starts_with("cycles.") && name.ends_with(".samples")
    });
    names
        .filter_map(|name| {
            let counts: Option<Vec<u64>> = sources
                .iter()
                .map(|source| match source.attributes.other.get(name) {
                    Some(AttributeValue::Text(text)) => text.to_string().trim().parse().ok(),
                    Some(_) | None => None,
                })
                .collect();
            let sum: u64 = counts?.iter().sum();
            let sum = Text::new_or_none(sum.to_string())?;
            Some((name.clone(), AttributeValue::Text(sum)))
        })
        .collect()
}

fn value(samples: &FlatSamples, pixel: usize) -> f64 {
    match samples {
        FlatSamples::F16(samples) => samples[pixel].to_f64(),
        FlatSamples::F32(samples) => samples[pixel].into(),
        FlatSamples::U32(samples) => samples[pixel].into(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the one rounding to the precision of the file; whole numbers are never averaged"
)]
fn set(samples: &mut FlatSamples, pixel: usize, value: f64) {
    match samples {
        FlatSamples::F16(samples) => samples[pixel] = f16::from_f64(value),
        FlatSamples::F32(samples) => samples[pixel] = value as f32,
        FlatSamples::U32(samples) => samples[pixel] = value as u32,
    }
}

/// Samples of the same kind and number as `like`.
fn collect(like: &FlatSamples, of: impl Fn(usize) -> f64) -> FlatSamples {
    let mut samples = like.clone();
    for pixel in 0..samples.len() {
        set(&mut samples, pixel, of(pixel));
    }
    samples
}
