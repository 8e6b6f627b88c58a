// SPDX-License-Identifier: GPL-3.0-or-later
//! A process's disk: files in memory that outlive it, behind a store that goes wrong as planned.

use std::sync::Arc;

use tablao_journal::{FaultPlan, FaultyFiles, FileStore, MemoryFiles, PowerLoss};

/// One journal folder.
#[derive(Clone, Default)]
pub struct Disk {
    files: MemoryFiles,
}

impl Disk {
    /// The folder as a process that starts now gets it.
    pub fn mount(&self, plan: FaultPlan) -> Arc<dyn FileStore> {
        Arc::new(FaultyFiles::new(Arc::new(self.files.clone()), plan))
    }

    /// The process is gone, and with it what was not safe.
    pub fn lose(&mut self, loss: PowerLoss) {
        self.files = self.files.after(loss);
    }

    /// What a loss of power would leave at this moment, and nothing else.
    pub fn what_is_safe(&self) -> Self {
        Self {
            files: self.files.after(PowerLoss::UnsyncedLost),
        }
    }

    /// A copy as a person makes it, with the process running.
    pub fn copy(&self) -> Self {
        Self {
            files: self.files.after(PowerLoss::ProcessOnly),
        }
    }

    /// The files, to be read.
    pub fn files(&self) -> Arc<dyn FileStore> {
        Arc::new(self.files.clone())
    }
}
