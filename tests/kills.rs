// SPDX-License-Identifier: GPL-3.0-or-later
//! While real Blender renders a job: `kill -9` the Manager, a Worker, both, at random moments.
//!
//! After each: the job completes, every frame was published once, a file with a final name was
//! whole from its first moment and never changed, nothing of a killed Worker runs on, and every
//! journal is whole. `TABLAO_SEED` brings the moments back, `TABLAO_KILLS` sets how many there
//! are in each test, `TABLAO_SOAK=1` makes them many.
#![cfg(target_os = "linux")]

mod farm_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

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
    watcher: Watcher,
    job: String,
    frames: u32,
    /// Kills that hit while the job was running.
    hits: u64,
}

impl Render {
    /// Starts a Manager and submits; frames enough for so many kills in the middle.
    fn start(chance: &mut Chance) -> (Self, Process) {
        Self::start_with(chance, Place::manager, None)
    }

    /// The same with whatever process plays the Manager, and the job submitted at another address.
    fn start_with(
        chance: &mut Chance,
        manager: impl FnOnce(&Place) -> Process,
        server: Option<&str>,
    ) -> (Self, Process) {
        let place = Place::new(SHORT_LEASES);
        let manager = manager(&place);
        let output = place.folder.join("frames");
        let watcher = Watcher::start(&output);
        let frames = 12.max(4 * u32::try_from(kills()).expect("a small number"));
        let chunk_size = 1 + u32::try_from(chance.below(3)).expect("a small number");
        let submission = scene::submission(frames, chunk_size, &output);
        let address = server.unwrap_or(&place.address);
        let mut connection = Connection::open(address).expect("somebody listens");
        let answer = connection.json("POST", "/api/v3/jobs", &submission);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let job = answer.json()["id"].as_str().expect("an id").to_owned();
        println!("frames 1-{frames} in chunks of {chunk_size}");
        let render = Self {
            place,
            watcher,
            job,
            frames,
            hits: 0,
        };
        (render, manager)
    }

    fn status(&self) -> Option<String> {
        self.status_at(&self.place.address)
    }

    /// The job's status as this process shows it; nothing while it does not answer.
    fn status_at(&self, address: &str) -> Option<String> {
        let answer = http::get(address, &format!("/api/v3/jobs/{}", self.job)).ok()?;
        assert_eq!(answer.status, 200, "the job is lost: {}", answer.text());
        Some(answer.json()["status"].as_str()?.to_owned())
    }

