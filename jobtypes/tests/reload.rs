// SPDX-License-Identifier: GPL-3.0-or-later
//! The scripts folder while a Manager runs: overriding, editing, breaking, removing, watching.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::{fs, time::Duration};

use serde_json::json;
use support::{Folder, job, script};
use tablao_jobtypes::{JobTypes, Options};

/// Long enough to never be the reason for a failure on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn labelled(label: &str) -> String {
    script("job.addTask(author.Task('t', 'misc'));").replace("Probe", label)
}

fn label(types: &JobTypes, name: &str) -> Option<String> {
    types.get(name).ok().map(|found| found.label)
}

/// Names come from file names; the folder overrides built-in types; crumbs and subfolders are no types.
#[test]
fn names_and_overrides() {
    let folder = Folder::new();
    folder.write("my_own_type.js", &labelled("Own"));
    folder.write("simple_blender_render.js", &labelled("Studio Render"));
    folder.write("a-b.js", &labelled("dash"));
    folder.write("a_b.js", &labelled("underscore"));
    folder.write("empty.js", "");
    folder.write("sub/not_a_type.js", &labelled("Sub"));
    folder.write("notes.txt", "not a script");
    let types = folder.open();
    let mut expected: Vec<String> = support::built_in()
        .list()
        .into_iter()
        .map(|listed| listed.name)
        .collect();
    expected.extend(["a-b", "my-own-type"].map(str::to_owned));
    expected.sort();
    let names: Vec<String> = types.list().into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, expected);
    assert_eq!(
        label(&types, "simple-blender-render").as_deref(),
        Some("Studio Render")
    );
    assert_eq!(label(&types, "a-b").as_deref(), Some("underscore"));
    assert_eq!(types.problems(), []);
}

/// A folder that is not there yet is no error, and is picked up once it is.
#[test]
fn folder_appears_later() {
    let outer = tempfile::tempdir().unwrap();
    let options = Options {
        scripts_dir: Some(outer.path().join("scripts")),
        watch: false,
        ..Options::default()
    };
    let types = JobTypes::open(options).unwrap();
    assert_eq!(types.list().len(), support::built_in().list().len());
    fs::create_dir(outer.path().join("scripts")).unwrap();
    fs::write(outer.path().join("scripts/late.js"), labelled("Late")).unwrap();
    assert!(types.rescan());
    assert_eq!(label(&types, "late").as_deref(), Some("Late"));
    assert!(!types.rescan(), "nothing changed since");
}

/// A broken edit is listed and the last good version keeps working; a good one replaces it.
#[test]
fn broken_edit_keeps_the_last_good_version() {
    let folder = Folder::new();
    folder.write("mine.js", &labelled("First"));
    let types = folder.open();
    let first = types.compile(job("mine", json!({}))).unwrap();
    let broken = [
        ("", "the file is empty"),
        ("const JOB_TYPE = {", "SyntaxError"),
        ("throw new Error('at load');", "at load"),
        ("function compileJob(job) {}", "no JOB_TYPE"),
        (
            "const JOB_TYPE = {label: 'x', settings: []};",
            "no function compileJob",
        ),
        (
            "const JOB_TYPE = {label: 'x'}; function compileJob() {}",
            "settings is missing",
        ),
        (
            "const JOB_TYPE = {label: 'x', settings: [{key: 'k', type: 'colour'}]}; function compileJob() {}",
            "unknown variant `colour`",
        ),
    ];
    for (text, expected) in broken {
        folder.write("mine.js", text);
        assert!(types.rescan());
        assert_eq!(label(&types, "mine").as_deref(), Some("First"), "{text}");
        let problems = types.problems();
        assert_eq!(problems.len(), 1, "{text}");
        assert_eq!(problems[0].script, "mine.js");
        assert_eq!(problems[0].job_type.as_deref(), Some("mine"));
        assert!(problems[0].last_good_in_use);
        assert!(
            problems[0].message.contains(expected),
            "{}",
            problems[0].message
        );
        let again = types.compile(job("mine", json!({}))).unwrap();
        assert_eq!(again.script_hash, first.script_hash);
    }
    folder.write("mine.js", &labelled("Second"));
    types.rescan();
    assert_eq!(label(&types, "mine").as_deref(), Some("Second"));
    assert_eq!(types.problems(), []);
    let second = types.compile(job("mine", json!({}))).unwrap();
    assert_ne!(second.script_hash, first.script_hash);
    folder.remove("mine.js");
    types.rescan();
    assert_eq!(
        label(&types, "mine"),
        None,
        "removing is no mistake but a wish"
    );
}

