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
            let seq = outbox.put(update("a", None, Some(&text))).await.unwrap();
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
        outbox.put(update("b", None, None)).await.unwrap();
        last += 1;
    }
    let outbox = Outbox::open(&path).unwrap();
    let logs = logs(&outbox);
    assert_eq!(logs.first().map(String::as_str), Some("1-4"));
    assert_eq!(logs.last().map(String::as_str), Some("2-9"));
    assert_eq!(outbox.log_bytes(), logs.concat().len());
}

/// The newest segment file of the newest generation.
fn newest_segment(root: &Path) -> std::path::PathBuf {
    let newest = |dir: &Path, ending: Option<&str>| {
        let entries = std::fs::read_dir(dir).unwrap().flatten();
        let paths = entries.map(|entry| entry.path());
        paths
            .filter(|path| path.extension().and_then(|text| text.to_str()) == ending)
            .max()
            .unwrap()
    };
    newest(&newest(root, None), Some("seg"))
}

/// How far a segment is written; behind that the journal keeps a reserve of zeros. A few bytes more,
/// because a checksum may end in zeros itself.
fn written(segment: &Path) -> u64 {
    let bytes = std::fs::read(segment).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    last as u64 + 9
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_gives_a_prefix_of_what_was_said() {
    // Protects against a kill in the middle of a write, at every byte of the newest entries.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = Outbox::open(&path).unwrap();
    let begun = written(&newest_segment(&path));
    let all = ["one", "two ü", "three"];
    for text in all {
        outbox.put(update("a", None, Some(text))).await.unwrap();
    }
    // Copied while it is open: as after a kill, without the mark of an orderly end.
    let killed = dir.path().join("killed");
    copy_folder(&path, &killed);
    let whole = written(&newest_segment(&killed));
    let mut seen = std::collections::BTreeSet::new();
    for kept in (begun..=whole).step_by(13).chain([whole]) {
        let cut = dir.path().join(format!("cut-{kept}"));
        copy_folder(&killed, &cut);
        let segment = std::fs::File::options()
            .write(true)
            .open(newest_segment(&cut));
        segment.unwrap().set_len(kept).unwrap();
        let outbox = Outbox::open(&cut).unwrap();
        let logs = logs(&outbox);
        assert_eq!(logs, all[..logs.len()], "cut at {kept}");
        seen.insert(logs.len());
        // And it goes on from there.
        outbox.put(update("a", None, Some("more"))).await.unwrap();
        drop(outbox);
        std::fs::remove_dir_all(&cut).unwrap();
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn a_beginning_that_was_cut_short_does_not_count() {
    // Protects open entries against a kill while they are copied to a new generation.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = Outbox::open(&path).unwrap();
    outbox.put(update("a", None, Some("kept"))).await.unwrap();
    drop(outbox);
    // What a kill right after the making of the next folder leaves.
    std::fs::create_dir(path.join("0000000009")).unwrap();
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(logs(&outbox), ["kept"]);
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!(logs(&outbox), ["kept"]);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}

#[tokio::test]
async fn damage_before_the_end_is_refused() {
    // Protects against silently dropping reports from a journal that something else changed.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = Outbox::open(&path).unwrap();
    for text in ["one", "two", "three"] {
        outbox.put(update("a", None, Some(text))).await.unwrap();
    }
    drop(outbox);
    let segment = newest_segment(&path);
    let mut content = std::fs::read(&segment).unwrap();
    let at = content
        .windows(3)
        .position(|window| window == b"one")
        .unwrap();
    content[at] ^= 1;
    std::fs::write(&segment, &content).unwrap();
    let error = Outbox::open(&path).unwrap_err();
    assert!(matches!(error, Error::Outbox { .. }), "{error}");
    assert!(error.to_string().contains("damaged"), "{error}");
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
        outbox.put(entry).await.unwrap();
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
async fn a_large_journal_is_begun_anew_without_losing_what_is_open() {
    // Protects start-up time and the disk: what is done does not pile up.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = Outbox::open(&path).unwrap();
    let kept = outbox
        .put(update("a", Some("completed"), None))
        .await
        .unwrap();
    let text = "x".repeat(100_000);
    for _ in 0..60 {
        let seq = outbox.put(update("b", None, Some(&text))).await.unwrap();
        outbox.done(vec![seq]);
    }
    let last = outbox.put(update("b", None, None)).await.unwrap();
    assert!(newest_segment(&path).metadata().unwrap().len() < 5_000_000);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    drop(outbox);
    let outbox = Outbox::open(&path).unwrap();
    let entries = outbox.oldest_updates(9);
    let left: Vec<Seq> = entries.iter().map(|entry| entry.0).collect();
    assert_eq!(left, [kept, last]);
}

#[tokio::test]
async fn a_failed_write_is_final_and_told_to_everybody() {
    // Protects the promise "durable before it is acted on" when the disk is full.
    use tablao_journal::{FaultPlan, FaultyFiles, Journal, JournalId, MemoryFiles, OpenOptions};
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(&dir.path().join("outbox")).unwrap();
    let plan = FaultPlan {
        // More than the journal reserves at once, and less than that twice.
        space_bytes: Some(300 << 10),
        ..FaultPlan::default()
    };
    let files = FaultyFiles::new(Arc::new(MemoryFiles::new()), plan);
    let options = OpenOptions::new(JournalId([7; 16]), 1);
    let journal = Journal::open(Arc::new(files), &options).unwrap().journal;
    let writer = WriterThread::start(Store::on(journal), Arc::clone(&outbox.shared)).unwrap();
    let outbox = Outbox {
        shared: Arc::clone(&outbox.shared),
        writer: Arc::new(writer),
    };
    outbox.put(update("a", None, Some("fits"))).await.unwrap();
    let large = "x".repeat(400_000);
    let error = outbox
        .put(update("a", None, Some(&large)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("outbox"), "{error}");
    assert_eq!(logs(&outbox), ["fits"]);
    assert!(outbox.put_later(update("a", None, None)).is_err());
    assert!(outbox.drained().await.is_err());
}
