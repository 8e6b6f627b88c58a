// SPDX-License-Identifier: GPL-3.0-or-later
//! Letting Workers find this Manager on the local network: UPnP/SSDP as Flamenco's Workers search,
//! and DNS-SD beside it.
//!
//! A Manager that only its own machine can reach tells nobody. Switched off, there is no socket
//! and no thread. How a Worker searches is the agent's.

mod addresses;
mod description;
mod dns_sd;
mod responder;
mod ssdp;

use std::{net::SocketAddr, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};

use crate::node::SharedNode;

pub(crate) use description::router;

/// What is told of a Manager.
#[derive(Clone, Debug)]
struct Identity {
    /// Its name for people.
    name: String,
    /// Its id.
    id: String,
}

/// The tasks that tell of a Manager.
#[derive(Default)]
pub struct Discovery {
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<()>>,
}

/// Begins to tell that a Manager listens there. On a runtime.
pub fn start(node: &SharedNode, listening: Option<SocketAddr>) -> Discovery {
    let in_force = node.in_force();
    let Some(listening) = listening else {
        return Discovery::default();
    };
    // A Server has no Workers.
    if !in_force.config.discovery.enabled || node.site.is_none() || listening.ip().is_loopback() {
        return Discovery::default();
    }
    let identity = Arc::new(Identity {
        name: in_force.config.manager_name.clone(),
        id: node.manager().to_string(),
    });
    let stop = watch::Sender::new(false);
    let running = vec![
        tokio::spawn(responder::run(listening, stop.subscribe())),
        tokio::spawn(dns_sd::run(listening, identity, stop.subscribe())),
    ];
    Discovery { stop, running }
}

impl Discovery {
    /// Says that the Manager goes, and ends.
    pub async fn end(self) {
        self.stop.send_replace(true);
        for task in self.running {
            // One that panicked has said so.
            let _ = task.await;
        }
    }
}