/// An override that never worked leaves the built-in type in place; removing one brings it back.
#[test]
fn built_in_types_stand_behind_overrides() {
    let folder = Folder::new();
    folder.write("echo_sleep_test.js", "this is no script");
    let types = folder.open();
    assert_eq!(
        label(&types, "echo-sleep-test").as_deref(),
        Some("Echo Sleep Test")
    );
    assert!(!types.problems()[0].last_good_in_use);
    folder.write("echo_sleep_test.js", &labelled("Mine"));
    types.rescan();
    assert_eq!(label(&types, "echo-sleep-test").as_deref(), Some("Mine"));
    folder.write("echo_sleep_test.js", "broken again");
    types.rescan();
    assert_eq!(label(&types, "echo-sleep-test").as_deref(), Some("Mine"));
    folder.remove("echo_sleep_test.js");
    types.rescan();
    assert_eq!(
        label(&types, "echo-sleep-test").as_deref(),
        Some("Echo Sleep Test")
    );
    assert_eq!(types.problems(), []);
}

/// Helpers reload like scripts; a broken helper leaves the type with the helpers it worked with.
#[test]
fn helpers_reload_too() {
    let folder = Folder::new();
    let text = format!(
        "const helper = require('./lib/helper');\n{}",
        script("job.settings.result = helper;")
    );
    folder.write("mine.js", &text);
    folder.write("lib/helper.js", "module.exports = 1;");
    let types = folder.open();
    let result = || types.compile(job("mine", json!({}))).unwrap().settings["result"].clone();
    assert_eq!(result(), 1);
    folder.write("lib/helper.js", "module.exports = 2;");
    types.rescan();
    assert_eq!(result(), 2);
    folder.write("lib/helper.js", "module.exports = ;");
    types.rescan();
    assert_eq!(result(), 2);
    assert!(
        types.problems()[0].message.contains("lib/helper.js:1"),
        "{:?}",
        types.problems()
    );
}

/// Files that are no text, or far too large, are left out by name and harm nothing else.
#[test]
fn unreadable_files() {
    let folder = Folder::new();
    fs::write(
        folder.0.path().join("latin.js"),
        b"// caf\xe9 caf\xe9 caf\xe9",
    )
    .unwrap();
    fs::write(folder.0.path().join("huge.js"), vec![b' '; 9 * 1024 * 1024]).unwrap();
    folder.write("nul.js", "const a = '\u{0}';");
    folder.write("good.js", &labelled("Good"));
    let types = folder.open();
    assert_eq!(label(&types, "good").as_deref(), Some("Good"));
    let mut scripts: Vec<String> = types
        .problems()
        .into_iter()
        .map(|problem| problem.script)
        .collect();
    scripts.sort();
    assert_eq!(scripts, ["huge.js", "latin.js", "nul.js"]);
}

/// The watching thread sees edits by itself, also in a folder that did not exist at the start.
#[test]
fn watching() {
    let outer = tempfile::tempdir().unwrap();
    let scripts = outer.path().join("scripts");
    let options = Options {
        scripts_dir: Some(scripts.clone()),
        rescan_interval: Duration::from_millis(50),
        ..Options::default()
    };
    let types = JobTypes::open(options).unwrap();
    fs::create_dir(&scripts).unwrap();
    fs::write(scripts.join("mine.js"), labelled("One")).unwrap();
    until(&types, || label(&types, "mine").as_deref() == Some("One"));
    fs::write(scripts.join("mine.js"), labelled("Two")).unwrap();
    until(&types, || label(&types, "mine").as_deref() == Some("Two"));
}

/// Notifications alone are enough: here the slow rescan would come far too late.
#[test]
fn watching_by_notification() {
    let folder = Folder::new();
    let options = Options {
        watch: true,
        rescan_interval: PATIENCE * 10,
        ..folder.options()
    };
    let types = JobTypes::open(options).unwrap();
    folder.write("mine.js", &labelled("One"));
    until(&types, || label(&types, "mine").as_deref() == Some("One"));
    folder.write("lib/deep/helper.js", "module.exports = 1;");
    let text = format!("require('./lib/deep/helper');\n{}", labelled("Two"));
    folder.write("mine.js", &text);
    until(&types, || label(&types, "mine").as_deref() == Some("Two"));
    drop(types.clone());
    folder.write("mine.js", "broken now");
    until(&types, || !types.problems().is_empty());
    assert_eq!(label(&types, "mine").as_deref(), Some("Two"));
}

fn until(types: &JobTypes, condition: impl Fn() -> bool) {
    loop {
        let seen = types.generation();
        if condition() {
            return;
        }
        assert!(
            types.wait_for_change(seen, PATIENCE) > seen,
            "no change was noticed"
        );
    }
}
