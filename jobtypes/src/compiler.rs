// SPDX-License-Identifier: GPL-3.0-or-later
//! Running one script: reading its declaration, or compiling one job with it.
//!
//! Every call gets a fresh virtual machine, executes the top level of the script, and throws the
//! machine away, so no job can influence another. Which script that is, is for `job_types` to say.

use std::{collections::BTreeMap, rc::Rc};

use rquickjs::{
    Ctx, Function, Object, Promise, Value as JsValue, context::EvalOptions, promise::PromiseState,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    declaration,
    environment::{self, Environment},
    error::Error,
    export, graph,
    host::{self, Dependency, Early, Host, TaskDraft},
    job::{CompiledJob, CompiledTask, SubmittedJob},
    job_type::AvailableJobType,
    options::Options,
    sandbox::{self, Brake, Stop},
    sources::{SourceFile, Sources},
};

/// Which process a script runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one that wants the result.
    Here,
    /// One that was started for this run alone.
    Child,
}

/// What a script left behind in its job object.
struct JobFields {
    name: String,
    priority: i32,
    settings: Map<String, Value>,
    metadata: BTreeMap<String, String>,
    worker_tag: Option<String>,
    shaman_checkout_id: Option<String>,
}

/// Executes the top level of a script and reads what job type it declares.
pub(crate) fn declare(
    script: &SourceFile,
    sources: &Sources,
    options: &Options,
    place: Place,
) -> Result<AvailableJobType, Error> {
    let time_max = options.load_time_max;
    sandbox::run(&script.path, options, time_max, place, |ctx, brake| {
        let (environment, _) = start(ctx, script, sources, options, brake, place, None)?;
        let compile: JsValue<'_> = global(ctx, "compileJob")?;
        if !compile.is_function() {
            return Err(invalid(script, "it defines no function compileJob(job)").into());
        }
        let declared = global(ctx, "JOB_TYPE")?;
        if declared.is_undefined() {
            return Err(invalid(script, "it defines no JOB_TYPE").into());
        }
        let known: JsValue<'_> = environment.declaration.call((declared,))?;
        let budget = std::cell::Cell::new(options.output_bytes_max);
        let declared = export::value(&known, "JOB_TYPE", &budget);
        let declared = declared.map_err(|error| match error {
            export::ExportError::Js(error) => Stop::Js(error),
            export::ExportError::Refused { place, problem } => {
                invalid(script, &format!("{place} {problem}")).into()
            }
            export::ExportError::Budget => invalid(script, "JOB_TYPE is too large").into(),
        })?;
        declaration::read(&script.type_name(), declared)
            .map_err(|problem| invalid(script, &problem).into())
    })
}

/// Compiles a job with a script. `early` is shown tasks while the script runs: the first ones, in
/// order, up to one that waits for a task that is not added yet.
pub(crate) fn compile(
    script: &SourceFile,
    sources: &Sources,
    options: &Options,
    job: SubmittedJob,
    place: Place,
    early: Option<Early>,
) -> Result<CompiledJob, Error> {
    let time_max = options.compile_time_max;
    let (fields, drafts, places) =
        sandbox::run(&script.path, options, time_max, place, |ctx, brake| {
            let (environment, host) = start(ctx, script, sources, options, brake, place, early)?;
            let fields = run_compile_job(ctx, &environment, &host, &job, brake);
            // A limit that was met comes before whatever the script made of it.
            if let Some(fatal) = host.take_fatal() {
                return Err(fatal.into());
            }
            let fields = fields?;
            let (drafts, places) = host.take_tasks();
            Ok((fields, drafts, places))
        })?;
    let mut tasks = Vec::with_capacity(drafts.len());
    for draft in drafts {
        tasks.push(finish_task(draft, &places)?);
    }
    graph::refuse_cycles(&tasks)?;
    Ok(CompiledJob {
        id: job.id,
        name: fields.name,
        job_type: job.job_type,
        priority: fields.priority,
        settings: fields.settings,
        metadata: fields.metadata,
        worker_tag: fields.worker_tag,
        shaman_checkout_id: fields.shaman_checkout_id,
        script_hash: blake3::hash(script.text.as_bytes()).to_hex().to_string(),
        tasks,
    })
}

/// Sets the environment up and executes the top level of the script.
fn start<'js>(
    ctx: &Ctx<'js>,
    script: &SourceFile,
    sources: &Sources,
    options: &Options,
    brake: &Brake,
    place: Place,
    early: Option<Early>,
) -> Result<(Environment<'js>, Rc<Host>), Stop> {
    let sources = Rc::new(sources.clone());
    let host = Rc::new(Host::new(
        &script.path,
        sources,
        options,
        brake.clone(),
        place,
        early,
    ));
    let environment = environment::install(ctx, &host)?;
    let mut evaluation = EvalOptions::default();
    evaluation.filename = Some(script.path.clone());
    let _: JsValue<'js> = ctx.eval_with_options(script.text.as_bytes(), evaluation)?;
    Ok((environment, host))
}

