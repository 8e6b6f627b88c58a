// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings of a job against the job type that it is of.
//!
//! Any job type and any settings get an answer; a setting that is refused is one that was sent.

use serde::Deserialize;
use serde_json::{Map, Value};
use tablao_jobtypes::{AvailableJobType, check_settings, missing_required};

#[derive(Deserialize)]
struct Input {
    job_type: AvailableJobType,
    settings: Map<String, Value>,
}

/// Reads the input as a job type and settings.
pub fn settings(data: &[u8]) {
    let Ok(input) = serde_json::from_slice::<Input>(data) else {
        return;
    };
    for problem in check_settings(&input.job_type, &input.settings) {
        let sent = input.settings.get(&problem.setting);
        assert!(sent.is_some_and(|value| !value.is_null()), "{problem}");
        assert!(!problem.to_string().is_empty());
    }
    for missing in missing_required(&input.job_type, &input.settings) {
        assert!(
            input.settings.get(&missing).is_none_or(Value::is_null),
            "{missing}"
        );
    }
    // The list of job types goes to clients as it is, and comes back from none of them changed.
    let wire = serde_json::to_vec(&input.job_type).expect("a job type is JSON");
    let again: AvailableJobType = serde_json::from_slice(&wire).expect("and reads back");
    assert_eq!(again, input.job_type);
}
