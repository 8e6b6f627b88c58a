// SPDX-License-Identifier: GPL-3.0-or-later
//! Who there is, and what they say to each other: calls and their answers, as over HTTP.
//!
//! A call may be lost, late or doubled on its way, and so may its answer. What does not come is
//! asked again by whoever waits for it.

use std::fmt;

use tablao_core::{ManagerId, TaskId, WorkerId, request::NewJob};
use tablao_net::engine::{Ask, Reply};
use tablao_net::link::Welcome;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The n-th Server: 0 is the first, each promotion makes the next.
    Server(usize),
    /// A Manager.
    Manager(usize),
    /// A Worker, counted over all Managers.
    Worker(usize),
    /// Whoever submits jobs.
    Client,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(n) => write!(f, "server {n}"),
            Self::Manager(n) => write!(f, "manager {n}"),
            Self::Worker(n) => write!(f, "worker {n}"),
            Self::Client => f.write_str("client"),
        }
    }
}

/// What a caller wants.
#[derive(Clone, Debug)]
pub enum Call {
    /// A request to an engine, with how many seconds the answer may be held back.
    Ask(Box<Ask>, u64),
    /// May this worker's task run on?
    MayRun(WorkerId, TaskId),
    /// A compiled job for the Server to place, with its idempotency key.
    Submit(Box<NewJob>, [u8; 32]),
    /// A Manager greets: who it is, which journal it has, where that ends.
    Hello(ManagerId, [u8; 16], u64),
    /// The control journal from this position on.
    Pull(u64),
    /// Batches of a Manager's site journal.
    Push(ManagerId, Vec<u8>),
    /// A blob.
    Blob([u8; 32]),
}

/// What a caller hears.
#[derive(Clone, Debug)]
pub enum Answer {
    /// From an engine.
    Reply(Reply),
    /// The task may run on.
    MayRun(bool),
    /// The Manager is let in.
    Welcome(Box<Welcome>),
    /// What was asked for is not given.
    Refused(String),
    /// Bytes of a journal or a blob.
    Bytes(Vec<u8>),
    /// The mirror wants this position next.
    Pushed(u64),
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// A call with its number.
    Call(u64, Node, Call),
    /// The answer to a call.
    Answer(u64, Answer),
}
