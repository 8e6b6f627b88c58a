// SPDX-License-Identifier: GPL-3.0-or-later
//! Single flipped bits, anywhere in a journal of plain and packed segments that a crash ended.
//!
//! Its last batch apart, which a crash may leave in any state, each flip has to be detected by
//! `verify`, or lie in bytes that no reader uses. `TABLAO_SOAK=1` flips 10,000;
//! `TABLAO_FLIPS_SEED` flips the same ones again.
mod common;

use std::sync::Arc;

use common::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tablao_journal::{FileStore, MemoryFiles, OpenOptions, PowerLoss, Reader, pack_sealed};

/// Every flip is noticed, and the reader never takes what it left for another history.
#[test]
fn a_flipped_bit_is_detected_wherever_it_is() {
    let soak = std::env::var_os("TABLAO_SOAK").is_some();
    let flips = if soak { 10_000 } else { 400 };
    let seed = std::env::var("TABLAO_FLIPS_SEED")
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| rand::rng().random());
    println!("{flips} flips; again with TABLAO_FLIPS_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let memory = MemoryFiles::new();
    let files: Arc<dyn FileStore> = Arc::new(memory.clone());
    let options = OpenOptions {
        segment_bytes: 6000,
        ..options()
    };
    let mut journal = open(&files, &options).journal;
    for number in 0..40 {
        commit(&mut journal, &draft(number, 6));
    }
    journal.close().expect("closed");
    pack_sealed(&files).expect("packed");
    let mut journal = open(&files, &options).journal;
    for number in 40..80 {
        commit(&mut journal, &draft(number, 6));
    }
    drop(journal);
    let crashed = memory.after(PowerLoss::ProcessOnly);
    let files: Arc<dyn FileStore> = Arc::new(crashed.clone());
    let whole = Reader::open(Arc::clone(&files))
        .and_then(|reader| reader.verify())
        .expect("whole");
    let mut names = crashed.list().expect("listed");
    names.sort();
    let newest = names
        .iter()
        .rfind(|name| name.ends_with(".seg"))
        .expect("a segment")
        .clone();
    // The last batch begins at the last magic of the newest segment.
    let bytes = crashed.bytes(&newest).expect("there");
    let last_batch = bytes
        .windows(4)
        .rposition(|window| window == b"TBAT")
        .expect("a batch");
    let reserve = written(&crashed, &newest).len();
    let sizes: Vec<(String, usize)> = names
        .into_iter()
        .map(|name| {
            let all = crashed.bytes(&name).expect("there").len();
            // Of the reserve some, or nothing else would be hit.
            let flipped = if name == newest { reserve + 500 } else { all };
            (name, flipped)
        })
        .collect();
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    let (mut detected, mut apart, mut unused) = (0, 0, 0);
    for _ in 0..flips {
        let mut at = chance.random_range(0..total);
        let (name, _) = sizes
            .iter()
            .find(|(_, size)| {
                let here = at < *size;
                if !here {
                    at -= size;
                }
                here
            })
            .expect("the sizes add up to the total");
        let bit = chance.random_range(0..8);
        let original = crashed.bytes(name).expect("there");
        let mut changed = original.clone();
        changed[at] ^= 1 << bit;
        crashed.put(name, &changed);
        let outcome = Reader::open(Arc::clone(&files)).and_then(|reader| reader.verify());
        let context = format!("bit {bit} of byte {at} of {name}");
        let in_last_batch = *name == newest && (last_batch..reserve).contains(&at);
        match outcome {
            Err(_) => detected += 1,
            Ok(found) if found.unfinished_tail.is_some() => {
                assert!(*name == newest && at >= last_batch, "{context}: {found:?}");
                apart += u64::from(in_last_batch);
                detected += u64::from(!in_last_batch);
            }
            Ok(found) => {
                // The clean mark of an earlier end, which counts as none when it is unreadable.
                assert_eq!(name, "clean.mark", "{context} was not detected");
                assert_eq!((found.next, found.chain), (whole.next, whole.chain));
                unused += 1;
            }
        }
        crashed.put(name, &original);
    }
    println!("{detected} detected, {apart} in the last batch, {unused} in bytes nobody needs");
    assert!(detected > flips * 8 / 10);
    let again = Reader::open(files).and_then(|reader| reader.verify());
    assert_eq!(again.expect("whole again"), whole);
}
