// SPDX-License-Identifier: GPL-3.0-or-later
//! The log as an engine sees it: append at an expected position, read, wait, seal.
//!
//! A log is asynchronous and need not be on this machine. Three implementations: `FileLog` (a
//! journal folder), `MemoryLog` (no disk) and `DistantLog` (latency, replies out of order). What
//! they promise is the same, and tests/log.rs holds all of them to it.

mod distant;
mod file;
mod memory;

pub use distant::{DistantLog, Latency};
pub use file::FileLog;
pub use memory::MemoryLog;

use std::future::Future;
use std::pin::Pin;

use crate::batch::Batch;
use crate::error::Error;
use crate::position::{ChainValue, Lsn};
use crate::record::Draft;

/// The answer of a log, some time later.
pub type LogFuture<V> = Pin<Box<dyn Future<Output = Result<V, Error>> + Send + 'static>>;

/// A draft that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of its first record.
    pub first: Lsn,
    /// Position of its last record.
    pub last: Lsn,
    /// The time its records bear.
    pub time_us: u64,
}

/// Where a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The position after its last record.
    pub next: Lsn,
    /// The chain value there.
    pub chain: ChainValue,
}

/// An append-only sequence of records in one total order.
pub trait Log: Send + Sync {
    /// Appends a decision whose first record shall be at `expected_first`. The call itself takes
    /// the place in the order; the future resolves when the decision is durable. Calls may be
    /// made without waiting for the ones before, and their answers may come in any order.
    /// `StalePosition` if the log has another next position: then nothing was appended.
    fn append(&self, expected_first: Lsn, draft: Draft) -> LogFuture<Appended>;

    /// Durable batches from the one that holds `from` on, as many as `batches_max`. Empty if
    /// `from` is the next position.
    fn read(&self, from: Lsn, batches_max: usize) -> LogFuture<Vec<Batch>>;

    /// Resolves when the record at this position is durable; `Closed` if it never will be.
    fn wait_for(&self, position: Lsn) -> LogFuture<()>;

    /// Ends the log after everything appended so far. Later appends are refused with `Closed`.
    fn seal(&self) -> LogFuture<Sealed>;
}
