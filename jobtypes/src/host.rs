// SPDX-License-Identifier: GPL-3.0-or-later
//! What a running script has produced so far, and the native functions that need to know it.
//!
//! Tasks are taken over one by one as the script adds them, so limits bite while it runs and a large
//! job never exists twice. `environment` makes these functions reachable from JavaScript.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use jiff::tz::TimeZone;
use rquickjs::{
    Array, Ctx, Exception, Function, Object, Result as JsResult, Value as JsValue,
    context::EvalOptions,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    commands_text::CommandsText,
    compiler::Place,
    error::Error,
    export::{self, ExportError},
    frames::FrameSet,
    job::Command,
    modules,
    options::Options,
    sandbox::Brake,
    sources::Sources,
    timestamp,
    wire::LogLine,
};

/// Lines of `print()` that reach the log per run; a loop must not fill a disk.
const LOG_LINES_MAX: usize = 1000;
/// Length of one such line.
const LOG_CHARACTERS_MAX: usize = 8 * 1024;
/// Native loops ask for the time this often.
const CHUNKS_BETWEEN_CHECKS: usize = 1024;

/// A larger buffer is given back after its use.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// A task as the script added it; dependencies are still ids.
#[derive(Debug)]
pub(crate) struct TaskDraft {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) task_type: String,
    pub(crate) priority: i32,
    pub(crate) dependencies: Vec<Dependency>,
    /// JSON text of a list of [`Command`]s.
    pub(crate) commands_json: String,
    pub(crate) steps_total: u32,
    pub(crate) frames: Option<String>,
}

/// A task that another one waits for.
#[derive(Debug)]
pub(crate) enum Dependency {
    /// Its place among the tasks.
    Added(usize),
    /// Not added yet: its id, and its name for people.
    Later(Uuid, String),
}

/// Who wants each task as soon as it is added and needs nothing of what comes later.
pub(crate) type Early = Box<dyn FnMut(&TaskDraft)>;

/// State shared by the native functions of one run.
pub(crate) struct Host {
    script: String,
    sources: Rc<Sources>,
    zone: TimeZone,
    tasks_max: usize,
    frames_max: u64,
    output_bytes_max: usize,
    brake: Brake,
    place: Place,
    tasks: RefCell<Vec<TaskDraft>>,
    /// Gone with the first task that waits for one that is not added yet: order is kept.
    early: RefCell<Option<Early>>,
    places: RefCell<HashMap<Uuid, usize>>,
    /// What is left of `output_bytes_max`.
    budget: Cell<usize>,
    /// A limit that was met. The script cannot catch it.
    fatal: RefCell<Option<Error>>,
    log_lines: Cell<usize>,
    buffer: RefCell<Vec<u8>>,
}

/// What a native function was called with. Missing arguments read as `undefined`.
pub(crate) struct Arguments<'js>(pub(crate) Vec<JsValue<'js>>);

impl<'js> Arguments<'js> {
    pub(crate) fn value(&self, ctx: &Ctx<'js>, index: usize) -> JsValue<'js> {
        let value = self.0.get(index).cloned();
        value.unwrap_or_else(|| JsValue::new_undefined(ctx.clone()))
    }

    pub(crate) fn text(&self, ctx: &Ctx<'js>, index: usize) -> JsResult<String> {
        export::text(&self.value(ctx, index))
    }

    pub(crate) fn integer(&self, ctx: &Ctx<'js>, index: usize) -> JsResult<i64> {
        export::integer(&self.value(ctx, index))
    }
}

impl Host {
    pub(crate) fn new(
        script: &str,
        sources: Rc<Sources>,
        options: &Options,
        brake: Brake,
        place: Place,
        early: Option<Early>,
    ) -> Self {
        Self {
            script: script.to_owned(),
            sources,
            zone: options.zone(),
            tasks_max: options.tasks_max,
            frames_max: options.frames_max,
            output_bytes_max: options.output_bytes_max,
            brake,
            place,
            tasks: RefCell::default(),
            early: RefCell::new(early),
            places: RefCell::default(),
            budget: Cell::new(options.output_bytes_max),
            fatal: RefCell::default(),
            log_lines: Cell::new(0),
            buffer: RefCell::default(),
        }
    }

    /// The limit that was met, if one was.
    pub(crate) fn take_fatal(&self) -> Option<Error> {
        self.fatal.borrow_mut().take()
    }

