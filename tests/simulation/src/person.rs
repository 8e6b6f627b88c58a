// SPDX-License-Identifier: GPL-3.0-or-later
//! Faults as they strike, and the people of the farm: they meddle, reassign, promote, and at the
//! end look after every job until it is done.

use tablao_core::{
    JobId, JobStatus, Request, RequestId, entity::RemoteVerb, event::QuarantineCause,
};
use tablao_journal::{FaultPlan, PowerLoss};
use tablao_net::{engine::stepped::SteppedEngine, link::protocol};
use uuid::Uuid;

use crate::client::{by_a_person, name_of};
use crate::disk::Disk;
use crate::keeper::For;
use crate::message::Node;
use crate::plan::{FAULTS_END, Fault, S};
use crate::server::{Server, server_id};
use crate::world::{Happening, World, manager_id};

impl World {
    /// A fault of the plan strikes.
    pub fn strike(&mut self, number: usize) -> Result<(), String> {
        let (_, fault) = self.plan.faults[number].clone();
        self.note(|| format!("fault {number}: {fault:?}"));
        match fault {
            Fault::Kill {
                node,
                loss,
                down,
                disk,
            } => self.kill(node, loss, down, disk),
            Fault::Pause { node, length } => {
                self.process_mut(node).paused_until = self.now + length;
            }
            Fault::Partition { one, other, length } => self.part(one, other, length),
            Fault::ClockJump { node, by } => self.process_mut(node).clock_off += by,
            Fault::SlowDisk { node, length, sync } => {
                let until = self.now + length;
                let process = self.process_mut(node);
                process.slow_until = until;
                process.slow_sync = sync;
            }
            Fault::Backup { node } => self.back_up(node),
            Fault::Restore { node, down } => self.restore(node, down),
            Fault::Meddle { job, act } => return self.meddle(job, act),
            Fault::Reassign { job, to } => {
                if let Some(job) = self.client.submitted[job].job {
                    return self.reassign(job, to);
                }
            }
            Fault::Quarantine { worker, length } => {
                return self.quarantine(number, worker, length);
            }
            Fault::Promote => return self.promote(number),
        }
        Ok(())
    }

    fn disks(&mut self, node: Node) -> Vec<&mut Disk> {
        match node {
            Node::Server(n) => {
                let server = &mut self.servers[n];
                let mirrors = server.mirrors.iter_mut().map(|mirror| &mut mirror.disk);
                std::iter::once(&mut server.control.disk)
                    .chain(mirrors)
                    .collect()
            }
            Node::Manager(n) => {
                let manager = &mut self.managers[n];
                vec![&mut manager.site.disk, &mut manager.copy_disk]
            }
            Node::Worker(_) | Node::Client => Vec::new(),
        }
    }

    fn back_up(&mut self, node: Node) {
        let copies = self.disks(node).iter().map(|disk| disk.copy()).collect();
        self.process_mut(node).backup = Some(copies);
    }

    fn restore(&mut self, node: Node, down: u64) {
        let Some(copies) = self.process_mut(node).backup.take() else {
            return;
        };
        self.kill(node, PowerLoss::ProcessOnly, down, FaultPlan::default());
        for (disk, copy) in self.disks(node).into_iter().zip(copies) {
            *disk = copy;
        }
        self.process_mut(node).is_restored = true;
        match node {
            Node::Server(n) => self.servers[n].control.end(true),
            Node::Manager(n) => {
                self.managers[n].site.end(true);
                self.managers[n].term = 0;
            }
            Node::Worker(_) | Node::Client => {}
        }
        if let Node::Server(n) = node {
            self.seen.forget_placements(n);
        }
    }

    /// What was answered for this submission may be lost without a promise being broken.
    pub fn may_forget(&self, number: usize) -> bool {
        match self.client.submitted[number].wanted.to {
            Some(manager) => self.managers[manager].process.is_restored,
            None => self.servers.len() > 1 || self.servers[0].process.is_restored,
        }
    }

