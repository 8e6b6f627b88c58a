// SPDX-License-Identifier: GPL-3.0-or-later
//! `/socket.io/`: Socket.IO as clients of version 2 speak it, over WebSocket or polling.
//!
//! The protocol is the library's. Here connections enter and leave the rooms, and ask for topics.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use axum::Router;
use serde::Deserialize;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use uuid::Uuid;

use super::{
    Live,
    payload::Message,
    rooms::{Listener, ListenerId, NoRoom},
    topic::Topic,
};
use crate::node::SharedNode;

/// Messages that wait for one client. More is a client that does not read.
const WAITING_MAX: usize = 500;
/// Flamenco's numbers: its clients say this often that they live.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(60);
/// Clients send subscriptions, a few hundred bytes each.
const INCOMING_BYTES_MAX: u64 = 64 << 10;

/// Routes of Socket.IO.
pub(crate) fn router(node: &SharedNode) -> Router<SharedNode> {
    let (service, io) = SocketIo::builder()
        .req_path("/socket.io")
        .max_buffer_size(WAITING_MAX)
        .max_payload(INCOMING_BYTES_MAX)
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .build_svc();
    // The node outlives its connections, and must not be held by the handlers of its own router.
    let live = Arc::downgrade(&node.live);
    io.ns("/", async move |socket: SocketRef| enter(socket, &live));
    Router::new()
        .route_service("/socket.io/", service.clone())
        .route_service("/socket.io", service)
}

impl Listener for SocketRef {
    fn hear(&self, message: &Message) -> Result<(), NoRoom> {
        // One that is closed leaves by its own handler.
        self.emit(message.topic.event(), &message.payload)
            .map_err(|_| NoRoom)
    }
}

fn enter(socket: SocketRef, live: &Weak<Live>) {
    let Some(strong) = live.upgrade() else {
        return;
    };
    let id = strong.rooms.enter(socket.clone());
    let of_subscription = Weak::clone(live);
    socket.on(
        "/subscription",
        async move |Data(wanted): Data<serde_json::Value>, ack: AckSender| {
            let answer = match of_subscription.upgrade() {
                Some(live) => subscription(&live, id, wanted),
                None => Err("the Manager is stopping".to_owned()),
            };
            let answer = answer.err().unwrap_or_else(|| "ok".to_owned());
            // A client that is gone does not want its answer.
            let _ = ack.send(&answer);
        },
    );
    let of_end = Weak::clone(live);
    socket.on_disconnect(async move || {
        if let Some(live) = of_end.upgrade() {
            live.rooms.leave(id);
        }
    });
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Subscribe,
    Unsubscribe,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    AllJobs,
    AllWorkers,
    Job,
    #[serde(rename = "tasklog")]
    TaskLog,
    AllLastRendered,
    AllWorkerTags,
}

#[derive(Deserialize)]
struct Subscription {
    op: Operation,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    uuid: String,
}

impl Subscription {
    fn topics(&self) -> Result<Vec<Topic>, String> {
        let id = || {
            (self.uuid.parse::<Uuid>())
                .map_err(|_| format!("invalid UUID {:?}, subscription not changed", self.uuid))
        };
        Ok(match self.kind {
            Kind::AllJobs => vec![Topic::Jobs],
            Kind::AllWorkers => vec![Topic::Workers],
            Kind::AllLastRendered => vec![Topic::LastRendered],
            Kind::AllWorkerTags => vec![Topic::WorkerTags],
            Kind::Job => {
                let job = tablao_core::JobId::new(id()?);
                vec![Topic::TasksOf(job), Topic::LastRenderedOf(job)]
            }
            Kind::TaskLog => vec![Topic::LogOf(tablao_core::TaskId::new(id()?))],
        })
    }
}

fn subscription(live: &Live, id: ListenerId, wanted: serde_json::Value) -> Result<(), String> {
    let wanted: Subscription =
        serde_json::from_value(wanted).map_err(|error| format!("not a subscription: {error}"))?;
    let topics = wanted.topics()?;
    match wanted.op {
        Operation::Subscribe => (live.rooms.subscribe(id, &topics))
            .map_err(|_| "too many subscriptions; unsubscribe from some first".to_owned()),
        Operation::Unsubscribe => {
            live.rooms.unsubscribe(id, &topics);
            Ok(())
        }
    }
}
