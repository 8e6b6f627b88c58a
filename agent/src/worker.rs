// SPDX-License-Identifier: GPL-3.0-or-later
//! The Worker's life: register, sign on, take tasks while awake, wait while asleep, leave.
//!
//! This loop owns the status; everything else reports to it. It asks for work only when all
//! that was to be said has been said, so the Manager never has to guess about the task before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{CallError, Client, TaskAnswer};
use crate::commands::{Limits, unknown_names};
use crate::frames::{settle, staging};
use crate::groups;
use crate::health::Health;
use crate::identity::{self, Identity};
use crate::lease::Leases;
use crate::link::{Backoff, Link};
use crate::media::{self, Media};
use crate::outbox::{Outbox, OutboxFailed};
use crate::places::{Places, Share, own_memory, own_processors};
use crate::process::Launcher;
use crate::running::{Running, claim_task, held_max};
use crate::sender::Sender;
use crate::stop::StopReason;
use crate::task::TaskRunner;
use crate::wire::{AssignedTask, Registration, SignOn, SignOnExtension};
use crate::{Error, ExitReason, Options, VERSION};

/// How often a sleeping Worker asks whether it shall wake.
const ASLEEP_INTERVAL: Duration = Duration::from_secs(3);

/// Pause after "nothing to do" from a Manager that does not hold the question back.
const IDLE_PAUSE: Duration = Duration::from_secs(2);

/// Time to say the last words at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where the loop goes next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Next {
    SignOn,
    Awake,
    Asleep,
    Leave(ExitReason),
}

fn next_for(status: &str) -> Next {
    match status {
        "awake" => Next::Awake,
        "offline" => Next::Leave(ExitReason::Offline),
        "restart" => Next::Leave(ExitReason::Restart),
        // Also what this Worker does not know: asleep it does no harm and can be woken.
        _ => Next::Asleep,
    }
}

pub(crate) struct Worker {
    options: Options,
    name: String,
    client: Client,
    link: Link,
    outbox: Outbox,
    leases: Leases,
    runner: TaskRunner,
    shutdown: watch::Receiver<bool>,
}

impl Worker {
    /// Runs until it is asked to leave. The data directory is locked by the caller.
    pub(crate) async fn run(
        options: Options,
        shutdown: watch::Receiver<bool>,
    ) -> Result<ExitReason, Error> {
        let client = Client::new(&options.manager_url)?;
        let outbox_file = options.data_dir.join("outbox");
        let outbox = Outbox::open(&outbox_file)?;
        let failed = |failed: OutboxFailed| outbox_error(&outbox_file, &failed);
        settle::settle(&outbox).await.map_err(failed)?;
        staging::remove_left_over(&outbox);
        let link = Link::new(client.address());
        let leases = Leases::default();
        let launcher = Launcher {
            supervisor: options.supervisor.clone().map_or_else(own_executable, Ok)?,
            oom_score_adj: options.oom_score_adj,
            share: Share::default(),
        };
        let mut shares = (options.division)
            .shares(options.slots as usize, &own_processors())
            .map_err(Error::Slots)?;
        // Gone when the Worker ends, after all that runs in them.
        let _groups = groups::give(&mut shares, options.division.limits_by, &options.data_dir)
            .map_err(Error::Slots)?;
        let runner = TaskRunner {
            outbox: outbox.clone(),
            client: client.clone(),
            link: link.clone(),
            leases: leases.clone(),
            places: Places::new(
                shares,
                &launcher,
                &options.warm,
                &options.data_dir.join("warm"),
            ),
            health: Health::new(
                client.clone(),
                launcher,
                options.data_dir.clone(),
                options.health.clone(),
            ),
            media: Media::new(outbox.clone()),
            limits: Arc::new(limits_of(&options)),
            cycles_device: options.division.cycles_device.as_deref().map(Arc::from),
        };
        let mut worker = Self {
            name: worker_name(&options),
            options,
            client,
            link,
            outbox,
            leases,
            runner,
            shutdown,
        };
        worker.live().await
    }