    fn meddle(&mut self, number: usize, act: u8) -> Result<(), String> {
        let submitted = &self.client.submitted[number];
        let (Some(job), wanted) = (submitted.job, submitted.wanted) else {
            return Ok(());
        };
        if act >= 3 {
            return match wanted.to {
                Some(manager) if act == 3 => self.have_done_again(job, manager),
                Some(manager) => self.have_compiled_anew(job, manager),
                None => Ok(()),
            };
        }
        let verb = match act {
            0 => RemoteVerb::SetStatus(JobStatus::CancelRequested),
            1 => RemoteVerb::SetStatus(JobStatus::PauseRequested),
            _ => RemoteVerb::SetPriority(70),
        };
        self.wish(job, wanted.to, verb)
    }

    /// A Worker goes into quarantine, or out of it.
    fn quarantine(&mut self, number: usize, worker: usize, length: u64) -> Result<(), String> {
        let (id, n) = (self.workers[worker].id(), self.workers[worker].manager);
        let Some(engine) = self.engine_of(n) else {
            return Ok(());
        };
        let reason = "it smells".to_owned();
        let request = if engine.model().farm().quarantines().contains_key(&id) {
            Request::LiftQuarantine {
                worker: id,
                own_check_only: false,
                reason,
            }
        } else if self.now < FAULTS_END {
            self.after(length, Happening::Fault(number));
            Request::QuarantineWorker {
                worker: id,
                cause: QuarantineCause::Person,
                reason,
            }
        } else {
            return Ok(());
        };
        self.manager_ask(n, by_a_person(request), 0, For::Nobody)
    }

    /// A Manager that hears people.
    pub(crate) fn engine_of(&self, n: usize) -> Option<&SteppedEngine> {
        let process = self.process(Node::Manager(n));
        let hears = process.is_up && process.paused_until <= self.now;
        self.managers[n].site.engine.as_ref().filter(|_| hears)
    }

    /// Lets go whoever is still in quarantine. Gives whether there was nobody.
    fn release_all(&mut self) -> Result<bool, String> {
        let mut is_nobody = true;
        for worker in 0..self.workers.len() {
            let n = self.workers[worker].manager;
            let id = self.workers[worker].id();
            let is_sick = (self.engine_of(n))
                .is_some_and(|engine| engine.model().farm().quarantines().contains_key(&id));
            if is_sick {
                is_nobody = false;
                let request = Request::LiftQuarantine {
                    worker: id,
                    own_check_only: false,
                    reason: "the night is over".to_owned(),
                };
                self.manager_ask(n, by_a_person(request), 0, For::Nobody)?;
            }
        }
        Ok(is_nobody)
    }

    /// A wish about a job, at its Manager or at the Server.
    fn wish(&mut self, job: JobId, at: Option<usize>, verb: RemoteVerb) -> Result<(), String> {
        let node = at.map_or(Node::Server(self.address), Node::Manager);
        let process = self.process(node);
        if !process.is_up || process.paused_until > self.now {
            return Ok(());
        }
        match node {
            Node::Manager(n) => {
                let request = match verb {
                    RemoteVerb::SetStatus(status) => Request::SetJobStatus {
                        job,
                        status,
                        reason: "meddling".to_owned(),
                    },
                    RemoteVerb::SetPriority(priority) => Request::SetJobPriority { job, priority },
                };
                self.manager_ask(n, by_a_person(request), 0, For::Nobody)
            }
            Node::Server(n) => {
                let request = Request::AcceptRemote {
                    request: RequestId::new(Uuid::from_u128(u128::from(self.next_call()))),
                    job,
                    seen_at: None,
                    verb,
                    reason: "meddling".to_owned(),
                };
                self.server_ask(n, by_a_person(request), For::Nobody)
            }
            Node::Worker(_) | Node::Client => Ok(()),
        }
    }

