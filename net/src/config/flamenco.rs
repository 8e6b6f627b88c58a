// SPDX-License-Identifier: GPL-3.0-or-later
//! The configuration in the form of Flamenco's `flamenco-manager.yaml`: flat keys, lengths of time
//! as text. Given out by the API, and taken from it and from an imported file by the same rules.
//!
//! What is not mentioned stays as it is. What Tablao has no use for is kept and given back.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value, json};

use super::{Config, Edited, HIDDEN, go_duration};
use crate::variables::Variable;

/// The one version of Flamenco's file format that there is.
const META_VERSION: u64 = 3;

/// The configuration in Flamenco's form, without secrets.
pub fn shown(config: &Config, data: &Path) -> Value {
    let rules = &config.rules;
    let mqtt = &config.mqtt;
    let password = if mqtt.password.is_empty() { "" } else { HIDDEN };
    let variables: Map<String, Value> = (config.variables.iter())
        .map(|(name, variable)| (name.clone(), shown_variable(variable)))
        .collect();
    let mut shown = json!({
        "_meta": { "version": META_VERSION },
        "manager_name": config.manager_name,
        // What these mean here: nothing, and where the data lies.
        "database": "",
        "database_check_period": "0s",
        "local_manager_storage_path": data.to_string_lossy(),
        "listen": config.listen,
        "autodiscoverable": config.discovery.enabled,
        "shared_storage_path": config.shared_storage_path.to_string_lossy(),
        "shaman": {
            "enabled": config.shaman.enabled,
            "garbageCollect": {
                "period": go_duration::text(config.shaman.garbage_collect_period_s),
                "maxAge": go_duration::text(config.shaman.garbage_collect_age_max_s),
            },
        },
        "task_timeout": go_duration::text(rules.task_timeout_s),
        "worker_timeout": go_duration::text(rules.worker_timeout_s),
        "blocklist_threshold": rules.blocklist_threshold,
        "task_fail_after_softfail_count": rules.task_fail_after_softfail_count,
        "mqtt": { "client": {
            "enabled": mqtt.enabled, "broker": mqtt.broker, "clientID": mqtt.client_id,
            "topic_prefix": mqtt.topic_prefix, "username": mqtt.username, "password": password,
        } },
        "variables": variables,
    });
    let mut foreign = config.flamenco.clone();
    super::hide_in(&mut foreign);
    if let Value::Object(foreign) = serde_json::to_value(foreign).unwrap_or_default() {
        merge(&mut shown, foreign);
    }
    shown
}

fn shown_variable(variable: &Variable) -> Value {
    let values: Vec<Value> = (variable.values.iter())
        .map(|value| {
            let mut shown = Map::new();
            for (key, text) in [("audience", &value.audience), ("platform", &value.platform)] {
                if !text.is_empty() {
                    shown.insert(key.to_owned(), json!(text));
                }
            }
            if !value.platforms.is_empty() {
                shown.insert("platforms".to_owned(), json!(value.platforms));
            }
            shown.insert("value".to_owned(), json!(value.value));
            Value::Object(shown)
        })
        .collect();
    json!({ "is_twoway": variable.is_twoway, "values": values })
}

/// Adds what is not there; tables on both sides are merged.
fn merge(into: &mut Value, from: Map<String, Value>) {
    let Value::Object(into) = into else {
        return;
    };
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(inner @ Value::Object(_)), Value::Object(more)) => merge(inner, more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Takes over a configuration in Flamenco's form. All errors are told at once; then nothing of it
/// is to be saved.
pub fn take(edited: &mut Edited, given: &Map<String, Value>, data: &Path) -> Result<(), String> {
    let shown = shown(edited.before(), data);
    let mut taking = Taking {
        foreign: edited.before().flamenco.clone(),
        edited,
        errors: Vec::new(),
    };
    for (key, value) in given {
        taking.key(key, value, &shown[key]);
    }
    let Taking {
        edited,
        errors,
        foreign,
    } = taking;
    edited.set_foreign(&foreign);
    if errors.is_empty() {
        edited.config().map(drop)
    } else {
        Err(errors.join("\n"))
    }
}

struct Taking<'a> {
    edited: &'a mut Edited,
    foreign: toml::Table,
    errors: Vec<String>,
}

