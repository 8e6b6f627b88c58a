// SPDX-License-Identifier: GPL-3.0-or-later
//! Asks for work that wait until there is some.
//!
//! A parked ask is ephemeral: it goes when its connection ends, and is answered with nothing when
//! its patience is over. Asks stand in classes: workers of one class may run the same tasks, so
//! that one of them without a task speaks for the others. Nothing here looks at all that wait but
//! [`Parked::sweep`], once a tick.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use tablao_core::{TagId, WorkerId, entity::Worker};
use tokio::sync::oneshot;

use super::{Ask, Reply};

/// An ask that waits.
pub(super) struct ParkedAsk {
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) until: Instant,
}

/// What decides which tasks a worker may run, but for jobs and tasks that bar it by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    /// It gets nothing at all, and says nothing about what others get.
    quarantined: bool,
    tags: Vec<TagId>,
    task_types: Vec<String>,
}

impl Class {
    pub(super) fn of(worker: Option<&Worker>) -> Self {
        worker.map_or_else(Self::default, |worker| Self {
            quarantined: worker.quarantined,
            tags: worker.tags.iter().copied().collect(),
            task_types: worker.task_types.iter().cloned().collect(),
        })
    }
}

struct Waiting {
    worker: WorkerId,
    class: Class,
    parked: ParkedAsk,
}

/// All that wait, in the order in which they came. A worker with several slots may wait several
/// times.
#[derive(Default)]
pub(super) struct Parked {
    asks: BTreeMap<u64, Waiting>,
    of_worker: BTreeSet<(WorkerId, u64)>,
    of_class: BTreeMap<Class, BTreeSet<u64>>,
    expiries: BTreeSet<(Instant, u64)>,
    next: u64,
}

impl Parked {
    pub(super) fn park(&mut self, worker: WorkerId, class: Class, parked: ParkedAsk) {
        self.next += 1;
        let place = self.next;
        self.of_worker.insert((worker, place));
        self.expiries.insert((parked.until, place));
        match self.of_class.get_mut(&class) {
            Some(places) => {
                places.insert(place);
            }
            None => {
                self.of_class.insert(class.clone(), BTreeSet::from([place]));
            }
        }
        let waiting = Waiting {
            worker,
            class,
            parked,
        };
        self.asks.insert(place, waiting);
    }

    fn take(&mut self, place: u64) -> Option<ParkedAsk> {
        let waiting = self.asks.remove(&place)?;
        self.of_worker.remove(&(waiting.worker, place));
        self.expiries.remove(&(waiting.parked.until, place));
        if let Some(places) = self.of_class.get_mut(&waiting.class) {
            places.remove(&place);
            if places.is_empty() {
                self.of_class.remove(&waiting.class);
            }
        }
        Some(waiting.parked)
    }

    /// Takes out all asks of a worker.
    pub(super) fn take_of(&mut self, worker: WorkerId) -> Vec<ParkedAsk> {
        let places: Vec<u64> = (self.of_worker.range((worker, 0)..=(worker, u64::MAX)))
            .map(|(_, place)| *place)
            .collect();
        places
            .into_iter()
            .filter_map(|place| self.take(place))
            .collect()
    }

    /// The classes that wait, the one with the oldest ask first.
    pub(super) fn classes(&self) -> Vec<Class> {
        let mut classes: Vec<_> = self.of_class.iter().collect();
        classes.sort_unstable_by_key(|(_, places)| places.first().copied());
        classes
            .into_iter()
            .map(|(class, _)| class.clone())
            .collect()
    }

    /// Takes out the oldest ask of a class that was parked before this place.
    pub(super) fn take_oldest(&mut self, class: &Class, before: u64) -> Option<ParkedAsk> {
        let place = *self.of_class.get(class)?.first()?;
        if place >= before {
            return None;
        }
        self.take(place)
    }

    /// The place that the next ask gets.
    pub(super) fn next_place(&self) -> u64 {
        self.next + 1
    }

    /// Takes out what has waited long enough.
    pub(super) fn take_expired(&mut self, at: Instant) -> Vec<ParkedAsk> {
        let mut expired = Vec::new();
        while let Some(&(until, place)) = self.expiries.first()
            && until <= at
        {
            expired.extend(self.take(place));
        }
        expired
    }

    /// Lets go of asks whose connections ended.
    pub(super) fn sweep(&mut self) {
        let gone: Vec<u64> = (self.asks.iter())
            .filter(|(_, waiting)| waiting.parked.reply.is_closed())
            .map(|(place, _)| *place)
            .collect();
        for place in gone {
            self.take(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// When the first of them has waited long enough.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tablao_core::Request;
    use uuid::Uuid;

    use super::*;

    fn worker(number: u128) -> WorkerId {
        WorkerId::new(Uuid::from_u128(number))
    }

    fn class(task_type: &str) -> Class {
        Class {
            quarantined: false,
            tags: Vec::new(),
            task_types: vec![task_type.to_owned()],
        }
    }

    /// An ask of a worker, and the connection that waits for its answer.
    fn ask(number: u128, until: Instant) -> (ParkedAsk, oneshot::Receiver<Reply>) {
        let worker = worker(number);
        let (reply, connection) = oneshot::channel();
        let ask = Ask::system(Request::AskForTask { worker });
        (ParkedAsk { ask, reply, until }, connection)
    }

    fn asker(parked: &ParkedAsk) -> WorkerId {
        match &parked.ask.request {
            Request::AskForTask { worker } => *worker,
            other => panic!("{other:?}"),
        }
    }

    /// Whoever waits longest is served first, within its class, and nobody is tried twice in one
    /// round: what is parked during the round stands behind its end.
    #[test]
    fn the_oldest_of_a_class_comes_first_and_once_a_round() {
        let (now, mut parked, mut connections) = (Instant::now(), Parked::default(), Vec::new());
        for (number, class) in [(3, class("a")), (1, class("b")), (2, class("a"))] {
            let (ask, connection) = ask(number, now);
            connections.push(connection);
            parked.park(worker(number), class, ask);
        }
        assert_eq!(parked.classes(), [class("a"), class("b")]);
        let end = parked.next_place();
        let first = parked.take_oldest(&class("a"), end).unwrap();
        assert_eq!(asker(&first), worker(3));
        parked.park(worker(3), class("a"), first);
        let second = parked.take_oldest(&class("a"), end).unwrap();
        assert_eq!(asker(&second), worker(2));
        assert!(parked.take_oldest(&class("a"), end).is_none());
        assert_eq!(parked.take_of(worker(3)).len(), 1);
        assert_eq!(parked.classes(), [class("b")]);
    }

    /// An ask leaves when its patience or its connection ends, and leaves nothing behind.
    #[test]
    fn asks_end_with_their_patience_or_their_connection() {
        let (now, mut parked) = (Instant::now(), Parked::default());
        let later = now + Duration::from_secs(1);
        let (soon, _waits) = ask(1, now);
        let (late, hangs_up) = ask(2, later);
        parked.park(worker(1), class("a"), soon);
        parked.park(worker(2), class("a"), late);
        assert_eq!(parked.next_expiry(), Some(now));
        let expired = parked.take_expired(now);
        assert_eq!(expired.iter().map(asker).collect::<Vec<_>>(), [worker(1)]);
        parked.sweep();
        assert!(!parked.is_empty(), "its connection still waits");
        drop(hangs_up);
        parked.sweep();
        assert!(parked.is_empty() && parked.next_expiry().is_none());
        assert!(parked.classes().is_empty() && parked.take_of(worker(2)).is_empty());
    }
}
