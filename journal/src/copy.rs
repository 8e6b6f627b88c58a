// SPDX-License-Identifier: GPL-3.0-or-later
//! Copies a journal into another folder, also beside the process that writes it.
//!
//! The copy is a prefix that ends where a batch does, is durable in the original and is verified
//! in the copy. It is a copy and not a journal to go on with: see `raise_incarnation`.

use std::sync::Arc;

use crate::baseline::{Baseline, list_baselines};
use crate::cursor::Cursor;
use crate::error::{Doing, Error};
use crate::files::{Access, FileStore, read_from};
use crate::folder::{list_segments, open_segment};
use crate::inspect::Verified;
use crate::mark::{CleanMark, write_whole};
use crate::position::Lsn;
use crate::reader::Reader;
use crate::segment::segment_name;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What a check of every byte of the copy found.
    pub verified: Verified,
    /// How many segments it has.
    pub segments: usize,
    /// Their size.
    pub bytes: u64,
}

/// Copies the journal in `from` into the empty folder `to`.
pub fn copy_journal(from: &Arc<dyn FileStore>, to: &Arc<dyn FileStore>) -> Result<Copied, Error> {
    if let Ok(occupied) = Reader::open(Arc::clone(to)) {
        return Err(Error::Occupied(occupied.journal_id()));
    }
    let mark = CleanMark::read(from.as_ref())?;
    let newest = *list_segments(from.as_ref())?
        .last()
        .ok_or(Error::NoJournal)?;
    let mut cursor = Cursor::at_segment(Arc::clone(from), Arc::default(), newest)?;
    while cursor.next_raw()?.is_some() {}
    let end = cursor.place();
    // What was read may not be on the disk yet, and a copy must not be ahead of a journal that
    // loses its power now.
    let (_, last) = open_segment(from.as_ref(), end.segment, Access::Read)?;
    let last_name = segment_name(end.segment);
    last.sync().doing("sync", &last_name)?;
    let mut copied = 0;
    let mut bytes = 0;
    for first in list_segments(from.as_ref())? {
        if first > end.segment {
            break;
        }
        let name = segment_name(first);
        let content = if first == end.segment {
            let mut content = read_from(last.as_ref(), 0).doing("read", &name)?;
            content.truncate(usize::try_from(end.offset).unwrap_or(usize::MAX));
            content
        } else {
            // As it lies there, packed or not.
            let file = from.open(&name, Access::Read).doing("open", &name)?;
            read_from(file.as_ref(), 0).doing("read", &name)?
        };
        write_whole(to.as_ref(), &name, &content)?;
        copied += 1;
        bytes += content.len() as u64;
    }
    // Without the state of what was retired nobody could fold the copy.
    for next in list_baselines(from.as_ref())? {
        let baseline = Baseline::read(from.as_ref(), next)?;
        baseline.write(to.as_ref())?;
        bytes += baseline.state.len() as u64;
    }
    if let Some(mark) = mark.filter(|mark| mark.next <= end.next) {
        mark.write(to.as_ref())?;
    }
    let verified = Reader::open(Arc::clone(to))?.verify()?;
    if (verified.next, verified.chain) != (end.next, end.chain) {
        return Err(Error::Diverged {
            at: verified.next.max(Lsn::FIRST).previous(),
            ours: verified.chain,
            theirs: end.chain,
        });
    }
    Ok(Copied {
        verified,
        segments: copied,
        bytes,
    })
}
