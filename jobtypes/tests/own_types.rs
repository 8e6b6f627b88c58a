// SPDX-License-Identifier: GPL-3.0-or-later
//! Our own job types compile to the tasks that they promise: names, order, dependencies, commands.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Folder, compile_body_with, job};
use tablao_jobtypes::{Command, CompiledJob, CompiledTask, Error, JobTypes};

fn compiled(types: &JobTypes, job_type: &str, settings: Value) -> Result<CompiledJob, Error> {
    types.compile(job(job_type, settings))
}

fn changed(mut settings: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        settings[key] = value.clone();
    }
    settings
}

fn names(job: &CompiledJob) -> Vec<&str> {
    job.tasks.iter().map(|task| task.name.as_str()).collect()
}

fn task<'a>(job: &'a CompiledJob, name: &str) -> &'a CompiledTask {
    let found = job.tasks.iter().find(|task| task.name == name);
    found.unwrap_or_else(|| panic!("no task {name} in {:?}", names(job)))
}

fn parents<'a>(job: &'a CompiledJob, name: &str) -> Vec<&'a str> {
    let parents = task(job, name).depends_on.iter();
    parents
        .map(|parent| job.tasks[*parent].name.as_str())
        .collect()
}

fn command(job: &CompiledJob, name: &str) -> Command {
    task(job, name).commands().remove(0)
}

fn arguments(command: &Command) -> Vec<String> {
    let listed = command.parameters["args"].as_array().unwrap().iter();
    listed
        .map(|word| {
            word.as_str()
                .map_or_else(|| word.to_string(), str::to_owned)
        })
        .collect()
}

fn after(command: &Command, flag: &str) -> String {
    let words = arguments(command);
    let at = words.iter().position(|word| word == flag);
    words[at.unwrap_or_else(|| panic!("no {flag} in {words:?}")) + 1].clone()
}

/// Runs the arithmetic of samples with rows of arguments.
fn arithmetic(call: &str, rows: &Value) -> Value {
    let body = format!(
        "const samples = require('./tablao/samples');
         job.settings.result = job.settings.rows.map((row) => {call});"
    );
    let compiled = compile_body_with(&body, json!({ "rows": rows }), |_| {}).unwrap();
    compiled.settings["result"].clone()
}

/// Protects everybody who compares with Flamenco 2: the sizes of sample ranges, samples and cap and
/// points of the curve by samples and cap and points.
#[test]
fn sample_ranges_have_the_known_sizes() {
    let known = [
        ([400, 100, 5], vec![10, 39, 84, 89, 89, 89]),
        ([400, 100, 4], vec![10, 62, 82, 82, 82, 82]),
        ([30, 3000, 3], vec![1, 9, 20]),
        ([100, 100, 4], vec![2, 16, 34, 48]),
        ([128, 32, 4], vec![3, 20, 26, 26, 26, 27]),
        ([200, 50, 4], vec![5, 31, 41, 41, 41, 41]),
        ([500, 100, 4], vec![12, 79, 81, 82, 82, 82, 82]),
        (
            [1000, 100, 4],
            vec![25, 97, 98, 97, 98, 97, 98, 97, 98, 97, 98],
        ),
        // What the original splits off at the end of this one is gone.
        ([36, 10, 4], vec![1, 6, 9, 10, 10]),
    ];
    let rows: Vec<[i32; 3]> = known.iter().map(|(row, _)| *row).collect();
    let sizes = arithmetic(
        "samples.sampleRanges(...row).map(([first, last]) => last - first + 1)",
        &json!(rows),
    );
    let expected: Vec<&Vec<i32>> = known.iter().map(|(_, sizes)| sizes).collect();
    assert_eq!(sizes, json!(expected));
}

