// SPDX-License-Identifier: GPL-3.0-or-later
//! A journal on disk of a farm that renders: real submissions, real decisions, real records.
//!
//! Everything in it came out of `Farm::decide` and went through `records::draft`, as in a live
//! Manager; only the syncs are few. The tasks are those of a simple Blender render: a name, a
//! command list of its own, one frame, and a last task that waits for all the others.

use std::sync::Arc;

use tablao_core::{
    Actor, Answer, Farm, JobId, JobStatus, ManagerId, Recorded, Request, ShotId, TaskId,
    TaskStatus, Timestamp, Via, WorkerId, WorkerStatus,
    decide::{Asker, Env, decision_record},
    detail::{FrameDetail, JobDetail, TasksDetail, WorkerDetail},
    entity::{FailPolicy, FrameKey, JobFacts, JobSource, Limits, Protocol, Requirements},
    event::{Body, NewTask},
    frames::FrameRanges,
    request::{FrameReport, NewJob, Report, TaskChunk},
};
use tablao_journal::{Authority, Draft, FileStore, Journal, JournalId, OpenOptions};
use tablao_net::{records, submission};
use uuid::Uuid;

use crate::report::Error;

/// How large a history is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Jobs.
    pub(crate) jobs: u32,
    /// Tasks of each.
    pub(crate) tasks_of_job: u32,
    /// Tasks that were rendered, each with its attempt and its frame.
    pub(crate) rendered: u32,
    /// Workers that rendered them.
    pub(crate) workers: u32,
}

/// Drafts that are made durable together.
const DRAFTS_OF_COMMIT: usize = 512;

/// Writes histories.
pub(crate) struct Maker {
    farm: Farm,
    journal: Journal,
    waiting: Vec<Draft>,
    bytes: usize,
    now: u64,
    workers: Vec<WorkerId>,
    jobs: u32,
}

fn id(kind: u64, number: u64) -> Uuid {
    // Spread like random ids, and the same in every run.
    let hash = blake3::hash(&[kind.to_le_bytes(), number.to_le_bytes()].concat());
    let bytes = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    Uuid::from_bytes(*bytes)
}

impl Maker {
    /// Begins a journal.
    pub(crate) fn new(files: Arc<dyn FileStore>) -> Result<Self, Error> {
        let now = 1_760_000_000_000_000;
        let opened = Journal::open(files, &OpenOptions::new(JournalId([7; 16]), now))
            .map_err(|error| Error(error.into()))?;
        let mut maker = Self {
            farm: Farm::new(),
            journal: opened.journal,
            waiting: Vec::new(),
            bytes: 0,
            now,
            workers: Vec::new(),
            jobs: 0,
        };
        maker.ask(&Request::OpenJournal {
            build: "bench".to_owned(),
            incarnation: 1,
            clean: true,
            manager: ManagerId::new(id(0, 0)),
        })?;
        Ok(maker)
    }

    /// The farm as it stands.
    pub(crate) fn farm(&self) -> &Farm {
        &self.farm
    }

    /// Ends the journal in order.
    pub(crate) fn close(mut self) -> Result<Farm, Error> {
        self.commit()?;
        self.journal.close().map_err(|error| Error(error.into()))?;
        Ok(self.farm)
    }

    /// Submits and renders.
    pub(crate) fn run(&mut self, shape: Shape) -> Result<(), Error> {
        while self.workers.len() < shape.workers as usize {
            self.register()?;
        }
        for _ in 0..shape.jobs {
            self.submit(shape.tasks_of_job)?;
        }
        self.render(shape.rendered)
    }

