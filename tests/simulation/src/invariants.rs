// SPDX-License-Identifier: GPL-3.0-or-later
//! What has to hold at every step, apart from what `keeper` checks of every answer and recovery:
//! attempts, frames, copies, epochs, terms.

use std::collections::{BTreeMap, BTreeSet};

use tablao_core::{Event, Farm, JobId, Recorded, TaskStatus, entity::Hold};

use crate::Counts;
use crate::message::Node;
use crate::world::World;

/// What was seen before, and may only rise.
#[derive(Default)]
pub struct Seen {
    /// Where each job was last placed, and in which epoch, per Server.
    placed: BTreeMap<(usize, JobId), (tablao_core::ManagerId, u32)>,
    /// Which Server writes in a term.
    terms: BTreeMap<u64, usize>,
    /// What was looked at, to prove that there was something.
    pub counts: Counts,
}

impl Seen {
    /// This Server runs from an older copy, or will.
    pub fn forget_placements(&mut self, n: usize) {
        self.placed.retain(|(server, _), _| *server != n);
    }
}

impl World {
    /// After something became durable at a process.
    pub fn check_farm(&mut self, node: Node) -> Result<(), String> {
        self.seen.counts.checks += 1;
        let farm = match self.keeper(node) {
            Some(keeper) => keeper.engine().model().farm().clone(),
            None => return Ok(()),
        };
        let checked = match node {
            Node::Manager(_) => check_attempts(&farm)
                .and_then(|()| check_quarantines(&farm))
                .and_then(|()| check_leaving(&farm))
                .and_then(|()| check_frames(&farm))
                .and_then(|()| self.check_job_is_at_one_place(&farm)),
            Node::Server(n) => self.check_control(n, &farm),
            Node::Worker(_) | Node::Client => Ok(()),
        };
        checked.map_err(|what| format!("{node}: {what}"))
    }

    /// Counts what the run came to see.
    pub fn count(&mut self, records: &[Recorded]) {
        let counts = &mut self.seen.counts;
        for record in records {
            match &record.event {
                Event::JournalOpened(_) => counts.starts += 1,
                Event::AttemptEnded(ended) if ended.silent_since.is_some() => counts.lapsed += 1,
                Event::LateReportNoted(_) => counts.late += 1,
                Event::JobEpochRaised(_) => counts.fenced += 1,
                Event::JobPlaced(placed) if placed.epoch > 1 => counts.reassigned += 1,
                Event::TermStarted(started) if started.term > 1 => counts.promoted += 1,
                Event::WorkerQuarantined(_) => counts.quarantined += 1,
                Event::JobRegenerated(_) => counts.regenerated += 1,
                Event::TasksChanged(changed)
                    if changed.from == TaskStatus::Completed
                        && changed.to == TaskStatus::Queued =>
                {
                    counts.requeued += 1;
                }
                _ => {}
            }
        }
    }

    fn check_control(&mut self, n: usize, farm: &Farm) -> Result<(), String> {
        for (&job, placed) in farm.placements() {
            let now = (placed.manager, placed.epoch);
            let before = self.seen.placed.insert((n, job), now);
            if let Some((manager, epoch)) = before
                && (manager, epoch) != now
                && epoch >= placed.epoch
            {
                return Err(format!(
                    "job {job} goes from {manager} to {} in epoch {}, after epoch {epoch}",
                    placed.manager, placed.epoch
                ));
            }
        }
        let term = farm.term();
        if term > 0 && *self.seen.terms.entry(term).or_insert(n) != n {
            return Err(format!("two Servers write in term {term}"));
        }
        for manager in farm.managers().values() {
            for owner in 0..self.managers.len() {
                if crate::world::manager_id(owner) == manager.id {
                    let journal = self.managers[owner].site.id();
                    self.truth
                        .check_mark(journal, manager.origin, manager.origin_chain)?;
                }
            }
        }
        Ok(())
    }

    /// In one epoch a job runs at one Manager.
    fn check_job_is_at_one_place(&self, farm: &Farm) -> Result<(), String> {
        for job in farm.jobs().values() {
            let facts = &job.state.facts;
            if job.state.holds.contains(&Hold::Placement) {
                continue;
            }
            let others = (self.managers.iter())
                .filter_map(|manager| manager.site.engine.as_ref())
                .filter(|engine| {
                    let model = engine.model();
                    (model.farm().jobs().get(&facts.job)).is_some_and(|other| {
                        other.state.facts.job_epoch == facts.job_epoch
                            && !other.state.holds.contains(&Hold::Placement)
                    })
                })
                .count();
            if others > 1 {
                return Err(format!(
                    "job {} runs at {others} Managers in epoch {}",
                    facts.job, facts.job_epoch
                ));
            }
        }
        Ok(())
    }

