// SPDX-License-Identifier: GPL-3.0-or-later
//! A Manager's line to its Server: greet, pull the control journal, push the site journal, carry
//! out wishes. What is checked and said is the real link's (`tablao_net::link::protocol`); how
//! the calls follow each other is modelled after its `upward` and `carry_out`, which wait on HTTP.

use std::collections::VecDeque;
use std::sync::Arc;

use tablao_core::request::NewJob;
use tablao_core::{Actor, ActorKind, Lsn, Recorded, Request, Via, codec, decide::Asker};
use tablao_net::engine::{Ask, Reply};
use tablao_net::link::protocol::{self, Wish};
use tablao_net::link::{Site, Welcome, parse_hex_id};

use crate::keeper::For;
use crate::message::{Answer, Call, Message, Node};
use crate::plan::{MS, S};
use crate::world::{Timer, World, manager_id};

/// Try to link again.
const GREET: u8 = 0;
/// Ask for news of the control journal.
const PULL: u8 = 1;
/// Go on with the wishes.
const CARRY: u8 = 2;

/// The line.
#[derive(Default)]
pub struct Link {
    /// The greeting was answered and everything fits.
    pub is_up: bool,
    /// Rises with every greeting.
    session: u64,
    /// Which Server it talks to.
    server: usize,
    hello: Option<u64>,
    pull: Option<u64>,
    push: Option<u64>,
    blob: Option<u64>,
    /// The position that the Server wants next.
    push_next: u64,
    wishes: VecDeque<Recorded>,
    /// Position of the control journal up to which `wishes` were read.
    wishes_next: u64,
    stage: Stage,
}

#[derive(Default, PartialEq)]
enum Stage {
    #[default]
    Idle,
    Asked,
    /// The job is being accepted; this settles the placement after it.
    Placing(Lsn, tablao_core::JobId),
}

fn from_the_server(request: Request) -> Ask {
    let actor = Actor {
        kind: ActorKind::User,
        id: None,
        via: Via::Replication,
    };
    let asker = Asker {
        name: "the Server".to_owned(),
        address: String::new(),
    };
    Ask::new(request, actor, asker)
}

impl World {
    /// A pause of the link is over.
    pub fn link_again(&mut self, n: usize, what: u8) -> Result<(), String> {
        match what {
            GREET => {
                self.greet(n);
                Ok(())
            }
            PULL => {
                self.pull(n);
                Ok(())
            }
            _ => self.carry_on(n),
        }
    }

    fn greet(&mut self, n: usize) {
        if self.managers[n].link.is_up || self.managers[n].link.hello.is_some() {
            return;
        }
        // An old Server that came back may still be reached by some.
        let is_astray = self.servers.len() > 1 && self.chance.per_mille(300);
        let server = if is_astray {
            self.chance.index(self.servers.len())
        } else {
            self.address
        };
        let manager = &mut self.managers[n];
        let engine = manager.site.engine();
        let next = engine.view().at().next().get();
        manager.site.tell();
        let session = manager.link.session + 1;
        manager.link = Link {
            session,
            server,
            ..Link::default()
        };
        let hello = Call::Hello(manager_id(n), manager.site.id(), next);
        let id = self.link_call(n, hello, 10 * S);
        self.managers[n].link.hello = Some(id);
    }

    fn link_call(&mut self, n: usize, call: Call, patience: u64) -> u64 {
        let id = self.next_call();
        let (node, to) = (Node::Manager(n), Node::Server(self.managers[n].link.server));
        self.send(node, to, &Message::Call(id, node, call));
        self.set(node, patience, Timer::Overdue(id));
        id
    }

    /// A call was not answered in time: the session is over.
    pub fn link_overdue(&mut self, n: usize, call: u64) {
        let link = &self.managers[n].link;
        let waits = [link.hello, link.pull, link.push, link.blob];
        if waits.contains(&Some(call)) {
            self.hang_up(n);
        }
    }

    fn hang_up(&mut self, n: usize) {
        let link = &mut self.managers[n].link;
        *link = Link {
            session: link.session,
            ..Link::default()
        };
        let pause = self.chance.between(200 * MS, 2 * S);
        self.set(Node::Manager(n), pause, Timer::Again(GREET));
    }

