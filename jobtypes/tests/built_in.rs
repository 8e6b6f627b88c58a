// SPDX-License-Identifier: GPL-3.0-or-later
//! The built-in job types compile to what existing Workers and people expect of them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use tablao_jobtypes::{CompiledJob, Error};

fn settings() -> Value {
    json!({
        "blendfile": "/render/sf/jobs/scene123.blend",
        "chunk_size": 3,
        "format": "PNG",
        "fps": 24.0,
        "frames": "1-10",
        "image_file_extension": ".png",
        "render_output_path":
            "/render/sprites/farm_output/promo/square_ellie/square_ellie.lighting_light_breakdown2/######",
    })
}

fn changed(changes: Value) -> Value {
    let mut settings = settings();
    for (key, value) in changes.as_object().unwrap() {
        settings[key] = value.clone();
    }
    settings
}

fn render(settings: Value) -> CompiledJob {
    support::built_in()
        .compile(support::job("simple-blender-render", settings))
        .unwrap()
}

fn names(job: &CompiledJob) -> Vec<&str> {
    job.tasks.iter().map(|task| task.name.as_str()).collect()
}

fn argument(job: &CompiledJob, task: usize, flag: &str) -> Value {
    let commands = job.tasks[task].commands();
    let arguments = commands[0].parameters["args"].as_array().unwrap();
    let at = arguments
        .iter()
        .position(|argument| argument == flag)
        .unwrap();
    arguments[at + 1].clone()
}

/// Exactly the built-in types are there, sorted, usable, and one has the etag clients may hold.
#[test]
fn catalogue() {
    let types = support::built_in();
    let listed = types.list();
    let names: Vec<&str> = listed.iter().map(|listed| listed.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "blender-render",
            "blender-render-progressive",
            "command",
            "echo",
            "echo-sleep-test",
            "simple-blender-render",
            "simulation-bake",
            "single-image-render",
            "sleep",
            "video-encode",
        ]
    );
    let simple = &listed[5];
    assert_eq!(listed[4].etag, "eba586e16d6b55baaa43e32f9e78ae514b457fee");
    assert_eq!(types.problems(), []);
    let keys: Vec<&str> = simple.settings.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "frames",
            "chunk_size",
            "render_output_root",
            "add_path_components",
            "render_output_path",
            "blendfile",
            "fps",
            "format",
            "image_file_extension",
            "has_previews",
            "scene"
        ]
    );
    let wire = serde_json::to_value(&listed).unwrap().to_string();
    assert!(!wire.contains("null"), "{wire}");
    assert!(matches!(
        types.get("nope"),
        Err(Error::UnknownJobType { .. })
    ));
}

/// The job itself is unchanged, and its tasks are four chunks and a video that waits for them.
#[test]
fn standard_submission() {
    let job = render(settings());
    assert_eq!(job.name, "日本語 job ünïcode");
    assert_eq!(job.priority, 50);
    assert_eq!(
        job.worker_tag.as_deref(),
        Some("e0e05417-9773-46f5-b1d0-850945f9d417")
    );
    assert_eq!(job.metadata["project"], "Špröite");
    assert_eq!(
        Value::Object(job.settings.clone()),
        changed(json!({"fps": 24}))
    );
    assert_eq!(job.script_hash.len(), 64);
    assert_eq!(
        names(&job),
        [
            "render-1-3",
            "render-4-6",
            "render-7-9",
            "render-10",
            "preview-video"
        ]
    );
    let mut ids: Vec<_> = job.tasks.iter().map(|task| task.uuid).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    for task in &job.tasks[..4] {
        assert_eq!((task.task_type.as_str(), task.priority), ("blender", 50));
        assert!(task.depends_on.is_empty());
    }
    assert_eq!(job.tasks[4].task_type, "ffmpeg");
    assert_eq!(job.tasks[4].depends_on, [0, 1, 2, 3]);
    let frames: Vec<_> = job
        .tasks
        .iter()
        .map(|task| task.frames.as_deref())
        .collect();
    assert_eq!(
        frames,
        [Some("1-3"), Some("4-6"), Some("7-9"), Some("10"), None]
    );
}

/// The render command is the one Workers run, argument by argument.
#[test]
fn render_command() {
    let job = render(settings());
    let command = &job.tasks[0].commands()[0];
    assert_eq!(
        (command.name.as_str(), command.total_step_count),
        ("blender-render", 3)
    );
    let expression = argument(&job, 0, "--python-expr");
    let statements: Vec<&str> = expression.as_str().unwrap().split("; ").collect();
    assert_eq!(statements[0], "import bpy");
    for setting in [
        "use_file_extension = True",
        "use_overwrite = False",
        "use_placeholder = False",
    ] {
        assert!(
            statements
                .iter()
                .any(|statement| statement.ends_with(setting)),
            "{setting}"
        );
    }
    assert_eq!(
        Value::Object(command.parameters.clone()),
        json!({
            "exe": "{blender}",
            "exeArgs": "{blenderArgs}",
            "argsBefore": [],
            "blendfile": "/render/sf/jobs/scene123.blend",
            "args": [
                "--python-expr", expression,
                "--render-output",
                "/render/sprites/farm_output/promo/square_ellie/square_ellie.lighting_light_breakdown2/######",
                "--render-format", "PNG",
                "--render-frame", "1..3",
            ],
        })
    );
}

