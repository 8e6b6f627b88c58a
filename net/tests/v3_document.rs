// SPDX-License-Identifier: GPL-3.0-or-later
//! The served document of `/api/v3`: it agrees with Flamenco's but for differences that are named
//! with a reason, and what it says is served is served.
//!
//! Facts of Flamenco's document are in tests/flamenco/specification.toml, differences beside it.
//! Whether answers are as documented is the duty of v3_conformance.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "v3_conformance/not_here_yet.rs"]
mod not_here_yet;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use not_here_yet::NOT_HERE_YET;
use serde_json::Value;
use support::Farm;

/// What can be said of an API in one line each: `getVersion 200` is `FlamencoVersion`.
type Facts = BTreeMap<String, String>;

/// The facts of an OpenAPI document.
fn facts_of(document: &Value) -> Facts {
    let mut facts = Facts::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let mut add = |what: &str, is: String| facts.insert(format!("{id} {what}"), is);
            add("call", format!("{} {path}", method.to_uppercase()));
            add("tag", operation["tags"][0].as_str().unwrap().to_owned());
            if let Some(auth) = operation["security"][0].as_object() {
                add("auth", auth.keys().next().unwrap().clone());
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let place = parameter["in"].as_str().unwrap();
                let mark = mark(parameter["required"] == true);
                add(
                    &format!("parameter {}", parameter["name"].as_str().unwrap()),
                    format!("{place} {}{mark}", word(&parameter["schema"])),
                );
            }
            let body = &operation["requestBody"];
            if body.is_object() {
                let mark = mark(body["required"] == true);
                add("takes", format!("{}{mark}", contents(body)));
            }
            for (code, answer) in operation["responses"].as_object().unwrap() {
                add(code, contents(resolved(document, answer)));
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        facts.extend(facts_of_schema(name, schema));
    }
    facts
}

