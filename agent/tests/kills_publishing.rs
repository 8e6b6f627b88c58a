// SPDX-License-Identifier: GPL-3.0-or-later
//! `kill -9` of a Worker that stands still in the middle of a publication, and of one that holds
//! a task claimed ahead or renders it: what had its final name is told and stays, what had none
//! is rendered again, and every frame is published once.
//!
//! A program with Blender's command line stands for Blender, because the moments are the Worker's;
//! kills in the middle of real renders are in `kills.rs` and `warm.rs`.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::process::{Process, holds, until};
use common::{Manager, task};
use serde_json::{Value, json};

/// Bytes of an outbox that has a report of frames to tell; an intent has its frame otherwise.
const TELLS_FRAMES: &[u8] = b"\"frames\":[{";

/// A farm of one Worker, with its files.
struct Ground {
    dir: tempfile::TempDir,
    manager: Manager,
    exe: String,
}

impl Ground {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let exe = fake_blender(dir.path());
        let manager = Manager::start().await;
        Self { dir, manager, exe }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn place(&self) -> PathBuf {
        self.path("out/f_0001.tga")
    }

    /// Lets go of whoever waits for this file.
    fn open(&self, gate: &str) {
        std::fs::write(self.path(gate), b"").unwrap();
    }

    /// The frame, as a task.
    fn render(&self, id: &str, attempt: &str) -> Value {
        let mut task = task(
            id,
            json!([{
                "name": "blender-render",
                "parameters": {
                    "exe": self.exe, "exeArgs": "-b", "blendfile": "",
                    "args": ["-o", self.path("out/f_"), "-F", "TARGA", "-f", "1"],
                },
                "total_step_count": 1,
            }]),
        );
        task["tablao"]["attempt"] = json!(attempt);
        // What is no picture has no thumbnail.
        task["tablao"]["thumbnails"] = json!("");
        task
    }

    /// A task that ends when its gate is open.
    fn waiting(&self, id: &str, attempt: &str, gate: &str) -> Value {
        let gate = self.path(gate);
        let script = format!("until [ -e '{}' ]; do sleep 0.02; done", gate.display());
        let exec =
            json!([{ "name": "exec", "parameters": { "exe": "sh", "args": ["-c", script] } }]);
        let mut task = task(id, exec);
        task["tablao"]["attempt"] = json!(attempt);
        task
    }

    fn worker(&self) -> Process {
        Process::start(&self.manager, &self.path("data"))
    }

    /// Who reported frames, how, and with which content.
    fn reports(&self) -> BTreeSet<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.manager.change(|heard| {
            let mut reports = BTreeSet::new();
            for (_, update) in &heard.updates {
                let extension = &update["tablao"];
                for frame in extension["frames"].as_array().into_iter().flatten() {
                    let (attempt, outcome) = (&extension["attempt"], &frame["outcome"]);
                    reports.insert((text(attempt), text(outcome), text(&frame["hash"])));
                }
            }
            reports
        })
    }

    /// Attempts of which the Worker said at its last sign-on that it has something to tell.
    fn held(&self) -> Value {
        let sign_on = self.manager.change(|heard| heard.sign_ons.last().cloned());
        sign_on.unwrap()["tablao"]["held_attempts"].clone()
    }
}

/// A program that writes its frame, other content each time, once the file `go` is there, and ends
/// when `end` is.
fn fake_blender(folder: &Path) -> String {
    let program = folder.join("fake-blender");
    let folder = folder.display();
    let text = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = --version ]; then echo \"Blender 3.4.1\"; exit 0; fi\n\
         while [ $# -gt 0 ]; do\n  case $1 in -o) out=$2;; -f) frame=$2;; esac\n  shift\ndone\n\
         echo \"Blender 3.4.1\"\n\
         until [ -e '{folder}/go' ]; do sleep 0.02; done\n\
         file=$out$(printf %04d $frame).tga\n\
         echo content of $$ at $(date +%s%N) > \"$file\"\n\
         echo \"Saved: '$file'\"\necho ' Time: 00:00.01 (Saving: 00:00.00)'\n\
         until [ -e '{folder}/end' ]; do sleep 0.02; done\n"
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program.display().to_string()
}

