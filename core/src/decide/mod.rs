// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads state, never changes it. Time, positions and ids come in; facts or a refusal come out.

mod ahead;
mod control;
mod frames;
mod import;
mod job;
mod memory;
mod plan;
mod quarantine;
mod reassign;
mod regenerate;
mod report;
mod requeue;
mod task;
mod worker;

use crate::{
    Actor, AttemptId, Detail, Event, Farm, JobId, Lsn, Refusal, Request, TaskId, Timestamp,
    WorkerStatus,
    detail::DecisionDetail,
    event::{Body, Decision, Outcome},
    schedule::RULE_VERSION,
};

pub use plan::Plan;
pub use reassign::JOB_LEASE_MS;

/// What the shell tells `decide`.
#[derive(Clone, Debug)]
pub struct Env {
    /// The present moment, not before the farm's own time.
    pub now: Timestamp,
    /// Position that the decision's record will have; its events follow it.
    pub decision: Lsn,
    /// Seed for anything random. No rule draws yet.
    pub seed: u64,
    /// BLAKE3 of the request's idempotency key.
    pub key: Option<[u8; 32]>,
}

impl Env {
    /// Position of the n-th event of the decision, from 0.
    pub fn event(&self, n: usize) -> Lsn {
        self.decision.plus(n as u64 + 1)
    }
}

/// What a request got for an answer, besides its events.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done (or was so already).
    Done,
    /// This job stands for the submission.
    Job(JobId),
    /// The worker is to run this task.
    Assigned {
        /// The attempt.
        attempt: AttemptId,
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Its number in the job.
        number: u32,
    },
    /// There is nothing for the worker to do.
    NoTask,
    /// The status in which a worker is to start.
    StartAs(WorkerStatus),
    /// A report of an attempt that is over.
    Late,
}

/// Events with their details, and the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// What happened.
    pub events: Vec<(Event, Detail)>,
    /// What the asker gets.
    pub answer: Answer,
}

