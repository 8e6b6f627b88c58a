// SPDX-License-Identifier: GPL-3.0-or-later
//! A Server: its control journal's engine, and verified copies of the Managers' site journals.

use std::collections::BTreeMap;
use std::sync::Arc;

use tablao_core::{JobId, ManagerId, Request, Timestamp, codec, request::NewJob};
use tablao_journal::{Authority, FaultPlan, PowerLoss};
use tablao_net::engine::Ask;
use tablao_net::link::{Site, protocol};

use crate::disk::Disk;
use crate::keeper::{For, Keeper};
use crate::message::{Answer, Call, Message, Node};
use crate::plan::S;
use crate::world::{Process, Timer, World, manager_id};

/// The journal of every Server here: a promoted one goes on with it.
const CONTROL_JOURNAL: [u8; 16] = [0xc0; 16];

/// A copy of a Manager's site journal.
#[derive(Default)]
pub struct MirrorOf {
    /// Its disk.
    pub disk: Disk,
    /// The copy, while the process runs.
    pub site: Option<Arc<Site>>,
    /// Its owner was heard of then.
    pub heard: Option<u64>,
}

/// A Server.
pub struct Server {
    /// What every process has.
    pub process: Process,
    /// Its control journal.
    pub control: Keeper,
    /// Copies, one for each Manager.
    pub mirrors: Vec<MirrorOf>,
    /// Submissions; on disk.
    pub blobs: BTreeMap<[u8; 32], Vec<u8>>,
    /// The incarnation it begins, when it was just promoted.
    pub begins_incarnation: Option<u32>,
}

impl Server {
    /// The one that was there first.
    pub fn first(managers: usize) -> Self {
        Self {
            process: Process::default(),
            control: Keeper::new(CONTROL_JOURNAL, Authority::Control),
            mirrors: (0..managers).map(|_| MirrorOf::default()).collect(),
            blobs: BTreeMap::new(),
            begins_incarnation: None,
        }
    }

    /// One made of a copy of the control journal.
    pub fn promoted(copy: Disk, incarnation: u32, before: &Self) -> Self {
        let mut server = Self::first(before.mirrors.len());
        server.control.disk = copy;
        server.begins_incarnation = Some(incarnation);
        // A person brings the folder of blobs along: they are not in the journal.
        server.blobs.clone_from(&before.blobs);
        server
    }

    /// It ends; its disks lose what they may.
    pub fn lose(&mut self, loss: PowerLoss) {
        self.control.end(false);
        self.control.disk.lose(loss);
        for mirror in &mut self.mirrors {
            mirror.site = None;
            mirror.disk.lose(loss);
        }
    }
}

impl World {
    /// Recovers, opens the journal, knows its Managers.
    pub fn server_start(&mut self, n: usize) -> Result<(), String> {
        let node = Node::Server(n);
        let moment = self.moment(node);
        let (now, truth) = (self.now, &mut self.truth);
        let server = &mut self.servers[n];
        let disk = server.process.disk;
        let incarnation = server.begins_incarnation;
        let started = server
            .control
            .start(now, server_id(n), moment, disk, incarnation, truth)
            .map_err(|what| format!("{node}: {what}"))?;
        let Some(clean) = started else {
            self.give_up(node);
            return Ok(());
        };
        let begins = server.begins_incarnation.take().is_some();
        for owner in 0..self.managers.len() {
            if self.servers[n].mirrors[owner].heard.is_some() && !self.open_mirror(n, owner)? {
                self.give_up(node);
                return Ok(());
            }
        }
        let control = &mut self.servers[n].control;
        let view = control.engine().view().clone();
        let term = if begins {
            protocol::term_of_promotion(control.engine().farm())
        } else {
            Some(1)
        };
        let mut requests = vec![
            Request::OpenJournal {
                build: "simulated".to_owned(),
                incarnation: view.journal.incarnation,
                clean,
                manager: server_id(n),
            },
            Request::StartTerm {
                term: term.expect("only a copy with a term is promoted"),
            },
        ];
        requests.extend(
            (0..self.managers.len()).map(|manager| Request::LinkManager {
                manager: manager_id(manager),
                name: format!("manager {manager}"),
            }),
        );
        for request in requests {
            self.server_ask(n, Ask::system(request), For::Nobody)?;
        }
        let drafts = self.servers[n].control.engine().waiting();
        self.synced(node, drafts)?;
        if self.process(node).is_up {
            self.set(node, S, Timer::Tick);
        }
        Ok(())
    }

