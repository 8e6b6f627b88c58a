// SPDX-License-Identifier: GPL-3.0-or-later
//! Which files are being sent to this process, by how many, and who was first.
//!
//! Kept in memory only: after a restart nobody is sending anything.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::BlobId;

/// All uploads of this process.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    files: Mutex<HashMap<BlobId, Sending>>,
}

#[derive(Debug, Default)]
struct Sending {
    /// Who send it now.
    senders: usize,
    /// Those of them whose file has its final name, which is not durable yet.
    settling: usize,
    /// Set when one of them is done; the others can stop.
    done: Arc<AtomicBool>,
}

impl InFlight {
    fn files(&self) -> MutexGuard<'_, HashMap<BlobId, Sending>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is sending this file.
    pub(crate) fn is_sent(&self, id: BlobId) -> bool {
        self.files().contains_key(&id)
    }

    /// The file is there, and may be gone again after a power loss: it is not to be called stored.
    pub(crate) fn is_settling(&self, id: BlobId) -> bool {
        self.files()
            .get(&id)
            .is_some_and(|sending| sending.settling > 0)
    }

    /// One more sender; `None` if there is one already and this one can wait.
    pub(crate) fn enter(self: &Arc<Self>, id: BlobId, can_defer: bool) -> Option<Flight> {
        let mut files = self.files();
        let sending = files.entry(id).or_default();
        if can_defer && sending.senders > 0 {
            return None;
        }
        sending.senders += 1;
        Some(Flight {
            all: Arc::clone(self),
            id,
            done: Arc::clone(&sending.done),
            settling: false,
        })
    }
}

/// One sender of one file. Leaves when dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    all: Arc<InFlight>,
    id: BlobId,
    done: Arc<AtomicBool>,
    settling: bool,
}

impl Flight {
    /// Another sender was first.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// From here until it lands, the file is there but not called stored.
    pub(crate) fn settle(&mut self) {
        self.settling = true;
        self.change(|sending| sending.settling += 1);
    }

    /// The file is stored: the others can stop, and whoever sends it from now on starts afresh.
    pub(crate) fn land(self) {
        self.done.store(true, Ordering::Release);
        let mut files = self.all.files();
        if is_of(files.get(&self.id), &self.done) {
            files.remove(&self.id);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Sending)) {
        let mut files = self.all.files();
        if is_of(files.get(&self.id), &self.done)
            && let Some(sending) = files.get_mut(&self.id)
        {
            change(sending);
            if sending.senders == 0 {
                files.remove(&self.id);
            }
        }
    }
}

/// The entry is of this flight, not of one that began after the file had been stored.
fn is_of(sending: Option<&Sending>, done: &Arc<AtomicBool>) -> bool {
    sending.is_some_and(|sending| Arc::ptr_eq(&sending.done, done))
}

impl Drop for Flight {
    fn drop(&mut self) {
        let settling = usize::from(self.settling);
        self.change(|sending| {
            sending.senders -= 1;
            sending.settling -= settling;
        });
    }
}
