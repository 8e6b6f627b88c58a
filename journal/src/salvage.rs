// SPDX-License-Identifier: GPL-3.0-or-later
//! Saves what is whole of a damaged journal into another folder, in a new incarnation.
//!
//! It never changes the damaged one. It copies verified batches from the beginning to the first
//! place that can not be believed and stops there: what lies behind has lost its proof, and a
//! journal with a hole would be folded into a state that never was.

use std::sync::Arc;

use crate::baseline::{Baseline, list_baselines};
use crate::batch::BatchHeader;
use crate::error::{Damage, Doing, Error};
use crate::files::{Access, FileStore, read_from};
use crate::folder::list_segments;
use crate::journal::{Journal, OpenOptions};
use crate::mark::CleanMark;
use crate::mirror::{Mirror, MirrorOptions};
use crate::packed::unpacked;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::reader::Reader;
use crate::scan::find_structure;
use crate::segment::{SegmentHeader, segment_name};

/// What was saved, and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// The oldest position in the copy.
    pub first: Lsn,
    /// Where the copy goes on.
    pub next: Lsn,
    /// The chain value there.
    pub chain: ChainValue,
    /// The incarnation in which it goes on: one more than the highest that was read.
    pub incarnation: u32,
    /// Why it ends there; none if the journal was whole.
    pub damage: Option<Damage>,
}

/// Copies the whole part of the journal in `from` into the empty folder `to`. `now_us` is wall
/// time, for the header of the copy. The copy is closed clean.
pub fn salvage(
    from: Arc<dyn FileStore>,
    to: Arc<dyn FileStore>,
    now_us: u64,
) -> Result<Salvaged, Error> {
    if let Ok(occupied) = Reader::open(Arc::clone(&to)) {
        return Err(Error::Occupied(occupied.journal_id()));
    }
    let reader = Reader::open(Arc::clone(&from))?;
    let mut cursor = reader.read(reader.oldest()?)?;
    let options = MirrorOptions {
        start: Some((cursor.next_lsn(), cursor.chain())),
        ..MirrorOptions::new(reader.journal_id(), now_us)
    };
    let first = cursor.next_lsn();
    let (mut copy, _) = Mirror::open(Arc::clone(&to), &options)?;
    let stopped_by = loop {
        match cursor.next_raw() {
            Ok(Some(bytes)) => {
                copy.append(&bytes)?;
            }
            Ok(None) => break None,
            Err(Error::Damage(damage)) => break Some(damage),
            Err(other) => return Err(other),
        }
    };
    let incarnation = incarnation_above(from.as_ref(), reader.journal_id(), 0)?;
    copy.close()?;
    // What stands in for a retired beginning; a damaged one is told, like any other damage.
    for next in list_baselines(from.as_ref())? {
        Baseline::read(from.as_ref(), next)?.write(to.as_ref())?;
    }
    let risen = OpenOptions {
        incarnation: Some(incarnation),
        ..OpenOptions::new(reader.journal_id(), now_us)
    };
    let journal = Journal::open(to, &risen)?.journal;
    let salvaged = Salvaged {
        first,
        next: journal.next_lsn(),
        chain: journal.chain(),
        incarnation,
        damage: stopped_by.or_else(|| match reader.verify() {
            Err(Error::Damage(damage)) => Some(damage),
            _ => None,
        }),
    };
    journal.close()?;
    Ok(salvaged)
}

/// Lets a copy of a journal go on in an incarnation above its own, so that no position that the
/// original gives out after the copy was made is given out again. `fence` is drawn by chance: it
/// keeps two copies that are made of one backup, and know nothing of each other, from going on
/// in the same incarnation. Returns the new incarnation.
pub fn raise_incarnation(files: Arc<dyn FileStore>, now_us: u64, fence: u16) -> Result<u32, Error> {
    let id = Reader::open(Arc::clone(&files))?.journal_id();
    let incarnation = incarnation_above(files.as_ref(), id, fence)?;
    let risen = OpenOptions {
        incarnation: Some(incarnation),
        ..OpenOptions::new(id, now_us)
    };
    Journal::open(files, &risen)?.journal.close()?;
    Ok(incarnation)
}

/// One more than the highest incarnation that any readable header in the folder names, also behind
/// the damage, and `fence` more: positions were given out in it, and the copy must not give them
/// out again.
fn incarnation_above(files: &dyn FileStore, id: JournalId, fence: u16) -> Result<u32, Error> {
    let mut highest = CleanMark::read(files)?.map_or(0, |mark| mark.incarnation);
    for first in list_segments(files)? {
        let name = segment_name(first);
        let file = files.open(&name, Access::Read).doing("open", &name)?;
        // Of a damaged pack nothing can be said; the segment after it names its incarnation.
        let Ok(bytes) =
            unpacked(file, &name).and_then(|file| read_from(file.as_ref(), 0).doing("read", &name))
        else {
            continue;
        };
        if let Ok(header) = SegmentHeader::decode(&bytes, &name) {
            highest = highest.max(header.incarnation);
        }
        let mut at = 0;
        while let Some(found) = find_structure(&bytes[at..]) {
            at += found;
            if let Ok(header) = BatchHeader::decode(&bytes[at..], id) {
                highest = highest.max(header.incarnation);
            }
            at += 1;
        }
    }
    // Only bytes that no writer of ours made are this far.
    let above = highest.checked_add(1 + u32::from(fence));
    above.ok_or(Error::IncarnationTooLow {
        asked: highest,
        found: highest,
    })
}
