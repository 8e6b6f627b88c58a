// SPDX-License-Identifier: GPL-3.0-or-later
//! The commands that read a data directory: beside the live process, at rest, and damaged.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::Stdio,
};

use serde_json::Value;

use crate::harness::{Farm, tablao};

/// The digest of the live farm, through its API, with the position it belongs to.
fn live(farm: &Farm) -> Value {
    use std::io::{Read as _, Write as _};

    let address = farm.url.trim_start_matches("http://");
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    let request = "GET /api/farm/v1/digest HTTP/1.1\r\nhost: farm\r\nconnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn only_segment(farm: &Farm, journal: &str) -> PathBuf {
    let folder = farm.data().join("journal").join(journal);
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .max()
        .expect("a segment")
}

/// The fold that serves requests and the fold from the journals alone must not drift apart, also
/// for a moment that has passed.
#[test]
fn replay_gives_the_live_digest_also_of_a_moment_that_has_passed() {
    let mut farm = Farm::start(1);
    let first = farm.submit(&["--wait"]);
    // Nothing changes between the two while the worker waits for work.
    let replayed = farm.look(&["replay", "--json"]).ended(0).json();
    let passed = live(&farm);
    assert_eq!(replayed["position"], passed["position"]);
    assert_eq!(replayed["digest"], passed["digest"]);
    assert_eq!(replayed["jobs"], 1, "{replayed}");
    assert_eq!(replayed["workers"], 1, "{replayed}");
    assert!(replayed["records_per_s"].is_number(), "{replayed}");

    farm.submit(&["--paused"]);
    farm.run(&["jobs", "priority", &first, "90"]).ended(0);
    assert_ne!(live(&farm)["digest"], passed["digest"]);
    farm.stop();
    let position = passed["position"].as_str().unwrap();
    let again = farm
        .look(&["replay", "--json", "--at", position])
        .ended(0)
        .json();
    assert_eq!(again["digest"], passed["digest"]);
    assert_eq!(again["position"], passed["position"]);
    let time = replayed["time"].as_str().unwrap();
    let again = farm
        .look(&["replay", "--json", "--at", time])
        .ended(0)
        .json();
    assert_eq!(again["digest"], passed["digest"]);
    let before = farm.look(&["replay", "--json", "--at", "2001-01-01T00:00:00Z"]);
    assert_eq!(before.ended(0).json()["jobs"], 0);
    let now = farm.look(&["replay", "--json"]).ended(0).json();
    assert_eq!(now["jobs"], 2, "{now}");
    let quick = farm.look(&["replay", "--json", "--from-checkpoint"]);
    let quick = quick.ended(0).json();
    assert_eq!(quick["digest"], now["digest"]);
    assert_eq!(quick["records"], 0, "the stopped farm left a checkpoint");
}

/// A position of another farm, or one that these journals have not reached, must not quietly
/// come out as some other moment.
#[test]
fn replay_refuses_positions_that_are_not_here() {
    let farm = Farm::start(0);
    let here = live(&farm)["position"].as_str().unwrap().to_owned();
    let beyond = format!("{here}999");
    farm.look(&["replay", "--at", &beyond])
        .ended(2)
        .says(&["before it"]);
    farm.look(&["replay", "--at", "00000001.1.2"])
        .ended(2)
        .says(&["not here"]);
}

