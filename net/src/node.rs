// SPDX-License-Identifier: GPL-3.0-or-later
//! A running Server or Manager: engines, views, scripts, files. What the handlers work on.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tablao_core::{
    Actor, Answer, JobId, JobStatus, ManagerId, Refusal, Request, TaskId, Timestamp, WorkerId,
    codec,
    decide::Asker,
    entity::JobSource,
    event::Body,
    request::{NewJob, TaskChunk},
};
use tablao_jobtypes::JobTypes;
use tablao_journal::Authority;

use crate::{
    Error,
    activities::Activities,
    api::replication::LinkTokens,
    blobs::Blobs,
    clock,
    config::{InForce, Settings},
    data_dir::{CONTROL_JOURNAL, DataDir, MIRROR_OF_SERVER, MIRRORS, SITE_JOURNAL},
    deletion::Deletion,
    engine::{Ask, Engine, EngineOptions, Reply, Started, Stopped},
    foreign_frames::ForeignFrames,
    health::Health,
    link::{Link, Mirrors, Site},
    live::Live,
    past_farms::PastFarms,
    previews::Previews,
    secrets::Secrets,
    shot_videos::ShotVideos,
    submission,
    task_logs::TaskLogs,
    variables::{Audience, Resolved},
    verify::Verifications,
    view::View,
};

/// What part a process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The Server alone: no workers of its own.
    Server,
    /// A Manager, with the Server's part unless it is linked to one.
    Manager,
}

/// How a Server or Manager is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The data directory.
    pub data: PathBuf,
    /// What part it plays.
    pub role: Role,
    /// The Server to link to, with a link token at the first time.
    pub link: Option<(String, Option<String>)>,
}

/// A running Server or Manager.
pub struct Node {
    /// Its configuration, which may change while it runs.
    pub settings: Settings,
    /// Its data directory.
    pub data: DataDir,
    /// What part it plays.
    pub role: Role,
    /// The control journal's engine; on a linked Manager nothing is asked of it.
    pub control: Engine,
    /// The site journal's engine, on a Manager.
    pub site: Option<Engine>,
    /// Views of linked Managers, on a Server.
    pub mirrors: Mirrors,
    /// The mirror of the Server's control journal, on a linked Manager.
    above: Mirrors,
    /// The link to the Server above, on a linked Manager.
    pub link: Link,
    /// Link tokens that were given out.
    pub link_tokens: LinkTokens,
    /// Keys of linked Managers.
    pub manager_keys: Secrets,
    /// The job type scripts.
    pub job_types: JobTypes,
    /// Workers' secrets.
    pub secrets: Secrets,
    /// Task logs.
    pub logs: TaskLogs,
    /// Blobs.
    pub blobs: Blobs,
    /// Last-rendered previews.
    pub previews: Previews,
    /// What workers say about the tasks that they run.
    pub activities: Activities,
    /// Frames that the logs of Flamenco's workers tell of.
    pub foreign_frames: ForeignFrames,
    /// What workers say about their machines.
    pub health: Health,
    /// Looks at the files of frames.
    pub verifications: Verifications,
    /// Makes small videos of shots.
    pub videos: ShotVideos,
    /// Who removes deleted jobs.
    pub deletion: Deletion,
    /// The farm as it was, for those who look at it.
    pub past_farms: PastFarms,
    /// Who listens to what happens.
    pub live: Arc<Live>,
    /// When it was started, for `/metrics`.
    pub started: std::time::Instant,
    /// When workers last called, by wall time, for people. What lapses is decided elsewhere.
    seen: Mutex<BTreeMap<WorkerId, Timestamp>>,
    /// Managers whose progress is about to be noted.
    noting: Mutex<BTreeSet<ManagerId>>,
}

/// After a restart, workers get this long before their silence counts.
const GRACE: Duration = Duration::from_secs(10);
/// A job of fewer tasks is cut into pieces on the spot; for a larger one that takes long enough to
/// hold up a thread that serves workers.
const TASKS_CUT_IN_PASSING: usize = 1000;
/// How many pieces of a large job are with the engine at once: as one sync takes along. Workers wait
/// behind them, some milliseconds at worst.
const PIECES_AT_ONCE: usize = 4;
/// Below this much free space submissions are refused, and a reserve stays for workers' reports.
const FREE_BYTES_MIN: u64 = 64 << 20;

