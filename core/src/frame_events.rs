// SPDX-License-Identifier: GPL-3.0-or-later
//! Events about what is wrong with frames, as frozen shapes like those of `event.rs`, and what
//! the requests that lead to them bring.

use serde::{Deserialize, Serialize};

use crate::{JobId, ShotId, entity::FrameKey};

/// A frame was looked at, and what is wrong with it is not what was known before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameFlagged {
    /// Which frame.
    pub key: FrameKey,
    /// The job that is to render it if it is to be rendered anew.
    pub job: JobId,
    /// Its task.
    pub task: u32,
    /// What was known to be wrong: bits of [`crate::event::frame_flags`].
    pub from: u16,
    /// What is wrong; 0: nothing, any more.
    pub to: u16,
    /// BLAKE3 of the file as it was seen; none where there is no file.
    pub seen: Option<[u8; 32]>,
}

/// A frame that is to be rendered anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedFrame {
    /// Which frame.
    pub key: FrameKey,
    /// Its task.
    pub task: u32,
    /// BLAKE3 of the file that is to make way; none where there is no file.
    pub seen: Option<[u8; 32]>,
}

/// Frames of a job are to be rendered anew, or are so no longer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FramesWanted {
    /// The job.
    pub job: JobId,
    /// The frames.
    pub frames: Vec<WantedFrame>,
    /// They are, or they are no longer: they were published.
    pub wanted: bool,
}

/// Files of frames were read from the storage and compared with what is known of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FramesVerified {
    /// Of this shot.
    pub shot: ShotId,
    /// Of this job only.
    pub job: Option<JobId>,
    /// How many frames were looked at.
    pub looked_at: u32,
    /// With how many of them something is wrong.
    pub flawed: u32,
}

/// What somebody who looked at a frame's file found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which frame.
    pub key: FrameKey,
    /// How often it had been published when it was looked at; 0: never. A frame that was
    /// published anew meanwhile is another one.
    pub publications: u32,
    /// Job and task that should have made it, for one that was never published.
    pub maker: Option<(JobId, u32)>,
    /// What is wrong with it: bits of [`crate::event::frame_flags`].
    pub flags: u16,
    /// BLAKE3 of the file; none where there is none.
    pub seen: Option<[u8; 32]>,
    /// The same in words.
    pub words: String,
}

/// Which frames are to be rendered anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrameWish {
    /// Frames of this job.
    pub job: Option<JobId>,
    /// Frames of this shot.
    pub shot: Option<ShotId>,
    /// These frames, flawed or not; empty: all flawed ones of the job and shot.
    pub keys: Vec<FrameKey>,
    /// Only those with one of these flaws; 0: with any.
    pub flags: u16,
    /// Why.
    pub reason: String,
}
