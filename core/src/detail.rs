// SPDX-License-Identifier: GPL-3.0-or-later
//! Details: the part of a record that people read and that can be erased.
//!
//! Names, paths, settings, metadata and messages. `decide` and `apply` never read them; the
//! state keeps just their hash. Free JSON travels as its text, because bincode has no field
//! names to describe it with.

use serde::{Deserialize, Serialize};

/// The detail part of a record, by shape. Which shape a kind has is in [`crate::kind`].
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Detail {
    /// The kind has none, or it was erased.
    #[default]
    None,
    /// Of a decision.
    Decision(DecisionDetail),
    /// Of an accepted job.
    Job(Box<JobDetail>),
    /// Of a chunk of tasks.
    Tasks(Box<TasksDetail>),
    /// A sentence that says why.
    Reason(ReasonDetail),
    /// Of a worker.
    Worker(WorkerDetail),
    /// Of a frame.
    Frame(FrameDetail),
    /// Of something that has a name.
    Named(NamedDetail),
}

/// Who decided what, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionDetail {
    /// Claimed or known name of the actor.
    pub actor_name: String,
    /// Network address of the actor.
    pub actor_address: String,
    /// On whose behalf it acted.
    pub on_behalf_of: String,
    /// The request, encoded with [`crate::codec::encode_request`]; empty when it is a blob.
    #[serde(with = "crate::codec::whole_bytes")]
    pub body: Vec<u8>,
    /// Why it was refused, in words.
    pub refusal: String,
}

/// A file a job reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its path as submitted.
    pub path: String,
    /// BLAKE3 of its content, when known.
    pub hash: Option<[u8; 32]>,
    /// Size in bytes.
    pub size: u64,
    /// Time of its last change, in microseconds since the Unix epoch.
    pub modified_us: u64,
}

/// What people read about a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobDetail {
    /// Its name.
    pub name: String,
    /// Name of its user.
    pub user: String,
    /// Name of its project.
    pub project: String,
    /// Name of its shot.
    pub shot: String,
    /// Settings as submitted, as JSON text.
    pub settings_submitted: String,
    /// Settings in effect after the script ran, as JSON text.
    pub settings: String,
    /// Metadata, in order.
    pub metadata: Vec<(String, String)>,
    /// Files it reads.
    pub inputs: Vec<Input>,
    /// Id of the Shaman checkout.
    pub shaman_checkout: String,
}

/// What people and workers read about a chunk of tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TasksDetail {
    /// Name of each task of the chunk.
    pub names: Vec<String>,
    /// Distinct command lists, each as JSON text; lists shared by many tasks stand once.
    pub command_lists: Vec<String>,
    /// For each task of the chunk, the index of its command list.
    pub commands_of: Vec<u32>,
}

/// A sentence that says why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReasonDetail {
    /// The sentence.
    pub text: String,
}

/// What people read about a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerDetail {
    /// Its name.
    pub name: String,
    /// Its network address.
    pub address: String,
    /// Its software, with version.
    pub software: String,
}

/// What people read about a frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrameDetail {
    /// File name without extension.
    pub name: String,
    /// Final path on the shared storage.
    pub path: String,
    /// Name of the thumbnail's file in the shot's folder; empty until there is one.
    pub thumbnail: String,
    /// Version of Blender.
    pub blender_version: String,
    /// BLAKE3 of the blend file.
    pub blend_hash: Option<[u8; 32]>,
}

/// A name and a description.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NamedDetail {
    /// The name.
    pub name: String,
    /// The description, or other text that belongs to it.
    pub description: String,
}

impl Detail {
    /// A reason.
    pub fn reason(text: impl Into<String>) -> Self {
        Self::Reason(ReasonDetail { text: text.into() })
    }

    /// A name and a description.
    pub fn named(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Named(NamedDetail {
            name: name.into(),
            description: description.into(),
        })
    }

    /// The reason's text, or nothing.
    pub fn reason_text(&self) -> &str {
        match self {
            Self::Reason(reason) => &reason.text,
            Self::None
            | Self::Decision(_)
            | Self::Job(_)
            | Self::Tasks(_)
            | Self::Worker(_)
            | Self::Frame(_)
            | Self::Named(_) => "",
        }
    }
}
