// SPDX-License-Identifier: GPL-3.0-or-later
//! Replication against a vector: portions of a journal reach its mirror lost, doubled, late and
//! out of order, and the mirror's machine loses power in between. Whatever the order, the mirror
//! is a beginning of the original and never loses what it said it had.
mod common;

use std::sync::Arc;

use common::*;
use proptest::prelude::*;
use tablao_journal::{
    ChainValue, FileStore, Lsn, MemoryFiles, Mirror, MirrorOptions, PowerLoss, Reader,
};

#[derive(Clone, Debug)]
enum Step {
    /// The original grows by decisions of these many records, in one commit each.
    Grow(Vec<u16>),
    /// The original sends from so far behind what the mirror last said that it wants.
    Send(u64),
    /// Some portion that was sent arrives; it may arrive again.
    Deliver(prop::sample::Index),
    /// Some portion is lost for good.
    Lose(prop::sample::Index),
    /// The mirror's machine loses power and comes back.
    PowerLoss(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec(1_u16..4, 1..4).prop_map(Step::Grow),
        4 => (0_u64..9).prop_map(Step::Send),
        5 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        1 => any::<prop::sample::Index>().prop_map(Step::Lose),
        1 => any::<u64>().prop_map(Step::PowerLoss),
    ];
    prop::collection::vec(step, 1..60)
}

fn open_mirror(files: &MemoryFiles) -> Mirror {
    let options = MirrorOptions {
        segment_bytes: 900,
        ..MirrorOptions::new(ID, NOW_US)
    };
    let files: Arc<dyn FileStore> = Arc::new(files.clone());
    Mirror::open(files, &options)
        .expect("what a loss leaves can be opened")
        .0
}

proptest! {
    /// Protects the copy that a lost Server would be rebuilt from.
    #[test]
    fn a_mirror_is_a_beginning_of_its_original(steps in steps(), segment in 200_u64..4000) {
        let original: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
        let options = tablao_journal::OpenOptions { segment_bytes: segment, ..small_segments() };
        let mut journal = open(&original, &options).journal;
        let reader = Reader::open(Arc::clone(&original)).expect("a journal");
        // The vector: the chain before each position at which a batch ends.
        let mut ends: Vec<(Lsn, ChainValue)> = vec![(journal.next_lsn(), journal.chain())];
        let mut files = MemoryFiles::new();
        let mut mirror = open_mirror(&files);
        let mut told = mirror.position();
        let mut on_the_way: Vec<Vec<u8>> = Vec::new();
        let mut number = 0;
        for step in steps {
            match step {
                Step::Grow(decisions) => {
                    for records in decisions {
                        number += 1;
                        commit(&mut journal, &draft(number, records));
                        ends.push((journal.next_lsn(), journal.chain()));
                    }
                }
                Step::Send(behind) => {
                    let from = Lsn::new(told.get().saturating_sub(behind).max(1));
                    let raw = reader.read_raw(from, Lsn::MAX, 600).expect("read");
                    on_the_way.push(raw.bytes);
                }
                Step::Deliver(which) if !on_the_way.is_empty() => {
                    let bytes = which.get(&on_the_way);
                    // What does not continue the copy is refused, and changes nothing.
                    let before = (mirror.position(), mirror.chain());
                    match mirror.append(bytes) {
                        Ok(advance) => told = advance.next,
                        Err(_) => prop_assert_eq!((mirror.position(), mirror.chain()), before),
                    }
                }
                Step::Lose(which) if !on_the_way.is_empty() => {
                    on_the_way.remove(which.index(on_the_way.len()));
                }
                Step::Deliver(_) | Step::Lose(_) => {}
                Step::PowerLoss(seed) => {
                    drop(mirror);
                    files = files.after(PowerLoss::Torn { seed });
                    mirror = open_mirror(&files);
                }
            }
            prop_assert!(mirror.position() >= told, "it lost what it said it had");
            let stands = (mirror.position(), mirror.chain());
            prop_assert!(ends.contains(&stands), "{stands:?} is no place of the original");
        }
        // And it can always be brought to the end.
        while mirror.position() < journal.next_lsn() {
            let raw = reader.read_raw(mirror.position(), Lsn::MAX, 600).expect("read");
            mirror.append(&raw.bytes).expect("it continues the copy");
        }
        prop_assert_eq!(mirror.chain(), journal.chain());
        let copy: Arc<dyn FileStore> = Arc::new(files);
        prop_assert_eq!(read_all(&copy), read_all(&original));
    }
}
