// SPDX-License-Identifier: GPL-3.0-or-later
//! The job types of one picture of the scripts, and what keeps the others out.
//!
//! Pure in the sense that matters: a new catalog is made from the previous one and the new files.
//! A type whose new version is broken keeps its last good version, together with the helper files
//! of that time; a type that never worked on disk leaves the built-in one of its name in place.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{
    compiler::{self, Place},
    error::Error,
    isolation,
    job_type::AvailableJobType,
    options::Options,
    sources::{Skipped, SourceFile, Sources},
};

/// A script that is not in use as it stands, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path below the scripts folder.
    pub script: String,
    /// The job type concerned, when the file would be one.
    pub job_type: Option<String>,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Whether an earlier version of this script is in use in its place.
    pub last_good_in_use: bool,
}

/// A job type that can compile jobs.
#[derive(Debug, Clone)]
pub(crate) struct LoadedType {
    pub(crate) public: AvailableJobType,
    pub(crate) script: SourceFile,
    /// The files `script` was tried with; its `require()` sees these.
    pub(crate) sources: Arc<Sources>,
}

/// All job types at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) types: BTreeMap<String, LoadedType>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) sources: Arc<Sources>,
}

impl Catalog {
    /// Loads every job type of `sources`, falling back on `previous` where a script is broken.
    pub(crate) fn load(
        previous: &Self,
        sources: Sources,
        skipped: Vec<Skipped>,
        options: &Options,
    ) -> Self {
        let sources = Arc::new(sources);
        let mut catalog = Self {
            types: BTreeMap::new(),
            problems: skipped.into_iter().map(unreadable).collect(),
            sources: Arc::clone(&sources),
        };
        for script in sources.type_files() {
            let name = script.type_name();
            if script.is_crumb() {
                catalog.ignore_crumb(previous, name, &script);
                continue;
            }
            match declare(&script, &sources, options) {
                Ok(public) => {
                    let sources = Arc::clone(&sources);
                    let loaded = LoadedType {
                        public,
                        script,
                        sources,
                    };
                    catalog.types.insert(name, loaded);
                }
                Err(error) => catalog.fall_back(previous, name, &script, &error),
            }
        }
        catalog
    }

    /// An empty file is no problem, unless it was a job type a moment ago: then somebody is saving it.
    fn ignore_crumb(&mut self, previous: &Self, name: String, script: &SourceFile) {
        if previous
            .types
            .get(&name)
            .is_some_and(|known| known.script.path == script.path)
        {
            let error = Error::InvalidJobType {
                script: script.path.clone(),
                problem: "the file is empty".to_owned(),
            };
            self.fall_back(previous, name, script, &error);
        }
    }

    fn fall_back(&mut self, previous: &Self, name: String, script: &SourceFile, error: &Error) {
        // Only an earlier version of this very file: the built-in one is no version of an override.
        let good = previous.types.get(&name);
        let good = good.filter(|loaded| loaded.script.path == script.path);
        let from_disk = self.sources.is_on_disk(&script.path);
        let good =
            good.filter(|loaded| loaded.sources.is_on_disk(&loaded.script.path) == from_disk);
        self.problems.push(Problem {
            script: script.path.clone(),
            job_type: Some(name.clone()),
            message: advise(error),
            last_good_in_use: good.is_some(),
        });
        if let Some(good) = good {
            self.types.insert(name, good.clone());
        }
    }
}

/// A studio's script runs in a process of its own where there is one. Those that are part of the
/// program are trusted like the program, and spare the start of every Manager a process each.
fn declare(
    script: &SourceFile,
    sources: &Sources,
    options: &Options,
) -> Result<AvailableJobType, Error> {
    match &options.child {
        Some(program) if sources.is_on_disk(&script.path) => {
            isolation::declare(program, script, sources, options)
        }
        Some(_) | None => compiler::declare(script, sources, options, Place::Here),
    }
}

fn unreadable((script, reason): Skipped) -> Problem {
    Problem {
        script,
        job_type: None,
        message: format!("the file was left out: {reason}"),
        last_good_in_use: false,
    }
}

fn advise(error: &Error) -> String {
    format!(
        "{error}; correct it, or move it into a subfolder if it is only a helper of other scripts"
    )
}
