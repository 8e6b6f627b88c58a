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
        "schedule/mod.rs",
        "let priority = Reverse(job.state.facts.priority);",
        "let priority = Reverse(-job.state.facts.priority);",
    ),
    mutant(
        "tasks of low priority run first",
        "schedule/ready.rs",
        "let tasks = self.by_priority.entry(Reverse(task.priority)).or_default();",
        "let tasks = self.by_priority.entry(Reverse(-task.priority)).or_default();",
    ),
    mutant(
        "tasks of equal priority run last one first",
        "schedule/numbers.rs",
        "let bit = u64::from(self.bits.trailing_zeros());\n        self.bits &= self.bits - 1;",
        "let bit = u64::from(self.bits.ilog2());\n        self.bits &= !(1 << bit);",
    ),
    mutant(
        "the youngest job runs first",
        "schedule/pick.rs",
        "                sequence: place.1,",
        "                sequence: u64::MAX - place.1,",
    ),
    mutant(
        "a job's tag is not looked at",
        "schedule/mod.rs",
        "let tag = job.state.facts.tag;",
        "let tag = None;",
    ),
    mutant(
        "a blocked worker still gets tasks",
        "schedule/mod.rs",
        "set_bar(&mut self.blocked, worker, task_type, sequence);",
        "",
    ),
    mutant(
        "a job gets one worker more than it may have",
        "farm.rs",
        "job.live < max",
        "job.live <= max",
    ),
    mutant(
        "a worker tries again what it failed",
        "schedule/ready.rs",
        "let left = tasks.without(&barred);",
        "let left = tasks.without(&barred[1..]);",
    ),
    mutant(
        "a dependency that is queued again no longer blocks",
        "schedule/waits.rs",
        "*self.open.entry(task).or_default() += 1;",
        "*self.open.entry(task).or_default() += 0;",
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
        "crew.rs",
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
        "schedule.has_ready_task(job, is_changed)",
        "schedule.has_ready_task(job, |_| false)",
    ),
    mutant(
        "what replaces a running task starts beside it",
        "farm.rs",
        "has_room && job.leaving == 0 && self",
        "has_room && self",
    ),
    mutant(
        "a task that went counts when it ends",
        "decide/plan.rs",
        "if !view.is_retired(&job.tasks.at(attempt.task)) {",
        "if view.live < u32::MAX {",
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
    mutant(
        "a worker that failed all of a job's ready tasks is never let back in",
        "schedule/mod.rs",
        "    for &worker in &turned.freed {\n",
        "    for &worker in turned.freed.iter().take(0) {\n",
    ),
    mutant(
        "a dependency named together with others is forgotten",
        "schedule/waits.rs",
        "            start += 1 << width;",
        "            start += 2 << width;",
    ),
    mutant(
        "a job does not begin when its moment comes",
        "schedule/mod.rs",
        "Included((to, last))",
        "Excluded((to, JobId::new(uuid::Uuid::nil())))",
    ),
    mutant(
        "jobs whose moment has come wait for the next record",
        "schedule/pick.rs",
        "self.starting(farm.time(), now)",
        "self.starting(now, now)",
    ),
    mutant(
        "a worker that signs off still counts as somebody who could run a task",
        "apply/worker.rs",
        "        self.crew.leave(worker);\n        change(worker);",
        "        change(worker);",
    ),
    mutant(
        "a worker in quarantine gets tasks",
        "decide/task.rs",
        "        if worker.quarantined {\n            return Ok(Answer::NoTask);",
        "        if false {\n            return Ok(Answer::NoTask);",
    ),
    mutant(
        "a worker in quarantine keeps what it runs",
        "decide/quarantine.rs",
        "        self.give_all_back(id, AttemptOutcome::Returned, \"its worker is in quarantine\");\n",
        "",
    ),
    mutant(
        "a lighter cause takes the place of a heavier one",
        "decide/quarantine.rs",
        "weight < cause.weight()",
        "weight != cause.weight()",
    ),
    mutant(
        "a worker lifts what a person decided",
        "decide/quarantine.rs",
        "if own_check_only && before.cause != QuarantineCause::SelfCheck {",
        "if own_check_only && before.cause == QuarantineCause::SelfCheck {",
    ),
    mutant(
        "a failed task waits for a worker in quarantine",
        "crew.rs",
        "connected && !worker.deleted && !worker.quarantined",
        "connected && !worker.deleted",
    ),
    mutant(
        "a task that ran out of memory goes to a worker of the same size",
        "schedule/ready.rs",
        "self.outgrown.range(memory..)",
        "self.outgrown.range(memory + 1..)",
    ),
    mutant(
        "workers that are too small count as others who may try",
        "decide/report.rs",
        ".chain(self.too_small(outgrown))",
        ".chain(self.too_small(None))",
    ),
];
