// SPDX-License-Identifier: GPL-3.0-or-later
//! Schemas of the document as a judge of answers, stricter than the document: a field that it
//! does not name is wrong, too, because then the document is not what is sent.

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// What a reference leads to.
pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(to) => document.pointer(to.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// A judge for one type.
pub(crate) fn validator(document: &Value, of: &Value) -> Validator {
    let mut schemas = document["components"]["schemas"].clone();
    for schema in schemas.as_object_mut().unwrap().values_mut() {
        let parts = match schema.get_mut("allOf") {
            Some(Value::Array(parts)) => parts.as_mut_slice(),
            _ => std::slice::from_mut(schema),
        };
        for part in parts {
            if let Some(fields) = part.get_mut("properties").and_then(Value::as_object_mut) {
                fields.values_mut().for_each(close);
            }
            if let Some(items) = part.get_mut("items") {
                close(items);
            }
            if let Some(values) = part.get_mut("additionalProperties") {
                close(values);
            }
        }
    }
    let mut top = of.clone();
    close(&mut top);
    let root = json!({ "allOf": [top], "components": { "schemas": schemas } });
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&root)
        .unwrap()
}

/// Where another schema is referred to, its fields are all that there may be. A schema that
/// another one stands on is not closed by that.
fn close(schema: &mut Value) {
    if let Some(items) = schema.get_mut("items") {
        close(items);
    }
    if schema.get("$ref").is_some() || schema.get("allOf").is_some() {
        schema["unevaluatedProperties"] = json!(false);
    }
}

/// There is a null anywhere in it.
pub(crate) fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The judge finds what it is there to find.
#[test]
fn what_the_document_does_not_say_is_found() {
    let document = json!({ "components": { "schemas": {
        "Base": { "type": "object", "required": ["id"], "properties": {
            "id": { "type": "string", "format": "uuid" },
        } },
        "Whole": { "allOf": [{ "$ref": "#/components/schemas/Base" }, {
            "type": "object", "required": ["at"], "properties": {
                "at": { "type": "string", "format": "date-time" },
                "more": { "allOf": [{ "$ref": "#/components/schemas/Base" }], "description": "" },
            },
        }] },
    } } });
    let judge = validator(&document, &json!({ "$ref": "#/components/schemas/Whole" }));
    let id = "00000000-0000-4000-8000-000000000000";
    let at = "2026-08-03T12:00:00Z";
    assert!(judge.is_valid(&json!({ "id": id, "at": at })));
    assert!(judge.is_valid(&json!({ "id": id, "at": at, "more": { "id": id } })));
    for wrong in [
        json!({ "id": id }),
        json!({ "id": "seven", "at": at }),
        json!({ "id": id, "at": "noon" }),
        json!({ "id": id, "at": at, "beside": 1 }),
        json!({ "id": id, "at": at, "more": { "id": id, "beside": 1 } }),
    ] {
        assert!(!judge.is_valid(&wrong), "{wrong}");
    }
    assert!(has_null(&json!({ "a": [{ "b": null }] })) && !has_null(&json!({ "a": [{}] })));
}
