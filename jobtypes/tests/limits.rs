// SPDX-License-Identifier: GPL-3.0-or-later
//! No script takes the Manager down: every limit ends the run with an error that names it.
//!
//! Limits are set low so that they are met quickly. No test here measures time: that a run ends at
//! all, with the right error, is what is checked.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Folder, compile_body_with, job, script};
use tablao_jobtypes::{Error, JobTypes, Options};

fn run(body: &str, adjust: impl FnOnce(&mut Options)) -> Error {
    compile_body_with(body, json!({}), adjust).unwrap_err()
}

fn short(options: &mut Options) {
    options.compile_time_max = Duration::from_millis(50);
}

/// An endless loop ends, also when the script catches everything, in a module or in a promise.
#[test]
fn endless_loops() {
    let loops = [
        "for (;;) {}",
        "for (;;) { try { for (;;) {} } catch {} }",
        "try { for (;;) {} } finally { for (;;) {} }",
        "const spin = () => Promise.resolve().then(spin); spin();",
        "/(a+)+$/.test('a'.repeat(60) + 'b');",
        "throw { toString() { for (;;) {} } };",
        "job.settings.x = { toJSON() { for (;;) {} } };",
        "job.settings.x = new Proxy({}, { ownKeys() { for (;;) {} } });",
        "for (;;) frameChunker('1-20000', 1);",
        "for (;;) job.addTask(author.Task('t', 'misc'));",
    ];
    for body in loops {
        let error = run(body, short);
        assert!(
            matches!(error, Error::TimeLimit { .. }),
            "{body}: {error:?}"
        );
        assert_eq!(
            error.to_string(),
            "script probe.js was stopped after its time limit of 50ms"
        );
    }
}

/// An endless top level neither hangs the start nor hides the other job types.
#[test]
fn endless_top_level() {
    let folder = Folder::new();
    folder.write("endless.js", "for (;;) {}");
    folder.write("good.js", &script(""));
    let mut options = folder.options();
    options.load_time_max = Duration::from_millis(50);
    let types = JobTypes::open(options).unwrap();
    assert_eq!(types.list().len(), support::built_in().list().len() + 1);
    assert!(types.problems()[0].message.contains("time limit of 50ms"));
}

/// A script that eats memory ends with the memory limit, whatever it eats it with.
#[test]
fn memory_bombs() {
    let bombs = [
        "const a = []; for (;;) a.push('x'.repeat(100000) + a.length);",
        "const a = []; for (;;) a.push(new Array(1000).fill({}));",
        "let s = 'x'; for (;;) s += s + s;",
        "new ArrayBuffer(1e9);",
        "const a = {}; for (let i = 0; ; i++) a['k' + i] = i;",
        "frameChunker('1-9000000', 1);",
    ];
    for body in bombs {
        let error = run(body, |options| options.memory_bytes_max = 16 * 1024 * 1024);
        assert!(
            matches!(error, Error::MemoryLimit { .. }),
            "{body}: {error:?}"
        );
        assert_eq!(
            error.to_string(),
            "script probe.js was stopped at its memory limit of 16 MiB"
        );
    }
}

/// Wherever in the engine the last byte is missing, the run ends with an answer and not with a crash.
#[test]
fn memory_runs_out_anywhere() {
    let bombs = [
        "const a = {}; for (let i = 0; ; i++) a['k' + i] = i;",
        "const a = []; for (let i = 0; ; i++) a.push({i, j: {k: [i]}});",
        "const a = new Map(); for (let i = 0; ; i++) a.set(i, {});",
        "const a = []; for (let i = 0; ; i++) a.push(function () { return a; });",
        "const a = []; for (let i = 0; ; i++) a.push(author.Command('t' + i, {a: [i, {b: 'text'}]}));",
        "const a = []; for (let i = 0; ; i++) { try { null.x; } catch (e) { a.push(e); } }",
        "let a = []; for (;;) a = [a, a.slice(), new Uint8Array(1000)];",
    ];
    for body in bombs {
        for step in 0..6 {
            let limit = 4_000_000 + step * 333_337;
            let error = run(body, |options| options.memory_bytes_max = limit);
            assert!(
                matches!(error, Error::MemoryLimit { .. }),
                "{body} {limit}: {error:?}"
            );
        }
    }
}

