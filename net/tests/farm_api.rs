// SPDX-License-Identifier: GPL-3.0-or-later
//! The read side of `/api/farm/v1` on a farm that really runs: what each noun shows, entity
//! tags, digest and problems.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::Farm;

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

fn field<'a>(page: &'a Value, name: &str) -> Vec<&'a str> {
    let texts = items(page).iter().map(|item| item[name].as_str().unwrap());
    texts.collect()
}

/// The dashboard and the command line live on these shapes: each noun shows what was done.
#[test]
fn every_noun_shows_what_was_done() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let job = farm.submit_render("sh010 lighting", "1-3");
    let task = farm.ask(&worker).unwrap();
    let task_id = task["uuid"].as_str().unwrap().to_owned();
    farm.report(&worker, &task, json!({ "taskStatus": "active" }), json!({}))
        .ok(204);

    let shown = farm.read(&format!("/api/farm/v1/jobs/{job}"));
    assert_eq!(shown["name"], "sh010 lighting");
    assert_eq!(shown["type"], "simple-blender-render");
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["project"], "Night Shift");
    assert_eq!(shown["settings"]["frames"], "1-3");
    assert_eq!(shown["metadata"]["shot"], "sh010");
    assert_eq!(shown["source"], "submitted");
    assert_eq!(shown["generation"], 1);
    assert_eq!(shown["task_counts"]["active"], 1);
    assert_eq!(shown["script_hash"].as_str().unwrap().len(), 64);
    assert_eq!(shown["manager"], farm.node.manager().to_string());
    assert!(shown.get("thumbnail").is_none());

    let one = farm.read(&format!("/api/farm/v1/tasks/{task_id}"));
    assert_eq!(one["job"], job);
    assert_eq!(one["status"], "active");
    assert_eq!(one["frames"], "1");
    assert_eq!(one["worker"], json!({ "id": worker.id, "name": "hut" }));
    assert_eq!(one["attempt"], task["tablao"]["attempt"]);
    assert_eq!(one["commands"][0]["name"], "blender-render");
    let attempts = farm.read(&format!("/api/farm/v1/tasks/{task_id}/attempts"));
    assert_eq!(field(&attempts, "state"), ["running"]);

    farm.finish(&worker, &task);
    farm.work_off(&worker);
    let shown = farm.read(&format!("/api/farm/v1/jobs/{job}"));
    assert_eq!(shown["status"], "completed");
    let tasks = farm.read(&format!("/api/farm/v1/jobs/{job}/tasks"));
    assert_eq!(
        items(&tasks).len() as u64,
        shown["task_counts"]["completed"].as_u64().unwrap()
    );
    assert!(
        items(&tasks)
            .iter()
            .all(|task| task.get("commands").is_none())
    );
    let numbers: Vec<_> = items(&tasks)
        .iter()
        .map(|task| task["number"].as_u64())
        .collect();
    assert_eq!(
        numbers,
        (0..numbers.len() as u64).map(Some).collect::<Vec<_>>()
    );
    assert_eq!(
        farm.read(&format!("/api/farm/v1/tasks/{task_id}/attempts"))["items"][0]["outcome"],
        "completed"
    );

    let log = farm
        .get(&format!("/api/farm/v1/tasks/{task_id}/log?offset=2"))
        .ok(200);
    assert_eq!(log.body, b"ne\n");
    assert_eq!(log.header("tablao-log-size"), "5");
    assert_eq!(log.header("content-type"), "text/plain; charset=utf-8");

    let shot = shown["shot"].as_str().unwrap();
    let path = format!("/api/farm/v1/worker/thumbnails/{shot}/000002_thumbnail.png");
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(8, 8)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let auth = worker.header();
    let headers = [
        ("authorization", auth.as_str()),
        ("content-type", "image/png"),
        ("tablao-frame", "2"),
    ];
    farm.call("POST", &path, &headers, png.into_inner()).ok(204);

    let frames = farm.read("/api/farm/v1/frames");
    assert_eq!(items(&frames).len(), 3);
    let second = &items(&frames)[1];
    assert_eq!(second["number"], 2);
    assert_eq!(second["name"], "000002");
    assert_eq!(second["worker"]["name"], "hut");
    assert_eq!(second["rendered_at"], "2026-08-03T12:00:00.25Z");
    assert_eq!(second["flags"], json!([]));
    assert_eq!(
        second["thumbnail"],
        format!("/thumbnails/{shot}/000002_thumbnail.png")
    );
    farm.get(second["thumbnail"].as_str().unwrap()).ok(200);

    let shots = farm.read("/api/farm/v1/shots");
    assert_eq!(items(&shots)[0]["name"], "sh010");
    assert_eq!(items(&shots)[0]["frames"], 3);
    assert_eq!(items(&shots)[0]["thumbnail"], second["thumbnail"]);
    let of_shot = farm.read(&format!("/api/farm/v1/shots/{shot}/frames"));
    assert_eq!(of_shot["items"], frames["items"]);

    let workers = farm.read("/api/farm/v1/workers");
    assert_eq!(field(&workers, "status"), ["awake"]);
    assert_eq!(items(&workers)[0]["software"], "Tablao 0.1.0");
    assert_eq!(items(&workers)[0]["address"], "192.0.2.7");
    assert!(items(&workers)[0]["last_seen"].is_string());
    let managers = farm.read("/api/farm/v1/managers");
    assert_eq!(field(&managers, "role"), ["standalone"]);
    assert_eq!(items(&managers)[0]["jobs"], 1);
    assert_eq!(items(&managers)[0]["workers"], 1);
    let segments = farm.read("/api/farm/v1/journal/segments");
    assert_eq!(field(&segments, "role"), ["control", "site"]);

    for page in [&tasks, &frames, &shots, &workers, &managers, &segments] {
        assert!(page["position"].is_string(), "{page}");
    }
}