/// The video command is complete, and numbers in it are numbers.
#[test]
fn video_command() {
    let job = render(settings());
    let command = &job.tasks[4].commands()[0];
    let folder =
        "/render/sprites/farm_output/promo/square_ellie/square_ellie.lighting_light_breakdown2";
    assert_eq!(
        (command.name.as_str(), command.total_step_count),
        ("frames-to-video", 0)
    );
    assert_eq!(
        Value::Object(command.parameters.clone()),
        json!({
            "exe": "ffmpeg",
            "fps": 24,
            "inputGlob": format!("{folder}/*.png"),
            "outputFile": format!("{folder}/scene123-1-10.mp4"),
            "args": ["-c:v", "h264", "-crf", "20", "-g", "18", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2",
                "-pix_fmt", "yuv420p", "-r", 24, "-y"],
        })
    );
    assert!(command.parameters["fps"].is_i64());
    let uneven = render(changed(json!({"fps": 23.976})));
    assert_eq!(
        uneven.tasks[4].commands()[0].parameters["fps"],
        json!(23.976)
    );
}

/// A scene is named before anything else on the command line, because Blender reads it in order.
#[test]
fn scene_comes_first() {
    let job = render(changed(json!({"scene": "Test Scene"})));
    let arguments = &job.tasks[0].commands()[0].parameters["args"];
    assert_eq!(
        (&arguments[0], &arguments[1]),
        (&json!("--scene"), &json!("Test Scene"))
    );
    let none = render(changed(json!({"scene": ""})));
    assert_eq!(
        none.tasks[0].commands()[0].parameters["args"][0],
        "--python-expr"
    );
}

/// Paths of a Windows submitter work on every platform, and what people typed stays as typed.
#[test]
fn windows_paths() {
    let blend = r"R:\sf\jobs\scene123.blend";
    let output = r"R:\sprites\farm_output\ellie\######";
    let job = render(changed(
        json!({"blendfile": blend, "render_output_path": output}),
    ));
    assert_eq!(job.settings["blendfile"], blend);
    assert_eq!(job.settings["render_output_path"], output);
    let render_command = &job.tasks[0].commands()[0].parameters;
    assert_eq!(render_command["blendfile"], blend);
    assert_eq!(
        argument(&job, 0, "--render-output"),
        "R:/sprites/farm_output/ellie/######"
    );
    let video = &job.tasks[4].commands()[0].parameters;
    assert_eq!(video["inputGlob"], "R:/sprites/farm_output/ellie/*.png");
    assert_eq!(
        video["outputFile"],
        "R:/sprites/farm_output/ellie/scene123-1-10.mp4"
    );
}

/// The time of submission is put into the path once, and every command and the setting agree.
#[test]
fn timestamp_in_the_output_path() {
    let job = render(changed(
        json!({"render_output_path": "/srv/{timestamp}/{keep}/######"}),
    ));
    assert_eq!(
        job.settings["render_output_path"],
        "/srv/2006-01-02_150405/{keep}/######"
    );
    assert_eq!(
        argument(&job, 0, "--render-output"),
        "/srv/2006-01-02_150405/{keep}/######"
    );
    let video = &job.tasks[4].commands()[0].parameters;
    assert_eq!(video["inputGlob"], "/srv/2006-01-02_150405/{keep}/*.png");
}

/// Chunks span gaps; Blender gets its own notation; the video's name stays short.
#[test]
fn frame_ranges_with_gaps() {
    let job = render(changed(
        json!({"frames": "0-12,34-56,78-90", "chunk_size": 20}),
    ));
    assert_eq!(
        names(&job),
        [
            "render-0-12,34-40",
            "render-41-56,78-81",
            "render-82-90",
            "preview-video"
        ]
    );
    assert_eq!(argument(&job, 0, "--render-frame"), "0..12,34..40");
    assert_eq!(argument(&job, 1, "--render-frame"), "41..56,78..81");
    let steps: Vec<u32> = job
        .tasks
        .iter()
        .map(|task| task.commands()[0].total_step_count)
        .collect();
    assert_eq!(steps, [20, 20, 9, 0]);
    let frames: Vec<_> = job
        .tasks
        .iter()
        .map(|task| task.frames.as_deref())
        .collect();
    assert_eq!(
        frames,
        [Some("0-12,34-40"), Some("41-56,78-81"), Some("82-90"), None]
    );
    let commands = job.tasks[3].commands();
    let output = commands[0].parameters["outputFile"].as_str().unwrap();
    assert!(output.ends_with("/scene123-0-90.mp4"), "{output}");
}