/// Tools outside this repository read this shape.
#[test]
fn info_has_the_promised_fields() {
    let farm = Farm::start(0);
    farm.submit(&["--paused"]);
    let info = farm.look(&["journal", "info", "--json"]).ended(0).json();
    let journals = info["journals"].as_array().unwrap();
    let roles: Vec<_> = journals
        .iter()
        .map(|row| row["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["control", "site"]);
    for journal in journals {
        for number in ["incarnation", "format", "first", "last", "bytes"] {
            assert!(journal[number].is_u64(), "{number}: {journal}");
        }
        assert_eq!(journal["journal_id"].as_str().map(str::len), Some(32));
        assert_eq!(journal["chain"].as_str().map(str::len), Some(64));
        let segment = &journal["segments"][0];
        assert_eq!(segment["first"], 1);
        assert_eq!(segment["sealed"], false);
        assert_eq!(segment["last"], journal["last"]);
        assert_eq!(segment["bytes"], journal["bytes"]);
        assert!(
            segment["file"]
                .as_str()
                .is_some_and(|name| name.ends_with(".seg"))
        );
    }
    // The chain is the same for everybody who computes it.
    let verified = farm.look(&["journal", "verify", "--json"]).ended(0).json();
    assert_eq!(verified["journals"][1]["chain"], journals[1]["chain"]);
}

/// Every record is printed once, in order, and filters leave out the others.
#[test]
fn cat_prints_every_record_and_filters() {
    let farm = Farm::start(0);
    let job = farm.submit(&["--paused"]);
    let info = farm.look(&["journal", "info", "--json"]).ended(0).json();
    let cat = |more: &[&str]| -> Vec<Value> {
        let printed = farm
            .look(&[&["journal", "cat", "--json"], more].concat())
            .ended(0);
        let lines = printed.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let site = cat(&["--journal", "site"]);
    let positions: Vec<u64> = site
        .iter()
        .map(|record| record["position"].as_u64().unwrap())
        .collect();
    let last = info["journals"][1]["last"].as_u64().unwrap();
    assert_eq!(positions, (1..=last).collect::<Vec<_>>());
    assert_eq!(
        cat(&["--journal", "site", "--from", "3"]).len() as u64,
        last - 2
    );
    let accepted = cat(&["--kind", "JobAccepted"]);
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0]["facts"]["facts"]["job"], *job);
    let whole = cat(&[]).len() as u64;
    assert_eq!(whole, last + info["journals"][0]["last"].as_u64().unwrap());
    farm.look(&["journal", "cat", "--kind", "NoSuchKind"])
        .ended(2)
        .says(&["NoSuchKind"]);
    farm.look(&["journal", "cat", "--journal", "other"])
        .ended(2)
        .says(&["control, site"]);
    let text = farm.look(&["journal", "cat"]).ended(0).out;
    assert_eq!(text.lines().count() as u64, whole);
}

/// Whoever watches a farm's journal sees what happens, as it happens.
#[test]
fn follow_prints_what_is_written_from_now_on() {
    let farm = Farm::start(0);
    farm.submit(&["--paused", "--name", "before"]);
    let mut following = tablao()
        .args([
            "journal",
            "follow",
            "--json",
            "--kind",
            "JobAccepted",
            "--from",
            "1",
            "--data",
        ])
        .arg(farm.data())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next();
    // It has read what there was, so this one it sees being written.
    let job = farm.submit(&["--paused"]);
    let second = next();
    assert_ne!(first["position"], second["position"]);
    assert_eq!(second["facts"]["facts"]["job"], *job);
    following.kill().unwrap();
    following.wait().unwrap();
}

/// One flipped bit anywhere in what was acknowledged has to be found, and the operator has to
/// learn where.
#[test]
fn a_flipped_bit_ends_with_3_and_is_named() {
    let mut farm = Farm::start(0);
    farm.submit(&["--paused"]);
    farm.stop();
    let segment = only_segment(&farm, "site");
    let whole = std::fs::read(&segment).unwrap();
    farm.look(&["journal", "verify"]).ended(0);
    let name = segment.file_name().unwrap().to_str().unwrap();
    for place in [whole.len() / 3, whole.len() / 2, whole.len() - 40] {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&segment, &damaged).unwrap();
        let found = farm.look(&["journal", "verify"]).ended(3);
        assert!(
            found.out.contains("control is whole"),
            "the other one is checked: {found:?}"
        );
        found.says(&["site", name, "byte offset", "position"]);
        farm.look(&["replay"]).ended(3).says(&[name, "byte offset"]);
        farm.look(&["journal", "cat"])
            .ended(3)
            .says(&[name, "byte offset"]);
        assert_eq!(
            std::fs::read(&segment).unwrap(),
            damaged,
            "nothing was changed"
        );
    }
    std::fs::write(&segment, &whole).unwrap();
    farm.look(&["journal", "verify"]).ended(0);
}

/// A list in a pipe that is closed early (`| head`) ends quietly.
#[test]
fn a_closed_pipe_is_no_error() {
    let farm = Farm::start(0);
    for _ in 0..3 {
        farm.submit(&["--paused"]);
    }
    let mut reading = tablao()
        .args(["journal", "cat", "--data"])
        .arg(farm.data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(reading.stdout.take());
    let ended = reading.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}
