// SPDX-License-Identifier: GPL-3.0-or-later
//! The journal of a scripted farm on disk: jobs are submitted, and workers ask for tasks, start,
//! report, publish and complete them and store thumbnails, as many as are wanted.
//!
//! The same records as a real Manager writes for this, in batches as group commit makes them on a
//! busy farm. It measures nothing.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use tablao_core::{Digest, WorkerId};
use tablao_journal::{FileStore, Journal, JournalId, OpenOptions};

use crate::{
    Error,
    scripted::{Plan, Script},
    written::{BATCH_BYTES, Writer, unsound},
};

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

/// Writes a history.
pub(crate) fn write(files: &Arc<dyn FileStore>, shape: Shape) -> Result<Written, Error> {
    let options = OpenOptions::new(JournalId([7; 16]), 0);
    let journal = Journal::open(Arc::clone(files), &options).map_err(unsound)?;
    let writer = Rc::new(RefCell::new(Writer::new(journal.journal, BATCH_BYTES)));
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
    script.render(&crew, shape.rendered, 0);
    let written = Written {
        digest: script.farm.digest(),
        records: script.farm.position().get(),
    };
    drop(script);
    Rc::into_inner(writer)
        .ok_or_else(|| unsound("somebody still writes"))?
        .into_inner()
        .end()
        .map(|()| written)
}
