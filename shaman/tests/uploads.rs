// SPDX-License-Identifier: GPL-3.0-or-later
//! Sending files: only what was announced is ever stored, and whatever else happens leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    sync::{Arc, Barrier},
};

use common::{Shelf, age, begun, file, id_of};
use tablao_shaman::{Begin, BlobId, Collection, Error, Outcome, Status, Store};

/// The way of every file: unknown, being sent, stored; with the contents as they came.
#[test]
fn a_file_is_stored_when_all_of_it_has_come() {
    let shelf = Shelf::new();
    let id = id_of(b"scene");
    assert_eq!(shelf.store.status(id).unwrap(), Status::Unknown);
    assert!(shelf.names("").is_empty(), "asking makes nothing");
    let mut upload = begun(shelf.store.upload(id, true).unwrap());
    assert_eq!(shelf.store.status(id).unwrap(), Status::Uploading);
    upload.write(b"sce").unwrap();
    assert!(shelf.tree("file-store/stored").is_empty());
    upload.write(b"ne").unwrap();
    assert_eq!(upload.finish().unwrap(), Outcome::Stored);
    assert_eq!(shelf.store.status(id).unwrap(), Status::Stored);
    assert_eq!(fs::read(shelf.blob(id)).unwrap(), b"scene");
    assert!(shelf.names("file-store/uploading").is_empty());
    assert!(matches!(
        shelf.store.upload(id, false).unwrap(),
        Begin::AlreadyStored
    ));
    let another_manager = Store::new(shelf.root.path());
    assert_eq!(another_manager.status(id).unwrap(), Status::Stored);
}

/// Empty files are files: a script's `__init__.py` has to arrive.
#[test]
fn a_file_of_no_bytes_is_stored() {
    let shelf = Shelf::new();
    let id = shelf.send(b"");
    assert_eq!(id.size(), 0);
    assert_eq!(fs::read(shelf.blob(id)).unwrap(), b"");
}

/// A client that goes away half-way leaves nothing, and the next one begins afresh.
#[test]
fn an_aborted_upload_leaves_nothing() {
    let shelf = Shelf::new();
    let id = id_of(b"scene");
    let mut upload = begun(shelf.store.upload(id, false).unwrap());
    upload.write(b"sce").unwrap();
    drop(upload);
    assert_eq!(shelf.store.status(id).unwrap(), Status::Unknown);
    assert!(shelf.tree("").is_empty());
    assert!(
        shelf.names("file-store/uploading").is_empty(),
        "no empty folders either"
    );
    assert_eq!(shelf.send(b"scene"), id);
}

/// A checksum or size that lies is found out before anything counts as stored.
#[test]
fn what_was_not_announced_is_refused() {
    let shelf = Shelf::new();
    let honest = id_of(b"scene");
    let cases: [(BlobId, &[u8]); 4] = [
        (id_of(b"other"), b"scene"),
        (honest, b"scen"),
        (BlobId::parse(&honest.checksum(), 4).unwrap(), b"scene"),
        (BlobId::parse(&honest.checksum(), 0).unwrap(), b""),
    ];
    for (announced, sent) in cases {
        let mut upload = begun(shelf.store.upload(announced, false).unwrap());
        let error = upload
            .write(sent)
            .and_then(|()| upload.finish())
            .expect_err("it lied");
        assert!(
            matches!(
                error,
                Error::SizeMismatch { .. } | Error::ChecksumMismatch { .. }
            ),
            "{error}"
        );
        assert_eq!(shelf.store.status(announced).unwrap(), Status::Unknown);
        assert!(shelf.tree("").is_empty(), "nothing is left");
    }
    let endless = id_of(b"12345678");
    let mut upload = begun(shelf.store.upload(endless, false).unwrap());
    upload.write(b"1234").unwrap();
    let error = upload
        .write(&[0; 5])
        .expect_err("refused as soon as it is too much");
    assert!(matches!(error, Error::SizeMismatch { received: 9, .. }));
}

/// While one client sends a file, another can turn to its other files.
#[test]
fn a_client_that_can_wait_is_told_to() {
    let shelf = Shelf::new();
    let id = id_of(b"scene");
    let first = begun(shelf.store.upload(id, true).unwrap());
    assert!(matches!(
        shelf.store.upload(id, true).unwrap(),
        Begin::Deferred
    ));
    let second = begun(shelf.store.upload(id, false).unwrap());
    drop(first);
    assert!(matches!(
        shelf.store.upload(id, true).unwrap(),
        Begin::Deferred
    ));
    drop(second);
    begun(shelf.store.upload(id, true).unwrap());
}

