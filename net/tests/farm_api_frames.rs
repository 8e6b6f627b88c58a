// SPDX-License-Identifier: GPL-3.0-or-later
//! Frames whose files go bad, through the API: looking at the files on the disk, the lists that
//! show what was found, rendering exactly those anew, and the preview of a shot.
#![allow(clippy::unwrap_used, reason = "a test that meets nothing fails")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Farm, Worker, frame};

const FRAMES: i64 = 40;

struct Shot {
    farm: Farm,
    worker: Worker,
    job: String,
    id: String,
    folder: tempfile::TempDir,
}

fn picture(path: &Path, grey: u8) {
    let grey = image::Rgb([grey; 3]);
    image::RgbImage::from_pixel(16, 9, grey).save(path).unwrap();
}

fn report(path: &Path, number: i64) -> Value {
    let bytes = std::fs::read(path).unwrap();
    let mut report = frame(i32::try_from(number).unwrap());
    report["path"] = json!(path);
    report["size"] = json!(bytes.len());
    report["hash"] = json!(blake3::hash(&bytes).to_string());
    report["blend_hash"] = json!(blake3::hash(b"the scene").to_string());
    report
}

impl Shot {
    fn file(&self, number: i64) -> PathBuf {
        self.folder.path().join(format!("{number:06}.png"))
    }

    /// Renders what there is to render: a picture for each frame that is wanted.
    fn render(&self, wanted: impl Fn(&Value, i64) -> bool) -> Vec<i64> {
        let mut rendered = Vec::new();
        while let Some(task) = self.farm.ask(&self.worker) {
            let of = task["tablao"]["frames"].as_str().unwrap_or_default();
            let mut frames = Vec::new();
            if let Some((first, last)) = of
                .split_once('-')
                .filter(|_| task["task_type"] == "blender")
            {
                for number in first.parse::<i64>().unwrap()..=last.parse().unwrap() {
                    if wanted(&task["tablao"]["rerender"], number) {
                        picture(&self.file(number), 100 + u8::try_from(number).unwrap());
                        frames.push(report(&self.file(number), number));
                        rendered.push(number);
                    }
                }
            }
            let update = json!({ "taskStatus": "completed" });
            let extension = json!({ "frames": frames });
            self.farm
                .report(&self.worker, &task, update, extension)
                .ok(204);
        }
        rendered
    }

    fn flags(&self, query: &str) -> BTreeMap<i64, Value> {
        let list = format!("/api/farm/v1/frames?shot={}&limit=1000{query}", self.id);
        let list = self.farm.read(&list);
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|frame| (frame["number"].as_i64().unwrap(), frame["flags"].clone()))
            .collect()
    }

    fn verify(&self) -> Value {
        let path = format!("/api/farm/v1/shots/{}/verify", self.id);
        self.farm.post(&path, &json!({})).ok(200).json()
    }
}

fn rendered() -> Shot {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let folder = tempfile::tempdir().unwrap();
    let job = farm.submit(&json!({
        "name": "sh010", "type": "simple-blender-render", "submitter_platform": "linux",
        "settings": {
            "frames": format!("1-{FRAMES}"), "chunk_size": 10, "render_output_root": folder.path(),
            "add_path_components": 0, "render_output_path": folder.path().join("######"),
            "blendfile": "/shared/sh010.blend", "fps": 12, "format": "PNG",
            "image_file_extension": ".png", "has_previews": false, "scene": "Scene",
        },
    }));
    let mut shot = Shot {
        farm,
        worker,
        job,
        id: String::new(),
        folder,
    };
    assert_eq!(shot.render(|_, _| true), (1..=FRAMES).collect::<Vec<_>>());
    let frames = shot.farm.read("/api/farm/v1/frames");
    shot.id = frames["items"][0]["shot"].as_str().unwrap().to_owned();
    shot
}

