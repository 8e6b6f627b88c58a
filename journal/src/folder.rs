// SPDX-License-Identifier: GPL-3.0-or-later
//! The segments of a folder: which there are, and whether they fit together.
//!
//! Reads headers and seals only, so it costs two small reads a segment however large they are.
//! What is inside a segment is `scan`'s business.

use crate::batch::genesis_chain;
use crate::error::{Damage, Doing, Error};
use crate::files::{Access, FileStore, StoreFile};
use crate::packed::unpacked;
use crate::position::Lsn;
use crate::segment::{
    SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal, SegmentHeader, segment_first, segment_name,
};

/// One segment file and what its header says.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
}

/// First positions of all segments, ascending.
pub(crate) fn list_segments(files: &dyn FileStore) -> Result<Vec<Lsn>, Error> {
    let names = files.list().doing("list", "the journal folder")?;
    let mut firsts: Vec<Lsn> = names
        .iter()
        .filter_map(|name| segment_first(name))
        .collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Opens a segment and reads its header.
pub(crate) fn open_segment(
    files: &dyn FileStore,
    first: Lsn,
    access: Access,
) -> Result<(Segment, Box<dyn StoreFile>), Error> {
    let name = segment_name(first);
    let file = files.open(&name, access).doing("open", &name)?;
    let file = unpacked(file, &name)?;
    // A later format may have a longer header; its length field decides, so read some more.
    let mut bytes = [0; SEGMENT_HEADER_BYTES * 4];
    let count = file.read_at(0, &mut bytes).doing("read", &name)?;
    let header = SegmentHeader::decode(&bytes[..count], &name)?;
    Ok((Segment { name, header }, file))
}

/// Where a segment's seal should be, and the seal if there is a valid one.
#[derive(Clone, Copy)]
struct SealPlace {
    offset: u64,
    seal: Option<Seal>,
}

fn read_seal(file: &dyn StoreFile, segment: &Segment) -> Result<SealPlace, Error> {
    let length = file.len().doing("measure", &segment.name)?;
    let offset = length
        .saturating_sub(SEAL_BYTES as u64)
        .max(SEGMENT_HEADER_BYTES as u64);
    let mut bytes = [0; SEAL_BYTES];
    let count = file
        .read_at(offset, &mut bytes)
        .doing("read", &segment.name)?;
    let seal = Seal::decode(&bytes[..count], segment.header.id);
    Ok(SealPlace { offset, seal })
}

/// All segments, checked to be of one journal and to continue one another.
pub(crate) fn linked_segments(files: &dyn FileStore) -> Result<Vec<Segment>, Error> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut place_before: Option<SealPlace> = None;
    for first in list_segments(files)? {
        let (segment, file) = open_segment(files, first, Access::Read)?;
        match (segments.last(), place_before) {
            (Some(before), Some(place)) => check_link(before, place, &segment)?,
            _ => check_origin(&segment)?,
        }
        place_before = Some(read_seal(file.as_ref(), &segment)?);
        segments.push(segment);
    }
    Ok(segments)
}

/// A journal that begins at its origin has the chain value that follows from its id.
fn check_origin(segment: &Segment) -> Result<(), Error> {
    let header = &segment.header;
    if header.first > Lsn::FIRST || header.chain == genesis_chain(header.id) {
        return Ok(());
    }
    Err(Error::Damage(Damage {
        segment: segment.name.clone(),
        offset: 0,
        lsn: header.first,
        what: "the chain does not begin with the journal's id".to_owned(),
    }))
}

fn check_link(before: &Segment, place: SealPlace, segment: &Segment) -> Result<(), Error> {
    if before.header.id != segment.header.id {
        return Err(Error::WrongJournal {
            expected: before.header.id,
            found: segment.header.id,
        });
    }
    let what = match place.seal {
        None => {
            return Err(Error::Damage(Damage {
                segment: before.name.clone(),
                offset: place.offset,
                lsn: segment.header.first.previous(),
                what: "another segment follows, and this one does not end with its seal".to_owned(),
            }));
        }
        Some(seal) if seal.next != segment.header.first => {
            "the segment before continues at another position; one is missing"
        }
        Some(seal) if seal.chain != segment.header.chain => {
            "the chain value in its header does not follow from the segment before"
        }
        Some(seal) if seal.incarnation > segment.header.incarnation => {
            "its incarnation is earlier than that of the segment before"
        }
        Some(_) => return Ok(()),
    };
    Err(Error::Damage(Damage {
        segment: segment.name.clone(),
        offset: 0,
        lsn: segment.header.first,
        what: what.to_owned(),
    }))
}
