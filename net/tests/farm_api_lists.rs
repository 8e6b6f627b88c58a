// SPDX-License-Identifier: GPL-3.0-or-later
//! Lists of `/api/farm/v1`: filters, and pages that hold while the farm goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::Farm;

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

fn field<'a>(page: &'a Value, name: &str) -> Vec<&'a str> {
    let texts = items(page).iter().map(|item| item[name].as_str().unwrap());
    texts.collect()
}

/// Walks a list page by page, calling `between` after each.
fn walk(farm: &Farm, path: &str, mut between: impl FnMut(usize)) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    for count in 0.. {
        let joint = if path.contains('?') { '&' } else { '?' };
        let page = match &cursor {
            Some(cursor) => farm.read(&format!("{path}{joint}cursor={cursor}")),
            None => farm.read(path),
        };
        all.extend(items(&page).iter().cloned());
        assert!(count < 100, "the walk does not come to an end");
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return all,
        }
        between(count);
    }
    unreachable!("the walk ends with the list")
}

/// A studio finds its job among thousands by what it remembers of it.
#[test]
fn filters_narrow_lists() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    farm.submit_echo("alpha one", 1);
    farm.work_off(&worker);
    let render = farm.submit_render("Beta two", "1-2");
    let count = |path: &str| items(&farm.read(&format!("/api/farm/v1/{path}"))).len();
    assert_eq!(count("jobs"), 2);
    assert_eq!(count("jobs?status=completed"), 1);
    assert_eq!(count("jobs?status=completed,queued"), 2);
    assert_eq!(count("jobs?type=echo-sleep-test"), 1);
    assert_eq!(count("jobs?name=BETA"), 1);
    assert_eq!(count("jobs?user=ines"), 1);
    assert_eq!(count("jobs?project=Night%20Shift"), 2);
    assert_eq!(count("jobs?project=Other"), 0);
    assert_eq!(count("jobs?shot=sh010"), 1);
    assert_eq!(count("jobs?tag=none"), 0);
    assert_eq!(count(&format!("jobs/{render}/tasks?type=blender")), 2);
    assert_eq!(count(&format!("jobs/{render}/tasks?status=completed")), 0);
    farm.work_off(&worker);
    let frames = farm.read(&format!("/api/farm/v1/frames?job={render}&order=newest"));
    let numbers: Vec<_> = items(&frames)
        .iter()
        .map(|frame| frame["number"].as_i64())
        .collect();
    assert_eq!(numbers, [Some(2), Some(1)]);
    let task = items(&frames)[0]["task"].as_str().unwrap();
    assert_eq!(count(&format!("frames?task={task}")), 1);
    assert_eq!(count("workers?status=awake"), 1);
    assert_eq!(count("workers?status=asleep"), 0);
    assert_eq!(count("workers?name=HU"), 1);
    assert_eq!(count("shots?project=Other"), 0);
}

