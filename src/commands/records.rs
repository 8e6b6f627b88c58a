// SPDX-License-Identifier: GPL-3.0-or-later
//! How a journal's record looks on a terminal: position, time, kind, facts as JSON.
//!
//! A record of a kind that this build does not know is shown with its number, and no facts.

use serde_json::{Map, Value, json};
use tablao_core::{Event, Request, Timestamp, kind};
use tablao_journal::{KIND_MAY_BE_SKIPPED, Record};
use tablao_net::clock::rfc3339;

/// Facts that are bytes.
const BYTES: &[&str] = &[
    "hash",
    "script_hash",
    "content_hash",
    "supersedes",
    "submission",
    "chain",
    "control_journal",
    "key",
    "id",
    "blob",
];

/// The kind's name, or its number where this build does not know it.
pub(super) fn kind_name(record: &Record) -> String {
    let number = record.kind & !KIND_MAY_BE_SKIPPED;
    kind::kind_of(number).map_or_else(|| format!("kind {number}"), |kind| kind.name.to_owned())
}

/// The facts, or why they cannot be read.
fn facts(record: &Record) -> Result<Value, String> {
    let event = Event::decode_facts(record.kind, record.version, &record.facts)
        .map_err(|error| error.to_string())?;
    let facts = event
        .serialize_facts(serde_json::value::Serializer)
        .map_err(|error| error.to_string())?;
    let mut facts = tidy("", facts);
    if let Event::Decision(decision) = &event {
        // A number in the format, a name for people.
        facts["request"] = json!(Request::name_of(decision.request));
    }
    Ok(facts)
}

/// One line of JSON.
pub(super) fn json_line(journal: &str, record: &Record) -> Value {
    let mut line = Map::from_iter([
        ("journal".to_owned(), json!(journal)),
        ("position".to_owned(), json!(record.lsn.get())),
        ("time".to_owned(), json!(time(record))),
        ("kind".to_owned(), json!(kind_name(record))),
        ("version".to_owned(), json!(record.version)),
        ("decision".to_owned(), json!(record.decision().get())),
        (
            "detail_bytes".to_owned(),
            json!(record.detail.as_ref().map(Vec::len)),
        ),
        ("erased".to_owned(), json!(record.flags.erased())),
    ]);
    match facts(record) {
        Ok(facts) => line.insert("facts".to_owned(), facts),
        Err(why) => line.insert("unreadable".to_owned(), json!(why)),
    };
    Value::Object(line)
}

/// One line for people.
pub(super) fn text_line(journal: &str, record: &Record) -> String {
    let facts = facts(record).map_or_else(|why| format!("({why})"), |facts| facts.to_string());
    format!(
        "{journal} {:>8} {} {:<24} {facts}",
        record.lsn.get(),
        time(record),
        kind_name(record)
    )
}

fn time(record: &Record) -> String {
    rfc3339(Timestamp::from_micros(record.time_us))
}

/// Bytes become hexadecimal digits; sixteen of them are an id.
fn tidy(key: &str, value: Value) -> Value {
    match value {
        Value::Array(items) if BYTES.contains(&key) => {
            let bytes = items.iter().filter_map(Value::as_u64);
            let bytes: Vec<u8> = bytes.filter_map(|byte| u8::try_from(byte).ok()).collect();
            Value::String(match uuid::Uuid::from_slice(&bytes) {
                Ok(id) => id.to_string(),
                Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            })
        }
        Value::Array(items) => items.into_iter().map(|item| tidy(key, item)).collect(),
        Value::Object(map) => {
            let tidied = map.into_iter().map(|(key, value)| {
                let value = tidy(&key, value);
                (key, value)
            });
            Value::Object(tidied.collect())
        }
        other => other,
    }
}
