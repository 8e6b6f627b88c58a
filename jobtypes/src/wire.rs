// SPDX-License-Identifier: GPL-3.0-or-later
//! What two processes of the same program say to each other about one script.
//!
//! The order is JSON: it is small and holds values of any shape. The answer is binary and is read
//! task by task, because a job may have a million of them. Both ends are the same build, so there
//! is no version.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use bincode::config::{self, Config};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    compiler::once_each,
    error::Error,
    host::{Dependency, TaskDraft},
    job::{CompiledJob, CompiledTask, SubmittedJob},
    job_type::AvailableJobType,
    options::Options,
    sources::{SourceFile, Sources},
};

/// What was heard: an answer, or nothing where the speaker ended before it was whole.
pub(crate) type Heard<T> = Option<Result<T, Error>>;

/// One run of one script.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order<'a> {
    pub(crate) work: Work,
    #[serde(borrow)]
    script: File<'a>,
    #[serde(borrow)]
    files: Vec<File<'a>>,
    limits: Limits,
    zone: Zone,
}

/// What to do with the script.
#[derive(Serialize, Deserialize)]
pub(crate) enum Work {
    Declare,
    Compile(Box<JobOrder>),
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    path: Cow<'a, str>,
    text: Cow<'a, str>,
    may_be_type: bool,
}

#[derive(Serialize, Deserialize)]
struct Limits {
    compile_time_max: Duration,
    load_time_max: Duration,
    memory_bytes_max: usize,
    stack_bytes_max: usize,
    output_bytes_max: usize,
    tasks_max: usize,
    frames_max: u64,
}

/// A time zone as the other process can find it.
#[derive(Serialize, Deserialize)]
enum Zone {
    System,
    Named(String),
    /// Seconds east of Greenwich, for a zone without a name.
    Fixed(i32),
}

/// A [`SubmittedJob`], without what a script cannot see.
#[derive(Serialize, Deserialize)]
pub(crate) struct JobOrder {
    id: Uuid,
    name: String,
    job_type: String,
    priority: i32,
    settings: Map<String, Value>,
    metadata: BTreeMap<String, String>,
    shaman_checkout_id: Option<String>,
    worker_tag: Option<String>,
    created_millis: i64,
}

impl JobOrder {
    pub(crate) fn new(job: SubmittedJob) -> Self {
        Self {
            id: job.id,
            name: job.name,
            job_type: job.job_type,
            priority: job.priority,
            settings: job.settings,
            metadata: job.metadata,
            shaman_checkout_id: job.shaman_checkout_id,
            worker_tag: job.worker_tag,
            created_millis: job.created.as_millisecond(),
        }
    }

    pub(crate) fn submitted(&self) -> Option<SubmittedJob> {
        Some(SubmittedJob {
            id: self.id,
            name: self.name.clone(),
            job_type: self.job_type.clone(),
            type_etag: None,
            priority: self.priority,
            settings: self.settings.clone(),
            metadata: self.metadata.clone(),
            submitter_platform: String::new(),
            shaman_checkout_id: self.shaman_checkout_id.clone(),
            worker_tag: self.worker_tag.clone(),
            created: Timestamp::from_millisecond(self.created_millis).ok()?,
        })
    }
}

impl<'a> Order<'a> {
    pub(crate) fn new(
        work: Work,
        script: &'a SourceFile,
        sources: &'a Sources,
        options: &Options,
    ) -> Self {
        let zone = options
            .time_zone
            .as_ref()
            .map_or(Zone::System, |zone| match zone.iana_name() {
                Some(name) => Zone::Named(name.to_owned()),
                None => Zone::Fixed(zone.to_offset(Timestamp::now()).seconds()),
            });
        Self {
            work,
            script: File::of(script),
            files: sources.on_disk().map(File::of).collect(),
            limits: Limits {
                compile_time_max: options.compile_time_max,
                load_time_max: options.load_time_max,
                memory_bytes_max: options.memory_bytes_max,
                stack_bytes_max: options.stack_bytes_max,
                output_bytes_max: options.output_bytes_max,
                tasks_max: options.tasks_max,
                frames_max: options.frames_max,
            },
            zone,
        }
    }

