// SPDX-License-Identifier: GPL-3.0-or-later
//! How an event looks to the outside: ids as text, times as RFC 3339, who did it, whom it concerns.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tablao_core::{ActorKind, AttemptId, Detail, Event, JobId, TaskId, WorkerId, event::Outcome};
use tablao_projections::ReadModel;
use utoipa::ToSchema;

use super::feed::Told;
use crate::clock::rfc3339;

/// Above this many tasks a client does better to read the job's tasks again.
const TASKS_NAMED_MAX: u64 = 100;

/// Who caused an event.
#[derive(Serialize, ToSchema)]
pub(super) struct Actor {
    /// `user`, `token`, `worker`, `manager`, `schedule` or `system`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    id: Option<String>,
    /// Claimed, while authentication is off.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    name: String,
    /// `web`, `cli`, `add-on`, `api`, `flamenco`, `worker`, `internal` or `replication`.
    via: &'static str,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct EventJson {
    /// Where the farm stands after it.
    pub(super) position: String,
    #[schema(format = "date-time")]
    time: String,
    pub(super) kind: &'static str,
    /// The Manager in whose journal it stands; absent for the control journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    manager: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    task: Option<String>,
    /// The tasks that it concerns. Absent where it concerns none, and where it concerns more
    /// than 100: then the job's tasks are to be read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tasks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    worker: Option<String>,
    actor: Actor,
    /// The facts of its kind, and names and reasons where it has them.
    #[schema(value_type = Object)]
    data: Map<String, Value>,
}

/// Whom an event concerns.
#[derive(Default)]
struct Concerns {
    job: Option<JobId>,
    /// Number of the task in the job.
    task: Option<u32>,
    /// Inclusive ranges of task numbers.
    tasks: Vec<(u32, u32)>,
    worker: Option<WorkerId>,
    attempt: Option<AttemptId>,
}

impl Concerns {
    fn job(job: JobId) -> Self {
        Self {
            job: Some(job),
            ..Self::default()
        }
    }

    fn tasks(job: JobId, tasks: Vec<(u32, u32)>) -> Self {
        Self {
            tasks,
            ..Self::job(job)
        }
    }

    fn attempt(job: JobId, task: u32, attempt: AttemptId) -> Self {
        Self {
            task: Some(task),
            attempt: Some(attempt),
            ..Self::job(job)
        }
    }

    fn worker(worker: WorkerId) -> Self {
        Self {
            worker: Some(worker),
            ..Self::default()
        }
    }