/// Protects merged pictures from samples that are missing or counted twice: whatever the numbers,
/// the ranges follow each other from the first to the last sample, none is empty, none is larger
/// than the cap, and no single sample is left over at the end.
#[test]
fn sample_ranges_hold_each_sample_once() {
    let body = "const { sampleRanges } = require('./tablao/samples');
        const bad = [];
        let tried = 0;
        for (let total = 1; total <= 2000; total += total < 150 ? 1 : 37) {
            for (const cap of [1, 2, 7, 10, 33, 100, 150, 200]) {
                const ranges = sampleRanges(total, cap);
                tried++;
                let last = 0;
                for (const [from, to] of ranges) {
                    const fits = from === last + 1 && to >= from && to - from < cap
                        && Number.isInteger(to);
                    if (!fits) bad.push([total, cap, from, to]);
                    last = to;
                }
                if (last !== total) bad.push([total, cap, last]);
                const sizes = ranges.map(([from, to]) => to - from + 1).slice(-2);
                if (sizes.length === 2 && cap > 8 && sizes[0] > 8 && sizes[1] === 1) bad.push([total, cap, sizes]);
            }
        }
        job.settings.result = { bad, tried };";
    let compiled = compile_body_with(body, json!({}), |_| {}).unwrap();
    assert_eq!(compiled.settings["result"]["bad"], json!([]));
    assert_eq!(compiled.settings["result"]["tried"], 1600);
}

/// Protects the load of workers: how many frames a task renders, with the better-spread last task.
#[test]
fn frames_per_task_are_the_known_ones() {
    let rows = json!([
        [100, 30, 10],
        [100, 30, 40],
        [100, 7, 20],
        [100, 301, 10],
        [10, 5, 40]
    ]);
    let frames = arithmetic("samples.framesPerTask(...row)", &rows);
    assert_eq!(frames, json!([10, 2, 4, 9, 1]));
    let rounded = arithmetic(
        "samples.roundHalfEven(row)",
        &json!([0.5, 1.5, 2.5, 12.5, 12.51, 12.49, 3]),
    );
    assert_eq!(rounded, json!([0, 2, 2, 12, 13, 12, 3]));
}

fn progressive() -> Value {
    json!({
        "blendfile": "/render/scene.flamenco.blend", "frames": "1-5", "chunk_size": 3,
        "cycles_sample_count": 30, "cycles_sample_cap": 30, "uncapped_sample_chunks": 3,
        "render_output_path": "/out/{timestamp}/######", "fps": 24, "format": "OPEN_EXR",
        "scene": "Scene",
    })
}

const FOLDER: &str = "/out/2006-01-02_150405__intermediate-2006-01-02_150405-00000000";

/// Protects the graph of progressive renders: the tasks of the reference with their names, and a
/// frame range with holes.
#[test]
fn progressive_tasks() {
    let types = support::built_in();
    let full = compiled(&types, "blender-render-progressive", progressive()).unwrap();
    assert_eq!(
        names(&full),
        [
            "destroy-preexisting-intermediate",
            "render-s_1-1-f_1-5",
            "create-preview-images",
            "create-preview-video",
            "render-s_2-10-f_1-5",
            "merge-to-s_10-f_1-5",
            "create-preview-images",
            "create-preview-video",
            "render-s_11-30-f_1-3",
            "render-s_11-30-f_4,5",
            "merge-to-s_30-f_1-5",
            "create-preview-images",
            "create-preview-video",
            "move-outdir-out-of-way",
            "publish-exr-to-output",
            "publish-jpeg-to-output",
            "publish-video-to-output",
        ]
    );
    let priorities: Vec<i32> = full
        .tasks
        .iter()
        .filter(|task| task.name.starts_with("render-"))
        .map(|task| task.priority)
        .collect();
    assert_eq!(priorities, [0, -10, -20, -20]);
    for render in ["render-s_1-1-f_1-5", "render-s_11-30-f_4,5"] {
        assert_eq!(parents(&full, render), ["destroy-preexisting-intermediate"]);
    }
    assert_eq!(
        parents(&full, "merge-to-s_10-f_1-5"),
        ["render-s_1-1-f_1-5", "render-s_2-10-f_1-5"]
    );
    assert_eq!(
        parents(&full, "merge-to-s_30-f_1-5"),
        [
            "merge-to-s_10-f_1-5",
            "render-s_11-30-f_1-3",
            "render-s_11-30-f_4,5"
        ]
    );
    // The second preview waits for the first, so that it is never replaced by it.
    assert_eq!(full.tasks[6].depends_on, [2, 5]);
    assert_eq!(full.tasks[7].depends_on, [3, 6]);
    assert_eq!(full.tasks[13].depends_on, [10]);
    assert_eq!(full.tasks[15].depends_on, [11, 13]);
    let single = changed(progressive(), json!({"frames": "7"}));
    let single = compiled(&types, "blender-render-progressive", single).unwrap();
    assert_eq!(single.tasks.len(), 12);
    let holes = changed(progressive(), json!({"frames": "1,2,9..11"}));
    let holes = compiled(&types, "blender-render-progressive", holes).unwrap();
    let merge = command(&holes, "merge-to-s_10-f_1-11");
    assert_eq!(merge.parameters["frames"], "1,2,9-11");
    assert_eq!(merge.total_step_count, 5);
}

