// SPDX-License-Identifier: GPL-3.0-or-later
//! Puts the script environment into a virtual machine: native functions below, the prelude on top.
//!
//! One line per function: its name, how its arguments are read, what answers it. The shapes scripts
//! see are in `prelude.js`, what the functions do is in `host` and in the pure modules.

use std::rc::Rc;

use rquickjs::{
    Ctx, Exception, Function, IntoJs, Object, Result as JsResult, Value as JsValue,
    context::EvalOptions, function::Rest,
};

use crate::{
    export,
    host::{Arguments, Host, saturate},
    paths,
    sandbox::PRELUDE,
    shell_split::shell_split,
};

/// The two functions that the prelude hands to the compiler.
pub(crate) struct Environment<'js> {
    /// `JOB_TYPE` without unknown keys.
    pub(crate) declaration: Function<'js>,
    /// Makes the `job` object from its fields.
    pub(crate) make_job: Function<'js>,
}

/// Sets the environment up: native functions first, then the prelude on top of them.
pub(crate) fn install<'js>(ctx: &Ctx<'js>, host: &Rc<Host>) -> JsResult<Environment<'js>> {
    let natives = Object::new(ctx.clone())?;
    define_tasks(ctx, &natives, host)?;
    define_helpers(ctx, &natives, host)?;
    define_paths(ctx, &natives, host)?;
    define_modules(ctx, &natives, host)?;
    let mut options = EvalOptions::default();
    options.filename = Some(PRELUDE.to_owned());
    let prelude: Function<'js> = ctx.eval_with_options(include_str!("prelude.js"), options)?;
    let made: Object<'js> = prelude.call((natives,))?;
    Ok(Environment {
        declaration: made.get("declaration")?,
        make_job: made.get("makeJob")?,
    })
}

fn define<'js, F, R>(
    ctx: &Ctx<'js>,
    natives: &Object<'js>,
    host: &Rc<Host>,
    name: &str,
    body: F,
) -> JsResult<()>
where
    F: Fn(&Ctx<'js>, &Host, &Arguments<'js>) -> JsResult<R> + 'js,
    R: IntoJs<'js> + 'js,
{
    let host = Rc::clone(host);
    let function = Function::new(
        ctx.clone(),
        move |ctx: Ctx<'js>, args: Rest<JsValue<'js>>| body(&ctx, &host, &Arguments(args.0)),
    )?;
    natives.set(name, function.with_name(name)?)
}

fn define_tasks<'js>(ctx: &Ctx<'js>, natives: &Object<'js>, host: &Rc<Host>) -> JsResult<()> {
    define(ctx, natives, host, "newUUID", |ctx, _, _| {
        // Not `Uuid::new_v4()`, which asks the operating system each time.
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        rquickjs::String::from_str(ctx.clone(), id.hyphenated().encode_lower(&mut text))
    })?;
    define(ctx, natives, host, "integer", |ctx, _, args| {
        // Counts fit a JavaScript number exactly, larger ones are cut at their use anyway.
        Ok(saturate(args.integer(ctx, 0)?))
    })?;
    define(ctx, natives, host, "parametersText", |ctx, host, args| {
        host.parameters_text(ctx, args)
    })?;
    define(ctx, natives, host, "parseText", |ctx, _, args| {
        ctx.json_parse(args.text(ctx, 0)?)
    })?;
    define(ctx, natives, host, "addTask", |ctx, host, args| {
        host.add_task(ctx, args)
    })?;
    define(ctx, natives, host, "taskAt", |ctx, host, args| {
        host.task_at(ctx, args)
    })?;
    define(ctx, natives, host, "taskCount", |_, host, _| {
        Ok(host.task_count())
    })
}

fn define_helpers<'js>(ctx: &Ctx<'js>, natives: &Object<'js>, host: &Rc<Host>) -> JsResult<()> {
    define(ctx, natives, host, "frameChunker", |ctx, host, args| {
        host.frame_chunks(ctx, args)
    })?;
    define(ctx, natives, host, "frameCount", |ctx, host, args| {
        Ok(host.frames(ctx, &args.text(ctx, 0)?)?.count())
    })?;
    define(ctx, natives, host, "shellSplit", |ctx, _, args| {
        let words = shell_split(&args.text(ctx, 0)?);
        words.map_err(|error| Exception::throw_message(ctx, &error.to_string()))
    })?;
    define(ctx, natives, host, "log", |ctx, host, args| {
        host.log(args, &args.text(ctx, 1)?);
        Ok(())
    })?;
    define(ctx, natives, host, "formatTimestamp", |ctx, host, args| {
        let millis = args.value(ctx, 0);
        host.format_timestamp(ctx, millis.as_number())
    })?;
    define(ctx, natives, host, "calendar", |ctx, host, args| {
        host.calendar(ctx, args.value(ctx, 0).get()?)
    })
}

fn define_paths<'js>(ctx: &Ctx<'js>, natives: &Object<'js>, host: &Rc<Host>) -> JsResult<()> {
    define(ctx, natives, host, "basename", |ctx, _, args| {
        Ok(paths::basename(&args.text(ctx, 0)?))
    })?;
    define(ctx, natives, host, "dirname", |ctx, _, args| {
        Ok(paths::dirname(&args.text(ctx, 0)?))
    })?;
    define(ctx, natives, host, "stem", |ctx, _, args| {
        Ok(paths::stem(&args.text(ctx, 0)?))
    })?;
    define(ctx, natives, host, "join", |_, _, args| {
        let elements: JsResult<Vec<String>> = args.0.iter().map(export::text).collect();
        Ok(paths::join(&elements?))
    })?;
    define(ctx, natives, host, "cwd", |ctx, _, _| {
        let folder = std::env::current_dir();
        let folder = folder.map_err(|error| Exception::throw_message(ctx, &error.to_string()))?;
        Ok(folder.to_string_lossy().into_owned())
    })?;
    // Scripts compare with the names that the Go language uses.
    let platform = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    natives.set("platform", platform)
}

fn define_modules<'js>(ctx: &Ctx<'js>, natives: &Object<'js>, host: &Rc<Host>) -> JsResult<()> {
    define(ctx, natives, host, "resolve", |ctx, host, args| {
        host.resolve(ctx, args)
    })?;
    define(ctx, natives, host, "loadModule", |ctx, host, args| {
        host.load_module(ctx, &args.text(ctx, 0)?)
    })?;
    define(ctx, natives, host, "parseModule", |ctx, host, args| {
        host.parse_module(ctx, &args.text(ctx, 0)?)
    })
}
