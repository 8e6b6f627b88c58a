// SPDX-License-Identifier: GPL-3.0-or-later
//! The shapes of answers that Flamenco's clients rely on.

use serde_json::Value;

use super::Answer;

/// An id that nobody has.
pub const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

/// An answer in Flamenco's error shape, whose message says this.
#[track_caller]
pub fn refused(answer: Answer, status: u16, says: &str) -> Value {
    let answer = answer.ok(status);
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    assert_eq!(body["code"], status, "{body}");
    let message = body["message"].as_str().unwrap();
    assert!(message.contains(says), "{message}");
    body
}

/// The Go client decodes JSON wherever the type says JSON: an empty answer must not say so.
#[track_caller]
pub fn nothing(answer: Answer) {
    let answer = answer.ok(204);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("content-type"), "");
}
