// SPDX-License-Identifier: GPL-3.0-or-later
//! From a script's `JOB_TYPE`, already turned into JSON, to an [`AvailableJobType`].
//!
//! Strict where existing clients are strict: a value outside the schema would make their generated
//! code refuse the whole list of job types, so such a type is refused here with a sentence that
//! names the key. Unknown keys were dropped before this point.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    etag,
    job_type::{AvailableJobType, JobSetting},
};

/// Reads the declaration of the job type called `name`, or says what is wrong with it.
pub(crate) fn read(name: &str, declared: Value) -> Result<AvailableJobType, String> {
    let Value::Object(mut declared) = declared else {
        return Err("JOB_TYPE must be an object".to_owned());
    };
    let label: String = required(&mut declared, "label", "JOB_TYPE")?;
    if label.trim().is_empty() {
        return Err("JOB_TYPE: label is empty".to_owned());
    }
    let description: Option<String> = optional(&mut declared, "description", "JOB_TYPE")?;
    let listed: Vec<Value> = required(&mut declared, "settings", "JOB_TYPE")?;
    let numbered = listed.into_iter().enumerate();
    let settings = numbered
        .map(|(index, setting)| read_setting(index, setting))
        .collect::<Result<Vec<_>, _>>()?;
    let mut job_type = AvailableJobType {
        name: name.to_owned(),
        label,
        settings,
        etag: String::new(),
        description: description.filter(|text| !text.is_empty()),
    };
    job_type.etag = etag::etag(&job_type);
    Ok(job_type)
}

fn read_setting(index: usize, declared: Value) -> Result<JobSetting, String> {
    let Value::Object(mut declared) = declared else {
        return Err(format!("setting number {} must be an object", index + 1));
    };
    let anonymous = format!("setting number {}", index + 1);
    let key: String = required(&mut declared, "key", &anonymous)?;
    if key.is_empty() {
        return Err(format!("{anonymous}: key is empty"));
    }
    let place = format!("setting {key:?}");
    let from = &mut declared;
    Ok(JobSetting {
        value_type: required(from, "type", &place)?,
        subtype: optional(from, "subtype", &place)?,
        choices: optional(from, "choices", &place)?.unwrap_or_default(),
        propargs: optional(from, "propargs", &place)?.unwrap_or_default(),
        description: optional(from, "description", &place)?,
        label: optional(from, "label", &place)?,
        default: optional(from, "default", &place)?,
        eval: optional(from, "eval", &place)?,
        eval_info: optional(from, "evalInfo", &place)?,
        visible: optional(from, "visible", &place)?,
        required: optional(from, "required", &place)?,
        editable: optional(from, "editable", &place)?,
        key,
    })
}

fn required<T: DeserializeOwned>(
    from: &mut Map<String, Value>,
    key: &str,
    place: &str,
) -> Result<T, String> {
    optional(from, key, place)?.ok_or_else(|| format!("{place}: {key} is missing"))
}

/// Absent, `undefined` and `null` are the same to scripts and so they are here.
fn optional<T: DeserializeOwned>(
    from: &mut Map<String, Value>,
    key: &str,
    place: &str,
) -> Result<Option<T>, String> {
    let Some(value) = from.remove(key).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    serde_json::from_value(value)
        .map(Some)
        .map_err(|error| format!("{place}: {key}: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A full declaration keeps every key, and its wire form has no nulls and no empty extras.
    #[test]
    fn wire_form() {
        let declared = json!({
            "label": "T", "description": "", "settings": [{
                "key": "k", "type": "float", "visible": "web", "required": false, "default": 0,
                "evalInfo": {"showLinkButton": true, "description": "auto"}, "eval": "1",
                "propargs": {"min": 0}, "subtype": null, "choices": [],
            }],
        });
        let job_type = read("t", declared).unwrap();
        let mut wire = serde_json::to_value(&job_type).unwrap();
        wire["etag"] = json!("");
        assert_eq!(
            wire,
            json!({"name": "t", "label": "T", "etag": "", "settings": [{
                "key": "k", "type": "float", "propargs": {"min": 0}, "default": 0, "eval": "1",
                "evalInfo": {"showLinkButton": true, "description": "auto"},
                "visible": "web", "required": false,
            }]})
        );
        assert_eq!(job_type.etag.len(), 40);
    }

    /// `evalInfo` is completed, because clients insist on both of its keys.
    #[test]
    fn eval_info_is_completed() {
        let declared =
            json!({"label": "T", "settings": [{"key": "k", "type": "string", "evalInfo": {}}]});
        let wire = serde_json::to_value(read("t", declared).unwrap()).unwrap();
        assert_eq!(
            wire["settings"][0]["evalInfo"],
            json!({"showLinkButton": false, "description": ""})
        );
    }

    /// What would break clients is refused, and the answer names the place.
    #[test]
    fn refusals() {
        let rows = [
            (json!(3), "JOB_TYPE must be an object"),
            (json!({"settings": []}), "label is missing"),
            (json!({"label": " ", "settings": []}), "label is empty"),
            (json!({"label": "T"}), "settings is missing"),
            (
                json!({"label": "T", "settings": [1]}),
                "setting number 1 must be an object",
            ),
            (
                json!({"label": "T", "settings": [{"type": "string"}]}),
                "setting number 1: key is missing",
            ),
            (
                json!({"label": "T", "settings": [{"key": "k"}]}),
                "setting \"k\": type is missing",
            ),
            (
                json!({"label": "T", "settings": [{"key": "k", "type": "int"}]}),
                "setting \"k\": type: unknown variant `int`",
            ),
            (
                json!({"label": "T", "settings": [{"key": "k", "type": "string", "visible": "no"}]}),
                "setting \"k\": visible",
            ),
        ];
        for (declared, expected) in rows {
            let problem = read("t", declared.clone()).unwrap_err();
            assert!(problem.contains(expected), "{declared}: {problem}");
        }
    }
}
