// SPDX-License-Identifier: GPL-3.0-or-later
//! Rendering with the real Blender: staging, publication, what exists, what is missing, and why.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};

/// A cube of 48x27 pixels in Cycles, made once for all tests here. With `denoise` the scene asks
/// for what Debian's Blender lacks.
fn scene(denoise: bool) -> &'static Path {
    static SCENES: OnceLock<(tempfile::TempDir, PathBuf, PathBuf)> = OnceLock::new();
    let (_, plain, denoised) = SCENES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (plain, denoised) = (
            dir.path().join("plain.blend"),
            dir.path().join("denoise.blend"),
        );
        let script = format!(
            "import bpy\n\
             s = bpy.context.scene\n\
             s.render.engine = 'CYCLES'\n\
             s.cycles.samples = 1\n\
             s.cycles.use_denoising = False\n\
             s.render.resolution_x, s.render.resolution_y = 48, 27\n\
             s.render.resolution_percentage = 100\n\
             bpy.ops.wm.save_as_mainfile(filepath={:?})\n\
             s.cycles.use_denoising = True\n\
             bpy.ops.wm.save_as_mainfile(filepath={:?})\n",
            plain.display().to_string(),
            denoised.display().to_string()
        );
        let made = Command::new("blender")
            .args(["-b", "--factory-startup", "--python-expr", &script])
            .output()
            .expect("Blender is installed");
        assert!(plain.exists() && denoised.exists(), "{made:?}");
        (dir, plain, denoised)
    });
    if denoise { denoised } else { plain }
}

/// The command of the built-in job type.
fn render(blend: &Path, output: &str, format: &str, frames: &str, count: u32) -> Value {
    json!([{
        "name": "blender-render",
        "parameters": {
            "exe": "blender", "exeArgs": "-b -y", "argsBefore": [], "blendfile": blend,
            "args": [
                "--python-expr",
                "import bpy; render = bpy.context.scene.render; render.use_file_extension = True; render.use_overwrite = False; render.use_placeholder = False",
                "--render-output", output, "--render-format", format, "--render-frame", frames,
            ],
        },
        "total_step_count": count,
    }])
}

async fn run(tasks: Vec<Value>) -> (Manager, tempfile::TempDir, RunningWorker) {
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    manager.change(|heard| heard.tasks.extend(tasks));
    let worker = RunningWorker::start(&manager, dir.path());
    (manager, dir, worker)
}

