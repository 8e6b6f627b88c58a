// SPDX-License-Identifier: GPL-3.0-or-later
//! The naive farm's rules about workers and tags.

use tablao_core::{AttemptId, TagId, WorkerId, WorkerStatus};

use super::{Answer, Moment, NaiveFarm, NaiveWorker, No, Rules, Said, Sickness};

impl NaiveFarm {
    pub(crate) fn register(&mut self, id: WorkerId, types: Vec<String>) -> Answer {
        // Who comes with an id that is taken has been here before.
        if !self.workers.iter().any(|worker| worker.id == id) {
            self.workers.push(NaiveWorker {
                id,
                types,
                tags: Vec::new(),
                status: None,
                asked: None,
                names_runs: false,
                slots: 1,
                can_restart: false,
                memory: None,
                gone: false,
                sick: None,
            });
        }
        Ok(Said::Done)
    }

    pub(crate) fn has_memory(&mut self, id: WorkerId, bytes: Option<u64>) -> Answer {
        self.worker(id)?;
        for worker in self.workers.iter_mut().filter(|worker| worker.id == id) {
            worker.memory = bytes;
        }
        Ok(Said::Done)
    }

    pub(crate) fn sign_on(
        &mut self,
        id: WorkerId,
        types: Vec<String>,
        names_runs: bool,
        slots: usize,
        can_restart: bool,
        held: &[AttemptId],
    ) -> Answer {
        let asked = self.worker(id)?.asked;
        let worker = self.worker_mut(id);
        worker.status = Some(WorkerStatus::Starting);
        worker.types = types;
        worker.names_runs = names_runs;
        worker.slots = slots.max(1);
        worker.can_restart = can_restart;
        if names_runs {
            // It knows what it still has in hand. The rest was lost with its last life.
            for (run, task) in self.runs_of(id) {
                if !held.contains(&run) {
                    self.give_back(task);
                }
            }
        }
        Ok(Said::StartAs(asked.unwrap_or(WorkerStatus::Awake)))
    }

    fn give_all_back(&mut self, id: WorkerId) {
        for (_, task) in self.runs_of(id) {
            self.give_back(task);
        }
    }

    pub(crate) fn sign_off(&mut self, id: WorkerId) -> Answer {
        let was = self.worker(id)?.status;
        let worker = self.worker_mut(id);
        worker.status = Some(WorkerStatus::Offline);
        if matches!(
            worker.asked,
            Some(WorkerStatus::Offline | WorkerStatus::Restart)
        ) {
            worker.asked = None;
        }
        // It comes back the way it left, unless somebody wants it otherwise.
        if matches!(was, Some(WorkerStatus::Awake | WorkerStatus::Asleep)) {
            worker.asked = worker.asked.or(was);
        }
        self.give_all_back(id);
        Ok(Said::Done)
    }

    pub(crate) fn state_changed(&mut self, id: WorkerId, status: WorkerStatus) -> Answer {
        let was = self.worker(id)?.status;
        let worker = self.worker_mut(id);
        worker.status = Some(status);
        if worker.asked == Some(status) {
            worker.asked = None;
        }
        if was == Some(WorkerStatus::Awake) && status != WorkerStatus::Awake {
            self.give_all_back(id);
        }
        Ok(Said::Done)
    }

    pub(crate) fn wish_status(&mut self, id: WorkerId, status: WorkerStatus) -> Answer {
        if status == WorkerStatus::Restart && !self.worker(id)?.can_restart {
            return Err(No::ItCannotRestart);
        }
        self.worker(id)?;
        let worker = self.worker_mut(id);
        worker.asked = (worker.status != Some(status)).then_some(status);
        if worker.asked.is_some() {
            self.return_held(id);
        }
        Ok(Said::Done)
    }

