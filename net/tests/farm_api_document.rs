// SPDX-License-Identifier: GPL-3.0-or-later
//! The served OpenAPI document: every address of the API is in it, and what a live farm answers
//! is what it says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::Farm;

/// Checks a value against a schema of the document. Reports the first difference by its path.
///
/// Stricter than the document: a field that a schema does not name is a difference too, because
/// it means that the document is not generated from what is sent.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{at}: {what}: {value} against {schema}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#'));
        let found = found.ok_or_else(|| format!("{at}: {reference} leads nowhere"))?;
        return check(document, found, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices
            .iter()
            .any(|one| check(document, one, value, at).is_ok());
        return if fits {
            Ok(())
        } else {
            wrong("fits none of the choices")
        };
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return (parts.iter()).try_for_each(|one| check(document, one, value, at));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return wrong("is not one of the values");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let fits = types.iter().any(|one| match *one {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    });
    if !fits {
        return wrong("is of another type");
    }
    if let (Some("uuid"), Some(text)) = (schema["format"].as_str(), value.as_str())
        && text.parse::<uuid::Uuid>().is_err()
    {
        return wrong("is no UUID");
    }
    if let (Some("date-time"), Some(text)) = (schema["format"].as_str(), value.as_str())
        && tablao_net::clock::parse_rfc3339(text).is_none()
    {
        return wrong("is no RFC 3339 time");
    }
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{place}]"))?;
    }
    let Some(properties) = schema["properties"].as_object() else {
        return Ok(());
    };
    for (name, field) in value.as_object().into_iter().flatten() {
        let Some(of_field) = properties.get(name) else {
            return wrong(&format!("has a field {name} that is not in the document"));
        };
        check(document, of_field, field, &format!("{at}.{name}"))?;
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return wrong(&format!("lacks {name}"));
        }
    }
    Ok(())
}

