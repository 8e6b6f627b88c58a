// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao config`: shows the documented configuration file and looks one over. Changes nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tablao_net::config::{self, FILE_NAME, Finding, Level};

use crate::{
    exit::{Code, Exit},
    output,
};

/// Show the configuration file with all its keys, or look one over.
///
/// Example: tablao config check --data tablao-data
#[derive(Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print a configuration file that documents every key with its default.
    Default,
    /// Look a configuration file over: keys, values, variables, and whether the shared storage
    /// is there. Ends with 1 if the farm could not use it.
    Check {
        /// The data directory whose tablao.toml is looked at.
        #[arg(long, value_name = "DIR", default_value = "tablao-data")]
        data: PathBuf,
        /// Another file than the one in the data directory.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// End with 1 on warnings, too.
        #[arg(long)]
        strict: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Config {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Default => {
                output::line(config::documented().trim_end())?;
                Ok(())
            }
            Verb::Check {
                data,
                file,
                strict,
                json,
            } => check(data, file, strict, json),
        }
    }
}

fn check(data: PathBuf, file: Option<PathBuf>, strict: bool, json: bool) -> anyhow::Result<()> {
    let is_named = file.is_some();
    let file = file.unwrap_or_else(|| data.join(FILE_NAME));
    if is_named && !file.exists() {
        let words = format!("there is no file {}", file.display());
        return Err(Exit::new(Code::Usage, words).into());
    }
    let read = config::read_file(&file)?;
    let mut findings = read.findings;
    if let Some(config) = &read.config {
        findings.extend(config::on_this_machine(config, &data));
    }
    let count = |level| findings.iter().filter(|found| found.level == level).count();
    let errors = count(Level::Error) + count(Level::Wrong);
    let warnings = count(Level::Warning);
    if json {
        let findings: Vec<_> = findings.iter().map(in_json).collect();
        output::json(&json!({
            "file": file.to_string_lossy(), "errors": errors, "warnings": warnings,
            "findings": findings,
        }))?;
    } else {
        let mut text = String::new();
        for found in &findings {
            text.push_str(&format!("{}: {found}\n", name(found.level)));
        }
        let path = file.display();
        text.push_str(&match (errors, warnings) {
            (0, 0) if !file.exists() => format!("{path} is not there: every key has its default\n"),
            (0, 0) => format!("{path} is in order\n"),
            _ => format!("{path}: {errors} errors, {warnings} warnings\n"),
        });
        output::line(text.trim_end())?;
    }
    if errors > 0 || (strict && warnings > 0) {
        let words = format!("{} is not in order", file.display());
        return Err(Exit::new(Code::Failed, words).into());
    }
    Ok(())
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error | Level::Wrong => "error",
        Level::Warning => "warning",
    }
}

fn in_json(found: &Finding) -> serde_json::Value {
    json!({
        "level": name(found.level), "line": found.line, "key": found.key, "what": found.what,
        "hint": found.hint,
    })
}
