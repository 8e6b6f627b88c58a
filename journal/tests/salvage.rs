// SPDX-License-Identifier: GPL-3.0-or-later
//! Salvage saves what can be proven, into a copy, and leaves the damaged journal as it is.
mod common;

use std::sync::Arc;

use common::*;
use tablao_journal::{
    Error, FaultPlan, FaultyFiles, FileStore, Lsn, MemoryFiles, OpenOptions, PowerLoss, Reader,
    erase_details, salvage,
};

fn damaged(damage: impl FnOnce(&MemoryFiles)) -> (MemoryFiles, Arc<dyn FileStore>) {
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    for incarnation in [1, 4] {
        let options = OpenOptions {
            incarnation: Some(incarnation),
            ..small_segments()
        };
        let mut journal = open(&files, &options).journal;
        for number in 0..20 {
            commit(&mut journal, &draft(number, 2));
        }
        journal.close().expect("closed");
    }
    damage(&memory);
    (memory, files)
}

fn saved(damage: impl FnOnce(&MemoryFiles)) -> (tablao_journal::Salvaged, Arc<dyn FileStore>) {
    let (memory, files) = damaged(damage);
    let before: Vec<_> = memory
        .list()
        .expect("listed")
        .iter()
        .map(|name| memory.bytes(name))
        .collect();
    let copy: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let salvaged = salvage(files, Arc::clone(&copy), NOW_US).expect("salvaged");
    let names = memory.list().expect("listed");
    let after: Vec<_> = names.iter().map(|name| memory.bytes(name)).collect();
    assert_eq!(after, before, "the damaged journal was touched");
    let verified = both_readers_agree(&copy);
    assert!(verified.clean);
    assert_eq!(
        (verified.next, verified.chain),
        (salvaged.next, salvaged.chain)
    );
    (salvaged, copy)
}

/// Everything before the damage is in the copy, nothing behind it, and the copy can not reuse a
/// position: its incarnation is above every one the damaged journal ever had.
#[test]
fn everything_before_the_damage_is_saved() {
    let segment = "00000000000000000001.seg";
    let (salvaged, copy) = saved(|memory| {
        let mut bytes = memory.bytes(segment).expect("there");
        bytes[1500] ^= 1;
        memory.put(segment, &bytes);
    });
    let damage = salvaged.damage.expect("found");
    assert_eq!(
        (damage.segment.as_str(), damage.lsn),
        (segment, salvaged.next)
    );
    assert!(salvaged.next > Lsn::FIRST);
    assert_eq!(salvaged.incarnation, 5);
    assert_eq!(read_all(&copy).len() as u64, salvaged.next.get() - 1);
    // The copy is a journal like any other.
    let mut journal = open(&copy, &small_segments()).journal;
    assert_eq!(journal.incarnation(), 5);
    commit(&mut journal, &draft(99, 1));
    assert!(matches!(
        salvage(Arc::clone(&copy), copy, NOW_US),
        Err(Error::Occupied(_))
    ));
}

/// A missing segment, a broken header and a lost tail are damage as well.
#[test]
fn other_damage_is_named() {
    let (whole, _) = saved(|_| {});
    assert_eq!((whole.damage, whole.next), (None, Lsn::new(81)));
    let (missing, _) = saved(|memory| {
        let name = memory.list().expect("listed")[1].clone();
        memory.remove(&name).expect("removed");
    });
    assert!(missing.damage.expect("found").what.contains("missing"));
    let (header, _) = saved(|memory| {
        let name = memory.list().expect("listed")[2].clone();
        let mut bytes = memory.bytes(&name).expect("there");
        bytes[20] ^= 1;
        memory.put(&name, &bytes);
    });
    assert!(header.damage.is_some());
    let (tail, _) = saved(|memory| {
        let segments = memory.list().expect("listed");
        let name = &segments[segments.len() - 2];
        assert!(name.ends_with(".seg"));
        let bytes = memory.bytes(name).expect("there");
        memory.put(name, &bytes[..bytes.len() - 10]);
    });
    assert!(tail.damage.expect("found").what.contains("closed in order"));
    assert_eq!(tail.next, Lsn::new(79));
}

/// A crash while details are erased leaves each segment old or new, and the chain as it was.
#[test]
fn a_crash_while_erasing_keeps_the_chain() {
    let (_, files) = damaged(|_| {});
    let chain = both_readers_agree(&files).chain;
    for call in 1.. {
        let (memory, _) = damaged(|_| {});
        let plan = FaultPlan {
            fail_call: Some(call),
            tear: true,
            ..FaultPlan::default()
        };
        let failing = FaultyFiles::new(Arc::new(memory.clone()), plan);
        let done = erase_details(&failing, |_| true).is_ok();
        for loss in [PowerLoss::ProcessOnly, PowerLoss::Torn { seed: call }] {
            let left: Arc<dyn FileStore> = Arc::new(memory.after(loss));
            let reader = Reader::open(Arc::clone(&left)).expect("a journal");
            let verified = reader.verify().expect("whole");
            assert_eq!(
                (verified.chain, verified.clean),
                (chain, true),
                "call {call}"
            );
            assert!(open(&left, &small_segments()).recovery.clean);
        }
        if done {
            assert!(call > 10, "too few calls to prove anything");
            break;
        }
    }
}
