// SPDX-License-Identifier: GPL-3.0-or-later
//! Checkouts and their erasing: whole or not there, inside their folder, and nobody else's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Shelf, file, id_of, requested};
use tablao_shaman::{CheckoutPath, Error, LinkMethod};

/// What a job reads is what was sent, by links that go by way of parents.
#[cfg(unix)]
#[test]
fn a_checkout_is_folders_of_relative_links() {
    let shelf = Shelf::new();
    let (scene, wood) = (shelf.send(b"scene"), shelf.send(b"wood"));
    let files = [
        file("scene.blend", scene),
        file("textures/deep/дерево.png", wood),
        file("copy of scene.blend", scene),
        file("scene.blend", scene), // asked for twice
    ];
    let made = shelf
        .store
        .checkout(&requested("проект/木"), &files)
        .unwrap();
    assert_eq!(made.as_str(), "проект/木");
    let tree = shelf.tree("jobs");
    assert_eq!(tree.len(), 3, "nothing hidden is left: {tree:?}");
    assert_eq!(tree["проект/木/scene.blend"], "scene");
    assert_eq!(tree["проект/木/textures/deep/дерево.png"], "wood");
    let link = fs::read_link(shelf.path("jobs/проект/木/scene.blend")).unwrap();
    let checksum = scene.checksum();
    let expected = format!(
        "../../../file-store/stored/{}/{}/5.blob",
        &checksum[..2],
        &checksum[2..]
    );
    assert_eq!(link.to_str().unwrap(), expected);
    // The storage is mounted elsewhere on other machines.
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    fs::rename(shelf.root.path(), &moved).unwrap();
    assert_eq!(
        fs::read(moved.join("jobs/проект/木/scene.blend")).unwrap(),
        b"scene"
    );
    fs::rename(&moved, shelf.root.path()).unwrap();
}

/// Where links fail, the contents arrive all the same.
#[test]
fn hard_links_and_copies_do_as_well() {
    for method in [LinkMethod::Hard, LinkMethod::Copy] {
        let shelf = Shelf::new();
        let scene = shelf.send(b"scene");
        let store = shelf.store.clone().with_links(&[method]);
        let made = store
            .checkout(&requested("a/b"), &[file("x/scene.blend", scene)])
            .unwrap();
        assert_eq!(shelf.tree("jobs")["a/b/x/scene.blend"], "scene");
        let kind = fs::symlink_metadata(shelf.path("jobs/a/b/x/scene.blend")).unwrap();
        assert!(kind.is_file());
        assert!(store.erase(&made).unwrap());
        assert_eq!(
            fs::read(shelf.blob(scene)).unwrap(),
            b"scene",
            "the store keeps its own"
        );
    }
}

/// A second job of the same name gets a folder of its own and leaves the first one alone.
#[test]
fn a_taken_name_gets_a_suffix() {
    let shelf = Shelf::new();
    let (one, two) = (shelf.send(b"one"), shelf.send(b"two"));
    let name = requested("проект/shot");
    let first = shelf.store.checkout(&name, &[file("f", one)]).unwrap();
    let second = shelf.store.checkout(&name, &[file("f", two)]).unwrap();
    assert_eq!(first, name);
    let suffix = second.as_str().strip_prefix("проект/shot-").unwrap();
    assert_eq!(suffix.len(), 4);
    assert!(
        suffix
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    );
    let tree = shelf.tree("jobs");
    assert_eq!(tree["проект/shot/f"], "one");
    assert_eq!(tree[&format!("{second}/f")], "two");
    // Somebody's empty folder, a file and a dangling link are somebody's, too.
    fs::create_dir(shelf.path("jobs/empty")).unwrap();
    fs::write(shelf.path("jobs/file"), "mine").unwrap();
    for name in ["empty", "file"] {
        let made = shelf
            .store
            .checkout(&requested(name), &[file("f", one)])
            .unwrap();
        assert_ne!(made.as_str(), name);
    }
    assert!(shelf.names("jobs/empty").is_empty());
    let long = requested(&"é".repeat(127));
    shelf.store.checkout(&long, &[]).unwrap();
    let suffixed = shelf.store.checkout(&long, &[]).unwrap();
    assert!(
        suffixed.as_str().len() <= 255,
        "the suffix finds room in a long name"
    );
}