    /// Brings a request to the engine.
    pub fn server_ask(&mut self, n: usize, ask: Ask, to: For) -> Result<(), String> {
        let node = Node::Server(n);
        let moment = self.moment(node);
        self.servers[n]
            .control
            .ask(moment, ask, 0, to)
            .map_err(|what| format!("{node}: {what}"))?;
        self.after_engine(node)
    }

    /// False: the disk failed.
    fn open_mirror(&mut self, n: usize, owner: usize) -> Result<bool, String> {
        let now = self.moment(Node::Server(n)).wall;
        let journal = self.managers[owner].site.id();
        let server = &mut self.servers[n];
        let disk = server.process.disk;
        let mirror = &mut server.mirrors[owner];
        if mirror.site.is_some() {
            return Ok(true);
        }
        match Site::open(manager_id(owner), journal, mirror.disk.mount(disk), now) {
            Ok(site) => mirror.site = Some(Arc::new(site)),
            Err(_) if disk != FaultPlan::default() => return Ok(false),
            Err(error) => return Err(format!("server {n}: a mirror cannot be opened: {error:?}")),
        }
        self.check_mirror(n, owner)?;
        Ok(true)
    }

    /// Somebody calls a Server.
    pub fn server_call(&mut self, n: usize, id: u64, from: Node, call: Call) -> Result<(), String> {
        let node = Node::Server(n);
        let answer = match call {
            Call::Ask(ask, _) => return self.server_ask(n, *ask, For::Call(from, id)),
            Call::Submit(job, key) => return self.place(n, id, from, *job, key),
            Call::Hello(manager, journal, site_next) => {
                match self.greeted(n, manager, journal, site_next)? {
                    Some(answer) => answer,
                    None => return Ok(()),
                }
            }
            Call::Pull(position) => {
                let control = &mut self.servers[n].control;
                control.tell();
                let view = control.engine().view();
                match protocol::news(view, position, protocol::NEWS_BYTES_MAX) {
                    Ok(bytes) => Answer::Bytes(bytes),
                    Err(error) => Answer::Refused(format!("{error:?}")),
                }
            }
            Call::Push(manager, bytes) => match self.pushed(n, manager, &bytes)? {
                Some(answer) => answer,
                None => return Ok(()),
            },
            Call::Blob(hash) => match self.servers[n].blobs.get(&hash) {
                Some(bytes) => Answer::Bytes(bytes.clone()),
                None => Answer::Refused("there is no such blob".to_owned()),
            },
            Call::MayRun(..) => return Ok(()),
        };
        self.send(node, from, &Message::Answer(id, answer));
        Ok(())
    }

    /// Puts a submission into a blob and places the job.
    fn place(
        &mut self,
        n: usize,
        id: u64,
        from: Node,
        mut job: NewJob,
        key: [u8; 32],
    ) -> Result<(), String> {
        let owner = self.chance.index(self.managers.len());
        job.facts.manager = manager_id(owner);
        job.facts.source = tablao_core::entity::JobSource::Placed;
        let bytes = codec::to_bytes(&job);
        let submission = *blake3::hash(&bytes).as_bytes();
        self.servers[n].blobs.insert(submission, bytes);
        let request = Request::PlaceJob {
            job: job.facts.job,
            manager: manager_id(owner),
            submission,
            name: job.detail.name,
            why: "chance".to_owned(),
        };
        let ask = Ask {
            key: Some(key),
            ..crate::client::by_a_person(request)
        };
        self.server_ask(n, ask, For::Call(from, id))
    }

    fn greeted(
        &mut self,
        n: usize,
        manager: ManagerId,
        journal: [u8; 16],
        site_next: u64,
    ) -> Result<Option<Answer>, String> {
        let Some(owner) = self.owner(manager) else {
            return Ok(None);
        };
        if self.managers[owner].site.id() != journal {
            return Ok(Some(Answer::Refused("another journal".to_owned())));
        }
        if !self.open_mirror(n, owner)? {
            self.give_up(Node::Server(n));
            return Ok(None);
        }
        let now = self.now;
        let mirror = &mut self.servers[n].mirrors[owner];
        mirror.heard = Some(now);
        let site = Arc::clone(mirror.site.as_ref().expect("it was just opened"));
        if protocol::is_older_copy(&site, site_next) {
            return Ok(Some(Answer::Refused("its copy is older".to_owned())));
        }
        self.set(Node::Server(n), S, Timer::Note(owner));
        let control = &mut self.servers[n].control;
        control.tell();
        let view = control.engine().view();
        let welcome = protocol::welcome(server_id(n), view, &site);
        Ok(Some(Answer::Welcome(Box::new(welcome))))
    }

