// SPDX-License-Identifier: GPL-3.0-or-later
//! The outbox on disk: a journal, begun anew from time to time with what is still open.
//!
//! Each beginning is a numbered folder with a journal of its own. It counts from the record
//! `begun` on, which follows the copies of all open entries; until that record is durable the
//! folder before it stays. Checksums, torn tails and damage are the journal's business.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tablao_journal::{
    Authority, Draft, Journal, JournalId, Lsn, OpenOptions, Reader, RealFiles, RecordDraft,
};

use super::{Entry, Seq};
use crate::{Error, durable};

/// Kinds of records: an entry, numbers that are done, and the end of a beginning.
const KIND_PUT: u16 = 1;
const KIND_DONE: u16 = 2;
const KIND_BEGUN: u16 = 3;

/// A batch of the journal holds a mebibyte; half of it leaves room for one more entry.
const BATCH_BYTES: usize = 512 * 1024;

/// Something to append.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    Put(Seq, &'a Entry),
    Done(&'a [Seq]),
    /// The last number given so far.
    Begun(Seq),
}

#[derive(Serialize)]
struct PutOut<'a> {
    seq: Seq,
    entry: &'a Entry,
}

#[derive(Deserialize)]
struct PutIn {
    seq: Seq,
    entry: Entry,
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) last_seq: Seq,
    pub(super) entries: BTreeMap<Seq, Entry>,
}

/// The journal that is written now.
pub(super) struct Store {
    root: PathBuf,
    generation: u64,
    journal: Option<Journal>,
    bytes: u64,
}

impl Store {
    /// Reads the newest whole generation below `root`; [`Self::begin_anew`] must follow.
    pub(super) fn open(root: &Path) -> Result<(Self, Left), Error> {
        std::fs::create_dir_all(root).map_err(Error::file(root))?;
        let mut generations = generations(root).map_err(Error::file(root))?;
        let newest = generations.last().copied().unwrap_or(0);
        let mut left = Left::default();
        while let Some(generation) = generations.pop() {
            if let Some(found) = read(&folder(root, generation))? {
                left = found;
                break;
            }
            // Its beginning was cut short, so the one before it is still whole.
        }
        let store = Self {
            root: root.to_path_buf(),
            generation: newest,
            journal: None,
            bytes: 0,
        };
        Ok((store, left))
    }

    /// A store on a journal that a test has prepared.
    #[cfg(test)]
    pub(super) fn on(journal: Journal) -> Self {
        Self {
            root: PathBuf::new(),
            generation: 0,
            journal: Some(journal),
            bytes: 0,
        }
    }

    /// Begins a new generation with the open entries and removes those before it.
    pub(super) fn begin_anew(
        &mut self,
        open: &BTreeMap<Seq, Entry>,
        last_seq: Seq,
    ) -> Result<(), Error> {
        let generation = self.generation + 1;
        let next = folder(&self.root, generation);
        self.journal = Some(open_journal(&next)?);
        self.generation = generation;
        self.bytes = 0;
        let mut items: Vec<Item<'_>> = open
            .iter()
            .map(|(seq, entry)| Item::Put(*seq, entry))
            .collect();
        items.push(Item::Begun(last_seq));
        self.append(&items)?;
        self.bytes = 0;
        durable::sync_dir(&self.root).map_err(Error::file(&self.root))?;
        for old in generations(&self.root).map_err(Error::file(&self.root))? {
            if old < generation {
                // One that stays is older and therefore never read.
                let _ = std::fs::remove_dir_all(folder(&self.root, old));
            }
        }
        Ok(())
    }

