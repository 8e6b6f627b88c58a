// SPDX-License-Identifier: GPL-3.0-or-later
//! Frames as things of their own, with a real farm and a real Blender: every fact of a frame,
//! files that go bad in six ways and are all found, one request that renders exactly those anew,
//! and a shot that can be watched as a flip-book and as a video.
//!
//! `TABLAO_SOAK=1` does it with a thousand frames.
#![cfg(target_os = "linux")]

mod farm_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use farm_support::http::{self, Connection};
use farm_support::process::{Place, TABLAO};
use farm_support::{is_soak, scene, until, until_within};
use serde_json::{Value, json};

const SCENE: &str = r#"
import bpy, sys
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.samples = 4
scene.cycles.use_denoising = False
scene.render.resolution_x = 32
scene.render.resolution_y = 18
scene.render.resolution_percentage = 100
cube = bpy.data.objects["Cube"]
cube.rotation_euler[2] = 0.0
cube.keyframe_insert("rotation_euler", frame=1)
cube.rotation_euler[2] = 30.0
cube.keyframe_insert("rotation_euler", frame=1000)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"#;

fn make_scene(file: &Path) {
    let output = Command::new("blender")
        .args(["-b", "--factory-startup", "--python-exit-code", "1"])
        .args(["--python-expr", SCENE, "--"])
        .arg(file)
        .output()
        .expect("blender runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && file.exists(), "{said}");
}

/// A farm with one rendered job.
struct Rendered {
    place: Place,
    job: String,
    shot: String,
    output: PathBuf,
    frames: usize,
}

impl Rendered {
    fn get(&self, path: &str) -> Value {
        let answer = http::get(&self.place.address, path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// All frames of the shot, by number.
    fn list(&self, filter: &str) -> BTreeMap<i64, Value> {
        let path = format!("/api/farm/v1/frames?shot={}&limit=1000{filter}", self.shot);
        let items = self.get(&path)["items"].as_array().expect("a list").clone();
        let number = |frame: &Value| frame["number"].as_i64().expect("a number");
        items
            .into_iter()
            .map(|frame| (number(&frame), frame))
            .collect()
    }

    fn file(&self, number: i64) -> PathBuf {
        self.output.join(format!("{number:06}.png"))
    }

    fn until_completed(&self) {
        // A thousand frames on a machine with other work.
        let patience = Duration::from_secs(if is_soak() { 1_800 } else { 240 });
        until_within(patience, "the end of the job", || {
            let job = self.get(&format!("/api/v3/jobs/{}", self.job));
            assert_ne!(job["status"], "failed", "{job}");
            (job["status"] == "completed").then_some(())
        });
    }

    fn tablao(&self, arguments: &[&str]) -> Output {
        Command::new(TABLAO)
            .args(arguments)
            .args(["--json", "--url"])
            .arg(format!("http://{}", self.place.address))
            .output()
            .expect("tablao runs")
    }

    /// Asks for a look at the job's files; gives the flags of the bad ones.
    fn verify(&self) -> BTreeMap<i64, BTreeSet<String>> {
        let output = self.tablao(&["frames", "verify", "--job", &self.job]);
        let said = String::from_utf8_lossy(&output.stderr);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?} {said}"));
        assert_eq!(answer["looked_at"], json!(self.frames), "{answer}");
        let found = answer["frames"].as_array().expect("a list");
        let code = if found.is_empty() { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{said}");
        let flags = |frame: &Value| -> BTreeSet<String> {
            let flags = frame["flags"].as_array().expect("a list").iter();
            flags
                .map(|flag| flag.as_str().expect("a name").to_owned())
                .collect()
        };
        let number = |frame: &Value| frame["number"].as_i64().expect("a number");
        found
            .iter()
            .map(|frame| (number(frame), flags(frame)))
            .collect()
    }

    fn position(&self) -> String {
        let position = self.get("/api/farm/v1/digest")["position"].clone();
        position.as_str().expect("a position").to_owned()
    }

    /// What happened since, of these kinds.
    fn events(&self, after: &str, kind: &str) -> Vec<Value> {
        let (mut found, mut after) = (Vec::new(), after.to_owned());
        loop {
            let page = self.get(&format!("/api/farm/v1/events?after={after}&limit=1000"));
            let items = page["items"].as_array().expect("a list");
            let Some(last) = items.last() else {
                return found;
            };
            after = last["position"].as_str().expect("a position").to_owned();
            found.extend(items.iter().filter(|event| event["kind"] == kind).cloned());
        }
    }
}

/// Submits a job of so many frames to the farm at this place.
fn submit(place: Place, frames: usize, chunk: usize) -> Rendered {
    let output = place.folder.join("frames");
    std::fs::create_dir_all(&output).expect("a folder");
    let blend = place.folder.join("scene.blend");
    make_scene(&blend);
    let mut submission = scene::submission(u32::try_from(frames).expect("few frames"), 1, &output);
    submission["settings"]["chunk_size"] = json!(chunk);
    submission["settings"]["blendfile"] = json!(blend);
    submission["settings"]["fps"] = json!(12);
    let mut connection = Connection::open(&place.address).expect("a connection");
    let submitted = connection.json("POST", "/api/v3/jobs", &submission);
    assert_eq!(submitted.status, 200, "{}", submitted.text());
    let job = submitted.json()["id"].as_str().expect("an id").to_owned();
    let mut rendered = Rendered {
        place,
        job,
        shot: String::new(),
        output,
        frames,
    };
    let shown = rendered.get(&format!("/api/farm/v1/jobs/{}", rendered.job));
    rendered.shot = shown["shot"].as_str().expect("a shot").to_owned();
    rendered
}

/// Spoils files, each in its own way; gives what is to be found of each.
fn spoil(farm: &Rendered) -> BTreeMap<i64, BTreeSet<String>> {
    let spread = |nth: i64| 2 + nth * i64::try_from(farm.frames).expect("few frames") / 8;
    let picture =
        |width, height, grey| image::RgbImage::from_pixel(width, height, image::Rgb([grey; 3]));
    let numbers: Vec<i64> = (0..6).map(spread).collect();
    std::fs::remove_file(farm.file(numbers[0])).expect("it was there");
    std::fs::write(farm.file(numbers[1]), b"").expect("it can be written");
    let whole = std::fs::read(farm.file(numbers[2])).expect("it is there");
    std::fs::write(farm.file(numbers[2]), &whole[..whole.len() / 2]).expect("written");
    picture(32, 18, 0)
        .save(farm.file(numbers[3]))
        .expect("saved");
    picture(16, 16, 120)
        .save(farm.file(numbers[4]))
        .expect("saved");
    std::fs::copy(farm.file(numbers[5] + 1), farm.file(numbers[5])).expect("copied");
    let flags: [&[&str]; 6] = [
        &["missing"],
        &["empty"],
        &["truncated"],
        &["black", "changed"],
        &["changed", "wrong_size"],
        &["changed"],
    ];
    let named = |flags: &[&str]| flags.iter().map(|&flag| flag.to_owned()).collect();
    numbers.into_iter().zip(flags.map(named)).collect()
}

/// Protects a delivery: of many frames exactly the bad ones are found, one request renders
/// exactly those anew, the good ones are not touched and the bad files are kept.
#[test]
fn bad_frames_are_found_and_rendered_anew() {
    let (frames, chunk) = if is_soak() { (1_000, 100) } else { (24, 6) };
    let last = i64::try_from(frames).expect("few frames");
    scene::require_programs();
    let place = Place::new("");
    let mut process = place.up();
    let farm = submit(place, frames, chunk);
    farm.until_completed();
    let patience = Duration::from_secs(if is_soak() { 1_800 } else { 240 });
    let thumbnails = farm.place.data.join("thumbnails").join(&farm.shot);
    let all = until_within(patience, "thumbnails of all frames", || {
        // A long list, asked for all the time, would keep the farm from what it is asked about.
        let files = std::fs::read_dir(&thumbnails).ok()?.count();
        let all = if files < frames {
            return None;
        } else {
            farm.list("")
        };
        let pictured = all.values().all(|frame| frame["thumbnail"].is_string());
        (all.len() == frames && pictured).then_some(all)
    });
    assert!(all.keys().copied().eq(1..=last));
    let blend =
        blake3::hash(&std::fs::read(farm.place.folder.join("scene.blend")).expect("it is there"));
    for (number, frame) in &all {
        let bytes = std::fs::read(farm.file(*number)).expect("it is in its place");
        assert_eq!(frame["hash"], json!(blake3::hash(&bytes).to_string()));
        assert_eq!(frame["blend_hash"], json!(blend.to_string()));
        assert_eq!(frame["samples"], 4, "{frame}");
        assert!(frame["peak_memory_bytes"].as_u64() > Some(0), "{frame}");
        assert!(frame["blender_version"].is_string(), "{frame}");
        assert_eq!(frame["flags"], json!([]), "{frame}");
    }
    assert!(farm.verify().is_empty(), "all is well");

    let expected = spoil(&farm);
    let bad: BTreeSet<i64> = expected.keys().copied().collect();
    let before: BTreeMap<i64, (Vec<u8>, std::time::SystemTime)> = (1..=last)
        .filter(|number| !bad.contains(number))
        .map(|number| (number, state_of(&farm.file(number))))
        .collect();
    assert_eq!(farm.verify(), expected);
    assert!(farm.list("&flag=any").keys().eq(bad.iter()));
    assert_eq!(farm.list("&flag=black").len(), 1);

    let then = farm.position();
    let output = farm.tablao(&["frames", "rerender", "--flagged", "--job", &farm.job]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let wanted: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(wanted["frames"], json!(bad), "{said}");
    farm.until_completed();

    let published: Vec<i64> = (farm.events(&then, "FramePublished").iter())
        .map(|event| event["data"]["key"]["number"].as_i64().expect("a number"))
        .collect();
    let once: BTreeSet<i64> = published.iter().copied().collect();
    assert_eq!(once, bad, "exactly those, from the events");
    assert_eq!(published.len(), bad.len(), "each of them once");
    let assigned = farm.events(&then, "AttemptAssigned");
    let chunks: BTreeSet<i64> = bad
        .iter()
        .map(|number| (number - 1) / i64::try_from(chunk).expect("few frames"))
        .collect();
    assert_eq!(assigned.len(), chunks.len(), "no other task ran");
    for (number, state) in &before {
        assert_eq!(state_of(&farm.file(*number)), *state, "frame {number}");
    }
    for number in &bad {
        let picture = image::open(farm.file(*number)).expect("a whole picture");
        assert_eq!((picture.width(), picture.height()), (32, 18));
    }
    let kept = std::fs::read_dir(farm.output.join(".tablao-replaced")).expect("a folder");
    assert_eq!(
        kept.count(),
        bad.len() - 1,
        "all but the missing one are kept"
    );
    assert!(farm.list("&flag=any,wanted").is_empty());
    assert!(farm.verify().is_empty(), "all is well again");

    watch(&farm);
    process.stop();
}

fn state_of(file: &Path) -> (Vec<u8>, std::time::SystemTime) {
    let changed = file.metadata().and_then(|metadata| metadata.modified());
    (
        std::fs::read(file).expect("it is there"),
        changed.expect("a time"),
    )
}

/// The shot as a flip-book and as a video, which is made once.
fn watch(farm: &Rendered) {
    let preview = format!("/api/farm/v1/shots/{}/preview", farm.shot);
    // A thumbnail comes after its frame: those of frames rendered anew may be on their way.
    let book = until("all thumbnails", || {
        let book = farm.get(&preview);
        let pages = book["frames"].as_array().expect("a list");
        let shown = pages.iter().all(|page| page["thumbnail"].is_string());
        shown.then_some(book)
    });
    assert_eq!(book["frame_rate"], 12, "as the job says");
    let pages = book["frames"].as_array().expect("a list");
    assert_eq!(pages.len(), farm.frames);
    for page in pages {
        let thumbnail = page["thumbnail"].as_str().expect("an address");
        let thumbnail = http::get(&farm.place.address, thumbnail).expect("an answer");
        assert!(image::load_from_memory(&thumbnail.body).is_ok(), "{page}");
    }
    let video = book["video"].as_str().expect("an address");
    let film = http::get(&farm.place.address, video).expect("an answer");
    assert_eq!(film.status, 200, "{}", film.text());
    let file = farm.place.folder.join("film.mp4");
    std::fs::write(&file, &film.body).expect("a file");
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args([
            "-show_entries",
            "stream=nb_read_frames,r_frame_rate",
            "-of",
            "csv=p=0",
        ])
        .arg(&file)
        .output()
        .expect("ffprobe runs");
    let probed = String::from_utf8_lossy(&probed.stdout).trim().to_owned();
    assert_eq!(probed, format!("12/1,{}", farm.frames));
    let made = || {
        let folder = farm.place.data.join("videos").join(&farm.shot);
        let files = std::fs::read_dir(folder).expect("a folder").flatten();
        let made = files.map(|file| {
            (
                file.path(),
                file.metadata()
                    .expect("it is there")
                    .modified()
                    .expect("a time"),
            )
        });
        made.collect::<Vec<_>>()
    };
    let first = made();
    assert_eq!(first.len(), 1);
    let again = http::get(&farm.place.address, video).expect("an answer");
    assert_eq!(again.body, film.body);
    assert_eq!(made(), first, "it was not made again");
}