impl Farm {
    /// Decides a request. Returns no events where nothing would change.
    pub fn decide(&self, request: &Request, env: &Env) -> Result<Decided, Refusal> {
        let mut plan = Plan::new(self, env);
        let answer = match request {
            Request::OpenJournal {
                build,
                incarnation,
                clean,
                manager,
            } => plan.open_journal(build, *incarnation, *clean, *manager),
            Request::ApplyConfig { policy, text } => plan.apply_config(policy, text),
            Request::NoteConfig { text } => plan.note_config(text),

            Request::SubmitJob { job } => plan.submit_job(job, true)?,
            Request::AcceptJob { job } => plan.submit_job(job, false)?,
            Request::AddTasks { job, chunk } => plan.add_tasks(*job, chunk)?,
            Request::ReadyJob { job } => plan.ready_job(*job)?,
            Request::AbandonJob { job, reason } => plan.abandon_job(*job, reason)?,
            Request::SetJobStatus {
                job,
                status,
                reason,
            } => plan.set_job_status(*job, *status, reason)?,
            Request::SetJobPriority { job, priority } => plan.set_job_priority(*job, *priority)?,
            Request::SetJobTag { job, tag } => plan.set_job_tag(*job, *tag)?,
            Request::HoldJob { job, hold, reason } => plan.hold_job(*job, *hold, reason)?,
            Request::ReleaseJob { job, hold } => plan.release_job(*job, *hold)?,
            Request::MarkJobDeleted { job } => plan.mark_job_deleted(*job)?,
            Request::RestoreJob { job } => plan.restore_job(*job)?,
            Request::PurgeJob { job } => plan.purge_job(*job)?,
            Request::ClearBlocklist { job, entries } => plan.clear_blocklist(*job, entries)?,
            Request::SetTaskStatus {
                task,
                status,
                reason,
            } => plan.set_task_status(*task, *status, reason)?,
            Request::SetTaskPriority { task, priority } => {
                plan.set_task_priority(*task, *priority)?
            }

            Request::RegisterWorker {
                worker,
                platform,
                task_types,
                detail,
            } => plan.register_worker(*worker, platform, task_types, detail),
            Request::SignOn {
                worker,
                task_types,
                can_restart,
                protocol,
                slots,
                held,
                detail,
            } => plan.sign_on(
                &worker::SignOn {
                    worker: *worker,
                    task_types,
                    can_restart: *can_restart,
                    protocol: *protocol,
                    slots: *slots,
                    held,
                },
                detail,
            )?,
            Request::SignOff { worker } => plan.sign_off(*worker)?,
            Request::WorkerStateChanged { worker, status } => {
                plan.worker_state_changed(*worker, *status)?
            }
            Request::RequestWorkerStatus {
                worker,
                status,
                lazy,
                reason,
            } => plan.request_worker_status(*worker, *status, *lazy, reason)?,
            Request::SetWorkerTags { worker, tags } => plan.set_worker_tags(*worker, tags)?,
            Request::SetWorkerSchedule { worker, schedule } => {
                plan.set_worker_schedule(*worker, schedule.as_ref())?
            }
            Request::DeleteWorker { worker } => plan.delete_worker(*worker)?,
            Request::CreateTag {
                tag,
                name,
                description,
            } => plan.create_tag(*tag, name, description),
            Request::ChangeTag {
                tag,
                name,
                description,
            } => plan.change_tag(*tag, name, description)?,
            Request::DeleteTag { tag } => plan.delete_tag(*tag)?,

            Request::AskForTask { worker } => plan.ask_for_task(*worker)?,
            Request::Report { report } => plan.report(report)?,
            Request::StoreThumbnail { key, hash, file } => {
                plan.store_thumbnail(key, *hash, file)?
            }
            Request::FlagFrames { findings, verified } => {
                plan.flag_frames(findings, verified.as_ref())?
            }
            Request::WantFrames { wish } => plan.want_frames(wish)?,
            Request::LapseAttempts { evidence } => plan.lapse_attempts(evidence),
            Request::LoseWorkers { evidence } => plan.lose_workers(evidence),

            Request::LinkManager { manager, name } => plan.link_manager(*manager, name),
            Request::RevokeManager { manager, reason } => plan.revoke_manager(*manager, reason)?,
            Request::PlaceJob {
                job,
                manager,
                submission,
                name,
                why,
            } => plan.place_job(*job, *manager, *submission, name, why)?,
            Request::AcceptRemote {
                request,
                job,
                seen_at,
                verb,
                reason,
            } => plan.accept_remote(*request, *job, *seen_at, *verb, reason)?,
            Request::SettleRemote {
                control,
                job,
                refused,
                reason,
            } => plan.settle_remote(*control, *job, *refused, reason),
            Request::AdvanceOrigin {
                manager,
                lsn,
                chain,
            } => plan.advance_origin(*manager, *lsn, *chain)?,
            Request::ImportWorker { worker } => plan.import_worker(worker)?,
            Request::FinishImport { job, state } => plan.finish_import(*job, state)?,
            Request::NoteBaseline { next, state } => plan.note_baseline(*next, *state),
            Request::NoteErasure { ranges, reason } => plan.note_erasure(ranges, reason),
            Request::StartTerm { term } => plan.start_term(*term)?,
            Request::FollowServer {
                control_journal,
                url,
            } => plan.follow_server(*control_journal, url),
            Request::CarryOut {
                control,
                job,
                verb,
                reason,
            } => plan.carry_out(*control, *job, *verb, reason),
            Request::ReassignJob {
                job,
                manager,
                silent_since,
                why,
            } => plan.reassign_job(*job, *manager, *silent_since, why)?,
            Request::FenceJob {
                control,
                job,
                manager,
                epoch,
            } => plan.fence_job(*control, *job, *manager, *epoch),
            Request::FollowSchedules { wanted, signing_on } => {
                plan.follow_schedules(wanted, *signing_on)
            }
            Request::NoteMemory { worker, bytes } => plan.note_memory(*worker, *bytes)?,
            Request::ExpireBlocks { made_by } => plan.expire_blocks(*made_by),
            Request::QuarantineWorker {
                worker,
                cause,
                reason,
            } => plan.quarantine_worker(*worker, *cause, reason)?,
            Request::LiftQuarantine {
                worker,
                own_check_only,
                reason,
            } => plan.lift_quarantine(*worker, *own_check_only, reason)?,
            Request::PrepareTasks {
                job,
                generation,
                chunk,
            } => plan.prepare_tasks(*job, *generation, chunk)?,
            Request::RegenerateJob { regeneration } => plan.regenerate_job(regeneration)?,
            Request::RequeueTasks { requeue } => plan.requeue_tasks(requeue)?,
        };
        Ok(Decided {
            events: plan.into_events(),
            answer,
        })
    }
}

/// Who asked, in words.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    /// Claimed or known name.
    pub name: String,
    /// Network address.
    pub address: String,
}

/// The seed that is recorded while no rule draws anything: eight random bytes that nobody used
/// would be a tenth of what a packed decision takes. The first rule that draws records its seed.
const NOTHING_DRAWN: u64 = 0;

/// Builds the decision's own record, which stands before its events.
pub fn decision_record(
    request: &Request,
    env: &Env,
    actor: Actor,
    asker: &Asker,
    result: Result<&Decided, &Refusal>,
    body: Body,
) -> (Event, Detail) {
    let (outcome, refusal) = match result {
        Ok(decided) => (
            Outcome::Events(
                u32::try_from(decided.events.len()).expect("a decision fits one batch"),
            ),
            String::new(),
        ),
        Err(refusal) => (Outcome::Refused(refusal.code()), refusal.to_string()),
    };
    let key_job = match result {
        Ok(Decided {
            answer: Answer::Job(job),
            ..
        }) => env.key.map(|_| *job),
        _ => None,
    };
    let event = Decision {
        request: request.code(),
        now: env.now,
        seed: NOTHING_DRAWN,
        rule_version: RULE_VERSION,
        actor,
        key: env.key,
        key_job,
        caused_by: None,
        outcome,
        body,
    };
    let detail = DecisionDetail {
        actor_name: asker.name.clone(),
        actor_address: asker.address.clone(),
        on_behalf_of: String::new(),
        body: match body {
            Body::Inline => crate::codec::encode_request(request),
            Body::Blob(_) | Body::Events => Vec::new(),
        },
        refusal,
    };
    (event.into(), Detail::Decision(detail))
}
