// SPDX-License-Identifier: GPL-3.0-or-later
//! Who listens to what, and handing each message to those who do.
//!
//! A listener's own queue is bounded and not waited for. One whose queue is full loses messages;
//! when it takes some again it is told what changed meanwhile. How a connection works is not
//! known here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tablao_core::Timestamp;
use tokio::sync::watch;

use super::{payload::Message, telling::Interest, topic::Topic};

/// Topics that one listener may add. A page shows one job and one log at a time.
const TOPICS_MAX: usize = 1000;

/// One end of a connection.
pub(crate) trait Listener {
    /// Takes a message, or says that there is no room for it now.
    fn hear(&self, message: &Message) -> Result<(), NoRoom>;
}

/// The listener's queue is full, or its connection is closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// The listener has more topics than anybody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// A listener among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListenerId(u64);

struct Place<L> {
    listener: L,
    topics: BTreeSet<Topic>,
    /// Since when it loses messages.
    lost_since: Option<Timestamp>,
}

struct Inner<L> {
    next: u64,
    places: BTreeMap<ListenerId, Place<L>>,
    rooms: BTreeMap<Topic, BTreeSet<ListenerId>>,
}

/// All listeners and what they listen to.
pub(crate) struct Rooms<L> {
    inner: Mutex<Inner<L>>,
    /// How many listeners there are.
    count: watch::Sender<usize>,
    /// How many logs are listened to, so that writing one that nobody follows costs nothing.
    logs: AtomicUsize,
}

