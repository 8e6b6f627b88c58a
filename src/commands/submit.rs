// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao submit`: sends a job, with its settings read as the job type declares them.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    listing::Client,
    settings::{Declared, pair},
};
use crate::{
    client::{self, Farm},
    exit::{Code, Exit},
    follow, output,
};

/// Submit a job.
///
/// Prints the job's id.
///
/// Settings are those of the job type; `tablao submit --type TYPE --list-settings` shows them.
/// Paths are sent as they are on this machine, absolute.
///
/// Example:
///   tablao submit --type simple-blender-render --set frames=1-48 --set chunk_size=4
///     --set render_output_root=/render --set render_output_path=/render/shot/######
///     --set format=PNG --set image_file_extension=.png --set scene=Scene --set fps=24
///     --wait /projects/shot.blend
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Submit {
    /// The job type, such as simple-blender-render.
    #[arg(long = "type", value_name = "TYPE")]
    job_type: String,
    /// Name of the job; otherwise the blend file's, or the job type's.
    #[arg(long)]
    name: Option<String>,
    /// 0 to 100; higher runs first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(0..=100))]
    priority: i32,
    /// A setting of the job type; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// Metadata, such as project=NAME, shot=NAME or user.name=NAME; several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Only workers with this tag (name or id).
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Accept it, but start nothing until it is queued.
    #[arg(long)]
    paused: bool,
    /// Follow it to its end; ends 0 only if it completed.
    #[arg(long)]
    wait: bool,
    /// Show the job type's settings and submit nothing.
    #[arg(long)]
    list_settings: bool,
    /// The blend file, for job types with the setting `blendfile`.
    #[arg(value_name = "FILE.blend")]
    file: Option<PathBuf>,
    #[command(flatten)]
    client: Client,
}

impl Submit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        client::block_on(self.submit())
    }

    async fn submit(&self) -> anyhow::Result<()> {
        let farm = self.client.farm()?;
        let declared = self.declared(&farm).await?;
        if self.list_settings {
            return declared.print(self.client.json);
        }
        let blendfile = self.file.as_ref().map(absolute_file).transpose()?;
        let settings = declared.settings(&self.settings, blendfile.as_deref())?;
        let body = self.body(&farm, settings).await?;
        // One key for the whole invocation: a try whose answer got lost made the same job.
        let key = uuid::Uuid::new_v4().to_string();
        let job = farm.post_once("/api/v3/jobs", &body, &key).await?;
        let id = job["id"]
            .as_str()
            .context("the farm did not name the job that it accepted")?;
        if !self.wait {
            return self.client.say(&job, || id.to_owned());
        }
        if !self.client.json {
            output::line(id)?;
        }
        let ended = follow::follow(&farm, id, "steps").await?;
        if self.client.json {
            output::json(&ended.job)?;
        }
        if ended.is_completed() {
            return Ok(());
        }
        let why = follow::why_not_completed(&farm, &ended).await;
        Err(Exit::new(Code::Failed, why).into())
    }

    /// The job type as the farm has it.
    async fn declared(&self, farm: &Farm) -> anyhow::Result<Declared> {
        let all = farm.get("/api/v3/jobs/types", &[]).await?;
        let types = all["job_types"].as_array().cloned().unwrap_or_default();
        match types.iter().find(|found| found["name"] == *self.job_type) {
            Some(found) => Ok(Declared::new(found)),
            None => {
                let names: Vec<&str> = types.iter().filter_map(|it| it["name"].as_str()).collect();
                Err(Exit::new(
                    Code::Usage,
                    format!(
                        "the farm at {} has no job type {:?}; it has {}",
                        farm.base(),
                        self.job_type,
                        names.join(", ")
                    ),
                )
                .into())
            }
        }
    }

    async fn body(&self, farm: &Farm, settings: Map<String, Value>) -> anyhow::Result<Value> {
        let stem = self.file.as_ref().and_then(|file| file.file_stem());
        let name = match (&self.name, stem) {
            (Some(name), _) => name.clone(),
            (None, Some(stem)) => stem.to_string_lossy().into_owned(),
            (None, None) => self.job_type.clone(),
        };
        let metadata: Map<String, Value> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        let mut body = json!({
            "name": name,
            "type": self.job_type,
            "priority": self.priority,
            "settings": settings,
            "metadata": metadata,
            "submitter_platform": super::platform(),
            "initial_status": if self.paused { "paused" } else { "queued" },
        });
        if let Some(tag) = &self.tag {
            body["worker_tag"] = Value::String(tag_id(farm, tag).await?);
        }
        Ok(body)
    }
}

async fn tag_id(farm: &Farm, tag: &str) -> anyhow::Result<String> {
    let known = farm.get("/api/v3/worker-mgt/tags", &[]).await?;
    let known = known["tags"].as_array().into_iter().flatten();
    let found = known
        .into_iter()
        .find(|row| row["id"] == tag || row["name"] == tag);
    let id = found.and_then(|row| row["id"].as_str().map(str::to_owned));
    id.ok_or_else(|| Exit::new(Code::Usage, format!("there is no worker tag {tag:?}")).into())
}

/// The file as the farm is to name it.
fn absolute_file(file: &PathBuf) -> anyhow::Result<String> {
    let path = std::path::absolute(file).with_context(|| format!("find {}", file.display()))?;
    if !path.is_file() {
        return Err(Exit::new(Code::Usage, format!("there is no file {}", path.display())).into());
    }
    super::utf8(&path).map(str::to_owned)
}
