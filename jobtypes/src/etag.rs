// SPDX-License-Identifier: GPL-3.0-or-later
//! The etag of a job type: SHA-1 over a canonical JSON text, the way Flamenco computes it.
//!
//! Canonical means: compact, keys sorted on every level, the etag itself empty, optional keys
//! absent, and the characters that Go's encoder escapes for HTML escaped. Clients treat the value
//! as opaque; matching Flamenco's keeps cached job types of existing clients valid.

use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use crate::job_type::AvailableJobType;

/// Computes the etag; the one stored in `job_type` is ignored.
pub(crate) fn etag(job_type: &AvailableJobType) -> String {
    let anonymous = AvailableJobType {
        etag: String::new(),
        ..job_type.clone()
    };
    let value = serde_json::to_value(anonymous).expect("job types have string keys only");
    let text = sorted(value).to_string();
    let digest = Sha1::digest(escape(&text));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            let sorted_entries = entries.into_iter().map(|(key, inner)| (key, sorted(inner)));
            Value::Object(sorted_entries.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

/// These characters only occur inside strings of a JSON text, so replacing them anywhere is safe.
fn escape(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job_type(value: Value) -> AvailableJobType {
        serde_json::from_value(value).unwrap()
    }

    /// The published value of a known job type comes out bit for bit, whatever etag is stored.
    #[test]
    fn known_vector() {
        let echo = job_type(json!({
            "name": "echo-sleep-test", "label": "Echo Sleep Test", "etag": "anything",
            "settings": [
                {"key": "message", "type": "string", "required": true},
                {"key": "sleep_duration_seconds", "type": "int32", "default": 1},
                {"key": "sleep_repeats", "type": "int32", "default": 1},
            ],
        }));
        assert_eq!(etag(&echo), "eba586e16d6b55baaa43e32f9e78ae514b457fee");
    }

    /// Name, label, description and every key of a setting count.
    #[test]
    fn every_part_counts() {
        let base = json!({"name": "a", "label": "A", "etag": "", "settings": [{"key": "k", "type": "string"}]});
        let original = etag(&job_type(base.clone()));
        let changes = [
            ("/name", json!("b")),
            ("/label", json!("B")),
            ("/settings/0/key", json!("l")),
            ("/settings/0/type", json!("bool")),
            ("/settings", json!([])),
        ];
        for (pointer, value) in changes {
            let mut changed = base.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_ne!(etag(&job_type(changed)), original, "{pointer}");
        }
        let mut described = base.clone();
        described["description"] = json!("text");
        assert_ne!(etag(&job_type(described)), original);
        let mut zero = base;
        zero["settings"][0]["default"] = json!(0);
        assert_ne!(etag(&job_type(zero)), original, "an explicit zero is kept");
    }

    /// Key order does not count, and the text is escaped as Go does it.
    #[test]
    fn canonical_text() {
        let value = json!({"b": {"d": 1, "c": [{"f": 2, "e": 3}]}, "a": "<&>\u{2028}"});
        assert_eq!(
            escape(&sorted(value).to_string()),
            r#"{"a":"\u003c\u0026\u003e\u2028","b":{"c":[{"e":3,"f":2}],"d":1}}"#
        );
    }
}