impl Taking<'_> {
    /// One key at the top of the file.
    fn key(&mut self, key: &str, value: &Value, shown: &Value) {
        match key {
            "_meta" => {
                if (value.get("version")).is_some_and(|version| *version != json!(META_VERSION)) {
                    self.errors.push(format!(
                        "_meta.version is {}; only {META_VERSION} is known",
                        value["version"]
                    ));
                }
            }
            "manager_name" => self.text(key, &["manager_name"], value),
            "shared_storage_path" => self.text(key, &["shared_storage_path"], value),
            "listen" => {
                let whole = value.as_str().and_then(|text| text.strip_prefix(':'));
                match whole {
                    // Without a host it means every address.
                    Some(port) => self.edited.set(&["listen"], format!("0.0.0.0:{port}")),
                    None => self.text(key, &["listen"], value),
                }
            }
            "autodiscoverable" => self.flag(key, &["discovery", "enabled"], value),
            "task_timeout" => self.duration(key, &["rules", "task_timeout_s"], value),
            "worker_timeout" => self.duration(key, &["rules", "worker_timeout_s"], value),
            "blocklist_threshold" => self.number(key, &["rules", "blocklist_threshold"], value),
            "task_fail_after_softfail_count" => {
                self.number(key, &["rules", "task_fail_after_softfail_count"], value);
            }
            "shaman" => self.group(key, value, Self::shaman),
            "mqtt" => self.group(key, value, |taking, key, value| match key {
                "mqtt.client" => taking.group(key, value, Self::mqtt),
                _ => taking.keep(key, value),
            }),
            "variables" => self.variables(value),
            _ if value == shown => {}
            _ => self.keep(key, value),
        }
    }

    fn shaman(&mut self, key: &str, value: &Value) {
        match key {
            "shaman.enabled" => self.flag(key, &["shaman", "enabled"], value),
            "shaman.garbageCollect" => self.group(key, value, |taking, key, value| match key {
                "shaman.garbageCollect.period" => {
                    taking.duration(key, &["shaman", "garbage_collect_period_s"], value);
                }
                "shaman.garbageCollect.maxAge" => {
                    taking.duration(key, &["shaman", "garbage_collect_age_max_s"], value);
                }
                _ => taking.keep(key, value),
            }),
            _ => self.keep(key, value),
        }
    }

    fn mqtt(&mut self, key: &str, value: &Value) {
        match key {
            "mqtt.client.enabled" => self.flag(key, &["mqtt", "enabled"], value),
            "mqtt.client.broker" => self.text(key, &["mqtt", "broker"], value),
            "mqtt.client.clientID" => self.text(key, &["mqtt", "client_id"], value),
            "mqtt.client.topic_prefix" => self.text(key, &["mqtt", "topic_prefix"], value),
            "mqtt.client.username" => self.text(key, &["mqtt", "username"], value),
            // Shown hidden; coming back so it is meant to stay.
            "mqtt.client.password" if value == HIDDEN => {}
            "mqtt.client.password" => self.text(key, &["mqtt", "password"], value),
            _ => self.keep(key, value),
        }
    }

    fn group(&mut self, key: &str, value: &Value, each: impl Fn(&mut Self, &str, &Value)) {
        match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    each(self, &format!("{key}.{name}"), value);
                }
            }
            // YAML and Go write a group without contents so.
            Value::Null => {}
            _ => self.wrong(key, "an object"),
        }
    }

    fn variables(&mut self, value: &Value) {
        let read: Result<BTreeMap<String, Variable>, _> = serde_json::from_value(value.clone());
        match read {
            Ok(mut variables) => {
                // There by itself, whatever a file says.
                variables.remove("jobs");
                self.edited.set_variables(&variables);
            }
            Err(error) => self.errors.push(format!("variables: {error}")),
        }
    }

    fn text(&mut self, key: &str, path: &[&str], value: &Value) {
        match value {
            Value::String(text) => self.edited.set(path, text.as_str()),
            _ => self.wrong(key, "a text"),
        }
    }

    fn flag(&mut self, key: &str, path: &[&str], value: &Value) {
        match value {
            Value::Bool(flag) => self.edited.set(path, *flag),
            _ => self.wrong(key, "true or false"),
        }
    }

    fn number(&mut self, key: &str, path: &[&str], value: &Value) {
        match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => self.edited.set(path, i64::from(number)),
            None => self.wrong(key, "a number from 0"),
        }
    }

    fn duration(&mut self, key: &str, path: &[&str], value: &Value) {
        match value.as_str().map(go_duration::seconds) {
            Some(Ok(seconds)) => self.edited.set(path, i64::from(seconds)),
            Some(Err(wrong)) => self.errors.push(format!("{key}: {wrong}")),
            None => self.wrong(key, "a length of time such as \"10m\""),
        }
    }

    fn wrong(&mut self, key: &str, wanted: &str) {
        self.errors.push(format!("{key} has to be {wanted}"));
    }

    /// Keeps what nothing here reads.
    fn keep(&mut self, key: &str, value: &Value) {
        if value == HIDDEN {
            return;
        }
        let mut table = &mut self.foreign;
        let mut names: Vec<&str> = key.split('.').collect();
        let last = names.pop().expect("a key has a name");
        for name in names {
            let inner = (table.entry(name)).or_insert_with(|| toml::Table::new().into());
            if !inner.is_table() {
                *inner = toml::Table::new().into();
            }
            table = inner.as_table_mut().expect("it was made one");
        }
        match without_nulls(value).map(toml::Value::try_from) {
            Some(Ok(value)) => {
                table.insert(last.to_owned(), value);
            }
            Some(Err(error)) => self.errors.push(format!("{key}: {error}")),
            None => {
                table.remove(last);
            }
        }
    }
}

