// SPDX-License-Identifier: GPL-3.0-or-later
//! A content store on shared storage: a file is sent once, whoever needs it, and each job gets a
//! folder of links to what it uses.
//!
//! Knows files and checksums, nothing of jobs, HTTP or events. All calls block; a server runs
//! them off its event loop. The layout is Flamenco's, so that a store changes hands in place:
//! `file-store/stored/<2 digits>/<62 digits>/<size>.blob` and `jobs/<checkout>/...`.
//!
//! Start reading at [`Store`], then `upload.rs`, `checkout.rs` and `garbage.rs`.

mod blob;
mod checkout;
mod erase;
mod error;
mod files;
mod garbage;
mod in_flight;
mod layout;
mod link;
mod path;
mod store;
mod upload;

pub use blob::BlobId;
pub use error::Error;
pub use garbage::{Collection, Garbage};
pub use link::LinkMethod;
pub use path::{CheckoutPath, FilePath};
pub use store::{FileSpec, Status, Store};
pub use upload::{Begin, Outcome, Upload};
