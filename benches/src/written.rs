// SPDX-License-Identifier: GPL-3.0-or-later
//! Writes what a scripted farm did into a real journal, in batches as an engine's writer makes
//! them, and counts what each kind of event takes. It measures no time.

use std::collections::BTreeMap;

use tablao_core::{Event, Recorded};
use tablao_journal::{Authority, Draft, Journal, RecordDraft};

use crate::Error;

/// Bytes of bodies in one batch: what group commit makes of a busy farm.
pub(crate) const BATCH_BYTES: usize = 256 << 10;

/// An error about what a bench itself wrote.
pub(crate) fn unsound(error: impl std::fmt::Display) -> Error {
    Error::Unsound {
        what: error.to_string(),
    }
}

/// Writes what it is given in batches.
pub(crate) struct Writer {
    journal: Journal,
    /// A batch ends with the decision that brings it beyond this.
    batch_bytes: usize,
    drafts: Vec<Draft>,
    bytes: usize,
    failed: Option<tablao_journal::Error>,
    /// Bytes of facts and details by kind.
    pub(crate) bodies: BTreeMap<&'static str, usize>,
}

impl Writer {
    pub(crate) const fn new(journal: Journal, batch_bytes: usize) -> Self {
        Self {
            journal,
            batch_bytes,
            drafts: Vec::new(),
            bytes: 0,
            failed: None,
            bodies: BTreeMap::new(),
        }
    }

    pub(crate) fn take(&mut self, recorded: &Recorded) {
        let (facts, detail, _) = tablao_core::codec::encode(&recorded.event, &recorded.detail);
        let body = facts.len() + detail.as_ref().map_or(0, Vec::len);
        let begins = matches!(recorded.event, Event::Decision(_));
        if begins || self.drafts.is_empty() {
            if self.bytes > self.batch_bytes {
                self.flush();
            }
            self.drafts.push(Draft {
                time_us: recorded.at.micros(),
                records: Vec::new(),
            });
        }
        self.bytes += body + 64;
        let kind = recorded.event.kind();
        *self.bodies.entry(kind.name).or_default() += body;
        if let Some(draft) = self.drafts.last_mut() {
            let offset = draft.records.len();
            draft.records.push(RecordDraft {
                kind: kind.number,
                version: kind.version,
                authority: Authority::Site,
                decision_offset: u16::try_from(offset).unwrap_or(u16::MAX),
                facts,
                detail,
            });
        }
    }

    fn flush(&mut self) {
        let drafts: Vec<&Draft> = self.drafts.iter().collect();
        if !drafts.is_empty() {
            let committed = self.journal.commit(self.journal.next_lsn(), &drafts);
            self.failed = self.failed.take().or(committed.err());
        }
        self.drafts.clear();
        self.bytes = 0;
    }

    /// Writes what is left and closes the journal. Whatever failed on the way is told now.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        self.flush();
        match self.failed {
            Some(error) => Err(unsound(error)),
            None => self.journal.close().map_err(unsound),
        }
    }
}