    pub(crate) fn options(&self) -> Options {
        let limits = &self.limits;
        let zone = match &self.zone {
            Zone::System => None,
            Zone::Named(name) => TimeZone::get(name).ok(),
            Zone::Fixed(seconds) => jiff::tz::Offset::from_seconds(*seconds)
                .ok()
                .map(TimeZone::fixed),
        };
        Options {
            scripts_dir: None,
            watch: false,
            compile_time_max: limits.compile_time_max,
            load_time_max: limits.load_time_max,
            memory_bytes_max: limits.memory_bytes_max,
            stack_bytes_max: limits.stack_bytes_max,
            output_bytes_max: limits.output_bytes_max,
            tasks_max: limits.tasks_max,
            frames_max: limits.frames_max,
            child: None,
            time_zone: zone,
            ..Options::default()
        }
    }

    pub(crate) fn script_and_sources(&self) -> (SourceFile, Sources) {
        let files = self.files.iter().map(File::source);
        (self.script.source(), Sources::from_files(files))
    }
}

impl<'a> File<'a> {
    fn of(file: &'a SourceFile) -> Self {
        Self {
            path: Cow::Borrowed(&file.path),
            text: Cow::Borrowed(&file.text),
            may_be_type: file.may_be_type,
        }
    }

    fn source(&self) -> SourceFile {
        SourceFile {
            path: self.path.clone().into_owned(),
            text: Arc::from(&*self.text),
            may_be_type: self.may_be_type,
        }
    }
}

/// A line of a script's own output, on standard error.
#[derive(Serialize, Deserialize)]
pub(crate) struct LogLine {
    pub(crate) alert: bool,
    pub(crate) text: String,
}

impl LogLine {
    /// Writes it to the log.
    pub(crate) fn log(&self, script: &str) {
        if self.alert {
            tracing::warn!(script, "{}", self.text);
        } else {
            tracing::info!(script, "{}", self.text);
        }
    }

    /// Sends it to the process that ordered the run.
    pub(crate) fn send(&self) {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        // Who ordered may be gone; then nobody reads the log either.
        let _ = io::stderr().write_all(&line);
    }
}

/// Everything of a compiled job but its tasks.
#[derive(Serialize, Deserialize)]
struct Head {
    name: String,
    priority: i32,
    settings_json: String,
    metadata: BTreeMap<String, String>,
    worker_tag: Option<String>,
    shaman_checkout_id: Option<String>,
    script_hash: String,
    tasks: u32,
}

/// The most that one value may take in memory, so that a length that is made up asks for no more.
const DECODED_BYTES_MAX: usize = 1 << 30;
const MARK: u8 = 0x54;
/// Says instead of a mark: a task, while the script still runs.
const TASK: u8 = 0x55;

fn config() -> impl Config {
    config::standard().with_limit::<DECODED_BYTES_MAX>()
}

/// A byte that says: one step further.
pub(crate) fn write_mark(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[MARK])
}

pub(crate) fn read_mark(from: &mut impl Read) -> Option<()> {
    let mut byte = [0];
    from.read_exact(&mut byte).ok()?;
    (byte == [MARK]).then_some(())
}

fn write<T: Serialize>(to: &mut impl Write, value: &T) -> io::Result<()> {
    bincode::serde::encode_into_std_write(value, to, config())
        .map(|_| ())
        .map_err(io::Error::other)
}

fn read<T: DeserializeOwned>(from: &mut impl Read) -> Option<T> {
    bincode::serde::decode_from_std_read(from, config()).ok()
}

pub(crate) fn write_declared(
    to: &mut impl Write,
    declared: Result<AvailableJobType, Error>,
) -> io::Result<()> {
    let text = declared
        .map(|declared| serde_json::to_string(&declared).expect("job types have string keys only"));
    write(to, &text)
}

