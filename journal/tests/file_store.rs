// SPDX-License-Identifier: GPL-3.0-or-later
//! One conformance suite for every file store, and what is special about the ones for tests.

use std::io::ErrorKind;
use std::sync::Arc;

use tablao_journal::{
    Access, FaultPlan, FaultyFiles, FileStore, MemoryFiles, PowerLoss, RealFiles,
};

/// What every file store promises, whatever it is made of.
fn conforms(files: &dyn FileStore) {
    assert_eq!(files.list().expect("listed"), Vec::<String>::new());
    assert_eq!(
        files.open("a", Access::Read).err().map(|e| e.kind()),
        Some(ErrorKind::NotFound)
    );
    let file = files.create("a").expect("created");
    assert_eq!(
        files.create("a").err().map(|e| e.kind()),
        Some(ErrorKind::AlreadyExists)
    );
    assert!(file.is_empty().expect("measured"));
    file.write_at(3, b"later").expect("written");
    file.write_at(0, b"now").expect("written");
    file.sync().expect("synced");
    assert_eq!(file.len().expect("measured"), 8);
    let mut buffer = [0; 16];
    assert_eq!(file.read_at(0, &mut buffer).expect("read"), 8);
    assert_eq!(&buffer[..8], b"nowlater");
    assert_eq!(file.read_at(6, &mut buffer).expect("read"), 2);
    assert_eq!(file.read_at(100, &mut buffer).expect("read"), 0);
    // Writing beyond the end leaves zeros between.
    file.write_at(10, b"!").expect("written");
    assert_eq!(file.read_at(7, &mut buffer).expect("read"), 4);
    assert_eq!(&buffer[..4], b"r\0\0!");
    file.set_len(2).expect("cut");
    file.set_len(4).expect("grown");
    assert_eq!(file.read_at(0, &mut buffer).expect("read"), 4);
    assert_eq!(&buffer[..4], b"no\0\0");
    file.sync().expect("synced");
    // A second opening sees the same bytes, and only one for writing may write.
    let reading = files.open("a", Access::Read).expect("opened");
    assert_eq!(reading.len().expect("measured"), 4);
    assert!(reading.write_at(0, b"x").is_err());
    file.write_at(0, b"X").expect("written");
    assert_eq!(reading.read_at(0, &mut buffer).expect("read"), 4);
    assert_eq!(&buffer[..2], b"Xo");
    drop((file, reading));
    // Renaming replaces.
    files.create("b").expect("created");
    files.rename("a", "b").expect("renamed");
    files.sync_dir().expect("synced");
    assert_eq!(files.list().expect("listed"), ["b"]);
    let file = files.open("b", Access::Write).expect("opened");
    assert_eq!(file.len().expect("measured"), 4);
    drop(file);
    files.remove("b").expect("removed");
    assert_eq!(
        files.remove("b").err().map(|e| e.kind()),
        Some(ErrorKind::NotFound)
    );
    assert!(files.rename("b", "c").is_err());
    assert_eq!(files.list().expect("listed"), Vec::<String>::new());
}

/// Real files are the standard that the others are held to.
#[test]
fn real_files_conform() {
    let folder = tempfile::tempdir().expect("a folder");
    conforms(&RealFiles::create(folder.path().join("made/on/demand")).expect("made"));
}

/// The memory store stands in for the real one in most tests, so it has to behave like it.
#[test]
fn memory_files_conform() {
    conforms(&MemoryFiles::new());
}

/// A faulty store without a planned fault must not change anything, on either kind of file.
#[test]
fn faulty_files_without_a_fault_conform() {
    conforms(&FaultyFiles::new(
        Arc::new(MemoryFiles::new()),
        FaultPlan::default(),
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let real = RealFiles::create(folder.path()).expect("made");
    conforms(&FaultyFiles::new(Arc::new(real), FaultPlan::default()));
}

/// The crash tests stand on this: what was not synced is lost, what was synced is never lost.
#[test]
fn a_power_loss_takes_what_was_not_synced_and_nothing_else() {
    let files = MemoryFiles::new();
    let file = files.create("kept").expect("created");
    file.write_at(0, &[1; 2000]).expect("written");
    file.sync().expect("synced");
    files.sync_dir().expect("synced");
    file.write_at(1000, &[2; 3000]).expect("written");
    let unsynced_name = files.create("unsynced name").expect("created");
    unsynced_name.sync().expect("synced");

    let lost = files.after(PowerLoss::UnsyncedLost);
    assert_eq!(lost.bytes("kept"), Some(vec![1; 2000]));
    assert_eq!(lost.bytes("unsynced name"), None);
    let killed = files.after(PowerLoss::ProcessOnly);
    assert_eq!(killed.bytes("kept").map(|b| b.len()), Some(4000));
    assert!(killed.bytes("unsynced name").is_some());
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let torn = files.after(PowerLoss::Torn { seed }).bytes("kept");
        let torn = torn.expect("its name was synced");
        assert!(torn.len() >= 2000, "synced bytes were lost");
        // The sector from 512 to 1023 was half rewritten: it is old or new, never half of each.
        assert_eq!(torn[..1000], [1; 1000]);
        assert!(torn[1000..1024] == [1; 24] || torn[1000..1024] == [2; 24]);
        outcomes.insert(torn);
    }
    assert!(outcomes.len() > 10, "the seeds make no difference");
}

/// Each planned fault happens where it was planned.
#[test]
fn planned_faults_happen() {
    let plan = |plan: FaultPlan| FaultyFiles::new(Arc::new(MemoryFiles::new()), plan);
    let full = plan(FaultPlan {
        space_bytes: Some(10),
        ..FaultPlan::default()
    });
    let file = full.create("a").expect("created");
    file.write_at(0, &[0; 10]).expect("fits");
    file.write_at(5, &[1; 5]).expect("needs no more room");
    let refused = file.write_at(5, &[1; 6]).expect_err("no room");
    assert_eq!(refused.kind(), ErrorKind::StorageFull);

    let torn = plan(FaultPlan {
        fail_call: Some(2),
        tear: true,
        ..FaultPlan::default()
    });
    let file = torn.create("a").expect("the first call");
    assert!(file.write_at(0, b"whole").is_err());
    assert_eq!(file.len().expect("measured"), 2);
    file.write_at(0, b"whole").expect("only one call fails");

    let frozen = plan(FaultPlan {
        freeze_at_sync: Some(2),
        ..FaultPlan::default()
    });
    let file = frozen.create("a").expect("created");
    file.sync().expect("the first sync");
    assert!(frozen.sync_dir().is_err());
    assert!(file.write_at(0, b"x").is_err() && file.sync().is_err());
    assert_eq!(frozen.syncs(), 3);
}
