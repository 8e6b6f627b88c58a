// SPDX-License-Identifier: GPL-3.0-or-later
//! A Server above a Manager, with real processes, real Blender and a line that the test can cut.
//!
//! What is submitted at the Server is rendered below and seen above, whatever is killed or cut
//! meanwhile. Afterwards every journal and every copy is whole, a copy is its original, no record
//! stands in another's journal, each wish was carried out once, each frame published once.
#![cfg(target_os = "linux")]

mod farm_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use farm_support::chance::Chance;
use farm_support::http::{self, Connection};
use farm_support::line::{Line, Way};
use farm_support::process::{Place, Process, TABLAO};
use farm_support::watch::Watcher;
use farm_support::{journals, leftovers, scene, until};
use serde_json::{Value, json};
use tablao_core::{Event, JobStatus, Recorded};
use tablao_journal::{Authority, ChainValue, Lsn as JournalLsn, Verified};
use tablao_net::{past, records};
use tablao_projections::ReadModel;

/// Leases short enough that a test can wait for one to lapse, long enough for a busy machine.
const SHORT_LEASES: &str = "[rules]\nlease_s = 12\nstart_within_s = 8\n";

/// A Server, a line, a Manager, a Worker, and a job that was submitted at the Server.
struct Hierarchy {
    above: Place,
    below: Place,
    line: Line,
    server: Process,
    manager: Process,
    worker: Process,
    watcher: Watcher,
    job: String,
    frames: u32,
}

