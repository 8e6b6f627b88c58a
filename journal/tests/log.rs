// SPDX-License-Identifier: GPL-3.0-or-later
//! One conformance suite for every log: files, memory, and one that is far away.
mod common;

use std::sync::Arc;

use common::*;
use tablao_journal::{
    BATCH_BYTES_MAX, DistantLog, Draft, Error, FileLog, Latency, Log, Lsn, MemoryFiles, MemoryLog,
};

fn distant(seed: u64) -> DistantLog {
    let latency = Latency {
        us_min: 200,
        us_max: 80_000,
        seed,
    };
    DistantLog::new(ID, latency)
}

fn file_log() -> FileLog {
    FileLog::open(Arc::new(MemoryFiles::new()), &small_segments())
        .expect("opened")
        .0
}

/// Runs a check against a fresh log of each implementation.
macro_rules! for_every_log {
    ($($(#[$doc:meta])* $name:ident => $check:path;)*) => {$(
        mod $name {
            use super::*;
            $(#[$doc])*
            #[tokio::test]
            async fn file() { $check(file_log()).await }
            $(#[$doc])*
            #[tokio::test]
            async fn memory() { $check(MemoryLog::new(ID)).await }
            $(#[$doc])*
            #[tokio::test(start_paused = true)]
            async fn distant() { for seed in 0..8 { $check(super::distant(seed)).await } }
        }
    )*};
}

for_every_log! {
    /// Appends made without waiting become durable in the order of the calls, whatever the order
    /// of the answers.
    pipelined => appends_keep_the_order_of_the_calls;
    /// Of two writers with the same expectation, exactly one wins, and the other changes nothing.
    stale => a_stale_position_is_refused_and_changes_nothing;
    /// A wait ends when, and only when, the record is durable.
    waiting => a_wait_ends_with_the_record;
    /// A sealed log keeps what it had and takes no more.
    sealing => a_sealed_log_takes_no_more;
    /// Time never runs backwards, and the answer says what was written.
    time => time_is_clamped;
    /// What no batch can hold is refused before it takes a position.
    limits => impossible_drafts_are_refused;
}

async fn appends_keep_the_order_of_the_calls(log: impl Log) {
    let mut next = Lsn::FIRST;
    let mut answers = Vec::new();
    for number in 0..60 {
        let count = (number % 4 + 1) as u16;
        answers.push(tokio::spawn(log.append(next, draft(number, count))));
        next = next.plus(u64::from(count));
    }
    let mut expected = Lsn::FIRST;
    for answer in answers {
        let appended = answer.await.expect("not cancelled").expect("appended");
        assert_eq!(appended.first, expected);
        expected = appended.last.next();
    }
    assert_eq!(expected, next);
    let mut found = Vec::new();
    let mut from = Lsn::FIRST;
    loop {
        let batches = log.read(from, 7).await.expect("read");
        let Some(last) = batches.last() else { break };
        from = last.last.next();
        found.extend(batches.into_iter().flat_map(|batch| batch.records));
    }
    let drafted = (0..60).flat_map(|number| draft(number, (number % 4 + 1) as u16).records);
    let drafted: Vec<_> = drafted.collect();
    assert_eq!(found.len(), drafted.len());
    for (index, (found, drafted)) in found.iter().zip(&drafted).enumerate() {
        assert_eq!(found.lsn, Lsn::new(index as u64 + 1));
        assert!(same(found, drafted));
    }
    let beyond = log.read(from.next(), 1).await;
    assert!(matches!(beyond, Err(Error::NotYet { .. })));
}

async fn a_stale_position_is_refused_and_changes_nothing(log: impl Log) {
    let (one, other) = (
        log.append(Lsn::FIRST, draft(1, 2)),
        log.append(Lsn::FIRST, draft(2, 5)),
    );
    one.await.expect("the first wins");
    match other.await {
        Err(Error::StalePosition { expected, next }) => {
            assert_eq!((expected, next), (Lsn::FIRST, Lsn::new(3)));
        }
        unexpected => panic!("{unexpected:?}"),
    }
    log.append(Lsn::new(9), draft(3, 1))
        .await
        .expect_err("a gap");
    log.append(Lsn::new(3), draft(4, 1))
        .await
        .expect("in order");
    let batches = log.read(Lsn::FIRST, 10).await.expect("read");
    let records: usize = batches.iter().map(|batch| batch.records.len()).sum();
    assert_eq!(records, 3);
}

async fn a_wait_ends_with_the_record(log: impl Log) {
    let waiting = tokio::spawn(log.wait_for(Lsn::new(3)));
    log.append(Lsn::FIRST, draft(1, 2)).await.expect("appended");
    assert!(!waiting.is_finished());
    log.append(Lsn::new(3), draft(2, 1))
        .await
        .expect("appended");
    waiting.await.expect("not cancelled").expect("reached");
    log.wait_for(Lsn::FIRST).await.expect("reached long ago");
    let never = log.wait_for(Lsn::new(4));
    log.seal().await.expect("sealed");
    assert!(matches!(never.await, Err(Error::Closed)));
}

async fn a_sealed_log_takes_no_more(log: impl Log) {
    let last = log.append(Lsn::FIRST, draft(1, 2));
    let sealed = log.seal().await.expect("sealed");
    last.await.expect("it came before the seal");
    assert_eq!(sealed.next, Lsn::new(3));
    let refused = log.append(Lsn::new(3), draft(2, 1)).await;
    assert!(matches!(refused, Err(Error::Closed)));
    assert!(log.seal().await.is_err());
    let batches = log.read(Lsn::FIRST, 10).await.expect("still readable");
    assert_eq!(batches.last().map(|batch| batch.chain), Some(sealed.chain));
}

async fn time_is_clamped(log: impl Log) {
    let at = |time_us, next| {
        let draft = Draft {
            time_us,
            ..draft(1, 1)
        };
        log.append(Lsn::new(next), draft)
    };
    assert_eq!(
        at(5000 + NOW_US, 1).await.expect("appended").time_us,
        5000 + NOW_US
    );
    assert_eq!(
        at(NOW_US, 2).await.expect("appended").time_us,
        5000 + NOW_US
    );
    assert_eq!(
        at(9000 + NOW_US, 3).await.expect("appended").time_us,
        9000 + NOW_US
    );
    let batches = log.read(Lsn::FIRST, 10).await.expect("read");
    let times: Vec<u64> = batches
        .iter()
        .flat_map(|batch| &batch.records)
        .map(|record| record.time_us - NOW_US)
        .collect();
    assert_eq!(times, [5000, 5000, 9000]);
}

async fn impossible_drafts_are_refused(log: impl Log) {
    let empty = Draft {
        time_us: NOW_US,
        records: Vec::new(),
    };
    let refused = log.append(Lsn::FIRST, empty).await;
    assert!(matches!(refused, Err(Error::DraftEmpty)));
    let mut large = draft(1, 1);
    large.records[0].facts = vec![7; BATCH_BYTES_MAX];
    let refused = log.append(Lsn::FIRST, large.clone()).await;
    assert!(matches!(refused, Err(Error::DraftTooLarge { .. })));
    // The largest that is promised: 1 MiB less the envelope.
    large.records[0].facts.truncate(BATCH_BYTES_MAX - 100);
    log.append(Lsn::FIRST, large.clone())
        .await
        .expect("fits exactly");
    large.records[0].facts.push(7);
    let refused = log.append(Lsn::new(2), large).await;
    assert!(matches!(refused, Err(Error::DraftTooLarge { .. })));
    let many = Draft {
        time_us: NOW_US,
        records: vec![record(1, b"", None); (1 << 16) + 1],
    };
    let refused = log.append(Lsn::new(2), many).await;
    assert!(matches!(refused, Err(Error::DraftTooLarge { .. })));
}

/// Another writer on a distant log makes our position stale; the refusal says where to go on.
#[tokio::test(start_paused = true)]
async fn an_intruder_makes_positions_stale() {
    let log = distant(3);
    log.append(Lsn::FIRST, draft(1, 1)).await.expect("appended");
    log.intrude(&draft(2, 2)).expect("appended");
    match log.append(Lsn::new(2), draft(3, 1)).await {
        Err(Error::StalePosition { next, .. }) => {
            log.append(next, draft(3, 1)).await.expect("in order");
        }
        unexpected => panic!("{unexpected:?}"),
    }
}

/// The double is only worth something if answers really overtake each other.
#[tokio::test(start_paused = true)]
async fn a_distant_log_answers_out_of_order() {
    let log = distant(11);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut answers = Vec::new();
    for number in 0..20 {
        let appending = log.append(Lsn::new(number + 1), draft(number, 1));
        let order = Arc::clone(&order);
        answers.push(tokio::spawn(async move {
            appending.await.expect("appended");
            order.lock().expect("no panic").push(number);
        }));
    }
    for answer in answers {
        answer.await.expect("not cancelled");
    }
    let order = order.lock().expect("no panic").clone();
    assert_eq!(order.len(), 20);
    assert!(!order.is_sorted(), "no answer overtook another");
}
