// SPDX-License-Identifier: GPL-3.0-or-later
//! What several nouns show: something with a name, and addresses of pictures.

use serde::Serialize;
use tablao_core::{ShotId, WorkerId};
use tablao_projections::{FrameRow, ReadModel};
use utoipa::ToSchema;

/// Something that has an id and a name.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Named {
    /// Its id.
    #[schema(format = "uuid")]
    pub(super) id: String,
    /// Its name; empty where it is not known any more.
    pub(super) name: String,
}

impl Named {
    pub(super) fn worker(model: &ReadModel, worker: WorkerId) -> Self {
        Self {
            id: worker.to_string(),
            name: model
                .worker(worker)
                .map(|row| row.detail.name.clone())
                .unwrap_or_default(),
        }
    }
}

/// Address of a frame's thumbnail, once there is one.
pub(super) fn thumbnail(row: &FrameRow) -> Option<String> {
    let file = row.thumbnail.as_deref().filter(|file| !file.is_empty())?;
    Some(thumbnail_path(row.key.shot, file))
}

fn thumbnail_path(shot: ShotId, file: &str) -> String {
    // The name was checked when it was stored; a blank or a percent sign needs its escape.
    let mut path = format!("/thumbnails/{shot}/");
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
