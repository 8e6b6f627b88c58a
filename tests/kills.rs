// SPDX-License-Identifier: GPL-3.0-or-later
//! While real Blender renders a job: `kill -9` the Manager, a Worker, both, at random moments.
//!
//! After each: the job completes, every frame was published once, a file with a final name was
//! whole from its first moment and never changed, nothing of a killed Worker runs on, and every
//! journal is whole. `TABLAO_SEED` brings the moments back, `TABLAO_KILLS` sets how many there
//! are in each test, `TABLAO_SOAK=1` makes them many.
#![cfg(target_os = "linux")]

mod farm_support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use farm_support::chance::Chance;
use farm_support::http::{self, Connection};
use farm_support::process::{Place, Process};
use farm_support::watch::Watcher;
use farm_support::{is_soak, journals, leftovers, scene, until};
use serde_json::Value;
use tablao_core::event::AttemptOutcome;
use tablao_core::{Event, Recorded};

/// Leases short enough that a test can wait for one to lapse, long enough for a busy machine.
const SHORT_LEASES: &str = "[rules]\nlease_s = 12\nstart_within_s = 8\n";

/// How many kills a test does.
fn kills() -> u64 {
    match std::env::var("TABLAO_KILLS") {
        Ok(text) => text.parse().expect("TABLAO_KILLS is a number"),
        Err(_) if is_soak() => 12,
        Err(_) => 3,
    }
}

/// A farm that renders one job.
struct Render {
    place: Place,
    output: PathBuf,
    watcher: Watcher,
    job: String,
    frames: u32,
    /// Kills that hit while the job was running.
    hits: u64,
}

impl Render {
    /// Starts a Manager and submits; frames enough for so many kills in the middle.
    fn start(chance: &mut Chance) -> (Self, Process) {
        let place = Place::new(SHORT_LEASES);
        let manager = place.manager();
        let output = place.folder.join("frames");
        let watcher = Watcher::start(&output);
        let frames = 12.max(4 * u32::try_from(kills()).expect("a small number"));
        let chunk_size = 1 + u32::try_from(chance.below(3)).expect("a small number");
        let submission = scene::submission(frames, chunk_size, &output);
        let mut connection = Connection::open(&place.address).expect("the Manager listens");
        let answer = connection.json("POST", "/api/v3/jobs", &submission);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let job = answer.json()["id"].as_str().expect("an id").to_owned();
        println!("frames 1-{frames} in chunks of {chunk_size}");
        let render = Self {
            place,
            output,
            watcher,
            job,
            frames,
            hits: 0,
        };
        (render, manager)
    }

    fn status(&self) -> Option<String> {
        let answer = http::get(&self.place.address, &format!("/api/v3/jobs/{}", self.job)).ok()?;
        assert_eq!(answer.status, 200, "the job is lost: {}", answer.text());
        Some(answer.json()["status"].as_str()?.to_owned())
    }

    /// Waits for a random moment while the job runs: some frame more than now, and a little more.
    fn wait_for_a_moment(&mut self, chance: &mut Chance) {
        let more = usize::try_from(chance.below(3)).expect("a small number");
        let enough = (self.watcher.frames() + more).min(self.frames as usize - 1);
        until("more frames", || {
            (self.watcher.frames() >= enough).then_some(())
        });
        chance.pause(2000);
        if self.watcher.frames() < self.frames as usize {
            self.hits += 1;
        }
    }

    /// Waits until the job is over, and checks everything that has to be true then.
    fn finish(self, mut manager: Process, mut workers: Vec<Process>) -> Vec<Recorded> {
        until("the end of the job", || {
            let status = self.status()?;
            assert!(
                !matches!(status.as_str(), "failed" | "canceled" | "paused"),
                "the job is {status}"
            );
            (status == "completed").then_some(())
        });
        self.check_frame_list();
        let live = live_digest(&self.place.address);
        for worker in &mut workers {
            worker.stop();
        }
        manager.stop();
        leftovers::wait_until_none(&self.output);
        let files = self.watcher.finish();
        assert_eq!(files.len(), self.frames as usize, "{files:?}");
        let data = &self.place.data;
        journals::verify_all(data);
        let records = journals::site(data);
        check_publications(&records, &files, self.frames);
        check_replay(data, live);
        assert!(self.hits > 0, "no kill hit while the job was running");
        records
    }

