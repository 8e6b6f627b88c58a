// SPDX-License-Identifier: GPL-3.0-or-later
//! The naive farm's rules about tasks that come and go when a job is compiled anew, and about
//! tasks that run again together.

use tablao_core::{JobId, JobStatus, TaskStatus};

use super::{Answer, NaiveFarm, No, Said, StopReason, WishedTask};

impl NaiveFarm {
    /// Whether anything about the job may be exchanged as it stands.
    fn may_be_regenerated(&self, id: JobId) -> Result<(), No> {
        let job = self.job(id).ok_or(No::SuchJob)?;
        let stands = !matches!(
            job.status,
            JobStatus::UnderConstruction | JobStatus::CancelRequested | JobStatus::Requeueing
        );
        if job.to_be_deleted || !stands || !self.is_whole(id) {
            return Err(No::ItCannotBeRegenerated);
        }
        Ok(())
    }

    /// Tasks that are not the job's yet.
    pub(crate) fn prepare(
        &mut self,
        id: JobId,
        generation: u32,
        first: u32,
        tasks: Vec<WishedTask>,
    ) -> Answer {
        self.may_be_regenerated(id)?;
        let next = self.job(id).expect("it was looked at").generation + 1;
        if generation != next || first as usize != self.ever_of(id).count() {
            return Err(No::SomebodyWasFirst);
        }
        self.check_tasks(usize::MAX, first as usize, &tasks)?;
        self.put_tasks(id, tasks, generation, true);
        Ok(Said::Done)
    }

    /// These go, those that were prepared from `first` on come.
    pub(crate) fn regenerate(
        &mut self,
        id: JobId,
        generation: u32,
        going: &[(u32, u32)],
        (first, count): (u32, u32),
    ) -> Answer {
        self.may_be_regenerated(id)?;
        let all = u32::try_from(self.ever_of(id).count()).expect("tests use few tasks");
        if self.job(id).expect("it was looked at").generation != generation {
            return Err(No::SomebodyWasFirst);
        }
        if first + count != all {
            return Err(No::SomebodyWasFirst);
        }
        let goes = |number: u32| {
            going
                .iter()
                .any(|&(low, high)| low <= number && number <= high)
        };
        for number in 0..all {
            let task = self.ever_of(id).find(|task| task.number == number);
            let task = task.expect("numbers have no gaps");
            let comes = number >= first;
            let was_prepared = task.gone && task.generation == generation + 1;
            if (comes && !was_prepared) || (goes(number) && task.gone) {
                return Err(No::SomebodyWasFirst);
            }
            let will_be_there = comes || (!task.gone && !goes(number));
            let is_lost = |other: u32| {
                let found = self.ever_of(id).find(|task| task.number == other);
                found.is_none_or(|found| goes(other) || (other < first && found.gone))
            };
            if will_be_there && task.needs.iter().any(|&other| is_lost(other)) {
                return Err(No::ItContradictsItself);
            }
        }
        for task in self.tasks.iter_mut().filter(|task| task.job == id) {
            if task.number >= first {
                task.gone = false;
            }
            if goes(task.number) {
                task.gone = true;
                task.failed_by.clear();
                if let Some(run) = &mut task.run {
                    run.told_to_stop = Some(StopReason::TaskIsGone);
                }
            }
        }
        let job = self.job_mut(id);
        job.generation += 1;
        job.announced = all as usize;
        let status = job.status;
        match status {
            JobStatus::Completed if !self.all_completed(id) => {
                self.job_mut(id).status = JobStatus::Queued;
            }
            JobStatus::Canceled | JobStatus::Failed => self.run_job_again(id, false),
            _ => self.settle(id, false),
        }
        Ok(Said::Job(id))
    }

    /// These run again, and everything that needs them, and everything that needs those.
    pub(crate) fn again(
        &mut self,
        id: JobId,
        ranges: &[(u32, u32)],
        dependants_too: bool,
    ) -> Answer {
        self.job(id).ok_or(No::SuchJob)?;
        if self.may_be_regenerated(id).is_err() {
            return Err(No::JobCannotBecomeThat);
        }
        let mut again: Vec<u32> = Vec::new();
        for number in ranges.iter().flat_map(|&(low, high)| low..=high) {
            let task = self.ever_of(id).find(|task| task.number == number);
            let task = task.ok_or(No::ItContradictsItself)?;
            if task.gone {
                return Err(No::ItIsGone);
            }
            again.push(number);
        }
        loop {
            let more = self.tasks_of(id).find(|task| {
                !again.contains(&task.number) && task.needs.iter().any(|need| again.contains(need))
            });
            match more.map(|task| task.number) {
                Some(more) if dependants_too => again.push(more),
                _ => break,
            }
        }
        let mut something_waits_anew = false;
        for task in self.tasks_of_mut(id) {
            if !again.contains(&task.number) {
                continue;
            }
            task.failed_by.clear();
            if let Some(run) = &mut task.run {
                run.told_to_stop = Some(StopReason::TaskShallRunAnew);
            } else if task.status != TaskStatus::Queued {
                task.status = TaskStatus::Queued;
                task.steps = 0;
                something_waits_anew = true;
            }
        }
        let job = self.job_mut(id);
        let over = matches!(
            job.status,
            JobStatus::Completed | JobStatus::Canceled | JobStatus::Failed
        );
        if over && something_waits_anew {
            job.status = JobStatus::Queued;
        }
        Ok(Said::Done)
    }
}