    fn register(&mut self) -> Result<(), Error> {
        let number = self.workers.len() as u64;
        let worker = WorkerId::new(id(1, number));
        let detail = WorkerDetail {
            name: format!("node-{number:04}"),
            address: format!("10.0.{}.{}", number / 250, number % 250),
            software: "tablao 0.1.0".to_owned(),
        };
        let task_types = vec!["blender".to_owned(), "ffmpeg".to_owned()];
        self.ask(&Request::RegisterWorker {
            worker,
            platform: "linux".to_owned(),
            task_types: task_types.clone(),
            detail: detail.clone(),
        })?;
        self.ask(&Request::SignOn {
            worker,
            task_types,
            can_restart: false,
            protocol: Protocol::Tablao,
            slots: 1,
            held: Vec::new(),
            detail,
        })?;
        self.ask(&Request::WorkerStateChanged {
            worker,
            status: WorkerStatus::Awake,
        })?;
        self.workers.push(worker);
        Ok(())
    }

    fn submit(&mut self, tasks: u32) -> Result<(), Error> {
        let number = self.jobs;
        self.jobs += 1;
        let job = JobId::new(id(2, u64::from(number)));
        let name = format!("sq{:03}_sh{:04}", number / 40, number % 40 * 10);
        let settings = format!(
            r#"{{"blendfile":"/srv/film/shots/{name}/{name}.lighting.blend","chunk_size":1,"format":"PNG","fps":24,"frames":"1-{tasks}","render_output_path":"/srv/film/render/{name}/######"}}"#
        );
        let facts = JobFacts {
            job,
            job_type: "simple-blender-render".to_owned(),
            script_hash: [3; 32],
            generation: 1,
            priority: 50,
            tag: None,
            project: None,
            user: None,
            shot: ShotId::named("film", &name),
            requires: Requirements::default(),
            limits: Limits::default(),
            not_before: None,
            depends_on_jobs: Vec::new(),
            fail_policy: FailPolicy::default(),
            initial: JobStatus::Queued,
            manager: ManagerId::new(id(0, 0)),
            job_epoch: 1,
            source: JobSource::Submitted,
            tasks_expected: tasks,
            created: Timestamp::from_micros(self.now),
        };
        let detail = JobDetail {
            name: name.clone(),
            user: "artist".to_owned(),
            project: "film".to_owned(),
            shot: name.clone(),
            settings_submitted: settings.clone(),
            settings,
            ..JobDetail::default()
        };
        self.ask(&Request::AcceptJob {
            job: Box::new(NewJob {
                facts,
                detail,
                chunk: TaskChunk::default(),
            }),
        })?;
        for piece in submission::split(chunk(number, &name, tasks)) {
            self.ask(&Request::AddTasks {
                job,
                chunk: Box::new(piece),
            })?;
        }
        self.ask(&Request::ReadyJob { job })?;
        Ok(())
    }

    /// Has workers take, render and finish this many tasks.
    pub(crate) fn render(&mut self, tasks: u32) -> Result<(), Error> {
        for turn in 0..tasks as usize {
            let worker = self.workers[turn % self.workers.len()];
            let answer = self.ask(&Request::AskForTask { worker })?;
            let Answer::Assigned {
                attempt,
                job,
                task,
                number,
            } = answer
            else {
                break;
            };
            let report = Report {
                worker,
                task,
                attempt: Some(attempt),
                status: None,
                activity: None,
                steps: None,
                frames: Vec::new(),
                failure: None,
                peak_memory_bytes: None,
            };
            self.ask(&Request::Report {
                report: Box::new(Report {
                    status: Some(TaskStatus::Active),
                    ..report.clone()
                }),
            })?;
            let frame = i32::try_from(number).unwrap_or_default() + 1;
            let shot = self.farm.jobs()[&job].state.facts.shot;
            let path = format!("/srv/film/render/{}/{frame:06}.png", shot.short());
            self.ask(&Request::Report {
                report: Box::new(Report {
                    status: Some(TaskStatus::Completed),
                    steps: Some(1),
                    frames: vec![FrameReport {
                        key: FrameKey {
                            shot,
                            output: String::new(),
                            view: String::new(),
                            number: frame,
                        },
                        detail: FrameDetail {
                            name: format!("{frame:06}"),
                            path,
                            thumbnail: format!("{frame:06}.jpg"),
                            blender_version: "4.2.3".to_owned(),
                            blend_hash: Some([5; 32]),
                        },
                        size: 4_000_000 + turn as u64,
                        hash: *blake3::hash(&turn.to_le_bytes()).as_bytes(),
                        rendered_at: Timestamp::from_micros(self.now),
                        render_ms: 61_000,
                        samples: Some(128),
                        peak_memory_bytes: Some(3 << 30),
                        flags: 0,
                        found: false,
                    }],
                    peak_memory_bytes: Some(3 << 30),
                    ..report
                }),
            })?;
        }
        Ok(())
    }

