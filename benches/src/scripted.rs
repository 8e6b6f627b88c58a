// SPDX-License-Identifier: GPL-3.0-or-later
//! A farm that is driven through `decide` and `apply` by a script, without journal and network:
//! render jobs as the built-in job type compiles them, workers that ask, report and publish.
//!
//! It keeps nothing of what it wrote; whoever wants the records watches. It measures nothing.

use tablao_core::{
    Actor, Answer, AttemptId, Detail, Event, Farm, JobId, JobStatus, ManagerId, Recorded, Refusal,
    Request, ShotId, TagId, TaskId, TaskStatus, Timestamp, Via, WorkerId, WorkerStatus, codec,
    decide::{Asker, Decided, Env, decision_record},
    detail::{FrameDetail, JobDetail, WorkerDetail},
    entity::{FailPolicy, FrameKey, JobFacts, JobSource, Limits, Policy, Protocol, Requirements},
    event::{Body, NewTask},
    frames::FrameRanges,
    request::{FailureReport, FrameReport, NewJob, Report, TaskChunk},
};
use uuid::Uuid;

/// Tasks of one chunk of a large submission; about what fits a batch of the journal.
const CHUNK_TASKS: u32 = 1_000;
/// The moment at which every script begins.
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A run of a task that a worker holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) worker: WorkerId,
    pub(crate) attempt: AttemptId,
    pub(crate) job: JobId,
    pub(crate) task: TaskId,
    pub(crate) number: u32,
}

/// Takes every record as the folds get it.
pub(crate) type Watch = Box<dyn FnMut(&Recorded)>;

/// The farm and who drives it.
pub(crate) struct Script {
    pub(crate) farm: Farm,
    pub(crate) now: Timestamp,
    watch: Option<Watch>,
    asker: Asker,
}

/// A job to be submitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) number: u32,
    pub(crate) frames: u32,
    pub(crate) priority: i32,
    pub(crate) tag: Option<TagId>,
}

pub(crate) fn job_id(number: u32) -> JobId {
    JobId::new(scattered(1, number))
}

pub(crate) fn worker_id(number: u32) -> WorkerId {
    WorkerId::new(scattered(2, number))
}

pub(crate) fn tag_id(number: u32) -> TagId {
    TagId::new(scattered(3, number))
}

/// An id as random as real ones are, and the same in every run.
fn scattered(kind: u8, number: u32) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&number.to_le_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Uuid::from_bytes(bytes)
}

fn task_id(job: u32, number: u32) -> TaskId {
    TaskId::new(scattered(
        4,
        job.wrapping_mul(2_000_003).wrapping_add(number),
    ))
}

impl Script {
    pub(crate) fn new(watch: Option<Watch>) -> Self {
        let mut script = Self {
            farm: Farm::new(),
            now: START,
            watch,
            asker: Asker {
                name: String::new(),
                address: "192.0.2.117".to_owned(),
            },
        };
        script.ask(&Request::OpenJournal {
            build: "bench".to_owned(),
            incarnation: 1,
            clean: true,
            manager: ManagerId::new(scattered(5, 0)),
        });
        script
    }

    /// Decides a request and folds in what came of it, as the engine does.
    pub(crate) fn decide(&mut self, request: &Request) -> Result<Answer, Refusal> {
        let decision = self.farm.position().next();
        let env = Env {
            now: self.now,
            decision,
            // As random as an engine's, and the same in every run.
            seed: decision.get().wrapping_mul(0x9e37_79b9_7f4a_7c15),
            key: None,
        };
        let decided = self.farm.decide(request, &env)?;
        if decided.events.is_empty() {
            return Ok(decided.answer);
        }
        let record = decision_record(
            request,
            &env,
            actor(request),
            &self.asker,
            Ok(&decided),
            body(request),
        );
        let Decided { events, answer } = decided;
        self.fold(record);
        events.into_iter().for_each(|event| self.fold(event));
        Ok(answer)
    }

