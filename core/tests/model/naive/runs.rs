// SPDX-License-Identifier: GPL-3.0-or-later
//! The naive farm's rules about handing out tasks and about what workers say of them.

use tablao_core::{AttemptId, TaskId, TaskStatus, WorkerId, WorkerStatus};

use super::{
    Answer, JobId, JobStatus, Moment, NaiveFarm, NaiveTask, NaiveWorker, No, Run, Said, StopReason,
};

/// What a worker says about a task.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) worker: WorkerId,
    pub(crate) task: TaskId,
    /// The run it means, if it names runs.
    pub(crate) run: Option<AttemptId>,
    pub(crate) status: Option<TaskStatus>,
    pub(crate) steps: Option<u32>,
    /// It failed because its memory was too little.
    pub(crate) ran_out: bool,
}

impl NaiveFarm {
    /// All tasks that a worker may start now, best first.
    pub(crate) fn startable(&self, worker: &NaiveWorker) -> Vec<&NaiveTask> {
        let mut found: Vec<&NaiveTask> = self
            .tasks
            .iter()
            .filter(|task| self.may_start(worker, task))
            .collect();
        // Job priority, then task priority, then the older job, then the order in the job.
        found.sort_by(|a, b| {
            let (job_a, job_b) = (
                self.job(a.job).expect("there"),
                self.job(b.job).expect("there"),
            );
            (job_b.priority.cmp(&job_a.priority))
                .then(b.priority.cmp(&a.priority))
                .then(job_a.age.cmp(&job_b.age))
                .then(a.number.cmp(&b.number))
        });
        found
    }

    fn may_start(&self, worker: &NaiveWorker, task: &NaiveTask) -> bool {
        let job = self.job(task.job).expect("a task has its job");
        let the_job_runs = (job.status == JobStatus::Queued || job.status == JobStatus::Active)
            && job.held_by.is_empty()
            && !job.to_be_deleted
            && !(self.ever_of(job.id)).any(|other| other.gone && other.run.is_some())
            && job.not_before.is_none_or(|moment| moment <= self.now)
            && job.at_most.is_none_or(|most| self.running(job.id) < most)
            && job.after.iter().all(|other| {
                self.job(*other)
                    .is_some_and(|other| other.status == JobStatus::Completed)
            });
        let the_worker_may = worker.types.contains(&task.task_type)
            && job.tag.is_none_or(|tag| worker.tags.contains(&tag))
            && !task.failed_by.contains(&worker.id)
            && Self::may_fit(task.too_little, worker)
            && !job.barred.contains(&(worker.id, task.task_type.clone()));
        !task.gone
            && the_job_runs
            && the_worker_may
            && Self::waits(task.status)
            && self.needs_are_met(task)
    }

    /// `label` is what the farm under test calls the run, if this starts one.
    pub(crate) fn ask(&mut self, id: WorkerId, label: Option<AttemptId>) -> Answer {
        let worker = self.worker(id)?.clone();
        if worker.asked.is_some() {
            return Err(No::ChangeYourStatusFirst);
        }
        // Lost, and found: it is to say first that it is awake.
        if worker.status == Some(WorkerStatus::Error) {
            return Err(No::ChangeYourStatusFirst);
        }
        if worker.status != Some(WorkerStatus::Awake) {
            return Err(No::OnlyAwakeWorkersRun);
        }
        // What it gives back by asking is not among what it can get by the same question.
        let best = self.startable(&worker).first().map(|task| task.id);
        let held = self.held_for(&worker);
        let mut busy = 0;
        for (_, task) in self.runs_of(id) {
            let run = self.task(task).and_then(|task| task.run.clone());
            let run = run.expect("it runs this task");
            if run.told_to_stop.is_some() {
                // It asks for another one, so it has stopped.
                self.give_back(task);
                continue;
            }
            busy += 1;
            if busy == worker.slots || !run.begun {
                // It did not hear of this one, or it has no hand free for another.
                return Ok(Said::Run(task));
            }
        }
        if worker.sick.is_some() {
            return Ok(Said::Nothing);
        }
        let best = match best {
            Some(best) => best,
            // It has nothing to do, and somebody has more than it can begin.
            None if busy == 0 => match held {
                Some(held) => {
                    self.give_back(held);
                    held
                }
                None => return Ok(Said::Nothing),
            },
            None => return Ok(Said::Nothing),
        };
        let rules = self.rules.clone();
        let task = self.task_mut(best);
        task.status = TaskStatus::Active;
        task.last_worker = Some(id);
        task.run = Some(Run {
            id: label.expect("the farm under test started a run, too"),
            worker: id,
            names_runs: worker.names_runs,
            begun: false,
            told_to_stop: None,
            silence_ms: if worker.names_runs {
                rules.lease_ms
            } else {
                rules.task_silence_ms
            },
            start_ms: if worker.names_runs { rules.start_ms } else { 0 },
        });
        let job = task.job;
        self.job_mut(job).status = JobStatus::Active;
        Ok(Said::Run(best))
    }

