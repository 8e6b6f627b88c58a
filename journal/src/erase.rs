// SPDX-License-Identifier: GPL-3.0-or-later
//! Erases details from a journal at rest, leaving their hashes and so the chain.
//!
//! Which details go is the caller's decision, and so is the record that says they went. Each
//! segment is rewritten beside itself and takes the old one's name when it is durable, so a crash
//! leaves every segment old or new. Nobody may have the journal open, not even for reading: byte
//! offsets change.

use crate::batch::{BATCH_HEADER_BYTES, BATCH_TRAILER_BYTES, BatchHeader, RawBatch, checksum};
use crate::error::{Damage, Doing, Error};
use crate::files::{Access, FileStore, read_from};
use crate::flaw::Flaw;
use crate::folder::{Segment, linked_segments, open_segment};
use crate::mark::{CleanMark, write_whole};
use crate::position::{JournalId, Lsn};
use crate::record::DetailView;
use crate::scan::{Expected, Tail, scan};
use crate::segment::SEGMENT_HEADER_BYTES;

/// Erases the details of the records that `pick` names; returns how many segments changed.
/// Refuses damage, and a torn tail, which opening the journal puts in order first.
pub fn erase_details(
    files: &dyn FileStore,
    mut pick: impl FnMut(Lsn) -> bool,
) -> Result<usize, Error> {
    let segments = linked_segments(files)?;
    let mark = CleanMark::read(files)?;
    let mut changed = 0;
    for (index, segment) in segments.iter().enumerate() {
        let newest = index + 1 == segments.len();
        let mark = mark.filter(|mark| mark.id == segment.header.id);
        let expected = Expected {
            name: &segment.name,
            header: segment.header,
            newest,
            closed_at: mark.map(|mark| (mark.next, mark.chain)),
        };
        if let Some(bytes) = rewritten(files, segment, expected, &mut pick)? {
            write_whole(files, &segment.name, &bytes)?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// The segment's new bytes, if any detail of it goes.
fn rewritten(
    files: &dyn FileStore,
    segment: &Segment,
    expected: Expected<'_>,
    pick: &mut impl FnMut(Lsn) -> bool,
) -> Result<Option<Vec<u8>>, Error> {
    let (_, file) = open_segment(files, segment.header.first, Access::Read)?;
    let old = read_from(file.as_ref(), 0).doing("read", &segment.name)?;
    let mut new = old[..SEGMENT_HEADER_BYTES].to_vec();
    let mut batches_end = SEGMENT_HEADER_BYTES;
    let mut changed = false;
    let mut erase = |raw: &RawBatch<'_>, offset: u64| {
        batches_end = offset as usize + raw.bytes.len();
        // The scan has verified the batch, so its records can be walked.
        match erase_in_batch(raw, segment.header.id, &mut *pick) {
            Ok(Some(bytes)) => {
                changed = true;
                new.extend_from_slice(&bytes);
            }
            Ok(None) | Err(_) => new.extend_from_slice(raw.bytes),
        }
    };
    let scanned = scan(&old, expected, &mut erase)?;
    if scanned.tail != Tail::Whole {
        return Err(Error::Damage(Damage {
            segment: segment.name.clone(),
            offset: scanned.end,
            lsn: scanned.next,
            what: "a torn tail has to be cut off first, by opening the journal".to_owned(),
        }));
    }
    new.extend_from_slice(&old[batches_end..]);
    Ok(changed.then_some(new))
}

/// The same batch with the details erased of those records that `erase` picks; `None` if that
/// changes nothing. The batch has to be a verified one.
fn erase_in_batch(
    raw: &RawBatch<'_>,
    id: JournalId,
    mut erase: impl FnMut(Lsn) -> bool,
) -> Result<Option<Vec<u8>>, Flaw> {
    let mut body = Vec::with_capacity(raw.body().len());
    let mut changed = false;
    let mut lsn = raw.header.first;
    for view in raw.views() {
        let mut view = view?;
        if let DetailView::Present(detail) = view.detail
            && erase(lsn)
        {
            view.detail = DetailView::Erased(*blake3::hash(detail).as_bytes());
            changed = true;
        }
        view.encode(&mut body);
        lsn = lsn.next();
    }
    if !changed {
        return Ok(None);
    }
    let length = BATCH_HEADER_BYTES + body.len() + BATCH_TRAILER_BYTES;
    let header = BatchHeader {
        length: u32::try_from(length).map_err(|_| Flaw::LengthImpossible)?,
        ..raw.header
    };
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&header.encode(id));
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&checksum(id, &body).to_le_bytes());
    bytes.extend_from_slice(&raw.chain().0);
    Ok(Some(bytes))
}
