// SPDX-License-Identifier: GPL-3.0-or-later
//! Flamenco's events: Socket.IO for its pages, MQTT for a studio's own programs.
//!
//! What is told comes from durable records (`follower.rs`, `telling.rs`); text of task logs,
//! pictures and the Manager's own start and end are told as they come. Nobody who listens, on
//! either way, is ever waited for.

mod farm_status;
mod follower;
mod mqtt;
mod mqtt_queue;
mod payload;
mod rooms;
mod socketio;
mod telling;
mod topic;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use socketioxide::extract::SocketRef;
use tablao_core::{TaskId, Timestamp};
use tokio::task::AbortHandle;

use self::{
    mqtt_queue::Queue,
    payload::{LifeCycle, Message, Payload, TaskLogUpdate},
    rooms::Rooms,
    topic::Topic,
};
use crate::{clock, config::Mqtt, node::SharedNode};

pub(crate) use farm_status::of as farm_status;
pub(crate) use mqtt::check as check_broker;
pub(crate) use socketio::router;

/// At the end, those who listen get this long to take what was said last.
const FAREWELL: Duration = Duration::from_millis(500);

/// What listens to a node.
pub struct Live {
    rooms: Rooms<SocketRef>,
    /// What waits for the broker, where one is configured.
    broker: Option<Arc<Queue>>,
    /// A first status was told to the broker.
    status_told: AtomicBool,
}

impl Live {
    /// Nobody listens yet.
    pub fn new(mqtt: &Mqtt) -> Arc<Self> {
        Arc::new(Self {
            rooms: Rooms::new(),
            broker: (mqtt.enabled && !mqtt.broker.is_empty()).then(|| Arc::new(Queue::new())),
            status_told: AtomicBool::new(false),
        })
    }

    fn has_broker(&self) -> bool {
        self.broker.is_some()
    }

    /// The status that was told before the first look.
    fn first_status(&self, present: impl Fn() -> &'static str) -> &'static str {
        if self.has_broker() && !self.status_told.swap(true, Ordering::Relaxed) {
            farm_status::STARTING
        } else {
            present()
        }
    }

    fn tell(&self, message: &Message, now: Timestamp) {
        self.rooms.tell(message, now);
        // Logs are for those who look at one task, not for everybody's broker.
        if let Some(broker) = &self.broker
            && !matches!(message.topic, Topic::LogOf(_))
        {
            broker.put(message);
        }
    }

    /// Tells those who follow a task's log what was just written to it.
    pub fn log(&self, task: TaskId, text: &str) {
        if text.is_empty() || !self.rooms.hears_logs() {
            return;
        }
        let payload = Payload::TaskLog(TaskLogUpdate {
            task_id: task,
            log: text.to_owned(),
        });
        let topic = Topic::LogOf(task);
        self.tell(&Message { topic, payload }, clock::now());
    }

    fn life_cycle(&self, kind: &'static str) {
        let payload = Payload::LifeCycle(LifeCycle { kind });
        let topic = Topic::LifeCycle;
        self.tell(&Message { topic, payload }, clock::now());
    }
}

/// The tasks that tell; they end with [`Tasks::end`].
pub struct Tasks {
    node: SharedNode,
    running: Vec<AbortHandle>,
}

/// Begins to tell. On a runtime.
pub fn start(node: &SharedNode) -> Tasks {
    let live = &node.live;
    live.life_cycle("manager-startup");
    let mut running = vec![tokio::spawn(follower::run(Arc::clone(node))).abort_handle()];
    if let Some(queue) = &live.broker {
        let mqtt = mqtt::run(node.in_force().config.mqtt.clone(), Arc::clone(queue));
        running.push(tokio::spawn(mqtt).abort_handle());
    }
    Tasks {
        node: Arc::clone(node),
        running,
    }
}

impl Tasks {
    /// Says goodbye, waits a moment where somebody listens, and ends.
    pub async fn end(self) {
        let live = &self.node.live;
        live.life_cycle("manager-shutdown");
        if *live.rooms.count().borrow() > 0 {
            tokio::time::sleep(FAREWELL).await;
        } else if let Some(broker) = &live.broker {
            // If it takes longer the broker does not hear of it.
            let _ = tokio::time::timeout(FAREWELL, broker.emptied()).await;
        }
        for task in self.running {
            task.abort();
        }
    }
}
