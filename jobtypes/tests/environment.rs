// SPDX-License-Identifier: GPL-3.0-or-later
//! The script environment: globals, coercion, the job object, what is copied when, what is refused.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Folder, compile_body, compile_body_with, failure, job, probe, script};
use tablao_jobtypes::Error;

/// Missing and undefined arguments are zero values and never the text "undefined"; scripts rely on it.
#[test]
fn coercion_of_arguments() {
    let found = probe(
        "job.settings.result = [
            path.basename(undefined), path.basename(), path.basename(null), path.dirname(),
            path.stem(), path.join(), path.join(undefined, 'a', null, 7), path.basename(12.5),
            shellSplit(undefined), shellSplit(), shellSplit(null), shellSplit(3),
            frameChunker('1-4', 2.9, 'extra'), frameChunker(7, '1'), frameCount('1-3'),
            formatTimestampLocal(), author.Command('c').parameters,
        ];",
    );
    assert_eq!(
        found,
        json!([
            ".",
            ".",
            ".",
            ".",
            "",
            "",
            "a/7",
            "12.5",
            [],
            [],
            [],
            ["3"],
            ["1,2", "3,4"],
            ["7"],
            3,
            "0001-01-01_000000",
            {}
        ])
    );
    for call in [
        "frameChunker('1-4')",
        "frameChunker('1-4', undefined)",
        "frameCount('')",
        "frameCount()",
    ] {
        assert!(failure(call).starts_with("Error: "), "{call}");
    }
    assert!(failure("frameChunker('1-4', 0)").contains("chunk size must be positive"));
    assert!(failure("shellSplit(\"it's\")").contains("closing quote"));
}

/// Errors of native functions are ordinary exceptions.
#[test]
fn native_errors_can_be_caught() {
    let found = probe(
        "try { frameChunker(' 1 10', 4); } catch (error) {
            job.settings.result = [error instanceof Error, error.message.includes('1 10')];
        }",
    );
    assert_eq!(found, json!([true, true]));
}

/// The same functions are reachable as globals and as modules, and there is nothing of Node.
#[test]
fn globals() {
    let found = probe(
        "job.settings.result = [
            require('path') === path, require('author') === author, require('process') === process,
            process.cwd().length > 0, process.platform,
            typeof console, typeof setTimeout, typeof Deno, typeof module,
            print('to the log', 1, {}), alert('as a warning'),
            Object.keys(path).sort().join(), 'a-b-a'.replaceAll('a', 'c'),
        ];",
    );
    let platform = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    assert_eq!(
        found,
        json!([
            true,
            true,
            true,
            true,
            platform,
            "undefined",
            "undefined",
            "undefined",
            "undefined",
            null,
            null,
            "basename,dirname,join,stem",
            "c-b-c"
        ])
    );
}

/// `formatTimestampLocal` takes the job's time, dates and date texts, and refuses nonsense.
#[test]
fn timestamps() {
    let found = probe(
        "const c = job.created;
        job.settings.result = [
            formatTimestampLocal(c), formatTimestampLocal(new Date(1136214245000)),
            formatTimestampLocal('2006-01-02T15:04:05Z'), String(c), c.unix(),
            [c.year(), c.month(), c.day(), c.hour(), c.minute(), c.second()].join(),
        ];",
    );
    let text = "2006-01-02_150405";
    assert_eq!(
        found,
        json!([
            text,
            text,
            text,
            "2006-01-02T15:04:05+00:00",
            1_136_214_245,
            "2006,1,2,15,4,5"
        ])
    );
    assert!(failure("formatTimestampLocal('nonsense')").contains("not a valid time"));
}

