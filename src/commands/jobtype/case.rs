// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao jobtype test`: cases beside scripts say which settings make which tasks.
//!
//! `shot.still.case.json` (or `.toml`) is a case of `shot.js`. It holds `settings`, perhaps `name`
//! and `metadata`, and what is expected: `tasks`, or `error`, a part of what is said.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{outcome, scripts::Scripts, usage};
use crate::{
    exit::{Code, Exit},
    output,
};

/// Lines of a difference that are shown.
const LINES_SHOWN: usize = 24;

struct Case {
    script: PathBuf,
    is_toml: bool,
    body: Map<String, Value>,
}

/// Runs or blesses cases.
pub(super) fn run(path: &Path, bless_all: bool, json: bool) -> anyhow::Result<()> {
    let paths = cases(path)?;
    let mut told = Vec::new();
    let mut failed = 0;
    for path in &paths {
        let name = path.display().to_string();
        let outcome = if bless_all {
            bless(path).map(|changed| if changed { "written" } else { "as it was" })
        } else {
            Case::read(path)?.compare().map(|()| "ok")
        };
        match outcome {
            Ok(word) if json => told.push(json!({ "case": name, "ok": true, "outcome": word })),
            Ok(word) => output::line(&format!("{name}: {word}"))?,
            Err(error) => {
                failed += 1;
                if json {
                    let why = error.to_string();
                    told.push(json!({ "case": name, "ok": false, "difference": why }));
                } else {
                    output::line(&format!("{name}: {error}"))?;
                }
            }
        }
    }
    if json {
        output::json(&Value::Array(told))?;
    }
    if failed == 0 {
        return Ok(());
    }
    let words = format!(
        "{failed} of {} cases differ; if that is right, --bless writes them anew",
        paths.len()
    );
    Err(Exit::new(Code::Failed, words).into())
}

/// Writes what the script makes into a case. Gives whether that is something else.
pub(super) fn bless(path: &Path) -> anyhow::Result<bool> {
    let mut case = Case::read(path)?;
    let (kept, other) = match case.made()? {
        Ok(tasks) => (("tasks", tasks), "error"),
        Err(error) => (("error", Value::String(error)), "tasks"),
    };
    let before = case.body.clone();
    case.body.remove(other);
    // A part of what is said is enough, and stays.
    let is_part = |part: &str| kept.1.as_str().is_some_and(|whole| whole.contains(part));
    let still = (kept.0 == "error")
        && (case.body.get("error").and_then(Value::as_str)).is_some_and(is_part);
    if !still {
        case.body.insert(kept.0.to_owned(), kept.1);
    }
    if case.body == before {
        return Ok(false);
    }
    let text = if case.is_toml {
        toml::to_string_pretty(&case.body)
            .context("write the case as TOML; one with null needs JSON")?
    } else {
        format!("{:#}\n", Value::Object(case.body))
    };
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

fn cases(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path);
    let entries = entries.map_err(|_| usage(format!("there is no folder {}", path.display())))?;
    let is_case = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".case.json") || name.ends_with(".case.toml")
    };
    let mut paths: Vec<PathBuf> = (entries.filter_map(|entry| Some(entry.ok()?.path())))
        .filter(is_case)
        .collect();
    paths.sort();
    if paths.is_empty() {
        let words = "there are no cases (NAME.WHAT.case.json) in";
        return Err(usage(format!("{words} {}", path.display())));
    }
    Ok(paths)
}

impl Case {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let is_toml = name.ends_with(".toml");
        let stem = name.trim_end_matches(".toml").trim_end_matches(".json");
        let stem = stem.strip_suffix(".case");
        let stem = stem.ok_or_else(|| usage(format!("{} is no case", path.display())))?;
        // `shot.still` is a case of `shot.js`; a script's own name may have dots as well.
        let folder = path.parent().unwrap_or(Path::new(""));
        let ends = stem
            .match_indices('.')
            .map(|(at, _)| at)
            .chain([stem.len()]);
        let mut names = ends.map(|end| folder.join(format!("{}.js", &stem[..end])));
        // The longest name is the last.
        let script = names.rfind(|path| path.is_file());
        let script = script
            .ok_or_else(|| usage(format!("no script beside {} has its name", path.display())))?;
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let malformed = |error: String| usage(format!("{}: {error}", path.display()));
        let body: Value = if is_toml {
            toml::from_str(&text).map_err(|error| malformed(error.to_string()))?
        } else {
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?
        };
        let Value::Object(body) = body else {
            return Err(malformed("a case is an object with `settings`".to_owned()));
        };
        let known = ["name", "settings", "metadata", "tasks", "error"];
        if let Some(other) = body.keys().find(|key| !known.contains(&key.as_str())) {
            let known = known.join(", ");
            return Err(malformed(format!("a case has {known}, and no {other:?}")));
        }
        Ok(Self {
            script,
            is_toml,
            body,
        })
    }

    fn object(&self, key: &str) -> Map<String, Value> {
        let found = self.body.get(key).and_then(Value::as_object);
        found.cloned().unwrap_or_default()
    }

    /// The tasks that the script makes of the settings, or what it says instead.
    fn made(&self) -> anyhow::Result<Result<Value, String>> {
        let scripts = Scripts::open(&self.script)?;
        let [file] = scripts.files.as_slice() else {
            anyhow::bail!("{} is no script", self.script.display());
        };
        if let Err(problem) = scripts.check(file) {
            return Ok(Err(problem));
        }
        let name = self.body.get("name").and_then(Value::as_str);
        let settings = self.object("settings");
        let made = scripts.compile(file, name, settings, &self.object("metadata"));
        Ok(made.map(|job| outcome::tasks(&job)))
    }

    fn compare(&self) -> anyhow::Result<()> {
        let expected = (
            self.body.get("tasks"),
            self.body.get("error").and_then(Value::as_str),
        );
        match (self.made()?, expected) {
            (Ok(tasks), (Some(expected), None)) if tasks == *expected => Ok(()),
            (Err(error), (None, Some(part))) if error.contains(part) => Ok(()),
            (_, (None, None)) => {
                anyhow::bail!("expects nothing yet; --bless writes what the script makes")
            }
            (Ok(tasks), (expected, _)) => {
                let expected = expected.cloned().unwrap_or_default();
                anyhow::bail!("{}", difference(&expected, &tasks))
            }
            (Err(error), (_, expected)) => {
                let expected = expected.map(|part| format!(", not {part:?}"));
                let expected = expected.unwrap_or_default();
                anyhow::bail!("it says{expected}: {error}")
            }
        }
    }
}

/// The lines between what is the same at the beginning and at the end.
fn difference(expected: &Value, made: &Value) -> String {
    let (expected, made) = (format!("{expected:#}"), format!("{made:#}"));
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), made.lines().collect());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let before = old.iter().zip(&new).take_while(same).count();
    let (old, new) = (&old[before..], &new[before..]);
    let after = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(same)
        .count();
    let (old, new) = (&old[..old.len() - after], &new[..new.len() - after]);
    let mut lines = vec![format!("differs from line {} of its tasks", before + 1)];
    for (sign, part) in [('-', old), ('+', new)] {
        lines.extend(
            part.iter()
                .take(LINES_SHOWN)
                .map(|line| format!("  {sign} {line}")),
        );
        if part.len() > LINES_SHOWN {
            lines.push(format!(
                "  {sign} ... {} more lines",
                part.len() - LINES_SHOWN
            ));
        }
    }
    lines.join("\n")
}
