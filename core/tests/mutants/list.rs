// SPDX-License-Identifier: GPL-3.0-or-later
//! The mutants: which rule is broken, and by which change of which text.
//!
//! A text occurs once in its file; a test beside this list checks that, so an edit of the
//! source that touches one of them asks for the mutant to be moved along.

/// A broken rule.
pub(crate) struct Mutant {
    /// What the broken farm gets wrong.
    pub(crate) rule: &'static str,
    /// File below `core/src`.
    pub(crate) file: &'static str,
    /// The text that is right.
    pub(crate) old: &'static str,
    /// The text that is wrong.
    pub(crate) new: &'static str,
}

const fn mutant(
    rule: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
) -> Mutant {
    Mutant {
        rule,
        file,
        old,
        new,
    }
}

/// Every mutant. Each has been seen to fail the model test.
pub(crate) const MUTANTS: &[Mutant] = &[
    mutant(
        "jobs of low priority run first",
        "schedule.rs",
        "Reverse(job.state.facts.priority),",
        "Reverse(-job.state.facts.priority),",
    ),
    mutant(
        "tasks of low priority run first",
        "schedule.rs",
        "(Reverse(task.priority), task.index, task.number)",
        "(Reverse(-task.priority), task.index, task.number)",
    ),
    mutant(
        "tasks of equal priority run last one first",
        "schedule.rs",
        "(Reverse(task.priority), task.index, task.number)",
        "(Reverse(task.priority), u32::MAX - task.index, task.number)",
    ),
    mutant(
        "the youngest job runs first",
        "schedule.rs",
        "                    job.state.sequence,\n",
        "                    u64::MAX - job.state.sequence,\n",
    ),
    mutant(
        "a job's tag is not looked at",
        "schedule.rs",
        "let tag = job.state.facts.tag;",
        "let tag = None;",
    ),
    mutant(
        "a blocked worker still gets tasks",
        "schedule.rs",
        ".any(|(blocked, blocked_type)| *blocked == worker.id && blocked_type == task_type)",
        ".any(|(_, blocked_type)| blocked_type == task_type && false)",
    ),
    mutant(
        "a job gets one worker more than it may have",
        "schedule.rs",
        "job.live < max",
        "job.live <= max",
    ),
    mutant(
        "a worker tries again what it failed",
        "schedule.rs",
        "!job.tasks[number as usize].failed_by.contains(&worker.id)",
        "job.tasks[number as usize].failed_by.len() < 99",
    ),
    mutant(
        "a dependency that is queued again no longer blocks",
        "schedule.rs",
        "                *unmet += 1;\n            }\n            let runnable",
        "                *unmet += 0;\n            }\n            let runnable",
    ),
    mutant(
        "a job that others wait for may end in any way",
        "farm.rs",
        "job.state.status == crate::JobStatus::Completed",
        "job.state.status.is_terminal()",
    ),
    mutant(
        "a held job runs",
        "farm.rs",
        "            && job.state.holds.is_empty()\n",
        "",
    ),
    mutant(
        "a pause leaves soft-failed tasks where they are",
        "machine.rs",
        "&[(T::Queued, T::Paused), (T::SoftFailed, T::Paused)],",
        "&[(T::Queued, T::Paused)],",
    ),
    mutant(
        "a completed job that is queued again has nothing to do",
        "machine.rs",
        "    (T::Completed, T::Queued),\n",
        "",
    ),
    mutant(
        "a canceled job does not wait for its workers",
        "machine.rs",
        "Follow::WhenIdle(J::Canceled)",
        "Follow::At(J::Canceled)",
    ),
    mutant(
        "workers of a failed job are not stopped",
        "machine.rs",
        "        true,\n        Follow::Stay,",
        "        false,\n        Follow::Stay,",
    ),
    mutant(
        "a worker is blocked one failure late",
        "decide/report.rs",
        "failures >= policy.blocklist_threshold",
        "failures > policy.blocklist_threshold",
    ),
    mutant(
        "a task is given up one worker late",
        "decide/report.rs",
        "failing_workers as u64 >= u64::from(task_attempts_max)",
        "failing_workers as u64 > u64::from(task_attempts_max)",
    ),
    mutant(
        "a job fails just above its share of failed tasks",
        "decide/plan.rs",
        ".max(1)) >= u64::from(percent)",
        ".max(1)) > u64::from(percent)",
    ),
    mutant(
        "a lost worker counts as somebody who could still run a task",
        "decide/report.rs",
        "None | Some(WorkerStatus::Offline | WorkerStatus::Error)",
        "None | Some(WorkerStatus::Offline)",
    ),
    mutant(
        "whoever names the attempt may report it",
        "decide/report.rs",
        "if attempt.worker != report.worker {",
        "if attempt.worker != report.worker && report.attempt.is_none() {",
    ),
    mutant(
        "a report of an older attempt counts for the new one",
        "decide/report.rs",
        "(named == attempt.id).then_some(attempt)",
        "(named <= attempt.id).then_some(attempt)",
    ),
    mutant(
        "a Flamenco worker's late word counts for its new attempt",
        "decide/report.rs",
        "let may_be_old = attempt.protocol == Protocol::Flamenco",
        "let may_be_old = attempt.protocol == Protocol::Tablao",
    ),
    mutant(
        "a task that comes back to a paused job is queued",
        "decide/plan.rs",
        "JobStatus::PauseRequested | JobStatus::Paused => TaskStatus::Paused,",
        "JobStatus::PauseRequested | JobStatus::Paused => TaskStatus::Queued,",
    ),
    mutant(
        "a job that is queued again remembers failures",
        "decide/plan.rs",
        "            self.forget_failures(job);\n",
        "",
    ),
    mutant(
        "a job whose last startable task is canceled waits for ever",
        "decide/plan.rs",
        "schedule.has_ready_task(id, |number| view.changed.contains_key(&number))",
        "schedule.has_ready_task(id, |_| false)",
    ),
    mutant(
        "an attempt without a lease lapses at once",
        "decide/task.rs",
        "let silent_too_long = attempt.lease_ms > 0",
        "let silent_too_long = attempt.lease_ms < u32::MAX",
    ),
    mutant(
        "a started attempt lapses as if it had not started",
        "decide/task.rs",
        "let not_started = attempt.state == AttemptState::Assigned",
        "let not_started = attempt.state != AttemptState::Stopping",
    ),
    mutant(
        "an assignment whose answer was lost is not handed out again",
        "decide/task.rs",
        "held >= worker.slots.max(1) || attempt.state == AttemptState::Assigned",
        "held >= worker.slots.max(1)",
    ),
];
