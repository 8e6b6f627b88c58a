// SPDX-License-Identifier: GPL-3.0-or-later
//! What was durable where, as the simulation saw it: the oracle that copies and recoveries are
//! held against.
//!
//! For each journal and position it knows the chain values that were ever durable there and the
//! digest of the farm folded so far. A journal has more than one history after a restore.

use std::collections::BTreeMap;

use tablao_core::{Digest, Lsn};

type Chain = [u8; 32];

/// The oracle.
#[derive(Default)]
pub struct Truth {
    known: BTreeMap<([u8; 16], Lsn, Chain), Digest>,
    /// How often it was asked, to prove that it was.
    pub asked: u64,
}

impl Truth {
    /// This became durable, or was found so at a start.
    pub fn note(
        &mut self,
        journal: [u8; 16],
        at: Lsn,
        chain: Chain,
        digest: Digest,
    ) -> Result<(), String> {
        match self.known.insert((journal, at, chain), digest) {
            Some(before) if before != digest => Err(format!(
                "the same records up to {at} fold to two digests, live and replayed"
            )),
            _ => Ok(()),
        }
    }

    /// A copy stands here.
    pub fn check_copy(
        &mut self,
        journal: [u8; 16],
        at: Lsn,
        chain: Chain,
        digest: Digest,
    ) -> Result<(), String> {
        self.asked += 1;
        if at == Lsn::ORIGIN {
            return Ok(());
        }
        match self.known.get(&(journal, at, chain)) {
            Some(known) if *known == digest => Ok(()),
            Some(_) => Err(format!("a copy at {at} folds to another digest")),
            None => Err(format!(
                "a copy stands at {at} with a chain that was never durable at the original"
            )),
        }
    }

    /// Somebody says that a journal stands here.
    pub fn check_mark(&mut self, journal: [u8; 16], at: Lsn, chain: Chain) -> Result<(), String> {
        self.asked += 1;
        if at == Lsn::ORIGIN || self.known.contains_key(&(journal, at, chain)) {
            return Ok(());
        }
        Err(format!(
            "a mark names position {at}, where the journal never had that chain"
        ))
    }
}