/// `JOB_TYPE` and `compileJob` are found however they are declared, and the script runs in strict mode.
#[test]
fn declarations() {
    let folder = Folder::new();
    let body = "const t = author.Task('t', 'misc'); job.addTask(t);";
    for (name, keyword) in [("a", "const"), ("b", "let"), ("c", "var")] {
        let text = format!(
            "{keyword} JOB_TYPE = {{label: 'L', settings: []}};\n{keyword} compileJob = (job) => {{ {body} }};"
        );
        folder.write(&format!("{name}.js"), &text);
    }
    folder.write("sloppy.js", &format!("undeclared = 1;\n{}", script(body)));
    folder.write(
        "shadow.js",
        &format!("const path = require('path');\n{}", script(body)),
    );
    let types = folder.open();
    for name in ["a", "b", "c", "shadow"] {
        assert_eq!(
            types.compile(job(name, json!({}))).unwrap().tasks.len(),
            1,
            "{name}"
        );
    }
    let problems = types.problems();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].script, "sloppy.js");
    assert!(
        problems[0].message.contains("sloppy.js:1"),
        "{}",
        problems[0].message
    );
}

/// The job object carries the submission; what the script writes to it is kept with the job.
#[test]
fn job_object_is_live() {
    let folder = Folder::new();
    folder.write(
        "probe.js",
        &script(
            "job.settings.seen = [job.jobID, job.jobType, job.status, job.workerTagUUID,
                job.storage.shamanCheckoutID, job.settings.nothing === undefined, job.tasks.length];
            delete job.settings.gone;
            job.settings.added = 24.0;
            job.metadata.more = 5;
            job.name = 'renamed';
            job.priority = 80.7;
            job.status = 'completed';",
        ),
    );
    let mut submitted = job("probe", json!({"gone": 1, "kept": "x"}));
    submitted.shaman_checkout_id = Some("checkout".into());
    let compiled = folder.open().compile(submitted).unwrap();
    assert_eq!(
        Value::Object(compiled.settings),
        json!({
            "kept": "x", "added": 24,
            "seen": ["00000000-0000-0000-0000-000000000007", "probe", "under-construction",
                "e0e05417-9773-46f5-b1d0-850945f9d417", "checkout", true, 0],
        })
    );
    assert_eq!(compiled.metadata["more"], "5");
    assert_eq!(compiled.metadata["project"], "Špröite");
    assert_eq!((compiled.name.as_str(), compiled.priority), ("renamed", 80));
    assert_eq!(compiled.shaman_checkout_id.as_deref(), Some("checkout"));
}

/// `addTask` and `addCommand` take copies; references between tasks stay good all the same.
#[test]
fn copies() {
    let compiled = compile_body(
        "const first = author.Task(' first ', ' misc ');
        const params = {n: 1};
        const command = author.Command('echo', params, '3');
        params.n = 2;
        first.addCommand(command);
        command.name = 'renamed later';
        first.priority = 70;
        job.addTask(first);
        first.addCommand(author.Command('lost', {}));
        first.priority = 1;
        const second = author.Task('second', 'misc');
        second.addDependency(first);
        second.addDependency(first);
        job.addTask(second);
        second.addDependency(second);
        job.settings.result = [job.tasks.length, job.tasks[0].name, job.tasks[1].dependencies[0].name,
            first.uUID.length, job.tasks[0].commands.length];",
    )
    .unwrap();
    let first = &compiled.tasks[0];
    assert_eq!(
        (
            first.name.as_str(),
            first.task_type.as_str(),
            first.priority
        ),
        ("first", "misc", 70)
    );
    assert_eq!(first.commands.len(), 1);
    assert_eq!(first.commands[0].name, "echo");
    assert_eq!(first.commands[0].parameters["n"], 1);
    assert_eq!(first.commands[0].total_step_count, 3);
    assert_eq!(compiled.tasks[1].depends_on, [0]);
    assert_eq!(
        compiled.settings["result"],
        json!([2, "first", "first", 36, 1])
    );
}

