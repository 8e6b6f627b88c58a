// SPDX-License-Identifier: GPL-3.0-or-later
//! Scripts of a folder, as a Manager with that folder has them, and their mistakes shown in place.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};
use tablao_jobtypes::{
    CompiledJob, Error, JobTypes, Options, SubmittedJob, authoring::PlaceInScript,
};
use uuid::Uuid;

use super::usage;
use crate::exit::{Code, Exit};

/// Jobs of an author are always made at this moment, so that what comes of them can be compared:
/// noon of 1 January 2026, in seconds.
const CREATED_S: i64 = 1_767_268_800;

/// Some scripts of a folder.
pub(super) struct Scripts {
    folder: PathBuf,
    /// File names of those that are asked about, in order.
    pub(super) files: Vec<String>,
    types: JobTypes,
}

impl Scripts {
    /// A script with what lies beside it, or all scripts of a folder.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let is_script = |name: &str| name.ends_with(".js");
        let name_of = |path: &Path| {
            path.file_name()
                .and_then(|name| name.to_str().map(str::to_owned))
        };
        let (folder, files) = if path.is_dir() {
            let entries = std::fs::read_dir(path);
            let entries = entries.with_context(|| format!("list {}", path.display()))?;
            let names = entries.filter_map(|entry| name_of(&entry.ok()?.path()));
            let mut files: Vec<String> = names.filter(|name| is_script(name)).collect();
            files.sort();
            (path.to_owned(), files)
        } else {
            let name = name_of(path).filter(|name| is_script(name) && path.is_file());
            let name = name
                .ok_or_else(|| usage(format!("there is no script {} (NAME.js)", path.display())))?;
            let folder = std::path::absolute(path).context("find this folder")?;
            let folder = folder.parent().map(Path::to_owned).unwrap_or_default();
            (folder, vec![name])
        };
        if files.is_empty() {
            return Err(usage(format!("there are no scripts in {}", path.display())));
        }
        let options = Options {
            scripts_dir: Some(folder.clone()),
            watch: false,
            time_zone: Some(TimeZone::UTC),
            ..Options::default()
        };
        let types = JobTypes::open(options).context("load the scripts")?;
        Ok(Self {
            folder,
            files,
            types,
        })
    }

    /// How many settings a script declares, or why it is no job type.
    pub(super) fn check(&self, file: &str) -> Result<usize, String> {
        let problems = self.types.problems();
        if let Some(problem) = problems.iter().find(|problem| problem.script == file) {
            return Err(self.shown(file, &problem.message));
        }
        match self.types.get(&type_name(file)) {
            Ok(declared) => Ok(declared.settings.len()),
            Err(_) => Err(format!("{file}: the file is empty")),
        }
    }

    /// What a script declares, as the farm's API tells it.
    pub(super) fn declared(&self, file: &str) -> anyhow::Result<Value> {
        self.check(file)
            .map_err(|problem| Exit::new(Code::Failed, problem))?;
        let declared = self.types.get(&type_name(file))?;
        serde_json::to_value(declared).context("read what the script declares")
    }

    /// Makes a job with a script. What went wrong is told with its place.
    pub(super) fn compile(
        &self,
        file: &str,
        name: Option<&str>,
        settings: Map<String, Value>,
        metadata: &Map<String, Value>,
    ) -> Result<CompiledJob, String> {
        let job_type = type_name(file);
        let metadata = metadata.iter().map(|(key, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text)
        });
        let job = SubmittedJob {
            id: Uuid::nil(),
            name: name.unwrap_or(&job_type).to_owned(),
            job_type,
            type_etag: None,
            priority: 50,
            settings,
            metadata: metadata.collect(),
            submitter_platform: super::super::platform().to_owned(),
            shaman_checkout_id: None,
            worker_tag: None,
            created: Timestamp::from_second(CREATED_S).unwrap_or_default(),
        };
        let compiled = self.types.compile(job);
        compiled.map_err(|error| self.told(file, &error))
    }

    fn told(&self, file: &str, error: &Error) -> String {
        self.shown(file, &error.to_string())
    }

    /// A message with the line of the script that it names.
    fn shown(&self, file: &str, message: &str) -> String {
        let Some(place) = PlaceInScript::in_message(message) else {
            return format!("{file}: {message}");
        };
        let PlaceInScript { file, line, column } = place;
        let mut shown = format!("{file}:{line}:{column}: {message}");
        let text = std::fs::read_to_string(self.folder.join(&file)).unwrap_or_default();
        if let Some(source) = text.lines().nth(line - 1) {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            // Tabs stay, so that the mark stands where the eye looks.
            let before: String = (source.chars().take(column.saturating_sub(1)))
                .map(|letter| if letter == '\t' { '\t' } else { ' ' })
                .collect();
            shown.push_str(&format!("\n  {number} | {source}\n  {margin} | {before}^"));
        }
        shown
    }
}

fn type_name(file: &str) -> String {
    file.trim_end_matches(".js").replace('_', "-")
}