/// TOML has no null: it is the same as nothing there.
fn without_nulls(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(items) => Some(items.iter().filter_map(without_nulls).collect()),
        Value::Object(fields) => {
            let there = (fields.iter())
                .filter_map(|(key, value)| Some((key.clone(), without_nulls(value)?)));
            Some(Value::Object(there.collect()))
        }
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str, given: &Value) -> (Result<(), String>, Edited) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tablao.toml");
        std::fs::write(&path, text).unwrap();
        let mut edited = Edited::open(&path).unwrap();
        let result = take(&mut edited, given.as_object().unwrap(), Path::new("/data"));
        (result, edited)
    }

    /// Giving back what was given out changes nothing, not even a comment.
    #[test]
    fn a_round_trip_changes_nothing() {
        let text = "# mine\nmanager_name = \"F\"\nlisten = \"0.0.0.0:8080\"\n[mqtt]\npassword = \"x\"\n[flamenco]\nnew_thing = 5\n";
        let config = super::super::read(text).config.unwrap();
        let shown = shown(&config, Path::new("/data"));
        assert_eq!(shown["mqtt"]["client"]["password"], HIDDEN);
        assert_eq!(shown["new_thing"], 5);
        assert_eq!(shown["task_timeout"], "10m0s");
        let (result, edited) = taken(text, &shown);
        result.unwrap();
        assert_eq!(edited.config().unwrap(), config);
        assert!(edited.text().starts_with("# mine\nmanager_name = \"F\"\n"));
    }

    /// A file of a real kind comes over whole, with what is not known kept.
    #[test]
    fn flamencos_keys_are_mapped() {
        let (result, edited) = taken(
            "",
            &json!({
                "_meta": { "version": 3 }, "manager_name": "Studio", "listen": ":8080",
                "database": "flamenco-manager.sqlite", "task_timeout": "15m", "worker_timeout": "2m",
                "shared_storage_path": "/mnt/f", "autodiscoverable": false, "future": { "a": null, "b": [1] },
                "shaman": { "enabled": true, "garbageCollect": { "period": "12h", "maxAge": "100h" } },
                "mqtt": { "client": { "broker": "tcp://b:1883", "clientID": "me", "topic_prefix": "t",
                    "username": "u", "password": "p", "enabled": true } },
                "variables": { "mine": { "is_twoway": true, "values": [
                    { "platform": "linux", "value": "/mnt/f" }, { "platforms": ["windows"], "value": "F:\\" }] } },
            }),
        );
        result.unwrap();
        let config = edited.config().unwrap();
        assert_eq!(config.listen, "0.0.0.0:8080");
        assert_eq!(config.rules.task_timeout_s, 900);
        assert_eq!(config.shaman.garbage_collect_age_max_s, 360_000);
        assert_eq!(config.mqtt.password, "p");
        assert!(!config.discovery.enabled && config.variables["mine"].is_twoway);
        assert_eq!(config.flamenco["future"]["b"][0].as_integer(), Some(1));
        assert!(!config.journalled().contains("\"p\""));
        let shown = shown(&config, Path::new("/data"));
        assert_eq!(shown["database"], "flamenco-manager.sqlite");
    }

    /// What cannot be meant is refused with every reason, and nothing is taken for zero.
    #[test]
    fn wrong_values_are_named() {
        let (result, _) = taken(
            "",
            &json!({ "_meta": { "version": 2 }, "task_timeout": 600, "worker_timeout": "soon",
                "blocklist_threshold": -1, "shaman": 5, "variables": { "x": 1 }, "manager_name": null }),
        );
        let told = result.unwrap_err();
        for part in [
            "_meta.version",
            "task_timeout",
            "worker_timeout",
            "blocklist_threshold",
            "shaman",
            "variables",
            "manager_name",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        let (result, edited) = taken("[rules]\nlease_s = 20\n", &json!({ "manager_name": "N" }));
        result.unwrap();
        assert_eq!(edited.config().unwrap().rules.lease_s, 20);
        let (result, _) = taken("", &json!({ "task_fail_after_softfail_count": 0 }));
        assert!(result.unwrap_err().contains("at least 1"));
    }
}
