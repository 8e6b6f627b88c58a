// SPDX-License-Identifier: GPL-3.0-or-later
//! Workers that may not run everything, and scripts that mean harm: the farm goes on around them.

use serde_json::json;

use crate::farm::{Blender, Farm};
use crate::farm_support::http::Connection;
use crate::farm_support::process::{Place, Process, TABLAO};

/// A Worker with these options.
fn limited(place: &Place, name: &str, options: &[&str]) -> Process {
    let mut command = std::process::Command::new(TABLAO);
    command
        .args(["worker", "--name", name, "--manager"])
        .arg(format!("http://{}", place.address))
        .arg("--data")
        .arg(place.folder.join(name))
        .args(options);
    Process::start(&place.folder, name, &mut command)
}

#[test]
fn a_worker_runs_only_what_its_owner_allows() {
    // Protects machines that are lent to a farm, and the farm: what one worker may not do another
    // does, after one refusal with its reason.
    let farm = Farm::start_with(&Blender::installed(), |place| {
        vec![
            limited(place, "lent", &["--allowed-commands", "echo,sleep"]),
            limited(place, "programs", &["--allowed-programs", "true"]),
        ]
    });
    let settings = json!({ "program": "true", "frames": "1-6", "chunk_size": 1 });
    let job = farm.complete("command", &settings);
    let mut refusals = 0;
    for task in farm.tasks(&job) {
        let id = task["id"].as_str().expect("an id");
        let attempts = farm.get(&format!("/api/farm/v1/tasks/{id}/attempts"));
        for attempt in attempts["items"].as_array().expect("a list") {
            if attempt["worker"]["name"] == "lent" {
                refusals += 1;
                let reason = attempt["reason"].as_str().unwrap_or_default();
                assert!(reason.contains("--allowed-commands"), "{attempt}");
                assert_eq!(attempt["failure"]["class"], "feature_missing", "{attempt}");
            } else {
                assert_eq!(attempt["outcome"], "completed", "{attempt}");
            }
        }
    }
    // It is blocked from this job's tasks of this type with the first.
    assert!(refusals <= 1, "{refusals} refusals");
    // Nobody may start this one: the job says so and does not wait for ever.
    let settings = json!({ "program": "false" });
    let job = farm.submit("command", &settings);
    farm.wait_for(&job, "failed");
    let shown = farm.get(&format!("/api/v3/jobs/{job}"));
    let activity = shown["activity"].as_str().unwrap_or_default();
    assert!(activity.contains("--allowed-"), "{activity}");
}

/// Bodies of `compileJob` that mean harm, and words of the answer to each.
const HOSTILE: [(&str, &str, &str); 8] = [
    ("loop", "for (;;) {}", "time limit"),
    (
        "deep",
        "(function f() { f(); })();",
        "too much recursion|stack",
    ),
    (
        "strings",
        "const all = []; for (let i = 0; i < 2048; i++) all.push('x'.repeat(1 << 20) + i);",
        "memory",
    ),
    (
        "tasks",
        "for (let i = 0; i < 1000001; i++) job.addTask(author.Task('t', 'misc'));",
        "1000000|memory|time limit|too large|limit",
    ),
    (
        "pollute",
        "Object.prototype.name = 'owned'; Array.prototype.map = () => { throw 'owned'; };
         String.prototype.trim = () => 'owned'; author.Task = null; throw 'polluted';",
        "polluted",
    ),
    (
        "outside",
        "require('../../../../etc/passwd');",
        "outside|cannot find|leaves",
    ),
    (
        "absolute",
        "require('/etc/hostname');",
        "cannot find|outside",
    ),
    ("native", "require('fs');", "cannot find"),
];

#[test]
fn scripts_that_mean_harm_harm_nobody() {
    // Protects the Manager, its other submitters and its workers: each such script is refused with
    // its reason, and the farm takes and runs the next job as if nothing had been.
    let farm = Farm::start_with(&Blender::installed(), |place| {
        let scripts = place.data.join("scripts");
        std::fs::create_dir_all(&scripts).expect("a folder");
        for (name, body, _) in HOSTILE {
            let script = format!(
                "const JOB_TYPE = {{ label: '{name}', settings: [] }};\nfunction compileJob(job) {{ {body} }}\n"
            );
            std::fs::write(scripts.join(format!("{name}.js")), script).expect("a file");
        }
        ["first", "second"].map(|name| place.worker(name)).into()
    });
    let mut connection = Connection::open(&farm.address()).expect("the Manager listens");
    for (name, _, words) in HOSTILE {
        let body = json!({
            "name": name, "type": name, "priority": 50, "submitter_platform": "linux",
        });
        let answer = crate::farm_support::until(&format!("the job type {name}"), || {
            let answer = connection.json("POST", "/api/v3/jobs", &body);
            // The folder is watched; a moment may pass before a type is there.
            (!answer.text().contains("unknown job type")).then_some(answer)
        });
        let told = answer.text();
        assert!(
            (400..500).contains(&answer.status),
            "{name}: {} {told}",
            answer.status
        );
        assert!(
            words.split('|').any(|word| told.contains(word)),
            "{name}: {told}"
        );
        // What one script did to its own world is in no other.
        farm.complete("echo", &json!({ "message": format!("after {name}") }));
    }
}
