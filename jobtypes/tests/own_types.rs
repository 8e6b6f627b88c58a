// SPDX-License-Identifier: GPL-3.0-or-later
//! Our own job types compile to the tasks that they promise: names, order, dependencies, commands.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Folder, after, arguments, changed, command, compiled, names, parents, task};

/// Protects large stills: tiles cover the picture exactly, and each part is merged and joined where
/// it belongs.
#[test]
fn single_image() {
    let types = support::built_in();
    let settings = json!({
        "frame": 12, "tiles_across": 3, "tiles_down": 2, "sample_splits": 2,
        "cycles_sample_count": 5, "resolution_x": 100, "resolution_y": 33,
        "blendfile": "/a/b.blend", "render_output_path": "/out/still/######",
        "remove_intermediate": true,
    });
    let full = compiled(&types, "single-image-render", settings.clone()).unwrap();
    assert_eq!(full.tasks.len(), 1 + 6 * 3 + 1 + 1 + 1);
    assert_eq!(
        parents(&full, "merge-tile-33-16"),
        ["tile-33-16-s_1-2", "tile-33-16-s_3-5"]
    );
    let merge = command(&full, "merge-tile-33-16");
    let weights: Vec<&Value> = merge.parameters["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| &input["samples"])
        .collect();
    assert_eq!(weights, [2, 3]);
    let render = command(&full, "tile-33-16-s_3-5");
    let python = after(&render, "--python-expr");
    for line in [
        "render.border_min_x = min(1.0, (33 + 0.01) / 100)",
        "render.border_max_x = min(1.0, (66 + 0.01) / 100)",
        "render.border_min_y = min(1.0, (0 + 0.01) / 33)",
        "render.border_max_y = min(1.0, (17 + 0.01) / 33)",
        "cycles.sample_offset = 2",
    ] {
        assert!(python.contains(line), "{line} is not in\n{python}");
    }
    let join = command(&full, "join-tiles");
    let tiles = join.parameters["tiles"].as_array().unwrap();
    assert_eq!(tiles.len(), 6);
    assert_eq!((&tiles[4]["x"], &tiles[4]["y"]), (&json!(33), &json!(16)));
    assert_eq!(
        (&join.parameters["width"], &join.parameters["height"]),
        (&json!(100), &json!(33))
    );
    let unsplit = changed(settings.clone(), json!({"sample_splits": 1}));
    let unsplit = compiled(&types, "single-image-render", unsplit).unwrap();
    assert_eq!(unsplit.tasks.len(), 1 + 6 + 1 + 1 + 1);
    let whole = changed(
        settings,
        json!({"tiles_across": 1, "tiles_down": 1, "sample_splits": 1}),
    );
    let error = compiled(&types, "single-image-render", whole).unwrap_err();
    assert!(error.to_string().contains("whole render"), "{error}");
}

/// Protects exports of edits: the tasks of the reference, and a last task that moves what there is.
#[test]
fn video_encode() {
    let types = support::built_in();
    let settings = json!({
        "frames": "100-250", "chunk_size": 100, "blendfile": "/a/edit.flamenco.blend", "fps": 25,
        "render_output_path": "/out/edit/######", "extract_audio": true,
        "output_file_extension": ".mkv",
    });
    let full = compiled(&types, "video-encode", settings.clone()).unwrap();
    assert_eq!(
        names(&full),
        [
            "move-out-of-way",
            "frame-chunk-100-199",
            "video-chunk-100-199",
            "frame-chunk-200-250",
            "video-chunk-200-250",
            "concatenate-videos",
            "render-audio",
            "encode-audio",
            "mux-audio-video",
            "move-with-counter",
        ]
    );
    assert_eq!(
        parents(&full, "concatenate-videos"),
        ["video-chunk-100-199", "video-chunk-200-250"]
    );
    let join = command(&full, "concatenate-videos");
    assert_eq!(
        join.parameters["inputFiles"],
        json!([
            {"path": "/out/edit/frames/chunk-00100-00199.mkv", "seconds": 4},
            {"path": "/out/edit/frames/chunk-00200-00250.mkv", "seconds": 2.04},
        ])
    );
    let moved = command(&full, "move-with-counter");
    assert_eq!(moved.parameters["src"], "/out/edit/frames/muxed.mkv");
    assert_eq!(moved.parameters["dest"], "/out/edit/2006_01_02-edit.mkv");
    let silent = changed(settings.clone(), json!({"extract_audio": false}));
    let silent = compiled(&types, "video-encode", silent).unwrap();
    assert_eq!(silent.tasks.len(), 7);
    assert_eq!(
        parents(&silent, "move-with-counter"),
        ["concatenate-videos"]
    );
    let moved = command(&silent, "move-with-counter");
    assert_eq!(moved.parameters["src"], "/out/edit/frames/video.mkv");
    let gaps = changed(settings, json!({"frames": "1-10,20"}));
    let error = compiled(&types, "video-encode", gaps).unwrap_err();
    assert!(error.to_string().contains("gaps"), "{error}");
}

/// Protects simulations: kinds are baked one after the other in a copy, and only then rendered.
#[test]
fn simulation_bake() {
    let types = support::built_in();
    let settings = json!({
        "frames": "1-4", "chunk_size": 2, "bake_start": 1, "bake_end": 40, "bake_fluid": false,
        "blendfile": "/a/shot.blend", "fps": 24, "format": "PNG", "image_file_extension": ".png",
        "render_output_path": "/out/######", "bake_folder": "",
    });
    let full = compiled(&types, "simulation-bake", settings.clone()).unwrap();
    assert_eq!(
        names(&full),
        [
            "prepare-bake",
            "bake-rigid-body",
            "bake-cloth",
            "bake-particles",
            "bake-geometry-nodes",
            "render-1,2",
            "render-3,4",
            "preview-video",
        ]
    );
    assert_eq!(parents(&full, "bake-geometry-nodes"), ["bake-particles"]);
    assert_eq!(parents(&full, "render-3,4"), ["bake-geometry-nodes"]);
    let baked = "/a/shot__bake-2006-01-02_150405-00000000/shot-baked.blend";
    assert_eq!(full.settings["baked_file"], baked);
    assert_eq!(
        command(&full, "prepare-bake").parameters["blendfile"],
        "/a/shot.blend"
    );
    assert_eq!(
        after(&command(&full, "prepare-bake"), "--tablao-bake"),
        baked
    );
    for later in ["bake-cloth", "render-1,2"] {
        assert_eq!(command(&full, later).parameters["blendfile"], baked);
    }
    let elsewhere = changed(settings, json!({"bake_folder": "/caches", "render": false}));
    let elsewhere = compiled(&types, "simulation-bake", elsewhere).unwrap();
    assert_eq!(elsewhere.tasks.len(), 5);
    let file = elsewhere.settings["baked_file"].as_str().unwrap();
    assert!(file.starts_with("/caches/shot__bake-"), "{file}");
}

/// Protects against commands that fall apart: words are split once, before anything is put into
/// them, and what the farm knows is left to it.
#[test]
fn any_command() {
    let types = support::built_in();
    let settings = json!({
        "program": "{renderer}", "frames": "1-5", "chunk_size": 2, "file": "/a b/it's.ma; rm -rf x",
        "arguments": "-s {first} -e {last} -o '/out dir/f_{frames}' {file} --style={style} '{first:4}'",
    });
    let full = compiled(&types, "command", settings.clone()).unwrap();
    assert_eq!(
        names(&full),
        ["{renderer}-1,2", "{renderer}-3,4", "{renderer}-5"]
    );
    let command = command(&full, "{renderer}-3,4");
    assert_eq!(command.parameters["exe"], "{renderer}");
    assert_eq!(
        arguments(&command),
        [
            "-s",
            "3",
            "-e",
            "4",
            "-o",
            "/out dir/f_3,4",
            "/a b/it's.ma; rm -rf x",
            "--style={style}",
            "0003"
        ]
    );
    let one = json!({"arguments": "{frame}"});
    let error = compiled(&types, "command", changed(settings.clone(), one)).unwrap_err();
    assert!(error.to_string().contains("more than one frame"), "{error}");
    let once = json!({"frames": "", "arguments": "--version"});
    let once = compiled(&types, "command", changed(settings, once)).unwrap();
    assert_eq!(once.tasks.len(), 1);
}

/// Protects the plain types: renders with overrides, a video of OpenEXR frames, sleeping, echoing.
#[test]
fn plain_types() {
    let types = support::built_in();
    let settings = json!({
        "frames": "1-4", "chunk_size": 2, "samples": 16, "cycles_device": "OPTIX",
        "resolution_percentage": 50, "blendfile": "/a/b.blend", "fps": 24, "format": "OPEN_EXR",
        "render_output_path": "/out/{timestamp}/######", "rna_overrides": "scene.use_nodes = False\n\n",
        "blender_args_after": "--log-level 2 'two words'",
    });
    let full = compiled(&types, "blender-render", settings.clone()).unwrap();
    assert_eq!(names(&full), ["render-1,2", "render-3,4", "preview-video"]);
    let render = command(&full, "render-3,4");
    let python = after(&render, "--python-expr");
    for line in [
        "scene.cycles.samples = 16",
        "scene.render.resolution_percentage = 50",
        "\nscene.use_nodes = False",
    ] {
        assert!(python.contains(line), "{line} is not in\n{python}");
    }
    assert_eq!(
        arguments(&render)[4..],
        [
            "--log-level",
            "2",
            "two words",
            "--render-output",
            "/out/2006-01-02_150405/######",
            "--render-format",
            "OPEN_EXR",
            "--render-frame",
            "3,4",
            "--",
            "--cycles-device",
            "OPTIX"
        ]
    );
    assert_eq!(task(&full, "render-3,4").frames.as_deref(), Some("3,4"));
    let video = task(&full, "preview-video").commands();
    let steps: Vec<&str> = video.iter().map(|command| command.name.as_str()).collect();
    assert_eq!(steps, ["exr-to-jpeg", "frames-to-video", "remove-tree"]);
    let png = changed(
        settings,
        json!({"format": "PNG", "image_file_extension": ".png"}),
    );
    let png = compiled(&types, "blender-render", png).unwrap();
    assert_eq!(task(&png, "preview-video").task_type, "ffmpeg");

    let sleep = json!({"frames": "1-5", "chunk_size": 2, "time_in_seconds": 3});
    let sleep = compiled(&types, "sleep", sleep).unwrap();
    assert_eq!(names(&sleep), ["sleep-1,2", "sleep-3,4", "sleep-5"]);
    let commands = sleep.tasks[0].commands();
    assert_eq!(commands[1].parameters["duration_in_seconds"], 3);
    let echo = compiled(&types, "echo", json!({"message": "hi", "tasks": 2})).unwrap();
    assert_eq!(names(&echo), ["echo-1", "echo-2"]);
}

/// Protects forms: each setting of each type says its type and what it is for, and what a person
/// may leave alone has a default.
#[test]
fn forms_are_complete() {
    let types = support::built_in();
    for listed in types.list() {
        if listed.name == "echo-sleep-test" || listed.name == "simple-blender-render" {
            continue;
        }
        assert!(listed.description.is_some(), "{}", listed.name);
        for setting in &listed.settings {
            let place = format!("{} {}", listed.name, setting.key);
            assert!(setting.description.is_some(), "{place} has no description");
            let wire = serde_json::to_value(setting).unwrap();
            let is_filled = wire.get("default").is_some()
                || wire.get("eval").is_some()
                || wire["required"] == true
                || setting.key == "frames";
            assert!(is_filled, "{place} has neither default nor value");
        }
    }
}

/// Protects the list of job types from helpers, and studios' scripts that use or replace them.
#[test]
fn helpers_are_no_job_types_and_can_be_replaced() {
    let folder = Folder::new();
    folder.write(
        "mine.js",
        "const JOB_TYPE = { label: 'Mine', settings: [] };
         const samples = require('./tablao/samples');
         function compileJob(job) { job.settings.result = samples.framesPerTask(10, 5, 2); }",
    );
    let types = folder.open();
    assert_eq!(types.problems(), []);
    let named: Vec<String> = types.list().into_iter().map(|listed| listed.name).collect();
    assert!(named.contains(&"mine".to_owned()));
    assert!(
        !named.iter().any(|name| name.contains("samples")),
        "{named:?}"
    );
    let found = compiled(&types, "mine", json!({})).unwrap();
    assert_eq!(found.settings["result"], 5);
    folder.write(
        "tablao/samples.js",
        "exports.framesPerTask = () => 'replaced';",
    );
    let found = compiled(&folder.open(), "mine", json!({})).unwrap();
    assert_eq!(found.settings["result"], "replaced");
}
