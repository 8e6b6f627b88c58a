// SPDX-License-Identifier: GPL-3.0-or-later
//! Who caused a change. On every decision, also while authentication is off.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kind of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    User,
    /// A service token.
    Token,
    /// A Worker.
    Worker,
    /// A Manager.
    Manager,
    /// A schedule that somebody set.
    Schedule,
    /// Tablao itself: timers, recovery.
    System,
}

impl ActorKind {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Token => "token",
            Self::Worker => "worker",
            Self::Manager => "manager",
            Self::Schedule => "schedule",
            Self::System => "system",
        }
    }
}

/// The door through which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The dashboard.
    Web,
    /// The command line.
    Cli,
    /// The Blender add-on.
    AddOn,
    /// Some other client of the API.
    Api,
    /// A Flamenco add-on or worker.
    Flamenco,
    /// Our own worker.
    Worker,
    /// Inside the process.
    Internal,
    /// From the Server above or a Manager below.
    Replication,
}

impl Via {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Cli => "cli",
            Self::AddOn => "add-on",
            Self::Api => "api",
            Self::Flamenco => "flamenco",
            Self::Worker => "worker",
            Self::Internal => "internal",
            Self::Replication => "replication",
        }
    }
}

/// Facts about an actor. Its claimed name and address are details of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Which one, where it has an identity (16 raw bytes of a UUID).
    pub id: Option<[u8; 16]>,
    /// How it reached us.
    pub via: Via,
}

impl Actor {
    /// Tablao itself.
    pub const SYSTEM: Self = Self {
        kind: ActorKind::System,
        id: None,
        via: Via::Internal,
    };

    /// Somebody whose name is only claimed.
    pub const fn anonymous(via: Via) -> Self {
        Self {
            kind: ActorKind::User,
            id: None,
            via,
        }
    }

    /// A worker.
    pub fn worker(id: crate::WorkerId, via: Via) -> Self {
        Self {
            kind: ActorKind::Worker,
            id: Some(id.uuid().into_bytes()),
            via,
        }
    }

    /// The id as a UUID.
    pub fn uuid(&self) -> Option<Uuid> {
        self.id.map(Uuid::from_bytes)
    }
}
