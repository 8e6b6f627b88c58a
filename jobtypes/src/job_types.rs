// SPDX-License-Identifier: GPL-3.0-or-later
//! The handle the rest of Tablao holds: list job types, look one up, compile a job.
//!
//! Listing answers from memory and runs no script. Compiling blocks the calling thread for at most
//! the time limit, so callers in an async runtime give it a thread of its own. When to look at the
//! scripts folder again is for `watch` to decide.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use crate::{
    catalog::{Catalog, LoadedType, Problem},
    compiler::{self, Place},
    error::Error,
    isolation,
    job::{CompiledJob, CompiledTask, SubmittedJob},
    job_type::AvailableJobType,
    options::Options,
    settings,
    sources::Sources,
    watch::Watch,
};

/// The job types of a Manager. Cheap to clone; all clones see the same scripts.
#[derive(Clone)]
pub struct JobTypes {
    shelf: Arc<Shelf>,
    /// Ends the watching thread when the last handle is dropped.
    _watch: Option<Arc<Watch>>,
}

impl std::fmt::Debug for JobTypes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let catalog = self.shelf.catalog();
        let names = catalog.types.keys();
        formatter.debug_list().entries(names).finish()
    }
}

/// What handles and the watching thread share.
pub(crate) struct Shelf {
    pub(crate) options: Options,
    catalog: RwLock<Arc<Catalog>>,
    /// One scan at a time; otherwise a slow one could put an older picture over a newer one.
    scanning: Mutex<()>,
    generation: Mutex<u64>,
    changed: Condvar,
}

impl JobTypes {
    /// Loads all scripts and, if the options say so, starts watching the scripts folder.
    /// Broken scripts are no error: see [`JobTypes::problems`].
    pub fn open(options: Options) -> Result<Self, Error> {
        let watched = options.watch && options.scripts_dir.is_some();
        let shelf = Arc::new(Shelf {
            options,
            catalog: RwLock::default(),
            scanning: Mutex::default(),
            generation: Mutex::default(),
            changed: Condvar::new(),
        });
        // Watching starts before the first scan, so that no edit falls between the two.
        let watch = watched.then(|| Watch::start(&shelf)).transpose()?;
        shelf.scan();
        Ok(Self {
            shelf,
            _watch: watch.map(Arc::new),
        })
    }

    /// All usable job types, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<AvailableJobType> {
        let catalog = self.shelf.catalog();
        let loaded = catalog.types.values();
        loaded.map(|loaded| loaded.public.clone()).collect()
    }

    /// The job type called `name`.
    pub fn get(&self, name: &str) -> Result<AvailableJobType, Error> {
        Ok(self.loaded(name)?.public)
    }

    /// Scripts that are not in use as they stand, with reasons.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.shelf.catalog().problems.clone()
    }

    /// Compiles a job: checks etag and settings, then runs the script. Blocks.
    pub fn compile(&self, job: SubmittedJob) -> Result<CompiledJob, Error> {
        let mut tasks = Vec::new();
        let mut compiled = self.compile_into(job, &mut |task| tasks.push(task))?;
        compiled.tasks = tasks;
        Ok(compiled)
    }

    /// The same, with the tasks handed over in their order, many of them while the script still
    /// runs; the job comes without them. They are worth nothing where an error follows.
    pub fn compile_into(
        &self,
        job: SubmittedJob,
        take: &mut (dyn FnMut(CompiledTask) + Send),
    ) -> Result<CompiledJob, Error> {
        let LoadedType {
            public,
            script,
            sources,
        } = self.loaded(&job.job_type)?;
        let submitted = job.type_etag.clone().unwrap_or_default();
        if !submitted.is_empty() && submitted != public.etag {
            return Err(Error::EtagMismatch {
                job_type: public.name,
                submitted,
                current: public.etag,
            });
        }
        let problems = settings::check_settings(&public, &job.settings);
        if !problems.is_empty() {
            return Err(Error::Settings { problems });
        }
        let not_sent = settings::missing_required(&public, &job.settings);
        let options = &self.shelf.options;
        let compiled = match &options.child {
            Some(program) => isolation::compile(program, &script, &sources, options, job, take),
            None => compiler::compile(&script, &sources, options, job, Place::Here, None).map(
                |mut compiled| {
                    std::mem::take(&mut compiled.tasks)
                        .into_iter()
                        .for_each(take);
                    compiled
                },
            ),
        };
        compiled.map_err(|mut error| {
            if let Error::Thrown { missing, .. } = &mut error {
                *missing = not_sent;
            }
            error
        })
    }

    /// Reads the scripts folder again, now. Returns whether anything changed.
    pub fn rescan(&self) -> bool {
        self.shelf.scan()
    }

    /// Counts the changes seen so far; rises whenever job types or problems may have changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        *lock(&self.shelf.generation)
    }

    /// Waits until [`JobTypes::generation`] is beyond `seen`, at most for `patience`. Returns the
    /// generation at the end, which is `seen` itself when nothing happened.
    #[must_use]
    pub fn wait_for_change(&self, seen: u64, patience: Duration) -> u64 {
        let deadline = Instant::now() + patience;
        let mut generation = lock(&self.shelf.generation);
        while *generation <= seen {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            let woken = self.shelf.changed.wait_timeout(generation, left);
            generation = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *generation
    }

    fn loaded(&self, name: &str) -> Result<LoadedType, Error> {
        let catalog = self.shelf.catalog();
        catalog
            .types
            .get(name)
            .cloned()
            .ok_or_else(|| Error::UnknownJobType {
                name: name.to_owned(),
                known: catalog.types.keys().cloned().collect(),
            })
    }
}

impl Shelf {
    fn catalog(&self) -> Arc<Catalog> {
        let shared = self.catalog.read();
        Arc::clone(&shared.unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a new picture of the files and, if it differs, loads the job types anew.
    pub(crate) fn scan(&self) -> bool {
        let _one_at_a_time = lock(&self.scanning);
        let previous = self.catalog();
        let folder = self.options.scripts_dir.as_deref();
        let (sources, skipped) = Sources::read(folder, &previous.sources);
        let first = *lock(&self.generation) == 0;
        if !first && sources == *previous.sources && same_skipped(&previous, &skipped) {
            return false;
        }
        let catalog = Catalog::load(&previous, sources, skipped, &self.options);
        for problem in &catalog.problems {
            if !previous.problems.contains(problem) {
                tracing::warn!(
                    script = problem.script,
                    "job type script: {}",
                    problem.message
                );
            }
        }
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
        *lock(&self.generation) += 1;
        self.changed.notify_all();
        true
    }
}

fn same_skipped(previous: &Catalog, skipped: &[(String, String)]) -> bool {
    let known = previous
        .problems
        .iter()
        .filter(|problem| problem.job_type.is_none());
    known
        .map(|problem| &problem.script)
        .eq(skipped.iter().map(|(script, _)| script))
}

/// A panic while holding one of these locks leaves nothing half done, so poisoning is ignored.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