    /// The tasks added so far, leaving none behind.
    pub(crate) fn take_tasks(&self) -> (Vec<TaskDraft>, HashMap<Uuid, usize>) {
        (self.tasks.take(), self.places.take())
    }

    /// Converts a value that becomes part of the job, at the expense of the output budget.
    pub(crate) fn export_object<'js>(
        &self,
        ctx: &Ctx<'js>,
        value: JsValue<'js>,
        place: &str,
    ) -> JsResult<serde_json::Map<String, Value>> {
        export::object(&value, place, &self.budget).map_err(|error| self.refuse(ctx, error))
    }

    pub(crate) fn refuse(&self, ctx: &Ctx<'_>, error: ExportError) -> rquickjs::Error {
        match error {
            ExportError::Js(error) => error,
            ExportError::Refused { place, problem } => {
                Exception::throw_type(ctx, &format!("{place} {problem}"))
            }
            ExportError::Budget => self.stop(
                ctx,
                Error::OutputLimit {
                    script: self.script.clone(),
                    limit_bytes: self.output_bytes_max,
                },
            ),
        }
    }

    /// Ends the run with `error`, whatever the script catches.
    fn stop(&self, ctx: &Ctx<'_>, error: Error) -> rquickjs::Error {
        let thrown = Exception::throw_message(ctx, &error.to_string());
        self.brake.pull();
        self.fatal.borrow_mut().get_or_insert(error);
        thrown
    }

    pub(crate) fn frames(&self, ctx: &Ctx<'_>, range: &str) -> JsResult<FrameSet> {
        let parsed = FrameSet::parse_limited(range, self.frames_max);
        parsed.map_err(|error| Exception::throw_message(ctx, &error.to_string()))
    }