/// Two that send the same file both end well, and the slower one hears of it at once.
#[test]
fn of_two_that_race_the_slower_one_is_told_to_stop() {
    let shelf = Shelf::new();
    let id = id_of(b"scene");
    let mut first = begun(shelf.store.upload(id, false).unwrap());
    let mut second = begun(shelf.store.upload(id, false).unwrap());
    first.write(b"sce").unwrap();
    second.write(b"scene").unwrap();
    assert!(!first.is_overtaken());
    assert_eq!(second.finish().unwrap(), Outcome::Stored);
    assert!(first.is_overtaken());
    first.write(b"ne").unwrap();
    assert_eq!(first.finish().unwrap(), Outcome::AlreadyStored);
    assert_eq!(shelf.tree("file-store").len(), 1, "stored once, no parts");
    // One that lies does not end well because another was honest.
    let shelf = Shelf::new();
    let mut honest = begun(shelf.store.upload(id, false).unwrap());
    let mut liar = begun(shelf.store.upload(id, false).unwrap());
    honest.write(b"scene").unwrap();
    liar.write(b"SCENE").unwrap();
    assert!(liar.finish().is_err());
    assert_eq!(honest.finish().unwrap(), Outcome::Stored);
}

/// The same with threads that really run into each other, many times.
#[test]
fn races_end_with_one_whole_file() {
    let shelf = Shelf::new();
    for round in 0..50_u32 {
        let contents: Arc<Vec<u8>> = Arc::new(round.to_le_bytes().repeat(1000));
        let id = id_of(&contents);
        let start = Arc::new(Barrier::new(4));
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (store, start) = (shelf.store.clone(), Arc::clone(&start));
                let contents = Arc::clone(&contents);
                std::thread::spawn(move || {
                    start.wait();
                    match store.upload(id, false).unwrap() {
                        Begin::Upload(mut upload) => {
                            upload.write(&contents[..1500]).unwrap();
                            upload.write(&contents[1500..]).unwrap();
                            upload.finish().unwrap();
                        }
                        Begin::AlreadyStored => {}
                        Begin::Deferred => panic!("it cannot wait"),
                    }
                    assert_eq!(store.status(id).unwrap(), Status::Stored);
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(fs::read(shelf.blob(id)).unwrap(), *contents);
        assert!(shelf.names("file-store/uploading").is_empty());
    }
}

/// Requirements name each contents that is lacking once, by the first path that asked for it.
#[test]
fn requirements_name_what_is_lacking_once() {
    let shelf = Shelf::new();
    let stored = shelf.send(b"stored");
    let (lacking, sent) = (id_of(b"lacking"), id_of(b"sent"));
    let _sending = begun(shelf.store.upload(sent, false).unwrap());
    age(&shelf.blob(stored), common::DAY * 40);
    let wanted = [
        file("a", stored),
        file("b", lacking),
        file("c", sent),
        file("d", lacking),
        file("e", stored),
        file("f", sent),
    ];
    let answer = shelf.store.requirements(&wanted).unwrap();
    let answer: Vec<_> = answer
        .iter()
        .map(|(file, status)| (file.path.as_str(), status.name()))
        .collect();
    assert_eq!(answer, [("b", "unknown"), ("c", "uploading")]);
    let touched = fs::metadata(shelf.blob(stored))
        .unwrap()
        .modified()
        .unwrap();
    assert!(
        touched.elapsed().unwrap() < common::DAY,
        "what a client was told not to send stays"
    );
}

/// A stored file that something cut short is sent again, and whole afterwards.
#[test]
fn a_damaged_file_is_not_stored_any_more() {
    let shelf = Shelf::new();
    let id = shelf.send(b"scene");
    fs::write(shelf.blob(id), b"sce").unwrap();
    assert_eq!(shelf.store.status(id).unwrap(), Status::Unknown);
    shelf.send(b"scene");
    assert_eq!(fs::read(shelf.blob(id)).unwrap(), b"scene");
}

/// A share that is not mounted is said to be so; nothing is written to where it should be.
#[test]
fn storage_that_is_not_there_is_not_made() {
    let shelf = Shelf::new();
    let missing = shelf.path("not/mounted");
    let store = Store::new(&missing);
    let id = id_of(b"");
    let is_missing = |error| assert!(matches!(error, Error::StorageMissing { .. }), "{error}");
    is_missing(store.status(id).expect_err("no storage"));
    is_missing(store.upload(id, false).expect_err("no storage"));
    let path = common::requested("a");
    is_missing(store.checkout(&path, &[]).expect_err("no storage"));
    let collection = Collection {
        now: std::time::SystemTime::now(),
        age_max: common::DAY,
        dry_run: false,
    };
    is_missing(store.collect(&collection).expect_err("no storage"));
    assert!(!missing.exists());
}

/// Workers run under other accounts: what is stored has the rights that the umask leaves, no less.
#[cfg(unix)]
#[test]
fn stored_files_have_ordinary_rights() {
    use std::os::unix::fs::PermissionsExt as _;
    let shelf = Shelf::new();
    let id = shelf.send(b"scene");
    let plain = shelf.path("plain");
    fs::write(&plain, "").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(shelf.blob(id)), mode(plain.clone()));
    fs::remove_file(&plain).unwrap();
    fs::create_dir(&plain).unwrap();
    assert_eq!(mode(shelf.path("file-store/stored")), mode(plain));
}
