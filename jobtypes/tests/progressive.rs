// SPDX-License-Identifier: GPL-3.0-or-later
//! Progressive renders: the arithmetic of samples and frames, and the graph of tasks.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{after, changed, command, compile_body_with, compiled, names, parents};

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
