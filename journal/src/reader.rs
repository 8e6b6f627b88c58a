// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a journal folder, at rest or beside a live writer, and never writes to it.
//!
//! `Reader` finds the place where a position is; the walk from there is a `Cursor`. Checking and
//! describing a whole folder is `inspect`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::baseline::{Baseline, list_baselines};
use crate::cursor::{Cursor, Place};
use crate::error::Error;
use crate::files::{Access, FileStore};
use crate::folder::{list_segments, open_segment};
use crate::position::{ChainValue, JournalId, Lsn};
use crate::record::Record;

/// A place is remembered for every so many bytes walked: at most this much is walked again.
const HINT_EVERY_BYTES: u64 = 256 << 10;
/// And the last few ends of reads, which is where followers come back to.
const RECENT_HINTS: usize = 64;

/// A sparse index in memory, filled by every cursor of a reader as it walks.
#[derive(Default)]
pub(crate) struct Hints {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    sparse: BTreeMap<Lsn, Place>,
    recent: VecDeque<Place>,
}

impl Hints {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cursor has been here.
    pub(crate) fn passed(&self, place: Place) {
        let mut known = self.known();
        let near = known
            .sparse
            .range(..=place.next)
            .next_back()
            .is_some_and(|(_, before)| {
                before.segment == place.segment
                    && place.offset.saturating_sub(before.offset) < HINT_EVERY_BYTES
            });
        if !near {
            known.sparse.insert(place.next, place);
        }
    }

    /// A read ended here; the next one is likely to begin here.
    fn ended(&self, place: Place) {
        let mut known = self.known();
        if known.recent.len() == RECENT_HINTS {
            known.recent.pop_front();
        }
        known.recent.push_back(place);
    }

    /// The nearest known place in this segment at or before a position.
    fn before(&self, segment: Lsn, target: Lsn) -> Option<Place> {
        let known = self.known();
        let sparse = known
            .sparse
            .range(segment..=target)
            .next_back()
            .map(|(_, place)| *place);
        let recent = known.recent.iter().copied();
        recent
            .chain(sparse)
            .filter(|place| place.segment == segment && place.next <= target)
            .max_by_key(|place| place.next)
    }
}

/// Whole batches as bytes, for another journal's mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBatches {
    /// Position of the first record in `bytes` (the position asked for, if there is nothing).
    pub first: Lsn,
    /// Position after the last one.
    pub next: Lsn,
    /// The chain value after the last one.
    pub chain: ChainValue,
    /// The batches, one after the other.
    pub bytes: Vec<u8>,
}

/// Reads a journal folder. Cheap to share between threads.
pub struct Reader {
    files: Arc<dyn FileStore>,
    hints: Arc<Hints>,
    id: JournalId,
}

impl Reader {
    /// Looks at the newest segment to learn which journal it is; at the one before if that one's
    /// header is damaged, so that what is whole can still be read.
    pub fn open(files: Arc<dyn FileStore>) -> Result<Self, Error> {
        let mut first_damage = None;
        for first in list_segments(files.as_ref())?.into_iter().rev() {
            match open_segment(files.as_ref(), first, Access::Read) {
                Ok((segment, _)) => {
                    return Ok(Self {
                        files,
                        hints: Arc::default(),
                        id: segment.header.id,
                    });
                }
                Err(Error::Damage(damage)) => {
                    first_damage.get_or_insert(damage);
                }
                Err(other) => return Err(other),
            }
        }
        Err(first_damage.map_or(Error::NoJournal, Error::Damage))
    }

    /// Which journal it is.
    #[must_use]
    pub fn journal_id(&self) -> JournalId {
        self.id
    }

    pub(crate) fn files(&self) -> &dyn FileStore {
        self.files.as_ref()
    }

    /// The oldest position that is here.
    pub fn oldest(&self) -> Result<Lsn, Error> {
        let firsts = list_segments(self.files())?;
        firsts.first().copied().ok_or(Error::NoJournal)
    }

