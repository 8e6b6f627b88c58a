// SPDX-License-Identifier: GPL-3.0-or-later
//! Shaman as Flamenco's add-on meets it, on a Manager that really runs.
//!
//! The store's own rules are tested beside it; here it is codes, headers, streams, and the job
//! that a checkout belongs to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{convert::Infallible, fs, io, path::PathBuf};

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use support::{
    Answer, Farm,
    flamenco::{nothing, refused},
};
use tablao_net::shaman;

const FILES: &str = "/api/v3/shaman/files";
const REQUIREMENTS: &str = "/api/v3/shaman/checkout/requirements";
const CREATE: &str = "/api/v3/shaman/checkout/create";

/// A farm with shared storage of its own.
struct Shelf {
    farm: Farm,
    storage: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Self {
        let storage = tempfile::tempdir().unwrap();
        let farm = Farm::with_config(&format!(
            "shared_storage_path = {:?}\n[shaman]\nenabled = true\n",
            storage.path()
        ));
        Self { farm, storage }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.storage.path().join(relative)
    }

    fn upload(&self, contents: &[u8], headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.farm.call("POST", &address(contents), headers, body)
    }

    fn send(&self, contents: &[u8]) {
        nothing(self.upload(contents, &[], contents.to_vec()));
    }

    fn status(&self, contents: &[u8]) -> Value {
        self.farm.read(&address(contents))["status"].clone()
    }

    fn checkout(&self, path: &str, files: &[Value]) -> Answer {
        let body = json!({ "checkoutPath": path, "files": files });
        self.farm.post(CREATE, &body)
    }

    /// Files in the store, whole or in part.
    fn count(&self) -> usize {
        fn below(folder: PathBuf) -> usize {
            let entries = fs::read_dir(folder).into_iter().flatten();
            entries
                .map(|entry| {
                    let entry = entry.unwrap();
                    if entry.file_type().unwrap().is_dir() {
                        below(entry.path())
                    } else {
                        1
                    }
                })
                .sum()
        }
        below(self.path("file-store"))
    }
}

fn checksum(contents: &[u8]) -> String {
    let digest = Sha256::digest(contents);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn address(contents: &[u8]) -> String {
    format!("{FILES}/{}/{}", checksum(contents), contents.len())
}

fn spec(contents: &[u8], path: &str) -> Value {
    json!({ "sha": checksum(contents), "size": contents.len(), "path": path })
}

#[track_caller]
fn empty(answer: Answer, status: u16) {
    let answer = answer.ok(status);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("content-type"), "");
}

/// The add-on's whole way: what is lacking, upload, again, checkout, and the job reads its files.
#[test]
fn files_arrive_as_the_addon_sends_them() {
    let shelf = Shelf::new();
    let (scene, wood): (&[u8], &[u8]) = (b"scene", b"");
    let files = [
        spec(scene, "scene.blend"),
        spec(wood, "textures/дерево.png"),
        spec(scene, "copy.blend"),
    ];
    let ask = json!({ "files": files });
    let lacking = shelf.farm.post(REQUIREMENTS, &ask).ok(200).json();
    let unknown = |file: &Value| {
        let mut file = file.clone();
        file["status"] = json!("unknown");
        file
    };
    let expected = json!({ "files": [unknown(&files[0]), unknown(&files[1])] });
    assert_eq!(lacking, expected, "each contents once");
    let headers = [
        ("content-type", "application/octet-stream"),
        ("x-shaman-can-defer-upload", "True"),
        (
            "x-shaman-original-filename",
            "=?utf-8?b?0LTQtdGA0LXQstC+LnBuZw==?=",
        ),
    ];
    assert_eq!(shelf.status(wood), "unknown");
    nothing(shelf.upload(wood, &headers, wood.to_vec()));
    nothing(shelf.upload(scene, &headers, scene.to_vec()));
    empty(shelf.upload(scene, &headers, scene.to_vec()), 208);
    assert_eq!(shelf.status(scene), "stored");
    let lacking = shelf.farm.post(REQUIREMENTS, &ask).ok(200).json();
    assert_eq!(lacking, json!({ "files": [] }));
    let made = shelf.checkout("проект/shot 1", &files).ok(200).json();
    assert_eq!(made, json!({ "checkoutPath": "проект/shot 1" }));
    let read = |path: &str| fs::read(shelf.path("jobs/проект/shot 1").join(path)).unwrap();
    assert_eq!(read("copy.blend"), scene);
    assert_eq!(read("textures/дерево.png"), wood);
    let second = shelf.checkout("проект/shot 1", &files).ok(200).json();
    assert_ne!(second, made);
    // Clients build paths by what these say.
    let location = shelf.path("jobs").to_str().unwrap().to_owned();
    let storage = shelf
        .farm
        .read("/api/v3/configuration/shared-storage/users/linux");
    assert_eq!(storage["location"], location.as_str());
    assert_eq!(storage["shamanEnabled"], true);
    let configuration = shelf.farm.read("/api/v3/configuration");
    assert_eq!(configuration["storageLocation"], location.as_str());
    assert_eq!(configuration["shamanEnabled"], true);
}

