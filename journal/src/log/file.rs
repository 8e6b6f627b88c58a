// SPDX-License-Identifier: GPL-3.0-or-later
//! The log over a journal folder: the writer thread for appends, a reader for reads.
//!
//! Reads touch the disk on the thread that polls them; they are short, and whoever minds gives
//! them a thread.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Appended, Log, LogFuture, Sealed};
use crate::batch::Batch;
use crate::error::Error;
use crate::files::FileStore;
use crate::journal::{Journal, OpenOptions};
use crate::position::{ChainValue, Lsn};
use crate::reader::Reader;
use crate::record::Draft;
use crate::recovery::RecoveryReport;
use crate::writer::{Report, WriterHandle};

type Answer = oneshot::Sender<Result<Appended, Error>>;

/// A journal folder as a log.
pub struct FileLog {
    handle: Arc<WriterHandle<Answer>>,
    reader: Arc<Reader>,
    chain: Arc<Mutex<ChainValue>>,
}

impl FileLog {
    /// Opens the journal of a folder and starts its writer thread.
    pub fn open(
        files: Arc<dyn FileStore>,
        options: &OpenOptions,
    ) -> Result<(Self, RecoveryReport), Error> {
        let opened = Journal::open(Arc::clone(&files), options)?;
        let reader = Arc::new(Reader::open(files)?);
        let chain = Arc::new(Mutex::new(opened.recovery.chain));
        let newest_chain = Arc::clone(&chain);
        let handle = opened
            .journal
            .start(move |report: Report<Answer>| match report {
                Report::Durable(durable) => {
                    *newest_chain.lock().unwrap_or_else(PoisonError::into_inner) = durable.chain;
                    for settled in durable.drafts {
                        let count = settled.draft.records.len() as u64;
                        let appended = Appended {
                            first: settled.first,
                            last: settled.first.plus(count).previous(),
                            time_us: settled.time_us,
                        };
                        // Whoever no longer waits does not want to know.
                        let _ = settled.token.send(Ok(appended));
                    }
                }
                Report::Failed(failed) => {
                    for token in failed.tokens {
                        let _ = token.send(Err(Error::Poisoned(Arc::clone(&failed.error))));
                    }
                }
            })?;
        let log = Self {
            handle: Arc::new(handle),
            reader,
            chain,
        };
        Ok((log, opened.recovery))
    }
}

impl Log for FileLog {
    fn append(&self, expected_first: Lsn, draft: Draft) -> LogFuture<Appended> {
        let (answer, answered) = oneshot::channel();
        let taken = self.handle.append(expected_first, draft, answer);
        Box::pin(async move {
            taken?;
            answered.await.map_err(|_| Error::WriterGone)?
        })
    }

    fn read(&self, from: Lsn, batches_max: usize) -> LogFuture<Vec<Batch>> {
        let reader = Arc::clone(&self.reader);
        let durable = self.handle.durable();
        Box::pin(async move {
            let mut cursor = reader.read(from)?;
            cursor.set_limit(durable);
            let mut batches = Vec::new();
            while batches.len() < batches_max {
                match cursor.next_batch()? {
                    Some(batch) => batches.push(batch),
                    None => break,
                }
            }
            Ok(batches)
        })
    }

    fn wait_for(&self, position: Lsn) -> LogFuture<()> {
        let mut durable = self.handle.subscribe();
        Box::pin(async move {
            match durable.wait_for(|durable| *durable >= position).await {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::Closed),
            }
        })
    }

    fn seal(&self) -> LogFuture<Sealed> {
        let handle = Arc::clone(&self.handle);
        let chain = Arc::clone(&self.chain);
        let (answer, answered) = oneshot::channel();
        // Closing waits for the disk, which the caller's thread should not.
        let closing = std::thread::Builder::new()
            .name("journal-seal".to_owned())
            .spawn(move || {
                let sealed = handle.close().map(|()| Sealed {
                    next: handle.durable().next(),
                    chain: *chain.lock().unwrap_or_else(PoisonError::into_inner),
                });
                let _ = answer.send(sealed);
            });
        Box::pin(async move {
            closing.map_err(|source| Error::Io {
                doing: "start",
                file: "the thread that closes the journal".to_owned(),
                source,
            })?;
            answered.await.map_err(|_| Error::WriterGone)?
        })
    }
}