    /// The newest baseline that covers nothing after `last`, checked against the segments; none
    /// where the journal begins at its origin and needs none. An error if it needs one.
    pub fn baseline(&self, last: Lsn) -> Result<Option<Baseline>, Error> {
        let oldest = self.oldest()?;
        let found = list_baselines(self.files())?
            .into_iter()
            .rfind(|&next| next >= oldest && next.previous() <= last);
        match found {
            Some(next) => {
                let baseline = Baseline::read(self.files(), next)?;
                baseline.check(self)?;
                Ok(Some(baseline))
            }
            None if oldest == Lsn::FIRST => Ok(None),
            None => Err(Error::Retired {
                asked: last,
                oldest,
            }),
        }
    }

    /// A cursor whose first batch is the one that holds `from`; that batch may begin earlier. At
    /// the end of the journal it waits for what comes (see `Cursor`).
    pub fn read(&self, from: Lsn) -> Result<Cursor, Error> {
        let from = from.max(Lsn::FIRST);
        let firsts = list_segments(self.files())?;
        let oldest = *firsts.first().ok_or(Error::NoJournal)?;
        let segment = *firsts
            .iter()
            .rev()
            .find(|&&first| first <= from)
            .ok_or(Error::Retired {
                asked: from,
                oldest,
            })?;
        let files = Arc::clone(&self.files);
        let hints = Arc::clone(&self.hints);
        let mut cursor = match self.hints.before(segment, from) {
            Some(place) => Cursor::at_place(files, hints, place)?,
            None => Cursor::at_segment(files, hints, segment)?,
        };
        cursor.seek(from)?;
        // If the batch that holds it is not there yet, the cursor stands at the journal's end.
        if cursor.next_lsn() < from && cursor.next_length()?.is_none() {
            return Err(Error::NotYet {
                asked: from,
                next: cursor.next_lsn(),
            });
        }
        Ok(cursor)
    }

    /// The records from `from` to what is now the end.
    pub fn records(&self, from: Lsn) -> Result<Records, Error> {
        Ok(Records {
            cursor: self.read(from)?,
            from,
            batch: Vec::new().into_iter(),
        })
    }

    /// Whole batches from the one that holds `from`, none beyond `up_to`, as many as `bytes_max`
    /// takes but at least one. Empty if there is nothing yet.
    pub fn read_raw(&self, from: Lsn, up_to: Lsn, bytes_max: usize) -> Result<RawBatches, Error> {
        let mut cursor = self.read(from)?;
        cursor.set_limit(up_to);
        let mut raw = RawBatches {
            first: cursor.next_lsn(),
            next: cursor.next_lsn(),
            chain: cursor.chain(),
            bytes: Vec::new(),
        };
        while let Some(length) = cursor.next_length()? {
            if !raw.bytes.is_empty() && raw.bytes.len() + length > bytes_max {
                break;
            }
            let Some(bytes) = cursor.next_raw()? else {
                break;
            };
            raw.bytes.extend_from_slice(&bytes);
        }
        raw.next = cursor.next_lsn();
        raw.chain = cursor.chain();
        self.hints.ended(cursor.place());
        Ok(raw)
    }

    /// The chain value before the record at `next`, if a batch ends there: what two copies of a
    /// journal compare. None if no batch ends there.
    pub fn chain_before(&self, next: Lsn) -> Result<Option<ChainValue>, Error> {
        let cursor = self.read(next)?;
        Ok((cursor.next_lsn() == next).then(|| cursor.chain()))
    }
}

/// Records one after the other; ends at what is the journal's end when it gets there.
pub struct Records {
    cursor: Cursor,
    from: Lsn,
    batch: std::vec::IntoIter<Record>,
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.batch.next() {
                Some(record) if record.lsn < self.from => {}
                Some(record) => return Some(Ok(record)),
                None => match self.cursor.next_batch() {
                    Ok(Some(batch)) => self.batch = batch.records.into_iter(),
                    Ok(None) => return None,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}
