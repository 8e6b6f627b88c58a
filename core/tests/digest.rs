// SPDX-License-Identifier: GPL-3.0-or-later
//! The digest of a farm: what changes it, what does not, and that it is kept along rightly.
//!
//! Every event of these histories was decided by the farm itself. `Ride::fold` checks at each
//! one that the digest equals the one computed from all entities, and that it changed exactly
//! when the kind's row in the table says so.

mod common;

use common::{
    Ride, chunk, facts, job_id, manager_id, new_job, random::Wishes, report, seeds::Announce,
    seeds::seeds, tag_id, task_id, worker_id,
};
use tablao_core::{
    Farm, JobId, JobStatus, Lsn, Request, RequestId, ShotId, TaskStatus, Timestamp, WorkerId,
    WorkerStatus,
    detail::{FrameDetail, JobDetail, WorkerDetail},
    entity::{FrameKey, Hold, JobFacts, JobSource, Policy, Protocol, RemoteVerb, SleepSchedule},
    event::{FailureClass, Finding, FrameWish, FramesVerified, QuarantineCause, frame_flags},
    kind::KINDS,
    request::{
        FailureReport, FrameReport, ImportedState, ImportedWorker, Regeneration, Report, Requeue,
    },
};
use uuid::Uuid;

fn watched() -> Ride {
    Ride {
        watch_digest: true,
        ..Ride::new()
    }
}

fn frame(job: JobId, hash: u8) -> FrameReport {
    FrameReport {
        key: FrameKey {
            shot: ShotId::of_job(job),
            output: String::new(),
            view: String::new(),
            number: 1,
        },
        detail: FrameDetail::default(),
        size: 100,
        hash: [hash; 32],
        rendered_at: common::START,
        render_ms: 10,
        samples: None,
        peak_memory_bytes: None,
        flags: 0,
        found: false,
    }
}