    /// Appends and syncs.
    pub(super) fn append(&mut self, items: &[Item<'_>]) -> Result<(), Error> {
        let mut records = Vec::new();
        let mut bytes = 0;
        for item in items {
            let record = record(item);
            bytes += record.facts.len();
            self.bytes += record.facts.len() as u64;
            records.push(record);
            if bytes > BATCH_BYTES {
                self.commit(std::mem::take(&mut records))?;
                bytes = 0;
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.commit(records)
    }

    /// Bytes written since the beginning.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Leaves the mark of an orderly end.
    pub(super) fn close(mut self) -> Result<(), Error> {
        match self.journal.take() {
            Some(journal) => journal.close().map_err(outbox_error(&self.root)),
            None => Ok(()),
        }
    }

    fn commit(&mut self, records: Vec<RecordDraft>) -> Result<(), Error> {
        let journal = self
            .journal
            .as_mut()
            .expect("a store is begun before it is used");
        let draft = Draft {
            time_us: now_us(),
            records,
        };
        let committed = journal.commit(journal.next_lsn(), &[&draft]);
        committed.map(|_| ()).map_err(outbox_error(&self.root))
    }
}

fn record(item: &Item<'_>) -> RecordDraft {
    let (kind, facts) = match item {
        Item::Put(seq, entry) => {
            let put = PutOut { seq: *seq, entry };
            (KIND_PUT, serde_json::to_vec(&put))
        }
        Item::Done(seqs) => (KIND_DONE, serde_json::to_vec(seqs)),
        Item::Begun(last_seq) => (KIND_BEGUN, serde_json::to_vec(last_seq)),
    };
    RecordDraft {
        kind,
        version: 1,
        authority: Authority::Site,
        decision_offset: 0,
        facts: facts.expect("entries are plain JSON"),
        detail: None,
    }
}

/// Reads a generation; `None` when its beginning was not finished.
fn read(folder: &Path) -> Result<Option<Left>, Error> {
    // Opening recovers: what a kill left torn at the end is cut off.
    drop(open_journal(folder)?);
    let reader = Reader::open(Arc::new(RealFiles::existing(folder)));
    let records = reader
        .and_then(|reader| reader.records(Lsn::FIRST))
        .map_err(outbox_error(folder))?;
    let mut left = Left::default();
    let mut begun = false;
    for record in records {
        let record = record.map_err(outbox_error(folder))?;
        let damaged = |error: serde_json::Error| Error::Damaged {
            path: folder.to_path_buf(),
            reason: format!(
                "record {}: {error}; update this worker, or move the folder away to start without the reports in it",
                record.lsn.get()
            ),
        };
        match record.kind {
            KIND_PUT => {
                let put: PutIn = serde_json::from_slice(&record.facts).map_err(damaged)?;
                left.last_seq = left.last_seq.max(put.seq);
                left.entries.insert(put.seq, put.entry);
            }
            KIND_DONE => {
                let seqs: Vec<Seq> = serde_json::from_slice(&record.facts).map_err(damaged)?;
                for seq in seqs {
                    left.entries.remove(&seq);
                }
            }
            KIND_BEGUN => {
                let last: Seq = serde_json::from_slice(&record.facts).map_err(damaged)?;
                left.last_seq = left.last_seq.max(last);
                begun = true;
            }
            unknown => {
                return Err(Error::Damaged {
                    path: folder.to_path_buf(),
                    reason: format!(
                        "it holds records of kind {unknown}, from a newer worker; update this one"
                    ),
                });
            }
        }
    }
    Ok(begun.then_some(left))
}

fn open_journal(folder: &Path) -> Result<Journal, Error> {
    let files = RealFiles::create(folder).map_err(Error::file(folder))?;
    let options = OpenOptions::new(JournalId(rand::random()), now_us());
    let opened = Journal::open(Arc::new(files), &options).map_err(outbox_error(folder))?;
    Ok(opened.journal)
}

fn outbox_error(folder: &Path) -> impl FnOnce(tablao_journal::Error) -> Error {
    let path = folder.to_path_buf();
    move |source| Error::Outbox { path, source }
}

fn folder(root: &Path, generation: u64) -> PathBuf {
    root.join(format!("{generation:010}"))
}

/// Numbers of the folders that are there, rising.
fn generations(root: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn now_us() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0)
}