/// Protects the merged pictures: each range is rendered, merged and published under names that
/// agree, with weights that are its samples.
#[test]
fn progressive_commands() {
    let types = support::built_in();
    let full = compiled(&types, "blender-render-progressive", progressive()).unwrap();
    let render = command(&full, "render-s_11-30-f_4,5");
    assert_eq!(
        after(&render, "--render-output"),
        format!("{FOLDER}/render-smpl-0011-0030-######")
    );
    assert_eq!(after(&render, "--render-frame"), "4,5");
    assert_eq!(render.parameters["intermediate"], true);
    assert_eq!(render.total_step_count, 2);
    let python = after(&render, "--python-expr");
    for line in [
        "cycles.sample_offset = 10",
        "cycles.sample_subset_length = 20",
        "    cycles.samples = 30\n",
        "    cycles.samples = 20\n",
        "cycles.use_adaptive_sampling = False",
        "cycles.use_denoising = False",
        "image.color_depth = '32'",
    ] {
        assert!(python.contains(line), "{line} is not in\n{python}");
    }
    let merge = command(&full, "merge-to-s_30-f_1-5");
    assert_eq!(
        Value::Object(merge.parameters),
        json!({
            "inputs": [
                {"path": format!("{FOLDER}/merge-smpl-0010-######.exr"), "samples": 10},
                {"path": format!("{FOLDER}/render-smpl-0011-0030-######.exr"), "samples": 20},
            ],
            "output": format!("{FOLDER}/merge-smpl-0030-######.exr"),
            "frames": "1-5",
        })
    );
    let publish = command(&full, "publish-exr-to-output");
    assert_eq!(
        Value::Object(publish.parameters),
        json!({
            "src": format!("{FOLDER}/merge-smpl-0030-######.exr"),
            "dest": "/out/2006-01-02_150405/######.exr",
            "frames": "1-5", "asFrames": true, "samples": 30,
        })
    );
    let video = command(&full, "publish-video-to-output");
    assert_eq!(
        video.parameters["dest"],
        "/out/2006-01-02_150405/scene-1-5.mkv"
    );
}

/// Protects submitters from jobs that cannot work: each refusal says what to change.
#[test]
fn progressive_refusals() {
    let types = support::built_in();
    for (changes, words) in [
        (json!({"cycles_num_chunks": 30}), "cycles_num_chunks"),
        (json!({"cycles_sample_count": 1}), "at least 2"),
        (json!({"format": "PNG"}), "not in PNG"),
        (json!({"render_output_path": "/out/#####"}), "exactly six #"),
        (
            json!({"render_output_path": "/out/#######"}),
            "exactly six #",
        ),
        (json!({"frames": ""}), "'frames'"),
        (json!({"cycles_sample_cap": 0}), "cycles_sample_cap"),
        (json!({"blendfile": null}), "blendfile"),
    ] {
        let settings = changed(progressive(), changes);
        let error = compiled(&types, "blender-render-progressive", settings).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    // The original divides by zero here.
    let few = changed(progressive(), json!({"cycles_sample_count": 20}));
    assert!(compiled(&types, "blender-render-progressive", few).is_ok());
}

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
