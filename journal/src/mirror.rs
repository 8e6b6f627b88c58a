// SPDX-License-Identifier: GPL-3.0-or-later
//! A copy of another process's journal, fed with that journal's own batches.
//!
//! Nothing is written that was not verified against the copy: checksums, sequence, chain. Nothing
//! counts before its sync. Where the bytes come from, and what they mean, is the caller's.

use std::sync::Arc;

use crate::baseline::Baseline;
use crate::batch::RawBatch;
use crate::error::{Doing, Error};
use crate::files::FileStore;
use crate::flaw::Flaw;
use crate::journal::{OpenOptions, SEGMENT_BYTES_DEFAULT};
use crate::pack::Packer;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::reader::Reader;
use crate::recovery::{RecoveryReport, recover};
use crate::scan::MIRROR_WRITE_BYTES_MAX;
use crate::segment::{SegmentHeader, segment_name};
use crate::segment_writer::{Head, SegmentWriter};

/// How to open a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorOptions {
    /// The journal that is copied.
    pub journal_id: JournalId,
    /// Wall time in microseconds since 1970, for the header of a new mirror.
    pub now_us: u64,
    /// A segment that has reached this size is followed by another.
    pub segment_bytes: u64,
    /// Where a new mirror begins if the original's beginning is not to be had.
    pub start: Option<(Lsn, ChainValue)>,
}

impl MirrorOptions {
    /// The usual choices.
    #[must_use]
    pub fn new(journal_id: JournalId, now_us: u64) -> Self {
        Self {
            journal_id,
            now_us,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            start: None,
        }
    }
}

/// How far one `append` brought a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorAdvance {
    /// The position it wants next.
    pub next: Lsn,
    /// The chain value before that.
    pub chain: ChainValue,
    /// Batches that were new.
    pub batches: u64,
    /// Records that were new.
    pub records: u64,
}

/// A mirror open for more.
pub struct Mirror {
    writer: SegmentWriter,
    reader: Reader,
    /// Where sealed segments are packed, if they are, and by whom.
    packing: Option<(Arc<dyn FileStore>, Packer)>,
    /// The segment that was written to when it was last looked whether there is one to pack.
    segment: Option<Lsn>,
}

impl Mirror {
    /// Opens the mirror of a folder, recovering it first, or begins one if there is none. A torn
    /// tail costs nothing: the original still has it.
    pub fn open(
        files: Arc<dyn FileStore>,
        options: &MirrorOptions,
    ) -> Result<(Self, RecoveryReport), Error> {
        let open = OpenOptions {
            expect_journal_id: Some(options.journal_id),
            segment_bytes: options.segment_bytes,
            start: options.start,
            ..OpenOptions::new(options.journal_id, options.now_us)
        };
        let (writer, recovery) = recover(Arc::clone(&files), &open, true)?;
        let reader = Reader::open(files)?;
        let mirror = Self {
            writer,
            reader,
            packing: None,
            segment: None,
        };
        Ok((mirror, recovery))
    }

