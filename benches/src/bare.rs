// SPDX-License-Identifier: GPL-3.0-or-later
//! The limit of the part `farm`: a bare axum server that does nothing but make each body durable
//! before it answers, with group commit.
//!
//! It has no state, rules, records or checksums: what a coordinator costs is the distance to it.

use std::{fs::File, io::Write as _, path::Path};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use crate::Error;

/// A body, and whom to tell when it is on disk.
type Waiting = (Bytes, oneshot::Sender<()>);

/// Serves on a free port of the loopback address, prints it, and ends with standard input.
pub fn serve(folder: &Path) -> Result<(), Error> {
    let path = folder.join("bare.log");
    let file = File::create(&path).map_err(|source| Error::File {
        doing: "create",
        path,
        source,
    })?;
    let (sender, receiver) = crossbeam_channel::unbounded();
    std::thread::spawn(move || commit(file, &receiver));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::system("start the runtime"))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(Error::system("listen"))?;
        let address = listener.local_addr().map_err(Error::system("listen"))?;
        println!("bare server listens on http://{address}/");
        let app = Router::new().route("/", post(append)).with_state(sender);
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let copied = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            // If the receiver is gone the process is ending already.
            let _ = stop.send(copied);
        });
        tokio::select! {
            served = axum::serve(listener, app).into_future() => {
                served.map_err(Error::system("serve"))
            }
            _ = stopped => Ok(()),
        }
    })
}

async fn append(State(sender): State<Sender<Waiting>>, body: Bytes) -> StatusCode {
    let (done, durable) = oneshot::channel();
    if sender.send((body, done)).is_err() || durable.await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    StatusCode::NO_CONTENT
}

/// Everything that waits, one write, one sync, then the answers.
fn commit(mut file: File, receiver: &Receiver<Waiting>) {
    let mut bytes = Vec::new();
    let mut askers = Vec::new();
    while let Ok(first) = receiver.recv() {
        for (body, asker) in std::iter::once(first).chain(receiver.try_iter()) {
            bytes.extend_from_slice(&body);
            askers.push(asker);
        }
        let synced = file.write_all(&bytes).and_then(|()| file.sync_data());
        bytes.clear();
        for asker in askers.drain(..) {
            if synced.is_ok() {
                // An asker that is gone does not want its answer.
                let _ = asker.send(());
            }
        }
    }
}
