// SPDX-License-Identifier: GPL-3.0-or-later
//! Writing a job type: the page about it, command by command, and the declarations for editors
//! against every script that is built in.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Run, run, tablao};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A fenced block of a page: what its fence says, and its lines.
fn blocks(page: &str) -> Vec<(String, Vec<&str>)> {
    let mut blocks: Vec<(String, Vec<&str>)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push((fence.to_owned(), Vec::new()));
            }
        } else if inside {
            blocks.last_mut().unwrap().1.push(line);
        }
    }
    blocks
}

fn tablao_in(folder: &Path, line: &str) -> Run {
    let words = line.split(' ').skip(1);
    Run::of(tablao().args(words).current_dir(folder))
}

/// Protects whoever follows the page: each command prints just what the page says it prints.
#[test]
fn the_page_about_job_types_is_true() {
    let page = std::fs::read_to_string(project().join("docs/writing-job-types.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for (fence, lines) in blocks(&page) {
        if let Some(name) = fence.split("file=").nth(1) {
            let text = lines.join("\n") + "\n";
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        if fence != "console" {
            continue;
        }
        let (command, expected) = lines.split_first().unwrap();
        let ran = tablao_in(folder.path(), command.strip_prefix("$ ").unwrap());
        commands += 1;
        let printed = ran.out.clone() + &ran.err;
        let mut printed = printed.lines();
        for line in expected {
            if *line == "..." {
                printed = "".lines();
                break;
            }
            assert_eq!(printed.next(), Some(*line), "{command}: {ran:#?}");
        }
        assert_eq!(printed.next(), None, "{command}: {ran:#?}");
    }
    assert!(commands >= 6, "only {commands} commands were found");
}

/// Protects cases: a script that makes something else is noticed with the lines that differ, and
/// what was blessed passes, in JSON and in TOML.
#[test]
fn a_case_notices_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    tablao_in(dir, "tablao jobtype new shot").ended(0);
    tablao_in(dir, "tablao jobtype new shot")
        .ended(5)
        .says(&["shot.js"]);
    let still = "[settings]\nframes = \"7\"\nchunk_size = 1\nmessage = \"still\"\n";
    std::fs::write(dir.join("shot.still.case.toml"), still).unwrap();
    let wrong = r#"{ "settings": { "frames": "x" }, "error": "frame" }"#;
    std::fs::write(dir.join("shot.wrong.case.json"), wrong).unwrap();
    let told = tablao_in(dir, "tablao jobtype test .").ended(1);
    assert!(
        told.out.contains("still.case.toml: expects nothing yet"),
        "{told:#?}"
    );
    tablao_in(dir, "tablao jobtype test . --bless").ended(0);
    tablao_in(dir, "tablao jobtype test .").ended(0);
    let text = std::fs::read_to_string(dir.join("shot.wrong.case.json")).unwrap();
    assert_eq!(text, wrong, "a part of what is said is enough");

    let script = std::fs::read_to_string(dir.join("shot.js")).unwrap();
    let script = script.replace("\"summary\"", "\"total\"");
    std::fs::write(dir.join("shot.js"), script).unwrap();
    let told = tablao_in(dir, "tablao jobtype test .").ended(1);
    for line in ["- ", "\"summary\"", "+ ", "\"total\""] {
        assert!(told.out.contains(line), "{told:#?}");
    }
    told.says(&["2 of 3 cases differ", "--bless"]);
}

/// Protects authors from searching: mistakes of every kind name the file and show the line.
#[test]
fn mistakes_are_shown_in_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    let head = "const JOB_TYPE = { label: 'x', settings: [] };\n";
    put(
        "syntax.js",
        "const JOB_TYPE = {\n  label: 'x' settings: [],\n};\n",
    );
    put("nothing.js", head);
    put(
        "thrown.js",
        &format!("{head}function compileJob(job) {{\n\tthrow new Error('no');\n}}\n"),
    );
    std::fs::create_dir(dir.join("lib")).unwrap();
    put("lib/help.js", "exports.f = () => {\n  missing();\n};\n");
    let helped = "function compileJob(job) { require('./lib/help.js').f(); }\n";
    put("helped.js", &format!("{head}{helped}"));
    let told = tablao_in(dir, "tablao jobtype check .").ended(1);
    for line in [
        "syntax.js:2:",
        "  2 |   label: 'x' settings: [],",
        "nothing.js: ",
        "helped.js: a job",
    ] {
        assert!(told.out.contains(line), "{line}: {told:#?}");
    }
    told.says(&["2 of 4 scripts"]);
    let told = tablao_in(dir, "tablao jobtype compile thrown.js").ended(1);
    told.says(&["thrown.js:3:", "no", "  3 | \tthrow new Error('no');"]);
    let told = tablao_in(dir, "tablao jobtype compile helped.js").ended(1);
    told.says(&["lib/help.js:2:", "  2 |   missing();"]);
    run(&["jobtype", "compile", "/nowhere.js"]).ended(2);
    run(&["jobtype", "new", "../x"]).ended(2);
}

/// Where the dashboard's set-up has put the TypeScript compiler.
fn compiler() -> Option<PathBuf> {
    let path = project().join("dashboard/node_modules/typescript/bin/tsc");
    path.is_file().then_some(path)
}

/// Protects editors: the declarations know every name that the built-in scripts use, and refuse
/// what is not there.
#[test]
fn the_declarations_fit_the_scripts() {
    let Some(compiler) = compiler() else {
        println!(
            "skipped: there is no TypeScript in dashboard/node_modules; make setup-test installs it"
        );
        return;
    };
    let declarations = project().join("jobtypes/types/tablao-jobtypes.d.ts");
    let folder = tempfile::tempdir().unwrap();
    // A file of options: on its command line the compiler takes no empty list of `types`, and
    // would find those of a folder above.
    let options = folder.path().join("tsconfig.json");
    let check = |script: &Path| {
        let text = serde_json::json!({
            "compilerOptions": {
                "noEmit": true,
                "allowJs": true,
                "checkJs": true,
                "types": [],
                "target": "es2022",
                "lib": ["es2022"],
                "moduleDetection": "legacy",
            },
            "files": [declarations.as_path(), script],
        });
        std::fs::write(&options, text.to_string()).unwrap();
        let mut command = Command::new("node");
        Run::of(command.arg(&compiler).arg("--project").arg(&options))
    };
    let mut seen = 0;
    let scripts = std::fs::read_dir(project().join("jobtypes/scripts")).unwrap();
    for script in scripts.map(|entry| entry.unwrap().path()) {
        if script
            .extension()
            .is_some_and(|extension| extension == "js")
        {
            let checked = check(&script);
            assert_eq!(checked.code, 0, "{}: {}", script.display(), checked.out);
            seen += 1;
        }
    }
    check(&project().join("jobtypes/types/template.js")).ended(0);
    assert!(seen >= 2);
    let wrong = folder.path().join("wrong.js");
    std::fs::write(&wrong, "author.Tusk('a', 'b'); frameChunker(1);\n").unwrap();
    let checked = check(&wrong);
    assert!(
        checked.out.contains("Tusk") && checked.out.contains("2554"),
        "{checked:#?}"
    );
}