    /// The same for a request that is granted.
    pub(crate) fn ask(&mut self, request: &Request) -> Answer {
        self.decide(request)
            .expect("the script asks only for what is granted")
    }

    fn fold(&mut self, (event, detail): (Event, Detail)) {
        let detail_hash = codec::detail_hash(codec::encode_detail(&detail).as_deref());
        let recorded = Recorded {
            lsn: self.farm.position().next(),
            at: self.now,
            event,
            detail,
            detail_hash,
        };
        self.farm.apply(&recorded);
        if let Some(watch) = &mut self.watch {
            watch(&recorded);
        }
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.ask(&Request::ApplyConfig {
            policy,
            text: String::new(),
        });
    }

    pub(crate) fn tag(&mut self, number: u32) -> TagId {
        let tag = tag_id(number);
        self.ask(&Request::CreateTag {
            tag,
            name: format!("tag {number}"),
            description: String::new(),
        });
        tag
    }

    /// Registers a worker and brings it to `awake`.
    pub(crate) fn worker(&mut self, number: u32, tags: &[TagId]) -> WorkerId {
        let worker = worker_id(number);
        for request in &worker_requests(number) {
            self.ask(request);
        }
        if !tags.is_empty() {
            self.ask(&Request::SetWorkerTags {
                worker,
                tags: tags.to_vec(),
            });
        }
        worker
    }

    /// Submits a job of `frames` tasks of a frame each and one that makes a video of them.
    pub(crate) fn job(&mut self, plan: Plan) -> JobId {
        for request in job_requests(plan) {
            self.ask(&request);
        }
        job_id(plan.number)
    }

    pub(crate) fn next(&mut self, worker: WorkerId) -> Option<Held> {
        match self.ask(&Request::AskForTask { worker }) {
            Answer::Assigned {
                attempt,
                job,
                task,
                number,
            } => Some(Held {
                worker,
                attempt,
                job,
                task,
                number,
            }),
            _ => None,
        }
    }

    pub(crate) fn says(&mut self, held: Held, status: TaskStatus) {
        self.report(held, Some(status), None, Vec::new());
    }

    fn report(
        &mut self,
        held: Held,
        status: Option<TaskStatus>,
        steps: Option<u32>,
        frames: Vec<FrameReport>,
    ) {
        self.ask(&report(held, status, steps, frames));
    }

    /// Renders so many tasks, or whatever there is: everybody has a task in hand, and whoever ends
    /// one, so many microseconds after somebody else did, takes the next.
    pub(crate) fn render(&mut self, crew: &[WorkerId], wanted: u32, step_us: u64) {
        if wanted == 0 {
            return;
        }
        let mut hands: Vec<_> = crew.iter().map(|&worker| self.next(worker)).collect();
        let (mut idle, mut done) = (0, 0);
        for turn in (0..hands.len()).cycle() {
            self.now = Timestamp::from_micros(self.now.micros() + step_us);
            match hands[turn].take() {
                Some(held) => {
                    idle = 0;
                    done += 1;
                    self.finish(held);
                }
                None => idle += 1,
            }
            if idle > hands.len() || done >= wanted {
                break;
            }
            hands[turn] = self.next(crew[turn]);
        }
    }

