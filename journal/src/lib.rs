// SPDX-License-Identifier: GPL-3.0-or-later
//! The append-only journal: records, segments, group commit, recovery, chain.
//!
//! It knows bytes and positions, not jobs. What a record means is the caller's; that it survives,
//! stays in order and can be proven unchanged is ours. The format is FORMAT.md, byte by byte.
//!
//! To append: [`Journal::open`], then [`Journal::start`] for a writer thread with group commit, or
//! [`Journal::commit`] on the caller's own thread. To read: [`Reader`]. To hold a copy of another
//! process's journal: [`Mirror`]. To stand on something other than files: [`Log`].
//!
//! **Invariants.** Nothing is reported durable before its sync returned. A failed write or sync
//! ends the writer for good. Readers never write. There is no clock in here, and no lock of the
//! data folder.

mod baseline;
mod batch;
mod copy;
mod cursor;
mod encode;
mod erase;
mod error;
pub mod files;
mod flaw;
mod folder;
mod inspect;
mod journal;
pub mod log;
mod mark;
mod mirror;
mod pack;
mod packed;
mod position;
mod queue;
mod reader;
mod record;
mod recovery;
mod retire;
mod salvage;
mod scan;
mod segment;
mod segment_writer;
mod writer;

pub use baseline::Baseline;
pub use batch::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Batch, genesis_chain};
pub use copy::{Copied, copy_journal};
pub use cursor::Cursor;
pub use erase::erase_details;
pub use error::{Damage, Error};
pub use files::{
    Access, FaultPlan, FaultyFiles, FileStore, MemoryFiles, MovedCold, PowerLoss, RealFiles,
    StoreFile, move_cold,
};
pub use inspect::{Info, SegmentInfo, UnfinishedTail, Verified};
pub use journal::{Committed, Journal, OpenOptions, Opened, SEGMENT_BYTES_DEFAULT};
pub use log::{Appended, DistantLog, FileLog, Latency, Log, LogFuture, MemoryLog, Sealed};
pub use mirror::{Mirror, MirrorAdvance, MirrorOptions};
pub use pack::{Packed, pack_sealed, set_background_packing};
pub use position::{ChainValue, HexError, JournalId, Lsn};
pub use reader::{RawBatches, Reader, Records};
pub use record::{Authority, Draft, KIND_MAY_BE_SKIPPED, Record, RecordDraft, RecordFlags};
pub use recovery::{RecoveryReport, TornTail};
pub use retire::{Retirable, Retired, retirable, retire_before};
pub use salvage::{Salvaged, raise_incarnation, salvage};
pub use segment::FORMAT_VERSION;
pub use writer::{Accepted, Durable, Failed, Report, Settled, WriterHandle};
