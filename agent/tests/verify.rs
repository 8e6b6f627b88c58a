// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands that look at frames' files, run by a Worker against a Manager over real HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::path::Path;

use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};

fn picture(path: &Path, grey: u8) {
    let picture = image::RgbImage::from_pixel(20, 10, image::Rgb([grey; 3]));
    picture.save(path).unwrap();
}

/// What was found, in the order of its being told.
fn findings(manager: &Manager) -> Vec<Value> {
    let mut found = Vec::new();
    manager.change(|heard| {
        for (_, update) in &heard.updates {
            let told = update["tablao"]["findings"].as_array();
            found.extend(told.into_iter().flatten().cloned());
        }
    });
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_looks_at_files_and_tells_what_is_wrong() {
    // Protects farms whose Manager does not see the storage: a task finds the same faults, tells of
    // the good files too, and fails only where that was asked for.
    let out = tempfile::tempdir().unwrap();
    let file = |name: &str| out.path().join(name);
    for (number, grey) in [(1, 90), (2, 0), (3, 90), (4, 90), (5, 90)] {
        picture(&file(&format!("f_{number:04}.png")), grey);
    }
    std::fs::write(file("f_0004.png"), b"").unwrap();
    let whole = std::fs::read(file("f_0005.png")).unwrap();
    std::fs::write(file("f_0005.png"), &whole[..whole.len() - 20]).unwrap();
    let command = |fail: bool, path: &Path| {
        json!([{ "name": "verify-frames", "parameters": {
            "path": path, "frames": "1-6", "fail": fail, "shot": "another",
        } }])
    };
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let nowhere = out.path().join("nowhere").join("f_####.png");
    manager.change(|heard| {
        let files = file("f_####.png");
        heard.tasks.push_back(task("tells", command(false, &files)));
        heard.tasks.push_back(task("fails", command(true, &files)));
        heard
            .tasks
            .push_back(task("blind", command(false, &nowhere)));
    });
    let worker = RunningWorker::start(&manager, dir.path());
    let end = manager.task_end("tells").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("tells"));
    let told = findings(&manager);
    let flags: Vec<&Value> = told[..6].iter().map(|found| &found["flags"]).collect();
    assert_eq!(told[0]["shot"], "another");
    assert!(flags[0].is_null() && flags[2].is_null(), "{told:?}");
    assert_eq!(
        (flags[1], flags[3], flags[4], flags[5]),
        (
            &json!(["black"]),
            &json!(["empty"]),
            &json!(["truncated"]),
            &json!(["missing"])
        )
    );
    let hash = blake3::hash(&std::fs::read(file("f_0001.png")).unwrap());
    assert_eq!(told[0]["hash"], hash.to_string());
    let end = manager.task_end("fails").await;
    assert_eq!(end["taskStatus"], "failed");
    assert_eq!(end["tablao"]["failure"]["class"], "missing_output");
    let end = manager.task_end("blind").await;
    assert_eq!(end["tablao"]["failure"]["class"], "io", "{end}");
    assert_eq!(
        findings(&manager).len(),
        12,
        "a blind worker accuses nobody"
    );
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thumbnails_are_made_anew_by_a_task() {
    // Protects shots whose thumbnails were lost: they are sent again, or written where asked.
    let out = tempfile::tempdir().unwrap();
    let file = |name: &str| out.path().join(name);
    picture(&file("f_0007.png"), 90);
    let clear = image::RgbaImage::from_pixel(8, 8, image::Rgba([9, 9, 9, 9]));
    clear.save(file("clear.png")).unwrap();
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    manager.change(|heard| {
        heard.tasks.push_back(task(
            "made",
            json!([
                { "name": "make-thumbnail", "parameters": { "path": file("f_####.png"), "frames": "7" } },
                { "name": "make-thumbnail", "parameters": { "path": file("clear.png"), "outputFile": file("small.jpg") } },
            ]),
        ));
    });
    let worker = RunningWorker::start(&manager, dir.path());
    let end = manager.task_end("made").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("made"));
    manager
        .until("a thumbnail", |heard| {
            let (name, _, size) = heard.thumbnails.first()?;
            assert_eq!(name, "shot-1/f_0007_thumbnail.jpg");
            assert_eq!(*size, (20, 10));
            Some(())
        })
        .await;
    assert!(
        file("small.png").exists(),
        "transparent: a PNG, whatever was asked"
    );
    worker.shut_down().await;
}