    /// The frames that the farm shows: one entry each.
    fn check_frame_list(&self) {
        let path = format!("/api/farm/v1/frames?job={}&limit=1000", self.job);
        let answer = http::get(&self.place.address, &path).expect("the Manager listens");
        if answer.status == 404 {
            return;
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let body = answer.json();
        let items = body["items"].as_array().expect("a list");
        let numbers: Vec<i64> = items
            .iter()
            .filter_map(|frame| frame["number"].as_i64())
            .collect();
        let wanted: Vec<i64> = (1..=i64::from(self.frames)).collect();
        assert_eq!(numbers, wanted);
    }
}

/// Each frame was published once, and the file is the one that was published.
fn check_publications(records: &[Recorded], files: &BTreeMap<PathBuf, blake3::Hash>, frames: u32) {
    let counts = journals::publications(records);
    assert_eq!(counts.len(), frames as usize, "{counts:?}");
    for (key, count) in &counts {
        assert_eq!(
            *count, 1,
            "frame {} was published {count} times",
            key.number
        );
    }
    let hashes: Vec<_> = files.values().map(|hash| *hash.as_bytes()).collect();
    for recorded in records {
        if let Event::FramePublished(facts) = &recorded.event {
            let number = facts.key.number;
            assert!(
                hashes.contains(&facts.hash),
                "frame {number} has another content"
            );
        }
    }
}

/// Position and digest as the live process tells them.
fn live_digest(address: &str) -> Value {
    let answer = http::get(address, "/api/farm/v1/digest").expect("the Manager listens");
    if answer.status == 404 {
        return Value::Null;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// What the live process said is what a replay of its files says at the same position.
fn check_replay(data: &std::path::Path, live: Value) {
    if live.is_null() {
        journals::site_digest(data);
        return;
    }
    let output = std::process::Command::new(farm_support::process::TABLAO)
        .args(["replay", "--json", "--at"])
        .arg(live["position"].as_str().expect("a position"))
        .arg("--data")
        .arg(data)
        .output()
        .expect("tablao runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "replay: {said}");
    let replayed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(replayed["position"], live["position"]);
    assert_eq!(replayed["digest"], live["digest"]);
}

/// How many attempts lapsed.
fn lapsed(records: &[Recorded]) -> usize {
    let ended = records.iter().filter(|recorded| {
        matches!(&recorded.event, Event::AttemptEnded(ended) if ended.outcome == AttemptOutcome::Lapsed)
    });
    ended.count()
}

/// Protects a rendering farm from the death of its Manager: what it had acknowledged is there
/// when it comes back, its Worker renders on, and no frame is published twice.
#[test]
fn a_killed_manager_comes_back_and_the_job_completes() {
    let mut chance = Chance::announced("kill the Manager");
    let (mut render, mut manager) = Render::start(&mut chance);
    let worker = render.place.worker("worker");
    for round in 1..=kills() {
        render.wait_for_a_moment(&mut chance);
        manager.kill();
        println!(
            "Manager killed, {round}, {} frames",
            render.watcher.frames()
        );
        chance.pause(1500);
        manager = render.place.manager();
    }
    render.finish(manager, vec![worker]);
}

/// Protects frames and the machine from the death of a Worker: its Blender dies with it, and
/// after its return the rest is rendered, nothing twice.
#[test]
fn a_killed_worker_comes_back_and_the_job_completes() {
    let mut chance = Chance::announced("kill a Worker");
    let (mut render, manager) = Render::start(&mut chance);
    let mut worker = render.place.worker("worker");
    for round in 1..=kills() {
        render.wait_for_a_moment(&mut chance);
        worker.kill();
        println!("Worker killed, {round}, {} frames", render.watcher.frames());
        leftovers::wait_until_none(&render.output);
        worker = render.place.worker("worker");
    }
    render.finish(manager, vec![worker]);
}

/// Protects a job from a Worker that dies for good: its lease lapses and another one takes over.
#[test]
fn a_worker_that_stays_away_is_replaced_when_its_lease_lapses() {
    let mut chance = Chance::announced("lose a Worker");
    let (mut render, manager) = Render::start(&mut chance);
    let mut lost = render.place.worker("lost");
    until("a Blender of the Worker", || {
        let running = leftovers::naming(&render.output);
        running
            .iter()
            .any(|(_, line)| line.contains("blender"))
            .then_some(())
    });
    render.wait_for_a_moment(&mut chance);
    // Only a Worker that is at work leaves a lease behind.
    until("the Worker to be at work", || {
        (!leftovers::naming(&render.output).is_empty()).then_some(())
    });
    lost.kill();
    leftovers::wait_until_none(&render.output);
    let other = render.place.worker("other");
    let records = render.finish(manager, vec![other]);
    assert!(lapsed(&records) > 0, "nobody's lease lapsed");
}

/// Protects a farm from a power cut: Manager and Worker die together, in either order.
#[test]
fn manager_and_worker_killed_together_come_back() {
    let mut chance = Chance::announced("kill both");
    let (mut render, mut manager) = Render::start(&mut chance);
    let mut worker = render.place.worker("worker");
    for round in 1..=kills() {
        render.wait_for_a_moment(&mut chance);
        if chance.below(2) == 0 {
            manager.kill();
            worker.kill();
        } else {
            worker.kill();
            chance.pause(100);
            manager.kill();
        }
        println!("both killed, {round}, {} frames", render.watcher.frames());
        leftovers::wait_until_none(&render.output);
        if chance.below(2) == 0 {
            worker = render.place.worker("worker");
            manager = render.place.manager();
        } else {
            manager = render.place.manager();
            worker = render.place.worker("worker");
        }
    }
    render.finish(manager, vec![worker]);
}
