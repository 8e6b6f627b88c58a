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
