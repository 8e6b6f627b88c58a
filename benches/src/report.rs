// SPDX-License-Identifier: GPL-3.0-or-later
//! What a bench hands back: figures, each beside the limit of the same run, and the JSON of
//! `tablao bench PART --json`.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::Machine;

/// How large a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The stated dimensions.
    Full,
    /// A few seconds: shows that the bench itself works. Its figures say nothing.
    Small,
}

impl Size {
    /// The one or the other, by size.
    pub fn pick<T>(self, full: T, small: T) -> T {
        match self {
            Self::Full => full,
            Self::Small => small,
        }
    }
}

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What the same run measured as the limit.
    pub limit: Option<f64>,
    /// What that limit is of.
    pub limit_of: Option<String>,
}

/// What one part measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// With what sizes.
    pub dimensions: Map<String, Value>,
    /// What came out.
    pub results: Vec<Figure>,
}

impl Report {
    /// An empty report of this machine.
    pub fn new() -> Self {
        Self {
            machine: Machine::look(),
            dimensions: Map::new(),
            results: Vec::new(),
        }
    }

    /// States a dimension.
    pub fn dimension(&mut self, name: &str, value: impl Into<Value>) {
        self.dimensions.insert(name.to_owned(), value.into());
    }

    /// Adds a figure that has no limit to be compared with.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.results.push(Figure {
            name: name.into(),
            value,
            unit,
            limit: None,
            limit_of: None,
        });
    }

    /// Adds a figure beside its limit.
    pub fn figure_beside(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        limit: f64,
        limit_of: impl Into<String>,
    ) {
        self.results.push(Figure {
            name: name.into(),
            value,
            unit,
            limit: Some(limit),
            limit_of: Some(limit_of.into()),
        });
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}