    fn of(event: &Event) -> Self {
        match event {
            Event::JobAccepted(facts) => Self::job(facts.facts.job),
            Event::TasksAdded(facts) => {
                let count = u32::try_from(facts.tasks.len()).unwrap_or(u32::MAX);
                let last = facts.first_number.saturating_add(count.saturating_sub(1));
                let tasks = (count > 0).then_some((facts.first_number, last));
                Self::tasks(facts.job, tasks.into_iter().collect())
            }
            // Not the job's yet; `JobRegenerated` names those that come and those that go.
            Event::TasksPrepared(facts) => Self::job(facts.job),
            Event::JobRegenerated(facts) => {
                let ranges = [&facts.retired[..], &facts.added].concat();
                Self::tasks(facts.job, ranges)
            }
            Event::OutputsDiscarded(facts) => Self::tasks(facts.job, facts.ranges.clone()),
            Event::JobReady(facts) => Self::job(facts.job),
            Event::JobAbandoned(facts) => Self::job(facts.job),
            Event::JobImported(facts) => Self::job(facts.job),
            Event::JobStatusChanged(facts) => Self::job(facts.job),
            Event::JobPriorityChanged(facts) => Self::job(facts.job),
            Event::JobTagChanged(facts) => Self::job(facts.job),
            Event::JobHeld(facts) => Self::job(facts.job),
            Event::JobReleased(facts) => Self::job(facts.job),
            Event::JobDeleteMarked(facts) => Self::job(facts.job),
            Event::JobRestored(facts) => Self::job(facts.job),
            Event::JobPurged(facts) => Self::job(facts.job),
            Event::JobPlaced(facts) => Self::job(facts.job),
            Event::JobEpochRaised(facts) => Self::job(facts.job),
            Event::RequestAccepted(facts) => Self::job(facts.job),
            Event::RequestSettled(facts) => Self::job(facts.job),
            Event::TasksChanged(facts) => Self::tasks(facts.job, facts.ranges.clone()),
            Event::FailuresCleared(facts) => Self::tasks(facts.job, facts.ranges.clone()),
            Event::TaskPriorityChanged(facts) => Self {
                task: Some(facts.task),
                ..Self::job(facts.job)
            },
            Event::TaskOutgrew(facts) => Self {
                task: Some(facts.task),
                ..Self::job(facts.job)
            },
            Event::AttemptAssigned(facts) => Self {
                task: Some(facts.task),
                worker: Some(facts.worker),
                ..Self::job(facts.job)
            },
            Event::AttemptEnded(facts) => Self {
                worker: Some(facts.worker),
                ..Self::attempt(facts.job, facts.task, facts.attempt)
            },
            Event::AttemptStarted(facts) => Self::attempt(facts.job, facts.task, facts.attempt),
            Event::StepsAdvanced(facts) => Self::attempt(facts.job, facts.task, facts.attempt),
            Event::AttemptStopRequested(facts) => {
                Self::attempt(facts.job, facts.task, facts.attempt)
            }
            Event::LateReportNoted(facts) => Self::attempt(facts.job, facts.task, facts.attempt),
            Event::FramePublished(facts) => Self::attempt(facts.job, facts.task, facts.attempt),
            Event::FrameSkipped(facts) => Self::attempt(facts.job, facts.task, facts.attempt),
            Event::ThumbnailStored(facts) => Self::job(facts.job),
            Event::FrameFlagged(facts) => Self {
                task: Some(facts.task),
                ..Self::job(facts.job)
            },
            Event::FramesWanted(facts) => {
                let tasks = facts.frames.iter().map(|frame| (frame.task, frame.task));
                let mut tasks: Vec<(u32, u32)> = tasks.collect();
                tasks.sort_unstable();
                tasks.dedup();
                Self::tasks(facts.job, tasks)
            }
            Event::FramesVerified(facts) => Self {
                job: facts.job,
                ..Self::default()
            },
            Event::WorkerBlocked(facts) => Self {
                worker: Some(facts.worker),
                ..Self::job(facts.job)
            },
            Event::WorkerUnblocked(facts) => Self {
                worker: Some(facts.worker),
                ..Self::job(facts.job)
            },
            Event::WorkerRegistered(facts) => Self::worker(facts.worker),
            Event::WorkerSignedOn(facts) => Self::worker(facts.worker),
            Event::WorkerStatusChanged(facts) => Self::worker(facts.worker),
            Event::WorkerStatusRequested(facts) => Self::worker(facts.worker),
            Event::WorkerStatusRequestCleared(facts) => Self::worker(facts.worker),
            Event::WorkerTagsSet(facts) => Self::worker(facts.worker),
            Event::WorkerMemorySet(facts) => Self::worker(facts.worker),
            Event::WorkerScheduleSet(facts) => Self::worker(facts.worker),
            Event::WorkerLost(facts) => Self::worker(facts.worker),
            Event::WorkerDeleted(facts) => Self::worker(facts.worker),
            Event::WorkerQuarantined(facts) => Self::worker(facts.worker),
            Event::WorkerQuarantineLifted(facts) => Self::worker(facts.worker),
            // About the farm itself, its tags and its Managers: no job, task or worker.
            Event::Decision(_)
            | Event::JournalOpened(_)
            | Event::ConfigApplied(_)
            | Event::ConfigNoted(_)
            | Event::BaselineTaken(_)
            | Event::DetailErased(_)
            | Event::TagCreated(_)
            | Event::TagChanged(_)
            | Event::TagDeleted(_)
            | Event::ManagerLinked(_)
            | Event::ManagerRevoked(_)
            | Event::OriginAdvanced(_)
            | Event::TermStarted(_)
            | Event::LinkedToServer(_) => Self::default(),
        }
    }

