// SPDX-License-Identifier: GPL-3.0-or-later
//! Tasks and commands as scripts author them: copies, parameters, dependencies, frames, mistakes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Folder, compile_body, failure, job};
use tablao_jobtypes::Error;

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
    assert_eq!(first.commands().len(), 1);
    assert_eq!(first.commands()[0].name, "echo");
    assert_eq!(first.commands()[0].parameters["n"], 1);
    assert_eq!(first.commands()[0].total_step_count, 3);
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
    let parameters = &compiled.tasks[0].commands()[0].parameters;
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

/// The example that the README gives works as it stands there.
#[test]
fn readme_example() {
    let readme = include_str!("../README.md");
    let example = readme
        .split("```js")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let folder = Folder::new();
    folder.write("hello_frames.js", example.unwrap());
    let types = folder.open();
    let compiled = types
        .compile(job("hello-frames", json!({"frames": "1-10"})))
        .unwrap();
    let names: Vec<&str> = compiled
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    assert_eq!(names, ["hello-1-5", "hello-6-10"]);
    let refused = types
        .compile(job("hello-frames", json!({})))
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("setting 'frames' is missing"),
        "{refused}"
    );
}
