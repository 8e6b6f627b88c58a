// SPDX-License-Identifier: GPL-3.0-or-later
//! From a checkpoint's pieces to a model, facts and words at the same time.
//!
//! Reading, checking, unpacking and decoding go on in two threads, because a start waits for
//! them: one puts the farm together, the other everything else.

use tablao_core::{Farm, rows::Assembly};

use crate::{
    Error, ReadModel,
    pack::{OpenPacks, Piece, Rows},
    rows::Words,
};

/// Puts a model together. The packs are open once for each of the two threads.
pub(crate) fn unpack(pieces: &[Piece], packs: [OpenPacks; 2]) -> Result<ReadModel, Error> {
    let [for_facts, for_words] = packs;
    let (farm, words) = std::thread::scope(|scope| {
        let words = scope.spawn(|| read_words(pieces, for_words));
        let farm = read_farm(pieces, for_facts);
        let words = words.join();
        (farm, words)
    });
    let words = words.map_err(|_| Error::Panicked("a row that cannot be read".to_owned()))?;
    words?.join(farm?)
}

fn read_farm(pieces: &[Piece], mut packs: OpenPacks) -> Result<Farm, Error> {
    let mut assembly = Assembly::default();
    for piece in pieces.iter().filter(|piece| piece.facts) {
        let rows = packs.rows(piece.place, &piece.hash)?;
        for row in Rows(&rows) {
            let (key, value) = row?;
            assembly.take(key, value)?;
        }
    }
    Ok(assembly.finish()?)
}

fn read_words(pieces: &[Piece], mut packs: OpenPacks) -> Result<ReadModel, Error> {
    let mut words = Words::default();
    for piece in pieces.iter().filter(|piece| !piece.facts) {
        let rows = packs.rows(piece.place, &piece.hash)?;
        for row in Rows(&rows) {
            let (key, value) = row?;
            words.take(key, value)?;
        }
    }
    words.finish()
}
