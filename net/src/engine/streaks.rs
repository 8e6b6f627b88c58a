// SPDX-License-Identifier: GPL-3.0-or-later
//! Who failed one task after another: a machine that fails whatever it gets is sick.
//!
//! A failure says something about the machine only where it does not say as much about the job.
//! So what others fail as well does not count, nor does what a worker fails while nobody else is
//! there who could have done it. Lives in the shell, not in the journal, and begins anew with
//! each start; what comes of it is a request with the failures in words.

use std::collections::{BTreeMap, BTreeSet};

use tablao_core::{
    Event, Farm, JobId, Recorded, Request, WorkerId, WorkerStatus,
    entity::Worker,
    event::{AttemptOutcome, FailureClass, QuarantineCause},
};

/// Failures of fewer jobs than this may be the jobs' fault.
const JOBS_MIN: usize = 2;
/// So many failures of a worker are kept; more would not change what is said about it.
const KEPT_MAX: usize = 64;
/// So many different words are repeated to people.
const WORDS_MAX: usize = 3;
/// Longest of these words, in characters.
const WORDS_LENGTH_MAX: usize = 300;

/// A task that a worker failed.
#[derive(Clone, Debug)]
struct Failed {
    job: JobId,
    task: u32,
    class: FailureClass,
    words: String,
}

/// What workers failed since they last completed something.
#[derive(Default)]
pub(super) struct Streaks {
    failed: BTreeMap<WorkerId, Vec<Failed>>,
    /// These failed something since the last look.
    to_be_seen: BTreeSet<WorkerId>,
}

impl Streaks {
    /// Takes in what happened.
    pub(super) fn note(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::AttemptEnded(ended) => match ended.outcome {
                AttemptOutcome::Failed { class, .. } if ended.counts_as_failure => {
                    let failed = self.failed.entry(ended.worker).or_default();
                    let is_again =
                        |known: &Failed| (known.job, known.task) == (ended.job, ended.task);
                    failed.retain(|known| !is_again(known));
                    if failed.len() == KEPT_MAX {
                        failed.remove(0);
                    }
                    failed.push(Failed {
                        job: ended.job,
                        task: ended.task,
                        class,
                        words: recorded.detail.reason_text().to_owned(),
                    });
                    self.to_be_seen.insert(ended.worker);
                }
                AttemptOutcome::Completed => {
                    self.failed.remove(&ended.worker);
                }
                // Neither good nor bad: the worker gave it back, was lost, or was told to stop.
                AttemptOutcome::Failed { .. }
                | AttemptOutcome::Lapsed
                | AttemptOutcome::Returned
                | AttemptOutcome::Canceled
                | AttemptOutcome::Superseded => {}
            },
            // Whoever was released begins with a clean slate.
            Event::WorkerQuarantineLifted(facts) => {
                self.failed.remove(&facts.worker);
            }
            Event::WorkerDeleted(facts) => {
                self.failed.remove(&facts.worker);
            }
            _ => {}
        }
    }

    /// What is to be done about a worker that failed something since the last look. `most`: so
    /// many failures are too many; 0 if none are.
    pub(super) fn due(&mut self, farm: &Farm, most: u32) -> Option<Request> {
        while let Some(id) = self.to_be_seen.pop_first() {
            let request = (most > 0).then(|| self.verdict(farm, id, most)).flatten();
            if request.is_some() {
                return request;
            }
        }
        None
    }

    fn verdict(&self, farm: &Farm, id: WorkerId, most: u32) -> Option<Request> {
        let failed = self.failed.get(&id)?;
        if failed.len() < most as usize {
            return None;
        }
        let counted: Vec<&Failed> = (failed.iter())
            .filter(|failed| points_to_the_machine(farm, id, failed))
            .collect();
        let jobs: BTreeSet<JobId> = counted.iter().map(|failed| failed.job).collect();
        let is_alone = !farm
            .workers()
            .values()
            .any(|other| other.id != id && is_present(other));
        if counted.len() < most as usize || jobs.len() < JOBS_MIN || is_alone {
            return None;
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Request::QuarantineWorker {
            worker: id,
            cause: QuarantineCause::Failures {
                tasks: number(counted.len()),
                jobs: number(jobs.len()),
            },
            reason: in_words(&counted, jobs.len()),
        })
    }
}

/// Somebody with whom a worker can be compared.
fn is_present(worker: &Worker) -> bool {
    let away = matches!(
        worker.status,
        None | Some(WorkerStatus::Offline | WorkerStatus::Error)
    );
    !away && !worker.deleted && !worker.quarantined
}

fn points_to_the_machine(farm: &Farm, worker: WorkerId, failed: &Failed) -> bool {
    let Some(job) = farm.jobs().get(&failed.job) else {
        return false;
    };
    let others_can = job.counts.of(tablao_core::TaskStatus::Completed) > 0;
    let others_fail = job.failures.keys().any(|(other, _)| *other != worker);
    match failed.class {
        // What a program says about a scene: the machine's fault where others get on with it.
        FailureClass::Process | FailureClass::MissingOutput => others_can,
        // It lacks what this job wants, or its owner does not let it: it is kept from such tasks
        // already, and may be the right one for others.
        FailureClass::FeatureMissing => false,
        FailureClass::Unknown
        | FailureClass::OutOfMemory
        | FailureClass::BadCommand
        | FailureClass::Signal
        | FailureClass::Io
        | FailureClass::Timeout => others_can || !others_fail,
    }
}

fn in_words(failed: &[&Failed], jobs: usize) -> String {
    let mut words: Vec<String> = Vec::new();
    for failed in failed.iter().rev() {
        let said: String = failed.words.chars().take(WORDS_LENGTH_MAX).collect();
        if words.len() < WORDS_MAX && !words.contains(&said) {
            words.push(said);
        }
    }
    format!(
        "it failed {} tasks of {jobs} jobs one after another, while others get on: {}. See to the \
         machine, then release it",
        failed.len(),
        words.join("; ")
    )
}
