// SPDX-License-Identifier: GPL-3.0-or-later
//! Scripts in a process of their own: what they do to it is told in words, and nothing is left
//! behind that would harm the next one.
//!
//! The real program runs; limits are set low so that they are met quickly.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Folder, job, script};
use tablao_jobtypes::{ChildProgram, CompiledJob, Error, JobTypes, Options};

fn program() -> ChildProgram {
    ChildProgram {
        program: env!("CARGO_BIN_EXE_tablao-script-program").into(),
        arguments: Vec::new(),
    }
}

fn options(folder: &Folder) -> Options {
    Options {
        child: Some(program()),
        ..folder.options()
    }
}

fn open(folder: &Folder, adjust: impl FnOnce(&mut Options)) -> JobTypes {
    let mut options = options(folder);
    adjust(&mut options);
    let types = JobTypes::open(options).unwrap();
    assert_eq!(types.problems(), [], "the probe itself must load");
    types
}

/// Compiles with a script of this body, then checks that the same handle serves the next job.
fn run(body: &str, adjust: impl FnOnce(&mut Options)) -> Result<CompiledJob, Error> {
    let folder = Folder::new();
    folder.write("probe.js", &script(body));
    folder.write(
        "calm.js",
        &script("job.addTask(author.Task('calm', 'misc'));"),
    );
    let types = open(&folder, adjust);
    let result = types.compile(job("probe", json!({})));
    let next = types.compile(job("calm", json!({}))).unwrap();
    assert_eq!(next.tasks[0].name, "calm");
    result
}

fn little_memory(options: &mut Options) {
    options.memory_bytes_max = 8 << 20;
    options.output_bytes_max = 1 << 20;
}

/// What comes out of the process is what comes out without it, apart from the random ids.
#[test]
fn the_same_job_comes_out() {
    let folder = Folder::new();
    folder.write(
        "probe.js",
        &script(
            "const {twice} = require('./lib/helper');
            job.settings.when = formatTimestampLocal(job.created);
            job.settings.part = 0.1 + 0.2;
            delete job.settings.gone;
            job.metadata.more = 'ünï😀';
            for (let i = 0; i < twice(3); i++) {
                const t = author.Task('t' + i, 'misc');
                t.addCommand(author.Command('blender-render', {args: ['-f', i], nothing: null}, i));
                job.addTask(t);
            }",
        ),
    );
    folder.write("lib/helper.js", "exports.twice = (n) => 2 * n;");
    let settings = || json!({"gone": 1, "kept": {"deep": [1.5, "x"]}});
    let inside = JobTypes::open(folder.options()).unwrap();
    let expected = inside.compile(job("probe", settings())).unwrap();
    let types = open(&folder, |_| {});
    let mut compiled = types.compile(job("probe", settings())).unwrap();
    assert_eq!(compiled.tasks.len(), 6);
    for (task, known) in compiled.tasks.iter_mut().zip(&expected.tasks) {
        assert_ne!(task.uuid, known.uuid);
        task.uuid = known.uuid;
    }
    assert_eq!(compiled, expected);
    assert_eq!(types.list(), inside.list());
}

/// Protects dependencies of tasks that leave the process while the script still runs: a task that
/// waits for one that is added later keeps its place and what it waits for, and what comes after a
/// script that fails in the end is nothing.
#[test]
fn tasks_that_wait_for_later_ones_keep_their_order() {
    let body = "const last = author.Task('last', 'misc');
        for (let i = 0; i < 5; i++) {
            const t = author.Task('t' + i, 'misc');
            if (i === 3) { t.addDependency(last); t.addDependency(last); }
            if (i > 3) t.addDependency(first);
            if (i === 0) var first = t;
            job.addTask(t);
        }
        job.addTask(last);";
    let compiled = run(body, |_| {}).unwrap();
    let told = compiled.tasks.iter();
    let told: Vec<(&str, &[usize])> = told.map(|task| (&*task.name, &*task.depends_on)).collect();
    let expected: [(&str, &[usize]); 6] = [
        ("t0", &[]),
        ("t1", &[]),
        ("t2", &[]),
        ("t3", &[5]),
        ("t4", &[0]),
        ("last", &[]),
    ];
    assert_eq!(told, expected);
    let failing = format!("{body} throw new Error('after all');");
    let error = run(&failing, |_| {}).unwrap_err();
    assert!(matches!(&error, Error::Thrown { .. }), "{error:?}");
}

/// A script that throws is answered as without the process: text, place and missing settings.
#[test]
fn refusals_come_across() {
    let error = run("throw new Error('no ' + 'cheese');", |_| {}).unwrap_err();
    assert!(
        matches!(&error, Error::Thrown { location: Some(at), .. } if at.contains("probe.js:3")),
        "{error:?}"
    );
    let error = run("for (;;) {}", |options| {
        options.compile_time_max = Duration::from_millis(50);
    });
    assert!(matches!(error, Err(Error::TimeLimit { .. })), "{error:?}");
    let folder = Folder::new();
    let types = open(&folder, |_| {});
    let error = types.compile(job("simple-blender-render", json!({})));
    let Err(Error::Thrown { missing, .. }) = error else {
        panic!("{error:?}");
    };
    assert!(missing.contains(&"frames".to_owned()), "{missing:?}");
}