    /// The Server answers.
    pub fn manager_answer(&mut self, n: usize, id: u64, answer: Answer) -> Result<(), String> {
        let link = &mut self.managers[n].link;
        let is = |waits: &mut Option<u64>| {
            let matches = *waits == Some(id);
            if matches {
                *waits = None;
            }
            matches
        };
        if is(&mut link.hello) {
            return match answer {
                Answer::Welcome(welcome) => self.welcomed(n, &welcome),
                _ => {
                    self.hang_up(n);
                    Ok(())
                }
            };
        }
        if is(&mut link.pull) {
            return match answer {
                Answer::Bytes(bytes) => self.pulled(n, &bytes),
                _ => {
                    self.hang_up(n);
                    Ok(())
                }
            };
        }
        if is(&mut link.push) {
            return match answer {
                Answer::Pushed(next) => {
                    link.push_next = next;
                    self.push_on(n)
                }
                _ => {
                    self.hang_up(n);
                    Ok(())
                }
            };
        }
        if is(&mut link.blob) {
            return match answer {
                Answer::Bytes(bytes) => {
                    let hash = *blake3::hash(&bytes).as_bytes();
                    self.managers[n].blobs.insert(hash, bytes);
                    self.carry_on(n)
                }
                _ => {
                    self.set(Node::Manager(n), S, Timer::Again(CARRY));
                    Ok(())
                }
            };
        }
        Ok(())
    }

    fn welcomed(&mut self, n: usize, welcome: &Welcome) -> Result<(), String> {
        let Some(mirror) = self.fitting_copy(n, welcome)? else {
            self.hang_up(n);
            return Ok(());
        };
        if welcome.term < self.managers[n].term {
            return Err(format!(
                "manager {n} follows a Server of term {} after one of term {}",
                welcome.term, self.managers[n].term
            ));
        }
        let settled = self.managers[n].site.engine().model().farm().settled();
        let journal = mirror.view().journal.id;
        let manager = &mut self.managers[n];
        manager.term = welcome.term;
        manager.link.is_up = true;
        manager.link.push_next = welcome.site_next;
        manager.link.wishes_next = settled.next().get();
        self.note(|| format!("manager {n} is linked in term {}", welcome.term));
        let follow = Request::FollowServer {
            control_journal: journal,
            url: String::new(),
        };
        self.manager_ask(n, Ask::system(follow), 0, For::Nobody)?;
        self.pull(n);
        self.push_on(n)?;
        self.carry_on(n)
    }

    /// The copy of the control journal, where it and the site journal fit the greeting's answer.
    fn fitting_copy(&mut self, n: usize, welcome: &Welcome) -> Result<Option<Arc<Site>>, String> {
        let now = self.moment(Node::Manager(n)).wall;
        let manager = &mut self.managers[n];
        let view = manager.site.engine().view().clone();
        if !matches!(protocol::is_beginning_of(&view, welcome), Ok(true)) {
            return Ok(None);
        }
        let journal = parse_hex_id(&welcome.control_journal).expect("our own Server's id");
        if manager.copy.is_none() {
            let files = manager.copy_disk.mount(manager.process.disk);
            match Site::open(manager_id(n), journal, files, now) {
                Ok(copy) => manager.copy = Some(Arc::new(copy)),
                Err(_) => {
                    self.give_up(Node::Manager(n));
                    return Ok(None);
                }
            }
            manager.control_journal = Some(journal);
            self.check_copy_of_control(n)?;
        }
        let copy = Arc::clone(self.managers[n].copy.as_ref().expect("just opened"));
        let followed = self.managers[n].term;
        if let Some(why) = protocol::refusal_to_follow(&copy, followed, welcome) {
            self.note(|| format!("manager {n} does not follow: {why}"));
            return Ok(None);
        }
        Ok(Some(copy))
    }

    fn pull(&mut self, n: usize) {
        let Some(next) = self.managers[n].copy.as_ref().map(|copy| copy.next()) else {
            return;
        };
        if self.managers[n].link.is_up && self.managers[n].link.pull.is_none() {
            let id = self.link_call(n, Call::Pull(next), 10 * S);
            self.managers[n].link.pull = Some(id);
        }
    }

