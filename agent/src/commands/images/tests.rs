// SPDX-License-Identifier: GPL-3.0-or-later
//! Merging and joining of images made here, value by value.

use std::path::PathBuf;

use exr::image::{AnyChannel, AnyChannels, Encoding, FlatImage, FlatSamples, Image, Layer};
use exr::math::Vec2;
use exr::meta::attribute::{AttributeValue, IntegerBounds, Text};
use exr::meta::header::{ImageAttributes, LayerAttributes};
use exr::prelude::f16;

use super::average::{MergeError, Weighted, average, read_image};
use super::tiles::{Tile, join, write_image};

type Channels = Vec<(&'static str, FlatSamples)>;

fn image(width: usize, height: usize, channels: Channels, samples: &str) -> FlatImage {
    let size = Vec2(width, height);
    let list = channels
        .into_iter()
        .map(|(name, data)| AnyChannel::new(name, data))
        .collect();
    let mut attributes = LayerAttributes::default();
    attributes.other.insert(
        "cycles.ViewLayer.samples".into(),
        AttributeValue::Text(samples.into()),
    );
    attributes
        .other
        .insert("Camera".into(), AttributeValue::Text("Kamera".into()));
    let layer = Layer::new(
        size,
        attributes,
        Encoding::SMALL_LOSSLESS,
        AnyChannels::sort(list),
    );
    let attributes = ImageAttributes::new(IntegerBounds::from_dimensions(size));
    Image::from_layers(attributes, vec![layer])
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, image: &FlatImage) -> PathBuf {
        let path = self.0.path().join(name);
        write_image(image, &path).unwrap();
        path
    }

    fn merged(&self, inputs: &[(FlatImage, u32)]) -> Result<FlatImage, MergeError> {
        let inputs: Vec<Weighted> = inputs
            .iter()
            .enumerate()
            .map(|(index, (image, samples))| Weighted {
                path: self.write(&format!("{index}.exr"), image),
                samples: *samples,
            })
            .collect();
        average(&inputs)
    }
}

fn values(image: &FlatImage, name: &str) -> Vec<f32> {
    let list = image.layer_data[0].channel_data.list.iter();
    let channel = list
        .clone()
        .find(|channel| channel.name == *name)
        .unwrap_or_else(|| panic!("no channel {name}"));
    channel.sample_data.values_as_f32().collect()
}

