// SPDX-License-Identifier: GPL-3.0-or-later
//! Appending, closing, reopening and rotating, on real files and in memory.
mod common;

use std::sync::Arc;
use std::sync::mpsc;

use common::*;
use tablao_journal::{
    Draft, Error, FileStore, Journal, Lsn, MemoryFiles, OpenOptions, Reader, RealFiles, Report,
};

/// The whole way through a real folder: what was reported durable is read back, in order, with
/// its token, and a clean close is known as one.
#[test]
fn a_writer_thread_reports_in_order_and_closes_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Arc<dyn FileStore> =
        Arc::new(RealFiles::create(folder.path().join("journal/site")).expect("made"));
    let opened = open(&files, &options());
    assert!(opened.recovery.created && opened.recovery.clean);
    let (sender, receiver) = mpsc::channel();
    let handle = opened
        .journal
        .start(move |report| match report {
            Report::Durable(durable) => sender.send(durable).expect("the test listens"),
            Report::Failed(failed) => panic!("{}", failed.error),
        })
        .expect("started");
    let mut next = Lsn::FIRST;
    for number in 0..100 {
        let accepted = handle
            .append(next, draft(number, 3), number)
            .expect("taken");
        assert_eq!(accepted.first, next);
        next = accepted.last.next();
    }
    let stale = handle.append(Lsn::FIRST, draft(0, 1), 0);
    assert!(matches!(stale, Err(Error::StalePosition { .. })));
    handle.close().expect("closed");
    let mut tokens = Vec::new();
    let mut chain = None;
    for durable in receiver.try_iter() {
        chain = Some(durable.chain);
        tokens.extend(durable.drafts.into_iter().map(|settled| settled.token));
    }
    assert_eq!(tokens, (0..100).collect::<Vec<_>>());
    let records = read_all(&files);
    assert_eq!(records.len(), 300);
    for (index, found) in records.iter().enumerate() {
        let from = draft(index as u64 / 3, 3);
        assert_eq!(found.lsn, Lsn::new(index as u64 + 1));
        assert_eq!(found.time_us, from.time_us);
        assert!(same(found, &from.records[index % 3]));
    }
    let again = open(&files, &options()).recovery;
    assert!(again.clean);
    assert_eq!((again.next_lsn, Some(again.chain)), (next, chain));
}
