// SPDX-License-Identifier: GPL-3.0-or-later
//! Where drafts wait for the writer thread: one lock under which each gets its position.
//!
//! The writer takes everything that waits in one go, and is woken only if it sleeps, so a busy
//! queue costs a caller one short lock and no system call. It knows nothing of disks.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::encode::Measured;
use crate::error::Error;
use crate::position::Lsn;
use crate::record::Draft;

/// How many drafts may wait. A sync takes about as long as the engine needs for this many
/// decisions; more would only lengthen the queue in which a caller waits.
const WAITING_DRAFTS_MAX: usize = 1024;
/// How many bytes of drafts one sync covers. Larger groups would save no syncs worth having and
/// would make the first caller of the group wait for the bytes of all others.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// A shorter sleep than this takes as long as this one: timers are not finer.
const SLEEP_MIN: Duration = Duration::from_micros(200);

/// A draft that has its place and is not durable yet.
pub(crate) struct Waiting<T> {
    pub(crate) first: Lsn,
    pub(crate) time_us: u64,
    pub(crate) measured: Measured,
    pub(crate) draft: Draft,
    pub(crate) token: T,
}

/// What the writer shall do after what it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    /// Nothing more comes: leave the clean mark.
    Close,
    /// Every handle is gone without a word: there will be no clean mark.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// Nothing more is let in.
    Shut(Then),
    /// There is no writer behind it any more.
    WriterGone,
}

struct State<T> {
    waiting: Vec<Waiting<T>>,
    bytes: usize,
    next: Lsn,
    time_us: u64,
    door: Door,
    /// The writer sleeps until so many drafts wait; 0 while it is awake.
    wake_at: usize,
    callers_sleep: usize,
}

/// The queue before a writer thread.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    emptied: Condvar,
}

impl<T> Queue<T> {
    /// An empty queue whose first draft goes to `next`.
    pub(crate) fn new(next: Lsn, time_us: u64) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Vec::new(),
                bytes: 0,
                next,
                time_us,
                door: Door::Open,
                wake_at: 0,
                callers_sleep: 0,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the next draft would go.
    pub(crate) fn next(&self) -> Lsn {
        self.state().next
    }

    /// Gives a draft its place, waiting while the queue is full. Returns its first position and
    /// its clamped time.
    pub(crate) fn push(
        &self,
        expected_first: Option<Lsn>,
        measured: Measured,
        draft: Draft,
        token: T,
    ) -> Result<(Lsn, u64), Error> {
        let mut state = self.state();
        while state.door == Door::Open && state.waiting.len() >= WAITING_DRAFTS_MAX {
            state.callers_sleep += 1;
            state = self
                .emptied
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.callers_sleep -= 1;
        }
        match state.door {
            Door::Open => {}
            Door::Shut(_) => return Err(Error::Closed),
            Door::WriterGone => return Err(Error::WriterGone),
        }
        let first = state.next;
        if let Some(expected) = expected_first
            && expected != first
        {
            return Err(Error::StalePosition {
                expected,
                next: first,
            });
        }
        let time_us = draft.time_us.max(state.time_us);
        state.next = first.plus(draft.records.len() as u64);
        state.time_us = time_us;
        state.bytes += measured.bytes;
        state.waiting.push(Waiting {
            first,
            time_us,
            measured,
            draft,
            token,
        });
        let wake = state.wake_at > 0 && state.waiting.len() >= state.wake_at;
        if wake {
            state.wake_at = 0;
        }
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok((first, time_us))
    }

    /// Lets nothing more in; `then` is what the writer does when it has taken what waits. False
    /// if that was done before.
    pub(crate) fn shut(&self, then: Then) -> bool {
        let mut state = self.state();
        if state.door != Door::Open {
            return false;
        }
        state.door = Door::Shut(then);
        drop(state);
        self.filled.notify_one();
        self.emptied.notify_all();
        true
    }

    /// The writer has ended. Returns what still waited.
    pub(crate) fn writer_ended(&self) -> Vec<Waiting<T>> {
        let mut state = self.state();
        if !matches!(state.door, Door::Shut(_)) {
            state.door = Door::WriterGone;
        }
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.emptied.notify_all();
        left
    }

    /// How many drafts wait now.
    pub(crate) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Gives callers that were just answered the chance to come back: waits until `wanted` drafts
    /// wait, or for so long. True if they came.
    pub(crate) fn gather(&self, wanted: usize, patience: Duration) -> bool {
        let wanted = wanted.min(WAITING_DRAFTS_MAX);
        let start = Instant::now();
        if patience < SLEEP_MIN {
            while self.len() < wanted {
                if start.elapsed() >= patience {
                    return false;
                }
                std::thread::yield_now();
            }
            return true;
        }
        let mut state = self.state();
        while state.waiting.len() < wanted && state.door == Door::Open {
            let Some(left) = patience.checked_sub(start.elapsed()) else {
                break;
            };
            state.wake_at = wanted;
            state = self
                .filled
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.wake_at = 0;
        state.waiting.len() >= wanted
    }

    /// Waits until something is there and takes it, up to what one sync may cover. `group` has to
    /// be empty; its allocation becomes the queue's.
    pub(crate) fn take(&self, group: &mut Vec<Waiting<T>>) -> Then {
        let mut state = self.state();
        while state.waiting.is_empty() && state.door == Door::Open {
            state.wake_at = 1;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.wake_at = 0;
        if state.bytes <= GROUP_BYTES_MAX {
            std::mem::swap(&mut state.waiting, group);
            state.bytes = 0;
        } else {
            let mut bytes = 0;
            let taken = state
                .waiting
                .iter()
                .take_while(|waiting| {
                    let fits = bytes < GROUP_BYTES_MAX;
                    bytes += waiting.measured.bytes;
                    fits
                })
                .count();
            group.extend(state.waiting.drain(..taken));
            let taken_bytes: usize = group.iter().map(|waiting| waiting.measured.bytes).sum();
            state.bytes -= taken_bytes;
        }
        let then = match state.door {
            Door::Shut(then) if state.waiting.is_empty() => then,
            _ => Then::GoOn,
        };
        let wake = state.callers_sleep > 0;
        drop(state);
        if wake {
            self.emptied.notify_all();
        }
        then
    }
}
