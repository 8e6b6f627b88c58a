// SPDX-License-Identifier: GPL-3.0-or-later
//! The pure heart of Tablao: what a farm is and how it changes.
//!
//! [`Farm::decide`] reads state and answers a [`Request`] with events or a [`Refusal`];
//! [`Farm::apply`] folds an event in. Live running, recovery, replay and simulation use
//! these two functions and no others. There is no clock, disk, network or randomness here:
//! time, positions and seeds arrive in [`Env`].

pub mod actor;
pub mod codec;
pub mod decide;
pub mod detail;
pub mod digest;
pub mod entity;
pub mod event;
pub mod farm;
pub mod flaws;
pub mod frames;
pub mod ids;
pub mod kind;
pub mod machine;
mod parts;
pub mod position;
pub mod refusal;
pub mod regeneration;
pub mod request;
pub mod rows;
pub mod schedule;
pub mod sleep;
pub mod status;

mod apply;
mod blocks;
mod crew;
mod frame_events;
mod frame_rows;
mod frame_table;
mod imported;
mod job_rows;
mod new_tasks;
mod regenerated;
mod task_index;
mod task_rows;
mod task_state;
mod tasks;
mod unsettled;

pub use actor::{Actor, ActorKind, Via};
pub use decide::{Answer, Decided, Env};
pub use detail::Detail;
pub use digest::Digest;
pub use event::{Event, Recorded};
pub use farm::Farm;
pub use ids::*;
pub use new_tasks::{NewTask, NewTaskView, NewTasks};
pub use position::{AttemptId, Lsn, Timestamp};
pub use refusal::Refusal;
pub use request::Request;
pub use status::{JobStatus, TaskStatus, WorkerStatus};
pub use tasks::{Task, Tasks};
