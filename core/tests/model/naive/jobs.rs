// SPDX-License-Identifier: GPL-3.0-or-later
//! The naive farm's rules about jobs, and what people may ask of jobs and tasks.

use tablao_core::{JobId, JobStatus, TagId, TaskId, TaskStatus, WorkerId};

use super::{Answer, Moment, NaiveFarm, NaiveJob, NaiveTask, No, Said, StopReason};

/// A job as somebody submits it.
pub(crate) struct WishedJob {
    pub(crate) id: JobId,
    pub(crate) priority: i32,
    pub(crate) tag: Option<TagId>,
    pub(crate) at_most: Option<usize>,
    pub(crate) not_before: Option<Moment>,
    pub(crate) after: Vec<JobId>,
    pub(crate) percent: Option<usize>,
    pub(crate) tries: Option<usize>,
    pub(crate) announced: usize,
    pub(crate) begins: JobStatus,
    /// The Server placed it, so it may come twice.
    pub(crate) placed: bool,
}

/// A task as somebody submits it.
pub(crate) struct WishedTask {
    pub(crate) id: TaskId,
    pub(crate) task_type: String,
    pub(crate) priority: i32,
    pub(crate) needs: Vec<u32>,
    pub(crate) steps: u32,
}

impl NaiveFarm {
    pub(crate) fn submit(
        &mut self,
        wish: WishedJob,
        tasks: Vec<WishedTask>,
        whole: bool,
    ) -> Answer {
        if self.job(wish.id).is_some() {
            return if wish.placed {
                Ok(Said::Job(wish.id))
            } else {
                Err(No::ItIsThereAlready)
            };
        }
        if wish.tag.is_some_and(|tag| !self.tags.contains(&tag)) {
            return Err(No::SuchTag);
        }
        if wish.begins != JobStatus::Queued && wish.begins != JobStatus::Paused {
            return Err(No::ItContradictsItself);
        }
        if whole && tasks.len() != wish.announced {
            return Err(No::ItContradictsItself);
        }
        self.check_tasks(wish.announced, 0, &tasks)?;
        self.jobs_seen += 1;
        let id = wish.id;
        self.jobs.push(NaiveJob {
            id,
            age: self.jobs_seen,
            priority: wish.priority,
            tag: wish.tag,
            at_most: wish.at_most,
            not_before: wish.not_before,
            after: wish.after,
            percent: wish.percent,
            tries: wish.tries,
            announced: wish.announced,
            generation: 1,
            begins: wish.begins,
            status: JobStatus::UnderConstruction,
            held_by: Vec::new(),
            to_be_deleted: false,
            barred: Vec::new(),
            barred_at: Vec::new(),
        });
        self.put_tasks(id, tasks, 1, false);
        if whole {
            self.begin(id);
        }
        Ok(Said::Job(id))
    }

    pub(super) fn check_tasks(
        &self,
        announced: usize,
        there: usize,
        tasks: &[WishedTask],
    ) -> Result<(), No> {
        let too_many = there + tasks.len() > announced;
        let wrong_need = tasks.iter().enumerate().any(|(n, task)| {
            (task.needs.iter())
                .any(|need| *need as usize >= announced || *need as usize == there + n)
        });
        let same_id = tasks.iter().enumerate().any(|(n, task)| {
            self.task(task.id).is_some() || tasks[..n].iter().any(|other| other.id == task.id)
        });
        if too_many || wrong_need || same_id {
            return Err(No::ItContradictsItself);
        }
        Ok(())
    }

    pub(super) fn put_tasks(
        &mut self,
        job: JobId,
        tasks: Vec<WishedTask>,
        generation: u32,
        gone: bool,
    ) {
        for wish in tasks {
            let number = u32::try_from(self.ever_of(job).count()).expect("tests use few tasks");
            self.tasks.push(NaiveTask {
                id: wish.id,
                job,
                number,
                gone,
                generation,
                task_type: wish.task_type,
                priority: wish.priority,
                needs: wish.needs,
                status: TaskStatus::Queued,
                steps: 0,
                steps_in_all: wish.steps,
                failed_by: Vec::new(),
                last_worker: None,
                run: None,
                before: None,
            });
        }
    }