    fn pushed(
        &mut self,
        n: usize,
        manager: ManagerId,
        bytes: &[u8],
    ) -> Result<Option<Answer>, String> {
        let Some(owner) = self.owner(manager) else {
            return Ok(None);
        };
        let now = self.now;
        let mirror = &mut self.servers[n].mirrors[owner];
        mirror.heard = Some(now);
        let Some(site) = mirror.site.clone() else {
            return Ok(Some(Answer::Refused("greet first".to_owned())));
        };
        match site.append(bytes) {
            Ok(next) => {
                self.check_mirror(n, owner)?;
                self.set(Node::Server(n), S, Timer::Note(owner));
                Ok(Some(Answer::Pushed(next)))
            }
            Err(error) if is_refused(&error) => {
                self.note(|| format!("server {n} refuses what manager {owner} says: {error:?}"));
                Ok(Some(Answer::Refused(format!("{error}"))))
            }
            // The disk: a real Server answers 507 and a person starts it again.
            Err(_) => {
                self.give_up(Node::Server(n));
                Ok(None)
            }
        }
    }

    fn owner(&self, manager: ManagerId) -> Option<usize> {
        (0..self.managers.len()).find(|&owner| manager_id(owner) == manager)
    }

    /// A Server's own clock has something for it.
    pub fn server_timer(&mut self, n: usize, timer: Timer) -> Result<(), String> {
        let node = Node::Server(n);
        match timer {
            Timer::Tick => {
                let moment = self.moment(node);
                let ticked = self.servers[n].control.engine().tick(moment);
                ticked.map_err(|error| format!("{node}: a tick fails: {error:?}"))?;
                self.set(node, S, Timer::Tick);
                self.after_engine(node)
            }
            Timer::Note(owner) => {
                let Some(site) = self.servers[n].mirrors[owner].site.clone() else {
                    return Ok(());
                };
                let (lsn, chain) = site.mark();
                let request = Request::AdvanceOrigin {
                    manager: manager_id(owner),
                    lsn,
                    chain,
                };
                self.server_ask(n, Ask::system(request), For::Nobody)
            }
            Timer::Overdue(_) | Timer::Again(_) | Timer::Frame(_) | Timer::Submit(_) => Ok(()),
        }
    }

    /// A person gives a job to another Manager; the Server brings what it knows of the old one.
    pub fn reassign(&mut self, job: JobId, to: usize) -> Result<(), String> {
        let n = self.address;
        if !self.process(Node::Server(n)).is_up {
            return Ok(());
        }
        let wall = self.moment(Node::Server(n)).wall.micros();
        let placements = self.servers[n].control.engine().farm().placements();
        let Some(old) = placements.get(&job).map(|placed| placed.manager) else {
            return Ok(());
        };
        let owner = self.owner(old).expect("jobs are placed at Managers");
        let is_dead = !self.process(Node::Manager(owner)).is_up;
        let heard = self.servers[n].mirrors[owner].heard.unwrap_or(0);
        let silence = self.now - heard;
        let request = Request::ReassignJob {
            job,
            manager: manager_id(to),
            // A person who sees that it is down vouches for it; some do so too lightly.
            silent_since: (!is_dead && self.chance.per_mille(400))
                .then(|| Timestamp::from_micros(wall.saturating_sub(silence))),
            why: "it is lost".to_owned(),
        };
        self.server_ask(n, crate::client::by_a_person(request), For::Nobody)
    }
}

/// The bytes were at fault, not the disk.
pub fn is_refused(error: &tablao_net::Error) -> bool {
    matches!(
        error,
        tablao_net::Error::Journal(
            tablao_journal::Error::BadBatch { .. } | tablao_journal::Error::Diverged { .. }
        )
    )
}

/// The n-th Server's id.
pub fn server_id(n: usize) -> ManagerId {
    ManagerId::new(uuid::Uuid::from_u128(0xb000 + n as u128))
}