/// Reads a global by name. By evaluation, because `let` and `const` are no properties of the global object.
fn global<'js>(ctx: &Ctx<'js>, name: &str) -> rquickjs::Result<JsValue<'js>> {
    ctx.eval(format!(
        "typeof {name} === 'undefined' ? undefined : {name}"
    ))
}

fn invalid(script: &SourceFile, problem: &str) -> Error {
    Error::InvalidJobType {
        script: script.path.clone(),
        problem: problem.to_owned(),
    }
}

fn run_compile_job<'js>(
    ctx: &Ctx<'js>,
    environment: &Environment<'js>,
    host: &Host,
    job: &SubmittedJob,
    brake: &Brake,
) -> Result<JobFields, Stop> {
    let compile: Function<'js> = global(ctx, "compileJob")?.get()?;
    let fields = json!({
        "jobID": job.id,
        "name": job.name,
        "jobType": job.job_type,
        "priority": job.priority,
        "status": "under-construction",
        "created": job.created.as_millisecond(),
        "settings": job.settings,
        "metadata": job.metadata,
        "storage": {"shamanCheckoutID": job.shaman_checkout_id.as_deref().unwrap_or_default()},
        "workerTagUUID": job.worker_tag.as_deref().unwrap_or_default(),
    });
    let job_object: Object<'js> = environment.make_job.call((export::to_js(ctx, &fields)?,))?;
    let returned: JsValue<'js> = compile.call((job_object.clone(),))?;
    finish_promises(ctx, returned, brake)?;
    Ok(read_fields(ctx, host, &job_object)?)
}

/// Lets an `async` script come to its end; what it rejects with counts as thrown.
fn finish_promises<'js>(
    ctx: &Ctx<'js>,
    returned: JsValue<'js>,
    brake: &Brake,
) -> rquickjs::Result<()> {
    while !brake.must_stop() && ctx.execute_pending_job() {}
    let Some(promise) = returned.into_promise() else {
        return Ok(());
    };
    match Promise::state(&promise) {
        PromiseState::Rejected => promise.result::<()>().unwrap_or(Ok(())),
        PromiseState::Resolved => Ok(()),
        PromiseState::Pending => Err(rquickjs::Exception::throw_message(
            ctx,
            "compileJob() waits for something that never happens",
        )),
    }
}

fn read_fields<'js>(ctx: &Ctx<'js>, host: &Host, job: &Object<'js>) -> rquickjs::Result<JobFields> {
    let storage: JsValue<'js> = job.get("storage")?;
    let checkout = match storage.as_object() {
        Some(storage) => export::text(&storage.get("shamanCheckoutID")?)?,
        None => String::new(),
    };
    let metadata: JsValue<'js> = job.get("metadata")?;
    let mut texts = BTreeMap::new();
    if let Some(metadata) = metadata.as_object() {
        for entry in metadata.props::<rquickjs::String<'js>, JsValue<'js>>() {
            let (key, value) = entry?;
            texts.insert(key.to_string()?, export::text(&value)?);
        }
    }
    Ok(JobFields {
        name: export::text(&job.get("name")?)?,
        priority: host::saturate(export::integer(&job.get("priority")?)?),
        settings: host.export_object(ctx, job.get("settings")?, "job.settings")?,
        metadata: texts,
        worker_tag: Some(export::text(&job.get("workerTagUUID")?)?).filter(|tag| !tag.is_empty()),
        shaman_checkout_id: Some(checkout).filter(|id| !id.is_empty()),
    })
}

fn finish_task(
    draft: TaskDraft,
    places: &std::collections::HashMap<Uuid, usize>,
) -> Result<CompiledTask, Error> {
    let mut depends_on = Vec::with_capacity(draft.dependencies.len());
    for dependency in draft.dependencies {
        depends_on.push(match dependency {
            Dependency::Added(place) => place,
            Dependency::Later(uuid, name) => match places.get(&uuid) {
                Some(place) => *place,
                None => {
                    return Err(Error::UnknownDependency {
                        task: draft.name,
                        dependency: name,
                    });
                }
            },
        });
    }
    once_each(&mut depends_on);
    Ok(CompiledTask {
        uuid: draft.uuid,
        name: draft.name,
        task_type: draft.task_type,
        priority: draft.priority,
        depends_on,
        frames: draft.frames,
        commands_json: draft.commands_json,
        steps_total: draft.steps_total,
    })
}

/// The script's order is kept; a dependency that was added twice is one.
pub(crate) fn once_each(places: &mut Vec<usize>) {
    if places.is_sorted_by(|one, next| one < next) {
        return;
    }
    let mut known = std::collections::HashSet::with_capacity(places.len());
    places.retain(|place| known.insert(*place));
}
