// SPDX-License-Identifier: GPL-3.0-or-later
//! The world of one run: virtual time, one queue of what happens, and the processes in it.
//!
//! What happens next is a function of the plan alone. Each process lives in a file of its own;
//! here is what carries them: time, delivery, life and death.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tablao_core::{ManagerId, Timestamp};
use tablao_journal::{FaultPlan, PowerLoss};
use tablao_net::engine::stepped::Moment;
use uuid::Uuid;

use crate::Violation;
use crate::chance::Chance;
use crate::client::Client;
use crate::invariants::Seen;
use crate::manager::Manager;
use crate::message::{Message, Node};
use crate::plan::{FAULTS_END, MS, Plan, S};
use crate::server::Server;
use crate::truth::Truth;
use crate::worker::{Storage, Worker};

/// Wall time at the beginning.
const START: u64 = 1_700_000_000_000_000;
/// A run that has not come to its end by then never will.
const DEADLINE: u64 = FAULTS_END + 1800 * S;

/// Something at a moment.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A message arrives.
    Deliver(Node, Message),
    /// A sync of so many drafts returns, in this life of the process.
    Synced(Node, u32, usize),
    /// Something that a process set itself for later, in this life of it.
    Timer(Node, u32, Timer),
    /// A process starts.
    Start(Node),
    /// A fault of the plan.
    Fault(usize),
    /// A sync takes its usual time again, or a line is whole again.
    Heal,
    /// A person looks whether all is done, and helps where something stands still.
    Survey,
}

/// What processes set themselves for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Look for silence.
    Tick,
    /// A call with this number should have been answered.
    Overdue(u64),
    /// Try again, or go on with the next thing of this kind.
    Again(u8),
    /// A frame of this attempt is rendered.
    Frame(u64),
    /// Note how far a Manager's mirror has come.
    Note(usize),
    /// The n-th job is submitted.
    Submit(usize),
}

/// What every process has.
#[derive(Clone, Default)]
pub struct Process {
    /// It runs.
    pub is_up: bool,
    /// Rises with every start.
    pub life: u32,
    /// It stands still until then.
    pub paused_until: u64,
    /// How far its wall clock is off.
    pub clock_off: i64,
    /// What goes wrong with its disk in this life.
    pub disk: FaultPlan,
    /// Its syncs are slow until then.
    pub slow_until: u64,
    /// How slow.
    pub slow_sync: u64,
    /// Its disks as somebody put them aside.
    pub backup: Option<Vec<crate::disk::Disk>>,
    /// It runs from an older copy: what it promised before is not to be had from it.
    pub is_restored: bool,
}

/// Everything.
pub struct World {
    /// What the run is made of.
    pub plan: Plan,
    /// Virtual time, in microseconds.
    pub now: u64,
    /// The run's own chance.
    pub chance: Chance,
    /// Servers: the first and those promoted.
    pub servers: Vec<Server>,
    /// Which Server the Managers and clients are pointed to.
    pub address: usize,
    /// The first Server is given up for lost.
    pub is_server_lost: bool,
    /// Managers.
    pub managers: Vec<Manager>,
    /// Workers of all Managers.
    pub workers: Vec<Worker>,
    /// Who submits.
    pub client: Client,
    /// The sites' shared storages.
    pub storage: Storage,
    /// The oracle.
    pub truth: Truth,
    /// What may only rise.
    pub seen: Seen,
    /// What happened, in words, when somebody wants to read it.
    pub trace: Option<Vec<String>>,
    /// Happenings so far.
    pub steps: u64,
    /// The end was reached with everything done.
    pub is_done: bool,
    base: Instant,
    order: u64,
    calls: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    partitions: Vec<(Node, Node, u64)>,
}