    /// The names of the tasks, unless they are too many or the job is gone.
    fn task_ids(&self, model: &ReadModel) -> Option<Vec<String>> {
        let count: u64 = (self.tasks.iter())
            .map(|(first, last)| u64::from(last - first) + 1)
            .sum();
        if self.tasks.is_empty() || count > TASKS_NAMED_MAX {
            return None;
        }
        let job = model.farm().jobs().get(&self.job?)?;
        let numbers = self.tasks.iter().flat_map(|&(first, last)| first..=last);
        let tasks = numbers.filter_map(|number| job.tasks.get(number as usize));
        Some(tasks.map(|task| task.uuid.to_string()).collect())
    }

    fn task_id(&self, model: &ReadModel) -> Option<TaskId> {
        let job = model.farm().jobs().get(&self.job?)?;
        Some(job.tasks.get(self.task? as usize)?.uuid)
    }

    /// The worker that the event names, or that of the attempt that it names.
    fn worker_id(&self, model: &ReadModel, task: Option<TaskId>) -> Option<WorkerId> {
        self.worker.or_else(|| {
            let attempt = self.attempt?;
            let attempts = model.attempts(task?);
            (attempts.iter().rev())
                .find(|row| row.id == attempt)
                .map(|row| row.worker)
        })
    }
}

/// The job that an event concerns.
pub(super) fn job_of(event: &Event) -> Option<JobId> {
    Concerns::of(event).job
}

impl EventJson {
    pub(super) fn new(told: &Told) -> Self {
        let model = told.view.read();
        let recorded = &told.recorded;
        let concerns = Concerns::of(&recorded.event);
        let task = concerns.task_id(&model);
        let kind = recorded.event.kind().name;
        Self {
            position: told.position.to_string(),
            time: rfc3339(recorded.at),
            kind,
            manager: (!told.of_control).then(|| told.view.manager.to_string()),
            job: concerns.job.map(|job| job.to_string()),
            task: task.map(|task| task.to_string()),
            tasks: concerns.task_ids(&model),
            worker: concerns.worker_id(&model, task).map(|id| id.to_string()),
            actor: actor(told, &model),
            data: data(&recorded.event, &recorded.detail),
        }
    }
}

fn actor(told: &Told, model: &ReadModel) -> Actor {
    let Some(cause) = &told.cause else {
        return Actor {
            kind: ActorKind::System.name(),
            id: None,
            name: String::new(),
            via: tablao_core::Via::Internal.name(),
        };
    };
    let id = cause.actor.uuid();
    let mut name = cause.name.clone();
    if let (true, ActorKind::Worker, Some(id)) = (name.is_empty(), cause.actor.kind, id) {
        let row = model.worker(WorkerId::new(id));
        name = row.map(|row| row.detail.name.clone()).unwrap_or_default();
    }
    Actor {
        kind: cause.actor.kind.name(),
        id: id.map(|id| id.to_string()),
        name,
        via: cause.actor.via.name(),
    }
}