    async fn live(&mut self) -> Result<ExitReason, Error> {
        let identity = match identity::load(&self.options.data_dir)? {
            Some(identity) => Some(identity),
            None => self.until_shutdown_register().await?,
        };
        let Some(identity) = identity else {
            return Ok(ExitReason::Shutdown);
        };
        self.client.set_credentials(identity);
        let Some(first) = self.sign_on().await? else {
            // The Manager may have taken the sign-on whose answer was not waited for.
            self.say_goodbye().await;
            return Ok(ExitReason::Shutdown);
        };
        let sender = Sender {
            outbox: self.outbox.clone(),
            client: self.client.clone(),
            link: self.link.clone(),
            leases: self.leases.clone(),
            refused_file: self.options.data_dir.join("outbox.refused.jsonl"),
        };
        let path = self.options.data_dir.join("outbox");
        let pictures = media::run(self.outbox.clone(), self.client.clone());
        let places = Arc::clone(&self.runner.places);
        tokio::select! {
            reason = self.follow(first) => reason,
            failed = sender.run() => Err(outbox_error(&path, &failed)),
            failed = pictures => Err(outbox_error(&path, &failed)),
            never = places.end_idle() => match never {},
        }
    }

    /// Goes from status to status.
    async fn follow(&mut self, first: Next) -> Result<ExitReason, Error> {
        let mut next = first;
        loop {
            tracing::info!(status = ?next, "status");
            next = match next {
                Next::SignOn => match self.sign_on().await? {
                    Some(next) => next,
                    None => Next::Leave(ExitReason::Shutdown),
                },
                Next::Awake => self.awake().await?,
                Next::Asleep => {
                    self.runner.places.end_warm().await;
                    self.asleep().await
                }
                Next::Leave(reason) => {
                    self.runner.places.end_warm().await;
                    self.leave().await;
                    return Ok(reason);
                }
            };
        }
    }

