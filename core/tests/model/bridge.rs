// SPDX-License-Identifier: GPL-3.0-or-later
//! Says the same thing to both farms: a request in the core's words becomes a call of the
//! naive farm, and answers of both become comparable. It decides nothing.

use tablao_core::{
    Answer as RealAnswer, AttemptId, Refusal, Request, Timestamp,
    entity::{Policy, Protocol},
    event::{FailureClass, QuarantineCause},
    request::{NewJob, TaskChunk},
};

use crate::{
    common::START,
    naive::{Answer, Moment, NaiveFarm, No, Rules, Said, Sickness, WishedJob, WishedTask, Word},
};

/// Evidence may name moments before the test began, so the naive clock does not start at 0.
const BEFORE_START_MS: Moment = 10_000_000;

/// The moment on the naive farm's clock.
pub(crate) fn clock(at: Timestamp) -> Moment {
    (at.micros() + BEFORE_START_MS * 1000 - START.micros()) / 1000
}

pub(crate) fn rules(policy: &Policy) -> Rules {
    Rules {
        tries: policy.task_attempts_max as usize,
        patience: policy.blocklist_threshold as usize,
        percent: policy.fail_percent.into(),
        task_silence_ms: policy.task_timeout_ms.into(),
        worker_silence_ms: policy.worker_timeout_ms.into(),
        lease_ms: policy.lease_ms.into(),
        start_ms: policy.start_within_ms.into(),
    }
}

fn wished_tasks(chunk: &TaskChunk) -> Vec<WishedTask> {
    chunk
        .tasks
        .iter()
        .map(|task| WishedTask {
            id: task.uuid,
            task_type: chunk.types[usize::from(task.task_type)].clone(),
            priority: task.priority,
            needs: task.depends_on.to_vec(),
            steps: task.steps_total,
        })
        .collect()
}

fn submit(naive: &mut NaiveFarm, job: &NewJob, whole: bool) -> Answer {
    let facts = &job.facts;
    let wish = WishedJob {
        id: facts.job,
        priority: facts.priority,
        tag: facts.tag,
        at_most: facts.limits.max_workers.map(|most| most as usize),
        not_before: facts.not_before.map(clock),
        after: facts.depends_on_jobs.clone(),
        percent: facts.fail_policy.fail_percent.map(usize::from),
        tries: (facts.fail_policy.task_attempts_max).map(|tries| tries as usize),
        announced: facts.tasks_expected as usize,
        begins: facts.initial,
        placed: facts.source == tablao_core::entity::JobSource::Placed,
    };
    naive.submit(wish, wished_tasks(&job.chunk), whole)
}

