// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao doctor`: is this machine fit to be a Worker, and is the farm well?
//!
//! The Manager looks at itself and tells; this machine is looked at with the checks that a Worker
//! makes before it takes a job. Nothing is repaired.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::{
    client::{Address, Farm, block_on},
    exit::{Code, Exit},
    output,
};

/// Look whether this machine and the farm are well, and say what to do where they are not.
///
/// Ends with 0 when nothing failed (there may be warnings), 1 when something did, 4 when the
/// Manager was not reached; this machine is looked at in any case.
///
/// Example: tablao doctor --url http://192.168.1.10:8080
#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    address: Address,
    /// Where this machine's Worker keeps its files, or would.
    #[arg(long, value_name = "DIR", default_value = "tablao-worker")]
    data: PathBuf,
    /// The shared storage as this machine sees it; the Manager knows it if it is not given.
    #[arg(long, value_name = "FOLDER")]
    storage: Option<PathBuf>,
    /// The command that starts Blender; the Manager knows it if it is not given.
    #[arg(long, value_name = "COMMAND")]
    blender: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        block_on(async {
            let farm = Farm::new(&self.address)?;
            let manager = farm.get("/api/farm/v1/doctor", &[]).await;
            let (mut checks, unreachable) = match &manager {
                Ok(found) => (of_manager(found), false),
                Err(error) => {
                    let unreachable = error
                        .downcast_ref::<Exit>()
                        .is_some_and(|exit| exit.code == Code::Unreachable);
                    let check = json!({ "where": "Manager", "name": "connection",
                        "state": "failed", "text": error.to_string() });
                    (vec![check], unreachable)
                }
            };
            let clock = (manager.as_ref().ok())
                .and_then(|found| found["at"].as_str())
                .and_then(|at| at.parse().ok());
            let storage = match self.storage {
                Some(storage) => Some(storage),
                None if manager.is_ok() => storage_of(&farm).await,
                None => None,
            };
            let blender = match self.blender {
                Some(blender) => blender,
                None if manager.is_ok() => blender_of(&farm).await,
                None => "blender".to_owned(),
            };
            let limits = tablao_agent::HealthLimits::default();
            let own =
                tablao_agent::examine(&self.data, storage.as_deref(), &blender, clock, &limits);
            checks.extend(own.await.into_iter().map(|examined| {
                // A machine without FFmpeg renders all the same.
                let state = match (examined.is_well, examined.name.as_str()) {
                    (true, _) => "ok",
                    (false, "FFmpeg") => "warning",
                    (false, _) => "failed",
                };
                json!({ "where": "this machine", "name": examined.name,
                    "state": state, "text": examined.text })
            }));
            tell(&checks, self.json)?;
            verdict(&checks, unreachable)
        })
    }
}

/// The Manager's own findings, as ours are told.
fn of_manager(found: &Value) -> Vec<Value> {
    let checks = found["checks"].as_array().into_iter().flatten();
    checks
        .map(|check| {
            let mut check = check.clone();
            check["where"] = json!("Manager");
            check
        })
        .collect()
}

/// The shared storage as Workers on this platform see it.
async fn storage_of(farm: &Farm) -> Option<PathBuf> {
    let path = format!(
        "/api/v3/configuration/shared-storage/workers/{}",
        super::platform()
    );
    let found = farm.get(&path, &[]).await.ok()?;
    Some(found["location"].as_str()?.into())
}

/// What Workers on this platform start for Blender.
async fn blender_of(farm: &Farm) -> String {
    let path = format!(
        "/api/v3/configuration/variables/workers/{}",
        super::platform()
    );
    let found = farm.get(&path, &[]).await.unwrap_or_default();
    let command = found.pointer("/additionalProperties/blender/value");
    let command = command.or_else(|| found.pointer("/blender/value"));
    command
        .and_then(Value::as_str)
        .unwrap_or("blender")
        .to_owned()
}

fn tell(checks: &[Value], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({ "checks": checks }));
    }
    for check in checks {
        let word = |key: &str| check[key].as_str().unwrap_or_default();
        output::line(&format!(
            "{:<8} {:<13} {}: {}",
            word("state"),
            word("where"),
            word("name"),
            word("text")
        ))?;
        if !word("hint").is_empty() {
            output::line(&format!("{:23}{}", "", word("hint")))?;
        }
    }
    Ok(())
}

fn verdict(checks: &[Value], unreachable: bool) -> anyhow::Result<()> {
    let failed = checks.iter().filter(|check| check["state"] == "failed");
    let failed = failed.count();
    if unreachable {
        return Err(Exit::new(Code::Unreachable, "the Manager was not reached").into());
    }
    if failed > 0 {
        let words = format!("{failed} of {} checks failed", checks.len());
        return Err(Exit::new(Code::Failed, words).into());
    }
    Ok(())
}
