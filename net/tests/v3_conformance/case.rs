// SPDX-License-Identifier: GPL-3.0-or-later
//! A case: one operation, one code, and the way to it. Areas list theirs; here they are run.

use serde_json::Value;

use crate::{ground::Grounds, not_here_yet::NOT_HERE_YET};

/// Operation, code, and what has to be done so that this code comes.
pub(crate) type Case = (&'static str, u16, fn(&Grounds) -> Reply);

/// An answer that has been held against the document.
pub(crate) struct Reply {
    pub(crate) operation: &'static str,
    pub(crate) code: u16,
    pub(crate) body: Vec<u8>,
    value: Value,
}

impl Reply {
    pub(crate) fn new(operation: &'static str, code: u16, value: Value, body: Vec<u8>) -> Self {
        Self {
            operation,
            code,
            body,
            value,
        }
    }

    pub(crate) fn json(&self) -> &Value {
        &self.value
    }

    /// The same, when its message has these words.
    #[track_caller]
    pub(crate) fn saying(self, words: &str) -> Self {
        let message = self.value["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{words:?} is not in {message:?}");
        self
    }
}

/// Runs the cases of an area, each on what the ones before it left.
pub(crate) fn run(cases: &[Case]) {
    let grounds = Grounds::default();
    for (operation, code, way) in cases {
        if NOT_HERE_YET.contains(operation) {
            continue;
        }
        let reply = way(&grounds);
        let said = String::from_utf8_lossy(&reply.body);
        assert_eq!((reply.operation, reply.code), (*operation, *code), "{said}");
    }
}
