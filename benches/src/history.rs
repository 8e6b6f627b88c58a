// SPDX-License-Identifier: GPL-3.0-or-later
//! The journal of a scripted farm on disk: jobs are submitted, and workers ask for tasks, start,
//! report, publish and complete them and store thumbnails, as many as are wanted.
//!
//! The same records as a real Manager writes for this, in batches as group commit makes them on a
//! busy farm. It measures nothing.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use tablao_core::Digest;
use tablao_journal::{FileStore, Journal, JournalId, OpenOptions};

use crate::{
    Error,
    scripted::Script,
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
    /// Microseconds between the ends of two tasks.
    pub(crate) step_us: u64,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) digest: Digest,
    pub(crate) records: u64,
    /// Bytes of facts and details by kind.
    pub(crate) bodies: BTreeMap<&'static str, usize>,
}

/// Writes a history as a busy farm does.
pub(crate) fn write(files: &Arc<dyn FileStore>, shape: Shape) -> Result<Written, Error> {
    let options = OpenOptions::new(JournalId([7; 16]), 0);
    let journal = Journal::open(Arc::clone(files), &options).map_err(unsound)?;
    write_into(journal.journal, BATCH_BYTES, shape)
}

/// Writes a history into this journal and closes it. A batch ends with the decision that brings it
/// beyond so many bytes.
pub(crate) fn write_into(
    journal: Journal,
    batch_bytes: usize,
    shape: Shape,
) -> Result<Written, Error> {
    let writer = Rc::new(RefCell::new(Writer::new(journal, batch_bytes)));
    let taking = Rc::clone(&writer);
    let mut script = Script::new(Some(Box::new(move |recorded| {
        taking.borrow_mut().take(recorded);
    })));
    let crew = script.crew(shape.workers);
    script.jobs(shape.jobs, shape.frames);
    script.render(&crew, shape.rendered, shape.step_us);
    let (digest, records) = (script.farm.digest(), script.farm.position().get());
    drop(script);
    let writer = Rc::into_inner(writer)
        .ok_or_else(|| unsound("somebody still writes"))?
        .into_inner();
    let bodies = writer.end()?;
    Ok(Written {
        digest,
        records,
        bodies,
    })
}
