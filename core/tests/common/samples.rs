// SPDX-License-Identifier: GPL-3.0-or-later
//! One event of every kind with every field filled, for the codec and its golden bytes.
//!
//! The values say nothing; they are all different, so that a swapped or lost field shows.

use tablao_core::{
    Actor, AttemptId, Detail, Event, JobId, JobStatus, Lsn, ManagerId, ProjectId, RequestId,
    ShotId, TagId, TaskId, TaskStatus, Timestamp, UserId, Via, WorkerId, WorkerStatus,
    actor::ActorKind,
    detail::{
        DecisionDetail, FrameDetail, Input, JobDetail, NamedDetail, ReasonDetail, TasksDetail,
        WorkerDetail,
    },
    entity::{
        FailPolicy, FrameKey, Hold, JobFacts, JobSource, Limits, Policy, Protocol, RemoteVerb,
        Requirements, SleepSchedule, StatusRequest, StatusRequestSource,
    },
    event::*,
    frames::FrameRanges,
    kind::{DetailShape, KINDS, kind_of},
};
use uuid::Uuid;

const fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_ee00 + n)
}

const JOB: JobId = JobId::new(id(1));
const WORKER: WorkerId = WorkerId::new(id(2));
const TAG: TagId = TagId::new(id(3));
const MANAGER: ManagerId = ManagerId::new(id(4));
const AT: Timestamp = Timestamp::from_micros(1_700_000_000_123_456);
const ATTEMPT: AttemptId = AttemptId {
    job_epoch: 1,
    incarnation: 2,
    lsn: Lsn::new(300),
};
const ASKED: StatusRequest = StatusRequest {
    status: WorkerStatus::Asleep,
    lazy: true,
    source: StatusRequestSource::Person,
};

fn key() -> FrameKey {
    FrameKey {
        shot: ShotId::new(id(5)),
        output: "depth".to_owned(),
        view: "left".to_owned(),
        number: -7,
    }
}

fn schedule() -> SleepSchedule {
    SleepSchedule {
        active: true,
        time_zone: "Europe/Amsterdam".to_owned(),
        days: 0b1_1111,
        start_minute: 540,
        end_minute: 1080,
    }
}

fn job_facts() -> JobFacts {
    JobFacts {
        job: JOB,
        job_type: "simple-blender-render".to_owned(),
        script_hash: [0x5c; 32],
        generation: 3,
        priority: 50,
        tag: Some(TAG),
        project: Some(ProjectId::new(id(6))),
        user: Some(UserId::new(id(7))),
        shot: ShotId::new(id(5)),
        requires: Requirements {
            blender: Some((4, 2)),
            memory_bytes: Some(1 << 33),
            graphics_memory_bytes: Some(1 << 32),
            gpu: true,
        },
        limits: Limits {
            max_workers: Some(9),
        },
        not_before: Some(AT),
        depends_on_jobs: vec![JobId::new(id(8)), JobId::new(id(9))],
        fail_policy: FailPolicy {
            fail_percent: Some(25),
            task_attempts_max: Some(4),
        },
        initial: JobStatus::Paused,
        manager: MANAGER,
        job_epoch: 1,
        source: JobSource::Regenerated,
        tasks_expected: 2,
        created: AT,
    }
}

/// One event of each kind, in the order of their numbers.
pub(crate) fn events() -> Vec<Event> {
    let mut events = jobs();
    events.extend(tasks());
    events.extend(workers());
    events.extend(control());
    events.sort_by_key(|event| event.kind().number);
    assert_eq!(events.len(), KINDS.len(), "one sample of every kind");
    events
}