fn facts_of_schema(name: &str, schema: &Value) -> Facts {
    let mut facts = Facts::new();
    let parts = match schema["allOf"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => vec![schema],
    };
    for part in &parts {
        if part["$ref"].is_string() {
            let what = if parts.len() == 1 { "same" } else { "base" };
            facts.insert(format!("{name} {what}"), word(part));
        }
        for (field, of) in part["properties"].as_object().into_iter().flatten() {
            let needed = part["required"]
                .as_array()
                .is_some_and(|all| all.contains(&field.as_str().into()));
            facts.insert(
                format!("{name}.{field}"),
                format!("{}{}", word(of), mark(needed)),
            );
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: BTreeSet<&str> = values.iter().map(|value| value.as_str().unwrap()).collect();
        facts.insert(format!("{name} values"), Vec::from_iter(values).join(" "));
    }
    if schema["enum"].is_array()
        && let Some(default) = schema["default"].as_str()
    {
        facts.insert(format!("{name} default"), default.to_owned());
    }
    if schema["items"].is_object() {
        facts.insert(format!("{name} list"), word(&schema["items"]));
    }
    match &schema["additionalProperties"] {
        Value::Bool(true) => facts.insert(format!("{name} map"), "any".to_owned()),
        of @ Value::Object(_) => facts.insert(format!("{name} map"), word(of)),
        _ => None,
    };
    facts
}

fn mark(needed: bool) -> &'static str {
    if needed { "!" } else { "" }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(to) => document.pointer(to.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// A type in a word.
fn word(schema: &Value) -> String {
    if let Some(to) = schema["$ref"].as_str() {
        return to.rsplit('/').next().unwrap().to_owned();
    }
    // A reference with a description of its own.
    if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
        return word(only);
    }
    let kind = schema["type"].as_str().unwrap_or("any");
    let mut word = match (kind, &schema["additionalProperties"]) {
        ("array", _) => format!("[{}]", word(&schema["items"])),
        ("object", Value::Bool(true)) => "{any}".to_owned(),
        ("object", of @ Value::Object(_)) => format!("{{{}}}", word_of(of)),
        _ => kind.to_owned(),
    };
    if let Some(format @ ("date-time" | "binary")) = schema["format"].as_str() {
        word = format.to_owned();
    }
    let (from, to) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
    if from.is_some() || to.is_some() {
        let text = |bound: Option<i64>| bound.map(|n| n.to_string()).unwrap_or_default();
        word += &format!(" {}..{}", text(from), text(to));
    }
    match &schema["default"] {
        Value::Null => {}
        Value::String(text) => word += &format!(" ={text}"),
        other => word += &format!(" ={other}"),
    }
    word
}

fn word_of(schema: &Value) -> String {
    word(schema)
}

fn contents(body: &Value) -> String {
    let kinds = body["content"].as_object().into_iter().flatten();
    let words = kinds.map(|(kind, content)| {
        let word = word(&content["schema"]);
        if kind == "application/json" {
            word
        } else {
            format!("{kind} {word}")
        }
    });
    Vec::from_iter(words).join(", ")
}

/// Flamenco's facts, from their file.
fn flamencos() -> Facts {
    let text = include_str!("../../tests/flamenco/specification.toml");
    let file: toml::Table = toml::from_str(text).unwrap();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let mut facts = Facts::new();
    for (id, operation) in file["operations"].as_table().unwrap() {
        for (what, value) in operation.as_table().unwrap() {
            match (what.as_str(), value) {
                ("parameters", toml::Value::Table(all)) => facts.extend(
                    all.iter()
                        .map(|(name, is)| (format!("{id} parameter {name}"), text(is))),
                ),
                ("answers", toml::Value::Table(all)) => facts.extend(
                    all.iter()
                        .map(|(code, is)| (format!("{id} {code}"), text(is))),
                ),
                (_, value) => drop(facts.insert(format!("{id} {what}"), text(value))),
            }
        }
    }
    for (name, schema) in file["schemas"].as_table().unwrap() {
        for (what, value) in schema.as_table().unwrap() {
            match value {
                toml::Value::Table(fields) => facts.extend(
                    (fields.iter()).map(|(field, is)| (format!("{name}.{field}"), text(is))),
                ),
                toml::Value::Array(values) => {
                    let values: BTreeSet<String> = values.iter().map(text).collect();
                    facts.insert(format!("{name} {what}"), Vec::from_iter(values).join(" "));
                }
                value => drop(facts.insert(format!("{name} {what}"), text(value))),
            }
        }
    }
    facts
}

/// Facts that are not the same here, each with what it is here and there; "-" where it is not.
fn differences(ours: &Facts, theirs: &Facts) -> BTreeMap<String, (String, String)> {
    let none = || "-".to_owned();
    let mut found = BTreeMap::new();
    for name in ours.keys().chain(theirs.keys()) {
        let (here, mut there) = (ours.get(name), theirs.get(name));
        let (operation, what) = name.rsplit_once(' ').unwrap_or((name, ""));
        // One `default` there stands for all the errors that we name.
        if what == "default" && theirs.contains_key(&format!("{operation} call")) {
            continue;
        }
        let is_error = what.parse::<u16>().is_ok_and(|code| code >= 400);
        if is_error && there.is_none() {
            there = theirs.get(&format!("{operation} default"));
        }
        if here != there {
            let said = |fact: Option<&String>| fact.cloned().unwrap_or_else(none);
            found.insert(name.clone(), (said(here), said(there)));
        }
    }
    found
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    facts: Vec<String>,
    ours: String,
    theirs: String,
    reason: String,
}

/// Differences by their facts, as they are named.
fn named() -> BTreeMap<String, (String, String)> {
    #[derive(serde::Deserialize)]
    struct File {
        difference: Vec<Named>,
    }
    let text = include_str!("../../tests/flamenco/differences.toml");
    let file: File = toml::from_str(text).unwrap();
    let mut named = BTreeMap::new();
    for one in file.difference {
        assert!(one.reason.len() > 20, "{:?} needs a reason", one.facts);
        for fact in one.facts {
            let before = named.insert(fact.clone(), (one.ours.clone(), one.theirs.clone()));
            assert!(before.is_none(), "{fact} is named twice");
        }
    }
    named
}

/// A client that was generated from Flamenco's document works here: whatever is not the same is
/// named with a reason, and what is named is really not the same.
#[test]
fn the_document_agrees_with_flamencos_but_for_named_differences() {
    let farm = Farm::start();
    let document = farm.read("/api/v3/openapi3.json");
    let (ours, theirs) = (facts_of(&document), flamencos());
    let calls = |facts: &Facts| facts.keys().filter(|name| name.ends_with(" call")).count();
    assert_eq!((calls(&ours), calls(&theirs)), (57, 57));
    let (found, named) = (differences(&ours, &theirs), named());
    let mut wrong = String::new();
    for (fact, (here, there)) in &found {
        if named.get(fact) != Some(&(here.clone(), there.clone())) {
            wrong += &format!("not named: {fact:?}: {here:?} here, {there:?} there\n");
        }
    }
    for fact in named.keys().filter(|fact| !found.contains_key(*fact)) {
        wrong += &format!("named, and the same: {fact:?}\n");
    }
    assert!(
        wrong.is_empty(),
        "in tests/flamenco/differences.toml:\n{wrong}"
    );
}

/// The comparison finds what it is there to find: each kind of fact, changed or taken away.
#[test]
fn the_comparison_finds_every_kind_of_difference() {
    let theirs = flamencos();
    assert!(differences(&theirs, &theirs).is_empty());
    let changes = [
        ("getVersion call", Some("POST /api/v3/version")),
        ("getVersion 200", Some("Error")),
        ("getVersion 404", Some("Error")),
        ("signOn auth", None),
        ("signOn 403", Some("SecurityError")),
        ("getVariables parameter audience", Some("path string!")),
        ("submitJob takes", Some("SubmittedJob")),
        ("submitJob 412", None),
        ("Job.updated", Some("string!")),
        ("Job base", None),
        ("JobStatus values", Some("active")),
        ("JobBlocklist list", Some("string")),
    ];
    for (fact, is) in changes {
        let mut ours = theirs.clone();
        match is {
            Some(is) => drop(ours.insert(fact.to_owned(), is.to_owned())),
            None => drop(ours.remove(fact).unwrap()),
        }
        let found = differences(&ours, &theirs);
        assert_eq!(Vec::from_iter(found.keys()), [fact]);
    }
    // An error that Flamenco's document means by `default` is no difference.
    let mut ours = theirs.clone();
    ours.insert("signOn 400".to_owned(), "Error".to_owned());
    assert!(differences(&ours, &theirs).is_empty());
}

/// An address that is served and not documented would be found by nobody; one that is documented
/// and not served would mislead.
#[test]
fn what_is_documented_is_served_and_the_reverse() {
    let farm = Farm::start();
    let document = farm.read("/api/v3/openapi3.json");
    let blank = |path: &str| {
        let parts = path.split('/');
        let parts = parts.map(|part| if part.starts_with('{') { "{}" } else { part });
        Vec::from_iter(parts).join("/")
    };
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            if !NOT_HERE_YET.contains(&id) {
                documented.insert((blank(path), method.to_uppercase()));
            }
        }
    }
    // The document itself, its page, and the answer to addresses that do not exist.
    let beside = ["/api/v3/openapi3.json", "/api/v3/swagger-ui/", "/api/v3/{}"];
    let source = include_str!("../src/api/v3/mod.rs");
    let mut paths: BTreeSet<String> = (source.split('"'))
        .filter(|text| text.starts_with("/api/v3/"))
        .map(blank)
        .filter(|path| !beside.contains(&path.as_str()))
        .collect();
    paths.extend(documented.iter().map(|(path, _)| path.clone()));
    let mut served = BTreeSet::new();
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let answer = farm.call(method, &path.replace("{}", "x"), &[], "");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let not_served = answer.status == 405 || text.contains("is no address of this API");
            if !not_served {
                served.insert((path.clone(), method.to_owned()));
            }
        }
    }
    assert_eq!(served, documented);
}

/// The document is there to be read by people, too.
#[test]
fn the_page_shows_every_operation() {
    let farm = Farm::start();
    let page = farm.get("/api/v3/swagger-ui/").ok(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let page = String::from_utf8(page.body).unwrap();
    for fact in flamencos().keys() {
        if let Some(id) = fact.strip_suffix(" call") {
            assert!(page.contains(&format!("<details id={id}>")), "{id}");
        }
    }
    assert!(!page.contains("src="), "nothing is fetched from elsewhere");
}

/// Each operation has its row where people look for differences, and no other has.
#[test]
fn every_operation_has_its_row_in_the_compatibility_table() {
    let page = include_str!("../../docs/flamenco-compatibility.md");
    let table = page.split("## Operation by operation").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let named: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(rows.len(), named.len(), "one row each");
    let facts = flamencos();
    let operations: BTreeSet<&str> = (facts.keys())
        .filter_map(|fact| fact.strip_suffix(" call"))
        .collect();
    assert_eq!(named, operations);
}
