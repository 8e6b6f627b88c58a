// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a configuration file and says everything that is wrong with it at once: the line, the
//! key, what is wrong, and what to do. What the values mean together is `check`'s.

use std::{fmt, ops::Range, path::Path};

use toml_edit::{Document, Item, TableLike};

use super::{Config, check, documented};
use crate::Error;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It works, and is probably not what was meant.
    Warning,
    /// It is used, and cannot do what it should.
    Wrong,
    /// It cannot be used.
    Error,
}

/// Something about a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The line in the file, from 1; none where it is about something that is not there.
    pub line: Option<usize>,
    /// The key with the names of its tables.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.hint)
    }
}

/// What came of reading a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The configuration; none when there is an error.
    pub config: Option<Config>,
    /// Errors and warnings, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Read {
    /// The configuration, or all errors in one text.
    pub fn into_config(self) -> Result<Config, String> {
        match self.config {
            Some(config) => Ok(config),
            None => {
                let errors = (self.findings.iter()).filter(|found| found.level == Level::Error);
                let lines: Vec<String> = errors.map(Finding::to_string).collect();
                Err(lines.join("\n"))
            }
        }
    }
}

/// Reads the text of a configuration file.
pub fn read(text: &str) -> Read {
    let mut findings = Vec::new();
    let config = read_into(text, &mut findings);
    findings.sort_by_key(|found| found.line);
    let is_usable = (findings.iter()).all(|found| found.level < Level::Error);
    Read {
        config: config.filter(|_| is_usable),
        findings,
    }
}

/// Reads the file, or gives the defaults when there is none.
pub fn read_file(path: &Path) -> Result<Read, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(read(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(read("")),
        Err(source) => Err(Error::File {
            doing: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

impl Config {
    /// Reads the file, or gives the defaults when there is none. Warnings go to the log.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read = read_file(path)?;
        for found in (read.findings.iter()).filter(|found| found.level < Level::Error) {
            tracing::warn!(file = %path.display(), "{found}");
        }
        read.into_config().map_err(|what| Error::Configuration {
            path: path.to_owned(),
            what,
        })
    }
}

/// What a reader of TOML objects to.
fn not_read(text: &str, span: Option<Range<usize>>, message: &str, hint: &str) -> Finding {
    Finding {
        level: Level::Error,
        line: span.map(|span| line_of(text, span.start)),
        key: String::new(),
        what: message.trim().replace('\n', " "),
        hint: hint.to_owned(),
    }
}

fn read_into(text: &str, findings: &mut Vec<Finding>) -> Option<Config> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let hint = "the file must be TOML; `tablao config default` shows one";
            findings.push(not_read(text, error.span(), error.message(), hint));
            return None;
        }
    };
    let known: toml::Table =
        toml::from_str(&documented()).expect("a test reads the documented file");
    let mut walk = Walk { text, findings };
    walk.table(document.as_table(), &known, "");
    if !findings.is_empty() {
        return None;
    }
    let mut config: Config = match toml::from_str(text) {
        Ok(config) => config,
        Err(error) => {
            let hint = "`tablao config default` shows each key with its form";
            findings.push(not_read(text, error.span(), error.message(), hint));
            return None;
        }
    };
    let lines = Lines {
        text,
        table: document.as_table(),
    };
    check::values(&config, &lines, findings);
    // A file's entries merge over the defaults by name.
    for (name, variable) in crate::variables::defaults() {
        config.variables.entry(name).or_insert(variable);
    }
    Some(config)
}