    /// All tasks are there. What came to rest while they were written down counts now.
    fn begin(&mut self, id: JobId) {
        let job = self.job_mut(id);
        job.status = job.begins;
        self.settle(id, false);
    }

    fn is_being_built(&self, id: JobId) -> Result<&NaiveJob, No> {
        let job = self.job(id).ok_or(No::SuchJob)?;
        if job.status == JobStatus::UnderConstruction {
            Ok(job)
        } else {
            Err(No::ItContradictsItself)
        }
    }

    pub(crate) fn more_tasks(&mut self, id: JobId, tasks: Vec<WishedTask>) -> Answer {
        let announced = self.is_being_built(id)?.announced;
        self.check_tasks(announced, self.tasks_of(id).count(), &tasks)?;
        self.put_tasks(id, tasks, 1, false);
        Ok(Said::Done)
    }

    pub(crate) fn no_more_tasks(&mut self, id: JobId) -> Answer {
        if self.is_being_built(id)?.announced != self.tasks_of(id).count() {
            return Err(No::ItContradictsItself);
        }
        self.begin(id);
        Ok(Said::Job(id))
    }

    /// Nobody will bring the rest of its tasks: the job is failed, and its tasks never ran.
    pub(crate) fn give_up_building(&mut self, id: JobId) -> Answer {
        self.is_being_built(id)?;
        self.job_mut(id).status = JobStatus::Failed;
        Ok(Said::Done)
    }

    pub(crate) fn set_job(&mut self, id: JobId, wanted: JobStatus) -> Answer {
        use JobStatus as J;
        let job = self.job(id).ok_or(No::SuchJob)?;
        let now = job.status;
        if now == wanted {
            return Ok(Said::Done);
        }
        let is_whole = self.is_whole(id);
        let sources: &[J] = match wanted {
            J::Canceled | J::CancelRequested => &[
                J::Queued,
                J::Active,
                J::Paused,
                J::PauseRequested,
                J::Failed,
            ],
            J::Paused | J::PauseRequested => &[J::Queued, J::Active, J::Canceled],
            J::Queued | J::Requeueing => &[
                J::Completed,
                J::Canceled,
                J::Failed,
                J::Paused,
                J::PauseRequested,
            ],
            J::Failed => &[J::Queued, J::Active, J::Paused, J::PauseRequested],
            J::Active | J::Completed | J::UnderConstruction => &[],
        };
        if !sources.contains(&now) {
            return Err(No::JobCannotBecomeThat);
        }
        if matches!(wanted, J::Queued | J::Requeueing) && !is_whole {
            // What was never completely written down can never run.
            return Err(No::ItContradictsItself);
        }
        match wanted {
            J::Canceled | J::CancelRequested => self.cancel_job(id),
            J::Paused | J::PauseRequested => self.pause_job(id),
            J::Queued | J::Requeueing => self.run_job_again(id, now == J::Completed),
            _ => self.fail_job(id),
        }
        Ok(Said::Done)
    }

    fn turn_waiting(&mut self, job: JobId, to: TaskStatus) {
        for task in self.tasks_of_mut(job) {
            if Self::waits(task.status) {
                task.status = to;
            }
        }
    }

    fn tell_all_to_stop(&mut self, job: JobId) {
        for task in self.tasks_of_mut(job) {
            if let Some(run) = &mut task.run {
                run.told_to_stop.get_or_insert(StopReason::JobEnds);
            }
        }
    }

    /// What waits is canceled at once; the job is, when nothing runs any more.
    pub(crate) fn cancel_job(&mut self, id: JobId) {
        self.turn_waiting(id, TaskStatus::Canceled);
        self.tell_all_to_stop(id);
        self.job_mut(id).status = if self.running(id) == 0 {
            JobStatus::Canceled
        } else {
            JobStatus::CancelRequested
        };
    }

