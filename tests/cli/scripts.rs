// SPDX-License-Identifier: GPL-3.0-or-later
//! A studio's own scripts that do their worst, in a real farm: each is answered in words, and the
//! Manager serves the next submission.

use crate::harness::Farm;

fn script(body: &str) -> String {
    format!(
        "const JOB_TYPE = {{ label: \"Probe\", settings: [] }};\nfunction compileJob(job) {{\n{body}\n}}\n"
    )
}

/// Protects the Manager from what no limit inside the JavaScript engine can stop.
#[test]
fn hostile_scripts_end_their_own_process_only() {
    let bombs = [
        (
            "regexp",
            "let s = 'x'; for (;;) { s += s; new RegExp(s); }",
            "memory",
        ),
        (
            "code",
            "let s = '1'; for (;;) { s += '+' + s; new Function(s); }",
            // On a slow machine its time is over before its memory is.
            "of 10s|memory",
        ),
        ("recursion", "(function f() { f(); })();", "stack limit"),
        (
            "native",
            "Array.prototype.indexOf.call({length: Number.MAX_SAFE_INTEGER}, 1);",
            "time limit of 10s",
        ),
    ];
    let mut farm = Farm::start_with(0, |data| {
        let scripts = data.join("scripts");
        std::fs::create_dir_all(&scripts).expect("a folder");
        for (name, body, _) in bombs {
            std::fs::write(scripts.join(format!("{name}.js")), script(body)).expect("a file");
        }
        let top = "let s = '1'; for (;;) { s += '+' + s; new Function(s); }";
        std::fs::write(scripts.join("top_level.js"), top).expect("a file");
    });
    let pid = farm.pid();
    for (name, _, expected) in bombs {
        let run = farm.run(&["submit", "--type", name]);
        assert_ne!(run.code, 0, "{run:#?}");
        let told = expected.split('|').any(|words| run.err.contains(words));
        assert!(told, "it does not say {expected:?}: {run:#?}");
        farm.submit(&["--paused"]);
    }
    assert_eq!(farm.pid(), pid);
    assert!(farm.stop().success(), "the Manager lived and ends in order");
}