    /// Whether a run has not begun while another one of its worker has.
    fn waits_behind(&self, run: &Run) -> bool {
        let others = self.tasks.iter().filter_map(|task| task.run.as_ref());
        let mut begun = others
            .filter(|other| other.worker == run.worker)
            .filter(|other| other.begun && other.told_to_stop.is_none());
        !run.begun && run.told_to_stop.is_none() && begun.next().is_some()
    }

    /// The task that a worker may take away from one that has not come to it, the oldest run first.
    pub(crate) fn held_for(&self, worker: &NaiveWorker) -> Option<TaskId> {
        let mut held: Vec<(AttemptId, &NaiveTask)> = (self.tasks.iter())
            .filter_map(|task| Some((task.run.as_ref()?, task)))
            .filter(|(run, _)| self.waits_behind(run))
            .map(|(run, task)| (run.id, task))
            .collect();
        held.sort_unstable_by_key(|(run, _)| *run);
        let found = held.into_iter().find(|(_, task)| {
            let mut waiting = (*task).clone();
            waiting.status = TaskStatus::Queued;
            // Its place in the job is free once it is given back.
            let mut without = self.clone();
            without.task_mut(task.id).run = None;
            without.may_start(worker, &waiting)
        });
        found.map(|(_, task)| task.id)
    }

    /// A worker that is to do something else gives back what it has not come to.
    pub(crate) fn return_held(&mut self, worker: WorkerId) {
        for (_, task) in self.runs_of(worker) {
            let run = self.task(task).and_then(|task| task.run.clone());
            if run.is_some_and(|run| self.waits_behind(&run)) {
                self.give_back(task);
            }
        }
    }

    pub(crate) fn hear(&mut self, word: &Word) -> Answer {
        self.worker(word.worker)?;
        let task = self.task(word.task).ok_or(No::SuchTask)?.clone();
        if word.status == Some(TaskStatus::SoftFailed) {
            return Err(No::WorkersDoNotSayThat);
        }
        let meant = task.run.as_ref().filter(|run| {
            let named = word.run.is_none_or(|named| named == run.id);
            // Who names no runs may speak of the one before, until it says that it started.
            let perhaps_the_one_before = word.run.is_none()
                && !run.names_runs
                && !run.begun
                && run.told_to_stop.is_none()
                && task.before.is_some()
                && word.status != Some(TaskStatus::Active);
            run.worker == word.worker && named && !perhaps_the_one_before
        });
        let Some(run) = meant else {
            return Self::too_late(word, &task);
        };
        let stopping = run.told_to_stop.is_some();
        let live = self.task_mut(task.id);
        if let Some(run) = &mut live.run {
            run.begun = true;
        }
        if let Some(steps) = word.steps {
            live.steps = steps.min(live.steps_in_all);
        }
        match word.status {
            None | Some(TaskStatus::Active | TaskStatus::SoftFailed) => {}
            Some(TaskStatus::Completed) => {
                live.steps = live.steps_in_all;
                self.run_is_over(task.id, TaskStatus::Completed, true);
                self.settle(task.job, false);
            }
            Some(TaskStatus::Failed) if !stopping => self.failed(&task, word.worker, word.ran_out),
            Some(_) => self.give_back(task.id),
        }
        Ok(Said::Done)
    }

    fn too_late(word: &Word, task: &NaiveTask) -> Answer {
        if let (Some(named), Some((last, true))) = (word.run, task.before)
            && named == last
        {
            // It said so before, and did not hear that we heard.
            return Ok(Said::Done);
        }
        if word.run.is_none() && task.run.is_none() && task.before.is_none() {
            return Err(No::ItIsNotYours);
        }
        Ok(Said::Late)
    }

    fn run_is_over(&mut self, task: TaskId, status: TaskStatus, by_own_word: bool) {
        let task = self.task_mut(task);
        task.status = status;
        let run = task.run.take().expect("it was running");
        task.before = Some((run.id, by_own_word));
    }