    /// What waits is paused; what runs may finish, and then the job is paused.
    fn pause_job(&mut self, id: JobId) {
        self.turn_waiting(id, TaskStatus::Paused);
        self.job_mut(id).status = if self.running(id) == 0 {
            JobStatus::Paused
        } else {
            JobStatus::PauseRequested
        };
    }

    pub(crate) fn fail_job(&mut self, id: JobId) {
        self.turn_waiting(id, TaskStatus::Canceled);
        self.tell_all_to_stop(id);
        self.job_mut(id).status = JobStatus::Failed;
    }

    /// Everything that is not completed runs again, or everything if all was; nobody's
    /// failures are held against anybody.
    pub(super) fn run_job_again(&mut self, id: JobId, completed_ones_too: bool) {
        for task in self.tasks_of_mut(id) {
            task.failed_by.clear();
            let again = match task.status {
                TaskStatus::Completed => completed_ones_too,
                TaskStatus::Active | TaskStatus::Queued => false,
                _ => true,
            };
            if again {
                task.status = TaskStatus::Queued;
                task.steps = 0;
            }
        }
        let done = self.all_completed(id);
        let job = self.job_mut(id);
        job.barred.clear();
        job.status = if done {
            JobStatus::Completed
        } else {
            JobStatus::Queued
        };
    }

    /// A task came to rest: what does that mean for its job?
    pub(crate) fn settle(&mut self, id: JobId, the_task_failed: bool) {
        let job = self.job(id).expect("its task was just changed");
        let nothing_runs = self.running(id) == 0;
        match job.status {
            JobStatus::CancelRequested if nothing_runs => {
                self.job_mut(id).status = JobStatus::Canceled;
                return;
            }
            JobStatus::Queued | JobStatus::Active | JobStatus::PauseRequested => {}
            _ => return,
        }
        if self.all_completed(id) {
            self.job_mut(id).status = JobStatus::Completed;
            return;
        }
        let limit = job.percent.unwrap_or(self.rules.percent);
        let failed = self.how_many(id, TaskStatus::Failed);
        if the_task_failed && failed * 100 / self.tasks_of(id).count() >= limit {
            self.fail_job(id);
            return;
        }
        if nothing_runs && job.status == JobStatus::PauseRequested {
            self.job_mut(id).status = JobStatus::Paused;
            return;
        }
        self.end_what_cannot_go_on(id);
    }

    /// A job of which nothing runs, nothing is paused and nothing can ever be started is over,
    /// if something in it failed or was canceled.
    fn end_what_cannot_go_on(&mut self, id: JobId) {
        let status = self.job(id).expect("it was looked up before").status;
        let may_run = status == JobStatus::Queued || status == JobStatus::Active;
        let something_can_start = self
            .tasks_of(id)
            .any(|task| Self::waits(task.status) && self.needs_are_met(task));
        let paused = self.how_many(id, TaskStatus::Paused);
        if !may_run || self.running(id) > 0 || something_can_start || paused > 0 {
            return;
        }
        if self.how_many(id, TaskStatus::Failed) > 0 {
            self.fail_job(id);
        } else if self.how_many(id, TaskStatus::Canceled) > 0 {
            self.cancel_job(id);
        }
    }