impl World {
    /// The world of a plan, before anything has happened.
    pub fn new(plan: Plan, is_traced: bool) -> Self {
        let mut world = Self {
            now: 0,
            chance: Chance::new(plan.seed),
            servers: Vec::new(),
            address: 0,
            is_server_lost: false,
            managers: (0..plan.managers).map(Manager::new).collect(),
            workers: Worker::all(plan.managers, plan.workers),
            client: Client::new(&plan),
            storage: Storage::default(),
            truth: Truth::default(),
            seen: Seen::default(),
            trace: is_traced.then(Vec::new),
            steps: 0,
            is_done: false,
            base: Instant::now(),
            order: 0,
            calls: 0,
            queue: BTreeMap::new(),
            partitions: Vec::new(),
            plan,
        };
        if world.plan.server {
            world.servers.push(Server::first(world.plan.managers));
            world.after(0, Happening::Start(Node::Server(0)));
        }
        for manager in 0..world.plan.managers {
            world.after(0, Happening::Start(Node::Manager(manager)));
        }
        for worker in 0..world.workers.len() {
            let delay = world.chance.below(3 * S);
            world.after(delay, Happening::Start(Node::Worker(worker)));
        }
        world.after(0, Happening::Start(Node::Client));
        for (number, (at, _)) in world.plan.faults.clone().into_iter().enumerate() {
            world.after(at, Happening::Fault(number));
        }
        world.after(FAULTS_END, Happening::Heal);
        world.after(FAULTS_END + S, Happening::Survey);
        world
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Result<(), Violation> {
        while !self.is_done {
            let Some(((at, _), happening)) = self.queue.pop_first() else {
                return Err(self.violation("nothing happens any more, and not all is done"));
            };
            self.now = at;
            self.steps += 1;
            if self.now > DEADLINE {
                return Err(self.violation(&self.what_is_missing()));
            }
            self.happen(happening)
                .map_err(|what| self.violation(&what))?;
        }
        Ok(())
    }

    fn violation(&self, what: &str) -> Violation {
        Violation {
            at: self.now,
            what: what.to_owned(),
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        let of = match &happening {
            Happening::Deliver(node, _)
            | Happening::Synced(node, _, _)
            | Happening::Timer(node, _, _) => Some(*node),
            Happening::Start(_) | Happening::Fault(_) | Happening::Heal | Happening::Survey => None,
        };
        if let Some(node) = of {
            let process = self.process(node);
            if !process.is_up {
                return Ok(());
            }
            if process.paused_until > self.now {
                let wait = process.paused_until - self.now;
                self.after(wait, happening);
                return Ok(());
            }
        }
        match happening {
            Happening::Deliver(node, message) => self.deliver(node, message),
            Happening::Synced(node, life, drafts) if life == self.process(node).life => {
                self.synced(node, drafts)
            }
            Happening::Timer(node, life, timer) if life == self.process(node).life => {
                self.timer(node, timer)
            }
            Happening::Synced(..) | Happening::Timer(..) => Ok(()),
            Happening::Start(node) => self.start(node),
            Happening::Fault(number) => self.strike(number),
            Happening::Heal => {
                self.heal();
                Ok(())
            }
            Happening::Survey => self.survey(),
        }
    }

    fn deliver(&mut self, node: Node, message: Message) -> Result<(), String> {
        match (node, message) {
            (Node::Server(n), Message::Call(id, from, call)) => self.server_call(n, id, from, call),
            (Node::Manager(n), Message::Call(id, from, call)) => {
                self.manager_call(n, id, from, call)
            }
            (Node::Manager(n), Message::Answer(id, answer)) => self.manager_answer(n, id, answer),
            (Node::Worker(n), Message::Answer(id, answer)) => {
                self.worker_answer(n, id, answer);
                Ok(())
            }
            (Node::Client, Message::Answer(id, answer)) => self.client_answer(id, answer),
            (Node::Server(_), Message::Answer(..))
            | (Node::Worker(_) | Node::Client, Message::Call(..)) => Ok(()),
        }
    }

    fn timer(&mut self, node: Node, timer: Timer) -> Result<(), String> {
        match node {
            Node::Server(n) => self.server_timer(n, timer),
            Node::Manager(n) => self.manager_timer(n, timer),
            Node::Worker(n) => {
                self.worker_timer(n, timer);
                Ok(())
            }
            Node::Client => self.client_timer(timer),
        }
    }

    fn start(&mut self, node: Node) -> Result<(), String> {
        if self.process(node).is_up {
            return Ok(());
        }
        if self.is_too_early_for(node) {
            self.after(2 * S, Happening::Start(node));
            return Ok(());
        }
        let process = self.process_mut(node);
        process.is_up = true;
        process.life += 1;
        process.paused_until = 0;
        self.note(|| format!("{node} starts"));
        match node {
            Node::Server(n) => self.server_start(n),
            Node::Manager(n) => self.manager_start(n),
            Node::Worker(n) => {
                self.worker_start(n);
                Ok(())
            }
            Node::Client => {
                self.client_start();
                Ok(())
            }
        }
    }

    /// The process ends at once; it comes back after `down`.
    pub fn kill(&mut self, node: Node, loss: PowerLoss, down: u64, disk: FaultPlan) {
        if !self.process(node).is_up {
            return;
        }
        self.note(|| format!("{node} is killed ({loss:?}), down for {} ms", down / MS));
        let process = self.process_mut(node);
        process.is_up = false;
        process.disk = disk;
        match node {
            Node::Server(n) => self.servers[n].lose(loss),
            Node::Manager(n) => self.managers[n].lose(loss),
            Node::Worker(n) => self.workers[n].lose(),
            Node::Client => {}
        }
        self.after(down, Happening::Start(node));
    }

    /// The process ends by itself, because its disk fails.
    pub fn give_up(&mut self, node: Node) {
        let loss = match self.chance.below(3) {
            0 => PowerLoss::ProcessOnly,
            1 => PowerLoss::UnsyncedLost,
            _ => PowerLoss::Torn {
                seed: self.chance.draw(),
            },
        };
        let down = self.chance.between(100 * MS, 5 * S);
        self.note(|| format!("{node}: its disk fails"));
        self.kill(node, loss, down, FaultPlan::default());
    }

    fn heal(&mut self) {
        self.partitions.clear();
        self.note(|| "the faults are over".to_owned());
        let mut nodes: Vec<Node> = (0..self.servers.len()).map(Node::Server).collect();
        nodes.extend((0..self.managers.len()).map(Node::Manager));
        nodes.extend((0..self.workers.len()).map(Node::Worker));
        for node in nodes {
            let process = self.process_mut(node);
            process.slow_until = 0;
            process.disk = FaultPlan::default();
            process.paused_until = process.paused_until.min(FAULTS_END + S);
        }
    }

    /// The common part of a process.
    pub fn process(&self, node: Node) -> &Process {
        match node {
            Node::Server(n) => &self.servers[n].process,
            Node::Manager(n) => &self.managers[n].process,
            Node::Worker(n) => &self.workers[n].process,
            Node::Client => &self.client.process,
        }
    }

    /// The same, to be changed.
    pub fn process_mut(&mut self, node: Node) -> &mut Process {
        match node {
            Node::Server(n) => &mut self.servers[n].process,
            Node::Manager(n) => &mut self.managers[n].process,
            Node::Worker(n) => &mut self.workers[n].process,
            Node::Client => &mut self.client.process,
        }
    }

    /// The clocks of a process, now.
    pub fn moment(&mut self, node: Node) -> Moment {
        let wall = (START + self.now).saturating_add_signed(self.process(node).clock_off);
        Moment {
            monotonic: self.base + Duration::from_micros(self.now),
            wall: Timestamp::from_micros(wall),
            seed: self.chance.draw(),
        }
    }

    /// Lets something happen later.
    pub fn after(&mut self, delay: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), happening);
    }

