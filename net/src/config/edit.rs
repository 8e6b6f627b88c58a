// SPDX-License-Identifier: GPL-3.0-or-later
//! Changes a configuration file and leaves everything else in it as a person wrote it: comments,
//! order, blank lines. What is saved has been read back and found usable.

use std::{collections::BTreeMap, path::Path};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

use super::{Config, documented, read};
use crate::{
    Error,
    data_dir::write_private,
    variables::{Variable, VariableValue},
};

/// A configuration file that is being changed.
#[derive(Clone, Debug)]
pub struct Edited {
    document: DocumentMut,
    /// What it said before.
    before: Config,
}

impl Edited {
    /// The file as it is; the documented one when there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => text,
            Ok(_) => documented(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => documented(),
            Err(source) => {
                return Err(Error::File {
                    doing: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let wrong = |what: String| Error::Configuration {
            path: path.to_owned(),
            what,
        };
        let before = read(&text).into_config().map_err(|what| {
            wrong(format!(
                "{what}\nmend the file first: it is not overwritten"
            ))
        })?;
        let document = text
            .parse()
            .map_err(|error: toml_edit::TomlError| wrong(error.to_string()))?;
        Ok(Self { document, before })
    }

    /// What the file said before any change.
    pub fn before(&self) -> &Config {
        &self.before
    }

    /// Sets a key, making the tables on the way to it.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let value = value.into();
        let (last, tables) = path.split_last().expect("a key has a name");
        let mut table = self.document.as_table_mut();
        for name in tables {
            let item = table
                .entry(name)
                .or_insert_with(|| Item::Table(Table::new()));
            if !item.is_table() {
                // A table in one line becomes one of its own, to take further keys.
                let inline = std::mem::take(item).into_table().unwrap_or_default();
                *item = Item::Table(inline);
            }
            table = item.as_table_mut().expect("it was made one");
        }
        put(table, last, value);
    }

    /// Makes these the variables. Those that stay the same keep their comments.
    pub fn set_variables(&mut self, wanted: &BTreeMap<String, Variable>) {
        let before = self.before.variables.clone();
        let root = self.document.as_table_mut();
        let item = root.entry("variables").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let Some(table) = item.as_table_like_mut() else {
            return;
        };
        let gone: Vec<String> = (table.iter())
            .map(|(name, _)| name.to_owned())
            .filter(|name| !wanted.contains_key(name))
            .collect();
        for name in gone {
            table.remove(&name);
        }
        for (name, variable) in wanted {
            if before.get(name) == Some(variable) {
                continue;
            }
            let mut own = Table::new();
            own.insert("is_twoway", toml_edit::value(variable.is_twoway));
            own.insert("values", toml_edit::value(values(&variable.values)));
            match table.get_mut(name).and_then(Item::as_table_mut) {
                Some(old) => {
                    // The table's own comments stand before its header.
                    put(old, "is_twoway", Value::from(variable.is_twoway));
                    put(old, "values", Value::Array(values(&variable.values)));
                }
                None => {
                    table.insert(name, Item::Table(own));
                }
            }
        }
    }

    /// Makes this the table of what only Flamenco's clients know.
    pub fn set_foreign(&mut self, wanted: &toml::Table) {
        if *wanted == self.before.flamenco {
            return;
        }
        let text = toml::to_string(wanted).expect("it came from TOML values");
        let parsed: DocumentMut = text.parse().expect("it was just written");
        let table = parsed.as_table().clone();
        match self
            .document
            .get_mut("flamenco")
            .and_then(Item::as_table_mut)
        {
            Some(old) => {
                old.clear();
                for (key, item) in table {
                    old.insert(&key, item);
                }
            }
            None => {
                let mut table = table;
                table.set_implicit(false);
                self.document.insert("flamenco", Item::Table(table));
            }
        }
    }

    /// The file as it would be written.
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// What the file would mean; all errors in one text if it could not be used.
    pub fn config(&self) -> Result<Config, String> {
        read(&self.text()).into_config()
    }

    /// Writes the file, if it can be used: temporary name, sync, rename.
    pub fn save(&self, path: &Path) -> Result<Config, Error> {
        let config = self.config().map_err(|what| Error::Configuration {
            path: path.to_owned(),
            what,
        })?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        write_private(path, self.text().as_bytes())?;
        Ok(config)
    }
}

/// Sets a value and keeps the comment behind it and the space before it.
fn put(table: &mut Table, key: &str, mut value: Value) {
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        if same(old, &value) {
            return;
        }
        *value.decor_mut() = old.decor().clone();
    }
    match table.get_mut(key) {
        Some(item) => *item = Item::Value(value),
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// The same, whatever the way of writing.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(a), Value::String(b)) => a.value() == b.value(),
        (Value::Integer(a), Value::Integer(b)) => a.value() == b.value(),
        (Value::Boolean(a), Value::Boolean(b)) => a.value() == b.value(),
        _ => false,
    }
}

/// Values of a variable, a line each.
fn values(given: &[VariableValue]) -> Array {
    let mut array = Array::new();
    for value in given {
        let mut row = InlineTable::new();
        for (key, text) in [("audience", &value.audience), ("platform", &value.platform)] {
            if !text.is_empty() {
                row.insert(key, text.as_str().into());
            }
        }
        if !value.platforms.is_empty() {
            row.insert("platforms", Array::from_iter(&value.platforms).into());
        }
        row.insert("value", value.value.as_str().into());
        let mut row = Value::InlineTable(row);
        row.decor_mut().set_prefix("\n    ");
        array.push_formatted(row);
    }
    if !array.is_empty() {
        array.set_trailing("\n");
        array.set_trailing_comma(true);
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person's comments and order outlive what a program changes.
    #[test]
    fn comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tablao.toml");
        let text = "# ours\nmanager_name = \"Night\" # the late one\n\n[rules] # strict\n# why 20\nlease_s = 20\n\n# the farm's disk\n[variables.disk]\nis_twoway = true # both ways\nvalues = [{ platform = \"linux\", value = \"/disk\" }]\n";
        std::fs::write(&path, text).unwrap();
        let mut edited = Edited::open(&path).unwrap();
        edited.set(&["manager_name"], "Day");
        edited.set(&["rules", "worker_timeout_s"], 90);
        edited.set(&["mqtt", "broker"], "tcp://b");
        let mut variables = edited.before().variables.clone();
        variables
            .get_mut("disk")
            .unwrap()
            .values
            .push(VariableValue {
                platform: "windows".to_owned(),
                value: "D:\\".to_owned(),
                ..VariableValue::default()
            });
        edited.set_variables(&variables);
        let config = edited.save(&path).unwrap();
        assert_eq!(config.variables, variables);
        assert_eq!(config.rules.worker_timeout_s, 90);
        let written = std::fs::read_to_string(&path).unwrap();
        for part in [
            "# ours\nmanager_name = \"Day\" # the late one\n",
            "[rules] # strict\n# why 20\nlease_s = 20\nworker_timeout_s = 90\n",
            "# the farm's disk\n[variables.disk]\nis_twoway = true # both ways\n",
            "    { platform = \"windows\", value = \"D:\\\\\" },\n",
        ] {
            let literal = part.replace("\"D:\\\\\"", "'D:\\'");
            let there = written.contains(part) || written.contains(&literal);
            assert!(there, "{part:?} is not in\n{written}");
        }
        variables.remove("disk");
        let mut edited = Edited::open(&path).unwrap();
        edited.set_variables(&variables);
        assert_eq!(edited.config().unwrap().variables, variables);
    }

    /// What could not be read again is never written, and a broken file never overwritten.
    #[test]
    fn nothing_unusable_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tablao.toml");
        let mut edited = Edited::open(&path).unwrap();
        edited.set(&["rules", "lease_s"], 0);
        assert!(edited.save(&path).is_err() && !path.exists());
        std::fs::write(&path, "manager_name = ").unwrap();
        assert!(Edited::open(&path).is_err());
    }

    /// A first save leaves a file that explains itself.
    #[test]
    fn a_new_file_is_the_documented_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("tablao.toml");
        let mut edited = Edited::open(&path).unwrap();
        edited.set(&["shared_storage_path"], "/mnt/farm");
        edited.save(&path).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        let wanted = documented().replace(
            "shared_storage_path = \"\"",
            "shared_storage_path = \"/mnt/farm\"",
        );
        assert_eq!(written, wanted);
    }
}