fn jobs() -> Vec<Event> {
    let job = JOB;
    vec![
        JobAccepted { facts: job_facts() }.into(),
        JobImported {
            job,
            status: JobStatus::Failed,
            failed_by: vec![(WORKER, vec![(0, 300)])],
            last_workers: vec![(WORKER, vec![(1, 1), (3, 70_000)])],
        }
        .into(),
        TasksAdded {
            job,
            first_number: 0,
            generation: 3,
            types: vec!["blender".to_owned(), "ffmpeg".to_owned()],
            tasks: vec![NewTask {
                uuid: TaskId::new(id(10)),
                task_type: 1,
                priority: -5,
                depends_on: vec![1, 300],
                frames: FrameRanges::from_numbers([1, 2, 3, 250]),
                steps_total: 4,
                content_hash: [0xc0; 32],
            }]
            .into(),
        }
        .into(),
        JobReady {
            job,
            status: JobStatus::Queued,
        }
        .into(),
        JobAbandoned { job }.into(),
        JobStatusChanged {
            job,
            from: JobStatus::Active,
            to: JobStatus::CancelRequested,
        }
        .into(),
        JobPriorityChanged {
            job,
            from: 50,
            to: 100,
        }
        .into(),
        JobTagChanged {
            job,
            from: Some(TAG),
            to: None,
        }
        .into(),
        JobHeld {
            job,
            hold: Hold::Person,
        }
        .into(),
        JobReleased {
            job,
            hold: Hold::Placement,
        }
        .into(),
        JobDeleteMarked { job, at: AT }.into(),
        JobRestored { job }.into(),
        JobPurged { job }.into(),
        JobEpochRaised {
            job,
            from: 1,
            to: 2,
            manager: MANAGER,
        }
        .into(),
        JobRegenerated {
            job,
            generation: 4,
            script_hash: [0x5c; 32],
            retired: vec![(0, 3), (300, 300)],
            added: vec![(301, 70_000)],
            tasks_expected: 70_001,
        }
        .into(),
        TasksPrepared {
            job,
            first_number: 301,
            generation: 4,
            types: vec!["blender".to_owned(), "ffmpeg".to_owned()],
            tasks: vec![NewTask {
                uuid: TaskId::new(id(12)),
                task_type: 1,
                priority: -6,
                depends_on: vec![2, 302],
                frames: FrameRanges::from_numbers([7, 8, 9, 251]),
                steps_total: 5,
                content_hash: [0xc1; 32],
            }]
            .into(),
        }
        .into(),
    ]
}

fn tasks() -> Vec<Event> {
    let (job, attempt, task, worker) = (JOB, ATTEMPT, 11, WORKER);
    vec![
        TasksChanged {
            job,
            ranges: vec![(0, 9), (70_000, 70_001)],
            from: TaskStatus::Queued,
            to: TaskStatus::Paused,
            steps: StepsChange::Keep,
        }
        .into(),
        TaskPriorityChanged {
            job,
            task,
            from: 50,
            to: 51,
        }
        .into(),
        AttemptAssigned {
            job,
            task,
            from: TaskStatus::SoftFailed,
            worker,
            slot: 1,
            job_epoch: 2,
            protocol: Protocol::Tablao,
            lease_ms: 30_000,
            start_within_ms: 10_000,
            rule_version: 1,
            runner_up: Some((JobId::new(id(8)), 12)),
        }
        .into(),
        AttemptStarted { attempt, job, task }.into(),
        StepsAdvanced {
            attempt,
            job,
            task,
            from: 1,
            to: 2,
        }
        .into(),
        AttemptStopRequested {
            attempt,
            job,
            task,
            cause: StopCause::TaskRequeued,
        }
        .into(),
        AttemptEnded {
            attempt,
            job,
            task,
            worker,
            outcome: AttemptOutcome::Failed {
                class: FailureClass::Signal,
                exit: Some(-1),
                signal: Some(9),
                out_of_memory: true,
            },
            task_to: TaskStatus::SoftFailed,
            steps: StepsChange::Zero,
            counts_as_failure: true,
            peak_memory_bytes: Some(123_456_789),
            silent_since: Some(AT),
        }
        .into(),
        LateReportNoted {
            attempt,
            job,
            task,
            report: LateReport::Frame,
        }
        .into(),
        WorkerBlocked {
            job,
            worker,
            task_type: "blender".to_owned(),
        }
        .into(),
        WorkerUnblocked {
            job,
            worker,
            task_type: "ffmpeg".to_owned(),
        }
        .into(),
        FailuresCleared {
            job,
            ranges: vec![(3, 4)],
        }
        .into(),
        TaskOutgrew {
            job,
            task,
            from: Some(1 << 30),
            to: 1 << 34,
        }
        .into(),
        OutputsDiscarded {
            job,
            ranges: vec![(5, 6), (400, 400)],
        }
        .into(),
        FramePublished {
            key: key(),
            job,
            task,
            attempt,
            size: 4_000_000,
            hash: [0xf1; 32],
            rendered_at: AT,
            render_ms: 61_000,
            samples: Some(128),
            peak_memory_bytes: Some(1 << 30),
            flags: frame_flags::UNFENCED,
            found: true,
            supersedes: Some([0xf0; 32]),
        }
        .into(),
        FrameSkipped {
            key: key(),
            job,
            task,
            attempt,
        }
        .into(),
        ThumbnailStored {
            key: key(),
            job,
            hash: [0xf2; 32],
        }
        .into(),
        FrameFlagged {
            key: key(),
            job,
            task,
            from: frame_flags::BLACK,
            to: frame_flags::EMPTY | frame_flags::TRUNCATED,
            seen: Some([0xf3; 32]),
        }
        .into(),
        FramesWanted {
            job,
            frames: vec![WantedFrame {
                key: key(),
                task,
                seen: Some([0xf4; 32]),
            }],
            wanted: true,
        }
        .into(),
        FramesVerified {
            shot: key().shot,
            job: Some(job),
            looked_at: 1_000,
            flawed: 5,
        }
        .into(),
    ]
}

