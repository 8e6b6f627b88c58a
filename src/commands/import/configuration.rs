// SPDX-License-Identifier: GPL-3.0-or-later
//! The configuration of a Flamenco Manager, from YAML to ours. Which key becomes which is
//! `tablao_net::config::flamenco`'s; here are only the file and what a move changes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tablao_net::config::{Edited, flamenco};

use crate::exit::{Code, Exit};

/// A configuration that was taken over and is not written yet.
pub(super) struct Taken {
    edited: Edited,
    file: PathBuf,
    before: Option<String>,
}

impl Taken {
    /// The file would be another one.
    pub(super) fn changes(&self) -> bool {
        self.before.as_deref() != Some(&self.edited.text())
    }

    pub(super) fn save(&self) -> anyhow::Result<()> {
        self.edited.save(&self.file)?;
        Ok(())
    }
}

/// Takes a YAML file over into the configuration file of a data directory.
pub(super) fn take(
    yaml: &Path,
    file: &Path,
    data: &Path,
    notes: &mut Vec<String>,
) -> anyhow::Result<Taken> {
    let text = std::fs::read_to_string(yaml)
        .with_context(|| format!("read the configuration {}", yaml.display()))?;
    let given: Map<String, Value> = serde_norway::from_str(&text).map_err(|error| {
        let words = format!(
            "{} is no configuration of Flamenco: {error}",
            yaml.display()
        );
        Exit::new(Code::Usage, words)
    })?;
    let given = moved(given, yaml, notes);
    let mut edited = Edited::open(file)?;
    flamenco::take(&mut edited, &given, data).map_err(|what| {
        let words = format!("{} cannot be taken over: {what}", yaml.display());
        Exit::new(Code::Failed, words)
    })?;
    Ok(Taken {
        edited,
        file: file.to_owned(),
        before: std::fs::read_to_string(file).ok(),
    })
}

/// What a move to another program and folder changes about the values.
fn moved(
    mut given: Map<String, Value>,
    yaml: &Path,
    notes: &mut Vec<String>,
) -> Map<String, Value> {
    // A relative storage lies beside the file that names it.
    let storage = given.get("shared_storage_path").and_then(Value::as_str);
    if let Some(storage) = storage.filter(|path| !path.is_empty()) {
        let folder = yaml.parent().unwrap_or(Path::new("."));
        let whole = std::path::absolute(folder.join(storage)).ok();
        if let Some(whole) = whole.as_ref().and_then(|path| path.to_str())
            && whole != storage
        {
            notes.push(format!("the shared storage {storage:?} is {whole:?}"));
            let whole = json!(whole);
            given.insert("shared_storage_path".to_owned(), whole);
        }
    }
    // There, no timeout of tasks means that no worker is given up either.
    let none = |value: &Value| matches!(value.as_str(), Some("0" | "0s" | "0m0s"));
    if given.get("task_timeout").is_some_and(none) {
        given.insert("worker_timeout".to_owned(), json!("0s"));
        notes
            .push("task_timeout is 0, so worker_timeout becomes 0, as it was in effect".to_owned());
    }
    let listens = given
        .get("listen")
        .and_then(Value::as_str)
        .unwrap_or(":8080");
    if listens.starts_with(':') {
        notes.push(format!(
            "listen {listens:?} means every address of this machine; \"127.0.0.1{listens}\" in \
             tablao.toml would keep others out"
        ));
        let listens = json!(listens);
        given.insert("listen".to_owned(), listens);
    }
    for (key, why) in [
        ("database", "the journal lies in the data directory"),
        (
            "local_manager_storage_path",
            "logs lie in the data directory; old ones stay where they are",
        ),
    ] {
        if given.contains_key(key) {
            notes.push(format!("{key} is kept and not used: {why}"));
        }
    }
    given
}