    /// Starts, renders, publishes and completes a task, as our Worker reports it.
    pub(crate) fn finish(&mut self, held: Held) {
        self.says(held, TaskStatus::Active);
        let frame = i32::try_from(held.number).expect("a bench has fewer frames") + 1;
        let key = FrameKey {
            shot: ShotId::of_job(held.job),
            output: String::new(),
            view: String::new(),
            number: frame,
        };
        let hash = *blake3::hash(held.task.uuid().as_bytes()).as_bytes();
        // Real figures of a frame differ from every other's.
        let [one, two, three, ..] = hash.map(u64::from);
        let some = one << 16 | two << 8 | three;
        let name = format!("frame_{frame:06}");
        let published = FrameReport {
            key: key.clone(),
            detail: FrameDetail {
                name: name.clone(),
                path: format!("/render/film/{}/{name}.png", held.job.short()),
                thumbnail: String::new(),
                blender_version: "4.5.3".to_owned(),
                blend_hash: None,
            },
            size: 1_234_567 + some,
            hash,
            rendered_at: Timestamp::from_micros(self.now.micros() - some / 16),
            render_ms: 30_000 + u32::try_from(some / 512).expect("a few bits"),
            samples: Some(128),
            peak_memory_bytes: Some((1 << 30) + some * 64),
            flags: 0,
            found: false,
        };
        self.report(held, None, Some(1), vec![published]);
        self.says(held, TaskStatus::Completed);
        self.ask(&Request::StoreThumbnail {
            key,
            hash: *blake3::hash(&hash).as_bytes(),
            file: format!("{name}_thumbnail.jpg"),
        });
    }
}

/// Who asks for this, on a farm of our Workers.
fn actor(request: &Request) -> Actor {
    match request {
        Request::AskForTask { worker } => Actor::worker(*worker, Via::Worker),
        Request::Report { report } => Actor::worker(report.worker, Via::Worker),
        _ => Actor::anonymous(Via::Api),
    }
}

/// What brings a worker to `awake`, from its registration on.
pub(crate) fn worker_requests(number: u32) -> [Request; 3] {
    let worker = worker_id(number);
    let task_types: Vec<String> = ["blender", "ffmpeg", "file-management", "misc"]
        .map(str::to_owned)
        .to_vec();
    let detail = WorkerDetail {
        name: format!("worker-{number}"),
        address: "192.0.2.1".to_owned(),
        software: "Tablao 0.1.0".to_owned(),
    };
    [
        Request::RegisterWorker {
            worker,
            platform: "linux".to_owned(),
            task_types: task_types.clone(),
            detail: detail.clone(),
        },
        Request::SignOn {
            worker,
            task_types,
            can_restart: false,
            protocol: Protocol::Tablao,
            slots: 1,
            held: Vec::new(),
            detail,
        },
        Request::WorkerStateChanged {
            worker,
            status: WorkerStatus::Awake,
        },
    ]
}

/// What submits a job, piece by piece, as a large one is.
pub(crate) fn job_requests(plan: Plan) -> impl Iterator<Item = Request> {
    let job = job_id(plan.number);
    let total = plan.frames + 1;
    let new = NewJob {
        facts: facts(plan, total),
        detail: job_detail(plan),
        chunk: TaskChunk::default(),
    };
    let accept = Request::AcceptJob { job: Box::new(new) };
    let pieces = (0..total).step_by(CHUNK_TASKS as usize).map(move |first| {
        let until = total.min(first + CHUNK_TASKS);
        let chunk = Box::new(chunk(plan, first, until));
        Request::AddTasks { job, chunk }
    });
    let ready = Request::ReadyJob { job };
    std::iter::once(accept).chain(pieces).chain([ready])
}

/// What a worker says of the task that it holds.
pub(crate) fn report(
    held: Held,
    status: Option<TaskStatus>,
    steps: Option<u32>,
    frames: Vec<FrameReport>,
) -> Request {
    let failure = (status == Some(TaskStatus::Failed)).then_some(FailureReport {
        class: tablao_core::event::FailureClass::Process,
        exit: Some(1),
        signal: None,
    });
    let report = Report {
        worker: held.worker,
        task: held.task,
        attempt: Some(held.attempt),
        status,
        activity: failure.map(|_| "process exited with code 1".to_owned()),
        steps,
        frames,
        failure,
        peak_memory_bytes: None,
    };
    Request::Report {
        report: Box::new(report),
    }
}

/// A large request is not repeated in its decision, as in the engine: its events say it all.
fn body(request: &Request) -> Body {
    match request {
        Request::AddTasks { .. } => Body::Events,
        _ => Body::Inline,
    }
}

