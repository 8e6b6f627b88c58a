// SPDX-License-Identifier: GPL-3.0-or-later
//! What the commands print: JSON for programs, tables and fields for people.
//!
//! A closed pipe (`tablao journal cat | head`) is a reader that has seen enough: it comes up as
//! an error of its kind, which ends the program quietly.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// Prints a line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}")?;
    Ok(output.flush()?)
}

/// Prints JSON, indented.
pub(crate) fn json(value: &Value) -> anyhow::Result<()> {
    line(&format!("{value:#}"))
}

/// A column: its title, and where in an item its value is (a JSON pointer).
pub(crate) type Column = (&'static str, &'static str);

/// Prints items as a table.
pub(crate) fn table(columns: &[Column], items: &[Value]) -> anyhow::Result<()> {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns.iter().map(|(title, _)| *title));
    for item in items {
        table.add_row(columns.iter().map(|(_, pointer)| text_at(item, pointer)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for row in table.lines() {
        line(row.trim_end())?;
    }
    Ok(())
}

/// Prints one object, a field per line.
pub(crate) fn fields(object: &Value) -> anyhow::Result<()> {
    let Some(map) = object.as_object() else {
        return json(object);
    };
    let width = map.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in map {
        line(format!("{name:width$}  {}", text(value)).trim_end())?;
    }
    Ok(())
}

fn text_at(item: &Value, pointer: &str) -> String {
    item.pointer(pointer).map(text).unwrap_or_default()
}

/// A value in the words of a table: several ones separated by commas, nothing for nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', " "),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            items.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) if items.iter().all(|item| item["name"].is_string()) => {
            let names = items.iter().map(|item| text(&item["name"]));
            names.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A task's message may have line breaks, and a table's row must stay one line.
    #[test]
    fn values_become_one_line_of_words() {
        let item = json!({ "worker": { "name": "alpha" }, "activity": "a\nb", "tags": [{ "id": 1, "name": "gpu" }] });
        assert_eq!(text_at(&item, "/worker/name"), "alpha");
        assert_eq!(text_at(&item, "/activity"), "a b");
        assert_eq!(text_at(&item, "/tags"), "gpu");
        assert_eq!(text_at(&item, "/task/name"), "");
    }
}