    pub(crate) fn set_task(&mut self, id: TaskId, wanted: TaskStatus) -> Answer {
        use TaskStatus as T;
        let task = self.task(id).ok_or(No::SuchTask)?;
        let (now, job) = (task.status, task.job);
        if task.gone {
            return Err(No::ItIsGone);
        }
        if now == wanted {
            return Ok(Said::Done);
        }
        if task.run.is_some() {
            let reason = match wanted {
                T::Canceled => StopReason::TaskIsCanceled,
                T::Queued => StopReason::TaskShallRunAnew,
                _ => return Err(No::TaskCannotBecomeThat),
            };
            let run = self.task_mut(id).run.as_mut();
            run.expect("it was there above").told_to_stop = Some(reason);
            return Ok(Said::Done);
        }
        let granted = match wanted {
            T::Queued => true,
            T::Canceled => matches!(now, T::Queued | T::SoftFailed | T::Paused),
            T::Paused => Self::waits(now),
            T::Failed => matches!(now, T::Queued | T::SoftFailed | T::Paused),
            T::Completed => true,
            T::Active | T::SoftFailed => false,
        };
        if !granted {
            return Err(No::TaskCannotBecomeThat);
        }
        let task = self.task_mut(id);
        task.status = wanted;
        match wanted {
            T::Queued => {
                task.steps = 0;
                task.failed_by.clear();
                // One task runs again, so its job does, and the rest of the job stays as it is.
                let whole = self.is_whole(job);
                let job = self.job_mut(job);
                let over = matches!(
                    job.status,
                    JobStatus::Completed | JobStatus::Canceled | JobStatus::Failed
                );
                if over && whole {
                    job.status = JobStatus::Queued;
                }
            }
            T::Completed => {
                task.steps = task.steps_in_all;
                self.settle(job, false);
            }
            _ => self.settle(job, wanted == T::Failed),
        }
        Ok(Said::Done)
    }

    pub(crate) fn set_job_priority(&mut self, id: JobId, priority: i32) -> Answer {
        self.job(id).ok_or(No::SuchJob)?;
        if !(0..=100).contains(&priority) {
            return Err(No::PriorityIsOff);
        }
        self.job_mut(id).priority = priority;
        Ok(Said::Done)
    }

    pub(crate) fn set_task_priority(&mut self, id: TaskId, priority: i32) -> Answer {
        self.task(id).ok_or(No::SuchTask)?;
        self.task_mut(id).priority = priority;
        Ok(Said::Done)
    }

    pub(crate) fn set_job_tag(&mut self, id: JobId, tag: Option<TagId>) -> Answer {
        self.job(id).ok_or(No::SuchJob)?;
        if tag.is_some_and(|tag| !self.tags.contains(&tag)) {
            return Err(No::SuchTag);
        }
        self.job_mut(id).tag = tag;
        Ok(Said::Done)
    }

    pub(crate) fn hold(&mut self, id: JobId, what: String) -> Answer {
        self.job(id).ok_or(No::SuchJob)?;
        let job = self.job_mut(id);
        if !job.held_by.contains(&what) {
            job.held_by.push(what);
        }
        Ok(Said::Done)
    }

    pub(crate) fn release(&mut self, id: JobId, what: &str) -> Answer {
        self.job(id).ok_or(No::SuchJob)?;
        self.job_mut(id).held_by.retain(|held| held != what);
        Ok(Said::Done)
    }

    pub(crate) fn mark_deleted(&mut self, id: JobId) -> Answer {
        let job = self.job(id).ok_or(No::SuchJob)?;
        let would_run = matches!(
            job.status,
            JobStatus::Queued | JobStatus::Active | JobStatus::PauseRequested
        );
        if would_run && !job.to_be_deleted {
            self.cancel_job(id);
        }
        self.job_mut(id).to_be_deleted = true;
        Ok(Said::Done)
    }

    pub(crate) fn restore(&mut self, id: JobId) -> Answer {
        self.job(id).ok_or(No::SuchJob)?;
        self.job_mut(id).to_be_deleted = false;
        Ok(Said::Done)
    }

    pub(crate) fn purge(&mut self, id: JobId) -> Answer {
        let job = self.job(id).ok_or(No::SuchJob)?;
        if !job.to_be_deleted || self.running(id) > 0 {
            return Err(No::ItCannotGoYet);
        }
        self.jobs.retain(|job| job.id != id);
        self.tasks.retain(|task| task.job != id);
        Ok(Said::Done)
    }

    pub(crate) fn trust_again(&mut self, id: JobId, entries: &[(WorkerId, String)]) -> Answer {
        self.job(id).ok_or(No::SuchJob)?;
        self.job_mut(id)
            .barred
            .retain(|entry| !entries.contains(entry));
        Ok(Said::Done)
    }
}