fn numbers(frames: &[Value]) -> Vec<i64> {
    frames
        .iter()
        .map(|frame| frame["number"].as_i64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_published_once_and_found_the_next_time() {
    // Protects the heart of it: each frame whole under its final name, reported with its facts,
    // never rendered or touched again.
    let out = tempfile::tempdir().unwrap();
    let output = out.path().join("shot/f_####").display().to_string();
    let blend = scene(false);
    let first = task("first", render(blend, &output, "PNG", "1..2", 2));
    let (manager, _dir, worker) = run(vec![first]).await;

    let end = manager.task_end("first").await;
    // Not before: a task that is claimed ahead looks for frames while these are published.
    let again = |name: &str| {
        let again = task(name, render(blend, &output, "PNG", "1..3", 3));
        manager.change(|heard| heard.tasks.push_back(again));
    };
    again("second");
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("first"));
    assert!(
        end["tablao"]["software"]
            .as_str()
            .unwrap()
            .starts_with("Blender ")
    );
    assert!(end["tablao"]["peak_memory_bytes"].as_u64().unwrap() > 10_000_000);
    let frames = manager.frames("first");
    assert_eq!(numbers(&frames), [1, 2]);
    let first = &frames[0];
    assert_eq!(first["name"], "f_0001");
    assert_eq!(first["outcome"], "published");
    assert_eq!(first["samples"], 1);
    assert!(first["blender_version"].is_string());
    let path = out.path().join("shot/f_0001.png");
    assert_eq!(first["path"], path.display().to_string());
    let content = std::fs::read(&path).unwrap();
    assert_eq!(first["hash"], blake3::hash(&content).to_hex().to_string());
    assert_eq!(first["size"], content.len() as u64);
    assert_eq!(manager.steps("first"), 2);

    manager.task_end("second").await;
    let frames = manager.frames("second");
    assert_eq!(numbers(&frames), [1, 2, 3]);
    let outcomes: Vec<_> = frames
        .iter()
        .map(|frame| frame["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["found", "found", "published"]);
    assert_eq!(manager.steps("second"), 3);
    assert!(manager.log("second").contains("--render-frame 3\n"));

    again("third");
    let end = manager.task_end("third").await;
    assert_eq!(end["taskStatus"], "completed");
    assert_eq!(manager.steps("third"), 3);
    assert!(manager.log("third").contains("Blender is not started"));
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert!(!out.path().join("shot/.tablao-staging").exists());

    // Every frame gets its thumbnail, found ones too.
    let names = manager
        .until("thumbnails", |heard| {
            (heard.thumbnails.len() == 8).then(|| {
                let thumbnails = heard.thumbnails.iter();
                thumbnails
                    .map(|(name, ..)| name.clone())
                    .collect::<Vec<_>>()
            })
        })
        .await;
    assert_eq!(names[0], "shot-1/f_0001_thumbnail.jpg");
    manager
        .until("a preview", |heard| (heard.previews > 0).then_some(()))
        .await;
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_formats_are_published_with_pictures() {
    // Protects renders that are no PNG: right names, right numbers, a thumbnail each.
    let out = tempfile::tempdir().unwrap();
    let blend = scene(false);
    let output = |name: &str| out.path().join(name).display().to_string();
    let (manager, _dir, worker) = run(vec![
        task("jpeg", render(blend, &output("j"), "JPEG", "7", 1)),
        task("exr", render(blend, &output("e_##"), "OPEN_EXR", "7", 1)),
        task(
            "multi",
            render(blend, &output("m/"), "OPEN_EXR_MULTILAYER", "7", 1),
        ),
        task("tiff", render(blend, &output("t"), "TIFF", "7", 1)),
        task("webp", render(blend, &output("w"), "WEBP", "7", 1)),
        task("hdr", render(blend, &output("h"), "HDR", "7", 1)),
    ])
    .await;
    for (id, file) in [
        ("jpeg", "j0007.jpg"),
        ("exr", "e_07.exr"),
        ("multi", "m/0007.exr"),
        ("tiff", "t0007.tif"),
        ("webp", "w0007.webp"),
        ("hdr", "h0007.hdr"),
    ] {
        let end = manager.task_end(id).await;
        assert_eq!(end["taskStatus"], "completed", "{}", manager.log(id));
        let frames = manager.frames(id);
        assert_eq!(numbers(&frames), [7], "{id}");
        assert_eq!(frames[0]["path"], output(file));
        assert!(out.path().join(file).exists());
    }
    manager
        .until("a thumbnail of each", |heard| {
            let all = heard.thumbnails.len() == 6;
            assert!(
                heard
                    .thumbnails
                    .iter()
                    .all(|(_, _, size)| *size == (48, 27))
            );
            all.then_some(())
        })
        .await;
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_feature_is_explained() {
    // Protects the artist from reading logs: Debian's Blender cannot denoise and ends with 1.
    let out = tempfile::tempdir().unwrap();
    let output = out.path().join("f_").display().to_string();
    let (manager, _dir, worker) = run(vec![task(
        "denoise",
        render(scene(true), &output, "PNG", "1..2", 2),
    )])
    .await;
    let end = manager.task_end("denoise").await;
    let log = manager.log("denoise");
    if log.contains("Build without OpenImageDenoiser") {
        assert_eq!(end["taskStatus"], "failed");
        assert_eq!(end["tablao"]["failure"]["class"], "feature_missing");
        assert_eq!(end["tablao"]["failure"]["exit"], 1);
        let reason = end["activity"].as_str().unwrap();
        assert!(reason.contains("switch denoising off"), "{reason}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    } else {
        // A Blender from blender.org: the scene renders.
        assert_eq!(end["taskStatus"], "completed", "{log}");
    }
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_blender_without_its_frames_is_a_failure() {
    // Protects against "completed" tasks with holes: Blender ends with 0 and saved nothing there.
    let out = tempfile::tempdir().unwrap();
    let output = out.path().join("f_").display().to_string();
    let mut commands = render(scene(false), &output, "PNG", "1..3", 3);
    // A handler that makes Blender quit after frame 1, with exit code 0.
    commands[0]["parameters"]["args"][1] = json!(
        "import bpy, os\nbpy.app.handlers.render_pre.append(lambda *a: (bpy.context.scene.frame_current >= 2) and os._exit(0))"
    );
    commands[0]["parameters"]["args"]
        .as_array_mut()
        .unwrap()
        .swap(0, 0);
    let (manager, _dir, worker) = run(vec![task("holes", commands)]).await;
    let end = manager.task_end("holes").await;
    let log = manager.log("holes");
    assert_eq!(end["taskStatus"], "failed", "{log}");
    assert_eq!(end["tablao"]["failure"]["class"], "missing_output", "{end}");
    let reason = end["activity"].as_str().unwrap();
    assert!(reason.contains('3'), "{reason}");
    assert!(numbers(&manager.frames("holes")).contains(&1));
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_of_a_script_stays_where_it_is_and_is_marked() {
    // Protects files that the Worker did not fence: never moved, and honest about it.
    let out = tempfile::tempdir().unwrap();
    let own = out.path().join("script/own.png").display().to_string();
    let mut commands = render(scene(false), "unused", "PNG", "1", 1);
    commands[0]["parameters"]["args"] = json!([
        "--python-expr",
        format!(
            "import bpy; bpy.context.scene.render.filepath = {own:?}; bpy.ops.render.render(write_still=True)"
        ),
    ]);
    let (manager, _dir, worker) = run(vec![task("script", commands)]).await;
    let end = manager.task_end("script").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("script"));
    let frames = manager.frames("script");
    assert_eq!(frames.len(), 1, "{}", manager.log("script"));
    assert_eq!(frames[0]["flags"], json!(["unfenced"]));
    assert_eq!(frames[0]["path"], own);
    assert_eq!(manager.steps("script"), 1);
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_blender_says_what_to_do() {
    // Protects the first minutes with a new worker: the variable is wrong, and the task says so.
    let mut commands = render(scene(false), "/nowhere/f_", "PNG", "1", 1);
    commands[0]["parameters"]["exe"] = json!("no-such-blender");
    let out = tempfile::tempdir().unwrap();
    commands[0]["parameters"]["args"][3] = json!(out.path().join("f_"));
    let (manager, _dir, worker) = run(vec![task("none", commands)]).await;
    let end = manager.task_end("none").await;
    assert_eq!(end["tablao"]["failure"]["class"], "bad_command");
    let reason = end["activity"].as_str().unwrap();
    assert!(
        reason.contains("no-such-blender") && reason.contains("installed"),
        "{reason}"
    );
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_become_a_film() {
    // Protects the preview video: real FFmpeg, as many frames as were rendered, replaced by -y.
    let out = tempfile::tempdir().unwrap();
    for number in 1..=5u8 {
        let frame = image::RgbImage::from_pixel(64, 36, image::Rgb([number * 40, 90, 30]));
        frame
            .save(out.path().join(format!("f_{number:04}.png")))
            .unwrap();
    }
    let film = out.path().join("film.mp4");
    std::fs::write(&film, b"an older film").unwrap();
    let commands = |args: Value| {
        json!([{
            "name": "frames-to-video",
            "parameters": {
                "exe": "ffmpeg", "fps": 24, "inputGlob": out.path().join("*.png"),
                "outputFile": film, "args": args,
            },
        }])
    };
    let codec = json!(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-r", 24, "-y"]);
    let (manager, _dir, worker) = run(vec![
        task("refused", commands(json!(["-c:v", "libx264"]))),
        task("film", commands(codec)),
    ])
    .await;
    let refused = manager.task_end("refused").await;
    assert!(
        refused["activity"].as_str().unwrap().contains("-y"),
        "{refused}"
    );
    let end = manager.task_end("film").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("film"));
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(&film)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&probe.stdout).trim(), "5");
    assert!(!out.path().join(".tablao-staging").exists());
    worker.shut_down().await;
}
