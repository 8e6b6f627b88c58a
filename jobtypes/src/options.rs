// SPDX-License-Identifier: GPL-3.0-or-later
//! Where scripts are found and how much a script may use.
//!
//! The limits exist because a submission must never take the Manager down: each has a default that
//! no sane job comes near, and each refusal names the limit it met.

use std::{path::PathBuf, time::Duration};

use jiff::tz::TimeZone;

use crate::isolation::ChildProgram;

const MIB: usize = 1024 * 1024;

/// Settings of a [`crate::JobTypes`].
#[derive(Debug, Clone)]
pub struct Options {
    /// A studio's own scripts, which override built-in ones of the same job type name.
    /// It may not exist yet; it is picked up once it does.
    pub scripts_dir: Option<PathBuf>,
    /// Watch the folder and rescan it now and then. Without it only `rescan()` reads it again.
    pub watch: bool,
    /// How long a change may stay unseen where the operating system reports none (network shares).
    pub rescan_interval: Duration,
    /// How long one compilation may take.
    pub compile_time_max: Duration,
    /// How long the top level of a script may take when it is loaded. Short: a folder full of
    /// endless loops must not hold up the start.
    pub load_time_max: Duration,
    /// Memory of one virtual machine. The environment itself takes about 2 MiB of it.
    pub memory_bytes_max: usize,
    /// Stack of one virtual machine. Must fit into the calling thread with room to spare.
    pub stack_bytes_max: usize,
    /// Size of all tasks, commands and settings that one compilation may produce.
    pub output_bytes_max: usize,
    /// Tasks that one job may have.
    pub tasks_max: usize,
    /// Frames that one frame range may have.
    pub frames_max: u64,
    /// Runs each script in a process of its own; absent, scripts run in this one. The default is
    /// what [`ChildProgram::make_default`] said.
    pub child: Option<ChildProgram>,
    /// Zone of `formatTimestampLocal()`; the machine's own when absent.
    pub time_zone: Option<TimeZone>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scripts_dir: None,
            watch: true,
            rescan_interval: Duration::from_secs(30),
            compile_time_max: Duration::from_secs(10),
            load_time_max: Duration::from_secs(2),
            memory_bytes_max: 256 * MIB,
            stack_bytes_max: MIB / 2,
            output_bytes_max: 256 * MIB,
            tasks_max: 1_000_000,
            frames_max: 10_000_000,
            child: ChildProgram::the_default(),
            time_zone: None,
        }
    }
}

impl Options {
    pub(crate) fn zone(&self) -> TimeZone {
        self.time_zone.clone().unwrap_or_else(TimeZone::system)
    }
}
