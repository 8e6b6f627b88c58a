// SPDX-License-Identifier: GPL-3.0-or-later
//! The script environment: globals, coercion, the job object, what is thrown.

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