impl<L: Listener> Rooms<L> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                next: 1,
                places: BTreeMap::new(),
                rooms: BTreeMap::new(),
            }),
            count: watch::Sender::new(0),
            logs: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<L>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many listeners there are, and when that changes.
    pub(crate) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Takes a listener in. Everybody hears of the farm as a whole.
    pub(crate) fn enter(&self, listener: L) -> ListenerId {
        let mut inner = self.lock();
        let id = ListenerId(inner.next);
        inner.next += 1;
        let topics = BTreeSet::from([Topic::LifeCycle, Topic::Status]);
        for topic in &topics {
            inner.rooms.entry(*topic).or_default().insert(id);
        }
        let place = Place {
            listener,
            topics,
            lost_since: None,
        };
        inner.places.insert(id, place);
        self.count.send_replace(inner.places.len());
        id
    }

    /// Lets a listener go.
    pub(crate) fn leave(&self, id: ListenerId) {
        let mut inner = self.lock();
        if let Some(place) = inner.places.remove(&id) {
            for topic in place.topics {
                inner.leave_room(id, topic);
            }
        }
        self.note(&inner);
    }

    /// Adds topics to what a listener hears.
    pub(crate) fn subscribe(&self, id: ListenerId, topics: &[Topic]) -> Result<(), TooMany> {
        let mut inner = self.lock();
        // One that has left meanwhile hears nothing any more.
        let Some(place) = inner.places.get_mut(&id) else {
            return Ok(());
        };
        if place.topics.len() + topics.len() > TOPICS_MAX {
            return Err(TooMany);
        }
        place.topics.extend(topics);
        for topic in topics {
            inner.rooms.entry(*topic).or_default().insert(id);
        }
        self.note(&inner);
        Ok(())
    }

    /// Takes topics from what a listener hears.
    pub(crate) fn unsubscribe(&self, id: ListenerId, topics: &[Topic]) {
        let mut inner = self.lock();
        for topic in topics {
            if let Some(place) = inner.places.get_mut(&id) {
                place.topics.remove(topic);
            }
            inner.leave_room(id, *topic);
        }
        self.note(&inner);
    }

    fn note(&self, inner: &Inner<L>) {
        let is_log = |topic: &&Topic| matches!(topic, Topic::LogOf(_));
        let logs = inner.rooms.keys().filter(is_log).count();
        self.logs.store(logs, Ordering::Relaxed);
        self.count.send_if_modified(|count| {
            let is_news = *count != inner.places.len();
            *count = inner.places.len();
            is_news
        });
    }

    /// Whether anybody follows a log.
    pub(crate) fn hears_logs(&self) -> bool {
        self.logs.load(Ordering::Relaxed) > 0
    }

    /// What all of them together listen to.
    pub(crate) fn interest(&self) -> Interest {
        let inner = self.lock();
        let mut interest = Interest::default();
        for topic in inner.rooms.keys() {
            match topic {
                Topic::Jobs => interest.jobs = true,
                Topic::Workers => interest.workers = true,
                Topic::WorkerTags => interest.worker_tags = true,
                Topic::TasksOf(job) => {
                    interest.tasks_of.insert(*job);
                }
                // Told by others than those who follow the journal.
                Topic::LifeCycle
                | Topic::Status
                | Topic::LastRenderedOf(_)
                | Topic::LastRendered
                | Topic::LogOf(_) => {}
            }
        }
        interest
    }

    /// Hands a message to everybody in its room. `now` is for those who have no room for it.
    pub(crate) fn tell(&self, message: &Message, now: Timestamp) {
        let mut inner = self.lock();
        let Inner { places, rooms, .. } = &mut *inner;
        for id in rooms.get(&message.topic).into_iter().flatten() {
            let Some(place) = places.get_mut(id) else {
                continue;
            };
            // One that lost some is told of everything at once, later.
            if place.lost_since.is_none() && place.listener.hear(message) == Err(NoRoom) {
                place.lost_since = Some(now);
            }
        }
    }

    /// Since when somebody loses messages, if anybody does.
    pub(crate) fn lost_since(&self) -> Option<Timestamp> {
        let inner = self.lock();
        let lost = inner.places.values().filter_map(|place| place.lost_since);
        lost.min()
    }

    /// Tells those who lost messages what changed meanwhile, as far as they have room for it.
    pub(crate) fn catch_up(&self, changed: &[Message], now: Timestamp) {
        let mut inner = self.lock();
        let behind = (inner.places.values_mut()).filter(|place| place.lost_since.is_some());
        for place in behind {
            let mut theirs =
                (changed.iter()).filter(|message| place.topics.contains(&message.topic));
            let was_told = theirs.all(|message| place.listener.hear(message).is_ok());
            // What is told again does not hurt, and what changes from now on is not told yet.
            place.lost_since = (!was_told).then_some(place.lost_since.unwrap_or(now));
        }
    }
}