fn workers() -> Vec<Event> {
    let worker = WORKER;
    let task_types = vec!["blender".to_owned(), "misc".to_owned()];
    vec![
        WorkerRegistered {
            worker,
            platform: "linux".to_owned(),
            task_types: task_types.clone(),
        }
        .into(),
        WorkerSignedOn {
            worker,
            task_types,
            can_restart: true,
            protocol: Protocol::Flamenco,
            slots: 2,
        }
        .into(),
        WorkerStatusChanged {
            worker,
            from: None,
            to: WorkerStatus::Awake,
        }
        .into(),
        WorkerStatusRequested {
            worker,
            request: ASKED,
            from: Some(StatusRequest {
                source: StatusRequestSource::Remembered,
                ..ASKED
            }),
        }
        .into(),
        WorkerStatusRequestCleared {
            worker,
            from: ASKED,
        }
        .into(),
        WorkerMemorySet {
            worker,
            from: None,
            to: Some(8 << 30),
        }
        .into(),
        WorkerTagsSet {
            worker,
            from: Vec::new(),
            to: vec![TAG],
        }
        .into(),
        WorkerScheduleSet {
            worker,
            from: None,
            to: Some(schedule()),
        }
        .into(),
        WorkerLost {
            worker,
            from: Some(WorkerStatus::Awake),
            silent_since: AT,
        }
        .into(),
        WorkerDeleted { worker }.into(),
        WorkerQuarantined {
            worker,
            cause: QuarantineCause::Failures { tasks: 3, jobs: 2 },
            from: Some(QuarantineCause::SelfCheck),
        }
        .into(),
        TagCreated { tag: TAG }.into(),
        TagChanged { tag: TAG }.into(),
        TagDeleted { tag: TAG }.into(),
        WorkerQuarantineLifted {
            worker,
            from: QuarantineCause::Person,
        }
        .into(),
    ]
}