    /// Puts a request to the farm and writes down what comes of it, as the engine does.
    fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        self.now += 1_000;
        let env = Env {
            now: Timestamp::from_micros(self.now),
            decision: self.farm.position().next(),
            seed: self.now,
            key: None,
        };
        let decided = self
            .farm
            .decide(request, &env)
            .map_err(|refusal| Error(refusal.to_string().into()))?;
        let body = match request {
            Request::AcceptJob { .. } | Request::AddTasks { .. } => Body::Events,
            _ => Body::Inline,
        };
        let actor = Actor::anonymous(Via::Api);
        let asker = Asker::default();
        let record = decision_record(request, &env, actor, &asker, Ok(&decided), body);
        let events = std::iter::once(record).chain(decided.events).collect();
        let drafted = records::draft(events, env.decision, env.now, Authority::Site);
        let fold = |recorded: &Recorded| self.farm.apply(recorded);
        drafted.records.iter().for_each(fold);
        self.bytes += drafted.bytes;
        self.waiting.push(drafted.draft);
        if self.waiting.len() >= DRAFTS_OF_COMMIT || self.bytes > 4 << 20 {
            self.commit()?;
        }
        Ok(decided.answer)
    }

    fn commit(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let drafts: Vec<&Draft> = self.waiting.iter().collect();
        let next = self.journal.next_lsn();
        self.journal
            .commit(next, &drafts)
            .map_err(|error| Error(error.into()))?;
        self.waiting.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn chunk(job: u32, name: &str, tasks: u32) -> TaskChunk {
    let mut detail = TasksDetail::default();
    let mut new_tasks = Vec::with_capacity(tasks as usize);
    for number in 0..tasks {
        let frame = i32::try_from(number).unwrap_or_default() + 1;
        let last = number + 1 == tasks && tasks > 1;
        let commands = if last {
            format!(
                r#"[{{"name":"frames-to-video","parameters":{{"exe":"ffmpeg","exeArgs":["-y"],"fps":24,"inputGlob":"/srv/film/render/{name}/*.png","outputFile":"/srv/film/render/{name}/{name}.mp4"}},"totalStepCount":1}}]"#
            )
        } else {
            format!(
                r#"[{{"name":"blender-render","parameters":{{"args":["--render-output","/srv/film/render/{name}/######","--render-format","PNG","--render-frame","{frame}"],"argsBefore":[],"blendfile":"/srv/film/shots/{name}/{name}.lighting.blend","exe":"{{blender}}","exeArgs":"{{blenderArgs}}"}},"totalStepCount":1}}]"#
            )
        };
        new_tasks.push(NewTask {
            uuid: TaskId::new(id(3, u64::from(job) << 32 | u64::from(number))),
            task_type: u16::from(last),
            priority: 50,
            depends_on: if last {
                (0..number).collect()
            } else {
                Vec::new()
            },
            frames: if last {
                FrameRanges::default()
            } else {
                FrameRanges::from_numbers([frame])
            },
            steps_total: 1,
            content_hash: *blake3::hash(commands.as_bytes()).as_bytes(),
        });
        detail.names.push(if last {
            "preview-video".to_owned()
        } else {
            format!("render-{frame}")
        });
        detail.commands_of.push(number);
        detail.command_lists.push(commands);
    }
    TaskChunk {
        first_number: 0,
        types: vec!["blender".to_owned(), "ffmpeg".to_owned()],
        tasks: new_tasks,
        detail,
    }
}
