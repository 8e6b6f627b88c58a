// SPDX-License-Identifier: GPL-3.0-or-later
//! Walks the batches of a journal forward, verifying each, also beside a live writer.
//!
//! "Nothing more for now" is an answer, not an end: asked again later, a cursor goes on where it
//! stopped, so following is asking again. What is not whole at the tail is what a writer is busy
//! with, and is left alone; what is broken with proof behind it is damage. It never writes.

use std::sync::Arc;

use crate::batch::{BATCH_HEADER_BYTES, Batch, BatchHeader, RawBatch};
use crate::error::{Damage, Doing, Error};
use crate::files::{Access, FileStore, StoreFile, read_from};
use crate::flaw::Flaw;
use crate::folder::{Segment, list_segments, open_segment};
use crate::position::{ChainValue, Lsn};
use crate::reader::Hints;
use crate::scan::{never_by_a_tear, proof_of_durability};
use crate::segment::{FORMAT_VERSION, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal, segment_name};

/// How much is read at once: a few hundred small batches or a quarter of the largest.
const WINDOW_BYTES: usize = 256 << 10;

/// A place in a journal from which a cursor can start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) segment: Lsn,
    pub(crate) offset: u64,
    pub(crate) next: Lsn,
    pub(crate) chain: ChainValue,
    pub(crate) incarnation: u32,
}

/// A forward walk over whole, verified batches.
pub struct Cursor {
    files: Arc<dyn FileStore>,
    hints: Arc<Hints>,
    segment: Segment,
    file: Box<dyn StoreFile>,
    place: Place,
    window: Vec<u8>,
    /// File offset of the window's first byte.
    window_start: u64,
    limit: Lsn,
}

/// What stands at the cursor's place.
enum Look {
    Batch(BatchHeader),
    Sealed,
    Nothing,
    Flawed(Flaw),
}

impl Cursor {
    /// Starts at the beginning of a segment.
    pub(crate) fn at_segment(
        files: Arc<dyn FileStore>,
        hints: Arc<Hints>,
        first: Lsn,
    ) -> Result<Self, Error> {
        let (segment, file) = open_segment(files.as_ref(), first, Access::Read)?;
        let place = start_of(&segment);
        Ok(Self {
            files,
            hints,
            segment,
            file,
            place,
            window: Vec::new(),
            window_start: 0,
            limit: Lsn::MAX,
        })
    }

    /// Starts at a place that another cursor has been to.
    pub(crate) fn at_place(
        files: Arc<dyn FileStore>,
        hints: Arc<Hints>,
        place: Place,
    ) -> Result<Self, Error> {
        let mut cursor = Self::at_segment(files, hints, place.segment)?;
        cursor.place = place;
        Ok(cursor)
    }

    /// Returns no batch that reaches beyond this position, until told otherwise. A reader in the
    /// writer's own process passes the durable position here.
    pub fn set_limit(&mut self, limit: Lsn) {
        self.limit = limit;
    }