/// Compares the keys and the kinds of their values with what is documented.
struct Walk<'a> {
    text: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Walk<'_> {
    fn table(&mut self, table: &dyn TableLike, known: &toml::Table, path: &str) {
        for (name, item) in table.iter() {
            let key = join(path, name);
            let at = table.key(name).and_then(toml_edit::Key::span);
            let line = (at.or_else(|| item.span())).map(|span| line_of(self.text, span.start));
            match known.get(name) {
                None => self.unknown(&key, line, known),
                // Names in these are a studio's own; their form is checked when they are read.
                Some(toml::Value::Table(_)) if key == "variables" || key == "flamenco" => {
                    if item.as_table_like().is_none() {
                        self.wrong(&key, line, "a table, such as [variables.name]", item);
                    }
                }
                Some(toml::Value::Table(inner)) => match item.as_table_like() {
                    Some(table) => self.table(table, inner, &key),
                    None => self.wrong(&key, line, &format!("a table, written [{key}]"), item),
                },
                Some(example) => self.value(&key, line, example, item),
            }
        }
    }

    fn value(&mut self, key: &str, line: Option<usize>, example: &toml::Value, item: &Item) {
        match example {
            toml::Value::Integer(_) => match item.as_integer() {
                // Seconds go into milliseconds of 32 bits; a byte count fits as well.
                Some(number) if u32::try_from(number).is_ok() => {}
                Some(_) => self.wrong(key, line, "a number from 0 to 4294967295", item),
                None => self.wrong(key, line, "a whole number, without quotes", item),
            },
            toml::Value::Boolean(_) if item.as_bool().is_none() => {
                self.wrong(key, line, "true or false, without quotes", item);
            }
            toml::Value::String(_) if item.as_str().is_none() => {
                self.wrong(key, line, "a text in quotes", item);
            }
            _ => {}
        }
    }

    fn unknown(&mut self, key: &str, line: Option<usize>, known: &toml::Table) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let near = (known.keys())
            .map(|other| (distance(name, other), other))
            .filter(|(distance, other)| *distance * 3 <= other.len().max(3))
            .min();
        let place = key.strip_suffix(name).unwrap_or_default();
        let hint = match near {
            Some((_, other)) => format!("is {place}{other} meant?"),
            None => "remove it; `tablao config default` shows the keys there are".to_owned(),
        };
        self.findings.push(Finding {
            level: Level::Error,
            line,
            key: key.to_owned(),
            what: "there is no such key".to_owned(),
            hint,
        });
    }

    fn wrong(&mut self, key: &str, line: Option<usize>, wanted: &str, item: &Item) {
        self.findings.push(Finding {
            level: Level::Error,
            line,
            key: key.to_owned(),
            what: format!("this is {}", kind(item)),
            hint: format!("write {wanted}"),
        });
    }
}

fn kind(item: &Item) -> &'static str {
    match item.type_name() {
        "string" => "a text",
        "integer" => "a number",
        "float" => "a number with a fraction",
        "boolean" => "true or false",
        "array" | "array of tables" => "a list",
        "datetime" => "a date",
        _ => "a table",
    }
}

/// Where keys stand in the text.
pub(super) struct Lines<'a> {
    text: &'a str,
    table: &'a dyn TableLike,
}

impl Lines<'_> {
    /// The line of a key, or of the nearest table around it that is there.
    pub(super) fn of(&self, path: &[&str]) -> Option<usize> {
        let (mut table, mut line) = (self.table, None);
        for name in path {
            let Some((key, item)) = table.get_key_value(name) else {
                break;
            };
            line = (key.span().or_else(|| item.span()))
                .map(|span| line_of(self.text, span.start))
                .or(line);
            let Some(inner) = item.as_table_like() else {
                break;
            };
            table = inner;
        }
        line
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// How many letters to add, drop or change to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let read = read(text);
        assert_eq!(read.config, None);
        read.findings.iter().map(Finding::to_string).collect()
    }

    /// Somebody who mistyped is told where, what and what instead, for all mistakes at once.
    #[test]
    fn every_mistake_is_named_with_its_line() {
        let told = errors(
            "manager_name = 5\nshard_storage_path = \"/x\"\n\n[rules]\nlease_s = \"30\"\nnothing_like_it = 1\n",
        );
        assert_eq!(
            told,
            [
                "line 1, manager_name: this is a number; write a text in quotes",
                "line 2, shard_storage_path: there is no such key; is shared_storage_path meant?",
                "line 5, rules.lease_s: this is a text; write a whole number, without quotes",
                "line 6, rules.nothing_like_it: there is no such key; remove it; `tablao config default` shows the keys there are",
            ]
        );
        let told = errors("manager_name = \"x\n");
        assert!(told[0].starts_with("line 1, "), "{told:?}");
        let told = errors("[variables.x]\nvalues = [{ platfrom = \"linux\" }]\n");
        assert!(told[0].starts_with("line 2, "), "{told:?}");
        assert!(told[0].contains("platfrom"), "{told:?}");
    }

    /// A value that the rules cannot work with is refused before it reaches them.
    #[test]
    fn numbers_out_of_range_are_refused() {
        let told = errors("[rules]\njob_fail_percent = 0\nlease_s = 0\nworker_timeout_s = -1\n");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("line 4, rules.worker_timeout_s"));
        let told = errors("[rules]\njob_fail_percent = 101\nlease_s = 0\n");
        assert!(told[0].contains("1 to 100") && told[1].contains("lease_s"));
    }

    /// A file may say only what differs.
    #[test]
    fn what_is_left_out_has_its_default() {
        let config = read("[variables.x]\nvalues = []\n").config.unwrap();
        assert_eq!(config.variables.len(), 3);
        assert_eq!(config.rules, Config::default().rules);
    }
}
