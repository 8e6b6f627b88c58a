// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be wrong with bytes that should be a batch.
//!
//! A flaw is an observation, not a verdict: whether it means a torn tail, damage, or a writer
//! that is not done yet is decided by `scan` and `reader`, which know what surrounds it.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Fewer bytes than a batch header.
    HeaderCutShort,
    /// The bytes do not begin like a batch.
    NotABatch,
    /// The header's own checksum is wrong, so its length means nothing.
    HeaderChecksum,
    /// The header is valid, and the file ends before the batch does.
    PastTheEnd,
    /// The header is valid, and its length or count is impossible.
    LengthImpossible,
    /// The records' checksum is wrong.
    BodyChecksum,
    /// The checksum is right, and the records do not fit the body.
    Records,
    /// The first position is not the next one.
    OutOfSequence,
    /// The incarnation went down.
    IncarnationFell,
    /// The chain value does not follow from the one before.
    Chain,
    /// Valid, and of a shape that only a later release writes.
    Newer,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::HeaderCutShort => "the batch header is cut short",
            Self::NotABatch => "no batch begins here",
            Self::HeaderChecksum => "the batch header's checksum is wrong",
            Self::PastTheEnd => "the batch is longer than the file",
            Self::LengthImpossible => "the batch's length or count is impossible",
            Self::BodyChecksum => "the checksum of the batch's records is wrong",
            Self::Records => "the batch's records do not fit its body",
            Self::OutOfSequence => "the batch is out of sequence",
            Self::IncarnationFell => "the batch is of an earlier incarnation than the one before",
            Self::Chain => "the chain value does not follow from the one before",
            Self::Newer => "the batch uses a feature that this build does not know",
        })
    }
}

/// Little-endian fields at fixed offsets of a slice that is known to be long enough.
pub(crate) mod field {
    pub(crate) fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
        from[at..at + N]
            .try_into()
            .expect("a range of N bytes is an array of N bytes")
    }

    pub(crate) fn u16(from: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(bytes(from, at))
    }

    pub(crate) fn u32(from: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes(from, at))
    }

    pub(crate) fn u64(from: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes(from, at))
    }
}