/// Protects a delivery: five kinds of bad files are found and shown, one request names exactly
/// their frames to a worker, and a restart forgets nothing of it.
#[test]
fn bad_files_are_found_shown_and_rendered_anew() {
    let mut shot = rendered();
    let whole = shot.verify();
    assert_eq!(whole["looked_at"], FRAMES, "{whole}");
    assert_eq!(
        (&whole["flawed"], &whole["state"]),
        (&json!(0), &json!("done"))
    );

    std::fs::remove_file(shot.file(3)).unwrap();
    std::fs::write(shot.file(14), b"").unwrap();
    let bytes = std::fs::read(shot.file(15)).unwrap();
    std::fs::write(shot.file(15), &bytes[..bytes.len() / 2]).unwrap();
    picture(&shot.file(25), 0);
    picture(&shot.file(36), 9);
    let found = shot.verify();
    assert_eq!(found["flawed"], 5, "{found}");
    assert!(
        found["frames"][0]["words"]
            .as_str()
            .unwrap()
            .contains("no file")
    );
    let expected = BTreeMap::from([
        (3, json!(["missing"])),
        (14, json!(["empty"])),
        (15, json!(["truncated"])),
        (25, json!(["black", "changed"])),
        (36, json!(["changed"])),
    ]);
    assert_eq!(shot.flags("&flag=any"), expected);
    assert_eq!(shot.flags("").len(), usize::try_from(FRAMES).unwrap());
    assert_eq!(shot.flags("&flag=empty,black").len(), 2);
    assert_eq!(shot.flags("&flag=found").len(), 0);
    shot.farm.get("/api/farm/v1/frames?flag=pretty").ok(400);
    let again = shot.verify();
    assert_eq!(again["flawed"], 5, "and nothing new");

    let path = format!("/api/farm/v1/jobs/{}/rerender", shot.job);
    let wrong = shot.farm.post(&path, &json!({ "flags": ["ugly"] })).ok(400);
    assert!(
        wrong.json()["detail"]
            .as_str()
            .unwrap()
            .contains("truncated")
    );
    shot.farm.post(&path, &json!({ "frames": [99] })).ok(400);
    let wanted = shot.farm.post(&path, &json!({})).ok(200).json();
    assert_eq!(wanted["frames"], json!([3, 14, 15, 25, 36]), "{wanted}");
    assert_eq!(wanted["tasks"].as_array().unwrap().len(), 4);
    assert!(wanted["dependants"].is_null(), "nobody asked for them");
    let none = shot.farm.post(&path, &json!({})).ok(200).json();
    assert_eq!(none, json!({ "frames": [], "tasks": [] }), "asked twice");
    assert_eq!(shot.flags("&flag=wanted").len(), 5);

    shot.farm = shot.farm.restart();
    assert_eq!(shot.flags("&flag=wanted").len(), 5);
    let bad = blake3::hash(b"").to_string();
    let rendered = shot.render(|rerender, number| {
        let wanted =
            (rerender.as_array().into_iter().flatten()).find(|wanted| wanted["number"] == number);
        assert!(number != 3 || wanted.unwrap()["hash"].is_null(), "no file");
        assert!(
            number != 14 || wanted.unwrap()["hash"] == bad,
            "the empty file"
        );
        wanted.is_some()
    });
    assert_eq!(rendered, [3, 14, 15, 25, 36], "exactly those");
    assert_eq!(shot.flags("&flag=any,wanted").len(), 0);
    assert_eq!(shot.verify()["flawed"], 0);
    let frames = shot
        .farm
        .read(&format!("/api/farm/v1/frames?job={}", shot.job));
    let hash = blake3::hash(b"the scene").to_string();
    assert_eq!(frames["items"][0]["blend_hash"], hash);
}

