// SPDX-License-Identifier: GPL-3.0-or-later
//! The outbox against a vector: entries put, done and dropped in any order, with kills and orderly
//! ends in between.
//!
//! The vector holds what must be there. What was marked as done and not synced since may come back
//! after a kill, because saying something twice is allowed; nothing else may.

use proptest::prelude::*;

use super::{tests::copy_folder, *};
use crate::wire::UpdateExtension;

#[derive(Debug, Clone)]
enum Step {
    /// A report of this attempt, acted on when it is durable.
    Put(u8, u16),
    /// The same, without waiting.
    PutLater(u8),
    /// An entry of another kind.
    PutStaging,
    /// Marks one of what is open, or several.
    Done(Vec<prop::sample::Index>),
    DropAttempt(u8),
    /// The process is gone in the middle of whatever it writes.
    Kill,
    /// An orderly end.
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..3, 0u16..2_000).prop_map(|(attempt, length)| Step::Put(attempt, length)),
        2 => (0u8..3).prop_map(Step::PutLater),
        2 => Just(Step::PutStaging),
        4 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Step::Done),
        1 => (0u8..3).prop_map(Step::DropAttempt),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..40)
}

fn report(attempt: u8, text: String) -> Entry {
    Entry::Update {
        task: "task".into(),
        update: TaskUpdate {
            log: Some(text),
            tablao: Some(UpdateExtension {
                attempt: attempt.to_string(),
                ..UpdateExtension::default()
            }),
            ..TaskUpdate::default()
        },
    }
}

/// An outbox, and the vector that says what it must hold.
struct Pair {
    outbox: Outbox,
    open: Vec<(Seq, Entry)>,
    /// Marked as done, and the mark not known to be on disk.
    marked: Vec<(Seq, Entry)>,
    /// Put without waiting: a kill may take these, from the end.
    unsynced: Vec<Seq>,
    last: Seq,
}

impl Pair {
    fn found(&self) -> Vec<(Seq, Entry)> {
        self.outbox
            .shared
            .state
            .lock()
            .unwrap()
            .open()
            .into_iter()
            .collect()
    }

    fn put(&mut self, seq: Seq, entry: Entry) {
        assert!(seq > self.last, "numbers rise and never repeat");
        self.last = seq;
        self.open.push((seq, entry));
    }

    /// One thread writes in order, so everything that was ordered before is on disk as well.
    fn synced(&mut self) {
        self.marked.clear();
        self.unsynced.clear();
    }

    fn mark(&mut self, seqs: &[Seq]) {
        let (gone, kept) = self.open.drain(..).partition(|(seq, _)| seqs.contains(seq));
        self.open = kept;
        self.marked.extend::<Vec<_>>(gone);
    }

    /// What came back after a kill is what must be there, and perhaps what may be.
    fn take_up(&mut self) -> Result<(), TestCaseError> {
        let found = self.found();
        let lost = self.open.iter().filter(|known| !found.contains(known));
        for (seq, _) in lost.clone() {
            prop_assert!(self.unsynced.contains(seq), "{seq} was durable and is gone");
        }
        let first_lost = lost.map(|(seq, _)| *seq).min().unwrap_or(Seq::MAX);
        // A number that was lost with its entry may be given again.
        self.last = self.last.min(first_lost - 1);
        for known in &found {
            let expected = self.open.contains(known) || self.marked.contains(known);
            prop_assert!(expected, "{} came out of nowhere", known.0);
            prop_assert!(
                known.0 < first_lost,
                "{} is there and {first_lost} is not",
                known.0
            );
        }
        self.open = found;
        self.synced();
        Ok(())
    }
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let folder = |number: usize| dir.path().join(number.to_string());
    let mut place = folder(0);
    let mut pair = Pair {
        outbox: Outbox::open(&place).unwrap(),
        open: Vec::new(),
        marked: Vec::new(),
        unsynced: Vec::new(),
        last: 0,
    };
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Put(attempt, length) => {
                let entry = report(attempt, "x".repeat(usize::from(length)));
                let seq = pair.outbox.put(entry.clone()).await.unwrap();
                pair.put(seq, entry);
                pair.synced();
                prop_assert_eq!(&pair.found(), &pair.open);
            }
            Step::PutLater(attempt) => {
                let entry = report(attempt, "later".into());
                let seq = pair.outbox.put_later(entry.clone()).unwrap();
                pair.put(seq, entry);
                pair.unsynced.push(seq);
            }
            Step::PutStaging => {
                let dir = format!("staging-{number}").into();
                let entry = Entry::Staging { dir };
                let seq = pair.outbox.put(entry.clone()).await.unwrap();
                pair.put(seq, entry);
                pair.synced();
            }
            Step::Done(picks) => {
                // Only what is durable is acted on, and so only that is ever done.
                let found = pair.found();
                if found.is_empty() {
                    continue;
                }
                let seqs: Vec<Seq> = picks.iter().map(|pick| pick.get(&found).0).collect();
                pair.outbox.done(seqs.clone());
                pair.mark(&seqs);
            }
            Step::DropAttempt(attempt) => {
                // Reports still on their way are not dropped: wait for them first.
                let seq = pair.outbox.put(report(9, String::new())).await.unwrap();
                pair.put(seq, report(9, String::new()));
                pair.synced();
                pair.outbox.drop_attempt(&attempt.to_string());
                let of_attempt = |entry: &Entry| match entry {
                    Entry::Update { update, .. } => attempt_of(update) == attempt.to_string(),
                    Entry::Publishing(_) | Entry::Staging { .. } | Entry::Thumbnail(_) => false,
                };
                let entries = pair.open.iter().filter(|(_, entry)| of_attempt(entry));
                let seqs: Vec<Seq> = entries.map(|(seq, _)| *seq).collect();
                pair.mark(&seqs);
                prop_assert_eq!(&pair.found(), &pair.open);
            }
            Step::Kill => {
                // A copy of an open outbox is what a kill leaves: no orderly end, and perhaps half
                // a write.
                let next = folder(number + 1);
                copy_folder(&place, &next);
                place = next;
                pair.outbox = Outbox::open(&place).unwrap();
                pair.take_up()?;
            }
            Step::Close => {
                drop(pair.outbox);
                pair.outbox = Outbox::open(&place).unwrap();
                // An orderly end writes down everything, marks included.
                pair.synced();
                prop_assert_eq!(&pair.found(), &pair.open);
            }
        }
        let bytes = pair.outbox.log_bytes();
        let texts = pair.open.iter().map(|(_, entry)| match entry {
            Entry::Update { update, .. } => update.log.as_ref().map_or(0, String::len),
            Entry::Publishing(_) | Entry::Staging { .. } | Entry::Thumbnail(_) => 0,
        });
        prop_assert_eq!(
            bytes,
            texts.sum::<usize>(),
            "log text that is still to be told"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("TABLAO_SOAK").is_some() { 5_000 } else { 100 }))]

    /// Protects what the Worker has to say: nothing durable is lost, nothing comes out of nowhere,
    /// order and numbers hold, whatever is put, done, killed and opened again.
    #[test]
    fn the_outbox_is_a_vector_that_survives(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
