// SPDX-License-Identifier: GPL-3.0-or-later
//! What a Flamenco Manager's database says, in our words: tags, Workers, jobs with their tasks,
//! dependencies, failures and blocks. What cannot come over as it was is noted.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tablao_core::{
    JobStatus, TagId, TaskStatus, WorkerId, WorkerStatus,
    detail::WorkerDetail,
    request::{ImportedState, ImportedWorker},
};
use tablao_jobtypes::{Command, CompiledJob, CompiledTask};
use tablao_net::{
    clock,
    import::{ForeignFarm, ForeignJob, ForeignWorker},
};
use uuid::Uuid;

use super::{
    schedules::schedule,
    tables::{Row, Tables},
};

/// Reads everything.
pub(super) fn read(path: &std::path::Path, notes: &mut Vec<String>) -> anyhow::Result<ForeignFarm> {
    let tables = Tables::open(path, notes)?;
    let mut reader = Reader {
        tables,
        notes,
        tags: BTreeMap::new(),
        workers: BTreeMap::new(),
    };
    let tags = reader.read_tags()?;
    let workers = reader.read_workers()?;
    let jobs = reader.read_jobs()?;
    Ok(ForeignFarm {
        tags,
        workers,
        jobs,
    })
}

struct Reader<'a> {
    tables: Tables,
    notes: &'a mut Vec<String>,
    /// By the database's own numbers.
    tags: BTreeMap<i64, TagId>,
    workers: BTreeMap<i64, WorkerId>,
}

