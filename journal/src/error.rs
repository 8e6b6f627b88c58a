// SPDX-License-Identifier: GPL-3.0-or-later
//! Everything that can go wrong with a journal, in one enum, and `Damage`, which says where.
//!
//! Messages are fragments that read after "failed to". What the operator can do about it is in
//! the message where there is something to do.

use std::io;
use std::sync::Arc;

use crate::packed::BadPack;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::segment::segment_first;

/// Bytes that were once durable are no longer what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "trust the journal: segment {segment} is damaged at byte {offset}, position {lsn}: {what}; \
     restore it from a copy or a mirror, or salvage what is whole with `tablao journal repair`"
)]
pub struct Damage {
    /// File name of the segment.
    pub segment: String,
    /// Byte offset in that file where the first wrong thing begins.
    pub offset: u64,
    /// The first position that can not be believed.
    pub lsn: Lsn,
    /// What is wrong there.
    pub what: String,
}

/// An operation of this crate that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{doing} {file}")]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To which file of the journal folder.
        file: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Acknowledged bytes have changed or gone.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// Written by a later release.
    #[error(
        "read {file}: its format {found} is newer than {known}, the newest this build knows; \
         nothing was changed; start a tablao at least as new as the one that wrote it"
    )]
    NewerFormat {
        /// The file that says so.
        file: String,
        /// The version it asks for.
        found: u16,
        /// The version we know.
        known: u16,
    },
    /// The folder holds another journal than the one asked for.
    #[error("open journal {expected}: the folder holds journal {found}")]
    WrongJournal {
        /// The journal asked for.
        expected: JournalId,
        /// The journal found.
        found: JournalId,
    },
    /// Incarnations only rise.
    #[error("open the journal as incarnation {asked}: it has already been at {found}")]
    IncarnationTooLow {
        /// The incarnation asked for.
        asked: u32,
        /// The incarnation found.
        found: u32,
    },
    /// There is no journal here to read.
    #[error("find a journal: the folder has no segment")]
    NoJournal,
    /// A copy needs a folder of its own.
    #[error("begin a copy: the folder already holds journal {0}")]
    Occupied(JournalId),
    /// A decision without records.
    #[error("append a draft without records")]
    DraftEmpty,
    /// A decision has to fit one batch.
    #[error(
        "append a draft of {bytes} bytes and {records} records: a batch takes {bytes_max} bytes and {records_max} records; split the request into a series of decisions"
    )]
    DraftTooLarge {
        /// Encoded size of the draft.
        bytes: u64,
        /// Number of its records.
        records: u64,
        /// The most bytes of records a batch takes.
        bytes_max: u64,
        /// The most records a batch takes.
        records_max: u64,
    },
    /// Somebody else appended first, or the caller lost count.
    #[error("append at position {expected}: the next free position is {next}")]
    StalePosition {
        /// Where the caller wanted to append.
        expected: Lsn,
        /// Where the journal continues.
        next: Lsn,
    },
    /// An earlier write or sync failed, and nothing after it can be believed.
    #[error("append: an earlier write failed, so this process must end and recover")]
    Poisoned(#[source] Arc<Error>),
    /// The journal or log was closed or sealed.
    #[error("append to a closed journal")]
    Closed,
    /// The writer thread ended without saying why (a panic in the caller's callback).
    #[error("append: the writer thread is gone")]
    WriterGone,
    /// Those records were retired.
    #[error("read position {asked}: the journal begins at {oldest}")]
    Retired {
        /// The position asked for.
        asked: Lsn,
        /// The oldest one that is still here.
        oldest: Lsn,
    },
    /// The journal has not got there.
    #[error("read position {asked}: the journal ends before {next}")]
    NotYet {
        /// The position asked for.
        asked: Lsn,
        /// The next free position.
        next: Lsn,
    },
    /// Raw bytes from another journal that are not whole, valid, consecutive batches.
    #[error("take over a batch at position {lsn}: {what}")]
    BadBatch {
        /// Position the batch claims, or where one was expected.
        lsn: Lsn,
        /// What is wrong with it.
        what: String,
    },
    /// Two copies of one journal hold different histories.
    #[error(
        "continue the mirror: at position {at} it has chain {ours}, the other side has {theirs}"
    )]
    Diverged {
        /// The last position of the first batch that differs.
        at: Lsn,
        /// Our chain value there.
        ours: ChainValue,
        /// Theirs.
        theirs: ChainValue,
    },
}

impl Error {
    /// True if the disk is full: the one failure an operator cures by making room.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Poisoned(source) => source.is_storage_full(),
            _ => false,
        }
    }
}

/// Attaches what was being done to an `io::Error`.
pub(crate) trait Doing<T> {
    /// Names the verb and the file.
    fn doing(self, doing: &'static str, file: &str) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, file: &str) -> Result<T, Error> {
        self.map_err(|source| match BadPack::of(&source) {
            // A packed segment is unpacked below the calls that read it, and its damage comes up
            // through them.
            Some(bad) => Error::Damage(Damage {
                segment: file.to_owned(),
                offset: bad.offset,
                lsn: segment_first(file).unwrap_or_default(),
                what: bad.what.to_owned(),
            }),
            None => Error::Io {
                doing,
                file: file.to_owned(),
                source,
            },
        })
    }
}
