// SPDX-License-Identifier: GPL-3.0-or-later
//! Views folded from the journal, and their checkpoints.
//!
//! [`ReadModel`] is what queries are answered from: the core's farm at the durable position,
//! with the names, reasons and history that the core leaves out. [`Checkpoints`] saves it so
//! that a restart need not fold the whole journal; whatever it holds can be deleted.
//!
//! **Invariant:** nothing in here appends to a journal, and nothing is known only here.

mod attempts;
mod baseline;
mod cadence;
mod checkpoint;
mod control;
mod ended;
mod error;
mod fold;
mod frame_words;
mod frames;
mod interned;
mod jobs;
mod model;
mod numbers;
mod pack;
mod patterns;
mod rows;
mod spacing;
mod store;
mod task_texts;
mod texts;
mod unpack;
mod worked;
mod workers;

pub use attempts::{AttemptPhase, AttemptRow};
pub use cadence::{Cadence, work_of};
pub use checkpoint::{Checkpoints, Encoded, Moment, Stamp, Written};
pub use control::{ManagerRow, PlacementRow, RequestRow};
pub use error::Error;
pub use frames::{FrameRow, ShotRow};
pub use jobs::{JobRow, TaskView};
pub use model::ReadModel;
pub use rows::VERSION as CHECKPOINT_VERSION;
pub use task_texts::TaskTexts;
pub use workers::{QuarantineRow, TagRow, WorkerRow};
