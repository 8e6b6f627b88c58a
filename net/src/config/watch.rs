// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the configuration again when its file changes and when the process gets SIGHUP.
//!
//! What the operating system reports is a hint; a slow look stands behind it, because some file
//! systems report nothing.

use std::{sync::Arc, time::Duration};

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::FILE_NAME;
use crate::node::Node;

/// How often the file is looked at when nothing is reported.
const SLOW_LOOK: Duration = Duration::from_secs(30);
/// Editors write in several steps; the file is read when it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Follows the file until it is dropped.
pub(crate) async fn follow(node: Arc<Node>) {
    let (sender, mut hints) = mpsc::channel(1);
    let watcher = watch(&node, sender);
    if let Err(error) = &watcher {
        tracing::warn!(%error, "tablao.toml cannot be watched; it is looked at now and then");
    }
    let mut hangup = hangup();
    loop {
        // At once the first time: it may have changed before it was watched.
        // What is wrong with it was told where it was read.
        if let Ok(true) = node.reload_config().await {
            tracing::info!("the configuration changed and is in use");
        }
        tokio::select! {
            Some(()) = hints.recv() => {
                tokio::time::sleep(QUIET).await;
                let _ = hints.try_recv();
            }
            () = next(&mut hangup) => tracing::info!("asked to read the configuration again"),
            () = tokio::time::sleep(SLOW_LOOK) => {}
        }
    }
}

fn watch(node: &Node, sender: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_ours = event.is_ok_and(|event| {
            let named = |path: &std::path::PathBuf| path.ends_with(FILE_NAME);
            !event.kind.is_access() && event.paths.iter().any(named)
        });
        if is_ours {
            // One waiting hint is as good as many.
            let _ = sender.try_send(());
        }
    })?;
    // The folder, because a save by rename makes another file.
    watcher.watch(node.data.root(), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(unix)]
type Hangup = Option<tokio::signal::unix::Signal>;
#[cfg(not(unix))]
type Hangup = ();

#[cfg(unix)]
fn hangup() -> Hangup {
    use std::io::IsTerminal as _;
    use tokio::signal::unix::{SignalKind, signal};
    // At a terminal it means that the terminal is gone: then the process ends with it.
    let is_service = !std::io::stdin().is_terminal();
    is_service
        .then(|| signal(SignalKind::hangup()).ok())
        .flatten()
}

#[cfg(unix)]
async fn next(hangup: &mut Hangup) {
    match hangup {
        Some(signal) => match signal.recv().await {
            Some(()) => {}
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Windows has no such signal: the file and the API remain.
#[cfg(not(unix))]
fn hangup() -> Hangup {}

#[cfg(not(unix))]
async fn next(_: &mut Hangup) {
    std::future::pending().await
}