/// A client that asks again for what it has is told so in a few bytes, and only while it is true.
#[test]
fn entity_tags_change_with_the_entity() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let job = farm.submit_echo("tagged", 1);
    let task = farm.ask(&worker).unwrap();
    let paths = [
        format!("/api/farm/v1/jobs/{job}"),
        format!("/api/farm/v1/tasks/{}", task["uuid"].as_str().unwrap()),
        format!("/api/farm/v1/workers/{}", worker.id),
    ];
    let tags: Vec<String> = (paths.iter())
        .map(|path| farm.get(path).ok(200).header("etag").to_owned())
        .collect();
    for (path, tag) in paths.iter().zip(&tags) {
        let listed = format!("\"other\", W/{tag}");
        for sent in [tag.as_str(), listed.as_str(), "*"] {
            let answer = farm
                .call("GET", path, &[("if-none-match", sent)], "")
                .ok(304);
            assert!(answer.body.is_empty());
            assert_eq!(answer.header("etag"), tag);
        }
        farm.call("GET", path, &[("if-none-match", "\"other\"")], "")
            .ok(200);
    }
    farm.finish(&worker, &task);
    for (path, tag) in paths.iter().zip(&tags) {
        let answer = farm
            .call("GET", path, &[("if-none-match", tag.as_str())], "")
            .ok(200);
        assert_ne!(answer.header("etag"), tag, "{path}");
    }
}

/// Each wrong question gets one clear answer of a known kind, and says what to do next.
#[test]
fn problems_say_what_to_do() {
    let farm = Farm::start();
    let job = farm.submit_echo("problems", 1);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let other = farm.read("/api/farm/v1/jobs?limit=1");
    assert!(other.get("next").is_none());
    farm.submit_echo("second", 1);
    let cursor = farm.read("/api/farm/v1/jobs?limit=1")["next"]
        .as_str()
        .unwrap()
        .to_owned();
    let cases = [
        (format!("jobs/{unknown}"), 404, "unknown-job", unknown),
        (format!("jobs/{unknown}/tasks"), 404, "unknown-job", unknown),
        (format!("tasks/{unknown}"), 404, "unknown-task", unknown),
        (
            format!("tasks/{unknown}/attempts"),
            404,
            "unknown-task",
            unknown,
        ),
        (format!("tasks/{unknown}/log"), 404, "unknown-task", unknown),
        (format!("workers/{unknown}"), 404, "unknown-worker", unknown),
        (
            format!("shots/{unknown}/frames"),
            404,
            "unknown-shot",
            unknown,
        ),
        ("jobs/seven".to_owned(), 400, "bad-id", "UUID"),
        (
            format!("jobs/{}", unknown.replace('-', "")),
            400,
            "bad-id",
            "UUID",
        ),
        ("jobs/%FF".to_owned(), 400, "bad-id", "UUID"),
        (
            "jobs?colour=red".to_owned(),
            400,
            "bad-query",
            "`status`, `type`, `name`",
        ),
        ("jobs?limit=0".to_owned(), 400, "bad-query", "limit"),
        ("jobs?limit=1001".to_owned(), 400, "bad-query", "limit"),
        ("jobs?limit=many".to_owned(), 400, "bad-query", "digit"),
        ("jobs?status=done".to_owned(), 400, "bad-query", "completed"),
        ("jobs?name=a&name=b".to_owned(), 400, "bad-query", "name"),
        (
            format!("jobs/{job}?status=queued"),
            400,
            "bad-query",
            "status",
        ),
        ("digest?x=1".to_owned(), 400, "bad-query", "x"),
        ("frames?job=seven".to_owned(), 400, "bad-query", "job"),
        ("frames?order=oldest".to_owned(), 400, "bad-query", "newest"),
        ("jobs?cursor=abc".to_owned(), 400, "bad-cursor", "cursor"),
        (
            format!("workers?cursor={cursor}"),
            400,
            "bad-cursor",
            "cursor",
        ),
        ("jobs?at=57".to_owned(), 400, "bad-query", "at"),
        ("events?at=57".to_owned(), 400, "no-time-travel", "at"),
        (
            "jobs?at=2999-01-01T00:00:00Z".to_owned(),
            400,
            "not-yet",
            "to come",
        ),
        (
            "jobs?at=1a2b3c4d.1.5".to_owned(),
            410,
            "position-gone",
            "does not have",
        ),
        (
            "events?after=57".to_owned(),
            400,
            "bad-position",
            "position",
        ),
        (
            "events?after=1a2b3c4d.1.5&limit=1".to_owned(),
            410,
            "position-gone",
            "read the lists anew",
        ),
        ("jbos".to_owned(), 404, "unknown-route", "jbos"),
        (format!("jobs/{job}/taks"), 404, "unknown-route", "taks"),
    ];
    for (path, status, kind, says) in &cases {
        let answer = farm.get(&format!("/api/farm/v1/{path}")).ok(*status);
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{path}"
        );
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            format!("urn:tablao:problem:{kind}"),
            "{path}"
        );
        assert_eq!(problem["status"], *status, "{path}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{path}: {detail}");
        for part in ["title", "hint"] {
            assert!(!problem[part].as_str().unwrap().is_empty(), "{path}");
        }
    }
    let answer = farm.call("DELETE", "/api/farm/v1/jobs", &[], "").ok(405);
    assert_eq!(
        answer.json()["type"],
        "urn:tablao:problem:method-not-allowed"
    );
    assert_eq!(answer.header("allow"), "GET,HEAD");
}