impl Node {
    /// Starts engines and opens everything in the data directory. Blocks while it recovers.
    pub fn start(options: &NodeOptions) -> Result<Self, Error> {
        let data = DataDir::open(&options.data)?;
        let settings = Settings::open(data.root())?;
        tablao_journal::set_background_packing(settings.now().config.pack_journals);
        let manager = data.identity.manager;
        let start = |name: &str, folder: &str, authority| {
            let (engine, started) = Engine::start(&EngineOptions {
                journal_dir: data.path(folder),
                checkpoint_dir: data.path("checkpoints").join(name),
                authority,
                manager,
                grace: GRACE,
            })?;
            report(name, &started);
            Ok::<_, Error>((engine, started))
        };
        let (control, control_started) = start("control", CONTROL_JOURNAL, Authority::Control)?;
        let site = match options.role {
            Role::Manager => Some(start("site", SITE_JOURNAL, Authority::Site)?),
            Role::Server => None,
        };
        let job_types = JobTypes::open(tablao_jobtypes::Options {
            scripts_dir: Some(data.path("scripts")),
            ..tablao_jobtypes::Options::default()
        })?;
        let link = Link::open(&data, options.link.as_ref())?;
        let secrets = Secrets::open(&data.path("worker-secrets.json"))?;
        let clean = (
            control_started.recovery.clean || control_started.recovery.created,
            site.as_ref()
                .is_none_or(|(_, started)| started.recovery.clean || started.recovery.created),
        );
        let node = Self {
            role: options.role,
            control,
            site: site.map(|(engine, _)| engine),
            mirrors: Mirrors::open(&data, MIRRORS)?,
            above: Mirrors::open(&data, MIRROR_OF_SERVER)?,
            link,
            link_tokens: LinkTokens::default(),
            manager_keys: Secrets::open(&data.path("manager-keys.json"))?,
            job_types,
            secrets,
            logs: TaskLogs::new(data.path("logs")),
            blobs: Blobs::new(data.path("blobs")),
            previews: Previews::new(data.path("previews")),
            live: Live::new(&settings.now().config.mqtt),
            started: std::time::Instant::now(),
            seen: Mutex::default(),
            noting: Mutex::default(),
            activities: Activities::default(),
            foreign_frames: ForeignFrames::default(),
            health: Health::default(),
            verifications: Verifications::default(),
            videos: ShotVideos::default(),
            deletion: Deletion::default(),
            past_farms: PastFarms::default(),
            settings,
            data,
        };
        node.open_journals(clean)
            .map_err(|error| node.cause_of(error))?;
        Ok(node)
    }

