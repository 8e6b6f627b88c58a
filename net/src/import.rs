// SPDX-License-Identifier: GPL-3.0-or-later
//! Takes another farm's tags, workers and jobs over, as requests that are decided like any other.
//!
//! What is here already, by its id, stays as it is: an import that is repeated, or that was cut
//! off, goes on where it has to. Reading another farm's files is the command line's.

use tablao_core::{
    Actor, Answer, JobStatus, Request, TagId, Timestamp, Via,
    decide::Asker,
    entity::JobSource,
    request::{ImportedState, ImportedWorker},
};
use tablao_jobtypes::CompiledJob;

use crate::{
    Error,
    engine::{Ask, Engine},
    node::Node,
    submission::{self, Terms},
};

/// A worker with the bcrypt hash of its secret.
#[derive(Clone, Debug)]
pub struct ForeignWorker {
    /// The worker.
    pub worker: ImportedWorker,
    /// The hash; empty when there is none.
    pub secret: String,
}

/// A job as it stood on another farm.
#[derive(Clone, Debug)]
pub struct ForeignJob {
    /// Its tasks, settings and names.
    pub compiled: CompiledJob,
    /// When it was submitted there.
    pub created: Timestamp,
    /// How it stood.
    pub state: ImportedState,
}

/// What another farm has.
#[derive(Clone, Debug, Default)]
pub struct ForeignFarm {
    /// Tags with names and descriptions.
    pub tags: Vec<(TagId, String, String)>,
    /// Workers.
    pub workers: Vec<ForeignWorker>,
    /// Jobs, the oldest first.
    pub jobs: Vec<ForeignJob>,
}

/// How many of something came over, and how many were here already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// New here.
    pub new: usize,
    /// Here already, and left as they are.
    pub known: usize,
}

impl Tally {
    fn count(&mut self, is_new: bool) {
        if is_new {
            self.new += 1;
        } else {
            self.known += 1;
        }
    }
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Tags.
    pub tags: Tally,
    /// Workers.
    pub workers: Tally,
    /// Jobs.
    pub jobs: Tally,
    /// Tasks of the new jobs.
    pub tasks: usize,
}

impl Node {
    /// Takes a farm over. `told` hears of each job as it is there.
    pub async fn import(
        &self,
        farm: ForeignFarm,
        user: &str,
        mut told: impl FnMut(&Imported),
    ) -> Result<Imported, Error> {
        let mut done = Imported::default();
        let Some(site) = &self.site else {
            return Ok(done);
        };
        let importer = Importer {
            node: self,
            site,
            user,
        };
        for (tag, name, description) in farm.tags {
            let is_new = !site.model().farm().tags().contains_key(&tag);
            if is_new {
                let what = format!("the tag {name:?}");
                let request = Request::CreateTag {
                    tag,
                    name,
                    description,
                };
                importer.ask(what, request).await?;
            }
            done.tags.count(is_new);
        }
        // The secrets first: a worker that is here can always sign on.
        let hashes = (farm.workers.iter())
            .filter(|worker| !worker.secret.is_empty())
            .map(|worker| (worker.worker.worker.uuid(), worker.secret.clone()));
        self.secrets.import(hashes.collect())?;
        for ForeignWorker { worker, .. } in farm.workers {
            let is_new = !site.model().farm().workers().contains_key(&worker.worker);
            if is_new {
                let what = format!("the worker {:?}", worker.detail.name);
                let worker = Box::new(worker);
                importer.ask(what, Request::ImportWorker { worker }).await?;
            }
            done.workers.count(is_new);
        }
        for job in farm.jobs {
            let tasks = job.compiled.tasks.len();
            let is_new = importer.job(job).await?;
            done.jobs.count(is_new);
            if is_new {
                done.tasks += tasks;
            }
            told(&done);
        }
        Ok(done)
    }
}

struct Importer<'a> {
    node: &'a Node,
    site: &'a Engine,
    user: &'a str,
}

impl Importer<'_> {
    async fn ask(&self, what: String, request: Request) -> Result<Answer, Error> {
        let asker = Asker {
            name: self.user.to_owned(),
            address: String::new(),
        };
        let ask = Ask::new(request, Actor::anonymous(Via::Cli), asker);
        let reply = self.site.ask(ask).await?;
        reply.map_err(|source| Error::Import { what, source })
    }

    /// `true` if the job was not here.
    async fn job(&self, job: ForeignJob) -> Result<bool, Error> {
        let id = tablao_core::JobId::new(job.compiled.id);
        let what = || format!("the job {:?} ({id})", job.compiled.name);
        let here = {
            let model = self.site.model();
            let here = model.farm().jobs().get(&id);
            here.map(|job| {
                let facts = &job.state.facts;
                let is_whole = job.tasks.len() == facts.tasks_expected as usize;
                let was_cut_off = facts.source == JobSource::Imported
                    && (!is_whole || job.state.status == JobStatus::UnderConstruction);
                (was_cut_off, job.state.status, job.state.delete_marked)
            })
        };
        if let Some((was_cut_off, status, marked)) = here {
            if !was_cut_off {
                return Ok(false);
            }
            // An import that ended in the middle: its job goes, and comes again.
            if status == JobStatus::UnderConstruction {
                let reason = "its import was cut off".to_owned();
                let abandon = Request::AbandonJob { job: id, reason };
                self.ask(what(), abandon).await?;
            }
            if marked.is_none() {
                self.ask(what(), Request::MarkJobDeleted { job: id })
                    .await?;
            }
            self.ask(what(), Request::PurgeJob { job: id }).await?;
        }
        let terms = Terms {
            manager: self.node.manager(),
            initial: JobStatus::Queued,
            created: job.created,
            settings: job.compiled.settings.clone(),
            source: JobSource::Imported,
            user: String::new(),
        };
        let named = what();
        let mut new = submission::new_job(job.compiled, &terms);
        let pieces = submission::split(std::mem::take(&mut new.chunk));
        let accept = Request::AcceptJob { job: Box::new(new) };
        self.ask(named.clone(), accept).await?;
        for piece in pieces {
            let chunk = Box::new(piece);
            let add = Request::AddTasks { job: id, chunk };
            self.ask(named.clone(), add).await?;
        }
        let state = Box::new(job.state);
        let finish = Request::FinishImport { job: id, state };
        self.ask(named, finish).await?;
        Ok(true)
    }
}