/// Protects people who remember something else of a job: who rendered it, when, and what its
/// metadata says. Pages hold under a filter, the past is narrowed as the present is, and a
/// mistake names what is known.
#[test]
fn filters_know_workers_times_and_metadata() {
    let farm = Farm::start();
    let (hut, barn) = (farm.awake_worker("hut"), farm.awake_worker("barn"));
    let first = farm.submit_render("one", "1-2");
    farm.work_off(&hut);
    let then = farm.read("/api/farm/v1/jobs")["position"].clone();
    for sequence in ["010", "010", "020", "020"] {
        farm.submit(&serde_json::json!({
            "name": format!("seq {sequence}"), "type": "echo-sleep-test",
            "submitter_platform": "linux", "metadata": { "sequence": sequence, "take it": "3" },
            "settings": { "message": "x", "sleep_duration_seconds": 0, "sleep_repeats": 1 },
        }));
    }
    farm.work_off(&barn);
    let count = |path: &str| items(&farm.read(&format!("/api/farm/v1/{path}"))).len();
    assert_eq!(count("jobs?worker=hut"), 1);
    assert_eq!(count(&format!("jobs?worker={}", barn.id)), 4);
    assert_eq!(count("jobs?worker=nobody"), 0);
    assert_eq!(count("jobs?meta.sequence=010"), 2);
    assert_eq!(
        count("jobs?meta.sequence=020&meta.take%20it=3&status=completed"),
        2
    );
    assert_eq!(count("jobs?meta.sequence=030"), 0);
    assert_eq!(count("jobs?since=2001-01-01T00:00:00Z"), 5);
    assert_eq!(count("jobs?until=2001-01-01T00:00:00Z"), 0);
    assert_eq!(
        count(&format!("jobs/{first}/tasks?worker=hut&type=blender")),
        2
    );
    assert_eq!(count(&format!("jobs/{first}/tasks?worker=barn")), 0);
    assert_eq!(count(&format!("jobs/{first}/tasks?name=render-2")), 1);
    assert_eq!(
        count(&format!("jobs/{first}/tasks?since=2999-01-01T00:00:00Z")),
        0
    );
    assert_eq!(count("frames?project=Night%20Shift&worker=hut"), 2);
    assert_eq!(count("frames?project=Other"), 0);
    assert_eq!(count("frames?shot=sh010&name=00002"), 1);
    assert_eq!(
        count("frames?meta.shot=sh010&type=simple-blender-render&order=newest"),
        2
    );
    assert_eq!(count("frames?worker=barn"), 0);
    assert_eq!(count("workers?type=ffmpeg"), 2);
    assert_eq!(count("workers?type=other"), 0);

    let walked = walk(&farm, "/api/farm/v1/jobs?worker=barn&limit=1", |_| {
        farm.submit_echo("meanwhile", 1);
    });
    assert_eq!(walked.len(), 4);
    let then = then.as_str().unwrap();
    assert_eq!(count(&format!("jobs?worker=barn&at={then}")), 0);
    assert_eq!(count(&format!("jobs?worker=hut&at={then}")), 1);

    let told = |path: &str| {
        let answer = farm.get(&format!("/api/farm/v1/{path}")).ok(400);
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    assert!(told("jobs?status=done").contains("completed"));
    assert!(told("jobs?sequence=010").contains("worker"));
    assert!(told("jobs?since=yesterday").contains("since: must be an RFC 3339 time"));
    assert!(told("jobs?meta.=x").contains("meta."));
    assert!(told("workers?user=ines").contains("type"));
    assert!(told("shots?meta.a=b").contains("meta.a"));

    // The index of workers is made anew at a start.
    let farm = farm.restart();
    let page = farm.read("/api/farm/v1/jobs?worker=barn");
    assert_eq!(items(&page).len(), 4);
}

/// A walk through a list that grows meanwhile meets everything that was there, and nothing twice.
#[test]
fn pages_hold_while_lists_grow() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let before: Vec<String> = (0..5)
        .map(|n| farm.submit_echo(&format!("job {n}"), 1))
        .collect();
    let walked = walk(&farm, "/api/farm/v1/jobs?limit=2", |count| {
        farm.submit_echo(&format!("later {count}"), 1);
    });
    let ids: Vec<&str> = walked
        .iter()
        .map(|job| job["id"].as_str().unwrap())
        .collect();
    assert!(
        before.iter().all(|job| ids.contains(&job.as_str())),
        "{ids:?}"
    );
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "met twice: {ids:?}");

    let render = farm.submit_render("frames", "1-6");
    for _ in 0..16 {
        farm.work_off(&worker);
    }
    let again = walk(&farm, "/api/farm/v1/frames?order=newest&limit=2", |count| {
        // Published meanwhile: comes before what is still to be walked.
        if count == 0 {
            farm.submit_render("more", "11-12");
            farm.work_off(&worker);
        }
    });
    let numbers: Vec<_> = again
        .iter()
        .map(|frame| frame["number"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [6, 5, 4, 3, 2, 1]);
    let placed = walk(&farm, "/api/farm/v1/frames?limit=3", |_| {});
    let numbers: Vec<_> = placed
        .iter()
        .map(|frame| frame["number"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 11, 12]);
    let tasks = walk(
        &farm,
        &format!("/api/farm/v1/jobs/{render}/tasks?limit=3"),
        |_| {},
    );
    assert_eq!(
        tasks.len(),
        farm.read(&format!("/api/farm/v1/jobs/{render}/tasks"))["items"]
            .as_array()
            .unwrap()
            .len()
    );
    let events = walk(&farm, "/api/farm/v1/events?limit=7", |_| {});
    let all = farm.read("/api/farm/v1/events?limit=1000");
    assert_eq!(
        &events,
        items(&all),
        "a list of events pages like any other"
    );
    assert!(all.get("next").is_none());
    // As moments: text without its trailing zeros does not sort as time does.
    let times: Vec<jiff::Timestamp> = field(&all, "time")
        .iter()
        .map(|time| time.parse().expect("RFC 3339"))
        .collect();
    assert!(times.is_sorted(), "two journals are told in order of time");
    assert_eq!(
        all["position"],
        farm.read("/api/farm/v1/digest")["position"]
    );
}
