// SPDX-License-Identifier: GPL-3.0-or-later
//! Collection: what is old and unused goes, what a checkout uses stays, however the storage is reached.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, time::SystemTime};

use common::{DAY, HOUR, Shelf, age, begun, file, id_of, requested};
use tablao_shaman::{BlobId, Collection, Garbage, LinkMethod, Status, Store};

fn collect(store: &Store, dry_run: bool) -> Garbage {
    let collection = Collection {
        now: SystemTime::now(),
        age_max: DAY * 31,
        dry_run,
    };
    store.collect(&collection).unwrap()
}

fn old(shelf: &Shelf, contents: &[u8]) -> BlobId {
    let id = shelf.send(contents);
    age(&shelf.blob(id), DAY * 32);
    id
}

/// Age and links decide; a dry run says the same and changes nothing.
#[test]
fn what_is_old_and_unused_goes() {
    let shelf = Shelf::new();
    let (young, used) = (shelf.send(b"young"), shelf.send(b"used"));
    shelf
        .store
        .checkout(&requested("p/q"), &[file("f", used)])
        .unwrap();
    age(&shelf.blob(used), DAY * 400);
    let mut gone = [old(&shelf, b"gone"), old(&shelf, b"gone too")];
    gone.sort();
    let expected = Garbage {
        examined: 4,
        in_use: 1,
        blobs: gone.to_vec(),
        bytes: 12,
        ..Garbage::default()
    };
    let before = shelf.tree("");
    assert_eq!(collect(&shelf.store, true), expected);
    assert_eq!(shelf.tree(""), before, "a dry run only tells");
    assert_eq!(collect(&shelf.store, false), expected);
    for (id, status) in [
        (young, Status::Stored),
        (used, Status::Stored),
        (gone[0], Status::Unknown),
        (gone[1], Status::Unknown),
    ] {
        assert_eq!(shelf.store.status(id).unwrap(), status);
    }
    assert_eq!(
        shelf.names("file-store/stored").len(),
        2,
        "empty folders go, too"
    );
    assert_eq!(shelf.tree("jobs")["p/q/f"], "used");
    assert!(collect(&shelf.store, false).blobs.is_empty());
    // When the job is gone, so is the reason to keep its file.
    shelf.store.erase(&requested("p/q")).unwrap();
    assert_eq!(collect(&shelf.store, false).blobs, [used]);
}

/// However the storage's root, the store or a link is reached, a used file is seen to be used.
#[cfg(unix)]
#[test]
fn a_root_that_is_a_link_keeps_its_files_in_use() {
    use std::os::unix::fs::symlink;
    let shelf = Shelf::new();
    let aliases = tempfile::tempdir().unwrap();
    let alias = aliases.path().join("alias");
    symlink(shelf.root.path(), &alias).unwrap();
    let by_alias = Store::new(&alias);
    let ids: Vec<BlobId> = (0..4_u8).map(|n| shelf.send(&[n])).collect();
    by_alias
        .checkout(&requested("one"), &[file("f", ids[0])])
        .unwrap();
    shelf
        .store
        .checkout(&requested("two"), &[file("f", ids[1])])
        .unwrap();
    // As a Flamenco Manager may have made it: absolute, by a path with links in it.
    let below = |root: &std::path::Path, id| {
        root.join(shelf.blob(id).strip_prefix(shelf.root.path()).unwrap())
    };
    symlink(below(&alias, ids[2]), shelf.path("jobs/two/absolute")).unwrap();
    // A link to a link.
    symlink(below(&alias, ids[3]), aliases.path().join("hop")).unwrap();
    symlink(aliases.path().join("hop"), shelf.path("jobs/two/hop")).unwrap();
    // Links that lead nowhere use nothing and disturb nothing.
    symlink("nowhere", shelf.path("jobs/two/dangling")).unwrap();
    symlink("loop", shelf.path("jobs/two/loop")).unwrap();
    for id in &ids {
        age(&shelf.blob(*id), DAY * 400);
    }
    for store in [&by_alias, &shelf.store] {
        let garbage = collect(store, false);
        assert_eq!((garbage.in_use, garbage.blobs), (4, vec![]));
    }
    assert_eq!(fs::read(alias.join("jobs/one/f")).unwrap(), [0]);
    // The folder of checkouts may be a link to another disk.
    let elsewhere = aliases.path().join("jobs");
    let other = Shelf::new();
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, other.path("jobs")).unwrap();
    let id = other.send(b"scene");
    other
        .store
        .checkout(&requested("a/b"), &[file("f", id)])
        .unwrap();
    assert_eq!(fs::read(elsewhere.join("a/b/f")).unwrap(), b"scene");
    age(&other.blob(id), DAY * 400);
    assert_eq!(collect(&other.store, false).in_use, 1);
}

