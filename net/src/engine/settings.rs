// SPDX-License-Identifier: GPL-3.0-or-later
//! What an engine is started with.

use std::{path::PathBuf, time::Duration};

use tablao_core::ManagerId;
use tablao_journal::Authority;

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Folder of the journal's segments.
    pub journal_dir: PathBuf,
    /// Folder of its checkpoints; deletable at any time.
    pub checkpoint_dir: PathBuf,
    /// Control or site.
    pub authority: Authority,
    /// Whose journal it is.
    pub manager: ManagerId,
    /// After a restart, silence counts only from this long after the start: workers need time
    /// to notice that the Manager is back.
    pub grace: Duration,
}