    /// The position it wants next. Everything before is durable here.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.writer.head().next
    }

    /// The chain value before that position.
    #[must_use]
    pub fn chain(&self) -> ChainValue {
        self.writer.head().chain
    }

    /// The incarnation of its last batch.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.writer.head().incarnation
    }

    /// Packs segments beside the appends once they are sealed. `files` is the folder that the
    /// mirror was opened on.
    pub fn pack_sealed(&mut self, files: Arc<dyn FileStore>) {
        self.packing = Some((files, Packer::default()));
    }

    /// Begins an empty mirror at a baseline, because the original's beginning was retired. `files`
    /// is the folder that the mirror was opened on. A crash leaves an empty mirror.
    pub fn begin_at(
        &mut self,
        files: &Arc<dyn FileStore>,
        baseline: &Baseline,
    ) -> Result<(), Error> {
        self.writer.check()?;
        let header = *self.writer.header();
        if self.position() != Lsn::FIRST || baseline.journal_id != header.id {
            return Err(Error::Occupied(header.id));
        }
        baseline.write(files.as_ref())?;
        // Two segments that do not follow one another would be damage: the empty one goes first.
        let empty = segment_name(header.first);
        files.remove(&empty).doing("remove", &empty)?;
        files.sync_dir().doing("sync the folder of", &empty)?;
        self.writer.begin_again(
            SegmentHeader {
                incarnation: baseline.incarnation,
                first: baseline.next,
                chain: baseline.chain,
                created_us: baseline.time_us,
                ..header
            },
            Head {
                next: baseline.next,
                chain: baseline.chain,
                incarnation: baseline.incarnation,
                time_us: baseline.time_us,
            },
        )
    }

    /// Takes over whole batches that `Reader::read_raw` gave. Batches it already has are compared
    /// and passed over, so a repeated delivery is harmless. Everything is checked before the
    /// first byte is written; after an error of the store the mirror is poisoned.
    pub fn append(&mut self, bytes: &[u8]) -> Result<MirrorAdvance, Error> {
        self.writer.check()?;
        let chunks = self.check(bytes)?;
        let mut advance = MirrorAdvance {
            next: self.position(),
            chain: self.chain(),
            batches: 0,
            records: 0,
        };
        for chunk in chunks {
            advance.records += chunk.head.next.since(self.position());
            advance.batches += chunk.batches;
            self.writer
                .append(&bytes[chunk.start..chunk.end], chunk.head)?;
        }
        // Nothing yet: whatever an earlier process left is packed with the first that comes.
        let segment = Some(self.writer.header().first);
        if segment != self.segment
            && let Some((files, packer)) = &mut self.packing
        {
            packer.sealed(Arc::clone(files));
        }
        self.segment = segment;
        advance.next = self.position();
        advance.chain = self.chain();
        Ok(advance)
    }

    /// Leaves the mark of an orderly end.
    pub fn close(mut self) -> Result<(), Error> {
        self.writer.close()
    }

    /// Verifies everything and divides it into writes that recovery knows the bound of.
    fn check(&self, bytes: &[u8]) -> Result<Vec<Chunk>, Error> {
        let id = self.writer.header().id;
        let mut head = self.writer.head();
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let raw = RawBatch::parse(&bytes[at..], id).map_err(|flaw| bad(head.next, flaw))?;
            let end = at + raw.bytes.len();
            if raw.header.first < head.next && chunks.is_empty() {
                self.compare(&raw)?;
                at = end;
                continue;
            }
            head = follow(head, &raw)?;
            match chunks.last_mut() {
                Some(chunk) if end - chunk.start <= MIRROR_WRITE_BYTES_MAX => {
                    chunk.end = end;
                    chunk.head = head;
                    chunk.batches += 1;
                }
                _ => chunks.push(Chunk {
                    start: at,
                    end,
                    head,
                    batches: 1,
                }),
            }
            at = end;
        }
        Ok(chunks)
    }

    /// A batch of the past has to be the one that is here.
    fn compare(&self, raw: &RawBatch<'_>) -> Result<(), Error> {
        let last = raw.header.last();
        let ours = if raw.header.next() <= self.position() {
            self.reader.chain_before(raw.header.next())?
        } else {
            None
        };
        match ours {
            Some(ours) if ours == raw.chain() => Ok(()),
            _ if cfg!(feature = "planted-no-chain-check") => Ok(()),
            // No batch of ours ends there, so ours is another history all the same.
            other => Err(Error::Diverged {
                at: last,
                ours: other.unwrap_or_else(|| self.chain()),
                theirs: raw.chain(),
            }),
        }
    }
}

/// Bytes that are written and synced together.
struct Chunk {
    start: usize,
    end: usize,
    head: Head,
    batches: u64,
}

fn bad(lsn: Lsn, flaw: Flaw) -> Error {
    Error::BadBatch {
        lsn,
        what: flaw.to_string(),
    }
}

/// Where a journal at `head` stands after this batch, if it continues that journal.
fn follow(head: Head, raw: &RawBatch<'_>) -> Result<Head, Error> {
    if raw.header.first != head.next {
        return Err(bad(raw.header.first, Flaw::OutOfSequence));
    }
    if raw.header.incarnation < head.incarnation {
        return Err(bad(raw.header.first, Flaw::IncarnationFell));
    }
    let ours = raw
        .chain_after(head.chain)
        .map_err(|flaw| bad(raw.header.first, flaw))?;
    if ours != raw.chain() && !cfg!(feature = "planted-no-chain-check") {
        return Err(Error::Diverged {
            at: raw.header.last(),
            ours,
            theirs: raw.chain(),
        });
    }
    Ok(Head {
        next: raw.header.next(),
        chain: raw.chain(),
        incarnation: raw.header.incarnation,
        time_us: head.time_us.max(raw.last_time_us()),
    })
}
