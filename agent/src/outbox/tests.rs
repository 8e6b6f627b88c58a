// SPDX-License-Identifier: GPL-3.0-or-later
//! The outbox across restarts, cuts at every byte, damage and a full disk. Kills of a whole
//! Worker are in `tests/kills.rs`.

use super::*;
use crate::wire::UpdateExtension;

fn update(attempt: &str, status: Option<&str>, log: Option<&str>) -> Entry {
    Entry::Update {
        task: "task".into(),
        update: TaskUpdate {
            task_status: status.map(str::to_owned),
            log: log.map(str::to_owned),
            tablao: Some(UpdateExtension {
                attempt: attempt.into(),
                ..UpdateExtension::default()
            }),
            ..TaskUpdate::default()
        },
    }
}

fn logs(outbox: &Outbox) -> Vec<String> {
    let updates = outbox.oldest_updates(100);
    updates
        .into_iter()
        .filter_map(|(_, _, update)| update.log)
        .collect()
}

#[tokio::test]
async fn what_was_not_done_is_there_after_a_restart_in_order() {
    // Protects reports across a kill: all of them, in order, without those that were taken.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let mut last = 0;
    for round in 0..3 {
        let outbox = Outbox::open(&path).unwrap();
        for number in 0..10 {
            let text = format!("{round}-{number}");
            let seq = outbox
                .put(update("a", None, Some(&text)), Sync::Required)
                .await
                .unwrap();
            assert!(seq > last, "numbers never repeat");
            last = seq;
        }
        let taken: Vec<Seq> = outbox
            .oldest_updates(5)
            .iter()
            .map(|entry| entry.0)
            .collect();
        outbox.done(taken);
        // A required entry after the mark makes it durable as well.
        outbox
            .put(update("b", None, None), Sync::Required)
            .await
            .unwrap();
        last += 1;
    }
    let outbox = Outbox::open(&path).unwrap();
    let logs = logs(&outbox);
    assert_eq!(logs.first().map(String::as_str), Some("1-4"));
    assert_eq!(logs.last().map(String::as_str), Some("2-9"));
    assert_eq!(outbox.log_bytes(), logs.concat().len());
}

#[tokio::test]
async fn a_file_cut_anywhere_gives_a_prefix_of_what_was_said() {
    // Protects against a kill in the middle of a write, at every byte.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    {
        let outbox = Outbox::open(&path).unwrap();
        for text in ["one", "two ü", "three"] {
            outbox
                .put(update("a", None, Some(text)), Sync::Required)
                .await
                .unwrap();
        }
    }
    let whole = std::fs::read(&path).unwrap();
    let all = ["one", "two ü", "three"];
    let mut seen = std::collections::BTreeSet::new();
    for kept in 0..=whole.len() {
        let path = dir.path().join(format!("cut-{kept}"));
        std::fs::write(&path, &whole[..kept]).unwrap();
        let outbox = Outbox::open(&path).unwrap();
        let logs = logs(&outbox);
        assert_eq!(logs, all[..logs.len()], "cut at {kept}");
        seen.insert(logs.len());
        // And it goes on from there.
        outbox
            .put(update("a", None, Some("more")), Sync::Required)
            .await
            .unwrap();
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn damage_before_the_end_is_refused_with_advice() {
    // Protects against silently dropping reports from a file that something else changed.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    std::fs::write(&path, b"{\"done\":[1]}\nnonsense\n{\"done\":[2]}\n").unwrap();
    let error = Outbox::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("move the file away"),
        "{error}"
    );
}

#[tokio::test]
async fn attempts_with_something_to_tell_are_held_and_others_are_not() {
    // Protects sign-on: a status is worth waiting for, log text of a dead attempt is not.
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(&dir.path().join("outbox")).unwrap();
    for entry in [
        update("log only", None, Some("text")),
        update("started", Some("active"), None),
        update("ended", Some("completed"), None),
    ] {
        outbox.put(entry, Sync::Required).await.unwrap();
    }
    assert_eq!(outbox.held_attempts(), ["ended"]);
    outbox.drop_attempt("ended");
    assert!(outbox.held_attempts().is_empty());
    assert_eq!(outbox.oldest_updates(9).len(), 2);
}

#[tokio::test]
async fn draining_waits_for_reports_that_are_still_being_written() {
    // Protects the order "everything said, then the next ask".
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(&dir.path().join("outbox")).unwrap();
    for _ in 0..50 {
        let seq = outbox.put_later(update("a", None, Some("x"))).unwrap();
        let waiting = {
            let outbox = outbox.clone();
            tokio::spawn(async move { outbox.drained().await })
        };
        outbox.has_updates().await.unwrap();
        assert!(!waiting.is_finished());
        outbox.done(vec![seq]);
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_large_file_is_written_anew_without_losing_what_is_open() {
    // Protects start-up time and the disk: what is done does not pile up.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = Outbox::open(&path).unwrap();
    let kept = outbox
        .put(update("a", Some("completed"), None), Sync::Required)
        .await
        .unwrap();
    let text = "x".repeat(100_000);
    for _ in 0..60 {
        let seq = outbox
            .put(update("b", None, Some(&text)), Sync::Later)
            .await
            .unwrap();
        outbox.done(vec![seq]);
    }
    let last = outbox
        .put(update("b", None, None), Sync::Required)
        .await
        .unwrap();
    assert!(path.metadata().unwrap().len() <= COMPACT_BYTES + 200_000);
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    let left: Vec<Seq> = outbox
        .oldest_updates(9)
        .iter()
        .map(|entry| entry.0)
        .collect();
    assert_eq!(left, [kept, last]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_final_and_told_to_everybody() {
    // Protects the promise "durable before it is acted on" when the disk is full.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = Outbox::open(&path).unwrap();
    let full = Writer {
        path: path.clone(),
        file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
        shared: Arc::clone(&outbox.shared),
    };
    let (orders, inbox) = mpsc::channel();
    let outbox = Outbox {
        shared: outbox.shared,
        orders,
    };
    std::thread::spawn(move || full.run(&inbox));
    let error = outbox
        .put(update("a", None, None), Sync::Required)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("outbox"), "{error}");
    assert!(outbox.put_later(update("a", None, None)).is_err());
    assert!(outbox.drained().await.is_err());
}
