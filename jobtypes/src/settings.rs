// SPDX-License-Identifier: GPL-3.0-or-later
//! Checks of submitted settings against a job type, on top of what Flamenco does (it checks nothing).
//!
//! The rule, chosen so that whatever existing clients submit today still works:
//!
//! - A declared setting that is present must have the declared type. `int32` takes any whole number
//!   of 32 bits, also written `24.0`; `float` takes any number. Anything else is refused.
//! - A missing setting is never refused here, also not a `required` one, and nothing is filled in.
//!   Scripts depend on missing settings being `undefined`, and `required` marks inputs of a form:
//!   `render_output_root` is required to *compute* `render_output_path` and legitimately absent
//!   from a submission that brings the path. Only the script knows; it should throw. When it does,
//!   the error lists [`missing_required`] as a hint.
//! - `null` counts as missing. `choices` are a help for forms and not enforced. Undeclared settings
//!   pass untouched.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::job_type::{AvailableJobType, SettingType};

/// A setting whose value is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingProblem {
    /// Key of the setting.
    pub setting: String,
    /// The type the job type declares.
    pub expected: SettingType,
    /// What was sent, shortened.
    pub got: String,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            expected,
            got,
        } = self;
        let expected = expected.name();
        write!(
            formatter,
            "setting {setting:?} must be of type {expected}, got {got}"
        )
    }
}

/// Lists the settings whose values have the wrong type. Empty means: compile it.
#[must_use]
pub fn check_settings(
    job_type: &AvailableJobType,
    settings: &Map<String, Value>,
) -> Vec<SettingProblem> {
    let declared = job_type.settings.iter();
    declared
        .filter_map(|setting| {
            let value = settings
                .get(&setting.key)
                .filter(|value| !value.is_null())?;
            (!fits(setting.value_type, value)).then(|| SettingProblem {
                setting: setting.key.clone(),
                expected: setting.value_type,
                got: describe(value),
            })
        })
        .collect()
}

/// Keys of required settings that were not sent. Advice for forms and error messages, not a refusal.
#[must_use]
pub fn missing_required(job_type: &AvailableJobType, settings: &Map<String, Value>) -> Vec<String> {
    let declared = job_type.settings.iter();
    declared
        .filter(|setting| setting.required == Some(true))
        .filter(|setting| settings.get(&setting.key).is_none_or(Value::is_null))
        .map(|setting| setting.key.clone())
        .collect()
}

fn fits(expected: SettingType, value: &Value) -> bool {
    match expected {
        SettingType::String => value.is_string(),
        SettingType::Bool => value.is_boolean(),
        SettingType::Float => value.is_number(),
        SettingType::Int32 => value.as_f64().is_some_and(|number| {
            number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number)
        }),
    }
}

/// Names the JSON type and shows the start of the value: enough to recognise it in a form.
fn describe(value: &Value) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 40;
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    let text = value.to_string();
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{kind} {shown}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job_type() -> AvailableJobType {
        serde_json::from_value(json!({
            "name": "t", "label": "T", "etag": "", "settings": [
                {"key": "text", "type": "string", "required": true, "choices": ["a", "b"]},
                {"key": "whole", "type": "int32", "required": true},
                {"key": "number", "type": "float"},
                {"key": "flag", "type": "bool"},
            ],
        }))
        .unwrap()
    }

    fn check(settings: Value) -> Vec<SettingProblem> {
        check_settings(&job_type(), settings.as_object().unwrap())
    }

    /// Everything existing clients send passes: whole floats, nulls, unknown keys, free choices.
    #[test]
    fn accepted() {
        for settings in [
            json!({}),
            json!({"text": "c", "whole": 24, "number": 1, "flag": false}),
            json!({"whole": 24.0, "number": 23.976}),
            json!({"text": null, "whole": null, "unknown": {"any": []}}),
            json!({"whole": i32::MIN}),
        ] {
            assert_eq!(check(settings.clone()), [], "{settings}");
        }
    }

    /// A wrong type is refused with the setting's name, the expected type and what came.
    #[test]
    fn refused() {
        let problems = check(json!({"text": 3, "whole": 1.5, "number": "1", "flag": 0}));
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                r#"setting "text" must be of type string, got number 3"#,
                r#"setting "whole" must be of type int32, got number 1.5"#,
                r#"setting "number" must be of type float, got string "1""#,
                r#"setting "flag" must be of type bool, got number 0"#,
            ]
        );
        assert_eq!(check(json!({"whole": 2_147_483_648_i64})).len(), 1);
        assert_eq!(check(json!({"whole": true, "text": ["a"]})).len(), 2);
        let long = check(json!({"flag": "x".repeat(500)}));
        assert!(long[0].got.chars().count() < 60, "{}", long[0].got);
    }

    /// The hint lists required settings only, and takes null for missing.
    #[test]
    fn hint_lists_missing_required_settings() {
        let settings = json!({"whole": null, "flag": true});
        let missing = missing_required(&job_type(), settings.as_object().unwrap());
        assert_eq!(missing, ["text", "whole"]);
    }
}