/// Values arrive as a Worker needs them: whole numbers whole, mixed lists, dates as text.
#[test]
fn parameters_are_exported() {
    let compiled = compile_body(
        "const t = author.Task('t', 'misc');
        t.addCommand(author.Command('c', {whole: 24.0, part: 0.5, list: ['-r', 24, null, undefined],
            missing: undefined, deep: {a: [{b: true}]}, when: new Date(0), set: new Set([1, 'x']),
            'ключ': 'ünï😀', big: 2 ** 53 - 1, huge: 1e300}));
        job.addTask(t);",
    )
    .unwrap();
    let parameters = &compiled.tasks[0].commands[0].parameters;
    assert_eq!(
        Value::Object(parameters.clone()),
        json!({"whole": 24, "part": 0.5, "list": ["-r", 24, null, null], "missing": null,
            "deep": {"a": [{"b": true}]}, "when": "1970-01-01T00:00:00.000Z", "set": [1, "x"],
            "ключ": "ünï😀", "big": 9_007_199_254_740_991_i64, "huge": 1e300})
    );
    assert!(parameters["whole"].is_i64());
    let keys: Vec<&String> = parameters.keys().take(3).collect();
    assert_eq!(
        keys,
        ["whole", "part", "list"],
        "the order of keys is the script's"
    );
}

/// Values that JSON cannot hold are refused where they appear, with the place.
#[test]
fn parameters_that_are_refused() {
    let rows = [
        ("{a: {b: [1, NaN]}}", "value.a.b[1] is NaN"),
        ("{a: -1 / 0}", "value.a is -Infinity"),
        ("{a: () => 1}", "value.a is a function"),
        ("{a: Symbol('x')}", "value.a is a symbol"),
        ("{a: 10n}", "value.a is a big"),
        ("'text'", "must be an object, not string"),
        ("[1]", "must be an object, not array"),
        (
            "(() => { const o = {}; o.o = o; return o; })()",
            "contains itself",
        ),
    ];
    for (value, expected) in rows {
        let text = failure(&format!("author.Command('c', {value});"));
        assert!(text.contains(expected), "{value}: {text}");
        assert!(text.contains("probe.js:3"), "{value}: {text}");
    }
    let late = failure(
        "const c = author.Command('c', {}); c.parameters.x = NaN;
        const t = author.Task('the task', 'misc'); t.addCommand(c); job.addTask(t);",
    );
    assert!(
        late.contains("\"the task\"") && late.contains("value.x is NaN"),
        "{late}"
    );
    assert!(failure("job.settings.x = 0 / 0;").contains("job.settings.x is NaN"));
}

/// Tasks and commands need names, and only what `author` made can be added.
#[test]
fn authoring_mistakes() {
    for call in [
        "author.Task('', 'misc')",
        "author.Task('x')",
        "author.Task('  ', 'misc')",
        "author.Task(undefined, 'misc')",
        "author.Command()",
        "job.addTask()",
        "job.addTask({})",
        "author.Task('a', 'b').addCommand({name: 'x'})",
        "author.Task('a', 'b').addDependency()",
        "job.addTask(Object.create(Object.getPrototypeOf(author.Task('a', 'b'))))",
    ] {
        let text = failure(call);
        assert!(text.contains("Error: "), "{call}: {text}");
    }
    let twice = failure("const t = author.Task('t', 'm'); job.addTask(t); job.addTask(t);");
    assert!(twice.contains("\"t\" was already added"), "{twice}");
}

/// A job whose tasks could never all run is refused at submission, by name.
#[test]
fn impossible_dependencies() {
    let unknown = compile_body(
        "const a = author.Task('a', 'm'); const b = author.Task('b', 'm');
        b.addDependency(a); job.addTask(b);",
    );
    let Err(Error::UnknownDependency { task, dependency }) = unknown else {
        panic!("{unknown:?}");
    };
    assert_eq!((task.as_str(), dependency.as_str()), ("b", "a"));
    let circle = compile_body(
        "const a = author.Task('a', 'm'); const b = author.Task('b', 'm');
        a.addDependency(b); b.addDependency(a); job.addTask(a); job.addTask(b);",
    );
    assert!(
        matches!(circle, Err(Error::DependencyCycle { .. })),
        "{circle:?}"
    );
    let forward = compile_body(
        "const a = author.Task('a', 'm'); const b = author.Task('b', 'm');
        a.addDependency(b); job.addTask(a); job.addTask(b);",
    );
    assert_eq!(forward.unwrap().tasks[0].depends_on, [1]);
}

