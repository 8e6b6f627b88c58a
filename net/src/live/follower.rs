// SPDX-License-Identifier: GPL-3.0-or-later
//! The one task that follows what becomes durable and tells those who listen.
//!
//! It runs only while somebody does. It reads the same feed as our own event stream, takes all
//! that is at hand at a time, and is never waited for: when it falls far behind it skips, and says
//! what changed meanwhile.

use std::{sync::Arc, time::Duration};

use tablao_core::{JobId, Timestamp, WorkerId};
use tokio::sync::broadcast;

use super::{
    Live, farm_status,
    payload::{FarmStatus, LastRenderedUpdate, Message, Payload},
    telling::{self, Interest, LastSeen, Telling},
    topic::Topic,
};
use crate::{
    api::farm::feed::{Feed, Told},
    clock,
    node::{Node, SharedNode},
};

/// Records that are taken at a time, at most.
const TAKEN_MAX: usize = 4096;
/// Records that are looked at while the model is held: some hundred microseconds.
const LOOKED_AT_ONCE: usize = 256;
/// Pause between two looks, so that small changes of a busy farm are told together.
const PAUSE: Duration = Duration::from_millis(25);
/// Pause before those who lost messages are tried again.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many records behind, what happened meanwhile is not told one by one.
const BEHIND_MAX: u64 = 50_000;

impl LastSeen for Node {
    fn last_seen(&self, worker: WorkerId) -> Option<Timestamp> {
        Self::last_seen(self, worker)
    }
}

/// Tells those who listen, for as long as the process runs.
pub(super) async fn run(node: SharedNode) {
    let live = Arc::clone(&node.live);
    let mut listeners = live.rooms.count();
    // Its receiver is the live part's own, so the channel stays open.
    while listeners
        .wait_for(|count| *count > 0 || live.has_broker())
        .await
        .is_ok()
    {
        let ended = tokio::select! {
            ended = follow(&node, &live) => ended,
            _ = listeners.wait_for(|count| *count == 0 && !live.has_broker()) => continue,
        };
        if let Err(why) = ended {
            tracing::warn!(%why, "those who listen to events miss some");
            tokio::time::sleep(PATIENCE).await;
        }
    }
}

struct Follower<'a> {
    node: &'a SharedNode,
    live: &'a Live,
    status: &'static str,
}

async fn follow(node: &SharedNode, live: &Live) -> Result<(), crate::api::farm::feed::Error> {
    let mut pictures = node.previews.subscribe();
    let mut feed = Feed::start(Arc::clone(node), None);
    let mut follower = Follower {
        node,
        live,
        // A broker hears of the first status; a client that connects later asks for it.
        status: live.first_status(|| farm_status::of(&node.sites())),
    };
    follower.look_at_status();
    loop {
        let loses = live.rooms.lost_since().is_some();
        let told = tokio::select! {
            told = feed.next() => told?,
            picture = pictures.recv() => {
                follower.picture(picture);
                continue;
            }
            () = tokio::time::sleep(PATIENCE), if loses => {
                follower.catch_up();
                continue;
            }
        };
        let mut taken = vec![told];
        while taken.len() < TAKEN_MAX {
            match feed.next_now().await? {
                Some(told) => taken.push(told),
                None => break,
            }
        }
        follower.tell(&taken);
        if let Some(since) = is_far_behind(&taken) {
            tracing::warn!("events come faster than they can be told; some are left out");
            feed = Feed::start(Arc::clone(node), None);
            follower.tell_since(since);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The moment up to which everything was told, where that is long ago.
fn is_far_behind(taken: &[Told]) -> Option<Timestamp> {
    let last = taken.last()?;
    let behind = last.view.at().get().saturating_sub(last.recorded.lsn.get());
    (behind > BEHIND_MAX).then_some(last.recorded.at)
}

impl Follower<'_> {
    fn send(&self, messages: &[Message]) {
        let now = clock::now();
        for message in messages {
            self.live.tell(message, now);
        }
    }

    fn interest(&self) -> Interest {
        if self.live.has_broker() {
            Interest {
                everything: true,
                ..Interest::default()
            }
        } else {
            self.live.rooms.interest()
        }
    }

    fn tell(&mut self, taken: &[Told]) {
        let interest = self.interest();
        let node = &**self.node;
        let mut status_may_differ = false;
        // What the control journal says is between Managers.
        let of_one_site =
            |a: &Told, b: &Told| !a.of_control && a.view.journal.id == b.view.journal.id;
        for of_site in taken.chunk_by(of_one_site) {
            let view = &of_site[0].view;
            if of_site[0].of_control {
                continue;
            }
            let mut telling = Telling::default();
            for some in of_site.chunks(LOOKED_AT_ONCE) {
                let model = view.read();
                for told in some {
                    telling.take(&told.recorded, &model, &interest, node);
                }
            }
            let messages = telling.finish(&view.read(), &interest, node);
            self.send(&messages);
            status_may_differ |= telling.status_may_differ;
        }
        if status_may_differ {
            self.look_at_status();
        }
    }

    fn look_at_status(&mut self) {
        let status = farm_status::of(&self.node.sites());
        if status != self.status {
            self.status = status;
            let payload = Payload::FarmStatus(FarmStatus { status });
            let topic = Topic::Status;
            self.send(&[Message { topic, payload }]);
        }
    }

    fn picture(&self, picture: Result<JobId, broadcast::error::RecvError>) {
        // Of pictures that came too fast the last one is told of, and that is the one to show.
        let Ok(job) = picture else {
            return;
        };
        let payload = Payload::LastRendered(LastRenderedUpdate::new(job));
        for topic in [Topic::LastRenderedOf(job), Topic::LastRendered] {
            let payload = payload.clone();
            self.send(&[Message { topic, payload }]);
        }
    }

    fn changed_since(&self, moment: Timestamp) -> Vec<Message> {
        let node = &**self.node;
        let sites = self.node.sites();
        let of_site = |site: &crate::view::View| telling::since(&site.read(), moment, node);
        sites.iter().flat_map(of_site).collect()
    }

    fn tell_since(&mut self, moment: Timestamp) {
        self.send(&self.changed_since(moment));
        self.look_at_status();
    }

    fn catch_up(&self) {
        if let Some(since) = self.live.rooms.lost_since() {
            let mut changed = self.changed_since(since);
            let status = self.status;
            let payload = Payload::FarmStatus(FarmStatus { status });
            let topic = Topic::Status;
            changed.push(Message { topic, payload });
            self.live.rooms.catch_up(&changed, clock::now());
        }
    }
}