    /// Waits for a random moment while the job runs: some frame more than now, and a little more,
    /// but no longer than until this round's share of the frames is there, so that every round
    /// finds the job at work however fast a Blender that stays up renders.
    fn wait_for_a_moment(&mut self, round: u64, chance: &mut Chance) {
        let share = u64::from(self.frames) * round / (kills() + 1);
        let share = usize::try_from(share).expect("a small number");
        let more = usize::try_from(chance.below(3)).expect("a small number");
        let enough = (self.watcher.frames() + more).min(share);
        until("more frames", || {
            (self.watcher.frames() >= enough).then_some(())
        });
        let pause = Duration::from_millis(chance.below(2000));
        let since = Instant::now();
        while since.elapsed() < pause && self.watcher.frames() < share {
            std::thread::sleep(Duration::from_millis(5));
        }
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
        self.check_event_list();
        let live = live_digest(&self.place.address);
        for worker in &mut workers {
            worker.stop();
        }
        manager.stop();
        leftovers::wait_until_none(&self.place.folder);
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

impl Render {
    /// The events that the farm tells: each frame published once.
    fn check_event_list(&self) {
        let (mut published, mut after) = (BTreeMap::new(), String::new());
        loop {
            let path = format!("/api/farm/v1/events?job={}&limit=500{after}", self.job);
            let answer = http::get(&self.place.address, &path).expect("the Manager listens");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let body = answer.json();
            let items = body["items"].as_array().expect("a list");
            let Some(last) = items.last() else {
                break;
            };
            after = format!("&after={}", last["position"].as_str().expect("a position"));
            for event in items
                .iter()
                .filter(|event| event["kind"] == "FramePublished")
            {
                *published
                    .entry(event["data"]["key"]["number"].as_i64())
                    .or_insert(0) += 1;
            }
        }
        assert_eq!(published.len(), self.frames as usize, "{published:?}");
        assert!(published.values().all(|count| *count == 1), "{published:?}");
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
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// What the live process said is what a replay of its files says at the same position.
fn check_replay(data: &std::path::Path, live: Value) {
    let replayed = journals::replay_at(data, &live);
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

/// How many attempts were running at the same time, at most.
fn most_at_a_time(records: &[Recorded]) -> usize {
    let (mut running, mut most) = (BTreeSet::new(), 0);
    for recorded in records {
        match &recorded.event {
            Event::AttemptStarted(started) => {
                running.insert(started.attempt);
                most = most.max(running.len());
            }
            Event::AttemptEnded(ended) => {
                running.remove(&ended.attempt);
            }
            _ => {}
        }
    }
    most
}

/// Protects a rendering farm from the death of its Manager: what it had acknowledged is there
/// when it comes back, its Worker renders on, and no frame is published twice.
#[test]
fn a_killed_manager_comes_back_and_the_job_completes() {
    let mut chance = Chance::announced("kill the Manager");
    let (mut render, mut manager) = Render::start(&mut chance);
    let worker = render.place.worker("worker");
    for round in 1..=kills() {
        render.wait_for_a_moment(round, &mut chance);
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
        render.wait_for_a_moment(round, &mut chance);
        worker.kill();
        println!("Worker killed, {round}, {} frames", render.watcher.frames());
        leftovers::wait_until_none(&render.place.folder);
        worker = render.place.worker("worker");
    }
    render.finish(manager, vec![worker]);
}

/// Protects a strong machine's work from the death of its Worker: it renders in two slots at the
/// same time, the Blenders of both die with it, and after its return the rest is rendered.
#[test]
fn a_killed_worker_with_two_slots_comes_back_and_the_job_completes() {
    let mut chance = Chance::announced("kill a Worker with two slots");
    let (mut render, manager) = Render::start(&mut chance);
    let mut worker = render.place.worker_of_slots("worker", 2);
    until("a Blender in each slot", || {
        let programs = leftovers::blenders(&render.place.folder);
        let mut blenders = programs
            .iter()
            .filter(|(_, line)| !line.contains(" supervise "));
        blenders.nth(1).is_some().then_some(())
    });
    for round in 1..=kills() {
        render.wait_for_a_moment(round, &mut chance);
        worker.kill();
        println!("Worker killed, {round}, {} frames", render.watcher.frames());
        leftovers::wait_until_none(&render.place.folder);
        worker = render.place.worker_of_slots("worker", 2);
    }
    let records = render.finish(manager, vec![worker]);
    // One more may be publishing its last frames while the next has its slot.
    assert!(most_at_a_time(&records) >= 2, "one task after the other");
}

/// Protects a job from a Worker that dies for good: its lease lapses and another one takes over.
#[test]
fn a_worker_that_stays_away_is_replaced_when_its_lease_lapses() {
    let mut chance = Chance::announced("lose a Worker");
    let (mut render, manager) = Render::start(&mut chance);
    let mut lost = render.place.worker("lost");
    until("a Blender of the Worker", || {
        (!leftovers::blenders(&render.place.folder).is_empty()).then_some(())
    });
    // Only a Worker that is at work leaves a lease behind: not long after the first frame.
    until("the first frame", || {
        (render.watcher.frames() > 0).then_some(())
    });
    render.hits += 1;
    lost.kill();
    leftovers::wait_until_none(&render.place.folder);
    let other = render.place.worker("other");
    let records = render.finish(manager, vec![other]);
    assert!(lapsed(&records) > 0, "nobody's lease lapsed");
}

/// Protects the farm of one machine, Manager and Worker in one process, from that process's death.
#[test]
fn a_whole_farm_in_one_process_comes_back() {
    let mut chance = Chance::announced("kill the whole farm");
    let (mut render, mut farm) = Render::start_with(&mut chance, Place::up, None);
    for round in 1..=kills() {
        render.wait_for_a_moment(round, &mut chance);
        farm.kill();
        println!("farm killed, {round}, {} frames", render.watcher.frames());
        leftovers::wait_until_none(&render.place.folder);
        farm = render.place.up();
    }
    render.finish(farm, Vec::new());
}

/// Protects a farm from a power cut: Manager and Worker die together, in either order.
#[test]
fn manager_and_worker_killed_together_come_back() {
    let mut chance = Chance::announced("kill both");
    let (mut render, mut manager) = Render::start(&mut chance);
    let mut worker = render.place.worker("worker");
    for round in 1..=kills() {
        render.wait_for_a_moment(round, &mut chance);
        if chance.below(2) == 0 {
            manager.kill();
            worker.kill();
        } else {
            worker.kill();
            chance.pause(100);
            manager.kill();
        }
        println!("both killed, {round}, {} frames", render.watcher.frames());
        leftovers::wait_until_none(&render.place.folder);
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

/// Protects a job that was submitted at the Server from the Server's death, alone and together
/// with its Manager: the site renders on without it, and what it had acknowledged is there when it
/// comes back, with a mirror that is the Manager's own history.
#[test]
fn a_killed_server_comes_back_and_shows_what_its_manager_did() {
    let mut chance = Chance::announced("kill the Server");
    let above = Place::new("");
    let mut server = above.server();
    let mut connection = Connection::open(&above.address).expect("the Server listens");
    let answer = connection.json("POST", "/api/farm/v1/link-tokens", &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let link = |place: &Place| {
        let manager = place.manager_below(&above.address, &token);
        until("the link to the Server", || {
            let body = http::get(&above.address, "/api/farm/v1/managers")
                .ok()?
                .json();
            let items = body["items"].as_array()?.clone();
            items
                .iter()
                .any(|manager| manager["role"] == "linked")
                .then_some(())
        });
        manager
    };
    let (mut render, mut manager) = Render::start_with(&mut chance, link, Some(&above.address));
    let worker = render.place.worker("worker");
    for round in 1..=kills() {
        render.wait_for_a_moment(round, &mut chance);
        server.kill();
        let both = round % 2 == 0;
        if both {
            manager.kill();
        }
        println!(
            "Server killed, {round}, both: {both}, {} frames",
            render.watcher.frames()
        );
        chance.pause(1500);
        if both {
            // The link is remembered, and the Manager starts without the Server.
            manager = render.place.manager();
        }
        server = above.server();
    }
    until("the end of the job at the Server", || {
        (render.status_at(&above.address)? == "completed").then_some(())
    });
    let site = render.place.data.join("journal/site");
    let mirrors = above.data.join("journal/mirrors");
    let mirror = std::fs::read_dir(mirrors)
        .expect("mirrors")
        .flatten()
        .next();
    let mirror = mirror.expect("the Manager's mirror").path();
    server.stop();
    let copied = journals::verify(&mirror);
    let own = journals::reader(&site)
        .chain_before(copied.next)
        .expect("readable");
    assert_eq!(own, Some(copied.chain), "the mirror has another history");
    journals::verify(&above.data.join("journal/control"));
    render.finish(manager, vec![worker]);
}

/// The checks above are worth something only if the watcher sees what it is there for.
#[test]
fn the_watcher_sees_half_written_and_changed_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut content = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(scene::SIZE.0, scene::SIZE.1)
        .write_to(&mut content, image::ImageFormat::Png)
        .expect("a picture");
    let content = content.into_inner();
    let (half, replaced) = (
        folder.path().join("half.png"),
        folder.path().join("replaced.png"),
    );
    let gone = folder.path().join("gone.png");
    let video = folder.path().join("half.mp4");
    std::fs::write(&half, &content[..content.len() - 20]).expect("written");
    std::fs::write(&replaced, &content).expect("written");
    std::fs::write(&gone, &content).expect("written");
    std::fs::write(&video, b"\0\0\0\x20ftypisom").expect("written");
    let watcher = Watcher::start(folder.path());
    until("three frames", || (watcher.frames() == 3).then_some(()));
    let aside = folder.path().join(".aside");
    std::fs::write(&aside, &content).expect("written");
    std::fs::rename(&aside, &replaced).expect("renamed");
    std::fs::remove_file(&gone).expect("removed");
    let problems = watcher.problems();
    for path in [&half, &replaced, &gone, &video] {
        let path = path.display().to_string();
        let seen = problems.iter().any(|problem| problem.starts_with(&path));
        assert!(seen, "{path} is not in {problems:?}");
    }
}