/// Asks the naive farm the same thing. `label` names the run that the real farm started.
pub(crate) fn tell(
    naive: &mut NaiveFarm,
    request: &Request,
    now: Timestamp,
    label: Option<AttemptId>,
) -> Option<Answer> {
    naive.now = clock(now);
    Some(match request {
        Request::ApplyConfig { policy, .. } => naive.set_rules(rules(policy)),
        Request::SubmitJob { job } => submit(naive, job, true),
        Request::AcceptJob { job } => submit(naive, job, false),
        Request::AddTasks { job, chunk } => naive.more_tasks(*job, wished_tasks(chunk)),
        Request::ReadyJob { job } => naive.no_more_tasks(*job),
        Request::AbandonJob { job, .. } => naive.give_up_building(*job),
        Request::SetJobStatus { job, status, .. } => naive.set_job(*job, *status),
        Request::SetJobPriority { job, priority } => naive.set_job_priority(*job, *priority),
        Request::SetJobTag { job, tag } => naive.set_job_tag(*job, *tag),
        Request::HoldJob { job, hold, .. } => naive.hold(*job, format!("{hold:?}")),
        Request::ReleaseJob { job, hold } => naive.release(*job, &format!("{hold:?}")),
        Request::MarkJobDeleted { job } => naive.mark_deleted(*job),
        Request::RestoreJob { job } => naive.restore(*job),
        Request::PurgeJob { job } => naive.purge(*job),
        Request::ClearBlocklist { job, entries } => naive.trust_again(*job, entries),
        Request::SetTaskStatus { task, status, .. } => naive.set_task(*task, *status),
        Request::SetTaskPriority { task, priority } => naive.set_task_priority(*task, *priority),
        Request::RegisterWorker {
            worker, task_types, ..
        } => naive.register(*worker, task_types.clone()),
        Request::SignOn {
            worker,
            task_types,
            can_restart,
            protocol,
            slots,
            held,
            ..
        } => naive.sign_on(
            *worker,
            task_types.clone(),
            *protocol == Protocol::Tablao,
            usize::from(*slots),
            *can_restart,
            held,
        ),
        Request::SignOff { worker } => naive.sign_off(*worker),
        Request::WorkerStateChanged { worker, status } => naive.state_changed(*worker, *status),
        Request::RequestWorkerStatus { worker, status, .. } => naive.wish_status(*worker, *status),
        Request::SetWorkerTags { worker, tags } => naive.tag_worker(*worker, tags),
        Request::FollowSchedules { wanted, signing_on } => naive.schedules_say(wanted, *signing_on),
        Request::ExpireBlocks { made_by } => naive.forgive(clock(*made_by)),
        Request::PrepareTasks {
            job,
            generation,
            chunk,
        } => naive.prepare(*job, *generation, chunk.first_number, wished_tasks(chunk)),
        Request::RegenerateJob { regeneration: wish } => {
            naive.regenerate(wish.job, wish.from_generation, &wish.retired, wish.added)
        }
        Request::RequeueTasks { requeue } => {
            naive.again(requeue.job, &requeue.ranges, requeue.dependants)
        }
        Request::NoteMemory { worker, bytes } => naive.has_memory(*worker, *bytes),
        Request::DeleteWorker { worker } => naive.delete_worker(*worker),
        Request::QuarantineWorker {
            worker,
            cause,
            reason,
        } => {
            let why = match cause {
                QuarantineCause::SelfCheck => Sickness::ItSaysSo,
                QuarantineCause::Failures { .. } => Sickness::ItFails,
                QuarantineCause::Person => Sickness::SomebodySaysSo,
            };
            naive.isolate(*worker, why, reason)
        }
        Request::LiftQuarantine {
            worker,
            own_check_only,
            ..
        } => naive.trust_worker(*worker, *own_check_only),
        Request::CreateTag { tag, .. } => naive.make_tag(*tag),
        Request::DeleteTag { tag } => naive.drop_tag(*tag),
        Request::AskForTask { worker } => naive.ask(*worker, label),
        Request::Report { report } => naive.hear(&Word {
            worker: report.worker,
            task: report.task,
            run: report.attempt,
            status: report.status,
            steps: report.steps,
            ran_out: (report.failure).is_some_and(|why| why.class == FailureClass::OutOfMemory),
        }),
        Request::LapseAttempts { evidence } => {
            let evidence: Vec<_> = evidence.iter().map(|&(id, at)| (id, clock(at))).collect();
            naive.silent_runs(&evidence)
        }
        Request::LoseWorkers { evidence } => {
            let evidence: Vec<_> = evidence.iter().map(|&(id, at)| (id, clock(at))).collect();
            naive.silent_workers(&evidence)
        }
        // Frames, schedules and what belongs to the control journal: the naive farm has none.
        Request::StoreThumbnail { .. }
        | Request::FlagFrames { .. }
        | Request::WantFrames { .. }
        | Request::OpenJournal { .. }
        | Request::SetWorkerSchedule { .. }
        | Request::ChangeTag { .. }
        | Request::LinkManager { .. }
        | Request::RevokeManager { .. }
        | Request::PlaceJob { .. }
        | Request::AcceptRemote { .. }
        | Request::SettleRemote { .. }
        | Request::AdvanceOrigin { .. }
        | Request::NoteBaseline { .. }
        | Request::NoteErasure { .. }
        | Request::StartTerm { .. }
        | Request::FollowServer { .. }
        | Request::CarryOut { .. }
        | Request::ReassignJob { .. }
        | Request::FenceJob { .. }
        | Request::NoteConfig { .. }
        | Request::ImportWorker { .. }
        | Request::FinishImport { .. } => return None,
    })
}

pub(crate) fn said(answer: &RealAnswer) -> Said {
    match answer {
        RealAnswer::Done => Said::Done,
        RealAnswer::Job(job) => Said::Job(*job),
        RealAnswer::Assigned { task, .. } => Said::Run(*task),
        RealAnswer::NoTask => Said::Nothing,
        RealAnswer::StartAs(status) => Said::StartAs(*status),
        RealAnswer::Late => Said::Late,
    }
}

pub(crate) fn no(refusal: &Refusal) -> No {
    match refusal {
        Refusal::UnknownJob { .. } => No::SuchJob,
        Refusal::UnknownTask { .. } => No::SuchTask,
        Refusal::UnknownWorker { .. } => No::SuchWorker,
        Refusal::UnknownTag { .. } => No::SuchTag,
        Refusal::JobTransition { .. } => No::JobCannotBecomeThat,
        Refusal::TaskTransition { .. } => No::TaskCannotBecomeThat,
        Refusal::StatusChangePending { .. } => No::ChangeYourStatusFirst,
        Refusal::NotAwake { .. } => No::OnlyAwakeWorkersRun,
        Refusal::NotAssigned { .. } => No::ItIsNotYours,
        Refusal::ReportedStatus { .. } => No::WorkersDoNotSayThat,
        Refusal::JobExists { .. } => No::ItIsThereAlready,
        Refusal::UnsoundSubmission { .. } => No::ItContradictsItself,
        Refusal::NotRemovable { .. } => No::ItCannotGoYet,
        Refusal::CannotRestart { .. } => No::ItCannotRestart,
        Refusal::PriorityOutOfRange { .. } => No::PriorityIsOff,
        Refusal::NotRegenerable { .. } => No::ItCannotBeRegenerated,
        Refusal::StaleGeneration { .. } => No::SomebodyWasFirst,
        Refusal::TaskRetired { .. } => No::ItIsGone,
        Refusal::UnknownManager { .. }
        | Refusal::StaleTerm { .. }
        | Refusal::JobLeased { .. }
        | Refusal::UnknownFrame { .. } => {
            panic!("the model test asks for nothing that is refused so: {refusal}")
        }
    }
}