/// What is not as announced is 417 with words, and nothing of it stays.
#[test]
fn uploads_that_lie_are_refused() {
    let shelf = Shelf::new();
    refused(shelf.upload(b"scene", &[], "SCENE"), 417, "checksum");
    refused(shelf.upload(b"scene", &[], "scen"), 417, "5 were announced");
    refused(
        shelf.upload(b"scene", &[], "scene and more"),
        417,
        "5 were announced",
    );
    let length = [("content-length", "7")];
    refused(shelf.upload(b"scene", &length, "scene"), 417, "7 bytes");
    refused(shelf.upload(b"scene", &[], ""), 417, "0 bytes");
    assert_eq!(shelf.count(), 0);
    assert_eq!(shelf.status(b"scene"), "unknown");
}

/// A connection that breaks in the middle stores nothing, though all that came was right.
#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let shelf = Shelf::new();
    let pieces = [
        Ok(Bytes::from_static(b"scene")),
        Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    ];
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    refused(shelf.upload(b"scene", &[], body), 400, "");
    assert_eq!(shelf.count(), 0);
    shelf.send(b"scene");
}

/// While one client sends, one that can wait is told so, and one that cannot is taken; both end well.
#[test]
fn clients_that_send_the_same_file_do_not_disturb_each_other() {
    let shelf = Shelf::new();
    let (say, hear) = piecewise();
    let farm = &shelf.farm;
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| shelf.upload(b"scene", &[], Body::from_stream(hear)));
        say.blocking_send(Ok(Bytes::from_static(b"sce"))).unwrap();
        while shelf.status(b"scene") != "uploading" {
            std::thread::yield_now();
        }
        let ask = json!({ "files": [spec(b"scene", "a")] });
        let lacking = farm.post(REQUIREMENTS, &ask).ok(200).json();
        assert_eq!(lacking["files"][0]["status"], "uploading");
        let wait = [("x-shaman-can-defer-upload", "true")];
        empty(shelf.upload(b"scene", &wait, "scene"), 425);
        nothing(shelf.upload(b"scene", &[("x-shaman-can-defer-upload", "False")], "scene"));
        say.blocking_send(Ok(Bytes::from_static(b"ne"))).unwrap();
        drop(say);
        empty(slow.join().unwrap(), 208);
    });
    assert_eq!(shelf.count(), 1);
}

type Sending = tokio::sync::mpsc::Sender<Result<Bytes, Infallible>>;

/// A body that a test sends piece by piece.
fn piecewise() -> (
    Sending,
    tokio_stream::wrappers::ReceiverStream<Result<Bytes, Infallible>>,
) {
    let (say, hear) = tokio::sync::mpsc::channel(1);
    (say, tokio_stream::wrappers::ReceiverStream::new(hear))
}

/// Every field that takes a path or a checksum refuses what could lead elsewhere.
#[test]
fn hostile_fields_are_400() {
    let shelf = Shelf::new();
    shelf.send(b"scene");
    let good = spec(b"scene", "a");
    for path in [
        "",
        "/etc/x",
        "../x",
        "a/../../x",
        "..",
        "a\\b",
        "C:/x",
        "a\u{0}b",
        "nul",
        "a//b",
    ] {
        let file = spec(b"scene", path);
        let ask = json!({ "files": [file.clone()] });
        refused(shelf.farm.post(REQUIREMENTS, &ask), 400, "path");
        refused(shelf.checkout("shot", &[good.clone(), file]), 400, "path");
        refused(
            shelf.checkout(path, std::slice::from_ref(&good)),
            400,
            "path",
        );
    }
    for path in ["a?", "a*", "a:b", "a;b", "{a}", ".tablao-checkout-x"] {
        refused(shelf.checkout(path, &[]), 400, "path");
    }
    let long = "x".repeat(5000);
    refused(shelf.checkout(&long, &[]), 400, "2048");
    let mut wrong = good.clone();
    wrong["sha"] = json!("../../../etc/passwd");
    refused(shelf.checkout("shot", &[wrong]), 400, "SHA-256");
    for (field, value) in [
        ("size", json!(-1)),
        ("size", json!("5")),
        ("path", json!(null)),
    ] {
        let mut wrong = good.clone();
        wrong[field] = value;
        refused(shelf.checkout("shot", &[wrong]), 400, "form");
    }
    let sum = checksum(b"scene");
    for address in [
        "a/5".to_owned(),
        "..%2f..%2fx/5".to_owned(),
        format!("{sum}/-5"),
        format!("{sum}/+5"),
        format!("{sum}/five"),
        format!("{sum}/99999999999999999999999"),
        format!("{}/5", &sum[1..]),
    ] {
        let address = format!("{FILES}/{address}");
        refused(shelf.farm.get(&address), 400, "");
        refused(shelf.farm.call("POST", &address, &[], "scene"), 400, "");
    }
    let headers = [("x-shaman-can-defer-upload", "perhaps")];
    refused(shelf.upload(b"x", &headers, "x"), 400, "Defer");
    let headers = [("x-shaman-original-filename", "=?utf-8?q?=C3?=")];
    refused(shelf.upload(b"x", &headers, "x"), 400, "RFC 2047");
    assert!(
        !shelf.path("jobs").exists() || fs::read_dir(shelf.path("jobs")).unwrap().next().is_none()
    );
    assert_eq!(shelf.count(), 1);
}