    fn pulled(&mut self, n: usize, bytes: &[u8]) -> Result<(), String> {
        let Some(copy) = self.managers[n].copy.clone() else {
            return Ok(());
        };
        if bytes.is_empty() {
            let pause = self.chance.between(100 * MS, S);
            self.set(Node::Manager(n), pause, Timer::Again(PULL));
            return Ok(());
        }
        match copy.append(bytes) {
            Ok(_) => {
                self.check_copy_of_control(n)?;
                self.pull(n);
                self.carry_on(n)
            }
            Err(error) if crate::server::is_refused(&error) => {
                self.note(|| format!("manager {n} refuses the Server's journal: {error:?}"));
                self.hang_up(n);
                Ok(())
            }
            Err(_) => {
                self.give_up(Node::Manager(n));
                Ok(())
            }
        }
    }

    /// Sends what is durable and the Server does not have.
    pub fn push_on(&mut self, n: usize) -> Result<(), String> {
        let manager = &mut self.managers[n];
        let next = manager.link.push_next;
        if !manager.link.is_up || manager.link.push.is_some() || manager.site.engine.is_none() {
            return Ok(());
        }
        let view = manager.site.engine().view();
        let bytes = protocol::news(view, next, protocol::NEWS_BYTES_MAX)
            .map_err(|error| format!("manager {n} cannot read its own journal: {error:?}"))?;
        if !bytes.is_empty() {
            manager.site.tell();
            let id = self.link_call(n, Call::Push(manager_id(n), bytes), 15 * S);
            self.managers[n].link.push = Some(id);
        }
        Ok(())
    }

    /// Carries out the next wish, if none is at hand.
    fn carry_on(&mut self, n: usize) -> Result<(), String> {
        let Some(copy) = self.managers[n].copy.clone() else {
            return Ok(());
        };
        loop {
            let link = &mut self.managers[n].link;
            if !link.is_up || link.stage != Stage::Idle || link.blob.is_some() {
                return Ok(());
            }
            if link.wishes.is_empty() {
                let durable = copy.view().at();
                if link.wishes_next > durable.get() {
                    return Ok(());
                }
                let from = Lsn::new(link.wishes_next);
                let found = protocol::records_between(&copy.view().reader, from, durable);
                let found = found.map_err(|error| format!("manager {n}: its copy: {error:?}"))?;
                link.wishes.extend(found);
                link.wishes_next = durable.next().get();
                continue;
            }
            let recorded = link.wishes.front().expect("there is one").clone();
            match protocol::wish(&recorded, manager_id(n)) {
                None => {
                    self.managers[n].link.wishes.pop_front();
                }
                Some(Wish::Ask(request)) => {
                    let link = &mut self.managers[n].link;
                    link.stage = Stage::Asked;
                    let to = For::Wish(link.session);
                    return self.manager_ask(n, from_the_server(request), 0, to);
                }
                Some(Wish::Place {
                    submission,
                    job,
                    epoch,
                }) => return self.take_over(n, recorded.lsn, submission, job, epoch),
            }
        }
    }

    fn take_over(
        &mut self,
        n: usize,
        control: Lsn,
        submission: [u8; 32],
        job: tablao_core::JobId,
        epoch: u32,
    ) -> Result<(), String> {
        let Some(bytes) = self.managers[n].blobs.get(&submission).cloned() else {
            let id = self.link_call(n, Call::Blob(submission), 5 * S);
            self.managers[n].link.blob = Some(id);
            return Ok(());
        };
        let mut new: NewJob = codec::from_bytes(&bytes).expect("what the Server encoded");
        new.facts.manager = manager_id(n);
        new.facts.job_epoch = epoch;
        let link = &mut self.managers[n].link;
        link.stage = Stage::Placing(control, job);
        let to = For::Wish(link.session);
        let submit = Request::SubmitJob { job: Box::new(new) };
        self.manager_ask(n, from_the_server(submit), 0, to)
    }

    /// The engine answered the wish at hand.
    pub fn wish_answered(&mut self, n: usize, session: u64, reply: Reply) -> Result<(), String> {
        let link = &mut self.managers[n].link;
        if !link.is_up || link.session != session {
            return Ok(());
        }
        match std::mem::take(&mut link.stage) {
            Stage::Idle => Ok(()),
            Stage::Asked => {
                link.wishes.pop_front();
                self.carry_on(n)
            }
            Stage::Placing(control, job) => {
                link.stage = Stage::Asked;
                let refused = reply.err();
                let settle = Request::SettleRemote {
                    control,
                    job,
                    refused: refused.as_ref().map(tablao_core::Refusal::code),
                    reason: String::new(),
                };
                self.manager_ask(n, Ask::system(settle), 0, For::Wish(session))
            }
        }
    }
}