/// The frames of a task are read from the command line whichever spelling the script uses.
#[test]
fn frames_of_tasks() {
    let rows = [
        ("['-f', '1..3,7']", json!("1-3,7")),
        ("['--render-frame', 24]", json!("24")),
        ("['-f', '1', '--', '-f', '5-6']", json!("5,6")),
        ("['-f', '+3x']", Value::Null),
        ("['-f']", Value::Null),
        ("[]", Value::Null),
        ("'-f 1'", Value::Null),
    ];
    for (args, expected) in rows {
        let compiled = compile_body(&format!(
            "const t = author.Task('t', 'm'); job.addTask(t);
            const u = author.Task('u', 'm'); u.addCommand(author.Command('blender-render', {{args: {args}}})); job.addTask(u);"
        ))
        .unwrap();
        assert_eq!(compiled.tasks[0].frames, None);
        assert_eq!(json!(compiled.tasks[1].frames), expected, "{args}");
    }
}

/// Whatever is thrown, its text comes first and unchanged, and errors say where they come from.
#[test]
fn thrown_values() {
    assert_eq!(failure("throw 'plain text';"), "plain text");
    assert_eq!(failure("throw {code: 3};"), r#"{"code":3}"#);
    assert_eq!(failure("throw 42;"), "42");
    let error = failure("throw new Error('boom');");
    assert!(
        error.starts_with("Error: boom at compileJob (probe.js:3:"),
        "{error}"
    );
    let error = failure("null.x;");
    assert!(
        error.starts_with("TypeError: ") && error.contains("probe.js:3:"),
        "{error}"
    );
    let Err(Error::Thrown {
        script, location, ..
    }) = compile_body("frameCount('x')")
    else {
        panic!("must throw");
    };
    assert_eq!(script, "probe.js");
    assert!(location.unwrap().starts_with("compileJob (probe.js:3"));
}

/// An `async` script is run to its end, and its rejection is an exception like any other.
#[test]
fn async_scripts() {
    let folder = Folder::new();
    let text = |body: &str| {
        format!(
            "var JOB_TYPE = {{label: 'L', settings: []}};\nasync function compileJob(job) {{ await null; {body} }}"
        )
    };
    folder.write(
        "good.js",
        &text("job.addTask(author.Task('late', 'misc'));"),
    );
    folder.write("bad.js", &text("throw new Error('late trouble');"));
    folder.write("never.js", &text("await new Promise(() => {});"));
    let types = folder.open();
    assert_eq!(
        types.compile(job("good", json!({}))).unwrap().tasks[0].name,
        "late"
    );
    let bad = types
        .compile(job("bad", json!({})))
        .unwrap_err()
        .to_string();
    assert!(bad.starts_with("Error: late trouble"), "{bad}");
    let never = types
        .compile(job("never", json!({})))
        .unwrap_err()
        .to_string();
    assert!(never.contains("never happens"), "{never}");
}

/// One run leaves nothing behind for the next: each gets a fresh machine.
#[test]
fn runs_are_isolated() {
    let folder = Folder::new();
    folder.write(
        "probe.js",
        &format!(
            "let runs = 0;\n{}",
            script("runs++; globalThis.g = (globalThis.g ?? 0) + 1; path.x = (path.x ?? 0) + 1; job.settings.result = [runs, g, path.x];")
        ),
    );
    let types = folder.open();
    for _ in 0..2 {
        let compiled = types.compile(job("probe", json!({}))).unwrap();
        assert_eq!(compiled.settings["result"], json!([1, 1, 1]));
    }
}

/// Keys of a submission cannot reach into the environment.
#[test]
fn hostile_settings_are_only_data() {
    let settings: Value = serde_json::from_str(
        r#"{"__proto__": {"polluted": 1}, "constructor": "x", "nul\u0000key": "nul\u0000value", "toJSON": "text"}"#,
    )
    .unwrap();
    let compiled = compile_body_with(
        "job.settings.seen = ({}).polluted === undefined;",
        settings.clone(),
        |_| {},
    );
    let mut compiled = compiled.unwrap().settings;
    assert_eq!(compiled.remove("seen"), Some(json!(true)));
    assert_eq!(Value::Object(compiled), settings);
}