pub(crate) fn read_declared(from: &mut impl Read) -> Heard<AvailableJobType> {
    match read::<Result<String, Error>>(from)? {
        Ok(text) => serde_json::from_str(&text).ok().map(Ok),
        Err(error) => Some(Err(error)),
    }
}

/// A [`CompiledTask`] whose parts are the script's still.
#[derive(Serialize)]
struct EarlyTask<'a> {
    uuid: Uuid,
    name: &'a str,
    task_type: &'a str,
    priority: i32,
    depends_on: Vec<usize>,
    commands_json: &'a str,
    steps_total: u32,
    frames: Option<&'a str>,
}

/// Sends a task that waits for nothing but tasks that were sent before.
pub(crate) fn write_early(to: &mut impl Write, task: &TaskDraft) -> io::Result<()> {
    let places = task.dependencies.iter().filter_map(|other| match other {
        Dependency::Added(place) => Some(*place),
        Dependency::Later(..) => None,
    });
    let mut depends_on: Vec<usize> = places.collect();
    once_each(&mut depends_on);
    to.write_all(&[TASK])?;
    let task = EarlyTask {
        uuid: task.uuid,
        name: &task.name,
        task_type: &task.task_type,
        priority: task.priority,
        depends_on,
        commands_json: &task.commands_json,
        steps_total: task.steps_total,
        frames: task.frames.as_deref(),
    };
    write(to, &task)
}

/// Hears tasks until the script has run. How many there were.
pub(crate) fn read_early(
    from: &mut impl Read,
    take: &mut (dyn FnMut(CompiledTask) + Send),
) -> Option<usize> {
    let mut count = 0;
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        match byte {
            [MARK] => return Some(count),
            [TASK] => {
                let task: CompiledTask = read(from)?;
                // Checked here as well, because the invariant is this process's from now on.
                if task.depends_on.iter().any(|place| *place >= count) {
                    return None;
                }
                take(task);
                count += 1;
            }
            _ => return None,
        }
    }
}

/// `early`: how many of its tasks were sent before.
pub(crate) fn write_compiled(
    to: &mut impl Write,
    compiled: Result<CompiledJob, Error>,
    early: usize,
) -> io::Result<()> {
    let job = match compiled {
        Ok(job) => job,
        Err(error) => return write::<Result<Head, Error>>(to, &Err(error)),
    };
    let head = Head {
        name: job.name,
        priority: job.priority,
        settings_json: Value::Object(job.settings).to_string(),
        metadata: job.metadata,
        worker_tag: job.worker_tag,
        shaman_checkout_id: job.shaman_checkout_id,
        script_hash: job.script_hash,
        tasks: u32::try_from(job.tasks.len()).map_err(io::Error::other)?,
    };
    write::<Result<Head, Error>>(to, &Ok(head))?;
    for task in job.tasks.iter().skip(early) {
        write(to, task)?;
    }
    Ok(())
}

/// The job without its tasks, which are handed over.
pub(crate) fn read_compiled(
    from: &mut impl Read,
    id: Uuid,
    job_type: String,
    early: usize,
    take: &mut (dyn FnMut(CompiledTask) + Send),
) -> Heard<CompiledJob> {
    let head = match read::<Result<Head, Error>>(from)? {
        Ok(head) => head,
        Err(error) => return Some(Err(error)),
    };
    let count = head.tasks as usize;
    if early > count {
        return None;
    }
    for _ in early..count {
        let task: CompiledTask = read(from)?;
        if task.depends_on.iter().any(|place| *place >= count) {
            return None;
        }
        take(task);
    }
    Some(Ok(CompiledJob {
        id,
        name: head.name,
        job_type,
        priority: head.priority,
        settings: serde_json::from_str(&head.settings_json).ok()?,
        metadata: head.metadata,
        worker_tag: head.worker_tag,
        shaman_checkout_id: head.shaman_checkout_id,
        script_hash: head.script_hash,
        tasks: Vec::new(),
    }))
}