    /// What the local clock and their schedules want of some workers.
    pub(crate) fn schedules_say(
        &mut self,
        wanted: &[(WorkerId, WorkerStatus)],
        signing_on: bool,
    ) -> Answer {
        for (n, (id, status)) in wanted.iter().enumerate() {
            let again = wanted[..n].iter().any(|(other, _)| other == id);
            if self.worker(*id).is_err() || again {
                continue;
            }
            let worker = self.worker_mut(*id);
            let leaves = worker
                .asked
                .is_some_and(|asked| !matches!(asked, WorkerStatus::Awake | WorkerStatus::Asleep));
            if !leaves && worker.asked != Some(*status) {
                let is_so = worker.status == Some(*status) && !signing_on;
                worker.asked = (!is_so).then_some(*status);
                if worker.asked.is_some() {
                    self.return_held(*id);
                }
            }
        }
        Ok(Said::Done)
    }

    /// Blocks that were made at this moment or before are over.
    pub(crate) fn forgive(&mut self, made_by: Moment) -> Answer {
        for job in &mut self.jobs {
            let made = std::mem::take(&mut job.barred_at);
            let is_young = |entry: &(WorkerId, String)| {
                let last = made.iter().rev().find(|(other, _)| other == entry);
                last.is_none_or(|(_, at)| *at > made_by)
            };
            job.barred.retain(is_young);
            job.barred_at = made;
        }
        Ok(Said::Done)
    }

    pub(crate) fn tag_worker(&mut self, id: WorkerId, tags: &[TagId]) -> Answer {
        self.worker(id)?;
        let mut known: Vec<TagId> = self.tags.clone();
        known.retain(|tag| tags.contains(tag));
        self.worker_mut(id).tags = known;
        Ok(Said::Done)
    }

    pub(crate) fn delete_worker(&mut self, id: WorkerId) -> Answer {
        self.worker(id)?;
        self.give_all_back(id);
        self.worker_mut(id).gone = true;
        Ok(Said::Done)
    }

    /// Somebody or something keeps a worker from work.
    pub(crate) fn isolate(&mut self, id: WorkerId, why: Sickness, words: &str) -> Answer {
        self.worker(id)?;
        let worker = self.worker_mut(id);
        let told = worker.sick.as_ref();
        let outweighed = told.is_some_and(|(before, _)| *before > why);
        let known = told.is_some_and(|(before, said)| *before == why && said == words);
        if !outweighed && !known {
            worker.sick = Some((why, words.to_owned()));
            self.give_all_back(id);
        }
        Ok(Said::Done)
    }

    /// A worker is well again; what it says itself counts only against what it said itself.
    pub(crate) fn trust_worker(&mut self, id: WorkerId, it_says_so: bool) -> Answer {
        self.worker(id)?;
        let worker = self.worker_mut(id);
        worker.sick =
            (worker.sick.take()).filter(|(before, _)| it_says_so && *before != Sickness::ItSaysSo);
        Ok(Said::Done)
    }

    /// Workers of which nothing was heard since these moments.
    pub(crate) fn silent_workers(&mut self, evidence: &[(WorkerId, Moment)]) -> Answer {
        for (id, since) in evidence {
            let bound = self.rules.worker_silence_ms;
            let for_too_long = bound > 0 && self.now.saturating_sub(*since) >= bound;
            let here = self.worker(*id).is_ok_and(|worker| {
                !matches!(
                    worker.status,
                    None | Some(WorkerStatus::Offline | WorkerStatus::Error)
                )
            });
            if here && for_too_long {
                self.give_all_back(*id);
                let worker = self.worker_mut(*id);
                worker.status = Some(WorkerStatus::Error);
                worker.asked = None;
            }
        }
        Ok(Said::Done)
    }

    pub(crate) fn make_tag(&mut self, tag: TagId) -> Answer {
        if !self.tags.contains(&tag) {
            self.tags.push(tag);
        }
        Ok(Said::Done)
    }

    /// Nobody has the tag any more, and jobs that asked for it ask for none.
    pub(crate) fn drop_tag(&mut self, tag: TagId) -> Answer {
        if !self.tags.contains(&tag) {
            return Err(No::SuchTag);
        }
        self.tags.retain(|other| *other != tag);
        for worker in &mut self.workers {
            worker.tags.retain(|other| *other != tag);
        }
        for job in &mut self.jobs {
            job.tag = job.tag.filter(|other| *other != tag);
        }
        Ok(Said::Done)
    }

    pub(crate) fn set_rules(&mut self, rules: Rules) -> Answer {
        self.rules = rules;
        Ok(Said::Done)
    }
}
