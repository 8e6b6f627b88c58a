// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao shaman`: tend the file store on shared storage. Works on the files themselves, so it
//! may run beside the Manager or without one.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use tablao_net::{config::Config, shaman};

use crate::{
    exit::{Code, Exit},
    output,
};

/// Tend the store of files that clients sent to the shared storage.
///
/// Example: tablao shaman gc --data tablao-data --dry-run
#[derive(Args)]
pub(crate) struct Shaman {
    #[command(subcommand)]
    verb: Verb,
    /// The data directory of the Manager; its tablao.toml says where the storage is.
    #[arg(long, global = true, value_name = "DIR", default_value = "tablao-data")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Remove stored files that are old and that no checkout uses, and what broken uploads left.
    /// A running Manager does so by itself, as configured.
    Gc {
        /// Say what would be removed, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

impl Shaman {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Verb::Gc { dry_run } = self.verb;
        let file = self.data.join("tablao.toml");
        let config = Config::load(&file)?;
        let store = shaman::store(&config).ok_or_else(|| {
            Exit::new(
                Code::Usage,
                format!(
                    "there is no file store: {} has no shared_storage_path, or switches shaman off",
                    file.display()
                ),
            )
        })?;
        let garbage = shaman::collect(&store, &config, dry_run).context("collect unused files")?;
        if self.json {
            let files: Vec<String> = garbage.blobs.iter().map(ToString::to_string).collect();
            return output::json(&json!({
                "dry_run": dry_run, "examined": garbage.examined, "in_use": garbage.in_use,
                "files": files, "bytes": garbage.bytes,
                "parts": garbage.parts, "folders": garbage.folders,
            }));
        }
        let verb = if dry_run { "would remove" } else { "removed" };
        for file in &garbage.blobs {
            output::line(&format!("{verb} {file}"))?;
        }
        output::line(&format!(
            "{verb} {} of {} files ({} bytes), {} broken uploads and {} unfinished checkouts; \
             {} old files are in use",
            garbage.blobs.len(),
            garbage.examined,
            garbage.bytes,
            garbage.parts,
            garbage.folders,
            garbage.in_use
        ))
    }
}
