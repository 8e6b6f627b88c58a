// SPDX-License-Identifier: GPL-3.0-or-later
//! What our Workers say about their machines, and whether the machine or the job is to blame.
//!
//! A worker that cannot read or write what a job names may be sick, or the job may name what is
//! nowhere: one slip in a path must not bring a whole farm into quarantine. So the first worker
//! that says so is in quarantine while others are there to show that it can be done; when another
//! one says the same and nothing of the job was ever done, it was the job. Lives in memory: sick
//! workers say again how they are, so it fills by itself after a start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tablao_core::{Farm, JobId, TaskStatus, WorkerId, WorkerStatus};
use utoipa::ToSchema;

/// What kind of thing a worker found to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Its clock and the Manager's differ.
    Clock,
    /// A disk is full, or nearly so.
    Disk,
    /// A program is not there or does not start.
    Program,
    /// A file or folder cannot be read.
    Unreadable,
    /// A folder of a file that is to be read is not there.
    Absent,
    /// A folder cannot be written to.
    Unwritable,
}

/// One thing that is wrong with a worker's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Which path, program or clock.
    pub subject: String,
    /// Only the job at hand names it, so the job may be wrong and not the machine.
    #[serde(default)]
    pub of_job: bool,
    /// What, where, and what to do.
    pub words: String,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The machine: the worker is in quarantine.
    Machine,
    /// The job: the worker runs it, and it fails with the program's own words.
    Job,
    /// Nobody: the job wants nothing any more.
    Nobody,
}

/// What workers said of jobs, and how far their clocks are off.
#[derive(Debug, Default)]
pub struct Health {
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// By job: what each worker found that only this job names.
    of_jobs: BTreeMap<JobId, BTreeMap<WorkerId, BTreeSet<(FindingKind, String)>>>,
    /// By how much each worker's clock is ahead of ours, in milliseconds.
    clocks: BTreeMap<WorkerId, i64>,
}

impl Health {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's clock was seen to be ahead by so much.
    pub fn saw_clock(&self, worker: WorkerId, ahead_ms: i64) {
        self.said().clocks.insert(worker, ahead_ms);
    }

    /// By how much each worker's clock was ahead when it last said.
    pub fn clocks(&self) -> BTreeMap<WorkerId, i64> {
        self.said().clocks.clone()
    }

    /// A worker is well: nothing that it said counts any more.
    pub fn is_well(&self, worker: WorkerId) {
        let mut said = self.said();
        said.of_jobs.retain(|_, workers| {
            workers.remove(&worker);
            !workers.is_empty()
        });
    }

    /// Takes in what a worker found and judges it. With the verdict come those whom the same
    /// verdict acquits.
    pub fn judge(
        &self,
        farm: &Farm,
        worker: WorkerId,
        job: Option<JobId>,
        findings: &[Finding],
    ) -> (Verdict, Vec<WorkerId>) {
        if findings.iter().any(|finding| !finding.of_job) {
            return (Verdict::Machine, Vec::new());
        }
        let Some(job) = job else {
            return (Verdict::Machine, Vec::new());
        };
        let live = (farm.jobs().get(&job)).filter(|job| !job.state.status.is_terminal());
        let Some(known) = live else {
            self.is_well(worker);
            self.said().of_jobs.remove(&job);
            return (Verdict::Nobody, Vec::new());
        };
        if known.counts.of(TaskStatus::Completed) > 0 {
            return (Verdict::Machine, Vec::new());
        }
        let found: BTreeSet<_> = (findings.iter())
            .map(|finding| (finding.kind, finding.subject.clone()))
            .collect();
        let mut said = self.said();
        let of_job = said.of_jobs.entry(job).or_default();
        let same: Vec<WorkerId> = (of_job.iter())
            .filter(|(other, theirs)| **other != worker && !theirs.is_disjoint(&found))
            .map(|(other, _)| *other)
            .collect();
        of_job.insert(worker, found);
        if !same.is_empty() {
            return (Verdict::Job, same);
        }
        // Alone it cannot be compared: a folder that is nowhere is most often a slip.
        let is_alone = !farm.workers().values().any(|other| {
            let away = matches!(
                other.status,
                None | Some(WorkerStatus::Offline | WorkerStatus::Error)
            );
            other.id != worker && !away && !other.deleted && !other.quarantined
        });
        let all_absent = (findings.iter()).all(|finding| finding.kind == FindingKind::Absent);
        if is_alone && all_absent {
            (Verdict::Job, Vec::new())
        } else {
            (Verdict::Machine, Vec::new())
        }
    }
}

/// All that a worker found, as people read it.
pub fn in_words(findings: &[Finding]) -> String {
    let words: Vec<&str> = (findings.iter())
        .map(|finding| finding.words.as_str())
        .collect();
    words.join("; ")
}