    /// Position of the record after the last batch returned.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.place.next
    }

    /// The chain value after the last batch returned.
    #[must_use]
    pub fn chain(&self) -> ChainValue {
        self.place.chain
    }

    /// The incarnation of the last batch returned.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.place.incarnation
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The next whole batch, or none for now.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let Some(header) = self.look_ahead()? else {
            return Ok(None);
        };
        match self.raw(header).to_batch() {
            Ok(batch) => {
                self.step(header, batch.chain);
                Ok(Some(batch))
            }
            Err(flaw) => Err(self.damage(flaw.to_string())),
        }
    }

    /// The bytes of the next whole batch, or none for now.
    pub fn next_raw(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(header) = self.look_ahead()? else {
            return Ok(None);
        };
        let raw = self.raw(header);
        let (chain, bytes) = (raw.chain(), raw.bytes.to_vec());
        self.step(header, chain);
        Ok(Some(bytes))
    }

    /// Passes over batches until the one that holds `target` is next, or nothing is left.
    pub(crate) fn seek(&mut self, target: Lsn) -> Result<(), Error> {
        while let Some(header) = self.look_ahead()? {
            if header.next() > target {
                break;
            }
            let chain = self.raw(header).chain();
            self.step(header, chain);
        }
        Ok(())
    }

    /// Size of the next whole batch, if there is one.
    pub(crate) fn next_length(&mut self) -> Result<Option<usize>, Error> {
        Ok(self.look_ahead()?.map(|header| header.length as usize))
    }

    fn step(&mut self, header: BatchHeader, chain: ChainValue) {
        self.place.offset += u64::from(header.length);
        self.place.next = header.next();
        self.place.chain = chain;
        self.place.incarnation = header.incarnation;
        self.hints.passed(self.place);
    }

    /// Finds the next batch, leaving it whole and verified in the window.
    fn look_ahead(&mut self) -> Result<Option<BatchHeader>, Error> {
        if self.place.next > self.limit {
            return Ok(None);
        }
        let mut suspicious = false;
        loop {
            let mut missing = "the segment ends without its seal although another follows";
            let flaw = match self.look()? {
                Look::Batch(header) if header.last() > self.limit => return Ok(None),
                Look::Batch(header) => return Ok(Some(header)),
                Look::Sealed if self.enter_next_segment()? => continue,
                Look::Sealed => {
                    missing = "the segment that continues here is missing";
                    None
                }
                Look::Nothing => None,
                Look::Flawed(flaw) => Some(flaw),
            };
            // What was read may be older than what is there: a writer may have finished the batch
            // since, and even the segment. So a suspicion is looked at twice, with fresh bytes.
            self.window.clear();
            match self.suspect(flaw, missing)? {
                None => return Ok(None),
                Some(Error::Damage(damage)) if suspicious => return Err(Error::Damage(damage)),
                Some(Error::Damage(_)) => suspicious = true,
                Some(other) => return Err(other),
            }
        }
    }

    fn look(&mut self) -> Result<Look, Error> {
        if self.place.offset == SEGMENT_HEADER_BYTES as u64 {
            self.reopen()?;
        }
        let id = self.segment.header.id;
        let at_hand = self.fill(SEAL_BYTES)?;
        if at_hand == 0 {
            return Ok(Look::Nothing);
        }
        if Seal::decode(self.ahead(), id).is_some() {
            return Ok(Look::Sealed);
        }
        let header = match BatchHeader::decode(self.ahead(), id) {
            Ok(header) => header,
            Err(flaw) => return Ok(Look::Flawed(flaw)),
        };
        self.fill(header.length as usize)?;
        let verified = RawBatch::parse(self.ahead(), id).and_then(|raw| {
            if header.incarnation < self.place.incarnation {
                return Err(Flaw::IncarnationFell);
            }
            raw.verify(self.place.next, self.place.chain)
        });
        Ok(match verified {
            Ok(()) => Look::Batch(header),
            Err(flaw) => Look::Flawed(flaw),
        })
    }

    /// An empty newest segment is replaced when the journal is opened in a higher incarnation, so
    /// as long as nothing was read from it, its name decides and not the file that was opened.
    fn reopen(&mut self) -> Result<(), Error> {
        if !self.ahead().is_empty() {
            return Ok(());
        }
        let (segment, file) = open_segment(self.files.as_ref(), self.place.segment, Access::Read)?;
        self.segment = segment;
        self.file = file;
        Ok(())
    }

    /// What an unreadable place means: nothing yet, or an error if the second look agrees.
    fn suspect(&self, flaw: Option<Flaw>, missing: &str) -> Result<Option<Error>, Error> {
        let later = list_segments(self.files.as_ref())?
            .into_iter()
            .any(|first| first > self.place.segment);
        if later {
            let what = flaw.map_or_else(|| missing.to_owned(), |flaw| flaw.to_string());
            return Ok(Some(self.damage(what)));
        }
        let Some(flaw) = flaw else {
            return Ok(None);
        };
        if flaw == Flaw::Newer {
            return Ok(Some(Error::NewerFormat {
                file: format!("{} at byte {}", self.segment.name, self.place.offset),
                found: FORMAT_VERSION + 1,
                known: FORMAT_VERSION,
            }));
        }
        if never_by_a_tear(flaw) {
            return Ok(Some(self.damage(flaw.to_string())));
        }
        let rest =
            read_from(self.file.as_ref(), self.place.offset).doing("read", &self.segment.name)?;
        let proof = proof_of_durability(&rest, self.segment.header, self.place.next);
        Ok(proof.map(|proof| self.damage(format!("{flaw}, and {proof}"))))
    }

    fn damage(&self, what: String) -> Error {
        Error::Damage(Damage {
            segment: self.segment.name.clone(),
            offset: self.place.offset,
            lsn: self.place.next,
            what,
        })
    }

    /// Moves into the segment after a sealed one; false if it is not there yet.
    fn enter_next_segment(&mut self) -> Result<bool, Error> {
        let name = segment_name(self.place.next);
        let (segment, file) = match open_segment(self.files.as_ref(), self.place.next, Access::Read)
        {
            Ok(opened) => opened,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let continues = segment.header.id == self.segment.header.id
            && segment.header.chain == self.place.chain
            && segment.header.incarnation >= self.place.incarnation;
        if !continues {
            return Err(Error::Damage(Damage {
                segment: name,
                offset: 0,
                lsn: self.place.next,
                what: "its header does not follow from the segment before".to_owned(),
            }));
        }
        self.place = start_of(&segment);
        self.segment = segment;
        self.file = file;
        self.window.clear();
        Ok(true)
    }

    fn raw(&self, header: BatchHeader) -> RawBatch<'_> {
        RawBatch {
            header,
            bytes: &self.ahead()[..header.length as usize],
        }
    }

    /// The bytes of the window from the cursor's place on.
    fn ahead(&self) -> &[u8] {
        let skipped = self.place.offset.saturating_sub(self.window_start);
        usize::try_from(skipped)
            .ok()
            .and_then(|skipped| self.window.get(skipped..))
            .unwrap_or(&[])
    }

    /// Sees to it that this many bytes are at hand, if the file has them; returns how many are.
    fn fill(&mut self, needed: usize) -> Result<usize, Error> {
        if self.ahead().len() < needed {
            self.window.resize(needed.max(WINDOW_BYTES), 0);
            let count = self
                .file
                .read_at(self.place.offset, &mut self.window)
                .doing("read", &self.segment.name)?;
            self.window.truncate(count);
            self.window_start = self.place.offset;
        }
        Ok(self.ahead().len())
    }
}

fn start_of(segment: &Segment) -> Place {
    Place {
        segment: segment.header.first,
        offset: SEGMENT_HEADER_BYTES as u64,
        next: segment.header.first,
        chain: segment.header.chain,
        incarnation: segment.header.incarnation,
    }
}

const _: () = assert!(SEAL_BYTES >= BATCH_HEADER_BYTES);
