// SPDX-License-Identifier: GPL-3.0-or-later
//! One record: what the caller hands over (`RecordDraft`, `Draft`), what a reader gets (`Record`),
//! and its bytes in between.
//!
//! This file knows the record's envelope and nothing of what facts and details mean. Layout:
//! FORMAT.md, section "Record".

use crate::flaw::{Flaw, field};
use crate::position::Lsn;

/// Bytes of a record before its facts.
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
/// Bytes of the length before a detail.
const DETAIL_LENGTH_BYTES: usize = 4;
/// Bytes that stand in for an erased detail: its hash.
const HASH_BYTES: usize = 32;

/// What the chain takes of a record before its hashes.
const CHAINED_HEADER_BYTES: usize = 11;

/// A kind with this bit may be skipped by a reader that does not know it.
pub const KIND_MAY_BE_SKIPPED: u16 = 0x8000;

const FLAG_HAS_DETAIL: u8 = 1;
const FLAG_ERASED: u8 = 2;
/// Reserved for compressed bodies. Format 1 never sets it and refuses to read it.
const FLAG_ZSTD: u8 = 4;

/// Who decides about the thing a record speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Authority {
    /// The Server's journal.
    Control = 0,
    /// A Manager's journal.
    Site = 1,
}

/// The flags of a record, as a reader finds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordFlags(u8);

impl RecordFlags {
    /// True if the record was written with a detail.
    #[must_use]
    pub const fn has_detail(self) -> bool {
        self.0 & FLAG_HAS_DETAIL != 0
    }

    /// True if the detail was erased since and only its hash is left.
    #[must_use]
    pub const fn erased(self) -> bool {
        self.0 & FLAG_ERASED != 0
    }

    /// The bits as they are on disk.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// A record that has no position yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDraft {
    /// What the record is, in the caller's numbering; see `KIND_MAY_BE_SKIPPED`.
    pub kind: u16,
    /// Which shape of that kind.
    pub version: u8,
    /// Whose fact it is.
    pub authority: Authority,
    /// How many records back the decision stands that this record belongs to; 0 for itself.
    pub decision_offset: u16,
    /// What a fold may read.
    pub facts: Vec<u8>,
    /// What may be erased later.
    pub detail: Option<Vec<u8>>,
}

/// What one decision hands over: these records become durable together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// When it was decided, in microseconds since 1970. Raised to the journal's last time if lower.
    pub time_us: u64,
    /// At least one record.
    pub records: Vec<RecordDraft>,
}

/// A record with its place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its position.
    pub lsn: Lsn,
    /// Its draft's time, clamped: never lower than the record before.
    pub time_us: u64,
    /// What it is.
    pub kind: u16,
    /// Which shape of that kind.
    pub version: u8,
    /// What is known of its detail.
    pub flags: RecordFlags,
    /// Whose fact it is.
    pub authority: Authority,
    /// How many records back its decision stands.
    pub decision_offset: u16,
    /// What a fold may read.
    pub facts: Vec<u8>,
    /// The detail, unless there was none or it was erased.
    pub detail: Option<Vec<u8>>,
    /// BLAKE3 of the detail, also after it was erased.
    pub detail_hash: Option<[u8; 32]>,
}

impl Record {
    /// Position of the decision this record belongs to (its own, if it is one).
    #[must_use]
    pub fn decision(&self) -> Lsn {
        Lsn::new(
            self.lsn
                .get()
                .saturating_sub(u64::from(self.decision_offset)),
        )
    }

    /// True if a reader that does not know the kind may pass it over.
    #[must_use]
    pub const fn may_be_skipped(&self) -> bool {
        self.kind & KIND_MAY_BE_SKIPPED != 0
    }
}

/// Encoded size of a draft's records.
pub(crate) fn encoded_bytes(records: &[RecordDraft]) -> usize {
    records
        .iter()
        .map(|record| {
            let detail = record
                .detail
                .as_ref()
                .map_or(0, |detail| DETAIL_LENGTH_BYTES + detail.len());
            RECORD_HEADER_BYTES + record.facts.len() + detail
        })
        .sum()
}

/// What an encoded record's detail slot holds.
#[derive(Clone, Copy)]
pub(crate) enum DetailView<'a> {
    None,
    Present(&'a [u8]),
    Erased([u8; HASH_BYTES]),
}

impl DetailView<'_> {
    pub(crate) fn hash(&self) -> Option<[u8; HASH_BYTES]> {
        match self {
            Self::None => None,
            Self::Present(bytes) => Some(*blake3::hash(bytes).as_bytes()),
            Self::Erased(hash) => Some(*hash),
        }
    }
}

/// The hashes of a record's bodies, which do not depend on its place.
#[derive(Clone, Copy)]
pub(crate) struct BodyHashes {
    facts: [u8; HASH_BYTES],
    detail: Option<[u8; HASH_BYTES]>,
}

impl BodyHashes {
    pub(crate) fn of(draft: &RecordDraft) -> Self {
        Self {
            facts: *blake3::hash(&draft.facts).as_bytes(),
            detail: draft
                .detail
                .as_ref()
                .map(|detail| *blake3::hash(detail).as_bytes()),
        }
    }
}

/// A record in place, borrowed from the bytes of its batch.
#[derive(Clone, Copy)]
pub(crate) struct RecordView<'a> {
    pub(crate) kind: u16,
    pub(crate) version: u8,
    pub(crate) authority: Authority,
    pub(crate) decision_offset: u16,
    pub(crate) time_after_us: u32,
    pub(crate) facts: &'a [u8],
    pub(crate) detail: DetailView<'a>,
}

