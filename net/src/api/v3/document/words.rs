// SPDX-License-Identifier: GPL-3.0-or-later
//! How the files of the document name types, and the schemas that the names stand for.
//!
//! `string`, `integer`, `boolean`, `object`, `any`; `uuid` and `date-time` are strings of that
//! form; a name with a capital is a schema of the document. `[X]` is a list of X, `{X}` an object
//! whose values are X. Behind the type may stand a range, `0..100` or `1..`, and a default,
//! `=50` or `=false`. A field that must be there ends with `!`.

use serde_json::{Map, Value, json};

/// Schema, whether it must be there, and what it is, of `["type", "what it is"]`.
pub(super) fn field(told: &toml::Value) -> (Value, bool, &str) {
    let part = |place: usize| {
        (told.get(place).and_then(toml::Value::as_str)).expect("a field is [type, what it is]")
    };
    let (word, required) = match part(0).strip_suffix('!') {
        Some(word) => (word.trim_end(), true),
        None => (part(0), false),
    };
    (schema_of_word(word), required, part(1))
}

/// What a type's name stands for.
pub(super) fn schema_of_word(word: &str) -> Value {
    let mut parts = word.split(' ');
    let mut schema = schema_of_name(parts.next().unwrap_or_default());
    for part in parts {
        let number = |text: &str| text.parse::<i64>().expect("a range is whole numbers");
        if let Some(default) = part.strip_prefix('=') {
            schema["default"] = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
        } else if let Some((from, to)) = part.split_once("..") {
            schema["minimum"] = json!(number(from));
            if !to.is_empty() {
                schema["maximum"] = json!(number(to));
            }
        }
    }
    schema
}

fn schema_of_name(name: &str) -> Value {
    let inside = |open, close| name.strip_prefix(open)?.strip_suffix(close);
    if let Some(item) = inside('[', ']') {
        return json!({ "type": "array", "items": schema_of_name(item) });
    }
    if let Some(value) = inside('{', '}') {
        return map_of(value);
    }
    match name {
        "uuid" | "date-time" => json!({ "type": "string", "format": name }),
        "any" => json!({}),
        _ if name.starts_with(char::is_uppercase) => {
            json!({ "$ref": format!("#/components/schemas/{name}") })
        }
        _ => json!({ "type": name }),
    }
}

fn map_of(value: &str) -> Value {
    let values = match value {
        "any" => json!(true),
        other => schema_of_name(other),
    };
    json!({ "type": "object", "additionalProperties": values })
}

/// A schema of the document: an object with fields, perhaps on a base; or a list, a map, a text
/// with few values, or another schema under its own name.
pub(super) fn schema(told: &toml::Value) -> Value {
    let text = |key: &str| told.get(key).and_then(toml::Value::as_str);
    let is = text("is").expect("every schema says what it is");
    let described = |mut schema: Value, is: String| {
        schema["description"] = json!(is);
        schema
    };
    if let Some(values) = told.get("values").and_then(toml::Value::as_table) {
        let mut words = is.to_owned();
        for (value, means) in values {
            words += &format!("\n- `{value}`: {}", means.as_str().unwrap_or_default());
        }
        let names: Vec<&String> = values.keys().collect();
        let mut schema = json!({ "type": "string", "enum": names });
        if let Some(default) = text("default") {
            schema["default"] = json!(default);
        }
        return described(schema, words);
    }
    let is = is.to_owned();
    if let Some(item) = text("list") {
        return described(
            json!({ "type": "array", "items": schema_of_name(item) }),
            is,
        );
    }
    if let Some(value) = text("map") {
        return described(map_of(value), is);
    }
    if let Some(other) = text("same") {
        return json!({ "allOf": [schema_of_name(other)], "description": is });
    }
    let own = object(told.get("fields").and_then(toml::Value::as_table));
    match text("base") {
        Some(base) => json!({ "allOf": [schema_of_name(base), own], "description": is }),
        None => described(own, is),
    }
}

fn object(fields: Option<&toml::Table>) -> Value {
    let (mut properties, mut needed) = (Map::new(), Vec::new());
    for (name, told) in fields.into_iter().flatten() {
        let (schema, required, is) = field(told);
        // Nothing may stand beside a reference in OpenAPI 3.0.
        let schema = if schema.get("$ref").is_some() {
            json!({ "allOf": [schema], "description": is })
        } else {
            let mut schema = schema;
            schema["description"] = json!(is);
            schema
        };
        properties.insert(name.clone(), schema);
        if required {
            needed.push(json!(name));
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if !needed.is_empty() {
        schema["required"] = Value::Array(needed);
    }
    schema
}
