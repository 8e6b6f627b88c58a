// SPDX-License-Identifier: GPL-3.0-or-later
//! What workers say about the tasks that they run: words that change by the second, in memory only.
//!
//! They are no record, so they are gone with the process, and with the attempt. What the last
//! words of an attempt were is in the journal, with its end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tablao_core::{AttemptId, TaskId};

/// Tasks kept before those whose attempt is over are looked for.
const KEPT_MIN: usize = 1024;

/// Words of live attempts.
#[derive(Debug, Default)]
pub struct Activities {
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    of: BTreeMap<TaskId, (AttemptId, String)>,
    /// How many there were when the last dead ones went.
    kept: usize,
}

impl Activities {
    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker said this about its attempt. `is_live` tells which attempts still are: those that
    /// ended without a word to us go when there are many.
    pub(crate) fn note(
        &self,
        task: TaskId,
        attempt: AttemptId,
        words: String,
        is_live: impl Fn(AttemptId) -> bool,
    ) {
        let mut all = self.words();
        all.of.insert(task, (attempt, words));
        if all.of.len() > KEPT_MIN.max(2 * all.kept) {
            all.of.retain(|_, (attempt, _)| is_live(*attempt));
            all.kept = all.of.len();
        }
    }

    /// The attempt is over, and said so.
    pub(crate) fn forget(&self, task: TaskId) {
        self.words().of.remove(&task);
    }

    /// What was said last about this attempt.
    pub(crate) fn of(&self, task: TaskId, attempt: AttemptId) -> Option<String> {
        let all = self.words();
        let (said_of, words) = all.of.get(&task)?;
        (*said_of == attempt).then(|| words.clone())
    }
}

#[cfg(test)]
mod tests {
    use tablao_core::Lsn;

    use super::*;

    fn attempt(lsn: u64) -> AttemptId {
        AttemptId {
            job_epoch: 1,
            incarnation: 1,
            lsn: Lsn::new(lsn),
        }
    }

    /// Words are of one attempt only, and a farm that runs for years does not gather those of
    /// attempts that lapsed.
    #[test]
    fn words_live_as_long_as_their_attempt() {
        let all = Activities::default();
        let task = |number: u128| TaskId::new(uuid::Uuid::from_u128(number));
        all.note(task(1), attempt(1), "Rendering".to_owned(), |_| true);
        assert_eq!(all.of(task(1), attempt(1)).as_deref(), Some("Rendering"));
        assert_eq!(all.of(task(1), attempt(2)), None);
        all.forget(task(1));
        assert_eq!(all.of(task(1), attempt(1)), None);
        for number in 0..10_000 {
            let live = |attempt: AttemptId| attempt.lsn.get().is_multiple_of(100);
            all.note(task(number.into()), attempt(number), String::new(), live);
        }
        assert!(all.words().of.len() <= KEPT_MIN + 100);
        assert_eq!(all.of(task(100), attempt(100)).as_deref(), Some(""));
    }
}
