// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a journal for a fold with two threads: one reads, verifies and decodes, the other folds.
//!
//! The reader is a bounded number of records ahead, so memory does not grow with the journal. The
//! fold sees the records in order and learns of the first error after all records before it.

use crossbeam_channel::{Receiver, Sender, bounded};
use tablao_core::{Lsn, Recorded};
use tablao_journal::Record;

use crate::records;

/// Records handed over at once: enough that waking the other thread costs little for each.
const CHUNK_RECORDS: usize = 512;
/// Chunks that the reader may be ahead.
const CHUNKS_AHEAD: usize = 8;

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] tablao_journal::Error),
    /// A record cannot be folded by this build.
    #[error(transparent)]
    Record(#[from] records::Error),
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Journal(error) => error.into(),
            Error::Record(error) => error.into(),
        }
    }
}

/// A record on its way to a fold.
pub struct Step {
    /// Its position.
    pub lsn: Lsn,
    /// What it says; nothing if this build may skip it.
    pub recorded: Option<Recorded>,
}

type Chunk = Result<Vec<Step>, Error>;

/// Gives each record to `take`, up to the first for which `is_beyond` holds. Returns how many.
pub fn each(
    records: impl Iterator<Item = Result<Record, tablao_journal::Error>> + Send,
    is_beyond: impl Fn(&Record) -> bool + Send,
    take: impl FnMut(Step),
) -> Result<u64, Error> {
    let (sender, receiver) = bounded(CHUNKS_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || read(records, &is_beyond, &sender));
        hand_over(receiver, take)
    })
}

fn hand_over(receiver: Receiver<Chunk>, mut take: impl FnMut(Step)) -> Result<u64, Error> {
    let mut taken = 0;
    for chunk in receiver {
        let chunk = chunk?;
        taken += chunk.len() as u64;
        chunk.into_iter().for_each(&mut take);
    }
    Ok(taken)
}

fn read(
    records: impl Iterator<Item = Result<Record, tablao_journal::Error>>,
    is_beyond: &impl Fn(&Record) -> bool,
    sender: &Sender<Chunk>,
) {
    let mut chunk = Vec::with_capacity(CHUNK_RECORDS);
    for record in records {
        let step = match record {
            Ok(record) if is_beyond(&record) => break,
            Ok(record) => decode(&record),
            Err(error) => Err(error.into()),
        };
        match step {
            Ok(step) => chunk.push(step),
            Err(error) => {
                // Who folds may be gone already; then nobody wants to know.
                let _ = sender.send(Ok(std::mem::take(&mut chunk)));
                let _ = sender.send(Err(error));
                return;
            }
        }
        if chunk.len() == CHUNK_RECORDS {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_RECORDS));
            if sender.send(Ok(full)).is_err() {
                return;
            }
        }
    }
    let _ = sender.send(Ok(chunk));
}

fn decode(record: &Record) -> Result<Step, Error> {
    Ok(Step {
        lsn: Lsn::new(record.lsn.get()),
        recorded: records::read(record)?,
    })
}