#[test]
fn every_channel_is_merged_by_its_rule() {
    // Protects merged renders: exact means by samples, no invented depths, whole mattes, light
    // that is averaged before it is divided, all channels and attributes still there.
    let picture = |red: f32, depth: f32, light: f32, colour: f32, matte: [f32; 4]| -> Channels {
        let one = |value: f32| FlatSamples::F32(vec![value]);
        vec![
            ("V.Combined.R", one(red)),
            ("V.Combined.G", FlatSamples::F16(vec![f16::from_f32(red)])),
            ("V.Depth.Z", one(depth)),
            ("V.DiffDir.R", one(light)),
            ("V.DiffCol.R", one(colour)),
            ("V.CryptoObject00.r", one(matte[0])),
            ("V.CryptoObject00.g", one(matte[1])),
            ("V.CryptoObject00.b", one(matte[2])),
            ("V.CryptoObject00.a", one(matte[3])),
            ("id", FlatSamples::U32(vec![7])),
        ]
    };
    let first = picture(1.0, 5.0, 2.0, 0.5, [8.5, 0.75, 9.5, 0.25]);
    let second = picture(4.0, 0.0, 6.0, 1.0, [9.5, 1.0, 0.0, 0.0]);
    let folder = Folder::new();
    let merged = folder
        .merged(&[(image(1, 1, first, "1"), 1), (image(1, 1, second, "2"), 2)])
        .unwrap();
    // What was merged is what is written and read again.
    let path = folder.write("merged.exr", &merged);
    let merged = read_image(&path).unwrap();
    assert_eq!(values(&merged, "V.Combined.R"), [3.0]);
    assert_eq!(values(&merged, "V.Combined.G"), [3.0]);
    assert_eq!(values(&merged, "V.Depth.Z"), [5.0]);
    // (1*2*0.5 + 2*6*1) / (1*0.5 + 2*1) = 13 / 2.5
    assert_eq!(values(&merged, "V.DiffDir.R"), [5.2]);
    assert_eq!(values(&merged, "V.CryptoObject00.r"), [9.5]);
    assert_eq!(values(&merged, "V.CryptoObject00.g"), [0.75]);
    assert_eq!(values(&merged, "V.CryptoObject00.b"), [8.5]);
    assert_eq!(values(&merged, "V.CryptoObject00.a"), [0.25]);
    assert_eq!(values(&merged, "id"), [7.0]);
    let attributes = &merged.layer_data[0].attributes.other;
    let text = |name: &str| match attributes.get(&Text::from(name)) {
        Some(AttributeValue::Text(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("cycles.ViewLayer.samples"), "3");
    assert_eq!(text("Camera"), "Kamera");
}

#[test]
fn merging_in_steps_is_merging_at_once() {
    // Protects the preview after every pass: the last of many merges is as good as one merge.
    let folder = Folder::new();
    let counts = [10u32, 62, 82, 82, 82, 82];
    let pictures: Vec<FlatImage> = counts
        .iter()
        .enumerate()
        .map(|(index, _)| {
            let data = (0..64u16).map(|pixel| {
                let seed = f32::from(pixel) * 0.37 + f32::from(u8::try_from(index).unwrap());
                seed.sin().abs() * 40.0
            });
            image(8, 8, vec![("R", FlatSamples::F32(data.collect()))], "1")
        })
        .collect();
    let all: Vec<(FlatImage, u32)> = pictures.iter().cloned().zip(counts).collect();
    let at_once = folder.merged(&all).unwrap();
    let mut so_far = (pictures[0].clone(), counts[0]);
    for (picture, count) in pictures.iter().zip(counts).skip(1) {
        let total = so_far.1 + count;
        let merged = folder.merged(&[so_far, (picture.clone(), count)]).unwrap();
        so_far = (merged, total);
    }
    assert_eq!(so_far.1, 400);
    for (one, other) in values(&at_once, "R").iter().zip(values(&so_far.0, "R")) {
        assert!(
            (one - other).abs() <= 1e-6 * one.abs().max(1.0),
            "{one} {other}"
        );
    }
}

#[test]
fn pictures_that_do_not_fit_are_told_apart() {
    // Protects against merging renders of different resolutions or passes into nonsense.
    let folder = Folder::new();
    let plain = |width| {
        let data = FlatSamples::F32(vec![0.5; width]);
        image(width, 1, vec![("R", data)], "1")
    };
    let error = folder.merged(&[(plain(2), 1), (plain(3), 1)]).unwrap_err();
    assert!(
        error.to_string().contains("3x1 pixels and not 2x1"),
        "{error}"
    );
    let more = image(
        2,
        1,
        vec![
            ("R", FlatSamples::F16(vec![f16::ONE; 2])),
            ("Z", FlatSamples::F32(vec![0.5; 2])),
        ],
        "1",
    );
    let error = folder.merged(&[(plain(2), 1), (more, 1)]).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("R (half), Z (float)"), "{words}");
    assert!(words.contains("[R (float)]"), "{words}");
}

#[test]
fn tiles_cover_the_picture_exactly_once() {
    // Protects large stills from holes and seams: each pixel is the one that its tile has.
    let folder = Folder::new();
    let tile = |name: &str, x: usize, y: usize, width: usize, height: usize| {
        let mut data = Vec::new();
        for row in y..y + height {
            for column in x..x + width {
                data.push(f32::from(u16::try_from(row * 100 + column).unwrap()));
            }
        }
        let data = FlatSamples::F32(data);
        let path = folder.write(name, &image(width, height, vec![("R", data)], "1"));
        Tile { path, x, y }
    };
    let tiles = [
        tile("a.exr", 0, 0, 3, 2),
        tile("b.exr", 3, 0, 2, 2),
        tile("c.exr", 0, 2, 5, 1),
    ];
    let whole = join(&tiles, 5, 3).unwrap();
    let path = folder.write("whole.exr", &whole);
    let whole = read_image(&path).unwrap();
    let expected: Vec<f32> = (0..3u16)
        .flat_map(|row| (0..5u16).map(move |column| f32::from(row * 100 + column)))
        .collect();
    assert_eq!(values(&whole, "R"), expected);
    assert_eq!(whole.layer_data[0].size, Vec2(5, 3));
    for (tiles, words) in [
        (
            vec![tiles[0].clone(), tiles[1].clone()],
            "no tile has the pixel 0,2",
        ),
        (vec![tiles[0].clone(), tiles[0].clone()], "overlaps"),
        (
            vec![tiles[2].clone(), tile("d.exr", 4, 2, 2, 1)],
            "does not lie within",
        ),
    ] {
        let error = join(&tiles, 5, 3).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
