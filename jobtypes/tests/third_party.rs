// SPDX-License-Identifier: GPL-3.0-or-later
//! Scripts of our own that use what the well-known job types of others use, so that those compile
//! unchanged. The scripts are in `third_party/`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Folder, job};
use tablao_jobtypes::{CompiledJob, Error, SubmittedJob};

fn compile(script: &str, job: SubmittedJob) -> Result<CompiledJob, Error> {
    let folder = Folder::new();
    let path = format!("{}/tests/third_party/{script}", env!("CARGO_MANIFEST_DIR"));
    folder.write(script, &std::fs::read_to_string(path).unwrap());
    let types = folder.open();
    assert_eq!(types.problems(), []);
    types.compile(job)
}

fn arguments(compiled: &CompiledJob, task: usize) -> Value {
    let commands = compiled.tasks[task].commands();
    commands[0].parameters["args"].clone()
}

/// Protects studios that force a GPU: arguments that nobody gave split into none, lists join, and
/// what was left empty goes from the job.
#[test]
fn free_arguments_and_deleted_settings() {
    let settings = json!({
        "frames": "1-6", "chunk_size": 3, "render_output_path": "/out/######",
        "blendfile": "/a.blend", "use_all_gpus": true, "blender_args_before": "",
        "blender_args_after": "--log-level 2 'two words'", "experimental": false,
    });
    let compiled = compile("gpu_render.js", job("gpu-render", settings)).unwrap();
    assert_eq!(compiled.tasks.len(), 2);
    assert_eq!(compiled.tasks[1].name, "gpu-4-6");
    let given = arguments(&compiled, 1);
    let given = given.as_array().unwrap();
    assert_eq!(given[0], "--python-expr");
    assert!(given[1].as_str().unwrap().contains("\npreferences ="));
    assert_eq!(
        given[2..],
        [
            "--log-level",
            "2",
            "two words",
            "--render-output",
            "/out/######",
            "--render-frame",
            "4..6",
        ]
    );
    let before = &compiled.tasks[0].commands()[0].parameters["argsBefore"];
    assert_eq!(before, &json!([]));
    assert!(!compiled.settings.contains_key("blender_args_before"));
    assert_eq!(compiled.settings["experimental"], false);
}

/// Protects single images over a farm: 510 tiles and a merge that waits for all, long programs as
/// they were written, and a refusal that is the script's own text.
#[test]
fn tiles_of_one_image() {
    let settings = |scale: u32| {
        json!({
            "tile_size_x": 64, "tile_size_y": 64, "frame": 7, "resolution_x": 1920,
            "resolution_y": 1080, "resolution_scale": scale,
            "render_output_path": "/out/image.exr", "blendfile": "/a.blend",
        })
    };
    let compiled = compile("tiled_image.js", job("tiled-image", settings(100))).unwrap();
    assert_eq!(compiled.tasks.len(), 511);
    let (merge, tiles) = compiled.tasks.split_last().unwrap();
    assert_eq!(merge.depends_on, (0..tiles.len()).collect::<Vec<_>>());
    assert_eq!(tiles.last().unwrap().name, "tile_1856_1024");
    let program = arguments(&compiled, 0)[1].as_str().unwrap().to_owned();
    assert!(program.contains("border_min_x = 0\n"), "{program}");
    // The basename of nothing is the folder itself.
    assert!(program.ends_with("filepath = '/out/tile_0_0'"), "{program}");
    assert_eq!(arguments(&compiled, 0)[3], 7);
    assert_eq!(arguments(&compiled, 510)[1], 1);

    let refused = compile("tiled_image.js", job("tiled-image", settings(50))).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("The resolution scale must be 100%"), "{text}");
}

/// Protects types with variables of a studio's own: they reach the Worker as they are, in paths
/// too, and a Shaman checkout is told from storage in place.
#[test]
fn variables_of_a_studios_own() {
    let settings = json!({
        "frames": "3", "blendfile": "/shots/sh_010.blend",
        "start_up": "{storagePath}/tools/passes.py",
    });
    let in_place = job("passes", settings);
    let mut with_shaman = in_place.clone();
    with_shaman.shaman_checkout_id = Some("sh_010/v3".into());
    for (job, root) in [(in_place, "{storagePath}"), (with_shaman, "{jobs}")] {
        let compiled = compile("passes.js", job).unwrap();
        let output = format!("{root}/{{jobSubPath}}/sh_010/{{renderSubPath}}");
        let expected = json!([
            "--render-frame",
            "3",
            "--",
            "--output",
            output,
            "--device",
            "{deviceType}"
        ]);
        assert_eq!(arguments(&compiled, 0), expected);
    }
}