    /// Registers with a fresh secret; `None` when the Worker was asked to end meanwhile.
    async fn until_shutdown_register(&mut self) -> Result<Option<Identity>, Error> {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            identity = self.register() => identity.map(Some),
            () = shutdown_asked(&mut shutdown) => Ok(None),
        }
    }

    async fn register(&self) -> Result<Identity, Error> {
        let worker_secret = identity::new_secret();
        let body = Registration {
            name: self.name.clone(),
            secret: worker_secret.clone(),
            platform: crate::wire::platform().to_owned(),
            supported_task_types: self.options.task_types.clone(),
        };
        let mut backoff = Backoff::new();
        loop {
            match self.client.register(&body).await {
                Ok(registered) => {
                    self.link.reached();
                    let identity = Identity {
                        worker_id: registered.uuid,
                        worker_secret,
                    };
                    identity::store(&self.options.data_dir, &identity)?;
                    tracing::info!(worker = identity.worker_id, "registered");
                    return Ok(identity);
                }
                Err(CallError::Status {
                    status: status @ 400..500,
                    message,
                    from_manager: true,
                }) if status != 429 => return Err(Error::Refused { status, message }),
                Err(error) => self.link.failed("register", &error),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Signs on, registering anew if the Manager says that it does not know this Worker.
    /// `None` when the Worker was asked to end meanwhile.
    async fn sign_on(&mut self) -> Result<Option<Next>, Error> {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            next = self.sign_on_until_answered() => next.map(Some),
            () = shutdown_asked(&mut shutdown) => Ok(None),
        }
    }

    async fn sign_on_until_answered(&self) -> Result<Next, Error> {
        let mut backoff = Backoff::new();
        loop {
            let body = SignOn {
                name: self.name.clone(),
                supported_task_types: self.options.task_types.clone(),
                software_version: format!("Tablao {VERSION}"),
                can_restart: self.options.can_restart,
                tablao: Some(SignOnExtension {
                    protocol: 1,
                    slots: held_max(self.options.slots, self.options.claim_ahead),
                    held_attempts: self.outbox.held_attempts(),
                    clock_ms: Some(jiff::Timestamp::now().as_millisecond()),
                    slot_memory_bytes: (self.options.division)
                        .memory_of_one(self.options.slots, own_memory()),
                }),
            };
            match self.client.sign_on(&body).await {
                Ok(answer) => {
                    self.link.reached();
                    tracing::info!(manager = self.client.address(), "signed on");
                    let quarantine = answer.tablao.and_then(|tablao| tablao.quarantine);
                    if quarantine.is_some_and(|cause| cause == "self-check") {
                        self.runner.health.was_sick();
                    }
                    let next = next_for(&answer.status_requested);
                    self.tell_status(next).await;
                    return Ok(next);
                }
                // Only a Manager's own word counts: a proxy's page must not cost the identity.
                Err(CallError::Status {
                    status: 401 | 403,
                    from_manager: true,
                    message,
                }) => {
                    tracing::warn!(
                        message,
                        "the manager does not know this worker, registering anew"
                    );
                    self.client.set_credentials(self.register().await?);
                }
                Err(error) => {
                    self.link.failed("sign-on", &error);
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    async fn tell_status(&self, next: Next) {
        let status = match next {
            Next::Awake => "awake",
            Next::Asleep => "asleep",
            Next::SignOn | Next::Leave(_) => return,
        };
        if let Err(error) = self.client.state_changed(status).await {
            self.link.failed("state-changed", &error);
        }
    }

    /// Takes tasks until another status is asked for.
    async fn awake(&mut self) -> Result<Next, Error> {
        let wait = self.patience();
        let mut backoff = Backoff::new();
        loop {
            let mut shutdown = self.shutdown.clone();
            let asked = Instant::now();
            let answer = tokio::select! {
                answer = self.ask(wait) => answer?,
                () = shutdown_asked(&mut shutdown) => {
                    return Ok(Next::Leave(ExitReason::Shutdown));
                }
            };
            if !matches!(answer, Err(CallError::Unreachable(_))) {
                self.link.reached();
            }
            let pause = match answer {
                Ok(TaskAnswer::Task(task)) => {
                    backoff.reset();
                    self.run_tasks(*task, asked).await?;
                    continue;
                }
                Ok(TaskAnswer::Nothing) => {
                    backoff.reset();
                    // A Manager that held the question back is asked again at once.
                    if asked.elapsed() >= wait / 2 && !wait.is_zero() {
                        continue;
                    }
                    IDLE_PAUSE
                }
                Ok(TaskAnswer::StatusRequested(status)) => {
                    let next = next_for(&status);
                    self.tell_status(next).await;
                    if next != Next::Awake {
                        return Ok(next);
                    }
                    continue;
                }
                Ok(TaskAnswer::NotAwake)
                | Err(CallError::Status {
                    status: 401 | 403,
                    from_manager: true,
                    ..
                }) => {
                    tokio::time::sleep(backoff.pause()).await;
                    return Ok(Next::SignOn);
                }
                Err(error) => {
                    self.link.failed("ask for a task", &error);
                    backoff.pause()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown_asked(&mut shutdown) => {
                    return Ok(Next::Leave(ExitReason::Shutdown));
                }
            }
        }
    }

    /// How long the Manager may hold back the answer to an ask of a Worker that could run a task.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.options.long_poll_s.min(50))
    }

    /// Asks for a task when everything before has been said.
    async fn ask(&self, wait: Duration) -> Result<Result<TaskAnswer, CallError>, Error> {
        let path = self.options.data_dir.join("outbox");
        let drained = self.outbox.drained().await;
        drained.map_err(|failed| outbox_error(&path, &failed))?;
        self.runner.health.recheck().await;
        Ok(self.client.task(self.runner.health.patience(wait)).await)
    }

    /// Runs a task and those that are claimed while it runs, until there is none left.
    async fn run_tasks(&self, first: AssignedTask, asked: Instant) -> Result<(), Error> {
        // A Manager of Flamenco would hand out the task that runs once more.
        let claims_of_manager = first.tablao.is_some();
        let held_max = held_max(self.options.slots, self.options.claim_ahead);
        let mut running = Running::new(self.runner.clone(), held_max);
        running.begin(first, asked, false);
        let mut shutdown = self.shutdown.clone();
        let mut leaves = false;
        let mut claims = claims_of_manager;
        let mut claim = None;
        let mut pause = None;
        while !running.is_empty() || claim.is_some() {
            if claims && !leaves && claim.is_none() && running.has_room() {
                running.wait_for_change();
                pause = None;
                let wait = if running.has_free_place() {
                    self.patience()
                } else {
                    Duration::ZERO
                };
                claim = Some(Box::pin(claim_task(self.client.clone(), wait)));
            }
            let claimed = async {
                match &mut claim {
                    Some(claim) => claim.await,
                    None => std::future::pending().await,
                }
            };
            let (asked, answer) = tokio::select! {
                biased;
                () = shutdown_asked(&mut shutdown), if !leaves => {
                    leaves = true;
                    // What it might have brought is given back by the sign-off.
                    claim = None;
                    self.leases.stop_all(&StopReason::Shutdown);
                    continue;
                }
                ended = running.next(), if !running.is_empty() => {
                    let path = self.options.data_dir.join("outbox");
                    ended.map_err(|failed| outbox_error(&path, &failed))?;
                    continue;
                }
                () = over(pause) => {
                    pause = None;
                    running.note_change();
                    continue;
                }
                answered = claimed => answered,
            };
            claim = None;
            match answer {
                Ok(TaskAnswer::Task(task)) if !leaves && !running.knows(&task) => {
                    running.begin(*task, asked, true);
                }
                // Handed out before, or nothing: the next change is a reason to ask again, and so
                // is a place that stays free.
                Ok(TaskAnswer::Task(_) | TaskAnswer::Nothing) => {
                    pause = (running.has_free_place()).then(|| Instant::now() + IDLE_PAUSE);
                }
                // What is asked for is done when the tasks that run are.
                Ok(TaskAnswer::StatusRequested(_) | TaskAnswer::NotAwake) => {
                    claims = false;
                    running.drop_waiting();
                }
                Err(error) => {
                    self.link.failed("claim a task", &error);
                    pause = (running.has_free_place()).then(|| Instant::now() + IDLE_PAUSE);
                }
            }
        }
        Ok(())
    }

    /// Waits until another status is asked for.
    async fn asleep(&mut self) -> Next {
        let mut shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(ASLEEP_INTERVAL) => {}
                () = shutdown_asked(&mut shutdown) => return Next::Leave(ExitReason::Shutdown),
            }
            match self.client.state().await {
                Ok(None) => self.link.reached(),
                Ok(Some(requested)) => {
                    self.link.reached();
                    let next = next_for(&requested.status_requested);
                    self.tell_status(next).await;
                    if next != Next::Asleep {
                        return next;
                    }
                }
                Err(CallError::Status {
                    status: 401 | 403,
                    from_manager: true,
                    ..
                }) => return Next::SignOn,
                Err(error) => self.link.failed("state", &error),
            }
        }
    }

    /// Says what is left to say, then goodbye; neither may hold up the end for long.
    async fn leave(&self) {
        let _ = tokio::time::timeout(FAREWELL, self.outbox.drained()).await;
        self.say_goodbye().await;
    }

    async fn say_goodbye(&self) {
        match tokio::time::timeout(FAREWELL, self.client.sign_off()).await {
            Ok(Ok(())) => tracing::info!("signed off"),
            Ok(Err(error)) => self.link.failed("sign-off", &error),
            Err(_) => tracing::warn!("no answer to the sign-off"),
        }
    }
}

async fn shutdown_asked(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        // The caller gave up its end without asking: then nobody ever will.
        std::future::pending::<()>().await;
    }
}

/// Resolves at this moment, if there is one.
async fn over(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What the owner of this machine lets it do.
fn limits_of(options: &Options) -> Limits {
    for name in unknown_names(&options.allowed_commands) {
        tracing::warn!(name, "there is no such command to allow");
    }
    let data_dir = std::path::absolute(&options.data_dir);
    Limits {
        commands: options.allowed_commands.clone(),
        programs: options.allowed_programs.clone(),
        removable: options.removable_roots.clone(),
        kept: data_dir.into_iter().collect(),
    }
}

fn worker_name(options: &Options) -> String {
    match &options.name {
        Some(name) if !name.is_empty() => name.clone(),
        Some(_) | None => gethostname::gethostname().to_string_lossy().into_owned(),
    }
}

/// This program, also while an update replaces its file.
fn own_executable() -> Result<PathBuf, Error> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe().map_err(Error::file("this program"))
}

fn outbox_error(path: &std::path::Path, failed: &OutboxFailed) -> Error {
    Error::File {
        path: path.to_path_buf(),
        source: std::io::Error::other(failed.0.clone()),
    }
}