/// Of many that want one name at the same time, each gets a whole checkout of its own.
#[test]
fn racing_checkouts_never_share_a_folder() {
    let shelf = Shelf::new();
    let contents: Vec<_> = (0..8_u8).map(|n| shelf.send(&[b'0' + n])).collect();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = contents
            .iter()
            .map(|id| {
                let store = shelf.store.clone();
                scope.spawn(move || {
                    store
                        .checkout(&requested("p/same"), &[file("f", *id)])
                        .unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let tree = shelf.tree("jobs");
    assert_eq!(tree.len(), 8, "{tree:?}");
    for (number, checkout) in made.iter().enumerate() {
        assert_eq!(tree[&format!("{checkout}/f")], number.to_string());
    }
}

/// A checkout that lacks a file is not made, and says which file.
#[test]
fn missing_files_are_named_and_nothing_is_left() {
    let shelf = Shelf::new();
    let there = shelf.send(b"there");
    let files = [
        file("a", there),
        file("b/c", id_of(b"gone")),
        file("d", id_of(b"gone too")),
    ];
    let error = shelf
        .store
        .checkout(&requested("p/q"), &files)
        .expect_err("files are missing");
    assert!(
        matches!(&error, Error::FilesMissing { count: 2, first } if first == "b/c"),
        "{error}"
    );
    assert!(shelf.names("jobs").is_empty());
}

/// A disk that refuses half-way leaves no half checkout, and no folders that were made for it.
#[test]
fn a_failure_half_way_leaves_nothing() {
    let shelf = Shelf::new();
    // Deep enough that the longest allowed path does not fit below it.
    let deep = (0..12).fold(shelf.root.path().to_owned(), |path, _| {
        path.join("d".repeat(190))
    });
    fs::create_dir_all(&deep).unwrap();
    let store = tablao_shaman::Store::new(&deep);
    let id = id_of(b"scene");
    let mut upload = common::begun(store.upload(id, false).unwrap());
    upload.write(b"scene").unwrap();
    upload.finish().unwrap();
    let too_deep = ["z".repeat(250).as_str(); 8].join("/");
    let files = [file("a", id), file("b/c", id), file(&too_deep, id)];
    let existing = store.checkout(&requested("p/other"), &files[..2]).unwrap();
    for name in ["p/q", "fresh/r", "p/other"] {
        let error = store
            .checkout(&requested(name), &files)
            .expect_err("too deep for the disk");
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
    let names = |folder: &str| {
        let entries = fs::read_dir(deep.join(folder)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("jobs"), ["p"]);
    assert_eq!(names("jobs/p"), ["other"]);
    let kept = deep.join("jobs").join(existing.as_str()).join("b/c");
    assert_eq!(
        fs::read(kept).unwrap(),
        b"scene",
        "the one that was there is untouched"
    );
}

/// Two things cannot be at one place; which of them was meant is the client's to say.
#[test]
fn places_that_clash_are_refused() {
    let shelf = Shelf::new();
    let (one, two) = (shelf.send(b"one"), shelf.send(b"two"));
    for files in [
        vec![file("a", one), file("a", two)],
        vec![file("a/b", one), file("a", two)],
        vec![file("a", one), file("a b", one), file("a/b/c", two)],
    ] {
        let error = shelf
            .store
            .checkout(&requested("p"), &files)
            .expect_err("a clash");
        assert!(
            matches!(&error, Error::Clash { path } if path == "a"),
            "{error}"
        );
    }
    assert!(shelf.names("jobs").is_empty());
}

/// A link among the folders of checkouts must not carry a checkout out of the storage.
#[cfg(unix)]
#[test]
fn links_on_the_way_are_not_followed() {
    let shelf = Shelf::new();
    let scene = shelf.send(b"scene");
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("precious")).unwrap();
    shelf
        .store
        .checkout(&requested("mine"), &[file("f", scene)])
        .unwrap();
    std::os::unix::fs::symlink(outside.path(), shelf.path("jobs/way")).unwrap();
    let error = shelf
        .store
        .checkout(&requested("way/out"), &[file("f", scene)])
        .expect_err("a link");
    assert!(matches!(error, Error::NotACheckout { .. }), "{error}");
    for id in ["way/precious", "way", "mine/f"] {
        let id = CheckoutPath::existing(id).unwrap();
        let error = shelf.store.erase(&id).expect_err("not a checkout");
        assert!(matches!(error, Error::NotACheckout { .. }), "{error}");
        assert!(shelf.store.has_checkout(&id).is_err());
    }
    assert!(outside.path().join("precious").exists());
    assert_eq!(
        fs::read_dir(outside.path()).unwrap().count(),
        1,
        "nothing was made there"
    );
}

/// Erasing takes one checkout and empty folders above it, never the folder of all checkouts.
#[test]
fn erasing_takes_one_checkout_only() {
    let shelf = Shelf::new();
    let scene = shelf.send(b"scene");
    let make = |path: &str| {
        shelf
            .store
            .checkout(&requested(path), &[file("f/g", scene)])
            .unwrap()
    };
    let (one, two, three) = (make("p/one"), make("p/two"), make("three"));
    assert!(shelf.store.erase(&one).unwrap());
    assert!(!shelf.store.erase(&one).unwrap(), "again is as good");
    assert!(!shelf.store.has_checkout(&one).unwrap());
    assert_eq!(shelf.names("jobs"), ["p", "three"]);
    assert!(shelf.store.has_checkout(&two).unwrap());
    assert!(shelf.store.erase(&two).unwrap());
    assert_eq!(shelf.names("jobs"), ["three"]);
    assert!(shelf.store.erase(&three).unwrap());
    assert!(shelf.path("jobs").is_dir());
    assert!(shelf.names("jobs").is_empty());
    assert!(
        shelf.blob(scene).exists(),
        "links are removed, not what they lead to"
    );
}
