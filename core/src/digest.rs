// SPDX-License-Identifier: GPL-3.0-or-later
//! The incremental digest: one number that two equal farms share.
//!
//! Each entity is a leaf (BLAKE3 over its facts and the hashes of its details); leaves are
//! combined by addition, so a change costs the old leaf and the new one. Liveness, logs and
//! indexes are outside. Addition of 512-bit hashes in eight lanes finds every honest
//! difference; it is no defence against somebody who crafts entities to collide, which is
//! the chain's duty.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rises when leaves or their combination change meaning.
pub const DIGEST_VERSION: u32 = 1;

/// What a leaf is about; keeps equal bytes of different entities apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The farm itself: incarnation, term, policy.
    Farm = 1,
    /// A job.
    Job = 2,
    /// A task.
    Task = 3,
    /// A live attempt.
    Attempt = 4,
    /// A frame.
    Frame = 5,
    /// A worker.
    Worker = 6,
    /// A tag.
    Tag = 7,
    /// A Manager.
    Manager = 8,
    /// A placement.
    Placement = 9,
    /// A request for a Manager.
    Remote = 10,
    /// What is wrong with a frame.
    Flaw = 11,
    /// Why a worker is in quarantine.
    Quarantine = 12,
    /// How much memory a worker has for a task.
    Memory = 13,
    /// How much memory was too little for a task.
    Outgrown = 14,
}

/// One entity's contribution.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Leaf([u64; 8]);

impl Leaf {
    /// The leaf of an entity.
    pub fn of<T: Serialize>(domain: Domain, entity: &T) -> Self {
        let mut page = Page::new();
        page.take(&[domain as u8]);
        crate::codec::write_to(entity, &mut page);
        let mut bytes = [0; 64];
        page.finish().finalize_xof().fill(&mut bytes);
        let mut lanes = [0; 8];
        for (lane, chunk) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            *lane = u64::from_le_bytes(chunk.try_into().expect("chunks are eight bytes"));
        }
        Self(lanes)
    }
}

/// Gathers the many small pieces that an entity is encoded in, so that the hash gets few large
/// ones and nothing is allocated.
struct Page {
    hasher: blake3::Hasher,
    bytes: [u8; 512],
    len: usize,
}

impl Page {
    fn new() -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            bytes: [0; 512],
            len: 0,
        }
    }

    fn take(&mut self, piece: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + piece.len()) {
            room.copy_from_slice(piece);
            self.len += piece.len();
        } else {
            self.hasher.update(&self.bytes[..self.len]);
            self.hasher.update(piece);
            self.len = 0;
        }
    }

    fn finish(mut self) -> blake3::Hasher {
        self.hasher.update(&self.bytes[..self.len]);
        self.hasher
    }
}

impl std::io::Write for Page {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.take(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The sum of leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetHash([u64; 8]);

impl SetHash {
    /// A leaf joins.
    pub fn add(&mut self, leaf: Leaf) {
        for (lane, value) in self.0.iter_mut().zip(leaf.0) {
            *lane = lane.wrapping_add(value);
        }
    }

    /// A leaf leaves.
    pub fn remove(&mut self, leaf: Leaf) {
        for (lane, value) in self.0.iter_mut().zip(leaf.0) {
            *lane = lane.wrapping_sub(value);
        }
    }

    /// The other set's leaves join.
    pub fn add_all(&mut self, other: &Self) {
        for (lane, value) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_add(value);
        }
    }

    /// The other set's leaves leave.
    pub fn remove_all(&mut self, other: &Self) {
        for (lane, value) in self.0.iter_mut().zip(other.0) {
            *lane = lane.wrapping_sub(value);
        }
    }

    /// The 32-byte value shown to people.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&DIGEST_VERSION.to_le_bytes());
        for lane in self.0 {
            hasher.update(&lane.to_le_bytes());
        }
        Digest(*hasher.finalize().as_bytes())
    }
}

/// Digest of a set of entities. Prints as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Order does not matter, and a leaf that leaves takes its whole contribution along.
    #[test]
    fn addition_commutes_and_cancels() {
        let leaves: Vec<Leaf> = (0u32..5).map(|n| Leaf::of(Domain::Task, &n)).collect();
        let (mut forward, mut backward) = (SetHash::default(), SetHash::default());
        leaves.iter().for_each(|&leaf| forward.add(leaf));
        leaves.iter().rev().for_each(|&leaf| backward.add(leaf));
        assert_eq!(forward.digest(), backward.digest());
        leaves.iter().for_each(|&leaf| forward.remove(leaf));
        assert_eq!(forward, SetHash::default());
    }

    /// An entity longer than the page that gathers it is hashed whole.
    #[test]
    fn long_entities_are_hashed_whole() {
        let leaf = |length: usize, last: u8| {
            let mut bytes = vec![7u8; length];
            bytes.push(last);
            Leaf::of(Domain::Task, &bytes)
        };
        for length in [500, 509, 510, 511, 512, 1_100, 5_000] {
            assert!(leaf(length, 1) != leaf(length, 2), "{length}");
            assert!(leaf(length, 1) == leaf(length, 1), "{length}");
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[Domain::Task as u8]);
        hasher.update(&crate::codec::to_bytes(&vec![9u16; 700]));
        let mut page = Page::new();
        page.take(&[Domain::Task as u8]);
        crate::codec::write_to(&vec![9u16; 700], &mut page);
        assert_eq!(page.finish().finalize(), hasher.finalize());
    }

    /// Equal bytes of different kinds of entity are different leaves.
    #[test]
    fn domains_are_apart() {
        assert!(Leaf::of(Domain::Task, &1u8) != Leaf::of(Domain::Frame, &1u8));
    }
}