    /// The Server is lost. When nothing that it said is on its way any more and all copies can be
    /// compared, a person makes the longest one the next Server, in a later term. The old one
    /// comes back once all Managers have followed the new one.
    fn promote(&mut self, number: usize) -> Result<(), String> {
        let old = self.address;
        let any_restored = (self.managers.iter()).any(|manager| manager.process.is_restored)
            || self.servers[old].process.is_restored;
        if self.servers.len() > 1 || any_restored {
            return Ok(());
        }
        if !self.is_server_lost || self.process(Node::Server(old)).is_up {
            // It came back by itself, and nothing is lost so late that nobody could follow.
            if self.now >= FAULTS_END {
                return Ok(());
            }
            self.is_server_lost = true;
            let down = FAULTS_END + 10 * S - self.now;
            self.kill(
                Node::Server(old),
                PowerLoss::ProcessOnly,
                down,
                FaultPlan::default(),
            );
            self.after(25 * S, Happening::Fault(number));
            return Ok(());
        }
        let now = self.now;
        let all_there = (self.managers.iter()).all(|manager| {
            let process = &manager.process;
            process.is_up && process.paused_until <= now && manager.copy.is_some()
        });
        let longest = (0..self.managers.len())
            .max_by_key(|&n| self.managers[n].copy.as_ref().map_or(0, |copy| copy.next()))
            .expect("there are Managers");
        let has_term = (self.managers[longest].copy.as_ref())
            .is_some_and(|copy| protocol::term_of_promotion(copy.view().read().farm()).is_some());
        if !all_there || !has_term {
            // Beyond that the old Server comes back by itself.
            if now < FAULTS_END {
                self.after(3 * S, Happening::Fault(number));
            }
            return Ok(());
        }
        let copy = self.managers[longest].copy.as_ref().expect("all have one");
        let incarnation = copy.view().journal.incarnation + 1;
        let disk = self.managers[longest].copy_disk.copy();
        let new = Server::promoted(disk, incarnation, &self.servers[old]);
        self.servers.push(new);
        self.address = self.servers.len() - 1;
        let address = self.address;
        self.note(|| format!("manager {longest}'s copy becomes server {address}"));
        self.after(S, Happening::Start(Node::Server(address)));
        Ok(())
    }

    /// A Manager that has not heard of the promotion would follow the old Server: a person starts
    /// that one again only when all have heard. From then on they refuse it by themselves.
    pub fn is_too_early_for(&self, node: Node) -> bool {
        let Node::Server(n) = node else {
            return false;
        };
        let is_given_up = self.is_server_lost && self.servers.len() == 1 && self.now < FAULTS_END;
        if n == self.address {
            return is_given_up;
        }
        (self.managers.iter())
            .any(|manager| manager.term <= n as u64 + 1 && !manager.process.is_restored)
    }

    /// Where a submission's job is to be done, if it has to be done at all.
    fn place_of(&mut self, number: usize) -> Result<Option<usize>, String> {
        let submitted = &self.client.submitted[number];
        let (job, wanted) = (submitted.job, submitted.wanted);
        let Some(job) = job else {
            return Err(format!("{} was never answered", name_of(number)));
        };
        if let Some(manager) = wanted.to {
            return Ok((!self.may_forget(number)).then_some(manager));
        }
        let forgets = self.may_forget(number);
        let server = &mut self.servers[self.address];
        let is_restored = server.process.is_restored;
        let Some(engine) = server.control.engine.as_ref() else {
            return Err("the Server is down".to_owned());
        };
        let placed = engine
            .farm()
            .placements()
            .get(&job)
            .map(|placed| placed.manager);
        match placed {
            None if forgets => Ok(None),
            None => Err(format!(
                "{} was answered and is not placed",
                name_of(number)
            )),
            Some(manager) => {
                let at = (0..self.managers.len()).find(|&n| manager_id(n) == manager);
                let at = at.expect("jobs are placed at Managers");
                // What was restored from an older copy is not let in any more, for good reason.
                Ok((!is_restored && !self.managers[at].process.is_restored).then_some(at))
            }
        }
    }

