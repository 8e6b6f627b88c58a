// SPDX-License-Identifier: GPL-3.0-or-later
//! Slots that are control groups: what runs in one has its memory and processors together, and the
//! groups go with the Worker.
//!
//! Run for real where the controllers `memory` and `cpuset` are handed to this process alone, as by
//! `systemd-run --user -p Delegate=yes --pipe PROGRAM`, or as root in the group of the whole
//! machine; elsewhere the tests say that they were not run. With `TABLAO_NEEDS_GROUPS=1` that is a
//! failure.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::process::{Process, blenders_with, until};
use common::{Manager, task};
use serde_json::{Value, json};

const MEBIBYTE: u64 = 1024 * 1024;

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The group in which this process may make others; words where there is none.
fn make_ground() -> Result<PathBuf, String> {
    let groups = read("/proc/self/cgroup");
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let mounts = read("/proc/mounts");
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    let mount = mounts.find_map(|mut fields| {
        let at = fields.nth(1)?;
        (fields.next()? == "cgroup2").then_some(at)
    });
    let (Some(own), Some(mount)) = (own, mount) else {
        return Err("there are no control groups of version 2".to_owned());
    };
    let ground = Path::new(mount).join(own);
    let offered = read(ground.join("cgroup.controllers"));
    for controller in ["memory", "cpuset"] {
        if !offered.split_whitespace().any(|word| word == controller) {
            let ground = ground.display();
            return Err(format!(
                "{ground} does not offer the controller {controller}"
            ));
        }
    }
    let said = |error: std::io::Error| format!("{}: {error}", ground.display());
    // Who divides a group may not be in it.
    let aside = ground.join(format!("tablao-test-{}", std::process::id()));
    std::fs::create_dir(&aside).map_err(said)?;
    let divided = std::fs::write(aside.join("cgroup.procs"), "0")
        .and_then(|()| std::fs::write(ground.join("cgroup.subtree_control"), "+memory +cpuset"));
    if divided.is_err() {
        let _ = std::fs::write(ground.join("cgroup.procs"), "0");
        let _ = std::fs::remove_dir(&aside);
    }
    divided.map_err(said)?;
    Ok(ground)
}

/// A group for one Worker, as a service manager delegates it; none where that cannot be done.
fn delegated(name: &str) -> Option<PathBuf> {
    static GROUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match GROUND.get_or_init(make_ground) {
        Ok(ground) => {
            let group = ground.join(format!("tablao-test-{}-{name}", std::process::id()));
            std::fs::create_dir(&group).unwrap();
            Some(group)
        }
        Err(why) => {
            assert!(std::env::var_os("TABLAO_NEEDS_GROUPS").is_none(), "{why}");
            println!("skipped: control groups ({why})");
            None
        }
    }
}

fn groups_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut groups: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    groups.sort();
    groups
}