/// What makes a Worker stand still.
fn halting_library(folder: &Path) -> PathBuf {
    let library = folder.join("halt.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/halt.c"))
        .arg("-ldl")
        .output()
        .expect("the C compiler, with which Rust links, is installed");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    library
}

/// Content and inode of a file, if it is there.
fn look(path: &Path) -> Option<(Vec<u8>, u64)> {
    let content = std::fs::read(path).ok()?;
    Some((content, path.metadata().unwrap().ino()))
}

/// Where a publication stands still.
#[derive(Clone, Copy)]
enum Halt {
    /// The Worker, at this call.
    At(&'static str),
    /// The Manager does not take the report, which stays in the outbox.
    Refused,
    /// The Manager has taken the report, and its answer never comes.
    Unanswered,
}

struct Moment {
    name: &'static str,
    halt: Halt,
    /// Whether the new file has its final name by then.
    is_named: bool,
    overwrite: bool,
}

/// The steps of a publication, in order.
const MOMENTS: &[Moment] = {
    const fn at(name: &'static str, halt: Halt, is_named: bool, overwrite: bool) -> Moment {
        Moment {
            name,
            halt,
            is_named,
            overwrite,
        }
    }
    &[
        at("being synced", Halt::At("before fsync"), false, false),
        at(
            "checked and hashed",
            Halt::At("before linkat"),
            false,
            false,
        ),
        at("named", Halt::At("after linkat"), true, false),
        at("named and not told", Halt::At("after unlink"), true, false),
        at("about to replace", Halt::At("before rename"), false, true),
        at("replaced", Halt::At("after rename"), true, true),
        at("its report in the outbox", Halt::Refused, true, false),
        at("its report on the way", Halt::Unanswered, true, false),
    ]
};

async fn kill_at(library: &Path, moment: &Moment, away: bool) {
    let name = format!("{} (Manager away: {away})", moment.name);
    let ground = Ground::new().await;
    let manager = &ground.manager;
    let place = ground.place();
    if moment.overwrite {
        std::fs::create_dir(ground.path("out")).unwrap();
        std::fs::write(&place, b"an older render").unwrap();
    }
    let older = look(&place);
    let render = |attempt: &str| {
        let mut render = ground.render("render", attempt);
        render["tablao"]["overwrite"] = json!(moment.overwrite);
        render
    };
    manager.change(|heard| heard.tasks.push_back(render("first")));
    let halted = ground.path("halted");
    let mut environment: Vec<(&str, &OsStr)> = Vec::new();
    if let Halt::At(call) = moment.halt {
        environment.push(("LD_PRELOAD", library.as_os_str()));
        environment.push(("TABLAO_TEST_HALT_AT", OsStr::new(call)));
        environment.push(("TABLAO_TEST_HALTED", halted.as_os_str()));
    }
    let process = Process::start_with(manager, &ground.path("data"), &environment);
    let started = |heard: &common::Heard| (!heard.updates.is_empty()).then_some(());
    manager.until("the start", started).await;
    manager.change(|heard| match moment.halt {
        Halt::At(_) => {}
        Halt::Refused => heard.update_code = 503,
        Halt::Unanswered => heard.unanswered = "frames",
    });
    ground.open("go");
    match moment.halt {
        Halt::At(_) => until(&name, || halted.exists()).await,
        Halt::Refused => {
            let outbox = ground.path("data/outbox");
            until(&name, || holds(&outbox, TELLS_FRAMES)).await;
        }
        Halt::Unanswered => {
            let told = || !ground.reports().is_empty();
            until(&name, told).await;
        }
    }
    assert!(process.runs("fake-blender"), "{name}: Blender has ended");
    manager.change(|heard| heard.away = away);
    process.kill().await;
    let left = look(&place);
    if moment.is_named {
        assert!(left.is_some() && left != older, "{name}: {left:?}");
    } else {
        assert_eq!(left, older, "{name}");
    }

    ground.open("end");
    let mut again = render("second");
    if moment.is_named {
        // As the Manager has it once it knows of the frame.
        again["tablao"]["fresh"] = json!([[1, 1]]);
    }
    manager.change(|heard| {
        heard.away = false;
        heard.update_code = 0;
        heard.unanswered = "";
        heard.tasks.push_back(again);
    });
    let process = ground.worker();
    let end = manager.task_end("render").await;
    assert_eq!(end["taskStatus"], "completed", "{name}: {end}");
    process.kill().await;
    let now = look(&place).expect("the frame is there");
    let hash = blake3::hash(&now.0).to_hex().to_string();
    let report =
        |attempt: &str, outcome: &str| (attempt.to_owned(), outcome.to_owned(), hash.clone());
    let (reports, held) = if moment.is_named {
        assert_eq!(Some(now), left, "{name}: it changed after it had its name");
        let reports = [report("first", "published"), report("second", "found")];
        (BTreeSet::from(reports), json!(["first"]))
    } else {
        let reports = [report("second", "published")];
        (BTreeSet::from(reports), json!([]))
    };
    assert_eq!(ground.reports(), reports, "{name}");
    assert_eq!(ground.held(), held, "{name}");
    assert!(!ground.path("out/.tablao-staging").exists(), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_it_publishes_tells_what_it_published_and_no_more() {
    // Protects one publication per frame at every step of it: a file with its final name is told
    // of and stays as it is, one without is no frame, and the tree of the Worker is gone.
    let dir = tempfile::tempdir().unwrap();
    let library = halting_library(dir.path());
    for moment in MOMENTS {
        tokio::join!(
            kill_at(&library, moment, false),
            kill_at(&library, moment, true)
        );
    }
}

/// Kills a Worker that has claimed a render ahead: while it holds it, or, with `begun`, when it has
/// rendered and waits until the Manager takes its start.
async fn kill_with_claimed(begun: bool, away: bool) {
    let name = format!("begun: {begun}, Manager away: {away}");
    let ground = Ground::new().await;
    let manager = &ground.manager;
    manager.change(|heard| {
        let before = ground.waiting("before", "before-1", "gate");
        heard.tasks.push_back(before);
        heard.tasks.push_back(ground.render("claimed", "claimed-1"));
    });
    let process = ground.worker();
    let staging = ground.path("out/.tablao-staging/claimed-1");
    until(&name, || staging.exists()).await;
    manager.change(|heard| assert!(heard.tasks.is_empty(), "{name}"));
    ground.open("go");
    if begun {
        manager.change(|heard| heard.update_code = 503);
        ground.open("gate");
        let outbox = ground.path("data/outbox");
        until(&name, || holds(&outbox, b"\"completed\"")).await;
        until(&name, || holds(&outbox, b"\"publishing\"")).await;
        // Time for a Worker that does not wait to show it; no result depends on how long.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(process.runs("fake-blender"), begun, "{name}");
    manager.change(|heard| heard.away = away);
    process.kill().await;
    assert!(look(&ground.place()).is_none(), "{name}");

    ground.open("gate");
    ground.open("end");
    manager.change(|heard| {
        heard.away = false;
        heard.update_code = 0;
        // What the Manager heard of is over by now, and handed out anew; what it did not hear of
        // the Worker is given again.
        let again = if begun {
            ground.render("claimed", "claimed-2")
        } else {
            ground.waiting("before", "before-2", "gate")
        };
        heard.tasks.push_back(again);
    });
    let process = ground.worker();
    for task in ["before", "claimed"] {
        let end = manager.task_end(task).await;
        assert_eq!(end["taskStatus"], "completed", "{name}: {end}");
    }
    process.kill().await;
    let (content, _) = look(&ground.place()).expect("the frame is there");
    let publisher = if begun { "claimed-2" } else { "claimed-1" };
    let hash = blake3::hash(&content).to_hex().to_string();
    let report = (publisher.to_owned(), "published".to_owned(), hash);
    assert_eq!(ground.reports(), BTreeSet::from([report]), "{name}");
    let held = if begun {
        json!(["before-1"])
    } else {
        json!([])
    };
    assert_eq!(ground.held(), held, "{name}");
    assert!(!ground.path("out/.tablao-staging").exists(), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_claimed_ahead_outlives_its_worker() {
    // Protects tasks that a killed Worker held or had begun by itself: nothing of them is
    // published, the end of the task before is told, and both tasks are done by the next Worker.
    for begun in [false, true] {
        tokio::join!(
            kill_with_claimed(begun, false),
            kill_with_claimed(begun, true)
        );
    }
}