/// Facts with names, reasons and paths from the details.
fn data(event: &Event, detail: &Detail) -> Map<String, Value> {
    let facts = event
        .serialize_facts(serde_json::value::Serializer)
        .expect("facts are ids, numbers, names and lists of those");
    let mut data = match tidy("", facts) {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    shape(event, &mut data);
    let mut say = |key: &str, text: &str| {
        if !text.is_empty() {
            data.insert(key.to_owned(), Value::String(text.to_owned()));
        }
    };
    match detail {
        Detail::None | Detail::Tasks(_) => {}
        Detail::Decision(detail) => say("reason", &detail.refusal),
        Detail::Reason(detail) => say("reason", &detail.text),
        Detail::Job(detail) => {
            say("name", &detail.name);
            say("user_name", &detail.user);
            say("project_name", &detail.project);
            say("shot_name", &detail.shot);
        }
        Detail::Worker(detail) => {
            say("name", &detail.name);
            say("address", &detail.address);
            say("software", &detail.software);
        }
        Detail::Frame(detail) => {
            say("name", &detail.name);
            say("path", &detail.path);
            say("blender_version", &detail.blender_version);
        }
        Detail::Named(detail) => {
            say("name", &detail.name);
            if matches!(event, Event::JobPlaced(_)) {
                say("reason", &detail.description);
            } else if !matches!(event, Event::ConfigApplied(_) | Event::ConfigNoted(_)) {
                say("description", &detail.description);
            }
        }
    }
    data
}

/// What differs from the facts as they are journalled.
fn shape(event: &Event, data: &mut Map<String, Value>) {
    // In the journal a task is a number within its job; `task` is its id everywhere in the API.
    if let Some(number) = data.remove("task") {
        data.insert("task_number".to_owned(), number);
    }
    match event {
        Event::JobAccepted(_) => {
            if let Some(Value::Object(facts)) = data.remove("facts") {
                data.extend(facts);
            }
        }
        // A chunk may hold thousands of tasks; what they are is read from the job's tasks.
        Event::TasksAdded(facts) => {
            data.remove("tasks");
            data.insert("count".to_owned(), json!(facts.tasks.len()));
        }
        Event::TasksPrepared(facts) => {
            data.remove("tasks");
            data.insert("count".to_owned(), json!(facts.tasks.len()));
        }
        Event::Decision(facts) => {
            data.clear();
            let request = tablao_core::Request::name_of(facts.request);
            data.insert("request".to_owned(), json!(request));
            if let Outcome::Refused(code) = facts.outcome {
                data.insert("refused".to_owned(), json!(code));
            }
        }
        _ => {}
    }
}

/// Facts that are moments, in microseconds.
const MOMENTS: &[&str] = &[
    "now",
    "at",
    "created",
    "not_before",
    "silent_since",
    "rendered_at",
];
/// Facts that are bytes.
const BYTES: &[&str] = &[
    "hash",
    "script_hash",
    "content_hash",
    "supersedes",
    "submission",
    "chain",
    "control_journal",
];

/// Facts as people and clients read them: no raw bytes, no microseconds, no nulls.
fn tidy(key: &str, value: Value) -> Value {
    match value {
        Value::Number(number) if MOMENTS.contains(&key) => match number.as_u64() {
            Some(micros) => rfc3339(tablao_core::Timestamp::from_micros(micros)).into(),
            None => Value::Number(number),
        },
        Value::Array(items) if BYTES.contains(&key) => hex(&items),
        Value::Array(items) => items.into_iter().map(|item| tidy(key, item)).collect(),
        Value::Object(map) => match attempt_id(&map) {
            Some(id) => Value::String(id.to_string()),
            None => map
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    let value = tidy(&key, value);
                    (key, value)
                })
                .collect::<Map<_, _>>()
                .into(),
        },
        other => other,
    }
}

fn hex(bytes: &[Value]) -> Value {
    let digits = bytes.iter().filter_map(Value::as_u64);
    digits
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into()
}

fn attempt_id(map: &Map<String, Value>) -> Option<AttemptId> {
    let number = |key: &str| map.get(key).and_then(Value::as_u64);
    let small = |key: &str| number(key).and_then(|number| u32::try_from(number).ok());
    (map.len() == 3).then_some(())?;
    Some(AttemptId {
        job_epoch: small("job_epoch")?,
        incarnation: small("incarnation")?,
        lsn: tablao_core::Lsn::new(number("lsn")?),
    })
}
