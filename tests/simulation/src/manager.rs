// SPDX-License-Identifier: GPL-3.0-or-later
//! A Manager: its site journal's engine, its copy of the control journal, its link (see `link`).

use std::collections::BTreeMap;
use std::sync::Arc;

use tablao_core::{
    JobStatus, Request, TaskId, WorkerId,
    entity::{AttemptState, Policy},
};
use tablao_journal::{Authority, PowerLoss};
use tablao_net::engine::{Ask, Heard};
use tablao_net::link::Site;

use crate::disk::Disk;
use crate::keeper::{For, Keeper};
use crate::link::Link;
use crate::message::{Answer, Call, Message, Node};
use crate::plan::{MS, S};
use crate::world::{Happening, Process, Timer, World, manager_id};

/// A Manager.
pub struct Manager {
    /// What every process has.
    pub process: Process,
    /// Its site journal.
    pub site: Keeper,
    /// The disk of its copy of the control journal.
    pub copy_disk: Disk,
    /// The copy, while the process runs and has one.
    pub copy: Option<Arc<Site>>,
    /// The journal that the copy is of, once it is known.
    pub control_journal: Option<[u8; 16]>,
    /// Submissions that it fetched; on disk.
    pub blobs: BTreeMap<[u8; 32], Vec<u8>>,
    /// The line to the Server.
    pub link: Link,
    /// The highest term that it has followed; on disk.
    pub term: u64,
}

impl Manager {
    /// The n-th one.
    pub fn new(n: usize) -> Self {
        Self {
            process: Process::default(),
            site: Keeper::new([0x50 + n as u8; 16], Authority::Site),
            copy_disk: Disk::default(),
            copy: None,
            control_journal: None,
            blobs: BTreeMap::new(),
            link: Link::default(),
            term: 0,
        }
    }

    /// It ends; its disks lose what they may.
    pub fn lose(&mut self, loss: PowerLoss) {
        self.site.end(false);
        self.copy = None;
        self.site.disk.lose(loss);
        self.copy_disk.lose(loss);
    }
}

impl World {
    /// Recovers, opens the journal, and is there for workers.
    pub fn manager_start(&mut self, n: usize) -> Result<(), String> {
        let node = Node::Manager(n);
        let moment = self.moment(node);
        let (now, truth) = (self.now, &mut self.truth);
        let manager = &mut self.managers[n];
        manager.link = Link::default();
        let disk = manager.process.disk;
        let started = manager
            .site
            .start(now, manager_id(n), moment, disk, None, truth)
            .map_err(|what| format!("{node}: {what}"))?;
        let Some(clean) = started else {
            self.give_up(node);
            return Ok(());
        };
        if let Some(journal) = manager.control_journal {
            let files = manager.copy_disk.mount(disk);
            match Site::open(manager_id(n), journal, files, moment.wall) {
                Ok(copy) => manager.copy = Some(Arc::new(copy)),
                Err(_) if disk != tablao_journal::FaultPlan::default() => {
                    self.give_up(node);
                    return Ok(());
                }
                Err(error) => return Err(format!("{node}: its copy cannot be opened: {error:?}")),
            }
            self.check_copy_of_control(n)?;
        }
        for request in self.opening(n, clean) {
            self.manager_ask(n, Ask::system(request), 0, For::Nobody)?;
        }
        // A process is there for others when its first records are durable.
        let drafts = self.managers[n].site.engine().waiting();
        self.synced(node, drafts)?;
        if self.process(node).is_up {
            self.set(node, S, Timer::Tick);
            if self.plan.server {
                self.set(node, MS, Timer::Again(0));
            }
        }
        Ok(())
    }

    /// The first requests of a start, as a node makes them.
    fn opening(&mut self, n: usize, clean: bool) -> Vec<Request> {
        let incarnation = self.managers[n].site.engine().view().journal.incarnation;
        let mut requests = vec![Request::OpenJournal {
            build: "simulated".to_owned(),
            incarnation,
            clean,
            manager: manager_id(n),
        }];
        let farm = self.managers[n].site.engine().farm();
        requests.extend(
            (farm.jobs().values())
                .filter(|job| job.state.status == JobStatus::UnderConstruction)
                .map(|job| Request::AbandonJob {
                    job: job.state.facts.job,
                    reason: "the Manager was stopped".to_owned(),
                }),
        );
        requests.push(Request::ApplyConfig {
            policy: Policy::default(),
            text: String::new(),
        });
        requests
    }

    /// Brings a request to the engine, and the disk to what came of it.
    pub fn manager_ask(&mut self, n: usize, ask: Ask, wait_s: u64, to: For) -> Result<(), String> {
        let node = Node::Manager(n);
        let moment = self.moment(node);
        self.managers[n]
            .site
            .ask(moment, ask, wait_s, to)
            .map_err(|what| format!("{node}: {what}"))?;
        self.after_engine(node)
    }

