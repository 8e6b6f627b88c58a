// SPDX-License-Identifier: GPL-3.0-or-later
//! From a checkpoint's pieces to a model, in two threads, because a start waits for it.
//!
//! Each thread takes the next piece that nobody took, reads, checks, unpacks and decodes it; what
//! the two have found is put together then, one thread making the words and the index of names,
//! the other the schedule.

use std::sync::atomic::{AtomicUsize, Ordering};

use tablao_core::rows::Assembly;

use crate::{
    Error, ReadModel,
    pack::{OpenPacks, Piece, Rows},
    rows::Words,
};

/// Puts a model together. The packs are open once for each of the two threads.
pub(crate) fn unpack(pieces: &[Piece], packs: [OpenPacks; 2]) -> Result<ReadModel, Error> {
    let next = AtomicUsize::new(0);
    let [mine, others] = packs;
    let (one, other) = both(
        || take_pieces(pieces, &next, mine),
        || take_pieces(pieces, &next, others),
    )?;
    let (mut found, more) = (one?, other?);
    found.facts.merge(more.facts);
    found.words.merge(more.words);
    let Found { facts, words } = found;

    // The farm's entities are small work once decoded; both indexes over them are not.
    let assembled = facts.assemble()?;
    let (schedule, (names, words)) = both(
        || assembled.schedule(),
        || (assembled.names(), words.finish()),
    )?;
    words?.join(assembled.finish(names, schedule)?)
}

/// What one thread found in its pieces.
#[derive(Default)]
struct Found {
    facts: Assembly,
    words: Words,
}

fn take_pieces(pieces: &[Piece], next: &AtomicUsize, mut packs: OpenPacks) -> Result<Found, Error> {
    let mut found = Found::default();
    while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
        let rows = packs.rows(piece.place, &piece.hash)?;
        for row in Rows(&rows) {
            let (key, value) = row?;
            if piece.facts {
                found.facts.take(key, value)?;
            } else {
                found.words.take(key, value)?;
            }
        }
    }
    Ok(found)
}

/// Runs two things at the same time.
fn both<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> Result<(A, B), Error> {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        let other = other.join();
        other
            .map(|other| (one, other))
            .map_err(|_| Error::Panicked("a row that cannot be read".to_owned()))
    })
}
