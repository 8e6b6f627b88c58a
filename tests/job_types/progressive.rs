// SPDX-License-Identifier: GPL-3.0-or-later
//! Progressive renders: merged passes are the render done at once, and only the result is published.

use std::path::Path;

use serde_json::json;

use crate::farm::{Blender, Farm};
use crate::pixels::assert_same;

/// Ends of passes are sums of other floats than those of one render: this much of a value may be
/// between them. What was measured is 2e-7.
const TOLERANCE: f32 = 2e-6;

/// A scene with what merges can get wrong: a checked floor, depth, light passes, mattes.
pub(crate) const SCENE: &str = r#"
import bpy, sys
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.samples = 8
scene.cycles.use_denoising = False
scene.cycles.use_adaptive_sampling = False
scene.render.resolution_x, scene.render.resolution_y = 64, 48
scene.render.resolution_percentage = 100
layer = scene.view_layers[0]
layer.use_pass_z = True
layer.use_pass_normal = True
layer.use_pass_object_index = True
layer.use_pass_diffuse_direct = True
layer.use_pass_diffuse_indirect = True
layer.use_pass_diffuse_color = True
layer.use_pass_cryptomatte_object = True
bpy.data.objects["Cube"].pass_index = 3
material = bpy.data.materials.new("floor")
material.use_nodes = True
tree = material.node_tree
checker = tree.nodes.new("ShaderNodeTexChecker")
checker.inputs["Scale"].default_value = 40
tree.links.new(checker.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
bpy.ops.mesh.primitive_plane_add(size=9, location=(0, 0, -1))
bpy.context.object.data.materials.append(material)
cube = bpy.data.objects["Cube"]
cube.keyframe_insert("rotation_euler", frame=1)
cube.rotation_euler = (0.3, 0.4, 1.5)
cube.keyframe_insert("rotation_euler", frame=9)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"#;

/// Renders a frame at once with nothing but the format changed.
pub(crate) fn render_whole(blender: &Blender, scene: &Path, output: &Path, frames: &str) {
    let python = "import bpy
image = bpy.context.scene.render.image_settings
if hasattr(image, 'media_type'):
    image.media_type = 'MULTI_LAYER_IMAGE'
image.file_format = 'OPEN_EXR_MULTILAYER'
image.color_depth = '32'";
    blender.run(&[
        &scene.display().to_string(),
        "--python-exit-code",
        "1",
        "--python-expr",
        python,
        "-o",
        &output.join("######").display().to_string(),
        "-F",
        "OPEN_EXR_MULTILAYER",
        "-f",
        frames,
    ]);
}

fn merged_is_whole(blender: &Blender) {
    let farm = Farm::start(blender);
    let scene = farm.folder().join("scene.blend");
    // The oldest Blender makes the scene: all others read it.
    Blender::installed().make_scene(&scene, SCENE);
    let output = farm.folder().join("out/shot");
    std::fs::create_dir_all(&output).expect("a folder");
    std::fs::write(output.join("old.txt"), "an older result").expect("a file");
    let job = farm.complete(
        "blender-render-progressive",
        &json!({
            "blendfile": scene, "frames": "1,9", "chunk_size": 2, "cycles_sample_count": 8,
            "cycles_sample_cap": 4, "render_output_path": output.join("######"), "fps": 24,
            "format": "OPEN_EXR_MULTILAYER", "scene": "Scene", "remove_intermediate": true,
        }),
    );
    let whole = farm.folder().join("whole");
    render_whole(blender, &scene, &whole, "1,9");
    for frame in ["000001", "000009"] {
        let name = format!("{frame}.exr");
        assert_same(&output.join(&name), &whole.join(&name), TOLERANCE);
        assert!(output.join(format!("{frame}.jpg")).exists());
    }
    assert!(output.join("scene-1-9.mkv").exists());

    // Three passes, two merges, and of all that only the two results are frames of the job.
    let tasks = farm.tasks(&job);
    let count = |start: &str| {
        let names = tasks.iter().filter_map(|task| task["name"].as_str());
        names.filter(|name| name.starts_with(start)).count()
    };
    assert_eq!((count("render-"), count("merge-")), (3, 2));
    let frames = farm.frames(&job);
    let paths: Vec<&str> = frames
        .iter()
        .filter_map(|frame| frame["path"].as_str())
        .collect();
    let expected = ["000001", "000009"].map(|frame| output.join(format!("{frame}.exr")));
    assert_eq!(
        paths,
        expected
            .each_ref()
            .map(|path| path.to_str().expect("plain"))
    );

    // What was there before is beside it, and what was needed in between is gone.
    let beside = std::fs::read_dir(farm.folder().join("out")).expect("a folder");
    let mut beside: Vec<String> = beside
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    beside.sort();
    assert_eq!(beside.len(), 2, "{beside:?}");
    assert_eq!(beside[0], "shot");
    let old = farm.folder().join("out").join(&beside[1]).join("old.txt");
    assert!(old.exists(), "{beside:?}");
}

#[test]
fn merged_passes_are_the_render_done_at_once() {
    // Protects the promise of progressive rendering: previews on the way cost nothing of the
    // result, in every channel; older results stay, and passes are no frames.
    merged_is_whole(&Blender::installed());
}

#[test]
fn so_they_are_in_newer_blenders() {
    // Protects the same where Blender has options of its own for a range of samples (since 4.4),
    // and other sampling patterns.
    for variable in ["BPY42_PYTHON", "BPY50_PYTHON"] {
        match Blender::module(variable) {
            Some(blender) => merged_is_whole(&blender),
            None => println!("skipped: no newer Blender in {variable}"),
        }
    }
}
