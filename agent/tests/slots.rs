// SPDX-License-Identifier: GPL-3.0-or-later
//! A Worker with several slots: tasks run beside each other, each with its own share of the
//! machine, and one that asks for more memory than its share says so.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};
use tablao_agent::{Division, LimitsBy};

fn shell(script: &str) -> Value {
    json!([{ "name": "exec", "parameters": { "exe": "sh", "args": ["-c", script] } }])
}

/// The numbers in a list like `0-2,5`.
fn numbers(list: &str) -> Vec<usize> {
    list.split(',')
        .flat_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            first.parse::<usize>().unwrap()..=last.parse().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_slots_run_two_tasks_each_on_its_own_processors() {
    // Protects what a strong machine is bought for: neither task can end before the other has
    // begun, and neither takes the other's processors or card.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let script = |own: &str, other: &str| {
        let (own, other) = (dir.path().join(own), dir.path().join(other));
        shell(&format!(
            "touch '{}'; until [ -e '{}' ]; do sleep 0.05; done; \
             grep Cpus_allowed_list /proc/self/status; \
             echo card $CUDA_VISIBLE_DEVICES slot $TABLAO_SLOT",
            own.display(),
            other.display()
        ))
    };
    manager.change(|heard| {
        heard.tasks.push_back(task("left", script("l", "r")));
        heard.tasks.push_back(task("right", script("r", "l")));
        // More than places: it waits for its turn.
        heard.tasks.push_back(task("third", shell("true")));
    });
    let worker = RunningWorker::start_with(&manager, &dir.path().join("data"), |options| {
        options.slots = 2;
        options.division.graphics = vec!["4".into(), "7".into()];
    });
    let mut shares = Vec::new();
    for name in ["left", "right"] {
        let end = manager.task_end(name).await;
        let log = manager.log(name);
        assert_eq!(end["taskStatus"], "completed", "{log}");
        let after = |words: &str| {
            let line = log.lines().find_map(|line| line.split_once(words)).unwrap();
            line.1.trim().to_owned()
        };
        shares.push((after("> card "), numbers(&after("> Cpus_allowed_list:"))));
    }
    assert_eq!(manager.task_end("third").await["taskStatus"], "completed");
    shares.sort();
    assert_eq!(shares[0].0, "4 slot 1");
    assert_eq!(shares[1].0, "7 slot 2");
    let machine = std::thread::available_parallelism().unwrap().get();
    if machine > 1 {
        let (first, second) = (&shares[0].1, &shares[1].1);
        assert_eq!(first.len() + second.len(), machine, "{shares:?}");
        assert!(first.iter().all(|number| !second.contains(number)));
    }
    manager.change(|heard| assert_eq!(heard.sign_ons[0]["tablao"]["slots"], 5));
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_free_is_filled_while_another_is_busy() {
    // Protects half of a machine from idling: a task that comes later does not wait for the end
    // of the one that runs.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    let until = format!("until [ -e '{}' ]; do sleep 0.05; done", gate.display());
    manager.change(|heard| heard.tasks.push_back(task("long", shell(&until))));
    let worker = RunningWorker::start_with(&manager, &dir.path().join("data"), |options| {
        options.slots = 2;
        options.claim_ahead = false;
    });
    // The Worker asks for its other place, and is left waiting.
    manager
        .until("the second ask", |heard| (heard.asks >= 2).then_some(()))
        .await;
    manager.change(|heard| {
        heard.tasks.push_back(task("late", shell("true")));
    });
    assert_eq!(manager.task_end("late").await["taskStatus"], "completed");
    manager.change(|heard| {
        let ended =
            |update: &(String, Value)| update.0 == "long" && update.1["taskStatus"] == "completed";
        assert!(!heard.updates.iter().any(ended));
    });
    std::fs::write(&gate, b"").unwrap();
    manager.task_end("long").await;
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_wants_more_memory_than_its_slot_has_says_so() {
    // Protects the other slots from one that grows, and people from guessing why it died.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let python = |script: &str| json!([{ "name": "exec", "parameters": { "exe": "python3", "args": ["-c", script] } }]);
    manager.change(|heard| {
        let grows = "held = []\nwhile True: held.append(bytearray(16 * 1024 * 1024))";
        heard.tasks.push_back(task("grows", python(grows)));
        // Dies as programs do that do not look whether they were given memory.
        let breaks = "import os, signal\nheld = bytearray(150 * 1024 * 1024)\n\
                      os.kill(os.getpid(), signal.SIGSEGV)";
        heard.tasks.push_back(task("breaks", python(breaks)));
        let fits = "held = bytearray(32 * 1024 * 1024)";
        heard.tasks.push_back(task("fits", python(fits)));
        heard
            .tasks
            .push_back(task("fails", python("raise SystemExit(3)")));
    });
    let worker = RunningWorker::start_with(&manager, &dir.path().join("data"), |options| {
        options.division = Division {
            memory_bytes: Some(200 * 1024 * 1024),
            // What groups do is in a test of their own.
            limits_by: LimitsBy::Resource,
            ..Division::default()
        };
    });
    for name in ["grows", "breaks"] {
        let end = manager.task_end(name).await;
        let log = manager.log(name);
        assert_eq!(
            end["tablao"]["failure"]["class"], "out_of_memory",
            "{end} {log}"
        );
        let words = end["activity"].as_str().unwrap();
        assert!(
            words.contains("a slot of this worker has 200 MiB"),
            "{words}"
        );
        let peak = end["tablao"]["peak_memory_bytes"].as_u64().unwrap();
        assert!((100 << 20..220 << 20).contains(&peak), "{peak}");
    }
    assert_eq!(manager.task_end("fits").await["taskStatus"], "completed");
    let other = manager.task_end("fails").await;
    assert_eq!(other["tablao"]["failure"]["class"], "process", "{other}");
    worker.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_cannot_be_given_stops_the_worker_at_its_start() {
    // Protects an owner's wish from being ignored in silence.
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut options = tablao_agent::Options::new(&manager.url, dir.path().join("data"));
    options.slots = 2;
    options.division.processors = tablao_agent::Processors::Sets(vec![vec![0], vec![4000]]);
    let error = tablao_agent::run(options, std::future::pending())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("processor 4000 is not there"),
        "{error}"
    );
}