    /// A run ends without a result. Where the task goes depends on what its job wants.
    pub(crate) fn give_back(&mut self, id: TaskId) {
        let task = self.task(id).expect("it was running").clone();
        let job = self.job(task.job).expect("a task has its job").status;
        let canceled =
            task.run.and_then(|run| run.told_to_stop) == Some(StopReason::TaskIsCanceled);
        let to = match job {
            _ if task.gone => TaskStatus::Canceled,
            JobStatus::CancelRequested | JobStatus::Canceled | JobStatus::Failed => {
                TaskStatus::Canceled
            }
            JobStatus::PauseRequested | JobStatus::Paused => TaskStatus::Paused,
            _ if canceled => TaskStatus::Canceled,
            _ => TaskStatus::Queued,
        };
        if to == TaskStatus::Queued {
            self.task_mut(id).steps = 0;
        }
        self.run_is_over(id, to, false);
        self.settle(task.job, false);
    }

    /// A worker failed a task by its own fault or the task's: nobody can tell yet.
    fn failed(&mut self, task: &NaiveTask, worker: WorkerId, ran_out: bool) {
        let memory = self.worker(worker).ok().and_then(|worker| worker.memory);
        let live = self.task_mut(task.id);
        if !live.failed_by.contains(&worker) {
            live.failed_by.push(worker);
        }
        if ran_out && memory > live.too_little {
            live.too_little = memory;
        }
        let blamed = live.failed_by.clone();
        let task = &live.clone();
        let job = self.job(task.job).expect("a task has its job").clone();
        let nobody_else = self.others_left(&job.id, task, &blamed) == 0;
        let failures = (self.tasks_of(job.id))
            .filter(|other| other.task_type == task.task_type && other.failed_by.contains(&worker))
            .count();
        let entry = (worker, task.task_type.clone());
        if failures >= self.rules.patience && !job.barred.contains(&entry) {
            let now = self.now;
            let barring = self.job_mut(job.id);
            barring.barred.push(entry.clone());
            barring.barred_at.push((entry, now));
            if !nobody_else {
                // The worker was to blame, not the tasks that it failed for good.
                for other in self.tasks_of_mut(job.id) {
                    let its_fault = other.last_worker == Some(worker) && other.id != task.id;
                    if its_fault && other.status == TaskStatus::Failed {
                        other.status = TaskStatus::Queued;
                        other.steps = 0;
                    }
                }
            }
        }
        if nobody_else {
            self.run_is_over(task.id, TaskStatus::Failed, true);
            self.fail_job(job.id);
            return;
        }
        let given_up = blamed.len() >= job.tries.unwrap_or(self.rules.tries);
        let to = if given_up {
            TaskStatus::Failed
        } else {
            TaskStatus::SoftFailed
        };
        self.run_is_over(task.id, to, true);
        self.settle(job.id, given_up);
    }

    /// Whether a task that has run out of so much memory may be tried by a worker.
    fn may_fit(too_little: Option<u64>, worker: &NaiveWorker) -> bool {
        match (too_little, worker.memory) {
            (Some(too_little), Some(memory)) => memory > too_little,
            _ => true,
        }
    }

    /// How many workers that are here could still run such a task in this job.
    fn others_left(&self, job: &JobId, task: &NaiveTask, blamed: &[WorkerId]) -> usize {
        let job = self.job(*job).expect("a task has its job");
        self.workers
            .iter()
            .filter(|worker| {
                let here = !worker.gone
                    && worker.status.is_some()
                    && worker.status != Some(WorkerStatus::Offline)
                    && worker.status != Some(WorkerStatus::Error);
                here && worker.sick.is_none()
                    && worker.types.contains(&task.task_type)
                    && job.tag.is_none_or(|tag| worker.tags.contains(&tag))
                    && !blamed.contains(&worker.id)
                    && Self::may_fit(task.too_little, worker)
                    && !job.barred.contains(&(worker.id, task.task_type.clone()))
            })
            .count()
    }

    /// Runs of which nothing was heard since these moments.
    pub(crate) fn silent_runs(&mut self, evidence: &[(AttemptId, Moment)]) -> Answer {
        for (id, since) in evidence {
            let found = self.tasks.iter().find_map(|task| {
                let run = task.run.as_ref().filter(|run| run.id == *id)?;
                Some((task.id, run.clone()))
            });
            let Some((task, run)) = found else {
                continue;
            };
            let silent_ms = self.now.saturating_sub(*since);
            let for_too_long = run.silence_ms > 0 && silent_ms >= run.silence_ms;
            let never_began = !run.begun
                && run.told_to_stop.is_none()
                && run.start_ms > 0
                && silent_ms >= run.start_ms;
            if for_too_long || never_began {
                self.give_back(task);
            }
        }
        Ok(Said::Done)
    }
}