impl Hierarchy {
    /// Links a Manager and submits at the Server.
    fn start(frames: u32) -> Self {
        let above = Place::new("");
        let below = Place::new(SHORT_LEASES);
        let server = start_server(&above);
        let line = Line::new(Place::new("").address, &above.address);
        let answer = post(&above.address, "/api/farm/v1/link-tokens", &Value::Null);
        let token = answer["token"].as_str().expect("a token").to_owned();
        let mut command = below.manager_command();
        command.args(["--server", &format!("http://{}", line.address)]);
        command.args(["--link-token", &token]);
        let manager = below.started("manager", &mut command);
        let worker = below.worker("worker");
        until("the Manager at the Server", || {
            let managers = get(&above.address, "/api/farm/v1/managers")?;
            let items = managers["items"].as_array()?.clone();
            (items.iter().any(|item| item["connected"] == true)).then_some(())
        });
        let output = below.folder.join("frames");
        let watcher = Watcher::start(&output);
        let submission = scene::submission(frames, 2, &output);
        let submitted = post(&above.address, "/api/v3/jobs", &submission);
        let job = submitted["id"].as_str().expect("an id").to_owned();
        Self {
            above,
            below,
            line,
            server,
            manager,
            worker,
            watcher,
            job,
            frames,
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v3/jobs/{}{rest}", self.job)
    }

    /// The job as the Server shows it.
    fn seen_above(&self) -> Option<Value> {
        get(&self.above.address, &self.path(""))
    }

    /// The job as its Manager shows it.
    fn seen_below(&self) -> Option<Value> {
        get(&self.below.address, &self.path(""))
    }

    /// Waits until so many frames more than now have their final names, or all.
    fn wait_for_frames(&self, more: usize) {
        let enough = (self.watcher.frames() + more).min(self.frames as usize);
        until("more frames", || {
            (self.watcher.frames() >= enough).then_some(())
        });
    }

    /// True while there is something left to render.
    fn is_rendering(&self) -> bool {
        self.watcher.frames() < self.frames as usize
    }

    fn wish(&self, rest: &str, body: &Value) {
        let mut connection = Connection::open(&self.above.address).expect("the Server listens");
        let answer = connection.json("POST", &self.path(rest), body);
        assert_eq!(answer.status, 204, "{rest}: {}", answer.text());
    }

    fn wish_status(&self, status: &str) {
        let body = json!({ "status": status, "reason": "the test wants it" });
        self.wish("/setstatus", &body);
    }

    fn wait_for_status(&self, status: &str) {
        until(&format!("the job to be {status}, above and below"), || {
            let (above, below) = (self.seen_above()?, self.seen_below()?);
            (above["status"] == status && below["status"] == status).then_some(())
        });
    }

    fn mirror(&self) -> PathBuf {
        only_folder(&self.above.data.join("journal/mirrors"))
    }

    fn control_copy(&self) -> PathBuf {
        only_folder(&self.below.data.join("journal/server"))
    }

    /// Waits for the end, checks what is seen above, stops everything, checks the journals.
    fn finish(mut self) -> Journals {
        self.wait_for_status("completed");
        self.worker.stop();
        let site = self.below.data.join("journal/site");
        until("the mirror to be level", || {
            let ends = [&self.mirror(), &site].map(|folder| verify(folder).next);
            (ends[0] == ends[1]).then_some(())
        });
        let control = self.above.data.join("journal/control");
        // `OriginAdvanced` of the last push is written a second after it.
        until("the control journal to name the last push", || {
            let records = read(&control);
            let origin = records.iter().rev().find_map(origin)?;
            (origin.0.next() == verify(&site).next).then_some(())
        });
        until("the copy of the control journal to be level", || {
            let ends = [&self.control_copy(), &control].map(|folder| verify(folder).next);
            (ends[0] == ends[1]).then_some(())
        });
        let frames = self.check_frames();
        let live = get(&self.above.address, "/api/farm/v1/digest").expect("the Server listens");
        self.manager.stop();
        self.server.stop();
        leftovers::wait_until_none(&self.below.folder);
        check_replay(&self.above.data, &live);

        let journals = Journals {
            control: read(&control),
            site: read(&site),
        };
        self.check_copies(&control, &site);
        let published = journals::publications(&journals.site);
        assert_eq!(published.len(), self.frames as usize, "{published:?}");
        assert!(published.values().all(|count| *count == 1), "{published:?}");
        let files = self.watcher.finish();
        let hashes: BTreeSet<_> = files
            .values()
            .map(|hash| hash.to_hex().to_string())
            .collect();
        assert_eq!(
            hashes, frames,
            "the Server shows other frames than there are"
        );
        journals.check_wishes();
        journals
    }

    /// The frames as the Server shows them are the Manager's; returns their hashes.
    fn check_frames(&self) -> BTreeSet<String> {
        let path = format!("/api/farm/v1/frames?job={}&limit=1000", self.job);
        let above = get(&self.above.address, &path).expect("the Server listens");
        let below = get(&self.below.address, &path).expect("the Manager listens");
        assert_eq!(above["items"], below["items"]);
        let items = above["items"].as_array().expect("a list");
        let numbers: Vec<_> = items
            .iter()
            .filter_map(|frame| frame["number"].as_u64())
            .collect();
        assert_eq!(numbers, (1..=u64::from(self.frames)).collect::<Vec<_>>());
        let hashes = items.iter().filter_map(|frame| frame["hash"].as_str());
        hashes.map(str::to_owned).collect()
    }

    /// Each copy is its original to the last chain value, and the farm in it the same farm.
    fn check_copies(&self, control: &Path, site: &Path) {
        let (mirror, control_copy) = (self.mirror(), self.control_copy());
        for (copy, original) in [(&mirror, site), (&control_copy, control)] {
            let (copy, original) = (journals::verify(copy), journals::verify(original));
            assert_eq!(copy.journal_id, original.journal_id);
            assert_eq!((copy.next, copy.chain), (original.next, original.chain));
        }
        assert_eq!(digest(&mirror), digest(site));
        assert_eq!(digest(&control_copy), digest(control));
        assert_ne!(verify(control).journal_id, verify(site).journal_id);
        let own_control = self.below.data.join("journal/control");
        for (folder, authority) in [
            (control, Authority::Control),
            (&own_control, Authority::Control),
            (site, Authority::Site),
        ] {
            let reader = journals::reader(folder);
            for record in reader.records(JournalLsn::FIRST).expect("a journal") {
                let record = record.expect("a whole record");
                assert_eq!(
                    record.authority,
                    authority,
                    "{}: {record:?}",
                    folder.display()
                );
            }
        }
        assert!(
            !read(&own_control).iter().any(|recorded| matches!(
                recorded.event,
                Event::JobPlaced(_) | Event::RequestAccepted(_) | Event::OriginAdvanced(_)
            )),
            "the Server's records are in the Manager's own control journal"
        );
        for (position, chain) in read(control).iter().filter_map(origin) {
            let there = journals::reader(site).chain_before(position.next());
            let there = there.expect("a position of the site journal");
            assert_eq!(
                there,
                Some(chain),
                "the origin at {position} is another history"
            );
        }
    }
}

/// What the two journals hold in the end.
struct Journals {
    control: Vec<Recorded>,
    site: Vec<Recorded>,
}

impl Journals {
    /// Every placement and wish was settled once, in order.
    fn check_wishes(&self) {
        let asked = self.control.iter().filter(|recorded| {
            matches!(
                recorded.event,
                Event::JobPlaced(_) | Event::RequestAccepted(_)
            )
        });
        let asked: Vec<u64> = asked.map(|recorded| recorded.lsn.get()).collect();
        let settled = self
            .site
            .iter()
            .filter_map(|recorded| match &recorded.event {
                Event::RequestSettled(facts) => {
                    assert_eq!(facts.refused, None, "{:?}", recorded.detail);
                    Some(facts.control.get())
                }
                _ => None,
            });
        assert_eq!(settled.collect::<Vec<_>>(), asked);
    }