/// A video is only promised where there are images FFmpeg can use.
#[test]
fn when_there_is_a_video() {
    let has_video = |changes: Value| names(&render(changed(changes))).contains(&"preview-video");
    assert!(!has_video(json!({"fps": 0})));
    assert!(!has_video(json!({"fps": null})));
    for format in ["EXR", "MULTILAYER", "OPEN_EXR", "OPEN_EXR_MULTILAYER"] {
        assert!(!has_video(json!({"format": format})), "{format}");
        assert!(
            has_video(json!({"format": format, "has_previews": true})),
            "{format}"
        );
    }
    let exr = json!({"format": "OPEN_EXR", "has_previews": true, "image_file_extension": ".exr"});
    let job = render(changed(exr));
    let commands = job.tasks[4].commands();
    let glob = commands[0].parameters["inputGlob"].as_str().unwrap();
    assert!(glob.ends_with("/*.jpg"), "{glob}");
    let packed = render(changed(json!({"blendfile": "/a/shot.flamenco.blend"})));
    let commands = packed.tasks[4].commands();
    let video = commands[0].parameters["outputFile"].as_str().unwrap();
    assert!(video.ends_with("/shot-1-10.mp4"), "{video}");
}

/// What cannot be rendered is refused with a text that says what to change.
#[test]
fn refusals() {
    let refused = |settings: Value| {
        let submitted = support::job("simple-blender-render", settings);
        support::built_in()
            .compile(submitted)
            .unwrap_err()
            .to_string()
    };
    for format in ["FFMPEG", "AVI_RAW", "AVI_JPEG"] {
        assert!(refused(changed(json!({"format": format}))).contains(format));
    }
    assert!(refused(changed(json!({"render_output_path": ""}))).contains("render_output_path"));
    let missing = refused(changed(json!({"frames": null})));
    assert!(missing.starts_with("Error: empty range"), "{missing}");
    assert!(missing.contains("not sent: frames"), "{missing}");
    let absurd = refused(changed(json!({"frames": "1-100000000"})));
    assert!(
        absurd.contains("100000000 frames, the limit is 10000000"),
        "{absurd}"
    );
    let wrong = refused(changed(json!({"chunk_size": "three", "fps": "24"})));
    assert!(
        wrong.contains("\"chunk_size\" must be of type int32, got string"),
        "{wrong}"
    );
    assert!(wrong.contains("\"fps\" must be of type float"), "{wrong}");
}

/// An absent or empty tag is no tag.
#[test]
fn worker_tag() {
    for tag in [None, Some(String::new())] {
        let mut submitted = support::job("simple-blender-render", settings());
        submitted.worker_tag = tag;
        assert_eq!(
            support::built_in().compile(submitted).unwrap().worker_tag,
            None
        );
    }
}

/// Submissions with an outdated view of the job type are refused, those without one accepted.
#[test]
fn etags() {
    let types = support::built_in();
    let etag = types.get("echo-sleep-test").unwrap().etag;
    let submit = |type_etag: Option<&str>| {
        let mut submitted = support::job("echo-sleep-test", json!({"message": "hey"}));
        submitted.type_etag = type_etag.map(str::to_owned);
        types.compile(submitted)
    };
    for good in [None, Some(""), Some(etag.as_str())] {
        assert!(submit(good).is_ok(), "{good:?}");
    }
    assert!(matches!(
        submit(Some("bad")),
        Err(Error::EtagMismatch { .. })
    ));
}

/// Echo and sleep: every sleep waits for the echo, and nothing is filled in for the number of them.
#[test]
fn echo_sleep_test() {
    let types = support::built_in();
    let submit = |settings| types.compile(support::job("echo-sleep-test", settings));
    let full = json!({"message": "hey", "sleep_duration_seconds": 3, "sleep_repeats": 2});
    let job = submit(full).unwrap();
    assert_eq!(names(&job), ["echo", "sleep", "sleep"]);
    assert_eq!(job.tasks[0].commands()[0].parameters["message"], "hey");
    assert_eq!(job.tasks[0].commands()[0].total_step_count, 0);
    for sleep in &job.tasks[1..] {
        assert_eq!(sleep.task_type, "misc");
        assert_eq!(sleep.depends_on, [0]);
        assert_eq!(sleep.commands()[0].name, "sleep");
        assert_eq!(sleep.commands()[0].parameters["duration_in_seconds"], 3);
    }
    assert_eq!(names(&submit(json!({"message": "hey"})).unwrap()), ["echo"]);
    let missing = submit(json!({})).unwrap_err().to_string();
    assert!(
        missing.starts_with("setting 'message' is missing"),
        "{missing}"
    );
}
