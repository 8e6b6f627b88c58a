// SPDX-License-Identifier: GPL-3.0-or-later
//! One virtual machine with limits, used once, and the translation of its failures.
//!
//! Time is limited by the engine's interrupt hook, which a script can neither see nor catch. It is
//! asked between JavaScript operations: a single built-in operation (sorting a huge array) runs to
//! its end first. Memory is limited inside the engine; its own compiler does not survive every failed
//! allocation, so a script that builds code (`new Function`, `new RegExp`) out of the last free bytes
//! can still end the process. Both is why scripts run in a process of their own (`isolation`). What
//! scripts find inside the machine is `host`'s part.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rquickjs::{CaughtError, Coerced, Context, Ctx, Exception, Runtime, Value};

use crate::{
    compiler::Place,
    error::{EngineError, Error},
    options::Options,
};

/// Name of the environment's own code in stack traces, left out of error locations.
pub(crate) const PRELUDE: &str = "tablao:prelude";

/// Why work inside the machine ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The engine or a script failed; the details are still inside the machine.
    Js(rquickjs::Error),
    /// Already an answer.
    Final(Error),
}

impl From<rquickjs::Error> for Stop {
    fn from(error: rquickjs::Error) -> Self {
        Self::Js(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Tells a running machine to stop, and knows whether its time is up.
#[derive(Debug, Clone)]
pub(crate) struct Brake {
    deadline: Instant,
    time_is_up: Arc<AtomicBool>,
    pulled: Arc<AtomicBool>,
}

impl Brake {
    fn new(time_max: Duration) -> Self {
        Self {
            deadline: Instant::now() + time_max,
            time_is_up: Arc::default(),
            pulled: Arc::default(),
        }
    }

    /// Ends the script at its next operation, whatever it catches.
    pub(crate) fn pull(&self) {
        self.pulled.store(true, Ordering::Relaxed);
    }

    /// Whether the script has to end. Long native loops ask as well.
    pub(crate) fn must_stop(&self) -> bool {
        if Instant::now() >= self.deadline {
            self.time_is_up.store(true, Ordering::Relaxed);
        }
        self.time_is_up.load(Ordering::Relaxed) || self.pulled.load(Ordering::Relaxed)
    }
}

/// Runs `work` in a fresh machine and throws the machine away.
pub(crate) fn run<T>(
    script: &str,
    options: &Options,
    time_max: Duration,
    place: Place,
    work: impl FnOnce(&Ctx<'_>, &Brake) -> Result<T, Stop>,
) -> Result<T, Error> {
    let engine = |source| Error::Engine {
        script: script.to_owned(),
        source: EngineError(rquickjs::Error::to_string(&source)),
    };
    let runtime = Runtime::new().map_err(engine)?;
    runtime.set_memory_limit(options.memory_bytes_max);
    runtime.set_max_stack_size(options.stack_bytes_max);
    // No cycle collection: reference counts free nearly everything a short run leaves behind, and
    // this engine version crashes when a collection starts while an allocation is failing.
    runtime.set_gc_threshold(usize::MAX);
    let brake = Brake::new(time_max);
    let handler = brake.clone();
    runtime.set_interrupt_handler(Some(Box::new(move || handler.must_stop())));
    let context = Context::full(&runtime).map_err(engine)?;
    let result = context.with(|ctx| {
        let result = work(&ctx, &brake).map_err(|stop| match stop {
            Stop::Final(error) => error,
            Stop::Js(error) => translate(script, options, CaughtError::from_error(&ctx, error)),
        });
        // Asked last: showing what was thrown may have run more of the script.
        if brake.time_is_up.load(Ordering::Relaxed) {
            return Err(Error::TimeLimit {
                script: script.to_owned(),
                limit: time_max,
            });
        }
        result
    });
    if place == Place::Child {
        // The process ends next and its memory with it; taking a large machine apart first would
        // take as long as a tenth of the run.
        std::mem::forget((context, runtime));
    }
    result
}

fn translate(script: &str, options: &Options, caught: CaughtError<'_>) -> Error {
    let memory_limit = || Error::MemoryLimit {
        script: script.to_owned(),
        limit_bytes: options.memory_bytes_max,
    };
    let (message, location) = match caught {
        CaughtError::Error(rquickjs::Error::Allocation) => return memory_limit(),
        CaughtError::Error(source) => {
            return Error::Engine {
                script: script.to_owned(),
                source: EngineError(source.to_string()),
            };
        }
        CaughtError::Value(value) if value.is_uninitialized_or_null() => return memory_limit(),
        CaughtError::Value(value) => (describe(&value), None),
        CaughtError::Exception(exception) => {
            let message = exception.message().unwrap_or_default();
            let location = location(&exception);
            // With no memory left, not even the message of the engine's own error fits.
            let text = describe(exception.as_object().as_value());
            if message == "out of memory" || text == "InternalError" {
                return memory_limit();
            }
            if message == "Maximum call stack size exceeded" {
                return Error::StackLimit {
                    script: script.to_owned(),
                    limit_bytes: options.stack_bytes_max,
                    location,
                };
            }
            (text, location)
        }
    };
    Error::Thrown {
        script: script.to_owned(),
        message,
        location,
        missing: Vec::new(),
    }
}

/// The engine has no memory left to make an exception of its own, then it throws null.
trait NoException {
    fn is_uninitialized_or_null(&self) -> bool;
}

impl NoException for Value<'_> {
    fn is_uninitialized_or_null(&self) -> bool {
        self.is_null() || self.type_of() == rquickjs::Type::Uninitialized
    }
}

/// The text of whatever was thrown. Objects without a text of their own are shown as JSON.
fn describe(value: &Value<'_>) -> String {
    let text = value.get::<Coerced<String>>().map(|coerced| coerced.0);
    match text {
        Ok(text) if text != "[object Object]" => text,
        Ok(text) => match value.ctx().json_stringify(value.clone()) {
            Ok(Some(json)) => json.to_string().unwrap_or(text),
            Ok(None) | Err(_) => text,
        },
        Err(_) => {
            // Converting it threw again; take that away so that the machine ends in order.
            value.ctx().catch();
            format!("a {} that cannot be shown", value.type_name())
        }
    }
}

/// The innermost frame that is in a script file: `compileJob (file.js:3:11)`.
fn location(exception: &Exception<'_>) -> Option<String> {
    let stack = exception.stack()?;
    let frames = stack.lines().map(str::trim);
    let mut in_scripts = frames
        .filter_map(|line| line.strip_prefix("at "))
        .filter(|frame| !frame.contains("(native)") && !frame.contains(PRELUDE));
    in_scripts.next().map(str::to_owned)
}
