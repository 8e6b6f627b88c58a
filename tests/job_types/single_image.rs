// SPDX-License-Identifier: GPL-3.0-or-later
//! Stills in tiles: joined, they are the whole render, bit for bit.

use serde_json::{Value, json};

use crate::farm::{Blender, Farm};
use crate::pixels::assert_same;
use crate::progressive::{SCENE, render_whole};

#[test]
fn tiles_are_the_whole_picture() {
    // Protects stills from seams: tiles have the pixels that the whole render has, and with samples
    // divided too no more than the last bits of a float lie between them.
    let blender = Blender::installed();
    let farm = Farm::start(&blender);
    let scene = farm.folder().join("scene.blend");
    blender.make_scene(&scene, SCENE);
    let render = |name: &str, tiles: [u32; 2], splits: u32| {
        let output = farm.folder().join(name);
        let job = farm.complete(
            "single-image-render",
            &json!({
                "blendfile": scene, "frame": 9, "tiles_across": tiles[0], "tiles_down": tiles[1],
                "sample_splits": splits, "cycles_sample_count": 8, "resolution_x": 64,
                "resolution_y": 48, "render_output_path": output.join("######"),
                "format": "OPEN_EXR_MULTILAYER", "scene": "Scene",
            }),
        );
        (job, output.join("000009.exr"))
    };
    // Columns of 21, 21 and 22 pixels.
    let (job, tiled) = render("tiled", [3, 1], 1);
    let (_, split) = render("split", [1, 2], 2);
    let whole = farm.folder().join("whole");
    render_whole(&blender, &scene, &whole, "9");
    let whole = whole.join("000009.exr");
    assert_same(&tiled, &whole, 0.0);
    assert_same(&split, &whole, 2e-6);
    assert!(tiled.with_extension("jpg").exists());
    let frames = farm.frames(&job);
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!(frames[0]["number"], 9);
    assert_eq!(frames[0]["path"], Value::from(tiled.display().to_string()));
}