    /// Sets a process something for later.
    pub fn set(&mut self, node: Node, delay: u64, timer: Timer) {
        let life = self.process(node).life;
        self.after(delay, Happening::Timer(node, life, timer));
    }

    /// A number for a call.
    pub fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// The line between two is cut for a while.
    pub fn part(&mut self, one: Node, other: Node, length: u64) {
        self.partitions.push((one, other, self.now + length));
    }

    /// Sends a message, which may get lost, come late, or come twice.
    pub fn send(&mut self, from: Node, to: Node, message: &Message) {
        let now = self.now;
        let is_cut = self.partitions.iter().any(|&(one, other, until)| {
            now < until && ((one, other) == (from, to) || (one, other) == (to, from))
        });
        if is_cut {
            return;
        }
        let weather = self.plan.weather;
        let is_fair = now >= FAULTS_END;
        if !is_fair && self.chance.per_mille(weather.lost) {
            return;
        }
        let copies = if !is_fair && self.chance.per_mille(weather.doubled) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let is_late = !is_fair && self.chance.per_mille(weather.late);
            let delay = if is_late {
                self.chance.between(MS, 20 * S)
            } else {
                self.chance.between(200, weather.delay_ms_max * MS)
            };
            self.after(delay, Happening::Deliver(to, message.clone()));
        }
    }

    /// Writes a line of the trace, if there is one.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let now = self.now;
            trace.push(format!("{:>4}.{:03} s  {}", now / S, now % S / MS, line()));
        }
    }
}

/// The n-th Manager's id; a Server has one, too.
pub fn manager_id(n: usize) -> ManagerId {
    ManagerId::new(Uuid::from_u128(0xa000 + n as u128))
}
