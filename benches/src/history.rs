// SPDX-License-Identifier: GPL-3.0-or-later
//! The journal of a scripted farm on disk: jobs are submitted, and workers ask for tasks, start,
//! report, publish and complete them and store thumbnails, as many as are wanted.
//!
//! The same records as a real Manager writes for this, in batches as group commit makes them on a
//! busy farm. It measures nothing.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use tablao_core::{Digest, Event, Recorded, WorkerId};
use tablao_journal::{Authority, Draft, FileStore, Journal, JournalId, OpenOptions, RecordDraft};

use crate::{
    Error,
    scripted::{Plan, Script},
};

/// Bytes of bodies in one batch: what group commit makes of a busy farm.
const BATCH_BYTES: usize = 256 << 10;

/// An error about what a bench itself wrote.
pub(crate) fn unsound(error: impl std::fmt::Display) -> Error {
    Error::Unsound {
        what: error.to_string(),
    }
}

/// How large a history is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) jobs: u32,
    /// Frames of each job, one a task.
    pub(crate) frames: u32,
    pub(crate) workers: u32,
    /// Tasks that are rendered; no more than there are.
    pub(crate) rendered: u32,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) digest: Digest,
    pub(crate) records: u64,
}

/// Writes what it is given in batches.
struct Writer {
    journal: Journal,
    drafts: Vec<Draft>,
    bytes: usize,
    failed: Option<tablao_journal::Error>,
}

impl Writer {
    fn take(&mut self, recorded: &Recorded) {
        let (facts, detail, _) = tablao_core::codec::encode(&recorded.event, &recorded.detail);
        self.bytes += facts.len() + detail.as_ref().map_or(0, Vec::len) + 64;
        let begins = matches!(recorded.event, Event::Decision(_));
        if begins || self.drafts.is_empty() {
            if self.bytes > BATCH_BYTES {
                self.flush();
            }
            self.drafts.push(Draft {
                time_us: recorded.at.micros(),
                records: Vec::new(),
            });
        }
        let kind = recorded.event.kind();
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
}

/// Writes a history.
pub(crate) fn write(files: &Arc<dyn FileStore>, shape: Shape) -> Result<Written, Error> {
    let options = OpenOptions::new(JournalId([7; 16]), 0);
    let writer = Rc::new(RefCell::new(Writer {
        journal: Journal::open(Arc::clone(files), &options)
            .map_err(unsound)?
            .journal,
        drafts: Vec::new(),
        bytes: 0,
        failed: None,
    }));
    let taking = Rc::clone(&writer);
    let mut script = Script::new(Some(Box::new(move |recorded| {
        taking.borrow_mut().take(recorded);
    })));
    let crew: Vec<WorkerId> = (0..shape.workers)
        .map(|number| script.worker(number, &[]))
        .collect();
    for number in 0..shape.jobs {
        script.job(Plan {
            number,
            frames: shape.frames,
            priority: 50,
            tag: None,
        });
    }
    render(&mut script, &crew, shape.rendered);
    let written = Written {
        digest: script.farm.digest(),
        records: script.farm.position().get(),
    };
    drop(script);
    let mut writer = Rc::into_inner(writer)
        .ok_or_else(|| unsound("somebody still writes"))?
        .into_inner();
    writer.flush();
    match writer.failed.take() {
        Some(error) => Err(unsound(error)),
        None => writer.journal.close().map(|()| written).map_err(unsound),
    }
}

/// Everybody has a task in hand, as on a busy farm; whoever ends one takes the next.
fn render(script: &mut Script, crew: &[WorkerId], wanted: u32) {
    if wanted == 0 {
        return;
    }
    let mut hands: Vec<_> = crew.iter().map(|&worker| script.next(worker)).collect();
    let (mut idle, mut done) = (0, 0);
    for turn in (0..hands.len()).cycle() {
        match hands[turn].take() {
            Some(held) => {
                idle = 0;
                done += 1;
                script.finish(held);
            }
            None => idle += 1,
        }
        if idle > hands.len() || done >= wanted {
            break;
        }
        hands[turn] = script.next(crew[turn]);
    }
}
