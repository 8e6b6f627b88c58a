// SPDX-License-Identifier: GPL-3.0-or-later
//! A journal open for appending on the caller's own thread: `Journal`.
//!
//! `commit` is the whole write path, one call after the other: clamp times, encode, write, sync.
//! Group commit with a thread of its own is `writer`; both go through here.

use std::sync::Arc;

use crate::encode::{Measured, Origin, Timed, encode_drafts};
use crate::error::Error;
use crate::files::FileStore;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::record::Draft;
use crate::recovery::{RecoveryReport, recover};
use crate::segment_writer::{Head, SegmentWriter};

/// How to open a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// The id that a journal gets that is begun now.
    pub journal_id_if_new: JournalId,
    /// Refuse any other journal than this one.
    pub expect_journal_id: Option<JournalId>,
    /// The incarnation to write in; none for the one that is there (1 for a new journal).
    /// A higher one begins a new segment, a lower one is refused.
    pub incarnation: Option<u32>,
    /// A segment that has reached this size is followed by another.
    pub segment_bytes: u64,
    /// Wall time in microseconds since 1970, written into a new journal. There is no clock here.
    pub now_us: u64,
    /// Check every byte of every segment, not only of the newest one.
    pub verify_everything: bool,
    /// Where a new journal begins, if not at its origin: a first position and the chain value
    /// before it, from a baseline.
    pub start: Option<(Lsn, ChainValue)>,
}

/// Small enough to be read whole by a scan, large enough that years make hundreds, not thousands.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

impl OpenOptions {
    /// The usual choices, for a journal that gets this id if it is begun now.
    #[must_use]
    pub fn new(journal_id_if_new: JournalId, now_us: u64) -> Self {
        Self {
            journal_id_if_new,
            expect_journal_id: None,
            incarnation: None,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            now_us,
            verify_everything: false,
            start: None,
        }
    }
}

/// A journal that was opened, and what that took.
pub struct Opened {
    /// The journal, ready to append.
    pub journal: Journal,
    /// What recovery found.
    pub recovery: RecoveryReport,
}

/// What one `commit` made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Position of the first record.
    pub first: Lsn,
    /// Position of the last record.
    pub last: Lsn,
    /// The chain value after it.
    pub chain: ChainValue,
}

/// An open journal. The data folder's lock, which keeps a second one away, is the caller's.
pub struct Journal {
    writer: SegmentWriter,
    /// Reused by every commit.
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the journal of a folder, recovering it first, or begins one if there is none.
    pub fn open(files: Arc<dyn FileStore>, options: &OpenOptions) -> Result<Opened, Error> {
        let (writer, recovery) = recover(files, options, false)?;
        let journal = Self {
            writer,
            buffer: Vec::new(),
        };
        Ok(Opened { journal, recovery })
    }

    /// Which journal it is.
    #[must_use]
    pub fn id(&self) -> JournalId {
        self.writer.header().id
    }

    /// The incarnation it writes in.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.writer.head().incarnation
    }

    /// Where the next record goes.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.writer.head().next
    }

    /// The chain value before the next record.
    #[must_use]
    pub fn chain(&self) -> ChainValue {
        self.writer.head().chain
    }

    /// The time of the last record; the next one's is at least this.
    #[must_use]
    pub fn last_time_us(&self) -> u64 {
        self.writer.head().time_us
    }

    /// Makes these drafts durable with one write and one sync. After an error nothing more can
    /// be appended: the process has to end and recover.
    pub fn commit(&mut self, expected_first: Lsn, drafts: &[&Draft]) -> Result<Committed, Error> {
        let measured: Vec<Measured> = drafts
            .iter()
            .map(|draft| Measured::new(draft))
            .collect::<Result<_, _>>()?;
        let mut time_us = self.last_time_us();
        let timed: Vec<Timed<'_>> = drafts
            .iter()
            .zip(&measured)
            .map(|(&draft, measured)| {
                time_us = time_us.max(draft.time_us);
                Timed {
                    time_us,
                    draft,
                    measured,
                }
            })
            .collect();
        self.commit_timed(expected_first, &timed)
    }

    /// The same for drafts that were measured, and whose times were clamped, before.
    pub(crate) fn commit_timed(
        &mut self,
        expected_first: Lsn,
        drafts: &[Timed<'_>],
    ) -> Result<Committed, Error> {
        self.writer.check()?;
        let head = self.writer.head();
        if expected_first != head.next {
            return Err(Error::StalePosition {
                expected: expected_first,
                next: head.next,
            });
        }
        let time_us = drafts.last().ok_or(Error::DraftEmpty)?.time_us;
        let count: usize = drafts.iter().map(|timed| timed.draft.records.len()).sum();
        let origin = Origin {
            id: self.id(),
            incarnation: head.incarnation,
            durable_upto: head.next.previous(),
        };
        self.buffer.clear();
        let chain = encode_drafts(origin, head.next, head.chain, drafts, &mut self.buffer);
        let after = Head {
            next: head.next.plus(count as u64),
            chain,
            incarnation: head.incarnation,
            time_us,
        };
        self.writer.append(&self.buffer, after)?;
        Ok(Committed {
            first: head.next,
            last: after.next.previous(),
            chain,
        })
    }

    /// Leaves the mark of an orderly end. Without it the next open recovers as after a crash.
    pub fn close(mut self) -> Result<(), Error> {
        self.writer.close()
    }
}