fn run(exe: &str, script: &str) -> Value {
    json!([{ "name": "exec", "parameters": { "exe": exe, "args": ["-c", script] } }])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_a_slot_has_its_memory_and_processors_together() {
    // Protects a machine from a task of many processes, each small enough, and its other slots
    // from it; and people from guessing why it died.
    let Some(group) = delegated("slots") else {
        return;
    };
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    let beside = format!("until [ -e '{}' ]; do sleep 0.05; done", gate.display());
    // Written to, for what is only asked for costs nothing.
    let holds = |mebibytes: u32, then: &str| {
        format!("python3 -c 'import time; held = b\"x\" * ({mebibytes} << 20); {then}'")
    };
    let together = |program: &str| format!("for n in 1 2 3 4; do {program} & done; wait");
    manager.change(|heard| {
        let mut add = |name: &str, commands| heard.tasks.push_back(task(name, commands));
        add("beside", run("sh", &beside));
        add(
            "together",
            run("sh", &together(&holds(80, "time.sleep(600)"))),
        );
        add(
            "alone",
            run(
                "python3",
                "held = []\nwhile True: held.append(b\"x\" * (16 << 20))",
            ),
        );
        add("fit", run("sh", &together(&holds(20, ""))));
        add("fails", run("python3", "raise SystemExit(3)"));
        let look = "import os; own = os.sched_getaffinity(0)\n\
                    os.sched_setaffinity(0, range(os.cpu_count()))\n\
                    print('has', len(own), len(os.sched_getaffinity(0)), os.cpu_count())\n\
                    print('group', open('/proc/self/cgroup').read())";
        add("looks", run("python3", look));
    });
    let worker =
        Process::start_in_group(&manager, &dir.path().join("data"), &group, 200 * MEBIBYTE);
    for name in ["together", "alone"] {
        let end = manager.task_end(name).await;
        let log = manager.log(name);
        let failure = &end["tablao"]["failure"];
        assert_eq!(failure["class"], "out_of_memory", "{end} {log}");
        let words = end["activity"].as_str().unwrap();
        println!("{name}: {words}");
        assert!(
            words.contains("a slot of this worker has 200 MiB"),
            "{words}"
        );
        let peak = end["tablao"]["peak_memory_bytes"].as_u64().unwrap();
        // Older kernels tell only what the largest process held.
        assert!((70 * MEBIBYTE..=200 * MEBIBYTE).contains(&peak), "{peak}");
    }
    assert_eq!(manager.task_end("fit").await["taskStatus"], "completed");
    let other = manager.task_end("fails").await;
    assert_eq!(other["tablao"]["failure"]["class"], "process", "{other}");
    let looks = manager.task_end("looks").await;
    let log = manager.log("looks");
    assert_eq!(looks["taskStatus"], "completed", "{log}");
    println!("{log}");
    let after = |words: &str| {
        let line = log.lines().find_map(|line| line.split_once(words)).unwrap();
        line.1.trim().to_owned()
    };
    assert!(after("0::").contains("/slot-"), "{log}");
    let counts = after("> has ");
    let counts: Vec<usize> = counts
        .split(' ')
        .map(|count| count.parse().unwrap())
        .collect();
    // Who has a machine of one processor cannot divide it.
    if counts[2] > 1 {
        assert!(counts[0] < counts[2], "{log}");
        assert_eq!(counts[0], counts[1], "it took more than its own: {log}");
    }
    // The slot beside is as it was.
    std::fs::write(&gate, b"").unwrap();
    assert_eq!(manager.task_end("beside").await["taskStatus"], "completed");
    manager.change(|heard| heard.requested = Some("offline".to_owned()));
    worker.end().await;
    assert_eq!(groups_in(&group), Vec::<PathBuf>::new());
    assert_eq!(read(group.join("cgroup.subtree_control")).trim(), "");
    std::fs::remove_dir(&group).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_left_is_removed_by_the_next() {
    // Protects a machine from groups that pile up, and the next task from the limits and the
    // programs of a Worker that is gone.
    let Some(group) = delegated("killed") else {
        return;
    };
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    manager.change(|heard| {
        heard
            .tasks
            .push_back(task("long", run("sh", "sleep 600 & wait")))
    });
    let worker = Process::start_in_group(&manager, &data, &group, 64 * MEBIBYTE);
    let slots = || -> Vec<PathBuf> {
        let homes = groups_in(&group).into_iter();
        homes
            .flat_map(|home| groups_in(&home))
            .filter(|group| !group.ends_with("worker"))
            .collect()
    };
    let is_used = |slot: &PathBuf| read(slot.join("cgroup.procs")).lines().count() == 2;
    until("a slot with the programs of the task", || {
        slots().iter().any(is_used)
    })
    .await;
    worker.kill().await;
    assert_eq!(slots().len(), 2);
    // A group that is divided takes no process, so the next one starts where the one before was.
    let home = groups_in(&group).pop().unwrap();
    manager.change(|heard| heard.tasks.push_back(task("after", run("true", ""))));
    let own = home.join("worker");
    let worker = Process::start_in_group(&manager, &data, &own, 96 * MEBIBYTE);
    assert_eq!(manager.task_end("after").await["taskStatus"], "completed");
    for slot in slots() {
        let limit = read(slot.join("memory.max"));
        assert_eq!(limit.trim(), (96 * MEBIBYTE).to_string());
        assert!(slot.starts_with(&home));
    }
    manager.change(|heard| heard.requested = Some("offline".to_owned()));
    worker.end().await;
    assert_eq!(groups_in(&group), Vec::<PathBuf>::new());
    std::fs::remove_dir(&group).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blender_that_stays_up_has_its_slots_memory_and_gives_it_back() {
    // Protects a slot's next program from what a Blender holds that only waits, and a task whose
    // Blender outgrew the slot from a reason that says nothing of it.
    let Some(group) = delegated("blender") else {
        return;
    };
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let blend = dir.path().join("scene.blend");
    let words = blend.display().to_string();
    let save = format!("import bpy; bpy.ops.wm.save_as_mainfile(filepath={words:?})");
    let made = std::process::Command::new("blender")
        .args(["-b", "--factory-startup", "--python-expr", &save])
        .output()
        .expect("Blender is installed");
    assert!(blend.exists(), "{made:?}");
    let render = |output: &str, python: &str| {
        let small = "import bpy; render = bpy.context.scene.render; \
                     render.engine = 'CYCLES'; bpy.context.scene.cycles.samples = 1; \
                     bpy.context.scene.cycles.use_denoising = False; \
                     render.resolution_x = render.resolution_y = 16";
        json!([{
            "name": "blender-render",
            "parameters": {
                "exe": "blender", "exeArgs": "-b -y", "argsBefore": [], "blendfile": blend,
                "args": [
                    "--python-expr", format!("{small}; {python}"),
                    "--render-output", dir.path().join(output).join("f_####"),
                    "--render-format", "PNG", "--render-frame", "1",
                ],
            },
            "total_step_count": 1,
        }])
    };
    let add = |name: &str, commands| {
        manager.change(|heard| heard.tasks.push_back(task(name, commands)));
    };
    add("fits", render("fits", ""));
    let worker =
        Process::start_in_group(&manager, &dir.path().join("data"), &group, 512 * MEBIBYTE);
    let end = manager.task_end("fits").await;
    assert_eq!(end["taskStatus"], "completed", "{}", manager.log("fits"));
    let up = blenders_with(&words);
    assert_eq!(up.len(), 1, "{}", manager.log("fits"));
    let its_group = read(format!("/proc/{}/cgroup", up[0]));
    assert!(its_group.contains("/slot-"), "{its_group}");
    add("program", run("true", ""));
    assert_eq!(manager.task_end("program").await["taskStatus"], "completed");
    assert_eq!(blenders_with(&words), [0; 0]);
    add("outgrows", render("outgrows", "held = b'x' * (600 << 20)"));
    let end = manager.task_end("outgrows").await;
    let log = manager.log("outgrows");
    println!("{} {log}", end["activity"]);
    assert_eq!(end["tablao"]["failure"]["class"], "out_of_memory", "{log}");
    assert!(
        log.contains("no warm render: it ran out of memory"),
        "{log}"
    );
    manager.change(|heard| heard.requested = Some("offline".to_owned()));
    worker.end().await;
    assert_eq!(groups_in(&group), Vec::<PathBuf>::new());
    std::fs::remove_dir(&group).unwrap();
}