    /// How often the job was brought to each status.
    fn statuses(&self) -> BTreeMap<JobStatus, u32> {
        let mut count = BTreeMap::new();
        for recorded in &self.site {
            if let Event::JobStatusChanged(facts) = &recorded.event {
                *count.entry(facts.to).or_default() += 1;
            }
        }
        count
    }

    /// The priorities that the job was given.
    fn priorities(&self) -> Vec<i32> {
        let changes = self
            .site
            .iter()
            .filter_map(|recorded| match &recorded.event {
                Event::JobPriorityChanged(facts) => Some(facts.to),
                _ => None,
            });
        changes.collect()
    }
}

fn start_server(place: &Place) -> Process {
    let mut command = Command::new(TABLAO);
    command.args(["server", "--listen", &place.address, "--data"]);
    command.arg(&place.data);
    place.started("server", &mut command)
}

/// The JSON of an address; `None` while nobody answers or there is nothing.
fn get(address: &str, path: &str) -> Option<Value> {
    let answer = http::get(address, path).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn post(address: &str, path: &str, body: &Value) -> Value {
    let mut connection = Connection::open(address).expect("somebody listens");
    let answer = connection.json("POST", path, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn only_folder(parent: &Path) -> PathBuf {
    let entries = std::fs::read_dir(parent).expect("a folder").flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.remove(0)
}

fn verify(folder: &Path) -> Verified {
    let verified = journals::reader(folder).verify();
    verified.unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

fn read(folder: &Path) -> Vec<Recorded> {
    let reader = journals::reader(folder);
    let all = reader.records(JournalLsn::FIRST).expect("a journal");
    all.filter_map(|record| {
        let record = record.expect("a whole record");
        records::read(&record).expect("a record of this build")
    })
    .collect()
}

fn digest(folder: &Path) -> tablao_core::Digest {
    let mut model = ReadModel::new();
    past::fold(&journals::reader(folder), &mut model).expect("a journal that folds");
    model.farm().digest()
}

fn origin(recorded: &Recorded) -> Option<(JournalLsn, ChainValue)> {
    match &recorded.event {
        Event::OriginAdvanced(facts) => {
            Some((JournalLsn::new(facts.lsn.get()), ChainValue(facts.chain)))
        }
        _ => None,
    }
}

/// What the live Server said of the whole farm is what a replay of its files says.
fn check_replay(data: &Path, live: &Value) {
    let replayed = journals::replay_at(data, live);
    assert_eq!(replayed["digest"], live["digest"]);
}

/// Protects a job that was submitted at the Server from the death of the Server, of its Manager,
/// and of both: it is rendered below, seen above, and the copies are level again.
#[test]
fn a_job_placed_at_the_server_survives_kills_of_both_sides() {
    let mut chance = Chance::announced("kill Server and Manager");
    let mut farm = Hierarchy::start(18);
    farm.wait_for_frames(1);
    until("a frame at the Server", || {
        let path = format!("/api/farm/v1/frames?job={}", farm.job);
        let frames = get(&farm.above.address, &path)?;
        (!frames["items"].as_array()?.is_empty()).then_some(())
    });

    farm.server.kill();
    println!("Server killed, {} frames", farm.watcher.frames());
    farm.wait_for_frames(2);
    assert!(farm.seen_below().is_some(), "the site works on alone");
    farm.server = start_server(&farm.above);

    chance.pause(1500);
    assert!(
        farm.is_rendering(),
        "the job ended before the Manager was killed"
    );
    farm.manager.kill();
    println!("Manager killed, {} frames", farm.watcher.frames());
    assert!(
        farm.seen_above().is_some(),
        "the Server shows what it knows"
    );
    chance.pause(500);
    farm.manager = farm.below.manager();
    farm.wait_for_frames(2);

    assert!(farm.is_rendering(), "the job ended before both were killed");
    if chance.below(2) == 0 {
        farm.manager.kill();
        farm.server.kill();
        farm.server = start_server(&farm.above);
        farm.manager = farm.below.manager();
    } else {
        farm.server.kill();
        farm.manager.kill();
        farm.manager = farm.below.manager();
        farm.wait_for_frames(1);
        farm.server = start_server(&farm.above);
    }
    println!("both killed, {} frames", farm.watcher.frames());
    farm.finish();
}

/// Protects a farm from a bad line: cut while idle, in the middle of what goes up and of what
/// comes down, and slow. What is wanted at the Server meanwhile is carried out once, afterwards.
#[test]
fn a_line_that_is_cut_and_restored_loses_and_repeats_nothing() {
    let mut chance = Chance::announced("cut the line");
    let farm = Hierarchy::start(14);
    farm.wait_for_frames(1);

    farm.line.cut();
    farm.wish("/setpriority", &json!({ "priority": 71 }));
    farm.wait_for_frames(2);
    let below = farm.seen_below().expect("the Manager listens");
    assert_eq!(below["priority"], 50, "the line was not cut");
    farm.line.restore();
    let priority_is = |priority: u64| {
        until(&format!("priority {priority} above and below"), || {
            let (above, below) = (farm.seen_above()?, farm.seen_below()?);
            (above["priority"] == priority && below["priority"] == priority).then_some(())
        });
    };
    priority_is(71);

    let set_priority = |priority: u64| {
        farm.wish("/setpriority", &json!({ "priority": priority }));
    };
    // A greeting's answer is about 450 bytes, a record on its way down about 500 with its header;
    // reports on their way up are some kilobytes each.
    for (way, bound) in [
        (Way::Down, 700),
        (Way::Up, 3000),
        (Way::Down, 1200),
        (Way::Up, 900),
    ] {
        let bytes = 1 + usize::try_from(chance.below(bound)).expect("a small number");
        farm.line.cut_after(way, bytes);
        let priority = 10 + chance.below(50);
        set_priority(priority);
        until("the cut in the middle", || farm.line.is_cut().then_some(()));
        println!(
            "cut after {bytes} bytes {way:?}, {} frames",
            farm.watcher.frames()
        );
        set_priority(priority + 1);
        farm.line.restore();
        priority_is(priority + 1);
    }

    farm.line.delay(Duration::from_millis(150));
    set_priority(72);
    priority_is(72);
    farm.line.delay(Duration::ZERO);
    assert!(farm.line.carried(Way::Up) > 0 && farm.line.carried(Way::Down) > 0);
    farm.finish();
}

/// Protects people at the Server from a Manager that cannot be reached: what they want is
/// accepted, outlives the Server, is carried out once when the line is back, and they see it.
#[test]
fn wishes_of_a_cut_are_carried_out_once_when_the_line_is_back() {
    let mut farm = Hierarchy::start(8);
    farm.wait_for_frames(1);

    farm.line.cut();
    farm.wish_status("cancel-requested");
    farm.server.kill();
    farm.server = start_server(&farm.above);
    assert!(farm.is_rendering(), "the job ended before it was canceled");
    farm.line.restore();
    farm.wait_for_status("canceled");

    farm.line.cut();
    farm.wish_status("requeueing");
    farm.wish("/setpriority", &json!({ "priority": 90 }));
    farm.server.kill();
    farm.manager.kill();
    farm.server = start_server(&farm.above);
    farm.manager = farm.below.manager();
    farm.line.restore();
    let journals = farm.finish();
    let statuses = journals.statuses();
    assert_eq!(statuses[&JobStatus::CancelRequested], 1, "{statuses:?}");
    assert_eq!(statuses[&JobStatus::Canceled], 1, "{statuses:?}");
    assert_eq!(statuses[&JobStatus::Requeueing], 1, "{statuses:?}");
    assert_eq!(journals.priorities(), [90]);
}
