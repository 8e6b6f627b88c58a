// SPDX-License-Identifier: GPL-3.0-or-later
//! The network shell of Tablao: engines, files, the Flamenco 3 API, our own API, replication.
//!
//! A handler parses, asks and presents; it decides nothing. What is shown is read from a read
//! model at the durable position.

pub mod activities;
pub mod api;
pub mod blobs;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod deletion;
pub mod digest;
pub mod discovery;
mod doctor;
pub mod engine;
mod error;
pub mod foreign_frames;
pub mod health;
pub mod import;
pub mod inputs;
pub mod link;
pub mod live;
pub mod node;
pub mod past;
pub mod past_farms;
pub mod position;
pub mod previews;
pub mod read_ahead;
pub mod records;
pub mod regeneration;
pub mod requeue;
pub mod retention;
mod saved_lines;
pub mod secrets;
pub mod serve;
pub mod setup;
pub mod shaman;
pub mod shot_videos;
pub mod submission;
pub mod task_logs;
mod thumbnails;
pub mod upkeep;
pub mod variables;
pub mod verify;
pub mod view;
pub mod whole;

pub use error::Error;
