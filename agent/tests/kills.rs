// SPDX-License-Identifier: GPL-3.0-or-later
//! `kill -9` of a real Worker process while it works: nothing is left running, nothing is
//! published twice, nothing that was to be said is lost.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::process::{Process, holds, until};
use common::{Manager, task};
use serde_json::{Value, json};

/// A render of frames 1 to `frames`, which waits for its end before it begins frame `gate + 1`:
/// however fast the machine is, there is something left when the kill comes.
fn render_task(attempt: usize, blend: &Path, out: &Path, frames: i64, gate: i64) -> Value {
    let wait = format!(
        "import bpy, time\ndef wait(scene, *_):\n    while scene.frame_current > {gate}: \
         time.sleep(0.05)\nbpy.app.handlers.render_pre.append(wait)"
    );
    let mut task = task(
        "render",
        json!([{
            "name": "blender-render",
            "parameters": {
                "exe": "blender", "exeArgs": "-b -y", "blendfile": blend,
                "args": ["--python-expr", wait, "-o", out.join("f_"), "-F", "PNG",
                    "-f", format!("1..{frames}")],
            },
            "total_step_count": frames,
        }]),
    );
    task["tablao"]["attempt"] = json!(format!("attempt-{attempt}"));
    task
}

fn make_scene(path: &Path) {
    let script = format!(
        "import bpy\ns = bpy.context.scene\ns.render.engine = 'CYCLES'\ns.cycles.samples = 4\n\
         s.cycles.use_denoising = False\ns.render.resolution_x, s.render.resolution_y = 160, 90\n\
         s.render.resolution_percentage = 100\n\
         bpy.ops.wm.save_as_mainfile(filepath={:?})",
        path.display().to_string()
    );
    let made = Command::new("blender")
        .args(["-b", "--factory-startup", "--python-expr", &script])
        .output()
        .expect("Blender is installed");
    assert!(path.exists(), "{made:?}");
}

