// SPDX-License-Identifier: GPL-3.0-or-later
//! Positions in a journal, moments in time, and the attempt id made of a position.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Position of a record in one journal. The first record is 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first record.
    pub const ORIGIN: Self = Self(0);

    /// Wraps a number that a journal gave.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The position `records` later.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Self(
            self.0
                .checked_add(records)
                .expect("a farm cannot outlive u64 records"),
        )
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment: microseconds since 1970-01-01T00:00:00Z, as told by the shell.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The moment `millis` milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1000)))
    }
}

/// One run of a task by one worker.
///
/// The position of its assignment fences it; job epoch and incarnation keep attempts comparable
/// after reassignment to another Manager, promotion and restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// Raised when a job is taken from one Manager and given to another.
    pub job_epoch: u32,
    /// The journal's incarnation at assignment.
    pub incarnation: u32,
    /// Position of the `AttemptAssigned` record.
    pub lsn: Lsn,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}.{}.{}", self.job_epoch, self.incarnation, self.lsn)
    }
}

impl FromStr for AttemptId {
    type Err = ParseAttemptIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text
            .strip_prefix('a')
            .ok_or(ParseAttemptIdError)?
            .split('.');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let job_epoch = number().and_then(|n| u32::try_from(n).ok());
        let incarnation = number().and_then(|n| u32::try_from(n).ok());
        let lsn = number().map(Lsn::new);
        match (job_epoch, incarnation, lsn, parts.next()) {
            (Some(job_epoch), Some(incarnation), Some(lsn), None) => Ok(Self {
                job_epoch,
                incarnation,
                lsn,
            }),
            _ => Err(ParseAttemptIdError),
        }
    }
}

/// The text is not an attempt id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("parse an attempt id: expected the form a<job epoch>.<incarnation>.<position>")]
pub struct ParseAttemptIdError;