    /// After anything that an engine did: answers go out, and the disk gets to work.
    pub fn after_engine(&mut self, node: Node) -> Result<(), String> {
        let Some(keeper) = self.keeper(node) else {
            return Ok(());
        };
        let answers = keeper.answers();
        let engine = keeper.engine();
        let drafts = engine.waiting();
        let begins = drafts > 0 && !keeper.is_syncing;
        keeper.is_syncing |= begins;
        if !answers.is_empty() && self.chance.per_mille(60) {
            let keeper = self.keeper(node).expect("it was there");
            keeper
                .check_told_is_safe()
                .map_err(|what| format!("{node}: {what}"))?;
        }
        for (to, reply) in answers {
            match to {
                For::Call(caller, id) => {
                    self.send(node, caller, &Message::Answer(id, Answer::Reply(reply)));
                }
                For::Wish(session) => {
                    if let Node::Manager(n) = node {
                        self.wish_answered(n, session, reply)?;
                    }
                }
                For::Nobody => {}
            }
        }
        if begins {
            let process = self.process(node);
            let sync = if process.slow_until > self.now {
                process.slow_sync
            } else {
                self.chance.between(100, 3 * MS)
            };
            let life = self.process(node).life;
            self.after(sync, Happening::Synced(node, life, drafts));
        }
        Ok(())
    }

    /// A sync returned, or failed.
    pub fn synced(&mut self, node: Node, drafts: usize) -> Result<(), String> {
        let now = self.now;
        let keeper = match node {
            Node::Server(n) => &mut self.servers[n].control,
            Node::Manager(n) => &mut self.managers[n].site,
            Node::Worker(_) | Node::Client => return Ok(()),
        };
        let committed = keeper.commit(drafts, &mut self.truth);
        let Some(records) = committed.map_err(|what| format!("{node}: {what}"))? else {
            self.give_up(node);
            return Ok(());
        };
        let keeper = self.keeper(node).expect("it was there");
        keeper
            .check_grace(now, &records)
            .map_err(|what| format!("{node}: {what}"))?;
        self.count(&records);
        self.check_farm(node)?;
        if let Node::Manager(n) = node {
            self.push_on(n)?;
        }
        self.after_engine(node)
    }

    /// The keeper of a process that has one and runs.
    pub fn keeper(&mut self, node: Node) -> Option<&mut Keeper> {
        let keeper = match node {
            Node::Server(n) => &mut self.servers[n].control,
            Node::Manager(n) => &mut self.managers[n].site,
            Node::Worker(_) | Node::Client => return None,
        };
        keeper.engine.is_some().then_some(keeper)
    }

    /// Somebody calls a Manager.
    pub fn manager_call(
        &mut self,
        n: usize,
        id: u64,
        from: Node,
        call: Call,
    ) -> Result<(), String> {
        match call {
            Call::Ask(ask, wait_s) => self.manager_ask(n, *ask, wait_s, For::Call(from, id)),
            Call::MayRun(worker, task) => {
                let may = self.may_run(n, worker, task);
                let answer = Message::Answer(id, Answer::MayRun(may));
                self.send(Node::Manager(n), from, &answer);
                Ok(())
            }
            Call::Submit(..) | Call::Hello(..) | Call::Pull(_) | Call::Push(..) | Call::Blob(_) => {
                Ok(())
            }
        }
    }

    /// As the worker endpoint answers: only a positive answer renews the lease.
    fn may_run(&mut self, n: usize, worker: WorkerId, task: TaskId) -> bool {
        let moment = self.moment(Node::Manager(n));
        let engine = self.managers[n].site.engine();
        let live = {
            let model = engine.model();
            let farm = model.farm();
            let live = farm.task(task).and_then(|(_, task)| task.attempt);
            live.and_then(|live| farm.attempts().get(&live))
                .filter(|live| live.worker == worker && live.state != AttemptState::Stopping)
                .map(|live| live.id)
        };
        let heard = Heard {
            worker,
            attempt: live,
        };
        engine.heard(moment, heard);
        live.is_some()
    }

    /// A Manager's own clock has something for it.
    pub fn manager_timer(&mut self, n: usize, timer: Timer) -> Result<(), String> {
        let node = Node::Manager(n);
        match timer {
            Timer::Tick => {
                let moment = self.moment(node);
                let ticked = self.managers[n].site.engine().tick(moment);
                ticked.map_err(|error| format!("{node}: a tick fails: {error:?}"))?;
                self.set(node, S, Timer::Tick);
                self.after_engine(node)
            }
            Timer::Again(what) => self.link_again(n, what),
            Timer::Overdue(call) => {
                self.link_overdue(n, call);
                Ok(())
            }
            Timer::Frame(_) | Timer::Note(_) | Timer::Submit(_) => Ok(()),
        }
    }
}
