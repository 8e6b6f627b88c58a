// SPDX-License-Identifier: GPL-3.0-or-later
//! The thread that writes the outbox: gathers what waits, makes it durable with one sync, and
//! only then lets its consequences happen.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::store::{Item, Store};
use super::{Entry, Order, OutboxFailed, Seq, Shared};
use crate::Error;

/// Marks of what is done wait for the next entry to share its sync, up to this many.
const DONE_WAITING_MAX: usize = 1000;

/// The journal is begun anew when this much was written, so that it stays quick to read.
const BEGIN_ANEW_BYTES: u64 = 4 * 1024 * 1024;

struct Put {
    seq: Seq,
    entry: Entry,
    written: Option<oneshot::Sender<()>>,
}

/// Writes until the last handle on the outbox has gone, or until a write fails.
pub(super) fn run(mut store: Store, shared: &Shared, inbox: &mpsc::Receiver<Order>) {
    let mut done: Vec<Seq> = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut put = Vec::new();
        for order in std::iter::once(first).chain(inbox.try_iter()) {
            match order {
                Order::Put {
                    seq,
                    entry,
                    written,
                } => put.push(Put {
                    seq,
                    entry: *entry,
                    written,
                }),
                Order::Done(seqs) => done.extend(seqs),
            }
        }
        if put.is_empty() && done.len() < DONE_WAITING_MAX {
            continue;
        }
        if let Err(error) = write(&mut store, shared, &mut put, std::mem::take(&mut done)) {
            // Set before `put` goes, which is what those who wait for it see.
            let failed = OutboxFailed(error.to_string());
            tracing::error!(%failed, "this worker stops");
            shared.change(|state| state.failed = Some(failed));
            return;
        }
    }
    let closed = if done.is_empty() {
        Ok(())
    } else {
        store.append(&[Item::Done(&done)])
    };
    if let Err(error) = closed.and_then(|()| store.close()) {
        // Every entry is durable; without the marks some are said again.
        tracing::warn!(%error, "cannot close the outbox in good order");
    }
}

fn write(
    store: &mut Store,
    shared: &Shared,
    put: &mut Vec<Put>,
    done: Vec<Seq>,
) -> Result<(), Error> {
    let mut items: Vec<Item<'_>> = Vec::with_capacity(put.len() + 1);
    if !done.is_empty() {
        items.push(Item::Done(&done));
    }
    items.extend(put.iter().map(|put| Item::Put(put.seq, &put.entry)));
    store.append(&items)?;
    let mut waiting = Vec::new();
    shared.change(|state| {
        for put in put.drain(..) {
            waiting.extend(put.written);
            if matches!(put.entry, Entry::Update { .. }) {
                state.in_writing -= 1;
            }
            state.keep(put.seq, put.entry);
        }
    });
    for written in waiting {
        // Whoever asked may have been stopped meanwhile.
        let _ = written.send(());
    }
    if store.bytes() > BEGIN_ANEW_BYTES {
        let (open, last_seq) = {
            let state = shared.state.lock().expect("no holder panics");
            // Numbers given to entries that are still in the channel are kept out of this: they
            // come later and in order.
            (state.open(), state.next_seq)
        };
        store.begin_anew(&open, last_seq)?;
    }
    Ok(())
}