impl<L> Inner<L> {
    fn leave_room(&mut self, id: ListenerId, topic: Topic) {
        if let Some(room) = self.rooms.get_mut(&topic) {
            room.remove(&id);
            if room.is_empty() {
                self.rooms.remove(&topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tablao_core::{JobId, TaskId};

    use super::{
        super::payload::{FarmStatus, Payload},
        *,
    };
    use crate::clock::new_id;

    /// A listener with room for so many messages.
    #[derive(Clone)]
    struct Ear {
        heard: Rc<RefCell<Vec<Topic>>>,
        room: Rc<RefCell<usize>>,
    }

    impl Ear {
        fn new(room: usize) -> Self {
            Self {
                heard: Rc::default(),
                room: Rc::new(RefCell::new(room)),
            }
        }

        fn take(&self) -> Vec<Topic> {
            self.heard.take()
        }
    }

    impl Listener for Ear {
        fn hear(&self, message: &Message) -> Result<(), NoRoom> {
            let mut room = self.room.borrow_mut();
            *room = room.checked_sub(1).ok_or(NoRoom)?;
            self.heard.borrow_mut().push(message.topic);
            Ok(())
        }
    }

    fn about(topic: Topic) -> Message {
        let payload = Payload::FarmStatus(FarmStatus { status: "idle" });
        Message { topic, payload }
    }

    const NOON: Timestamp = Timestamp::from_micros(43_200_000_000);

    /// Whoever asked for one job must not be told of another, and whoever left of nothing.
    #[test]
    fn each_hears_what_it_asked_for() {
        let rooms = Rooms::new();
        let (job, task) = (JobId::new(new_id()), TaskId::new(new_id()));
        let (first, second) = (Ear::new(99), Ear::new(99));
        let first_id = rooms.enter(first.clone());
        let second_id = rooms.enter(second.clone());
        assert_eq!(*rooms.count().borrow(), 2);
        rooms.subscribe(first_id, &[Topic::TasksOf(job)]).unwrap();
        rooms.subscribe(second_id, &[Topic::LogOf(task)]).unwrap();
        assert!(rooms.hears_logs());
        let other = JobId::new(new_id());
        for topic in [
            Topic::Status,
            Topic::TasksOf(job),
            Topic::TasksOf(other),
            Topic::LogOf(task),
            Topic::Jobs,
        ] {
            rooms.tell(&about(topic), NOON);
        }
        assert_eq!(first.take(), [Topic::Status, Topic::TasksOf(job)]);
        assert_eq!(second.take(), [Topic::Status, Topic::LogOf(task)]);
        let interest = Interest {
            tasks_of: BTreeSet::from([job]),
            ..Interest::default()
        };
        assert_eq!(rooms.interest(), interest);

        rooms.unsubscribe(first_id, &[Topic::TasksOf(job)]);
        rooms.leave(second_id);
        rooms.tell(&about(Topic::TasksOf(job)), NOON);
        rooms.tell(&about(Topic::Status), NOON);
        assert_eq!(first.take(), [Topic::Status]);
        assert_eq!(second.take(), []);
        assert!(!rooms.hears_logs());
        assert_eq!(rooms.interest(), Interest::default());
        assert_eq!(*rooms.count().borrow(), 1);
    }

    /// A page that does not read must cost the others nothing, and must not show what was long
    /// ago once it reads again.
    #[test]
    fn one_that_does_not_read_loses_messages_and_catches_up() {
        let rooms = Rooms::new();
        let (slow, quick) = (Ear::new(1), Ear::new(99));
        for ear in [&slow, &quick] {
            let id = rooms.enter(ear.clone());
            rooms.subscribe(id, &[Topic::Jobs]).unwrap();
        }
        for _ in 0..3 {
            rooms.tell(&about(Topic::Jobs), NOON);
        }
        assert_eq!((slow.take().len(), quick.take().len()), (1, 3));
        assert_eq!(rooms.lost_since(), Some(NOON));

        // No room yet.
        let later = Timestamp::from_micros(NOON.micros() + 5);
        rooms.catch_up(&[about(Topic::Jobs), about(Topic::Workers)], later);
        assert_eq!(rooms.lost_since(), Some(NOON));
        slow.room.replace(99);
        rooms.tell(&about(Topic::Jobs), later);
        assert_eq!((slow.take().len(), quick.take().len()), (0, 1));
        rooms.catch_up(&[about(Topic::Jobs), about(Topic::Workers)], later);
        assert_eq!((slow.take(), quick.take()), (vec![Topic::Jobs], vec![]));
        assert_eq!(rooms.lost_since(), None);
        rooms.tell(&about(Topic::Jobs), later);
        assert_eq!((slow.take().len(), quick.take().len()), (1, 1));
    }

    /// A client that subscribes without end must not fill the Manager's memory.
    #[test]
    fn topics_of_one_listener_are_bounded() {
        let rooms = Rooms::new();
        let id = rooms.enter(Ear::new(0));
        let added = std::iter::repeat_with(|| Topic::TasksOf(JobId::new(new_id())))
            .take_while(|topic| rooms.subscribe(id, &[*topic]).is_ok());
        assert_eq!(added.count(), TOPICS_MAX - 2);
    }
}