/// A farm in which every noun has something to show, optional fields included.
fn busy_farm() -> (Farm, Vec<(String, &'static str)>) {
    let farm = Farm::start();
    let worker = farm.awake_worker("hut");
    let other = farm.awake_worker("barn");
    let job = farm.submit_render("sh010", "1-3");
    let marked = farm.submit_echo("to go", 2);
    farm.call("DELETE", &format!("/api/v3/jobs/{marked}"), &[], "")
        .ok(204);
    let task = farm.ask(&other).unwrap();
    let failure = json!({ "failure": { "class": "process", "exit": 11 }, "peak_memory_bytes": 7 });
    let failed = json!({ "taskStatus": "failed", "activity": "Blender crashed" });
    farm.report(&other, &task, failed, failure).ok(204);
    let first = farm.ask(&worker).unwrap();
    farm.finish(&worker, &first);
    let running = farm.ask(&worker).unwrap();
    farm.report(
        &worker,
        &running,
        json!({ "taskStatus": "active", "log": "x\n" }),
        json!({}),
    )
    .ok(204);
    let body = json!({ "status": "asleep", "is_lazy": true });
    let path = format!("/api/v3/worker-mgt/workers/{}/setstatus", worker.id);
    farm.post(&path, &body).ok(204);
    let tag = farm
        .post("/api/v3/worker-mgt/tags", &json!({ "name": "gpu" }))
        .ok(200)
        .json();
    let body = json!({ "tag_ids": [tag["id"]] });
    let path = format!("/api/v3/worker-mgt/workers/{}/settags", worker.id);
    farm.post(&path, &body).ok(204);
    farm.post(
        &format!("/api/v3/jobs/{job}/settag"),
        &json!({ "name": "gpu" }),
    )
    .ok(204);
    let body = json!({ "reason": "its fan is loud" });
    let path = format!("/api/farm/v1/workers/{}/quarantine", other.id);
    farm.post(&path, &body).ok(204);
    let shot = farm.read("/api/farm/v1/frames")["items"][0]["shot"]
        .as_str()
        .unwrap()
        .to_owned();
    let task = task["uuid"].as_str().unwrap().to_owned();
    let running = running["uuid"].as_str().unwrap().to_owned();
    let farm_v1 = "/api/farm/v1";
    let asked = vec![
        (format!("{farm_v1}/jobs"), "/api/farm/v1/jobs"),
        (format!("{farm_v1}/jobs/{job}"), "/api/farm/v1/jobs/{job}"),
        (
            format!("{farm_v1}/jobs/{marked}"),
            "/api/farm/v1/jobs/{job}",
        ),
        (
            format!("{farm_v1}/jobs/{job}/tasks"),
            "/api/farm/v1/jobs/{job}/tasks",
        ),
        (
            format!("{farm_v1}/tasks/{task}"),
            "/api/farm/v1/tasks/{task}",
        ),
        (
            format!("{farm_v1}/tasks/{running}"),
            "/api/farm/v1/tasks/{task}",
        ),
        (
            format!("{farm_v1}/tasks/{task}/attempts"),
            "/api/farm/v1/tasks/{task}/attempts",
        ),
        (
            format!("{farm_v1}/tasks/{running}/attempts"),
            "/api/farm/v1/tasks/{task}/attempts",
        ),
        (
            format!("{farm_v1}/tasks/{running}/log"),
            "/api/farm/v1/tasks/{task}/log",
        ),
        (format!("{farm_v1}/workers"), "/api/farm/v1/workers"),
        (format!("{farm_v1}/doctor"), "/api/farm/v1/doctor"),
        (
            format!("{farm_v1}/workers/{}", worker.id),
            "/api/farm/v1/workers/{worker}",
        ),
        (format!("{farm_v1}/frames"), "/api/farm/v1/frames"),
        (
            format!("{farm_v1}/frames?order=newest"),
            "/api/farm/v1/frames",
        ),
        (format!("{farm_v1}/shots"), "/api/farm/v1/shots"),
        (
            format!("{farm_v1}/shots/{shot}/frames"),
            "/api/farm/v1/shots/{shot}/frames",
        ),
        (
            format!("{farm_v1}/shots/{shot}/preview"),
            "/api/farm/v1/shots/{shot}/preview",
        ),
        (format!("{farm_v1}/managers"), "/api/farm/v1/managers"),
        (format!("{farm_v1}/digest"), "/api/farm/v1/digest"),
        (
            format!("{farm_v1}/journal/segments"),
            "/api/farm/v1/journal/segments",
        ),
        (
            format!("{farm_v1}/events?limit=1000"),
            "/api/farm/v1/events",
        ),
        (
            format!("{farm_v1}/openapi.json"),
            "/api/farm/v1/openapi.json",
        ),
    ];
    (farm, asked)
}

/// A client generated from the document must be able to read every answer of a live farm.
#[test]
fn answers_are_what_the_document_says() {
    let (farm, asked) = busy_farm();
    let document = farm.read("/api/farm/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut seen = BTreeSet::new();
    for (path, template) in &asked {
        let answer = farm.get(path).ok(200);
        let kind = answer
            .header("content-type")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let content = &paths[*template]["get"]["responses"]["200"]["content"];
        let schema = &content[kind.as_str()]["schema"];
        assert!(schema.is_object(), "{path}: {kind} is not in the document");
        if kind == "application/json" {
            let value = answer.json();
            assert_ne!(value["items"], json!([]), "{path}: nothing was looked at");
            check(&document, schema, &value, path).unwrap();
        }
        seen.insert((*template).to_owned());
        let wrong = farm.get(&format!("{template}?colour=red").replace(['{', '}'], "x"));
        if *template != "/api/farm/v1/openapi.json" {
            let refused = wrong.ok(400);
            let problem = &paths[*template]["get"]["responses"]["400"]["content"]["application/problem+json"]
                ["schema"];
            if problem.is_object() {
                check(&document, problem, &refused.json(), path).unwrap();
            }
        }
    }
    let documented: BTreeSet<String> = (paths.iter())
        .filter(|(_, operations)| operations.get("get").is_some())
        .map(|(path, _)| path.clone())
        .collect();
    assert_eq!(seen, documented, "every documented GET is looked at here");
    let optional = [
        "thumbnail",
        "delete_requested_at",
        "tag",
        "failed_by",
        "status_change",
    ];
    let text = document["components"]["schemas"].to_string();
    assert!(optional.iter().all(|field| text.contains(field)));
}

/// The checker itself finds what it is there to find.
#[test]
fn the_checker_finds_differences() {
    let document = json!({});
    let schema = json!({
        "type": "object", "required": ["id"],
        "properties": { "id": { "type": "string", "format": "uuid" }, "n": { "type": "integer" } },
    });
    let id = "00000000-0000-4000-8000-000000000000";
    let right = |value: Value| check(&document, &schema, &value, "it").is_ok();
    assert!(right(json!({ "id": id, "n": 1 })));
    assert!(right(json!({ "id": id })));
    assert!(!right(json!({ "n": 1 })));
    assert!(!right(json!({ "id": "seven" })));
    assert!(!right(json!({ "id": id, "n": "1" })));
    assert!(!right(json!({ "id": id, "n": null })));
    assert!(!right(json!({ "id": id, "more": 1 })));
}

/// An address that is served but not documented would be found by nobody.
#[test]
fn every_route_is_documented() {
    let farm = Farm::start();
    let document = farm.read("/api/farm/v1/openapi.json");
    let documented: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let contract = [
        "managers",
        "jobs",
        "jobs/{job}",
        "jobs/{job}/tasks",
        "tasks/{task}",
        "tasks/{task}/attempts",
        "tasks/{task}/log",
        "workers",
        "workers/{worker}",
        "workers/{worker}/quarantine",
        "workers/{worker}/release",
        "worker/health",
        "doctor",
        "frames",
        "shots",
        "shots/{shot}/frames",
        "shots/{shot}/preview",
        "shots/{shot}/verify",
        "shots/{shot}/rerender",
        "jobs/{job}/verify",
        "jobs/{job}/rerender",
        "events",
        "digest",
        "journal/segments",
        "openapi.json",
        "worker/thumbnails/{shot}/{file}",
    ];
    for path in contract {
        assert!(
            documented.contains(&format!("/api/farm/v1/{path}")),
            "{path}"
        );
    }
    // Routes come out of the same list as the document; what the source adds beside it is only
    // the answer to addresses that do not exist.
    let source = include_str!("../src/api/farm/mod.rs");
    let beside: Vec<&str> = source.matches(".route(").collect();
    assert_eq!(beside.len(), source.matches("any(unknown_route)").count());
    for path in documented {
        let path = path
            .replace("{job}", "x")
            .replace("{task}", "x")
            .replace("{worker}", "x");
        let path = path.replace("{shot}", "x").replace("{file}", "x");
        let answer = farm.get(&format!("{path}?limit=1"));
        let routed = answer.status != 404 || answer.header("content-type").contains("problem");
        assert!(routed, "{path} is documented and not served");
        let kind = String::from_utf8_lossy(&answer.body).contains("unknown-route");
        assert!(!kind, "{path} is documented and not served");
    }
}
