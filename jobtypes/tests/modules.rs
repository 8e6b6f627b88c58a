// SPDX-License-Identifier: GPL-3.0-or-later
//! `require()`: what is found, in which order, and that nothing outside of the scripts folder is.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Folder, job, script};

fn compile(folder: &Folder, body: &str) -> Result<Value, String> {
    folder.write("probe.js", &script(body));
    let compiled = folder.open().compile(job("probe", json!({})));
    match compiled {
        Ok(compiled) => Ok(compiled.settings.get("result").cloned().unwrap_or_default()),
        Err(error) => Err(error.to_string()),
    }
}

/// Files, folders, packages and JSON are found by the rules scripts know from Node.
#[test]
fn found() {
    let folder = Folder::new();
    folder.write(
        "lib/helper.js",
        "exports.name = 'helper'; exports.up = require('../lib/other').name;",
    );
    folder.write("lib/other.js", "module.exports = {name: 'other'};");
    folder.write("lib/index.js", "module.exports = 'index of lib';");
    folder.write("data/table.json", "{\"rows\": [1, 2]}");
    folder.write("both.js", "module.exports = 'js file';");
    folder.write("both/index.js", "module.exports = 'folder';");
    folder.write(
        "node_modules/pack/package.json",
        "{\"main\": \"src/start\"}",
    );
    folder.write(
        "node_modules/pack/src/start.js",
        "module.exports = 'pack ' + require('dep');",
    );
    folder.write(
        "node_modules/pack/node_modules/dep/index.js",
        "module.exports = 'inner dep';",
    );
    folder.write("node_modules/dep/index.js", "module.exports = 'outer dep';");
    folder.write(
        "node_modules/nomain/package.json",
        "{\"main\": \"gone.js\"}",
    );
    folder.write(
        "node_modules/nomain/index.js",
        "module.exports = 'fell back';",
    );
    let rows = [
        ("require('./lib/helper').name", json!("helper")),
        ("require('./lib/helper.js').up", json!("other")),
        ("require('lib/helper').name", json!("helper")),
        ("require('/lib/helper').name", json!("helper")),
        ("require('./lib/../lib/helper').name", json!("helper")),
        ("require('.\\\\lib\\\\helper').name", json!("helper")),
        ("require('./lib')", json!("index of lib")),
        ("require('./data/table.json').rows", json!([1, 2])),
        ("require('./data/table').rows", json!([1, 2])),
        ("require('./both')", json!("js file")),
        ("require('pack')", json!("pack inner dep")),
        ("require('dep')", json!("outer dep")),
        ("require('nomain')", json!("fell back")),
    ];
    for (call, expected) in rows {
        let found = compile(&folder, &format!("job.settings.result = {call};"));
        assert_eq!(found, Ok(expected), "{call}");
    }
}

/// Built-in scripts can be required too, and a file on disk hides one of the same path.
#[test]
fn built_in_scripts_are_behind_those_on_disk() {
    let folder = Folder::new();
    let missing = compile(&folder, "require('./echo_sleep_test');");
    assert_eq!(
        missing,
        Ok(Value::Null),
        "the built-in script exports nothing, but it is found"
    );
    folder.write(
        "echo_sleep_test.js",
        &format!("var module;\n{}", script("")),
    );
    let found = compile(
        &folder,
        "job.settings.result = typeof require('./echo_sleep_test');",
    );
    assert_eq!(found, Ok(json!("object")));
}

/// Modules run once per machine, may be sloppy, may require each other, and know `this`.
#[test]
fn module_semantics() {
    let folder = Folder::new();
    folder.write("m/count.js", "leaked = (typeof leaked === 'number' ? leaked : 0) + 1; exports.n = leaked; exports.self = this === exports;");
    folder.write(
        "m/a.js",
        "exports.early = 1; exports.b = require('./b'); exports.late = 2;",
    );
    folder.write(
        "m/b.js",
        "exports.sawEarly = require('./a').early; exports.sawLate = require('./a').late;",
    );
    let body = "const once = require('./m/count'); const again = require('m/count');
        const a = require('./m/a');
        job.settings.result = [once === again, once.n, once.self, a.b.sawEarly, a.b.sawLate];";
    assert_eq!(compile(&folder, body), Ok(json!([true, 1, true, 1, null])));
}

