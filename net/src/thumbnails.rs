// SPDX-License-Identifier: GPL-3.0-or-later
//! Thumbnails of frames: `thumbnails/<shot>/<frame name>_thumbnail.<jpg|png>` in the data
//! directory, on disk before the record that names them.

use std::path::PathBuf;

use tablao_core::{Actor, Request, ShotId, decide::Asker, entity::FrameKey};

use crate::{
    Error,
    data_dir::write_durably,
    engine::{Ask, Engine, Reply, Stopped},
    node::Node,
};

/// Why a thumbnail is not stored.
#[derive(Debug)]
pub(crate) enum NotStored {
    /// It cannot be written.
    Unwritten,
    /// The engine has stopped.
    Stopped(Stopped),
}

/// A file name that a thumbnail may have, with nothing in it that leads elsewhere.
pub(crate) fn is_name(file: &str) -> bool {
    let named_so = file.ends_with("_thumbnail.jpg") || file.ends_with("_thumbnail.png");
    named_so && !file.starts_with('.') && !file.contains(['/', '\\', '\0', ':'])
}

/// Where the thumbnails of a shot are.
pub(crate) fn folder_of(node: &Node, shot: ShotId) -> PathBuf {
    node.data.path("thumbnails").join(shot.to_string())
}

/// Where a thumbnail is.
pub(crate) fn path_of(node: &Node, shot: ShotId, file: &str) -> PathBuf {
    folder_of(node, shot).join(file)
}

/// Writes a thumbnail and notes it on its frame.
pub(crate) async fn store(
    node: &Node,
    engine: &Engine,
    (key, file): (FrameKey, String),
    picture: impl AsRef<[u8]> + Send + 'static,
    (actor, asker): (Actor, Asker),
) -> Result<Reply, NotStored> {
    let hash = *blake3::hash(picture.as_ref()).as_bytes();
    let path = path_of(node, key.shot, &file);
    let written = tokio::task::spawn_blocking(move || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        write_durably(&path, picture.as_ref())
    })
    .await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(?written, "store a thumbnail");
        return Err(NotStored::Unwritten);
    }
    let request = Request::StoreThumbnail { key, hash, file };
    let ask = Ask::new(request, actor, asker);
    engine.ask(ask).await.map_err(NotStored::Stopped)
}