/// Position and digest belong together: equal positions have equal digests, also after a restart
/// and in a replay of the journals without a running farm.
#[test]
fn digest_is_that_of_the_position() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    farm.submit_echo("digested", 2);
    let early = farm.read("/api/farm/v1/digest");
    farm.work_off(&worker);
    let live = farm.read("/api/farm/v1/digest");
    assert_ne!(early["position"], live["position"]);
    assert_ne!(early["digest"], live["digest"]);
    assert_eq!(live["digest"].as_str().unwrap().len(), 64);
    assert_eq!(live, farm.read("/api/farm/v1/digest"));

    let mut models = Vec::new();
    for view in [
        farm.node.control.view(),
        farm.node.site.as_ref().unwrap().view(),
    ] {
        let mut model = tablao_projections::ReadModel::new();
        tablao_net::past::fold(&view.reader, &mut model).unwrap();
        models.push((view.reader.journal_id().0, model));
    }
    let digest = tablao_net::digest::whole(models.iter().map(|(_, model)| model.farm()));
    assert_eq!(live["digest"], digest.to_string());
    let places = models.iter().map(|(id, model)| (*id, model.farm()));
    let position = tablao_net::position::FarmPosition::of(places);
    assert_eq!(live["position"], position.to_string());
}

/// Time travel: with `at` every state is shown as it was then, digest included, by position and
/// by time, and what shows the present goes on showing it.
#[test]
fn the_past_is_shown_as_it_was() {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let job = farm.submit_render("sh010 lighting", "1-3");
    let tasks = farm.read(&format!("/api/farm/v1/jobs/{job}/tasks"));
    let task_id = items(&tasks)[0]["id"].as_str().unwrap().to_owned();
    let paths = [
        "digest".to_owned(),
        "jobs".to_owned(),
        format!("jobs/{job}"),
        format!("jobs/{job}/tasks"),
        format!("tasks/{task_id}"),
        format!("tasks/{task_id}/attempts"),
        "frames".to_owned(),
        "shots".to_owned(),
    ];
    let look = |path: &str| farm.read(&format!("/api/farm/v1/{path}"));
    let then: Vec<Value> = paths.iter().map(|path| look(path)).collect();
    let at = then[0]["position"].as_str().unwrap();

    let task = farm.ask(&worker).unwrap();
    farm.report(&worker, &task, json!({ "taskStatus": "active" }), json!({}))
        .ok(204);
    farm.finish(&worker, &task);
    farm.work_off(&worker);
    let now = look("digest");
    for (path, was) in paths.iter().zip(&then) {
        assert_ne!(look(path), *was, "{path} was to change meanwhile");
        assert_eq!(look(&format!("{path}?at={at}")), *was, "{path}");
    }
    let page = look(&format!("jobs/{job}/tasks?limit=1&at={at}"));
    let next = page["next"].as_str().unwrap();
    let page = look(&format!("jobs/{job}/tasks?at={at}&cursor={next}"));
    assert_eq!(items(&page)[..], items(&then[3])[1..]);
    let workers = look(&format!("workers?at={at}"));
    assert_eq!(items(&workers)[0]["status"], "awake");

    let early = "at=2001-01-01T00:00:00Z";
    assert_eq!(items(&look(&format!("jobs?{early}"))).len(), 0);
    let answer = farm
        .get(&format!("/api/farm/v1/jobs/{job}?{early}"))
        .ok(404);
    assert_eq!(answer.json()["type"], "urn:tablao:problem:unknown-job");
    assert_eq!(look("digest"), now);
}