/// Memory that runs out in the engine's own compilers ends the process at worst, with an answer
/// that says so, and the Manager lives.
#[test]
fn memory_runs_out_in_the_engines_compilers() {
    let bombs = [
        "const a = []; let n = 1; for (;;) a.push(new RegExp('(a|b)'.repeat(n++)));",
        "const a = []; let n = 1; for (;;) a.push(new Function('return ' + '1+'.repeat(n++ * 50) + '1'));",
        "let s = 'x'; for (;;) { s += s; new RegExp(s); }",
        "let s = '1'; for (;;) { s += '+' + s; new Function('return ' + s); }",
    ];
    for body in bombs {
        for step in 0..4 {
            let error = run(body, |options| {
                little_memory(options);
                options.memory_bytes_max += step * 77_777;
            });
            let error = error.unwrap_err();
            let is_told = matches!(error, Error::MemoryLimit { .. } | Error::OutOfMemory { .. })
                || error.to_string().contains("too ");
            assert!(is_told, "{body}: {error:?}");
        }
    }
}

/// One native operation that never ends is ended with its process, and so is deep recursion.
#[test]
fn native_loops_and_deep_recursion() {
    let short = |options: &mut Options| options.compile_time_max = Duration::from_millis(200);
    let loops = [
        "const a = []; a.length = 4294967295; a.indexOf(1);",
        "Array.prototype.indexOf.call({length: Number.MAX_SAFE_INTEGER}, 1);",
        "Array.prototype.lastIndexOf.call({length: 2 ** 52}, 1);",
    ];
    for body in loops {
        let error = run(body, short).unwrap_err();
        assert!(
            matches!(error, Error::TimeLimit { .. }),
            "{body}: {error:?}"
        );
    }
    let large = [
        "'x'.padStart(2 ** 29, 'abc').split('').sort();",
        "const a = new Array(30000000).fill(0).map((_, i) => -i); a.sort();",
    ];
    for body in large {
        let error = run(body, short).unwrap_err();
        let is_told = matches!(error, Error::TimeLimit { .. } | Error::MemoryLimit { .. });
        assert!(is_told, "{body}: {error:?}");
    }
    let error = run("(function f() { f(); })();", |_| {}).unwrap_err();
    assert!(matches!(error, Error::StackLimit { .. }), "{error:?}");
}

/// The top level of a script on disk is as harmless as its compilations, also when it is listed.
#[test]
fn hostile_top_levels() {
    let folder = Folder::new();
    folder.write(
        "bomb.js",
        "let s = '1'; for (;;) { s += '+' + s; new Function(s); }",
    );
    folder.write(
        "loop.js",
        "Array.prototype.indexOf.call({length: Number.MAX_SAFE_INTEGER}, 1);",
    );
    folder.write("good.js", &script(""));
    let types = JobTypes::open(Options {
        load_time_max: Duration::from_millis(200),
        ..options(&folder)
    })
    .unwrap();
    assert_eq!(types.list().len(), support::built_in().list().len() + 1);
    let problems = types.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[1].message.contains("time limit of 200ms"),
        "{problems:?}"
    );
}

/// A process that is killed from outside is told as such, and one that aborts as out of memory.
#[cfg(unix)]
#[test]
fn a_process_that_is_killed() {
    let rows = [
        ("KILL", false),
        ("TERM", false),
        ("ABRT", true),
        ("SEGV", true),
    ];
    for (signal, is_memory) in rows {
        let folder = Folder::new();
        folder.write("probe.js", &script(""));
        let mut options = options(&folder);
        options.child = Some(ChildProgram {
            program: "sh".into(),
            arguments: vec!["-c".into(), format!("kill -{signal} $$").into()],
        });
        let inside = JobTypes::open(Options {
            child: None,
            ..options.clone()
        });
        assert_eq!(inside.unwrap().problems(), []);
        let types = JobTypes::open(options).unwrap();
        let message = &types.problems()[0].message;
        assert_eq!(
            message.contains("ran out of memory"),
            is_memory,
            "{message}"
        );
        assert_eq!(
            message.contains("ended from outside"),
            !is_memory,
            "{message}"
        );
        // Job types of the program itself compile in a process too.
        let error = types.compile(job("echo-sleep-test", Value::Object(Default::default())));
        let error = error.unwrap_err();
        assert_eq!(
            matches!(error, Error::OutOfMemory { .. }),
            is_memory,
            "{error:?}"
        );
        assert_eq!(
            matches!(error, Error::Interrupted { .. }),
            !is_memory,
            "{error:?}"
        );
    }
}

/// A program that is not there is the installation's fault and said to be.
#[test]
fn no_program() {
    let folder = Folder::new();
    let types = JobTypes::open(Options {
        child: Some(ChildProgram {
            program: folder.0.path().join("no-such-program"),
            arguments: Vec::new(),
        }),
        ..folder.options()
    })
    .unwrap();
    let error = types.compile(job("echo-sleep-test", json!({"message": "x"})));
    assert!(matches!(error, Err(Error::Isolation { .. })), "{error:?}");
}

/// Large jobs come across whole, with the order and the dependencies of their tasks.
#[test]
fn a_large_job() {
    let body = "const all = []; for (let i = 0; i < 20000; i++) {
            const t = author.Task('task ' + i, 'misc');
            t.addCommand(author.Command('echo', {message: 'number ' + i})); all.push(t); job.addTask(t); }
        const last = author.Task('last', 'misc'); for (const t of all) last.addDependency(t); job.addTask(last);";
    let compiled = run(body, |_| {}).unwrap();
    assert_eq!(compiled.tasks.len(), 20_001);
    let last = &compiled.tasks[20_000];
    assert!(last.depends_on.iter().copied().eq(0..20_000));
    let text = &compiled.tasks[777].commands()[0].parameters["message"];
    assert_eq!(*text, json!("number 777"));
}