    /// A Server's copy of a site journal.
    pub fn check_mirror(&mut self, n: usize, owner: usize) -> Result<(), String> {
        let Some(site) = self.servers[n].mirrors[owner].site.clone() else {
            return Ok(());
        };
        self.check_copy(&site)
            .map_err(|what| format!("server {n}, manager {owner}'s mirror: {what}"))
    }

    /// A Manager's copy of the control journal.
    pub fn check_copy_of_control(&mut self, n: usize) -> Result<(), String> {
        let Some(copy) = self.managers[n].copy.clone() else {
            return Ok(());
        };
        self.check_copy(&copy)
            .map_err(|what| format!("manager {n}, its copy of the control journal: {what}"))
    }

    fn check_copy(&mut self, site: &tablao_net::link::Site) -> Result<(), String> {
        let (next, chain) = site.head();
        let at = tablao_core::Lsn::new(next - 1);
        let model = site.view().read();
        if model.farm().position() != at {
            return Err(format!(
                "it has records up to {at} and is folded up to {}",
                model.farm().position()
            ));
        }
        let digest = model.farm().digest();
        (self.truth).check_copy(site.view().journal.id, at, chain, digest)
    }

    /// At the end: digests are those of the entities, and whole journals verify.
    pub fn check_all(&mut self) -> Result<(), String> {
        let mut nodes: Vec<Node> = (0..self.servers.len()).map(Node::Server).collect();
        nodes.extend((0..self.managers.len()).map(Node::Manager));
        for node in nodes {
            let Some(keeper) = self.keeper(node) else {
                continue;
            };
            keeper
                .check_told_is_safe()
                .map_err(|what| format!("{node}: {what}"))?;
            let engine = keeper.engine();
            let (farm, reader) = (engine.model().farm().clone(), engine.view().reader.clone());
            if farm.digest() != farm.recompute_digest() {
                return Err(format!("{node}: the digest is not that of the entities"));
            }
            reader
                .verify()
                .map_err(|error| format!("{node}: its journal does not verify: {error:?}"))?;
        }
        Ok(())
    }
}

fn check_attempts(farm: &Farm) -> Result<(), String> {
    let mut tasks = BTreeSet::new();
    for attempt in farm.attempts().values() {
        if !tasks.insert((attempt.job, attempt.task)) {
            return Err(format!(
                "task {} of job {} has two live attempts",
                attempt.task, attempt.job
            ));
        }
        let task = farm.jobs()[&attempt.job].tasks.at(attempt.task);
        if task.attempt != Some(attempt.id) {
            return Err(format!(
                "attempt {} lives, and its task does not know",
                attempt.id
            ));
        }
    }
    Ok(())
}

/// What replaces a running task does not begin beside it.
fn check_leaving(farm: &Farm) -> Result<(), String> {
    for job in farm.jobs().values() {
        let (mut leaving, mut youngest) = (0, None);
        for task in job.tasks.iter() {
            let Some(attempt) = task.attempt else {
                continue;
            };
            if task.retired {
                leaving += 1;
            } else if task.generation == job.state.facts.generation && task.generation > 1 {
                youngest = Some(attempt);
            }
        }
        let id = job.state.facts.job;
        if leaving != job.leaving {
            return Err(format!(
                "{leaving} tasks leave job {id}, not {}",
                job.leaving
            ));
        }
        if let Some(attempt) = youngest.filter(|_| leaving > 0) {
            return Err(format!(
                "{attempt} of job {id} runs beside what it replaces"
            ));
        }
    }
    Ok(())
}

/// Who is in quarantine runs nothing.
fn check_quarantines(farm: &Farm) -> Result<(), String> {
    let runs = |worker| (farm.attempts().values()).any(|attempt| attempt.worker == worker);
    match farm.quarantines().keys().find(|worker| runs(**worker)) {
        Some(worker) => Err(format!("worker {worker} is in quarantine and runs a task")),
        None => Ok(()),
    }
}

fn check_frames(farm: &Farm) -> Result<(), String> {
    match (farm.frames().iter()).find(|(_, frame)| frame.publications != 1) {
        Some((key, frame)) => Err(format!(
            "frame {} was published {} times",
            key.number, frame.publications
        )),
        None => Ok(()),
    }
}
