// SPDX-License-Identifier: GPL-3.0-or-later
//! What a bench says: figures, and beside each the limit that the same run measured.
//!
//! It measures nothing itself.

use serde_json::{Map, Value};

/// How long a bench may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The stated dimensions.
    Full,
    /// A few seconds, so that the bench cannot rot.
    Small,
}

/// What a bench can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("measure")]
    Io(#[from] std::io::Error),
    /// The journal refused.
    #[error("measure the journal")]
    Journal(#[from] tablao_journal::Error),
    /// Whoever should have answered is gone.
    #[error("hear from the journal's writer")]
    Gone,
}

/// The machine a figure was measured on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Number of processors.
    pub cores: usize,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// One measured figure, beside the limit of the same run.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much it was.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What the same run measured as the limit.
    pub limit: Option<f64>,
    /// What that limit is of.
    pub limit_of: Option<String>,
}

impl Figure {
    /// A figure without a limit.
    #[must_use]
    pub fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            limit: None,
            limit_of: None,
        }
    }

    /// The same beside its limit.
    #[must_use]
    pub fn below(self, limit: f64, limit_of: &str) -> Self {
        Self {
            limit: Some(limit),
            limit_of: Some(limit_of.to_owned()),
            ..self
        }
    }
}

/// What one bench found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Of what size.
    pub dimensions: Map<String, Value>,
    /// What.
    pub results: Vec<Figure>,
}