    /// What a run that does not come to its end lacks.
    pub fn what_is_missing(&self) -> String {
        let mut missing = vec!["not all is done half an hour after the last fault:".to_owned()];
        for (number, submitted) in self.client.submitted.iter().enumerate() {
            let Some(job) = submitted.job else {
                missing.push(format!("{} was never answered", name_of(number)));
                continue;
            };
            for (n, manager) in self.managers.iter().enumerate() {
                let Some(engine) = &manager.site.engine else {
                    missing.push(format!("manager {n} is down"));
                    continue;
                };
                if let Some(known) = engine.farm().jobs().get(&job) {
                    missing.push(format!(
                        "{} is {} at manager {n} in epoch {}, {} live",
                        name_of(number),
                        known.state.status,
                        known.state.facts.job_epoch,
                        known.live
                    ));
                }
            }
        }
        for (n, manager) in self.managers.iter().enumerate() {
            let up = manager.link.is_up;
            missing.push(format!("manager {n}: link up: {up}, term {}", manager.term));
        }
        missing.push(format!(
            "server {} ({}) is current",
            self.address,
            server_id(self.address)
        ));
        missing.join("\n  ")
    }

    /// Looks after every job; ends the run when all are done and all copies are whole.
    pub fn survey(&mut self) -> Result<(), String> {
        let mut is_done = self.release_all()?;
        for number in 0..self.client.submitted.len() {
            let Ok(place) = self.place_of(number) else {
                is_done = false;
                continue;
            };
            let Some(n) = place else {
                continue;
            };
            let job = self.client.submitted[number].job.expect("it has a place");
            let Some(engine) = &self.managers[n].site.engine else {
                is_done = false;
                continue;
            };
            let status = engine
                .model()
                .farm()
                .jobs()
                .get(&job)
                .map(|job| job.state.status);
            match status {
                Some(JobStatus::Completed) => {}
                Some(JobStatus::Canceled | JobStatus::Failed | JobStatus::Paused) => {
                    is_done = false;
                    let again = RemoteVerb::SetStatus(JobStatus::Requeueing);
                    self.wish(job, Some(n), again)?;
                }
                _ => is_done = false,
            }
        }
        if is_done && self.copies_are_whole() {
            self.is_done = true;
            self.check_names()?;
            return self.check_all();
        }
        self.after(5 * S, Happening::Survey);
        Ok(())
    }

    /// Every copy that can still grow has grown to its original's end.
    fn copies_are_whole(&self) -> bool {
        let Some(server) = self.servers.get(self.address) else {
            return true;
        };
        let Some(control) = &server.control.engine else {
            return false;
        };
        if server.process.is_restored {
            return true;
        }
        (self.managers.iter().zip(&server.mirrors)).all(|(manager, mirror)| {
            let (Some(engine), Some(copy)) = (&manager.site.engine, &manager.copy) else {
                return false;
            };
            manager.process.is_restored
                || (copy.next() + 40 > control.view().at().get()
                    && mirror
                        .site
                        .as_ref()
                        .is_some_and(|site| site.next() + 40 > engine.view().at().get()))
        })
    }

    /// One key is one job, whatever was retried across which restarts.
    fn check_names(&mut self) -> Result<(), String> {
        for number in 0..self.client.submitted.len() {
            if self.may_forget(number) {
                continue;
            }
            let wanted = self.client.submitted[number].wanted;
            let place = match wanted.to {
                Some(n) => Node::Manager(n),
                None => Node::Server(self.address),
            };
            let ids = number as u128 + 1;
            let Some(keeper) = self.keeper(place) else {
                continue;
            };
            let engine = keeper.engine();
            let is_ours = |job: &&JobId| job.uuid().as_u128() >> 64 == ids;
            let jobs = match place {
                Node::Manager(_) => engine.farm().jobs().keys().filter(is_ours).count(),
                _ => engine.farm().placements().keys().filter(is_ours).count(),
            };
            if jobs != 1 {
                return Err(format!("the key of {} made {jobs} jobs", name_of(number)));
            }
        }
        Ok(())
    }
}