/// Protects a film from showing a bad frame on when the frame has been rendered anew: whoever asks
/// for it has the film made again, too, after the frame; who asks twice is told the same.
#[test]
fn what_is_made_of_frames_is_made_again_with_them() {
    let shot = rendered();
    let path = format!("/api/farm/v1/jobs/{}/rerender", shot.job);
    let body = json!({ "frames": [7], "dependants": true });
    let wanted = shot.farm.post(&path, &body).ok(200).json();
    assert_eq!(wanted["tasks"].as_array().unwrap().len(), 1);
    let films = wanted["dependants"].as_array().unwrap().clone();
    assert_eq!(films.len(), 1, "{wanted}");
    let again = shot.farm.post(&path, &body).ok(200).json();
    assert_eq!(again["frames"], json!([]));
    assert_eq!(again["dependants"], json!(films));
    let task = shot.farm.ask(&shot.worker).unwrap();
    assert_eq!(task["tablao"]["rerender"][0]["number"], 7);
    assert_eq!(task["uuid"], wanted["tasks"][0]);
    let none = shot.farm.ask(&shot.worker);
    assert!(
        none.is_none() || none.unwrap()["uuid"] == task["uuid"],
        "the film waits"
    );
    picture(&shot.file(7), 50);
    let update = json!({ "taskStatus": "completed" });
    let extension = json!({ "frames": [report(&shot.file(7), 7)] });
    (shot.farm.report(&shot.worker, &task, update, extension)).ok(204);
    let film = shot.farm.ask(&shot.worker).unwrap();
    assert_eq!(film["uuid"], films[0]);
}

/// Protects good frames of a storage that is not mounted, and what a worker with a view of it
/// finds in the Manager's stead.
#[test]
fn what_the_manager_does_not_see_is_not_judged_and_a_worker_may_see_it() {
    let shot = rendered();
    std::fs::remove_dir_all(shot.folder.path()).unwrap();
    let unseen = shot.verify();
    assert_eq!(
        (&unseen["looked_at"], &unseen["unseen"]),
        (&json!(0), &json!(FRAMES))
    );
    assert_eq!(unseen["flawed"], 0, "{unseen}");
    assert!(unseen["unseen_why"].is_string());

    let body = json!({ "frames": [7] });
    let path = format!("/api/farm/v1/shots/{}/rerender", shot.id);
    shot.farm.post(&path, &body).ok(200);
    let task = shot.farm.ask(&shot.worker).unwrap();
    assert_eq!(task["tablao"]["rerender"][0]["number"], 7);
    let findings = json!([
        { "number": 1, "flags": ["truncated"], "hash": "00", "words": "it breaks off" },
        { "number": 2, "flags": [], "hash": blake3::hash(b"another").to_string() },
        { "number": 900, "flags": ["missing"], "words": "nobody knows it" },
    ]);
    let extension = json!({ "findings": findings });
    (shot.farm)
        .report(&shot.worker, &task, json!({}), extension)
        .ok(204);
    let expected = BTreeMap::from([(1, json!(["truncated"])), (2, json!(["changed"]))]);
    assert_eq!(shot.flags("&flag=any"), expected);
}

/// Protects whoever watches a shot: all frames in order with the job's frame rate, a still that
/// is there once a thumbnail is, and words instead of a film where there is nothing to be seen.
#[test]
fn a_shot_can_be_watched() {
    let shot = rendered();
    let preview = format!("/api/farm/v1/shots/{}/preview", shot.id);
    let book = shot.farm.read(&preview);
    assert_eq!(
        (&book["frame_rate"], &book["name"]),
        (&json!(12), &json!("sh010"))
    );
    let numbers = |book: &Value| -> Vec<i64> {
        let frames = book["frames"].as_array().unwrap().iter();
        frames
            .map(|frame| frame["number"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(numbers(&book), (1..=FRAMES).collect::<Vec<_>>());
    let part = shot.farm.read(&format!("{preview}?from=5&to=7&fps=25"));
    assert_eq!(
        (numbers(&part), &part["frame_rate"]),
        (vec![5, 6, 7], &json!(25))
    );
    for form in ["still", "video"] {
        let none = shot.farm.get(&format!("{preview}?as={form}")).ok(404);
        assert!(
            none.json()["type"]
                .as_str()
                .unwrap()
                .ends_with("no-preview")
        );
    }
    shot.farm.get(&format!("{preview}?fps=0")).ok(400);
    let strange = "/api/farm/v1/shots/00000000-0000-4000-8000-000000000000/preview";
    shot.farm.get(strange).ok(404);
}
