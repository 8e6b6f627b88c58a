// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao shaman`: collection from the command line, without a running Manager.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::harness::{Run, run, tablao};

/// A studio looks before it deletes: the dry run names what goes, and only the other one removes it.
#[test]
fn collection_tells_before_it_removes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let storage = folder.path().join("storage");
    let stored = storage.join(
        "file-store/stored/e3/b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    fs::create_dir_all(&stored).unwrap();
    fs::create_dir_all(&data).unwrap();
    let blob = stored.join("0.blob");
    let file = fs::File::create(&blob).unwrap();
    let age = Duration::from_secs(40 * 24 * 3600);
    file.set_modified(SystemTime::now() - age).unwrap();
    let gc = |more: &[&str]| {
        let mut command = tablao();
        command
            .args(["shaman", "gc", "--json", "--data"])
            .arg(&data);
        Run::of(command.args(more))
    };
    gc(&[]).ended(2).says(&["shared_storage_path"]);
    let config = format!("shared_storage_path = {storage:?}\n[shaman]\nenabled = true\n");
    fs::write(data.join("tablao.toml"), config).unwrap();
    let told = gc(&["--dry-run"]).ended(0).json();
    let name = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0";
    assert_eq!(told["files"], json!([name]));
    assert!(blob.exists());
    let done = gc(&[]).ended(0).json();
    assert_eq!(done["files"], json!([name]));
    assert!(!blob.exists());
    fs::remove_dir_all(&storage).unwrap();
    gc(&[]).ended(1).says(&["mount"]);
    run(&["shaman", "gc", "--no-such-option"]).ended(2);
}