    /// The first records of a start.
    fn open_journals(&self, (control_clean, site_clean): (bool, bool)) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|source| Error::Thread {
                name: "start".to_owned(),
                source,
            })?;
        runtime.block_on(async {
            let manager = self.manager();
            self.control.open_journal(manager, control_clean).await?;
            if !self.link.is_linked() {
                let _ = self
                    .control
                    .ask(Ask::system(Request::StartTerm { term: 1 }))
                    .await?;
            }
            if let Some(site) = &self.site {
                if self.link.is_linked() {
                    site.open_linked_journal(manager, site_clean).await?;
                } else {
                    site.open_journal(manager, site_clean).await?;
                }
                let in_force = self.in_force();
                self.note_config(site, &in_force.config, Actor::SYSTEM, Asker::default())
                    .await?;
                site.set_expiries(in_force.config.upkeep.expiries()).await?;
                let name = in_force.config.manager_name.clone();
                let link = Request::LinkManager { manager, name };
                let _ = self.control.ask(Ask::system(link)).await?;
            }
            Ok(())
        })
    }

    /// Where an engine has stopped because its journal failed, that is what is to be told.
    fn cause_of(&self, error: Error) -> Error {
        let engines = std::iter::once(&self.control).chain(&self.site);
        let failure = engines
            .filter_map(|engine| engine.failure().borrow().clone())
            .next();
        match (error, failure) {
            (Error::Stopped(_), Some(what)) => Error::JournalFailed { what },
            (error, _) => error,
        }
    }

    /// Who this Server or Manager is.
    pub fn manager(&self) -> ManagerId {
        self.data.identity.manager
    }

    /// Views of all sites: its own, and those of linked Managers.
    pub fn sites(&self) -> Vec<View> {
        let own = self.site.iter().map(|engine| engine.view().clone());
        own.chain(self.mirrors.views()).collect()
    }

    /// The site that has this job: where it was given from one Manager to another, the one that
    /// has it now. What the old one still says of it is history.
    pub fn site_of_job(&self, job: JobId) -> Option<View> {
        let placed = (self.control.model().farm().placements())
            .get(&job)
            .map(|placed| placed.manager);
        let has = |view: &View| view.read().job(job).is_some();
        (self.sites().into_iter().filter(has)).max_by_key(|view| Some(view.manager) == placed)
    }

    /// The site that has this task.
    pub fn site_of_task(&self, task: TaskId) -> Option<View> {
        self.sites()
            .into_iter()
            .find(|view| view.read().task(task).is_some())
    }

    /// The configuration that is in force at this moment, with what follows from it.
    pub fn in_force(&self) -> Arc<InForce> {
        self.settings.now()
    }

    /// The content store on the shared storage, where there is one.
    pub fn shaman(&self) -> Option<tablao_shaman::Store> {
        self.in_force().shaman.clone()
    }

    /// Where tasks find the shared files.
    pub fn storage(&self) -> String {
        self.in_force().storage().to_owned()
    }

    /// The variables as somebody sees them.
    pub fn variables(&self, audience: Audience, platform: &str) -> Arc<Resolved> {
        self.in_force().variables(audience, platform)
    }

    /// Accepts a compiled job at this Manager: in one decision, or a large one in parts.
    pub async fn accept_job(
        &self,
        engine: &Engine,
        mut job: NewJob,
        actor: Actor,
        asker: Asker,
        key: Option<[u8; 32]>,
    ) -> Result<Reply, Stopped> {
        let chunk = std::mem::take(&mut job.chunk);
        let pieces = if chunk.tasks.len() < TASKS_CUT_IN_PASSING {
            submission::split(chunk)
        } else {
            match tokio::task::spawn_blocking(move || submission::split(chunk)).await {
                Ok(pieces) => pieces,
                Err(error) => {
                    tracing::error!(%error, "cut a submission into pieces");
                    return Ok(Err(Refusal::UnsoundSubmission {
                        reason: "the Manager could not take it over; see its log".to_owned(),
                    }));
                }
            }
        };
        self.accept_pieces(engine, job, pieces, actor, asker, key)
            .await
    }

    /// The same, of a job whose tasks were cut already.
    pub async fn accept_pieces(
        &self,
        engine: &Engine,
        mut job: NewJob,
        pieces: Vec<TaskChunk>,
        actor: Actor,
        asker: Asker,
        key: Option<[u8; 32]>,
    ) -> Result<Reply, Stopped> {
        let id = job.facts.job;
        let ask = |request| Ask {
            request,
            actor,
            asker: asker.clone(),
            key: None,
            body: Body::Events,
        };
        if pieces.len() <= 1 {
            job.chunk = pieces.into_iter().next().unwrap_or_default();
            let request = Request::SubmitJob { job: Box::new(job) };
            return engine
                .ask(Ask {
                    key,
                    ..ask(request)
                })
                .await;
        }
        let request = Request::AcceptJob { job: Box::new(job) };
        match engine
            .ask(Ask {
                key,
                ..ask(request)
            })
            .await?
        {
            Ok(Answer::Job(accepted)) if accepted == id => {}
            // An earlier submission with the same key, or a refusal.
            other => return Ok(other),
        }
        // A placement that was cut off goes on behind the tasks that are there.
        let Some(there) = Self::tasks_there(engine, id) else {
            return Ok(Ok(Answer::Job(id)));
        };
        // A few at once: the engine decides one while the one before is synced and folded. They
        // are sent in order, and one that follows a refused one is refused as well.
        let mut left = (pieces.into_iter()).filter_map(|piece| submission::from_task(piece, there));
        let mut asked = FuturesOrdered::new();
        loop {
            for chunk in left.by_ref().take(PIECES_AT_ONCE - asked.len()) {
                let chunk = Box::new(chunk);
                asked.push_back(engine.ask(ask(Request::AddTasks { job: id, chunk })));
            }
            let Some(answer) = asked.next().await else {
                break;
            };
            if let Err(refusal) = answer? {
                while asked.next().await.is_some() {}
                let reason = refusal.to_string();
                let _ = engine
                    .ask(ask(Request::AbandonJob { job: id, reason }))
                    .await?;
                return Ok(Err(refusal));
            }
        }
        engine.ask(ask(Request::ReadyJob { job: id })).await
    }

    /// How many tasks a job has that is still being written down; `None` when it is whole.
    fn tasks_there(engine: &Engine, job: JobId) -> Option<usize> {
        let model = engine.model();
        let job = model.farm().jobs().get(&job)?;
        (job.state.status == JobStatus::UnderConstruction).then_some(job.tasks.len())
    }

    /// At the Server: places a job at a Manager, to be carried out there. The compiled
    /// submission is a control blob, on disk before the placement names it.
    pub async fn place_job(
        self: &Arc<Self>,
        mut job: NewJob,
        actor: Actor,
        asker: Asker,
        key: Option<[u8; 32]>,
    ) -> Result<Reply, Stopped> {
        let Some((manager, why)) = self.choose_manager() else {
            return Ok(Err(Refusal::UnknownManager {
                manager: self.manager(),
            }));
        };
        job.facts.manager = manager;
        job.facts.source = JobSource::Placed;
        let bytes = codec::to_bytes(&job);
        let blobs = self.blobs.clone();
        let kept = tokio::task::spawn_blocking(move || blobs.put(&bytes)).await;
        let Ok(Ok(submission)) = kept else {
            tracing::error!(?kept, "keep a submission");
            return Ok(Err(Refusal::UnsoundSubmission {
                reason: "the Server cannot store it; see its log".to_owned(),
            }));
        };
        let request = Request::PlaceJob {
            job: job.facts.job,
            manager,
            submission,
            name: job.detail.name,
            why,
        };
        let ask = Ask {
            key,
            body: Body::Blob(submission),
            ..Ask::new(request, actor, asker)
        };
        self.control.ask(ask).await
    }

    /// The linked Manager with the fewest tasks to do, among those that were heard of lately.
    fn choose_manager(&self) -> Option<(ManagerId, String)> {
        let recent = Timestamp::from_micros(clock::now().micros().saturating_sub(60_000_000));
        let control = self.control.model();
        let linked = |manager: &ManagerId| {
            (control.farm().managers().get(manager)).is_some_and(|known| !known.revoked)
        };
        self.mirrors
            .all()
            .iter()
            .filter(|site| linked(&site.view().manager))
            .map(|site| {
                let load: u64 = (site.view().read().farm().jobs().values())
                    .map(|job| u64::from(job.counts.runnable() + job.live))
                    .sum();
                (site.heard() < recent, load, site.view().manager)
            })
            .min()
            .map(|(away, load, manager)| {
                let presence = if away {
                    "not heard of lately"
                } else {
                    "present"
                };
                (manager, format!("fewest tasks to do ({load}), {presence}"))
            })
    }

    /// Waits a moment for a placed job to come up from its Manager.
    pub async fn wait_for_placed(&self, job: JobId) {
        // Fifty looks, a twentieth of a second apart; after that the job is shown as placed.
        for _ in 0..50 {
            if self.site_of_job(job).is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The mirror of the Server's control journal, on a linked Manager.
    pub fn mirrors_above(
        &self,
        server: ManagerId,
        control_journal: [u8; 16],
    ) -> Result<Arc<Site>, Error> {
        if let Some(site) = self.above.of_journal(control_journal) {
            return Ok(site);
        }
        self.above.site(server, control_journal)
    }

    /// Notes in the control journal how far a mirror has come, at most once a second.
    pub fn note_origin(self: &Arc<Self>, manager: ManagerId) {
        {
            let mut noting = self.noting.lock().unwrap_or_else(PoisonError::into_inner);
            if !noting.insert(manager) {
                return;
            }
        }
        let node = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            node.noting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&manager);
            if let Some(site) = node.mirrors.get(manager) {
                let (lsn, chain) = site.mark();
                let request = Request::AdvanceOrigin {
                    manager,
                    lsn,
                    chain,
                };
                // An engine that has stopped notes nothing any more.
                let _ = node.control.ask(Ask::system(request)).await;
            }
        });
    }

    /// Notes that a worker called.
    pub fn saw(&self, worker: WorkerId) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(worker, clock::now());
    }

    /// When a worker last called this process.
    pub fn last_seen(&self, worker: WorkerId) -> Option<Timestamp> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&worker).copied()
    }

    /// There is room for a submission; workers' reports keep a reserve.
    pub fn has_room(&self) -> bool {
        fs4::available_space(self.data.root()).map_or(true, |free| free >= FREE_BYTES_MIN)
    }

    /// Ends in order.
    pub fn close(&self) {
        if let Some(site) = &self.site {
            site.close();
        }
        self.control.close();
    }
}

/// Says on the log what a start found.
fn report(name: &str, started: &Started) {
    let recovery = &started.recovery;
    tracing::info!(
        journal = name,
        next = recovery.next_lsn.get(),
        clean = recovery.clean,
        checkpoint = started.checkpoint.get(),
        folded = started.folded,
        "journal opened"
    );
    if let Some(torn) = &recovery.torn {
        tracing::warn!(
            journal = name,
            segment = torn.segment,
            offset = torn.offset,
            bytes = torn.bytes,
            kept_in = torn.kept_in.as_deref().unwrap_or("nowhere"),
            "the last write before the crash was incomplete and was cut off; nothing acknowledged is lost"
        );
    }
}

/// A shared node.
pub type SharedNode = Arc<Node>;
