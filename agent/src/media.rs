// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes thumbnails and previews of finished frames and sends them, beside everything else.
//!
//! Wishes wait in the outbox, so a kill loses none. Frames never wait for their pictures: what
//! cannot be made or is refused is dropped with a line in the Worker's log.

use std::path::Path;
use std::time::Duration;

use crate::client::{CallError, Client};
use crate::outbox::{Entry, Outbox, OutboxFailed, Seq, Thumbnail};
use crate::wire::Assignment;
use tablao_pictures::thumbnail::{self, Picture};

/// Where wishes for pictures go; clones are the same place.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    outbox: Outbox,
}

/// Whether the Manager wants this Worker to make thumbnails.
pub(crate) fn wants_thumbnails(assignment: &Assignment) -> bool {
    assignment.thumbnails == "upload" && !assignment.shot.is_empty()
}

impl Media {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    /// Wishes for the pictures of a frame. An empty shot means that only a preview is wanted.
    pub(crate) fn want(&self, wish: Thumbnail) {
        // A failed outbox ends the Worker by another way.
        let _ = self.outbox.put_later(Entry::Thumbnail(wish));
    }
}

/// Serves wishes, oldest first, for as long as the Worker runs.
pub(crate) async fn run(outbox: Outbox, client: Client) -> OutboxFailed {
    let mut changes = outbox.changes();
    loop {
        changes.borrow_and_update();
        let wishes: Vec<(Seq, Thumbnail)> = outbox
            .others()
            .into_iter()
            .filter_map(|(seq, entry)| match entry {
                Entry::Thumbnail(wish) => Some((seq, wish)),
                Entry::Update { .. } | Entry::Publishing(_) | Entry::Staging { .. } => None,
            })
            .collect();
        // Only the newest is shown as last rendered; those it overtook are not sent.
        let newest = wishes.iter().rev().find(|(_, wish)| wish.preview);
        let newest = newest.map(|(seq, _)| *seq);
        // A Manager that does not know the frame yet would refuse its thumbnail.
        let first = wishes.into_iter().next();
        let Some((seq, wish)) = first.filter(|(seq, _)| outbox.is_told_before(*seq)) else {
            if changes.changed().await.is_err() {
                return outbox.failure();
            }
            continue;
        };
        serve(&client, &wish, newest == Some(seq)).await;
        outbox.done(vec![seq]);
    }
}

async fn serve(client: &Client, wish: &Thumbnail, newest: bool) {
    let wants_preview = newest && wish.preview;
    if wish.shot.is_empty() && !wants_preview {
        return;
    }
    let path = wish.path.clone();
    let made = tokio::task::spawn_blocking(move || thumbnail::make(&path, wants_preview)).await;
    let (thumbnail, preview) = match made {
        Ok(Ok(pictures)) => pictures,
        Ok(Err(error)) => {
            tracing::warn!(path = %wish.path.display(), %error, "cannot make a thumbnail");
            return;
        }
        Err(_) => {
            // The decoder panicked; a broken picture must not take the Worker along.
            tracing::warn!(path = %wish.path.display(), "the image decoder failed");
            return;
        }
    };
    if !wish.shot.is_empty() {
        let name = format!("{}_thumbnail.{}", wish.name, thumbnail.extension());
        insist(&wish.path, || {
            let Picture { content_type, data } = thumbnail.clone();
            client.thumbnail(
                &wish.shot,
                &name,
                &wish.attempt,
                wish.number,
                content_type,
                data,
            )
        })
        .await;
    }
    if let Some(preview) = preview {
        insist(&wish.path, || {
            let Picture { content_type, data } = preview.clone();
            client.output_produced(&wish.task, content_type, data)
        })
        .await;
    }
}

/// Sends until there is an answer, whatever it is: a refused picture is not worth a second try.
async fn insist<F: Future<Output = Result<(), CallError>>>(path: &Path, send: impl Fn() -> F) {
    let mut pause = Duration::from_millis(500);
    loop {
        match send().await {
            Ok(()) => return,
            Err(CallError::Unreachable(_)) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
            Err(error @ CallError::Status { .. }) => {
                tracing::debug!(path = %path.display(), %error, "a picture was not taken");
                return;
            }
        }
    }
}
