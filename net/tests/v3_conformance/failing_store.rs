// SPDX-License-Identifier: GPL-3.0-or-later
//! What workers hear when files beside the journal cannot be written: an answer as ever, or a
//! connection that closes without a word. A journal that cannot be written ends the process,
//! which is tests/bad_store.rs.

use std::{fs, io::Read as _};

use serde_json::json;

use crate::ground::Grounds;

/// Protects a worker from an id that opens nothing: where its secret cannot be kept, it hears
/// nothing at all, nobody new is known, and the same call succeeds once the disk is mended.
#[test]
fn a_registration_that_cannot_be_kept_gets_no_answer() {
    let grounds = Grounds::default();
    let ground = grounds.bare();
    let secrets = ground.node.data.path("worker-secrets.json");
    fs::create_dir(&secrets).unwrap();
    let body = json!({
        "name": "early", "secret": "ab", "platform": "linux", "supported_task_types": ["misc"],
    });
    let head = format!(
        "POST /api/v3/worker/register-worker HTTP/1.1\r\nHost: farm\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    let mut answer = Vec::new();
    let mut connection = ground.begin(&head);
    let _ = connection.read_to_end(&mut answer);
    assert_eq!(String::from_utf8_lossy(&answer), "", "no word of it");
    let known = ground.call("fetchWorkers").send();
    assert_eq!(known.json(), &json!({ "workers": [] }));

    fs::remove_dir(&secrets).unwrap();
    let registered = ground.call("registerWorker").json(&body).send();
    assert_eq!(registered.code, 200);
    let known = ground.call("fetchWorkers").send();
    assert_eq!(known.json()["workers"].as_array().unwrap().len(), 1);
}

/// Protects a task from a log that cannot be written: what the worker reports counts all the same,
/// since log text is the stated exception to what is kept, and a frame is worth more.
#[test]
fn a_report_counts_when_its_log_cannot_be_written() {
    let grounds = Grounds::default();
    let ground = grounds.bare();
    let worker = ground.awake("hut");
    let job = ground.job("without logs");
    let task = ground.task(&worker);
    let logs = ground.node.data.path("logs").join(&job);
    fs::create_dir_all(logs.parent().unwrap()).unwrap();
    fs::write(&logs, b"in the way").unwrap();
    let update = json!({ "taskStatus": "completed", "activity": "done", "log": "words\n" });
    let answer = ground
        .call("taskUpdate")
        .by(&worker)
        .at(&task)
        .json(&update)
        .send();
    assert_eq!(answer.code, 204);
    let shown = ground.call("fetchTask").at(&task).send();
    assert_eq!(shown.json()["status"], "completed");
    assert_eq!(shown.json()["activity"], "done");
}

/// Protects a task from a picture that cannot be kept: the worker goes on, and there is no picture.
#[test]
fn a_picture_that_cannot_be_kept_costs_nothing_else() {
    let grounds = Grounds::default();
    let ground = grounds.bare();
    let worker = ground.awake("hut");
    let job = ground.job("without pictures");
    let task = ground.task(&worker);
    let pictures = ground.node.data.path("previews");
    let _ = fs::remove_dir_all(&pictures);
    fs::write(&pictures, b"in the way").unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::new(16, 9);
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    for _ in 0..2 {
        let call = ground.call("taskOutputProduced").by(&worker).at(&task);
        let code = call.body("image/png", png.get_ref()).send().code;
        assert!(matches!(code, 202 | 429), "{code}");
    }
    assert_eq!(
        ground
            .call("mayWorkerRun")
            .by(&worker)
            .at(&task)
            .send()
            .code,
        200
    );
    assert_eq!(
        ground.call("fetchJobLastRenderedInfo").at(&job).send().code,
        204
    );
}
