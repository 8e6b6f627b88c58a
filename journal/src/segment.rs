// SPDX-License-Identifier: GPL-3.0-or-later
//! A segment file's own bytes: its name, the header in front, the seal behind.
//!
//! Batches in between are the business of `batch`. Nothing here touches a disk. Layout:
//! FORMAT.md, sections "Segment" and "Seal".

use crate::batch::checksum;
use crate::error::{Damage, Error};
use crate::flaw::field;
use crate::position::{ChainValue, JournalId, Lsn};

/// The format of the segments that are written to.
pub const FORMAT_VERSION: u16 = 1;
/// The newest format that this build reads: that of packed segments.
pub(crate) const FORMAT_NEWEST: u16 = 2;

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"TABLAOSG";
pub(crate) const SEGMENT_HEADER_BYTES: usize = 128;
pub(crate) const SEAL_MAGIC: [u8; 4] = *b"TSEL";
pub(crate) const SEAL_BYTES: usize = 64;
/// The batches came from another journal: their `durable_upto` speaks of that one's disk.
const FLAG_MIRROR: u32 = 1;

const SUFFIX: &str = ".seg";
/// Ends the names of files that were not finished; recovery removes them.
pub(crate) const UNFINISHED_SUFFIX: &str = ".new";

/// The file name of the segment that begins at this position.
pub(crate) fn segment_name(first: Lsn) -> String {
    format!("{:020}{SUFFIX}", first.get())
}

/// The first position of the segment with this file name, if it is one.
pub(crate) fn segment_first(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&first| first > Lsn::ORIGIN)
}

/// What stands in front of a segment's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: JournalId,
    pub(crate) incarnation: u32,
    pub(crate) first: Lsn,
    pub(crate) chain: ChainValue,
    pub(crate) created_us: u64,
    pub(crate) mirror: bool,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&(SEGMENT_HEADER_BYTES as u16).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id.0);
        bytes[32..40].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[40..48].copy_from_slice(&self.created_us.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.chain.0);
        let flags = if self.mirror { FLAG_MIRROR } else { 0 };
        bytes[80..84].copy_from_slice(&flags.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..124]);
        bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of the segment called `name`.
    pub(crate) fn decode(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let damage = |what: &str| {
            Error::Damage(Damage {
                segment: name.to_owned(),
                offset: 0,
                lsn: segment_first(name).unwrap_or_default(),
                what: what.to_owned(),
            })
        };
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(damage("the segment header is cut short"));
        }
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(damage("the file does not begin like a segment"));
        }
        // The length is needed to find the checksum; every format keeps these two fields and
        // ends its header with a checksum, so "newer" and "damaged" can be told apart.
        let length = usize::from(field::u16(bytes, 10));
        let whole = (SEGMENT_HEADER_BYTES..=bytes.len()).contains(&length);
        if !whole || crc32c::crc32c(&bytes[..length - 4]) != field::u32(bytes, length - 4) {
            return Err(damage("the segment header's checksum is wrong"));
        }
        let format = field::u16(bytes, 8);
        let flags = field::u32(bytes, 80);
        if format > FORMAT_VERSION {
            return Err(Error::NewerFormat {
                file: name.to_owned(),
                found: format,
                known: FORMAT_NEWEST,
            });
        }
        if format == 0 || length != SEGMENT_HEADER_BYTES || flags > 1 || bytes[84..124] != [0; 40] {
            return Err(damage("the segment header has impossible fields"));
        }
        let header = Self {
            id: JournalId(field::bytes(bytes, 16)),
            incarnation: field::u32(bytes, 12),
            first: Lsn::new(field::u64(bytes, 32)),
            chain: ChainValue(field::bytes(bytes, 48)),
            created_us: field::u64(bytes, 40),
            mirror: flags & FLAG_MIRROR != 0,
        };
        if segment_first(name) != Some(header.first) {
            return Err(damage("the segment's name and its header disagree"));
        }
        Ok(header)
    }
}

/// What closes a segment that another one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Where the next segment begins.
    pub(crate) next: Lsn,
    /// Time of the last record, for the clamp of the next segment.
    pub(crate) time_us: u64,
    pub(crate) chain: ChainValue,
    pub(crate) incarnation: u32,
}

impl Seal {
    pub(crate) fn encode(&self, id: JournalId) -> [u8; SEAL_BYTES] {
        let mut bytes = [0; SEAL_BYTES];
        bytes[0..4].copy_from_slice(&SEAL_MAGIC);
        bytes[4..8].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.next.get().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_us.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.chain.0);
        let checksum = checksum(id, &bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The seal at the front of these bytes, if there is a valid one.
    pub(crate) fn decode(bytes: &[u8], id: JournalId) -> Option<Self> {
        let bytes = bytes.get(..SEAL_BYTES)?;
        let valid = bytes[0..4] == SEAL_MAGIC
            && checksum(id, &bytes[..60]) == field::u32(bytes, 60)
            && bytes[56..60] == [0; 4];
        valid.then(|| Self {
            next: Lsn::new(field::u64(bytes, 8)),
            time_us: field::u64(bytes, 16),
            chain: ChainValue(field::bytes(bytes, 24)),
            incarnation: field::u32(bytes, 4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            id: JournalId([7; 16]),
            incarnation: 3,
            first: Lsn::new(41),
            chain: ChainValue([9; 32]),
            created_us: 1_700_000_000_000_000,
            mirror: true,
        }
    }

    /// What is written in front of a segment is what is read back, from its name on.
    #[test]
    fn a_header_reads_back_and_belongs_to_its_name() {
        let bytes = header().encode();
        let read = SegmentHeader::decode(&bytes, "00000000000000000041.seg").expect("valid");
        assert_eq!(read, header());
        assert!(matches!(
            SegmentHeader::decode(&bytes, "00000000000000000042.seg"),
            Err(Error::Damage(_))
        ));
    }

    /// An older build must say "upgrade", not "damaged", of a later format, and the reverse of
    /// a flipped bit in the version field.
    #[test]
    fn a_newer_format_is_not_taken_for_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let damaged = SegmentHeader::decode(&bytes, "00000000000000000041.seg");
        assert!(matches!(damaged, Err(Error::Damage(_))));
        let checksum = crc32c::crc32c(&bytes[..124]);
        bytes[124..].copy_from_slice(&checksum.to_le_bytes());
        let newer = SegmentHeader::decode(&bytes, "00000000000000000041.seg");
        assert!(matches!(newer, Err(Error::NewerFormat { found: 2, .. })));
    }

    /// Only real segment names count; anything else in the folder is left alone.
    #[test]
    fn names_that_are_not_segments_are_passed_over() {
        assert_eq!(
            segment_first("00000000000000000041.seg"),
            Some(Lsn::new(41))
        );
        for other in [
            "41.seg",
            "00000000000000000041.seg.new",
            "clean.mark",
            "00000000000000000000.seg",
        ] {
            assert_eq!(segment_first(other), None, "{other}");
        }
    }
}
