// SPDX-License-Identifier: GPL-3.0-or-later
//! Exports of an edit: chunks that were encoded at the same time are one film, with its sound in
//! time.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::farm::{Blender, Farm};

const FPS: u32 = 24;
const FRAMES: u32 = 60;
/// The frame that is white, and where the beep begins.
const FLASH: u32 = 37;

/// An edit of 60 frames: black, but for one white frame, under which a beep begins.
const SCENE: &str = r#"
import bpy, os, sys
scene = bpy.context.scene
scene.render.resolution_x, scene.render.resolution_y = 64, 48
scene.render.resolution_percentage = 100
scene.render.fps, scene.render.fps_base = 24, 1.0
scene.frame_start, scene.frame_end = 1, 60
scene.view_settings.view_transform = "Standard"
edit = scene.sequence_editor_create()
strips = edit.strips if hasattr(edit, "strips") else edit.sequences
black = strips.new_effect("black", "COLOR", 1, frame_start=1, frame_end=61)
black.color = (0, 0, 0)
white = strips.new_effect("white", "COLOR", 2, frame_start=37, frame_end=38)
white.color = (1, 1, 1)
folder = os.path.dirname(sys.argv[-1])
strips.new_sound("beep", os.path.join(folder, "beep.wav"), 3, 37)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"#;

fn output_of(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn probe(file: &Path, entries: &str, stream: &str) -> String {
    let file = file.display().to_string();
    let arguments = ["-v", "error", "-count_frames", "-select_streams", stream];
    let more = ["-show_entries", entries, "-of", "csv=p=0", &file];
    let told = output_of("ffprobe", &[&arguments[..], &more[..]].concat());
    String::from_utf8_lossy(&told).trim().to_owned()
}

/// Frames of the film, and how long it lasts.
fn measure(file: &Path) -> (u32, f64) {
    let frames = probe(file, "stream=nb_read_frames", "v:0");
    let duration = probe(file, "format=duration", "v:0");
    (
        frames.trim_end_matches(',').parse().expect("a number"),
        duration.parse().expect("a number"),
    )
}

/// When the white frame is shown, in seconds.
fn flash(file: &Path) -> f64 {
    // Prints time and brightness of each frame.
    let filter = format!(
        "movie={},signalstats",
        file.display().to_string().replace(':', "\\:")
    );
    let arguments = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        &filter,
        "-show_entries",
        "frame=pts_time:frame_tags=lavfi.signalstats.YAVG",
        "-of",
        "csv=p=0",
    ];
    let told = output_of("ffprobe", &arguments);
    let told = String::from_utf8_lossy(&told).into_owned();
    let white = told.lines().find_map(|line| {
        let mut words = line.split(',');
        let time: f64 = words.next()?.parse().ok()?;
        let brightness: f64 = words.next()?.parse().ok()?;
        (brightness > 150.0).then_some(time)
    });
    white.unwrap_or_else(|| panic!("no white frame in {told}"))
}

/// When the beep begins, in seconds: as a player shows it, with what the file says of its start.
fn beep(file: &Path) -> f64 {
    let file = file.display().to_string();
    let arguments = [
        "-v",
        "error",
        "-i",
        &file,
        "-vn",
        "-af",
        "aresample=async=1:first_pts=0",
        "-ac",
        "1",
        "-ar",
        "48000",
        "-f",
        "s16le",
        "-",
    ];
    let samples = output_of("ffmpeg", &arguments);
    let first = samples
        .chunks_exact(2)
        .position(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]).unsigned_abs() > 3000);
    let first = first.unwrap_or_else(|| panic!("no beep in {file}"));
    f64::from(u32::try_from(first).expect("a short film")) / 48000.0
}

fn edit(folder: &Path) -> PathBuf {
    let sound = folder.join("beep.wav").display().to_string();
    output_of(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=1000:duration=0.2",
            "-af",
            "volume=12dB",
            "-ar",
            "48000",
            "-y",
            &sound,
        ],
    );
    let scene = folder.join("edit.blend");
    Blender::installed().make_scene(&scene, SCENE);
    scene
}

#[test]
fn chunks_are_one_film_with_its_sound_in_time() {
    // Protects edits: no frame is lost or doubled where chunks meet, the film lasts as long as one
    // encoded at once, and sound stays with its picture in both kinds of file.
    let farm = Farm::start(&Blender::installed());
    let scene = edit(farm.folder());
    for (extension, has_sound) in [(".mp4", true), (".mkv", true), (".mp4", false)] {
        let output = farm.folder().join(format!("film{extension}{has_sound}"));
        farm.complete(
            "video-encode",
            &json!({
                "blendfile": scene, "frames": "1-60", "chunk_size": 23, "fps": FPS,
                "render_output_path": output.join("######"), "extract_audio": has_sound,
                "output_file_extension": extension, "scene": "Scene",
            }),
        );
        let films: Vec<PathBuf> = std::fs::read_dir(&output)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .collect();
        let [film] = &films[..] else {
            panic!("one film, not {films:?}");
        };
        let name = film.display().to_string();
        assert!(name.ends_with(&format!("_001-edit{extension}")), "{name}");
        // The same frames, encoded at once.
        let whole = output.join(format!("frames/whole{extension}"));
        let list = output.join("frames/chunk-*/*.png").display().to_string();
        let fps = FPS.to_string();
        output_of(
            "ffmpeg",
            &[
                "-v",
                "error",
                "-r",
                &fps,
                "-pattern_type",
                "glob",
                "-i",
                &list,
                "-c:v",
                "h264",
                "-crf",
                "20",
                "-bf",
                "0",
                "-pix_fmt",
                "yuv420p",
                "-r",
                &fps,
                "-y",
                &whole.display().to_string(),
            ],
        );
        let video_only = output.join(format!("frames/video{extension}"));
        let (frames, duration) = measure(film);
        assert_eq!(frames, FRAMES);
        let (whole_frames, whole_duration) = measure(&whole);
        assert_eq!(whole_frames, FRAMES);
        if !has_sound {
            assert!(!video_only.exists(), "it was moved");
            assert!(
                (duration - whole_duration).abs() < 0.002,
                "{duration} {whole_duration}"
            );
            continue;
        }
        let (_, silent_duration) = measure(&video_only);
        assert!(
            (silent_duration - whole_duration).abs() < 0.002,
            "{silent_duration} {whole_duration}"
        );
        // Packets of sound are some 21 ms long, so a film may end that much after its picture.
        assert!(
            (duration - whole_duration).abs() < 0.045,
            "{duration} {whole_duration}"
        );
        let (seen, heard) = (flash(film), beep(film));
        let expected = f64::from(FLASH - 1) / f64::from(FPS);
        println!("{extension}: white at {seen}, beep at {heard}, both wanted at {expected}");
        // Matroska begins with the encoder's leading silence: picture and sound both come later.
        let lead = if extension == ".mkv" { 0.022 } else { 0.0 };
        assert!((seen - expected - lead).abs() < 0.0015, "{seen} {expected}");
        // Half a frame would be seen; what is measured is a fraction of a millisecond.
        assert!(
            (heard - seen).abs() < 0.005,
            "{extension}: sound at {heard}, picture at {seen}"
        );
    }
}