/// A hard link is a use that no symbolic link tells of.
#[cfg(unix)]
#[test]
fn hard_links_count_as_use() {
    let shelf = Shelf::new();
    let id = shelf.send(b"scene");
    let store = shelf.store.clone().with_links(&[LinkMethod::Hard]);
    let made = store.checkout(&requested("p"), &[file("f", id)]).unwrap();
    age(&shelf.blob(id), DAY * 400);
    assert_eq!(collect(&store, false).in_use, 1);
    store.erase(&made).unwrap();
    assert_eq!(collect(&store, false).blobs, [id]);
}

/// What died processes left goes after an hour; what is at work stays.
#[test]
fn what_nobody_finished_goes() {
    let shelf = Shelf::new();
    let scene = shelf.send(b"scene");
    let mut upload = begun(shelf.store.upload(id_of(b"sent"), false).unwrap());
    upload.write(b"se").unwrap();
    let dead = shelf.path("file-store/uploading/ab/cdef");
    fs::create_dir_all(&dead).unwrap();
    fs::write(dead.join("5-x.tmp"), "dea").unwrap();
    age(&dead.join("5-x.tmp"), HOUR * 2);
    shelf
        .store
        .checkout(&requested("p/q"), &[file("f", scene)])
        .unwrap();
    let hidden = |name: &str, hours| {
        let folder = shelf.path("jobs/p").join(name);
        fs::create_dir_all(folder.join("deep")).unwrap();
        age(&folder.join("deep"), HOUR * hours);
        age(&folder, HOUR * 2);
    };
    hidden(".tablao-checkout-dead", 2);
    hidden(".tablao-erased-dead", 2);
    hidden(".tablao-checkout-busy", 0);
    hidden(".somebody", 2);
    let told = collect(&shelf.store, true);
    assert_eq!((told.parts, told.folders), (1, 2));
    assert!(dead.exists(), "a dry run only tells");
    assert_eq!(collect(&shelf.store, false), told);
    assert_eq!(
        shelf.names("jobs/p"),
        [".somebody", ".tablao-checkout-busy", "q"]
    );
    assert!(!dead.exists());
    upload.write(b"nt").unwrap();
    upload.finish().unwrap();
}

/// A collection that died with a file aside loses nothing: the next one puts it back.
#[test]
fn files_taken_aside_come_back() {
    let shelf = Shelf::new();
    let id = shelf.send(b"scene");
    shelf
        .store
        .checkout(&requested("p"), &[file("f", id)])
        .unwrap();
    let aside = shelf.path("file-store/collecting");
    fs::create_dir_all(&aside).unwrap();
    let name = format!("{}-{}-abcd", id.checksum(), id.size());
    fs::rename(shelf.blob(id), aside.join(name)).unwrap();
    assert_eq!(shelf.store.status(id).unwrap(), Status::Unknown);
    collect(&shelf.store, false);
    assert_eq!(shelf.tree("jobs")["p/f"], "scene");
}

/// Checkouts that are made while a collection runs keep their files, or are told to send them
/// again; none is made with a link to nothing.
#[test]
fn a_collection_beside_checkouts_breaks_none() {
    let shelf = Shelf::new();
    let mut whole = 0;
    for round in 0..60_u32 {
        let id = old(&shelf, &round.to_le_bytes());
        let path = requested(&format!("p/{round}"));
        let made = std::thread::scope(|scope| {
            let collecting = scope.spawn(|| collect(&shelf.store, false));
            let made = shelf.store.checkout(&path, &[file("f", id)]);
            collecting.join().unwrap();
            made
        });
        if let Ok(made) = made {
            let link = shelf.path("jobs").join(made.as_str()).join("f");
            assert_eq!(fs::read(link).unwrap(), round.to_le_bytes());
            whole += 1;
        }
    }
    // Told apart from a test in which the collection always comes first.
    assert!(whole > 0, "no checkout was made at all");
}
