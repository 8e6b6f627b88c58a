// SPDX-License-Identifier: GPL-3.0-or-later
//! Serving a node over HTTP until it is told to stop, or its journal cannot be written.

use std::{future::Future, net::SocketAddr, sync::Arc};

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use crate::{Error, api, node::Node};

/// Why serving ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// It was asked to.
    Asked,
    /// A journal cannot be written: the process must end at once, and say so.
    JournalFailed(String),
}

/// Listens on an address.
pub async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen {
            address: address.to_owned(),
            source,
        })
}

/// Serves until `stop` resolves or a journal fails.
pub async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Served {
    let app = api::router(Arc::clone(&node)).into_make_service_with_connect_info::<SocketAddr>();
    // An answer of several writes must not wait for the client's acknowledgement of the first.
    let listening = listener.local_addr().ok();
    let listener = listener.tap_io(|stream| {
        // Without it the connection works, with a delay now and then.
        let _ = stream.set_nodelay(true);
    });
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let telling = crate::live::start(&node);
    let discovery = crate::discovery::start(&node, listening);
    let collecting = tokio::spawn(crate::shaman::collect_regularly(Arc::clone(&node)));
    let deleting = tokio::spawn(crate::deletion::purge_regularly(Arc::clone(&node)));
    let following = tokio::spawn(crate::config::watch::follow(Arc::clone(&node)));
    let served = tokio::select! {
        () = stop => Served::Asked,
        what = journal_failure(&node) => Served::JournalFailed(what),
    };
    if served == Served::Asked {
        tokio::join!(telling.end(), discovery.end());
    }
    // Open connections hold long polls and event streams: they are closed, not waited for.
    // Whoever was waiting for an answer that did not come asks again.
    server.abort();
    collecting.abort();
    deleting.abort();
    following.abort();
    served
}

async fn journal_failure(node: &Node) -> String {
    let mut control = node.control.failure();
    let mut site = node.site.as_ref().unwrap_or(&node.control).failure();
    loop {
        let seen = (control.borrow_and_update().clone()).or(site.borrow_and_update().clone());
        if let Some(what) = seen {
            return what;
        }
        let changed = tokio::select! {
            changed = control.changed() => changed,
            changed = site.changed() => changed,
        };
        if changed.is_err() {
            // The engine ended without a failure: somebody closes the node.
            std::future::pending::<()>().await;
        }
    }
}