    pub(crate) fn frame_chunks<'js>(
        &self,
        ctx: &Ctx<'js>,
        args: &Arguments<'js>,
    ) -> JsResult<JsValue<'js>> {
        let set = self.frames(ctx, &args.text(ctx, 0)?)?;
        let chunks = set.chunks(args.integer(ctx, 1)?);
        let chunks = chunks.map_err(|error| Exception::throw_message(ctx, &error.to_string()))?;
        let array = Array::new(ctx.clone())?;
        for (index, chunk) in chunks.enumerate() {
            if index % CHUNKS_BETWEEN_CHECKS == 0 && self.brake.must_stop() {
                return Err(Exception::throw_message(ctx, "interrupted"));
            }
            array.set(index, chunk.compact())?;
        }
        Ok(array.into_value())
    }

    pub(crate) fn task_count(&self) -> usize {
        self.tasks.borrow().len()
    }

    pub(crate) fn add_task<'js>(
        &self,
        ctx: &Ctx<'js>,
        args: &Arguments<'js>,
    ) -> JsResult<JsValue<'js>> {
        let task: Object<'js> = args.value(ctx, 0).get()?;
        let index = self.tasks.borrow().len();
        if index >= self.tasks_max {
            let limit = self.tasks_max;
            let script = self.script.clone();
            return Err(self.stop(ctx, Error::TooManyTasks { script, limit }));
        }
        let text_of: Function<'js> = args.value(ctx, 1).get()?;
        let draft = self.read_task(ctx, &task, &text_of)?;
        if self.places.borrow_mut().insert(draft.uuid, index).is_some() {
            let message = format!("task {:?} was already added to the job", draft.name);
            return Err(Exception::throw_message(ctx, &message));
        }
        let mut early = self.early.borrow_mut();
        let is_later = |other: &Dependency| matches!(other, Dependency::Later(..));
        if early.is_some() && draft.dependencies.iter().any(is_later) {
            *early = None;
        }
        if let Some(early) = early.as_mut() {
            early(&draft);
        }
        self.tasks.borrow_mut().push(draft);
        Ok(JsValue::new_undefined(ctx.clone()))
    }

    fn read_task<'js>(
        &self,
        ctx: &Ctx<'js>,
        task: &Object<'js>,
        text_of: &Function<'js>,
    ) -> JsResult<TaskDraft> {
        let uuid = identity(ctx, task)?;
        let name = export::text(&task.get("name")?)?;
        let task_type = export::text(&task.get("type")?)?;
        let mut commands = CommandsText::default();
        let listed: Array<'js> = task.get("commands")?;
        for command in listed.iter::<Object<'js>>() {
            self.add_command(ctx, &mut commands, &name, &command?, text_of)?;
        }
        let listed: Array<'js> = task.get("dependencies")?;
        let mut dependencies = Vec::with_capacity(listed.len());
        let places = self.places.borrow();
        for dependency in listed.iter::<Object<'js>>() {
            let dependency = dependency?;
            let uuid = identity(ctx, &dependency)?;
            dependencies.push(match places.get(&uuid) {
                Some(place) => Dependency::Added(*place),
                None => Dependency::Later(uuid, export::text(&dependency.get("name")?)?),
            });
        }
        self.charge(
            ctx,
            name.len() + task_type.len() + 64 * (dependencies.len() + 1),
        )?;
        Ok(TaskDraft {
            uuid,
            name,
            task_type,
            priority: saturate(export::integer(&task.get("priority")?)?),
            dependencies,
            frames: commands.frames.take(),
            steps_total: commands.steps_total,
            commands_json: commands.finish(),
        })
    }

    /// Takes a command over: as the text it was made as, or, if the script has touched its
    /// parameters since, as what they are now.
    fn add_command<'js>(
        &self,
        ctx: &Ctx<'js>,
        commands: &mut CommandsText,
        task: &str,
        command: &Object<'js>,
        text_of: &Function<'js>,
    ) -> JsResult<()> {
        let name = export::text(&command.get("name")?)?;
        let count = export::integer(&command.get("totalStepCount")?)?;
        let count = u32::try_from(count.max(0)).unwrap_or(u32::MAX);
        let known: JsValue<'js> = text_of.call((command.clone(),))?;
        if let Some(known) = known.as_string() {
            let text = known.to_string()?;
            self.charge(ctx, text.len() + name.len())?;
            commands.push(&name, count, |all| {
                all.extend_from_slice(text.as_bytes());
                Ok(())
            })
        } else {
            let parameters: JsValue<'js> = command.get("parameters")?;
            let place = || format!("parameters of command {name:?} of task {task:?}: value");
            self.charge(ctx, name.len())?;
            commands.push(&name, count, |all| {
                export::object_text(&parameters, place, &self.budget, all)
                    .map_err(|error| self.refuse(ctx, error))
            })
        }
    }

    /// Takes from the output budget.
    fn charge(&self, ctx: &Ctx<'_>, bytes: usize) -> JsResult<()> {
        let left = self.budget.get().checked_sub(bytes);
        self.budget
            .set(left.ok_or_else(|| self.refuse(ctx, ExportError::Budget))?);
        Ok(())
    }

    /// The parameters of a new command, as JSON text.
    pub(crate) fn parameters_text<'js>(
        &self,
        ctx: &Ctx<'js>,
        args: &Arguments<'js>,
    ) -> JsResult<rquickjs::String<'js>> {
        // A budget of its own: the text stays inside the machine, under its memory limit.
        let budget = Cell::new(self.output_bytes_max);
        let place = || "command parameters: value".to_owned();
        // One buffer for all commands. A `toJSON` that makes commands itself finds it gone and
        // gets a new one.
        let mut buffer = self.buffer.take();
        buffer.clear();
        export::object_text(&args.value(ctx, 0), place, &budget, &mut buffer)
            .map_err(|error| self.refuse(ctx, error))?;
        let text = std::str::from_utf8(&buffer).expect("JSON is written as UTF-8");
        let text = rquickjs::String::from_str(ctx.clone(), text);
        if buffer.capacity() <= BUFFER_BYTES_KEPT {
            self.buffer.replace(buffer);
        }
        text
    }

    /// A task as the script sees it in `job.tasks`.
    pub(crate) fn task_at<'js>(
        &self,
        ctx: &Ctx<'js>,
        args: &Arguments<'js>,
    ) -> JsResult<JsValue<'js>> {
        let tasks = self.tasks.borrow();
        let task = usize::try_from(args.integer(ctx, 0)?)
            .ok()
            .and_then(|index| tasks.get(index));
        let Some(task) = task else {
            return Ok(JsValue::new_undefined(ctx.clone()));
        };
        let listed: Vec<Command> = serde_json::from_str(&task.commands_json).unwrap_or_default();
        let commands = listed.iter().map(|command| {
            json!({
                "name": command.name,
                "parameters": command.parameters,
                "totalStepCount": command.total_step_count,
            })
        });
        let dependencies = task.dependencies.iter().map(|dependency| match dependency {
            Dependency::Added(place) => {
                json!({"uUID": tasks[*place].uuid, "name": tasks[*place].name})
            }
            Dependency::Later(uuid, name) => json!({"uUID": uuid, "name": name}),
        });
        let view = json!({
            "uUID": task.uuid,
            "name": task.name,
            "type": task.task_type,
            "priority": task.priority,
            "commands": commands.collect::<Vec<_>>(),
            "dependencies": dependencies.collect::<Vec<_>>(),
        });
        export::to_js(ctx, &view)
    }

    pub(crate) fn log(&self, args: &Arguments<'_>, text: &str) {
        let line = self.log_lines.get();
        self.log_lines.set(line.saturating_add(1));
        if line >= LOG_LINES_MAX {
            if line == LOG_LINES_MAX {
                self.say(true, "further output of this run is left out".to_owned());
            }
            return;
        }
        let shown: String = text.chars().take(LOG_CHARACTERS_MAX).collect();
        let alert = args.0.first().and_then(JsValue::as_bool) == Some(true);
        self.say(alert, shown);
    }

    fn say(&self, alert: bool, text: String) {
        let line = LogLine { alert, text };
        match self.place {
            Place::Here => line.log(&self.script),
            Place::Child => line.send(),
        }
    }

    pub(crate) fn format_timestamp(&self, ctx: &Ctx<'_>, millis: Option<f64>) -> JsResult<String> {
        let Some(millis) = millis else {
            return Ok(timestamp::NO_TIME.to_owned());
        };
        let moment = timestamp::at_millis(millis, &self.zone);
        let moment = moment.ok_or_else(|| Exception::throw_range(ctx, "not a valid time"))?;
        Ok(timestamp::format_local(&moment))
    }

    pub(crate) fn calendar<'js>(&self, ctx: &Ctx<'js>, millis: f64) -> JsResult<JsValue<'js>> {
        let moment = timestamp::at_millis(millis, &self.zone)
            .ok_or_else(|| Exception::throw_range(ctx, "not a valid time"))?;
        let parts = json!({
            "year": moment.year(), "month": moment.month(), "day": moment.day(),
            "hour": moment.hour(), "minute": moment.minute(), "second": moment.second(),
            "weekday": moment.weekday().to_sunday_zero_offset(),
            "yearDay": moment.day_of_year(),
            "text": moment.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string(),
        });
        export::to_js(ctx, &parts)
    }

    pub(crate) fn resolve<'js>(
        &self,
        ctx: &Ctx<'js>,
        args: &Arguments<'js>,
    ) -> JsResult<JsValue<'js>> {
        let (folder, request) = (args.text(ctx, 0)?, args.text(ctx, 1)?);
        let found = modules::resolve(&self.sources, &folder, &request);
        let found = found.map_err(|problem| Exception::throw_message(ctx, &problem))?;
        let folder = modules::folder_of(&found.path);
        export::to_js(ctx, &json!({"path": found.path, "folder": folder}))
    }

    fn module_text(&self, ctx: &Ctx<'_>, path: &str) -> JsResult<std::sync::Arc<str>> {
        let file = self.sources.get(path);
        let file = file.ok_or_else(|| Exception::throw_message(ctx, "the module is gone"))?;
        Ok(file.text)
    }

    /// Compiles a CommonJS module to its function. The wrapper adds no line, so positions hold.
    pub(crate) fn load_module<'js>(&self, ctx: &Ctx<'js>, path: &str) -> JsResult<JsValue<'js>> {
        let text = self.module_text(ctx, path)?;
        let wrapped = format!("(function (exports, require, module) {{{text}\n}})");
        let mut options = EvalOptions::default();
        options.strict = false;
        options.filename = Some(path.to_owned());
        ctx.eval_with_options(wrapped, options)
    }

    pub(crate) fn parse_module<'js>(&self, ctx: &Ctx<'js>, path: &str) -> JsResult<JsValue<'js>> {
        let text = self.module_text(ctx, path)?;
        let parsed: Value = serde_json::from_str(&text)
            .map_err(|error| Exception::throw_syntax(ctx, &format!("{path}: {error}")))?;
        export::to_js(ctx, &parsed)
    }
}

fn identity<'js>(ctx: &Ctx<'js>, task: &Object<'js>) -> JsResult<Uuid> {
    let uuid = export::text(&task.get("uUID")?)?;
    Uuid::parse_str(&uuid).or_else(|_| {
        let name = export::text(&task.get("name")?)?;
        let message = format!("task {name:?} has no valid uUID");
        Err(Exception::throw_type(ctx, &message))
    })
}

pub(crate) fn saturate(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}