/// What a checkout lacks is 424, what clashes is 400, and neither leaves half of it.
#[test]
fn checkouts_that_cannot_be_leave_nothing() {
    let shelf = Shelf::new();
    shelf.send(b"scene");
    let scene = |path| spec(b"scene", path);
    refused(
        shelf.checkout("p/shot", &[scene("a"), spec(b"gone", "b")]),
        424,
        "\"b\"",
    );
    refused(
        shelf.checkout("p/shot", &[scene("a"), scene("a/b")]),
        400,
        "asked for twice",
    );
    assert!(!shelf.path("jobs/p").exists());
}

/// Deleting a job takes its own checkout and nobody else's, whatever id its submission named.
#[test]
fn a_checkout_goes_with_its_job() {
    let shelf = Shelf::new();
    shelf.send(b"scene");
    for path in ["p/one", "p/two", "shared"] {
        shelf.checkout(path, &[spec(b"scene", "a")]).ok(200);
    }
    let submit = |checkout: &str| {
        let body = json!({
            "name": "echo", "type": "echo-sleep-test", "submitter_platform": "linux",
            "settings": { "message": "m", "sleep_duration_seconds": 1, "sleep_repeats": 1 },
            "storage": { "shaman_checkout_id": checkout },
        });
        let job = shelf.farm.post("/api/v3/jobs", &body).ok(200).json();
        job["id"].as_str().unwrap().to_owned()
    };
    let told = |job: &str| {
        let address = format!("/api/v3/jobs/{job}/what-would-delete-do");
        shelf.farm.read(&address)["shaman_checkout"].clone()
    };
    let erase = |job: &str| shaman::erase_with(&shelf.farm.node, job.parse().unwrap()).unwrap();
    let one = submit("p/one");
    assert_eq!(told(&one), true);
    for hostile in ["..", ".", "../..", "/", "p", "gone", "p/one/a"] {
        let job = submit(hostile);
        assert_eq!(told(&job), false, "{hostile}");
        assert!(!shaman::erase_with(&shelf.farm.node, job.parse().unwrap()).unwrap_or(false));
    }
    let (shared, with) = (submit("shared"), submit("shared"));
    assert_eq!((told(&shared), told(&with)), (json!(false), json!(false)));
    assert!(!erase(&shared));
    for path in ["p/one/a", "p/two/a", "shared/a"] {
        assert_eq!(
            fs::read(shelf.path("jobs").join(path)).unwrap(),
            b"scene",
            "{path}"
        );
    }
    let two = submit("p/two");
    assert!(!erase(&two), "another job names the folder that it lies in");
}

/// A job's checkout is erased once; that it is gone already is no failure.
#[test]
fn erasing_again_is_as_good() {
    let shelf = Shelf::new();
    shelf.send(b"scene");
    shelf.checkout("p/one", &[spec(b"scene", "a")]).ok(200);
    let body = json!({
        "name": "echo", "type": "echo-sleep-test", "submitter_platform": "linux",
        "settings": { "message": "m", "sleep_duration_seconds": 1, "sleep_repeats": 1 },
        "storage": { "shaman_checkout_id": "p/one" },
    });
    let job = shelf.farm.post("/api/v3/jobs", &body).ok(200).json();
    let job = job["id"].as_str().unwrap().parse().unwrap();
    let node = &shelf.farm.node;
    assert!(shaman::goes_with(node, job));
    assert!(shaman::erase_with(node, job).unwrap());
    assert!(!shelf.path("jobs/p").exists());
    assert!(!shaman::erase_with(node, job).unwrap());
    assert!(!shaman::goes_with(node, job));
}

/// Switched off, or before anybody has said where the storage is, every operation says so.
#[test]
fn without_a_store_every_operation_is_503() {
    let storage = tempfile::tempdir().unwrap();
    let off = format!(
        "shared_storage_path = {:?}\n[shaman]\nenabled = false\n",
        storage.path()
    );
    for config in ["", off.as_str()] {
        let farm = Farm::with_config(config);
        let says = "shared_storage_path";
        refused(farm.post(REQUIREMENTS, &json!({ "files": [] })), 503, says);
        let create = json!({ "files": [], "checkoutPath": "a" });
        refused(farm.post(CREATE, &create), 503, says);
        refused(farm.get(&address(b"")), 503, says);
        refused(farm.call("POST", &address(b""), &[], ""), 503, says);
        assert_eq!(farm.read("/api/v3/configuration")["shamanEnabled"], false);
    }
    // The storage is then shared as it is, without a folder of checkouts.
    let farm = Farm::with_config(&off);
    let shared = farm.read("/api/v3/configuration/shared-storage/users/linux");
    assert_eq!(shared["location"], storage.path().to_str().unwrap());
}