/// Protects recovery: in a history in which the farm decides every kind of event there is,
/// each changes the digest, or is one of those listed as history, and none is left out.
#[test]
fn every_kind_changes_the_digest_or_is_listed_as_history() {
    let mut ride = watched();
    control(&mut ride);
    jobs_and_tags(&mut ride);
    import(&mut ride);
    workers(&mut ride);
    attempts(&mut ride);
    regeneration(&mut ride);
    memory(&mut ride);
    let missing: Vec<&str> = KINDS
        .iter()
        .filter(|kind| !ride.kinds.contains_key(&kind.number))
        .map(|kind| kind.name)
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

/// A task that runs out of memory.
fn memory(ride: &mut Ride) {
    let worker = ride.worker(600, Protocol::Tablao, &["misc"]);
    ride.granted(&Request::NoteMemory {
        worker,
        bytes: Some(1 << 30),
    });
    ride.submit(600, &[("misc", 50, &[])]);
    let task = ride.next(worker).expect("there is one");
    let mut report = report(worker, task);
    report.attempt = ride.task(task).attempt;
    report.status = Some(TaskStatus::Failed);
    report.failure = Some(FailureReport {
        class: FailureClass::OutOfMemory,
        exit: None,
        signal: None,
    });
    let report = Box::new(report);
    ride.granted(&Request::Report { report });
}

/// Tasks that come, go, and are rendered anew.
fn regeneration(ride: &mut Ride) {
    let worker = ride.worker(500, Protocol::Tablao, &["misc"]);
    let job = ride.submit(500, &[("misc", 50, &[]), ("misc", 50, &[])]);
    let task = ride.next(worker).expect("there is one");
    ride.runs(worker, task, TaskStatus::Completed);
    ride.granted(&Request::PrepareTasks {
        job,
        generation: 2,
        chunk: Box::new(chunk(job, 2, &[("misc", 50, &[0])])),
    });
    ride.granted(&Request::RegenerateJob {
        regeneration: Box::new(Regeneration {
            job,
            from_generation: 1,
            script_hash: [9; 32],
            retired: vec![(1, 1)],
            added: (2, 1),
            detail: JobDetail::default(),
            reason: String::new(),
        }),
    });
    ride.granted(&Request::RequeueTasks {
        requeue: Box::new(Requeue {
            job,
            ranges: vec![(0, 0)],
            dependants: false,
            discard: true,
            reason: String::new(),
        }),
    });
}

/// What belongs to a control journal, and what both journals open with.
fn control(ride: &mut Ride) {
    let (job, manager) = (job_id(900), manager_id(1));
    let requests = [
        Request::OpenJournal {
            build: "0.1.0".to_owned(),
            incarnation: 1,
            clean: false,
            manager,
        },
        Request::ApplyConfig {
            policy: Policy {
                blocklist_threshold: 1,
                ..Policy::default()
            },
            text: "blocklist_threshold = 1".to_owned(),
        },
        Request::NoteConfig {
            text: "manager_name = \"Night\"".to_owned(),
        },
        Request::NoteBaseline {
            next: Lsn::new(2),
            state: [4; 32],
        },
        Request::NoteErasure {
            ranges: vec![(Lsn::new(1), Lsn::new(2))],
            reason: "somebody asked for it".to_owned(),
        },
        Request::StartTerm { term: 1 },
        Request::LinkManager {
            manager,
            name: "a site".to_owned(),
        },
        Request::PlaceJob {
            job,
            manager,
            submission: [1; 32],
            name: "a job".to_owned(),
            why: "the only site".to_owned(),
        },
        Request::AcceptRemote {
            request: RequestId::new(Uuid::from_u128(1)),
            job,
            seen_at: None,
            verb: RemoteVerb::SetStatus(JobStatus::CancelRequested),
            reason: "somebody wants it".to_owned(),
        },
        Request::SettleRemote {
            control: Lsn::new(3),
            job,
            refused: None,
            reason: String::new(),
        },
        Request::AdvanceOrigin {
            manager,
            lsn: Lsn::new(9),
            chain: [2; 32],
        },
        Request::FollowServer {
            control_journal: [3; 16],
            url: "https://server.example".to_owned(),
        },
        Request::RevokeManager {
            manager,
            reason: "it was sold".to_owned(),
        },
    ];
    for request in &requests {
        assert!(!ride.granted(request).events.is_empty(), "{request:?}");
    }
}

fn jobs_and_tags(ride: &mut Ride) {
    let (tag, job, unfinished) = (tag_id(1), job_id(1), job_id(2));
    let named = |name: &str| (name.to_owned(), String::new());
    let ((first, text), (second, _)) = (named("slow"), named("fast"));
    ride.granted(&Request::CreateTag {
        tag,
        name: first,
        description: text.clone(),
    });
    ride.granted(&Request::ChangeTag {
        tag,
        name: second,
        description: text,
    });
    let whole = chunk(job, 0, &[("misc", 50, &[])]);
    let requests = [
        Request::SubmitJob {
            job: new_job(facts(job, 1), whole),
        },
        Request::SetJobPriority { job, priority: 60 },
        Request::SetTaskPriority {
            task: task_id(job, 0),
            priority: 60,
        },
        Request::SetJobTag {
            job,
            tag: Some(tag),
        },
        Request::HoldJob {
            job,
            hold: Hold::Person,
            reason: "not yet".to_owned(),
        },
        Request::ReleaseJob {
            job,
            hold: Hold::Person,
        },
        Request::FenceJob {
            control: Lsn::new(5),
            job,
            manager: manager_id(2),
            epoch: 2,
        },
        Request::MarkJobDeleted { job },
        Request::RestoreJob { job },
        Request::MarkJobDeleted { job },
        Request::PurgeJob { job },
        Request::DeleteTag { tag },
        Request::AcceptJob {
            job: new_job(facts(unfinished, 2), chunk(unfinished, 0, &[])),
        },
        Request::AddTasks {
            job: unfinished,
            chunk: Box::new(chunk(unfinished, 0, &[("misc", 50, &[])])),
        },
        Request::AbandonJob {
            job: unfinished,
            reason: "the line broke".to_owned(),
        },
    ];
    for request in &requests {
        assert!(!ride.granted(request).events.is_empty(), "{request:?}");
    }
}

/// A job and its worker, as they stood on another farm.
fn import(ride: &mut Ride) {
    let (job, worker) = (job_id(3), worker_id(8));
    let imported = JobFacts {
        source: JobSource::Imported,
        ..facts(job, 3)
    };
    let kinds = [("misc", 50, &[][..]), ("misc", 50, &[]), ("misc", 50, &[])];
    let requests = [
        Request::ImportWorker {
            worker: Box::new(ImportedWorker {
                worker,
                platform: "linux".to_owned(),
                task_types: vec!["misc".to_owned()],
                can_restart: false,
                status: Some(WorkerStatus::Asleep),
                asked: Some((WorkerStatus::Offline, true)),
                tags: Vec::new(),
                schedule: None,
                detail: WorkerDetail::default(),
            }),
        },
        Request::AcceptJob {
            job: new_job(imported, chunk(job, 0, &kinds)),
        },
        Request::FinishImport {
            job,
            state: Box::new(ImportedState {
                status: JobStatus::Failed,
                reason: "it failed there".to_owned(),
                tasks: vec![
                    (TaskStatus::Completed, vec![(0, 0)]),
                    (TaskStatus::Failed, vec![(2, 2)]),
                ],
                failed_by: vec![(worker, vec![(2, 2)])],
                last_workers: vec![(worker, vec![(0, 0), (2, 2)])],
                blocked: vec![(worker, "misc".to_owned())],
                delete_marked: None,
            }),
        },
    ];
    for request in &requests {
        assert!(!ride.granted(request).events.is_empty(), "{request:?}");
    }
    let again = ride.granted(&requests[0]);
    assert!(
        again.events.is_empty(),
        "a worker that is here stays as it is"
    );
    let here = &ride.farm.jobs()[&job];
    assert_eq!(here.state.status, JobStatus::Failed);
    assert_eq!(here.counts.of(TaskStatus::Queued), 1);
    let task = here.tasks.get(2).expect("it has three");
    assert_eq!(
        (task.failed_by, task.last_worker),
        (&[worker][..], Some(worker))
    );
    assert_eq!(here.failures.values().sum::<u32>(), 1);
}

fn workers(ride: &mut Ride) {
    let (worker, tag) = (worker_id(9), tag_id(2));
    let task_types = vec!["misc".to_owned()];
    let requests = [
        Request::CreateTag {
            tag,
            name: "a tag".to_owned(),
            description: String::new(),
        },
        Request::RegisterWorker {
            worker,
            platform: "linux".to_owned(),
            task_types: task_types.clone(),
            detail: WorkerDetail::default(),
        },
        Request::SignOn {
            worker,
            task_types,
            can_restart: true,
            protocol: Protocol::Tablao,
            slots: 1,
            held: Vec::new(),
            detail: WorkerDetail::default(),
        },
        Request::RequestWorkerStatus {
            worker,
            status: WorkerStatus::Asleep,
            lazy: true,
            reason: "it is late".to_owned(),
        },
        Request::WorkerStateChanged {
            worker,
            status: WorkerStatus::Asleep,
        },
        Request::SetWorkerTags {
            worker,
            tags: vec![tag],
        },
        Request::SetWorkerSchedule {
            worker,
            schedule: Some(SleepSchedule {
                active: true,
                time_zone: String::new(),
                days: 0,
                start_minute: 0,
                end_minute: 60,
            }),
        },
        Request::QuarantineWorker {
            worker,
            cause: QuarantineCause::SelfCheck,
            reason: "its disk is full".to_owned(),
        },
        Request::QuarantineWorker {
            worker,
            cause: QuarantineCause::Person,
            reason: "it smells".to_owned(),
        },
        Request::LiftQuarantine {
            worker,
            own_check_only: false,
            reason: "it was repaired".to_owned(),
        },
        Request::LoseWorkers {
            evidence: vec![(worker, Timestamp::from_micros(0))],
        },
        Request::DeleteWorker { worker },
    ];
    for request in &requests {
        assert!(!ride.granted(request).events.is_empty(), "{request:?}");
    }
}

fn attempts(ride: &mut Ride) {
    let one = ride.worker(1, Protocol::Flamenco, &["blender"]);
    let two = ride.worker(2, Protocol::Flamenco, &["blender"]);
    let job = ride.submit(10, &[("blender", 50, &[]), ("blender", 50, &[0])]);
    let task = ride.next(one).expect("there is one");
    let says = |worker: WorkerId, frames: Vec<FrameReport>| Request::Report {
        report: Box::new(Report {
            frames,
            steps: Some(3),
            ..report(worker, task)
        }),
    };
    ride.granted(&says(one, vec![frame(job, 1)]));
    // The first failure blocks here; the blocklist is cleared by hand.
    ride.says(one, task, TaskStatus::Failed);
    ride.granted(&Request::ClearBlocklist {
        job,
        entries: vec![(one, "blender".to_owned())],
    });
    assert_eq!(ride.next(two), Some(task));
    ride.says(two, task, TaskStatus::Active);
    // The first worker has more to say of what is no longer its task.
    ride.says(one, task, TaskStatus::Completed);
    ride.granted(&says(two, vec![frame(job, 1)]));
    ride.granted(&Request::StoreThumbnail {
        key: frame(job, 1).key,
        hash: [4; 32],
        file: "frame_thumbnail.jpg".to_owned(),
    });
    // Somebody looked at it, and wants it anew.
    ride.granted(&Request::FlagFrames {
        findings: vec![Finding {
            key: frame(job, 1).key,
            publications: 1,
            maker: None,
            flags: frame_flags::EMPTY,
            seen: None,
            words: "it is empty".to_owned(),
        }],
        verified: Some(FramesVerified {
            shot: frame(job, 1).key.shot,
            job: Some(job),
            looked_at: 1,
            flawed: 1,
        }),
    });
    ride.granted(&Request::WantFrames {
        wish: FrameWish {
            job: Some(job),
            ..FrameWish::default()
        },
    });
    // Stopped, given back, and queued again with a clean slate.
    ride.set_job(job, JobStatus::CancelRequested)
        .expect("it runs");
    ride.says(two, task, TaskStatus::Canceled);
    ride.set_job(job, JobStatus::Requeueing)
        .expect("it is canceled");
    ride.key = Some([8; 32]);
    ride.submit(11, &[]);
}

/// Protects `replay`: whatever is asked of a farm, the digest that is kept along is that of
/// the entities after every single event, and changes when the table says so.
#[test]
fn the_digest_is_that_of_the_entities_after_every_event() {
    let mut events = 0;
    for seed in seeds(40) {
        let _announce = Announce { seed };
        let mut wishes = Wishes::new(seed);
        let mut ride = watched();
        // How many leaves may wait is the fold's own affair.
        ride.farm.settle_beyond(wishes.random.below(12));
        for _ in 0..200 {
            ride.wait_ms(wishes.pause_ms(&ride.farm, ride.now));
            let request = wishes.next(&ride.farm, ride.now);
            // Refusals are decisions, too, and have their records.
            drop(ride.ask(&request));
        }
        events += ride.records.len();
    }
    assert!(events > 2_000, "only {events} events in all");
}

/// Protects recovery and time travel: folding the records again, from any of them on a farm
/// that was saved there, gives the farm that wrote them, down to the next decision.
#[test]
fn folding_the_records_again_gives_the_same_farm() {
    for seed in seeds(15) {
        let _announce = Announce { seed };
        let mut wishes = Wishes::new(seed);
        let mut ride = Ride::new();
        for _ in 0..200 {
            ride.wait_ms(wishes.pause_ms(&ride.farm, ride.now));
            let request = wishes.next(&ride.farm, ride.now);
            drop(ride.ask(&request));
        }
        let cut = wishes.random.below(ride.records.len());
        let mut again = Farm::new();
        again.settle_beyond(wishes.random.below(12));
        let mut saved = None;
        for (n, record) in ride.records.iter().enumerate() {
            if n == cut {
                saved = Some(again.clone());
            }
            again.apply(record);
        }
        let mut resumed = saved.expect("the cut lies inside");
        ride.records[cut..]
            .iter()
            .for_each(|record| resumed.apply(record));
        for farm in [&again, &resumed] {
            assert_eq!(farm.digest(), ride.farm.digest());
            assert_eq!(farm.position(), ride.farm.position());
        }
        // The indexes are outside the digest: they show in what is decided next.
        let workers: Vec<WorkerId> = ride.farm.workers().keys().copied().collect();
        for worker in workers {
            let request = Request::AskForTask { worker };
            let env = tablao_core::Env {
                now: ride.now,
                decision: ride.farm.position().next(),
                seed: 0,
                key: None,
            };
            let decided = ride.farm.decide(&request, &env);
            assert_eq!(again.decide(&request, &env), decided);
            assert_eq!(resumed.decide(&request, &env), decided);
        }
    }
}

/// Protects the digest's meaning: a name is a detail, and still no two farms that differ in it
/// are the same; a farm that took another way to the same entities is.
#[test]
fn details_count_by_their_hash() {
    let named = |name: &str| {
        let mut ride = Ride::new();
        ride.granted(&Request::CreateTag {
            tag: tag_id(1),
            name: name.to_owned(),
            description: String::new(),
        });
        ride.farm.digest()
    };
    assert_eq!(named("fast"), named("fast"));
    assert_ne!(named("fast"), named("slow"));
}

/// Protects per-job roots: a job's digest follows its tasks and is that of no other job.
#[test]
fn a_jobs_digest_follows_its_tasks() {
    let mut ride = Ride::new();
    let one = ride.submit(1, &[("misc", 50, &[])]);
    let two = ride.submit(2, &[("misc", 50, &[])]);
    let before = (ride.farm.job_digest(one), ride.farm.job_digest(two));
    assert_ne!(before.0, before.1);
    ride.set_task(task_id(one, 0), TaskStatus::Paused)
        .expect("a queued task can be paused");
    assert_ne!(ride.farm.job_digest(one), before.0);
    assert_eq!(ride.farm.job_digest(two), before.1);
    assert_eq!(ride.farm.job_digest(job_id(3)), None);
}