impl<'a> RecordView<'a> {
    pub(crate) fn of(draft: &'a RecordDraft, time_after_us: u32) -> Self {
        Self {
            kind: draft.kind,
            version: draft.version,
            authority: draft.authority,
            decision_offset: draft.decision_offset,
            time_after_us,
            facts: &draft.facts,
            detail: match &draft.detail {
                None => DetailView::None,
                Some(bytes) => DetailView::Present(bytes),
            },
        }
    }

    fn flags(&self) -> u8 {
        match self.detail {
            DetailView::None => 0,
            DetailView::Present(_) => FLAG_HAS_DETAIL,
            DetailView::Erased(_) => FLAG_HAS_DETAIL | FLAG_ERASED,
        }
    }

    /// Appends the bytes of FORMAT.md, "Record".
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.kind.to_le_bytes());
        into.extend_from_slice(&[self.version, self.flags(), self.authority as u8, 0]);
        into.extend_from_slice(&self.decision_offset.to_le_bytes());
        into.extend_from_slice(&self.time_after_us.to_le_bytes());
        into.extend_from_slice(&length_bytes(self.facts));
        into.extend_from_slice(self.facts);
        match &self.detail {
            DetailView::None => {}
            DetailView::Present(bytes) => {
                into.extend_from_slice(&length_bytes(bytes));
                into.extend_from_slice(bytes);
            }
            DetailView::Erased(hash) => {
                into.extend_from_slice(&length_bytes(hash));
                into.extend_from_slice(hash);
            }
        }
    }

    /// Reads one record from the front and returns what follows it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Flaw> {
        if bytes.len() < RECORD_HEADER_BYTES {
            return Err(Flaw::Records);
        }
        let (header, rest) = bytes.split_at(RECORD_HEADER_BYTES);
        let flags = header[3];
        if flags & FLAG_ZSTD != 0 || flags > 7 || header[5] != 0 {
            return Err(Flaw::Newer);
        }
        let authority = match header[4] {
            0 => Authority::Control,
            1 => Authority::Site,
            _ => return Err(Flaw::Newer),
        };
        let (facts, rest) = split(rest, field::u32(header, 12))?;
        let (detail, rest) = decode_detail(flags, rest)?;
        let view = Self {
            kind: field::u16(header, 0),
            version: header[2],
            authority,
            decision_offset: field::u16(header, 6),
            time_after_us: field::u32(header, 8),
            facts,
            detail,
        };
        Ok((view, rest))
    }

    /// Adds what the chain covers: the header without lengths and the erased mark, and hashes.
    pub(crate) fn chain(&self, hasher: &mut blake3::Hasher) {
        self.chain_hashed(
            BodyHashes {
                facts: *blake3::hash(self.facts).as_bytes(),
                detail: self.detail.hash(),
            },
            hasher,
        );
    }

    /// The same for a record whose bodies were hashed before. One `update`, because a hasher
    /// takes as long for three small pieces as for three large ones.
    pub(crate) fn chain_hashed(&self, hashes: BodyHashes, hasher: &mut blake3::Hasher) {
        let mut bytes = [0; CHAINED_HEADER_BYTES + 2 * HASH_BYTES];
        bytes[0..2].copy_from_slice(&self.kind.to_le_bytes());
        bytes[2] = self.version;
        bytes[3] = self.flags() & FLAG_HAS_DETAIL;
        bytes[4] = self.authority as u8;
        bytes[5..7].copy_from_slice(&self.decision_offset.to_le_bytes());
        bytes[7..11].copy_from_slice(&self.time_after_us.to_le_bytes());
        let mut end = CHAINED_HEADER_BYTES;
        for hash in std::iter::once(hashes.facts).chain(hashes.detail) {
            bytes[end..end + HASH_BYTES].copy_from_slice(&hash);
            end += HASH_BYTES;
        }
        hasher.update(&bytes[..end]);
    }

    pub(crate) fn to_record(self, lsn: Lsn, batch_time_us: u64) -> Record {
        Record {
            lsn,
            time_us: batch_time_us.saturating_add(u64::from(self.time_after_us)),
            kind: self.kind,
            version: self.version,
            flags: RecordFlags(self.flags()),
            authority: self.authority,
            decision_offset: self.decision_offset,
            facts: self.facts.to_vec(),
            detail: match self.detail {
                DetailView::Present(bytes) => Some(bytes.to_vec()),
                DetailView::None | DetailView::Erased(_) => None,
            },
            detail_hash: self.detail.hash(),
        }
    }
}

fn length_bytes(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len())
        .expect("a draft is checked against the batch limit before it is encoded")
        .to_le_bytes()
}

fn split(bytes: &[u8], length: u32) -> Result<(&[u8], &[u8]), Flaw> {
    bytes.split_at_checked(length as usize).ok_or(Flaw::Records)
}

fn decode_detail(flags: u8, bytes: &[u8]) -> Result<(DetailView<'_>, &[u8]), Flaw> {
    if flags & FLAG_HAS_DETAIL == 0 {
        return match flags & FLAG_ERASED {
            0 => Ok((DetailView::None, bytes)),
            _ => Err(Flaw::Records),
        };
    }
    let (length, rest) = bytes
        .split_at_checked(DETAIL_LENGTH_BYTES)
        .ok_or(Flaw::Records)?;
    let (detail, rest) = split(rest, field::u32(length, 0))?;
    if flags & FLAG_ERASED == 0 {
        return Ok((DetailView::Present(detail), rest));
    }
    let hash = detail.try_into().map_err(|_| Flaw::Records)?;
    Ok((DetailView::Erased(hash), rest))
}
