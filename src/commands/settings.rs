// SPDX-License-Identifier: GPL-3.0-or-later
//! Settings of a job from the command line: texts become what the job type declares them to be.
//!
//! What a value may be beyond its type (ranges, choices) is for the job type's own checks.

use serde_json::{Map, Value};

use crate::{
    exit::{Code, Exit},
    output::{self, Column},
};

const COLUMNS: &[Column] = &[
    ("SETTING", "/key"),
    ("TYPE", "/type"),
    ("REQUIRED", "/required"),
    ("DEFAULT", "/default"),
    ("DESCRIPTION", "/description"),
];

/// `KEY=VALUE`, for clap.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("it has the form KEY=VALUE".to_owned()),
    }
}

/// The settings that a job type declares.
pub(super) struct Declared {
    name: String,
    settings: Vec<Value>,
}

impl Declared {
    /// From the farm's description of the job type.
    pub(super) fn new(job_type: &Value) -> Self {
        Self {
            name: job_type["name"].as_str().unwrap_or_default().to_owned(),
            settings: job_type["settings"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// Shows them.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            output::json(&Value::Array(self.settings.clone()))
        } else {
            output::table(COLUMNS, &self.settings)
        }
    }

    fn find(&self, key: &str) -> Option<&Value> {
        self.settings.iter().find(|setting| setting["key"] == key)
    }

    /// What was given, in the declared types.
    pub(super) fn changes(&self, given: &[(String, String)]) -> anyhow::Result<Map<String, Value>> {
        let mut settings = Map::new();
        for (key, text) in given {
            let setting = self.find(key).ok_or_else(|| {
                let known: Vec<&str> = (self.settings.iter())
                    .filter_map(|setting| setting["key"].as_str())
                    .collect();
                usage(format!(
                    "the job type {} has no setting {key:?}; it has {}",
                    self.name,
                    known.join(", ")
                ))
            })?;
            let value = value(setting, text).ok_or_else(|| {
                usage(format!("--set {key}={text}: it must be {}", kind(setting)))
            })?;
            settings.insert(key.clone(), value);
        }
        Ok(settings)
    }

    /// The same with defaults, and with the blend file in its place.
    pub(super) fn settings(
        &self,
        given: &[(String, String)],
        blendfile: Option<&str>,
    ) -> anyhow::Result<Map<String, Value>> {
        // Whoever submits fills in the defaults: scripts count on finding them.
        let mut settings: Map<String, Value> = (self.settings.iter())
            .filter_map(|setting| {
                let key = setting["key"].as_str()?;
                Some((key.to_owned(), setting.get("default")?.clone()))
            })
            .collect();
        if let Some(path) = blendfile {
            if self.find("blendfile").is_none() {
                return Err(usage(format!(
                    "the job type {} has no setting `blendfile`; leave the file out",
                    self.name
                )));
            }
            settings.insert("blendfile".to_owned(), Value::String(path.to_owned()));
        }
        settings.extend(self.changes(given)?);
        let missing: Vec<&str> = (self.settings.iter())
            .filter(|setting| setting["required"] == true)
            .filter_map(|setting| setting["key"].as_str())
            .filter(|key| !settings.contains_key(*key))
            .collect();
        if missing.is_empty() {
            return Ok(settings);
        }
        Err(usage(format!(
            "the job type {} needs {}: give each with --set KEY=VALUE{}",
            self.name,
            missing.join(", "),
            if missing.contains(&"blendfile") {
                ", and the blend file as the last argument"
            } else {
                ""
            }
        )))
    }
}

fn usage(words: String) -> anyhow::Error {
    Exit::new(Code::Usage, words).into()
}

/// The declared type in words.
fn kind(setting: &Value) -> &'static str {
    match setting["type"].as_str() {
        Some("int32") => "a whole number",
        Some("float") => "a number",
        Some("bool") => "true or false",
        _ => "a text",
    }
}

fn value(setting: &Value, text: &str) -> Option<Value> {
    match setting["type"].as_str() {
        Some("int32") => text.parse::<i32>().ok().map(Value::from),
        Some("float") => {
            let number = text.parse::<f64>().ok()?;
            serde_json::Number::from_f64(number).map(Value::Number)
        }
        Some("bool") => text.parse::<bool>().ok().map(Value::Bool),
        _ => Some(Value::String(path_or_text(setting, text))),
    }
}

/// A relative path means one below this folder; a worker would look below its own. Variables
/// (`{name}/...`) and Blender's own relative paths (`//...`) stay as they are.
fn path_or_text(setting: &Value, text: &str) -> String {
    let is_path = matches!(
        setting["subtype"].as_str(),
        Some("dir_path" | "file_path" | "hashed_file_path")
    );
    if !is_path || text.is_empty() || text.starts_with(['{', '/', '\\']) {
        return text.to_owned();
    }
    let absolute = std::path::absolute(text).ok();
    let absolute = absolute.and_then(|path| path.to_str().map(str::to_owned));
    absolute.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared() -> Declared {
        Declared::new(&json!({ "name": "t", "settings": [
            { "key": "frames", "type": "string", "required": true },
            { "key": "count", "type": "int32", "default": 1, "required": true },
            { "key": "fps", "type": "float" },
            { "key": "fast", "type": "bool" },
            { "key": "out", "type": "string", "subtype": "dir_path" },
        ]}))
    }

    fn set(pairs: &[(&str, &str)]) -> anyhow::Result<Map<String, Value>> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let pairs: Vec<_> = pairs.iter().map(owned).collect();
        declared().settings(&pairs, None)
    }

    /// A script compares and computes with its settings, so "24" must not come as a text where
    /// a number is declared, nor 1 as a number where a text is.
    #[test]
    fn values_get_the_declared_types() {
        let found = set(&[
            ("frames", "1"),
            ("count", "3"),
            ("fps", "24"),
            ("fast", "true"),
            ("out", "{render}/x"),
        ]);
        let wanted =
            json!({ "frames": "1", "count": 3, "fps": 24.0, "fast": true, "out": "{render}/x" });
        assert_eq!(Value::Object(found.unwrap()), wanted);
    }

    /// Scripts count on defaults being there; the manager does not add them.
    #[test]
    fn defaults_are_filled_in() {
        assert_eq!(set(&[("frames", "1")]).unwrap()["count"], 1);
    }

    /// A worker would read a relative path below its own folder.
    #[test]
    fn relative_paths_become_absolute() {
        let found = set(&[("frames", "1"), ("out", "renders")]).unwrap();
        let out = std::path::PathBuf::from(found["out"].as_str().unwrap());
        assert!(out.is_absolute() && out.ends_with("renders"), "{out:?}");
    }

    /// A typing mistake must not be submitted as something else.
    #[test]
    fn wrong_values_unknown_and_missing_settings_are_told() {
        let told = |pairs: &[(&str, &str)]| set(pairs).unwrap_err().to_string();
        assert!(told(&[("frames", "1"), ("count", "many")]).contains("whole number"));
        assert!(told(&[("frames", "1"), ("fast", "1")]).contains("true or false"));
        assert!(told(&[("frames", "1"), ("fps", "NaN")]).contains("a number"));
        assert!(told(&[("frame", "1")]).contains("it has frames, count"));
        assert!(told(&[]).contains("needs frames"));
    }
}
