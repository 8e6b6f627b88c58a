// SPDX-License-Identifier: GPL-3.0-or-later
//! What a bench says: figures, each beside the limit of the same run.

use serde::Serialize;
use serde_json::{Map, Value};

/// One measured figure, beside the limit of the same run.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What bounds it, measured in the same run.
    pub limit: Option<f64>,
    /// What the limit is of.
    pub limit_of: Option<String>,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors.
    pub cores: usize,
}

/// What a bench found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// How large.
    pub dimensions: Map<String, Value>,
    /// The figures.
    pub results: Vec<Figure>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The stated dimensions.
    Full,
    /// A few seconds, to see that it works.
    Small,
}

/// Why a bench could not be run.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] pub Box<dyn std::error::Error + Send + Sync>);
