// SPDX-License-Identifier: GPL-3.0-or-later
//! What waits for the broker: a bounded queue that forgets the oldest first and counts them.
//!
//! A message leaves it when the broker has acknowledged it, so a connection that breaks loses
//! none. No connection is known here.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::payload::Message;

/// Messages that may wait: a minute of a busy farm, some megabytes.
const WAITING_MAX: usize = 10_000;

/// A message as the broker gets it; the prefix of its topic is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
struct Sent {
    letter: Letter,
    /// The number under which it went over the connection.
    packet: Option<u16>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Letter>,
    /// Handed to the connection and not acknowledged, oldest first.
    sent: VecDeque<Sent>,
    dropped: u64,
}

/// The queue. One puts in, one connection at a time takes out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// There may be something to send.
    news: Notify,
    /// Something was acknowledged.
    acknowledged: Notify,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end.
    pub(super) fn put(&self, message: &Message) {
        let letter = Letter {
            topic: message.topic.to_string(),
            body: serde_json::to_vec(&message.payload).expect("payloads are JSON"),
        };
        let mut inner = self.lock();
        if inner.waiting.len() + inner.sent.len() >= WAITING_MAX {
            // What is on its way is left alone.
            inner.waiting.pop_front();
            inner.dropped += 1;
        }
        inner.waiting.push_back(letter);
        drop(inner);
        self.news.notify_one();
    }

    /// The next message; waits for one, and for its turn among those on their way.
    pub(super) async fn next(&self, sent_max: usize) -> Letter {
        loop {
            {
                let mut inner = self.lock();
                if inner.sent.len() < sent_max
                    && let Some(letter) = inner.waiting.pop_front()
                {
                    inner.sent.push_back(Sent {
                        letter: letter.clone(),
                        packet: None,
                    });
                    return letter;
                }
            }
            tokio::select! {
                () = self.news.notified() => {}
                () = self.acknowledged.notified() => {}
            }
        }
    }

    /// The oldest message that has no number yet went out under this one.
    pub(super) fn went_as(&self, packet: u16) {
        let mut inner = self.lock();
        if let Some(sent) = (inner.sent.iter_mut()).find(|sent| sent.packet.is_none()) {
            sent.packet = Some(packet);
        }
    }

    /// The broker has it.
    pub(super) fn acknowledge(&self, packet: u16) {
        let mut inner = self.lock();
        if let Some(place) = (inner.sent.iter()).position(|sent| sent.packet == Some(packet)) {
            inner.sent.remove(place);
        }
        drop(inner);
        self.acknowledged.notify_waiters();
        self.news.notify_one();
    }

    /// The connection broke: what was not acknowledged goes again, in its order.
    pub(super) fn take_back(&self) {
        let mut inner = self.lock();
        while let Some(sent) = inner.sent.pop_back() {
            inner.waiting.push_front(sent.letter);
        }
    }

    /// How many messages were forgotten since the last time that this was asked.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }

    /// Resolves when the broker has everything.
    pub(super) async fn emptied(&self) {
        loop {
            let acknowledged = self.acknowledged.notified();
            tokio::pin!(acknowledged);
            acknowledged.as_mut().enable();
            {
                let inner = self.lock();
                if inner.waiting.is_empty() && inner.sent.is_empty() {
                    return;
                }
            }
            acknowledged.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            payload::{LifeCycle, Payload},
            topic::Topic,
        },
        *,
    };

    fn put(queue: &Queue, topics: impl IntoIterator<Item = Topic>) {
        for topic in topics {
            let payload = Payload::LifeCycle(LifeCycle {
                kind: "manager-startup",
            });
            queue.put(&Message { topic, payload });
        }
    }

    /// A message that the broker did not acknowledge is sent again after a broken connection, in
    /// its order, and one that it has is not.
    #[tokio::test]
    async fn what_is_not_acknowledged_goes_again() {
        let queue = Queue::new();
        put(&queue, [Topic::Jobs, Topic::Workers, Topic::Status]);
        assert_eq!(queue.next(2).await.topic, "/jobs");
        assert_eq!(queue.next(2).await.topic, "/workers");
        queue.went_as(7);
        queue.went_as(8);
        queue.acknowledge(8);
        assert_eq!(queue.next(2).await.topic, "/status", "there is room again");
        queue.take_back();
        assert_eq!(queue.next(2).await.topic, "/jobs");
        assert_eq!(queue.next(2).await.topic, "/status");
        queue.went_as(1);
        queue.went_as(2);
        queue.acknowledge(1);
        queue.acknowledge(2);
        queue.emptied().await;
        assert_eq!(queue.take_dropped(), 0);
    }

    /// A broker that is away for a night must not fill the Manager's memory; the newest stay, and
    /// how many went is told once.
    #[tokio::test]
    async fn a_full_queue_forgets_the_oldest_and_counts() {
        let queue = Queue::new();
        put(&queue, [Topic::Status, Topic::Workers]);
        put(&queue, std::iter::repeat_n(Topic::Jobs, WAITING_MAX));
        assert_eq!(queue.next(1).await.topic, "/jobs");
        assert_eq!(queue.take_dropped(), 2);
        assert_eq!(queue.take_dropped(), 0);
    }
}