/// Errors name the module and the line; a failed module can be tried again.
#[test]
fn module_errors() {
    let folder = Folder::new();
    folder.write(
        "m/throws.js",
        "'use strict';\n\nthrow new Error('from the module');",
    );
    folder.write("m/syntax.js", "\nlet = ;");
    folder.write("m/broken.json", "{");
    let text = compile(&folder, "require('./m/throws');").unwrap_err();
    assert!(text.starts_with("Error: from the module at "), "{text}");
    assert!(text.contains("m/throws.js:3"), "{text}");
    let text = compile(&folder, "require('./m/syntax');").unwrap_err();
    assert!(
        text.contains("SyntaxError") && text.contains("m/syntax.js:2"),
        "{text}"
    );
    let text = compile(&folder, "require('./m/broken');").unwrap_err();
    assert!(text.contains("m/broken.json"), "{text}");
    let text = compile(&folder, "require('./nowhere');").unwrap_err();
    assert!(text.contains("cannot find module './nowhere'"), "{text}");
    let twice = "let n = 0; for (const _ of [1, 2]) { try { require('./m/throws'); } catch { n++; } } job.settings.result = n;";
    assert_eq!(compile(&folder, twice), Ok(json!(2)));
}

/// Nothing outside of the scripts folder can be read, however it is asked for.
#[test]
fn never_outside_of_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("secret.json"), "{\"secret\": true}").unwrap();
    std::fs::create_dir(outer.path().join("scripts")).unwrap();
    let folder = Folder::new();
    let absolute = outer
        .path()
        .join("secret.json")
        .display()
        .to_string()
        .replace('\\', "/");
    folder.write(
        "node_modules/evil/package.json",
        "{\"main\": \"../../../secret.json\"}",
    );
    folder.write(
        "sub/deep.js",
        "module.exports = require('../../secret.json');",
    );
    for request in [
        "../secret.json",
        "./../secret",
        "sub/../../secret.json",
        "..\\\\secret.json",
        "..",
        "./sub/deep",
        "evil",
        "/../secret.json",
        "\\u0000",
        "",
        ".",
        absolute.as_str(),
    ] {
        let result = compile(
            &folder,
            &format!("job.settings.result = require('{request}');"),
        );
        let text = result.expect_err(request);
        assert!(
            text.contains("outside of the scripts folder") || text.contains("cannot find module"),
            "{request}: {text}"
        );
    }
}

/// A link that leads out of the folder is not followed, and that is said.
#[cfg(unix)]
#[test]
fn links_that_lead_out_are_left_out() {
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("secret.json"), "{\"secret\": true}").unwrap();
    let folder = Folder::new();
    folder.write("sub/real.json", "[1]");
    std::os::unix::fs::symlink(
        outer.path().join("secret.json"),
        folder.0.path().join("out.json"),
    )
    .unwrap();
    std::os::unix::fs::symlink(outer.path(), folder.0.path().join("outer.js")).unwrap();
    std::os::unix::fs::symlink(
        folder.0.path().join("sub/real.json"),
        folder.0.path().join("in.json"),
    )
    .unwrap();
    assert_eq!(
        compile(&folder, "job.settings.result = require('./in');"),
        Ok(json!([1]))
    );
    assert!(compile(&folder, "require('./out');").is_err());
    let types = folder.open();
    let mut scripts: Vec<String> = types
        .problems()
        .into_iter()
        .map(|problem| problem.script)
        .collect();
    scripts.sort();
    assert_eq!(scripts, ["out.json", "outer.js"]);
}