impl Reader<'_> {
    fn read_tags(&mut self) -> anyhow::Result<Vec<(TagId, String, String)>> {
        let mut tags = Vec::new();
        let columns = &["id", "uuid", "name", "description"];
        for row in self.tables.rows("worker_tags", &["id"], columns)? {
            let Some((number, uuid)) = self.identity(&row, "tag") else {
                continue;
            };
            let tag = TagId::new(uuid);
            self.tags.insert(number, tag);
            tags.push((tag, row.text("name"), row.text("description")));
        }
        Ok(tags)
    }

    /// The database's number and the id of a row.
    fn identity(&mut self, row: &Row, noun: &str) -> Option<(i64, Uuid)> {
        let uuid = row.text("uuid");
        match (row.number("id"), Uuid::parse_str(&uuid)) {
            (Some(number), Ok(id)) => Some((number, id)),
            _ => {
                let name = row.text("name");
                self.notes.push(format!(
                    "the {noun} {name:?} is left out: {uuid:?} is no id"
                ));
                None
            }
        }
    }

    fn read_workers(&mut self) -> anyhow::Result<Vec<ForeignWorker>> {
        let mut memberships: BTreeMap<i64, Vec<TagId>> = BTreeMap::new();
        let columns = &["worker_tag_id", "worker_id"];
        for row in self
            .tables
            .rows("worker_tag_membership", columns, columns)?
        {
            let tag = row
                .number("worker_tag_id")
                .and_then(|id| self.tags.get(&id));
            if let (Some(worker), Some(&tag)) = (row.number("worker_id"), tag) {
                memberships.entry(worker).or_default().push(tag);
            }
        }
        let mut schedules = BTreeMap::new();
        let columns = &[
            "worker_id",
            "is_active",
            "days_of_week",
            "start_time",
            "end_time",
        ];
        for row in self.tables.rows("sleep_schedules", &["id"], columns)? {
            let (days, start, end) = (
                row.text("days_of_week"),
                row.text("start_time"),
                row.text("end_time"),
            );
            match (
                row.number("worker_id"),
                schedule(row.flag("is_active"), &days, &start, &end),
            ) {
                (Some(worker), Ok(schedule)) => {
                    schedules.insert(worker, schedule);
                }
                (_, Err(what)) => self
                    .notes
                    .push(format!("a sleep schedule is left out: {what}")),
                (None, _) => {}
            }
        }
        let columns = &[
            "id",
            "uuid",
            "secret",
            "name",
            "address",
            "platform",
            "software",
            "status",
            "status_requested",
            "lazy_status_request",
            "supported_task_types",
            "can_restart",
            "deleted_at",
        ];
        let mut workers = Vec::new();
        for row in self.tables.rows("workers", &["id"], columns)? {
            if !row.text("deleted_at").is_empty() {
                continue;
            }
            let Some((number, uuid)) = self.identity(&row, "worker") else {
                continue;
            };
            let worker = WorkerId::new(uuid);
            self.workers.insert(number, worker);
            let mut types: Vec<String> = (row.text("supported_task_types").split(','))
                .map(|name| name.trim().to_lowercase())
                .filter(|name| !name.is_empty())
                .collect();
            types.sort_unstable();
            types.dedup();
            let asked = named::<WorkerStatus>(&row.text("status_requested"));
            workers.push(ForeignWorker {
                secret: row.text("secret"),
                worker: ImportedWorker {
                    worker,
                    platform: row.text("platform").to_lowercase(),
                    task_types: types,
                    can_restart: row.flag("can_restart"),
                    status: named(&row.text("status")),
                    asked: asked.map(|status| (status, row.flag("lazy_status_request"))),
                    tags: memberships.remove(&number).unwrap_or_default(),
                    schedule: schedules.remove(&number),
                    detail: WorkerDetail {
                        name: row.text("name"),
                        address: row.text("address"),
                        software: row.text("software"),
                    },
                },
            });
        }
        Ok(workers)
    }

    fn read_jobs(&mut self) -> anyhow::Result<Vec<ForeignJob>> {
        let mut tasks = self.read_tasks()?;
        let mut blocks: BTreeMap<i64, Vec<(WorkerId, String)>> = BTreeMap::new();
        let columns = &["job_id", "worker_id", "task_type"];
        for row in self.tables.rows("job_blocks", &["id"], columns)? {
            let worker = row.number("worker_id").and_then(|id| self.workers.get(&id));
            if let (Some(job), Some(&worker)) = (row.number("job_id"), worker) {
                let block = (worker, row.text("task_type"));
                blocks.entry(job).or_default().push(block);
            }
        }
        let columns = &[
            "id",
            "uuid",
            "name",
            "job_type",
            "priority",
            "status",
            "activity",
            "settings",
            "metadata",
            "created_at",
            "delete_requested_at",
            "storage_shaman_checkout_id",
            "worker_tag_id",
        ];
        let mut jobs = Vec::new();
        for row in self.tables.rows("jobs", &["created_at", "id"], columns)? {
            let Some((number, uuid)) = self.identity(&row, "job") else {
                continue;
            };
            let tasks = tasks.remove(&number).unwrap_or_default();
            let blocked = blocks.remove(&number).unwrap_or_default();
            jobs.push(self.job(&row, uuid, tasks, blocked));
        }
        Ok(jobs)
    }

    fn job(
        &mut self,
        row: &Row,
        id: Uuid,
        tasks: OldTasks,
        blocked: Vec<(WorkerId, String)>,
    ) -> ForeignJob {
        let name = row.text("name");
        let was = row.text("status");
        let end = End::of(&was);
        if end.is_another {
            self.notes.push(format!(
                "the job {name:?} was {was:?} and becomes {}",
                end.status.name()
            ));
        }
        let object = |column: &str| match row.json(column) {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let words = |(key, value): (String, Value)| match value {
            Value::String(text) => (key, text),
            other => (key, other.to_string()),
        };
        let tag = row
            .number("worker_tag_id")
            .and_then(|id| self.tags.get(&id));
        let checkout = row.text("storage_shaman_checkout_id");
        let state = ImportedState {
            status: end.status,
            reason: row.text("activity"),
            tasks: tasks.by_status(&end),
            failed_by: tasks
                .failed_by
                .iter()
                .map(|(worker, of)| (*worker, ranges(of)))
                .collect(),
            last_workers: (tasks.last_workers.iter())
                .map(|(worker, of)| (*worker, ranges(of)))
                .collect(),
            blocked,
            // Counted from now: whoever moves has time to change their mind, as after a deletion.
            delete_marked: row
                .moment("delete_requested_at")
                .map(|_| tablao_net::clock::now()),
        };
        let priority = row
            .number("priority")
            .and_then(|number| i32::try_from(number).ok());
        ForeignJob {
            compiled: CompiledJob {
                id,
                name,
                job_type: row.text("job_type"),
                priority: priority.unwrap_or(50).clamp(0, 100),
                settings: object("settings"),
                metadata: object("metadata").into_iter().map(words).collect(),
                worker_tag: tag.map(ToString::to_string),
                shaman_checkout_id: (!checkout.is_empty()).then_some(checkout),
                // No script is known to have made it.
                script_hash: String::new(),
                tasks: tasks.compiled,
            },
            created: row.moment("created_at").unwrap_or_else(clock::now),
            state,
        }
    }

    /// Tasks by the number of their job.
    fn read_tasks(&mut self) -> anyhow::Result<BTreeMap<i64, OldTasks>> {
        let columns = &[
            "id",
            "job_id",
            "uuid",
            "name",
            "type",
            "priority",
            "status",
            "worker_id",
            "commands",
        ];
        let mut jobs: BTreeMap<i64, OldTasks> = BTreeMap::new();
        // Where each task of the database is: its job and its place there.
        let mut places: BTreeMap<i64, (i64, usize)> = BTreeMap::new();
        for row in self
            .tables
            .rows("tasks", &["job_id", "index_in_job", "id"], columns)?
        {
            let Some((number, uuid)) = self.identity(&row, "task") else {
                continue;
            };
            let Some(job) = row.number("job_id") else {
                continue;
            };
            let commands = commands(&row.json("commands"));
            let mut task =
                CompiledTask::of_commands(uuid, row.text("name"), row.text("type"), &commands);
            let priority = row
                .number("priority")
                .and_then(|number| i32::try_from(number).ok());
            task.priority = priority.unwrap_or(50);
            let tasks = jobs.entry(job).or_default();
            let place = tasks.compiled.len();
            places.insert(number, (job, place));
            tasks
                .statuses
                .push(named(&row.text("status")).unwrap_or(TaskStatus::Queued));
            tasks.compiled.push(task);
            let worker = row.number("worker_id").and_then(|id| self.workers.get(&id));
            if let Some(&worker) = worker {
                tasks.last_workers.entry(worker).or_default().push(place);
            }
        }
        for row in self
            .tables
            .rows("task_dependencies", &[], &["task_id", "dependency_id"])?
        {
            let place = |name| row.number(name).and_then(|id| places.get(&id));
            if let (Some(&(job, task)), Some(&(other, needed))) =
                (place("task_id"), place("dependency_id"))
                && job == other
                && let Some(tasks) = jobs.get_mut(&job)
                && task != needed
            {
                tasks.compiled[task].depends_on.push(needed);
            }
        }
        for row in self
            .tables
            .rows("task_failures", &[], &["task_id", "worker_id"])?
        {
            let place = row.number("task_id").and_then(|id| places.get(&id));
            let worker = row.number("worker_id").and_then(|id| self.workers.get(&id));
            if let (Some(&(job, task)), Some(&worker)) = (place, worker)
                && let Some(tasks) = jobs.get_mut(&job)
            {
                tasks.failed_by.entry(worker).or_default().push(task);
            }
        }
        Ok(jobs)
    }
}