/// Deep recursion is an error with its place, not a crash, also through native functions.
#[test]
fn deep_recursion() {
    let recursions = [
        "(function f() { f(); })();",
        "const f = () => [1].map(f); f();",
        "const o = { toJSON() { return author.Command('c', { o }); } }; author.Command('c', { o });",
        "const o = { toString() { return path.basename(o); } }; path.basename(o);",
        "JSON.parse('['.repeat(1000000));",
    ];
    for body in recursions {
        let error = run(body, |_| {});
        assert!(
            matches!(&error, Error::StackLimit { location: Some(at), .. } if at.contains("probe.js"))
                || (body.contains("parse")
                    && matches!(error, Error::StackLimit { .. } | Error::Thrown { .. })),
            "{body}: {error:?}"
        );
    }
}

/// A job may not have more tasks than allowed, even if the script ignores the exception.
#[test]
fn too_many_tasks() {
    let add = "job.addTask(author.Task('t' + i, 'misc'));";
    let limited = |options: &mut Options| options.tasks_max = 10;
    let caught = format!("for (let i = 0; i < 11; i++) {{ try {{ {add} }} catch {{}} }}");
    for body in [format!("for (let i = 0; i < 11; i++) {add}"), caught] {
        let error = run(&body, limited);
        assert!(
            matches!(error, Error::TooManyTasks { limit: 10, .. }),
            "{error:?}"
        );
    }
    let fits = format!("for (let i = 0; i < 10; i++) {add}");
    assert_eq!(
        compile_body_with(&fits, json!({}), limited)
            .unwrap()
            .tasks
            .len(),
        10
    );
}

/// What a script makes the Manager keep is bounded, also when it costs the machine itself nothing.
#[test]
fn too_much_output() {
    let small = |options: &mut Options| options.output_bytes_max = 1024 * 1024;
    let bodies = [
        "const text = 'x'.repeat(200000); for (let i = 0; i < 10; i++) {
            const t = author.Task('t', 'm'); t.addCommand(author.Command('c', {text})); job.addTask(t); }",
        "job.settings.list = []; job.settings.list.length = 4294967295;",
        "const a = []; for (let i = 0; i < 300; i++) { const t = author.Task('t', 'm');
            for (const b of a) t.addDependency(b); a.push(t); job.addTask(t); }",
    ];
    for body in bodies {
        let error = run(body, small);
        assert!(
            matches!(error, Error::OutputLimit { .. }),
            "{body}: {error:?}"
        );
    }
}

/// An absurd frame range is refused before anything is allocated for it; the limit can be set.
#[test]
fn absurd_frame_ranges() {
    let text = run("frameChunker('1-100000000', 1);", |_| {}).to_string();
    assert!(
        text.contains("has 100000000 frames, the limit is 10000000"),
        "{text}"
    );
    assert!(
        run("frameCount('1-11');", |options| options.frames_max = 10)
            .to_string()
            .contains("11 frames")
    );
    let huge = "job.settings.n = frameChunker('1-9000000', 3000000);";
    let compiled = compile_body_with(huge, json!({}), |_| {}).unwrap();
    assert_eq!(compiled.settings["n"][2], "6000001-9000000");
}

/// A script that met a limit leaves the handle in order: the next job compiles.
#[test]
fn the_next_job_is_unharmed() {
    let folder = Folder::new();
    folder.write(
        "bomb.js",
        &script("const a = []; for (;;) a.push('x'.repeat(1000000) + a.length);"),
    );
    let types = folder.open();
    assert!(types.compile(job("bomb", json!({}))).is_err());
    let echo = types.compile(job("echo-sleep-test", json!({"message": "still here"})));
    assert_eq!(echo.unwrap().tasks.len(), 1);
}
