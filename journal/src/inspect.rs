// SPDX-License-Identifier: GPL-3.0-or-later
//! Describes and checks a whole journal folder: `info` and `verify`.
//!
//! Both only read. `verify` looks at every byte that any reader uses; `info` at headers, seals
//! and the newest segment.

use std::collections::BTreeMap;

use crate::baseline::{Baseline, list_baselines};
use crate::error::{Doing, Error};
use crate::files::{Access, FileStore, read_from};
use crate::folder::{Segment, linked_segments, open_segment};
use crate::mark::CleanMark;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::reader::Reader;
use crate::scan::{Expected, Scanned, Tail, scan};
use crate::segment::FORMAT_VERSION;

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its file name.
    pub file: String,
    /// Position of its first record.
    pub first: Lsn,
    /// Position of its last record; one less than `first` if it has none.
    pub last: Lsn,
    /// Its size.
    pub bytes: u64,
    /// True if nothing will be appended to it.
    pub sealed: bool,
}

/// A journal folder, as its headers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Which journal it is.
    pub journal_id: JournalId,
    /// The incarnation of its last batch or newest segment.
    pub incarnation: u32,
    /// The format version of its newest segment.
    pub format: u16,
    /// The oldest position that is here.
    pub first: Lsn,
    /// The last position; one less than `first` if the journal is empty.
    pub last: Lsn,
    /// The size of all segments.
    pub bytes: u64,
    /// The chain value at the end.
    pub chain: ChainValue,
    /// The segments, ascending.
    pub segments: Vec<SegmentInfo>,
}

/// A tail that is not whole and was never acknowledged; opening the journal will cut it off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedTail {
    /// The segment it is in.
    pub segment: String,
    /// Where it begins.
    pub offset: u64,
    /// What it lacks.
    pub what: String,
}

/// What a check of everything found to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which journal it is.
    pub journal_id: JournalId,
    /// The incarnation at its end.
    pub incarnation: u32,
    /// The oldest position that is here.
    pub first: Lsn,
    /// The position after the last record.
    pub next: Lsn,
    /// The chain value at the end.
    pub chain: ChainValue,
    /// Number of batches.
    pub batches: u64,
    /// Number of records.
    pub records: u64,
    /// Number of records by kind.
    pub kinds: BTreeMap<u16, u64>,
    /// True if the journal was closed in order at its end.
    pub clean: bool,
    /// What a crash left behind the end, if anything.
    pub unfinished_tail: Option<UnfinishedTail>,
}

struct Walked {
    scanned: Scanned,
    bytes: u64,
}

fn walk(
    files: &dyn FileStore,
    segment: &Segment,
    newest: bool,
    mark: Option<CleanMark>,
    mut visit: impl FnMut(&crate::batch::RawBatch<'_>),
) -> Result<Walked, Error> {
    let (segment, file) = open_segment(files, segment.header.first, Access::Read)?;
    let bytes = read_from(file.as_ref(), 0).doing("read", &segment.name)?;
    let expected = Expected {
        name: &segment.name,
        header: segment.header,
        newest,
        closed_at: mark.map(|mark| (mark.next, mark.chain)),
    };
    let scanned = scan(&bytes, expected, |raw, _| visit(raw))?;
    Ok(Walked {
        scanned,
        bytes: bytes.len() as u64,
    })
}

impl Reader {
    fn mark(&self) -> Result<Option<CleanMark>, Error> {
        let mark = CleanMark::read(self.files())?;
        Ok(mark.filter(|mark| mark.id == self.journal_id()))
    }

    /// Checks every checksum, the sequence and the chain, from the oldest record to the newest.
    pub fn verify(&self) -> Result<Verified, Error> {
        // The mark first: beside a live writer, what is listed later reaches at least as far.
        let mark = self.mark()?;
        let segments = linked_segments(self.files())?;
        let mut verified: Option<Verified> = None;
        let (mut batches, mut records) = (0, 0);
        let mut kinds = BTreeMap::new();
        for (index, segment) in segments.iter().enumerate() {
            let newest = index + 1 == segments.len();
            let walked = walk(self.files(), segment, newest, mark, |raw| {
                batches += 1;
                records += u64::from(raw.header.count);
                for view in raw.views().flatten() {
                    *kinds.entry(view.kind).or_insert(0) += 1;
                }
            })?;
            let found = walked.scanned;
            let what = match found.tail {
                Tail::Whole | Tail::Zeros => None,
                Tail::Torn(flaw) => Some(flaw.to_string()),
            };
            verified = Some(Verified {
                journal_id: segment.header.id,
                incarnation: found.incarnation,
                first: segments[0].header.first,
                next: found.next,
                chain: found.chain,
                batches,
                records,
                kinds: BTreeMap::new(),
                clean: mark
                    .is_some_and(|mark| (mark.next, mark.chain) == (found.next, found.chain))
                    && what.is_none(),
                unfinished_tail: what.map(|what| UnfinishedTail {
                    segment: segment.name.clone(),
                    offset: found.end,
                    what,
                }),
            });
        }
        let mut verified = verified.ok_or(Error::NoJournal)?;
        for next in list_baselines(self.files())? {
            let baseline = Baseline::read(self.files(), next)?;
            // One before the beginning was left by a crash while it was being replaced.
            if next >= verified.first {
                baseline.check(self)?;
            }
        }
        verified.kinds = kinds;
        Ok(verified)
    }

    /// Describes the folder.
    pub fn info(&self) -> Result<Info, Error> {
        let mark = self.mark()?;
        let segments = linked_segments(self.files())?;
        let newest = segments.last().ok_or(Error::NoJournal)?;
        let walked = walk(self.files(), newest, true, mark, |_| {})?;
        let mut described = Vec::with_capacity(segments.len());
        for pair in segments.windows(2) {
            // The file as it lies there, packed or not.
            let file = self
                .files()
                .open(&pair[0].name, Access::Read)
                .doing("open", &pair[0].name)?;
            described.push(SegmentInfo {
                file: pair[0].name.clone(),
                first: pair[0].header.first,
                last: pair[1].header.first.previous(),
                bytes: file.len().doing("measure", &pair[0].name)?,
                sealed: true,
            });
        }
        described.push(SegmentInfo {
            file: newest.name.clone(),
            first: newest.header.first,
            last: walked.scanned.next.previous(),
            bytes: walked.bytes,
            sealed: walked.scanned.sealed,
        });
        Ok(Info {
            journal_id: newest.header.id,
            incarnation: walked.scanned.incarnation,
            format: FORMAT_VERSION,
            first: segments[0].header.first,
            last: walked.scanned.next.previous(),
            bytes: described.iter().map(|segment| segment.bytes).sum(),
            chain: walked.scanned.chain,
            segments: described,
        })
    }
}