/// The tasks of one job.
#[derive(Default)]
struct OldTasks {
    compiled: Vec<CompiledTask>,
    statuses: Vec<TaskStatus>,
    failed_by: BTreeMap<WorkerId, Vec<usize>>,
    last_workers: BTreeMap<WorkerId, Vec<usize>>,
}

impl OldTasks {
    /// Numbers of the tasks in each status, once nobody works on them any more.
    fn by_status(&self, end: &End) -> Vec<(TaskStatus, Vec<(u32, u32)>)> {
        let mut places: BTreeMap<TaskStatus, Vec<usize>> = BTreeMap::new();
        for (place, &was) in self.statuses.iter().enumerate() {
            let status = end.task(was);
            if status != TaskStatus::Queued {
                places.entry(status).or_default().push(place);
            }
        }
        (places.into_iter())
            .map(|(status, of)| (status, ranges(&of)))
            .collect()
    }
}

/// Where a job comes to rest that was on its way to another status.
struct End {
    status: JobStatus,
    is_another: bool,
    /// What becomes of tasks that could still have been run.
    runnable: Option<TaskStatus>,
    /// Tasks that ended otherwise are to be run again.
    requeues: bool,
}

impl End {
    fn of(was: &str) -> Self {
        let stays = |status| Self {
            status,
            is_another: false,
            runnable: None,
            requeues: false,
        };
        match was {
            "active" => stays(JobStatus::Active),
            "canceled" => stays(JobStatus::Canceled),
            "completed" => stays(JobStatus::Completed),
            "failed" => stays(JobStatus::Failed),
            "paused" => stays(JobStatus::Paused),
            "queued" => stays(JobStatus::Queued),
            "cancel-requested" => Self {
                is_another: true,
                runnable: Some(TaskStatus::Canceled),
                ..stays(JobStatus::Canceled)
            },
            "pause-requested" => Self {
                is_another: true,
                runnable: Some(TaskStatus::Paused),
                ..stays(JobStatus::Paused)
            },
            "requeueing" => Self {
                is_another: true,
                requeues: true,
                ..stays(JobStatus::Queued)
            },
            // Nobody goes on with it, so a person decides.
            _ => Self {
                is_another: true,
                ..stays(JobStatus::Paused)
            },
        }
    }

    fn task(&self, was: TaskStatus) -> TaskStatus {
        match was {
            TaskStatus::Completed => was,
            TaskStatus::Active | TaskStatus::Queued | TaskStatus::SoftFailed
                if self.runnable.is_some() =>
            {
                self.runnable.unwrap_or(was)
            }
            TaskStatus::Active => TaskStatus::Queued,
            _ if self.requeues => TaskStatus::Queued,
            TaskStatus::Queued
            | TaskStatus::SoftFailed
            | TaskStatus::Canceled
            | TaskStatus::Failed
            | TaskStatus::Paused => was,
        }
    }
}

/// A word of Flamenco's API.
fn named<T: serde::de::DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(Value::String(name.to_owned())).ok()
}

fn commands(value: &Value) -> Vec<Command> {
    let Value::Array(items) = value else {
        return Vec::new();
    };
    (items.iter())
        .map(|item| Command {
            name: item["name"].as_str().unwrap_or_default().to_owned(),
            parameters: item["parameters"].as_object().cloned().unwrap_or_default(),
            total_step_count: (item["total_step_count"].as_u64())
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or_default(),
        })
        .collect()
}

/// Places as inclusive ranges of numbers.
fn ranges(places: &[usize]) -> Vec<(u32, u32)> {
    let mut places: Vec<u32> = (places.iter())
        .filter_map(|&place| u32::try_from(place).ok())
        .collect();
    places.sort_unstable();
    places.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for place in places {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == place => *last = place,
            _ => ranges.push((place, place)),
        }
    }
    ranges
}