/// Inode and hash of every file under a final name; every one must be a whole picture.
fn published_files(out: &Path) -> BTreeMap<String, (u64, String)> {
    let Ok(entries) = std::fs::read_dir(out) else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let content = std::fs::read(entry.path()).unwrap();
            let name = entry.file_name().into_string().unwrap();
            image::load_from_memory(&content)
                .unwrap_or_else(|error| panic!("{name} is not whole: {error}"));
            let hash = blake3::hash(&content).to_hex().to_string();
            (name, (entry.metadata().unwrap().ino(), hash))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_again_and_again_publishes_each_frame_once() {
    // Protects exactly-once frames: kills at different moments of a real render, and at the end
    // one publication per frame, unchanged files, no process and no staging folder left.
    const FRAMES: i64 = 40;
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (data, out, blend) = (
        dir.path().join("data"),
        dir.path().join("out"),
        dir.path().join("scene.blend"),
    );
    make_scene(&blend);
    let mut known = BTreeMap::new();
    for round in 0..6 {
        // Room for the frames that this round waits for, and for two more.
        let gate = (known.len() + round + 3) as i64;
        manager.change(|heard| {
            heard.tasks.clear();
            let task = render_task(round, &blend, &out, FRAMES, gate);
            heard.tasks.push_back(task);
        });
        let before = manager.frames("render").len();
        let process = Process::start(&manager, &data);
        // In the first round the kill comes while the first frame is rendered.
        let wanted = if round == 0 {
            before
        } else {
            before + known.len() + 1 + round
        };
        manager
            .until("some progress", |heard| {
                let reports = heard
                    .updates
                    .iter()
                    .filter_map(|(_, update)| update["tablao"]["frames"].as_array().map(Vec::len));
                let is_running = heard
                    .updates
                    .iter()
                    .any(|(_, update)| update["tablao"]["attempt"] == format!("attempt-{round}"));
                (is_running && reports.sum::<usize>() >= wanted).then_some(())
            })
            .await;
        // Different moments between two frames; no result depends on which.
        tokio::time::sleep(Duration::from_millis(13 * (round as u64 + 1))).await;
        process.kill().await;
        let now = published_files(&out);
        for (name, facts) in &known {
            assert_eq!(
                now.get(name),
                Some(facts),
                "{name} changed after its publication"
            );
        }
        known = now;
    }
    assert!(
        !known.is_empty() && (known.len() as i64) < FRAMES,
        "the kills missed the render: {}",
        known.len()
    );

    let rest = render_task(99, &blend, &out, FRAMES, FRAMES);
    manager.change(|heard| heard.tasks.push_back(rest));
    let process = Process::start(&manager, &data);
    let end = manager.task_end("render").await;
    assert_eq!(end["taskStatus"], "completed", "{end}");
    process.kill().await;
    let files = published_files(&out);
    assert_eq!(files.len() as i64, FRAMES);
    for (name, facts) in &known {
        assert_eq!(
            files.get(name),
            Some(facts),
            "{name} changed after its publication"
        );
    }
    let mut publications: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for frame in manager.frames("render") {
        if frame["outcome"] == "published" {
            let number = frame["number"].as_i64().unwrap();
            let hash = frame["hash"].as_str().unwrap().to_owned();
            publications.entry(number).or_default().push(hash);
        }
    }
    for number in 1..=FRAMES {
        let reported = publications.remove(&number).unwrap_or_default();
        let file = &files[&format!("f_{number:04}.png")];
        // A report may be repeated when its acknowledgement was lost, never with other content.
        assert!(
            !reported.is_empty(),
            "frame {number} was published and never reported"
        );
        assert!(
            reported.iter().all(|hash| *hash == file.1),
            "frame {number}"
        );
    }
    assert!(!out.join(".tablao-staging").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_had_to_say_is_said_after_its_restart() {
    // Protects a finished task whose report the Manager could not take before the kill.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    let script = format!(
        "echo begun; until [ -e {} ]; do sleep 0.1; done",
        gate.display()
    );
    let commands =
        json!([{ "name": "exec", "parameters": { "exe": "sh", "args": ["-c", script] } }]);
    manager.change(|heard| heard.tasks.push_back(task("t", commands)));
    let data = dir.path().join("data");
    let process = Process::start(&manager, &data);
    manager
        .until("the start", |heard| {
            (!heard.updates.is_empty()).then_some(())
        })
        .await;
    manager.change(|heard| heard.update_code = 503);
    std::fs::write(&gate, b"").unwrap();
    let outbox = data.join("outbox");
    until("the end in the outbox", || holds(&outbox, b"\"completed\"")).await;
    process.kill().await;

    manager.change(|heard| heard.update_code = 0);
    let process = Process::start(&manager, &data);
    assert_eq!(manager.task_end("t").await["taskStatus"], "completed");
    manager.change(|heard| {
        let held = &heard.sign_ons.last().unwrap()["tablao"]["held_attempts"];
        assert_eq!(held, &json!(["attempt-t"]));
    });
    process.kill().await;
}

/// A state in which a Worker can be killed.
struct State {
    name: &'static str,
    tasks: Vec<Value>,
    /// How the Manager is before.
    set_up: fn(&mut common::Heard),
    /// What shows that the Worker is in it.
    seen: fn(&common::Heard) -> bool,
    /// Words in the command line of a program that runs then.
    runs: Option<&'static str>,
    /// The task that the Worker holds and has not begun.
    holds: Option<&'static str>,
    /// How often it has registered when it is back.
    registrations: usize,
}

impl State {
    fn new(name: &'static str, tasks: Vec<Value>, seen: fn(&common::Heard) -> bool) -> Self {
        Self {
            name,
            tasks,
            set_up: |_| {},
            seen,
            runs: None,
            holds: None,
            registrations: 1,
        }
    }

    /// One without a task.
    fn idle(
        name: &'static str,
        set_up: fn(&mut common::Heard),
        seen: fn(&common::Heard) -> bool,
    ) -> Self {
        Self {
            set_up,
            ..Self::new(name, Vec::new(), seen)
        }
    }

    /// One with a warm Blender up.
    fn warm(name: &'static str, task: Value, seen: fn(&common::Heard) -> bool) -> Self {
        Self {
            runs: Some("warm_server.py"),
            ..Self::new(name, vec![task], seen)
        }
    }
}

fn has_logged(heard: &common::Heard, words: &str) -> bool {
    let mut logs = heard
        .updates
        .iter()
        .filter_map(|(_, update)| update["log"].as_str());
    logs.any(|log| log.contains(words))
}

fn has_ended(heard: &common::Heard) -> bool {
    let mut updates = heard.updates.iter();
    updates.any(|(_, update)| update["taskStatus"] == "completed")
}

/// Python that says so and waits, at this moment of Blender's work.
fn wait_at(handlers: &str) -> String {
    format!(
        "import bpy, time\ndef wait(*_):\n    print('waits', flush=True)\n    time.sleep(600)\n\
         bpy.app.handlers.{handlers}.append(wait)"
    )
}

/// One frame, with Blender waiting before it or not at all.
fn one_frame(blend: &Path, out: &Path, waits: bool) -> Value {
    let mut task = render_task(0, blend, out, 1, 1);
    if waits {
        task["commands"][0]["parameters"]["args"][1] = json!(wait_at("render_pre"));
    }
    task
}

/// One frame, with Blender waiting while it loads the file.
fn loading(blend: &Path, out: &Path) -> Value {
    let mut task = render_task(0, blend, out, 1, 1);
    let before = json!(["--python-expr", wait_at("load_pre")]);
    task["commands"][0]["parameters"]["argsBefore"] = before;
    task
}

fn states(blend: &Path, out: &Path) -> Vec<State> {
    let endless = json!([{ "name": "exec", "parameters": {
        "exe": "sh", "args": ["-c", "echo waits; sleep 600 & sleep 600"] } }]);
    let running = |heard: &common::Heard| has_logged(heard, "> waits");
    let is_asleep =
        |heard: &common::Heard| heard.statuses.last().is_some_and(|last| last == "asleep");
    let silent = |heard: &mut common::Heard| heard.unanswered = "registrations";
    vec![
        State {
            // The Manager has it, and it will never know as whom.
            registrations: 2,
            ..State::idle("registering", silent, |heard| {
                !heard.registrations.is_empty()
            })
        },
        State::idle(
            "signing on",
            |heard| heard.sign_on_codes.extend([503; 9]),
            |heard| !heard.sign_ons.is_empty(),
        ),
        State::idle("asking", |_| {}, |heard| heard.asks > 0),
        State::idle(
            "asleep",
            |heard| heard.requested = Some("asleep".into()),
            is_asleep,
        ),
        State::idle(
            "leaving",
            |heard| {
                heard.requested = Some("offline".into());
                heard.unanswered = "farewells";
            },
            |heard| heard.sign_offs > 0,
        ),
        State {
            set_up: |heard| heard.update_code = 503,
            ..State::new("starting", vec![task("t", json!([]))], |heard| {
                heard.tasks.is_empty()
            })
        },
        State::new("running", vec![task("t", endless.clone())], running),
        State {
            holds: Some("held"),
            ..State::new(
                "holding the next task",
                vec![task("t", endless), task("held", json!([]))],
                |heard| heard.tasks.is_empty() && has_logged(heard, "> waits"),
            )
        },
        State::warm("loading the file", loading(blend, out), running),
        State::warm("rendering warm", one_frame(blend, out, true), running),
        State::warm("warm and idle", one_frame(blend, out, false), has_ended),
    ]
}

/// Kills a Worker in this state and starts another one in its place.
async fn kill_in(state: State, away: bool, data: &Path, out: &Path) {
    let name = format!("{} (Manager away: {away})", state.name);
    let manager = Manager::start().await;
    manager.change(|heard| {
        heard.tasks.extend(state.tasks);
        (state.set_up)(heard);
    });
    let process = Process::start(&manager, data);
    let seen = |heard: &common::Heard| (state.seen)(heard).then_some(());
    manager.until(&name, seen).await;
    let runs = state.runs.is_none_or(|words| process.runs(words));
    assert!(runs, "{name}: its program does not run");
    manager.change(|heard| heard.away = away);
    process.kill().await;

    manager.change(|heard| {
        heard.away = false;
        heard.requested = None;
        heard.update_code = 0;
        heard.unanswered = "";
        heard.sign_on_codes.clear();
        heard.tasks.clear();
        heard.tasks.push_back(task("after", json!([])));
    });
    let process = Process::start(&manager, data);
    for task in state.holds.into_iter().chain(["after"]) {
        let end = manager.task_end(task).await;
        assert_eq!(end["taskStatus"], "completed", "{name}");
    }
    let registrations = manager.change(|heard| heard.registrations.len());
    assert_eq!(registrations, state.registrations, "{name}");
    assert!(!out.join(".tablao-staging").exists(), "{name}");
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_any_state_leaves_nothing_behind() {
    // Protects machines from Blenders that nobody watches, and the farm from a worker that does
    // not come back: kill -9 in each state, with the Manager there and away.
    let dir = tempfile::tempdir().unwrap();
    let blend = dir.path().join("scene.blend");
    make_scene(&blend);
    let kill_in_all = async |away: bool| {
        let out = dir.path().join(format!("out-{away}"));
        for (number, state) in states(&blend, &out).into_iter().enumerate() {
            let data = dir.path().join(format!("data-{away}-{number}"));
            kill_in(state, away, &data, &out).await;
        }
        assert_eq!(published_files(&out).len(), 1);
    };
    tokio::join!(kill_in_all(false), kill_in_all(true));
}
