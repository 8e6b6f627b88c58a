// SPDX-License-Identifier: GPL-3.0-or-later
//! Rows of an SQLite database whose columns differ from version to version. A column that is not
//! there reads as nothing; the file itself is never opened, only a copy of it.

use std::{collections::BTreeSet, path::Path};

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use serde_json::Value;
use tablao_core::Timestamp;

use crate::exit::{Code, Exit};

/// A copy of a database.
pub(super) struct Tables {
    connection: Connection,
    _folder: tempfile::TempDir,
}

/// A row, by the names of its columns.
pub(super) struct Row {
    names: Vec<&'static str>,
    values: Vec<Option<Vec<u8>>>,
}

impl Tables {
    /// Copies a database with what its write-ahead log holds.
    pub(super) fn open(path: &Path, notes: &mut Vec<String>) -> anyhow::Result<Self> {
        if !path.is_file() {
            let words = format!("there is no database {}", path.display());
            return Err(Exit::new(Code::Usage, words).into());
        }
        let folder = tempfile::tempdir().context("make a folder for a copy of it")?;
        let copy = folder.path().join("copy.sqlite");
        std::fs::copy(path, &copy).context("copy it")?;
        let log = with_ending(path, "-wal");
        if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            std::fs::copy(&log, with_ending(&copy, "-wal")).context("copy its log")?;
            notes.push(
                "the database has a write-ahead log: if its Manager still runs, stop it and do \
                 this again"
                    .to_owned(),
            );
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&copy, flags).context("open the copy")?;
        let tables = Self {
            connection,
            _folder: folder,
        };
        if tables.columns("jobs")?.is_empty() || tables.columns("workers")?.is_empty() {
            let words = format!("{} is no database of Flamenco 3", path.display());
            return Err(Exit::new(Code::Usage, words).into());
        }
        Ok(tables)
    }

    /// The columns of a table; none when it is not there.
    pub(super) fn columns(&self, table: &str) -> anyhow::Result<BTreeSet<String>> {
        let mut statement = (self.connection).prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([table], |row| row.get::<_, String>(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// All rows of a table, in an order, with the columns that are named.
    pub(super) fn rows(
        &self,
        table: &str,
        order: &[&str],
        names: &[&'static str],
    ) -> anyhow::Result<Vec<Row>> {
        let there = self.columns(table)?;
        if there.is_empty() {
            return Ok(Vec::new());
        }
        let listed: Vec<String> = (names.iter())
            .map(|name| match there.contains(*name) {
                true => format!("\"{name}\""),
                false => "NULL".to_owned(),
            })
            .collect();
        let order: Vec<String> = (order.iter())
            .filter(|name| there.contains(**name))
            .map(|name| format!("\"{name}\""))
            .chain(std::iter::once("rowid".to_owned()))
            .collect();
        let query = format!(
            "SELECT {} FROM \"{table}\" ORDER BY {}",
            listed.join(", "),
            order.join(", ")
        );
        let mut statement = self.connection.prepare(&query)?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..names.len()).map(|place| {
                Ok(match row.get_ref(place)? {
                    ValueRef::Null => None,
                    ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
                    ValueRef::Real(number) => Some(number.to_string().into_bytes()),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
                })
            });
            all.push(Row {
                names: names.to_vec(),
                values: values.collect::<rusqlite::Result<_>>()?,
            });
        }
        Ok(all)
    }
}

impl Row {
    fn bytes(&self, name: &str) -> Option<&[u8]> {
        let place = self.names.iter().position(|known| *known == name)?;
        self.values[place].as_deref()
    }

    /// The text of a column; empty for nothing.
    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.bytes(name).unwrap_or_default()).into_owned()
    }

    /// The number of a column.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.text(name).parse().ok()
    }

    /// A column that says yes or no.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name).as_str(), "1" | "true" | "TRUE")
    }

    /// The JSON of a column.
    pub(super) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(self.bytes(name).unwrap_or_default()).unwrap_or_default()
    }

    /// The moment of a column.
    pub(super) fn moment(&self, name: &str) -> Option<Timestamp> {
        moment(&self.text(name))
    }
}

fn with_ending(path: &Path, ending: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// `2024-05-01 12:00:00.123+00:00`, or as Go prints it: `2024-05-01 12:00:00.123 +0000 UTC`.
fn moment(text: &str) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let day = words.next()?;
    let (day, time) = match day.split_once('T') {
        Some((day, time)) => (day, time),
        None => (day, words.next()?),
    };
    let has_offset = time.ends_with('Z') || time.contains(['+', '-']);
    let offset = match words.next() {
        _ if has_offset => String::new(),
        Some(offset) if offset.len() == 5 && offset.starts_with(['+', '-']) => {
            format!("{}:{}", &offset[..3], &offset[3..])
        }
        Some(offset) if offset.contains(':') => offset.to_owned(),
        _ => "Z".to_owned(),
    };
    let moment: jiff::Timestamp = format!("{day}T{time}{offset}").parse().ok()?;
    (u64::try_from(moment.as_microsecond()).ok()).map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs keep the moment at which they were sent, however the database wrote it.
    #[test]
    fn moments_are_read() {
        let wanted = Some(Timestamp::from_micros(1_714_564_800_250_000));
        for text in [
            "2024-05-01 12:00:00.25+00:00",
            "2024-05-01 12:00:00.25 +0000 UTC",
            "2024-05-01 14:00:00.25 +0200 CEST m=+0.1",
            "2024-05-01T12:00:00.25Z",
            "2024-05-01 12:00:00.25",
        ] {
            assert_eq!(moment(text), wanted, "{text}");
        }
        for text in ["", "yesterday", "2024-05-01"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
