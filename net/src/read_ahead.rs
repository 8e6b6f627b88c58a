// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a journal for a fold in three threads: one reads and verifies, one decodes, one folds.
//!
//! Three, although there may be two processors: the three take different times with every mix of
//! records, and whichever is slowest is given the processor that the others leave. Each is a
//! bounded number of records ahead, so memory does not grow with the journal. The fold sees the
//! records in order and learns of the first error after all records before it.

use crossbeam_channel::{Receiver, Sender, bounded};
use tablao_core::{Lsn, Recorded};
use tablao_journal::Record;

use crate::records;

/// Records handed over at once: enough that waking the other thread costs little for each.
const CHUNK_RECORDS: usize = 512;
/// Chunks that each thread may be ahead of the next.
const CHUNKS_AHEAD: usize = 4;

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

/// Some records in order, and what came instead of the one after them.
struct Chunk<T> {
    items: Vec<T>,
    end: Option<Error>,
}

/// Gives each record to `take`, up to the first for which `is_beyond` holds. Returns how many.
pub fn each(
    records: impl Iterator<Item = Result<Record, tablao_journal::Error>> + Send,
    is_beyond: impl Fn(&Record) -> bool + Send,
    take: impl FnMut(Step),
) -> Result<u64, Error> {
    run(records, is_beyond, records::read, take)
}

/// The same for a fold of facts: the details stay undecoded.
pub fn each_fact(
    records: impl Iterator<Item = Result<Record, tablao_journal::Error>> + Send,
    is_beyond: impl Fn(&Record) -> bool + Send,
    take: impl FnMut(Step),
) -> Result<u64, Error> {
    run(records, is_beyond, records::read_facts, take)
}

type Decode = fn(&Record) -> Result<Option<Recorded>, records::Error>;

fn run(
    records: impl Iterator<Item = Result<Record, tablao_journal::Error>> + Send,
    is_beyond: impl Fn(&Record) -> bool + Send,
    decode: Decode,
    take: impl FnMut(Step),
) -> Result<u64, Error> {
    let (raw_sender, raw) = bounded(CHUNKS_AHEAD);
    let (sender, decoded) = bounded(CHUNKS_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || read(records, &is_beyond, &raw_sender));
        scope.spawn(move || decode_all(&raw, decode, &sender));
        hand_over(decoded, take)
    })
}

fn hand_over(receiver: Receiver<Chunk<Step>>, mut take: impl FnMut(Step)) -> Result<u64, Error> {
    let mut taken = 0;
    for chunk in receiver {
        taken += chunk.items.len() as u64;
        chunk.items.into_iter().for_each(&mut take);
        if let Some(error) = chunk.end {
            return Err(error);
        }
    }
    Ok(taken)
}

/// Whoever is to get a chunk may be gone already; then nobody wants to know what follows.
fn read(
    records: impl Iterator<Item = Result<Record, tablao_journal::Error>>,
    is_beyond: &impl Fn(&Record) -> bool,
    sender: &Sender<Chunk<Record>>,
) {
    let mut items = Vec::with_capacity(CHUNK_RECORDS);
    let mut end = None;
    for record in records {
        match record {
            Ok(record) if is_beyond(&record) => break,
            Ok(record) => items.push(record),
            Err(error) => {
                end = Some(error.into());
                break;
            }
        }
        if items.len() == CHUNK_RECORDS {
            let items = std::mem::replace(&mut items, Vec::with_capacity(CHUNK_RECORDS));
            if sender.send(Chunk { items, end: None }).is_err() {
                return;
            }
        }
    }
    let _ = sender.send(Chunk { items, end });
}

fn decode_all(receiver: &Receiver<Chunk<Record>>, decode: Decode, sender: &Sender<Chunk<Step>>) {
    for raw in receiver {
        let mut chunk = Chunk {
            items: Vec::with_capacity(raw.items.len()),
            end: raw.end,
        };
        for record in &raw.items {
            match decode(record) {
                Ok(recorded) => {
                    let lsn = Lsn::new(record.lsn.get());
                    chunk.items.push(Step { lsn, recorded });
                }
                Err(error) => {
                    chunk.end = Some(error.into());
                    break;
                }
            }
        }
        let ended = chunk.end.is_some();
        if sender.send(chunk).is_err() || ended {
            return;
        }
    }
}