fn control() -> Vec<Event> {
    vec![
        Decision {
            request: 24,
            now: AT,
            seed: u64::MAX,
            rule_version: 1,
            actor: Actor {
                kind: ActorKind::Token,
                id: Some([0xab; 16]),
                via: Via::AddOn,
            },
            key: Some([0x1d; 32]),
            key_job: Some(JOB),
            caused_by: Some(Lsn::new(299)),
            outcome: Outcome::Events(3),
            body: Body::Blob([0xb0; 32]),
        }
        .into(),
        JournalOpened {
            build: "0.1.0".to_owned(),
            incarnation: 2,
            clean: true,
            manager: MANAGER,
        }
        .into(),
        ConfigApplied {
            policy: Policy {
                task_attempts_max: 4,
                ..Policy::default()
            },
        }
        .into(),
        ConfigNoted { text: [0xc0; 32] }.into(),
        BaselineTaken {
            next: Lsn::new(70_001),
            state: [0xba; 32],
        }
        .into(),
        DetailErased {
            ranges: vec![(Lsn::new(5), Lsn::new(5)), (Lsn::new(9), Lsn::new(20))],
        }
        .into(),
        ManagerLinked { manager: MANAGER }.into(),
        ManagerRevoked { manager: MANAGER }.into(),
        JobPlaced {
            job: JOB,
            manager: MANAGER,
            epoch: 1,
            submission: [0x5b; 32],
        }
        .into(),
        RequestAccepted {
            request: RequestId::new(id(12)),
            manager: MANAGER,
            job: JOB,
            verb: RemoteVerb::SetPriority(75),
        }
        .into(),
        RequestSettled {
            control: Lsn::new(17),
            job: JOB,
            refused: Some(5),
        }
        .into(),
        OriginAdvanced {
            manager: MANAGER,
            lsn: Lsn::new(1_000_000),
            chain: [0xca; 32],
        }
        .into(),
        TermStarted { term: 2 }.into(),
        LinkedToServer {
            control_journal: [0xc7; 16],
        }
        .into(),
    ]
}

/// A detail of the shape that a kind has.
pub(crate) fn detail_of(kind: u16) -> Detail {
    match kind_of(kind).expect("the kind is listed").detail {
        DetailShape::None => Detail::None,
        DetailShape::Decision => Detail::Decision(DecisionDetail {
            actor_name: "Sybren".to_owned(),
            actor_address: "192.0.2.7:5555".to_owned(),
            on_behalf_of: "the night shift".to_owned(),
            body: vec![1, 2, 3],
            refusal: "no".to_owned(),
        }),
        DetailShape::Job => Detail::Job(Box::new(JobDetail {
            name: "Sintel 03".to_owned(),
            user: "andy".to_owned(),
            project: "Sintel".to_owned(),
            shot: "03_040".to_owned(),
            settings_submitted: "{}".to_owned(),
            settings: "{\"frames\":\"1-10\"}".to_owned(),
            metadata: vec![("project".to_owned(), "Sintel".to_owned())],
            inputs: vec![Input {
                path: "/render/sintel.blend".to_owned(),
                hash: Some([0x19; 32]),
                size: 77,
                modified_us: 1_600_000_000_000_000,
            }],
            shaman_checkout: "sintel/03".to_owned(),
        })),
        DetailShape::Tasks => Detail::Tasks(Box::new(TasksDetail {
            names: vec!["render-1-10".to_owned()],
            command_lists: vec!["[{\"name\":\"echo\"}]".to_owned()],
            commands_of: vec![0],
        })),
        DetailShape::Reason => Detail::Reason(ReasonDetail {
            text: "because it rained".to_owned(),
        }),
        DetailShape::Worker => Detail::Worker(WorkerDetail {
            name: "render-07".to_owned(),
            address: "192.0.2.9".to_owned(),
            software: "3.7".to_owned(),
        }),
        DetailShape::Frame => Detail::Frame(FrameDetail {
            name: "frame-0007".to_owned(),
            path: "/render/out/frame-0007.exr".to_owned(),
            thumbnail: "frame-0007_thumbnail.jpg".to_owned(),
            blender_version: "4.2.1".to_owned(),
            blend_hash: Some([0x77; 32]),
        }),
        DetailShape::Named => Detail::Named(NamedDetail {
            name: "fast ones".to_owned(),
            description: "those with two cards".to_owned(),
        }),
    }
}