fn facts(plan: Plan, total: u32) -> JobFacts {
    let job = job_id(plan.number);
    JobFacts {
        job,
        job_type: "simple-blender-render".to_owned(),
        script_hash: [7; 32],
        generation: 1,
        priority: plan.priority,
        tag: plan.tag,
        project: None,
        user: None,
        shot: ShotId::of_job(job),
        requires: Requirements::default(),
        limits: Limits::default(),
        not_before: None,
        depends_on_jobs: Vec::new(),
        fail_policy: FailPolicy::default(),
        initial: JobStatus::Queued,
        manager: ManagerId::new(scattered(5, 0)),
        job_epoch: 1,
        source: JobSource::Submitted,
        tasks_expected: total,
        created: START,
    }
}

fn job_detail(plan: Plan) -> JobDetail {
    JobDetail {
        name: format!("shot {:04} animation", plan.number),
        user: "artist".to_owned(),
        project: "project".to_owned(),
        shot: format!("{:04}", plan.number),
        settings_submitted: r#"{"frames":"1-10000","chunk_size":1,"fps":24}"#.to_owned(),
        settings: r#"{"frames":"1-10000","chunk_size":1,"fps":24,"format":"PNG"}"#.to_owned(),
        metadata: vec![("project".to_owned(), "project".to_owned())],
        inputs: Vec::new(),
        shaman_checkout: String::new(),
    }
}

/// Tasks `first..until` of a job: a frame each, and a video of all of them at the end.
fn chunk(plan: Plan, first: u32, until: u32) -> TaskChunk {
    let mut chunk = TaskChunk {
        first_number: first,
        types: vec!["blender".to_owned(), "ffmpeg".to_owned()],
        ..TaskChunk::default()
    };
    let mut tasks = Vec::new();
    for number in first..until {
        let is_video = number == plan.frames;
        let frame = number + 1;
        let (name, commands) = if is_video {
            ("preview-video".to_owned(), video_commands(plan))
        } else {
            (format!("render-{frame}"), render_commands(plan, frame))
        };
        tasks.push(NewTask {
            uuid: task_id(plan.number, number),
            task_type: u16::from(is_video),
            priority: 50,
            depends_on: if is_video {
                (0..number).collect()
            } else {
                Vec::new()
            },
            frames: FrameRanges::from_numbers(
                (!is_video).then(|| i32::try_from(frame).expect("a bench has fewer frames")),
            ),
            steps_total: 1,
            content_hash: *blake3::hash(commands.as_bytes()).as_bytes(),
        });
        chunk.detail.names.push(name);
        let place = u32::try_from(chunk.detail.command_lists.len()).expect("a chunk is small");
        chunk.detail.commands_of.push(place);
        chunk.detail.command_lists.push(commands);
    }
    chunk.tasks = tasks.into_iter().collect();
    chunk
}

/// What the built-in job type writes for a frame.
pub(crate) fn render_commands(plan: Plan, frame: u32) -> String {
    format!(
        r#"[{{"name":"blender-render","parameters":{{"exe":"{{blender}}","exeArgs":"{{blenderArgs}}","argsBefore":[],"blendfile":"/projects/film/shot_{:04}/shot_{:04}.flamenco.blend","args":["--render-output","/render/film/shot_{:04}/frame_######","--render-format","PNG","--render-frame","{frame}"]}},"total_step_count":1}}]"#,
        plan.number, plan.number, plan.number
    )
}

fn video_commands(plan: Plan) -> String {
    format!(
        r#"[{{"name":"frames-to-video","parameters":{{"exe":"ffmpeg","fps":24,"inputGlob":"/render/film/shot_{:04}/*.png","outputFile":"/render/film/shot_{:04}/video.mp4","args":["-c:v","h264"]}},"total_step_count":1}}]"#,
        plan.number, plan.number
    )
}
