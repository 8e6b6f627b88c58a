// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao setup`: the set-up of a new farm on a terminal. Asks for the shared storage and for
//! Blender, shows what it will write, and writes it. With options it asks nothing.
//!
//! It works on the file of a data directory, where a running Manager sees it at once, or through
//! a Manager's API. What is fit and what is written is decided by `tablao_net::setup`.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tablao_net::{
    config::FILE_NAME,
    setup::{self, BlenderCheck, Choice, PathCheck},
};

use crate::{
    client::{Address, Farm, block_on},
    exit::{Code, Exit},
    output,
};

/// Set up a farm: the folder that all machines share, and the command that starts Blender.
///
/// Asks on a terminal; with --storage and --blender (or --no-blender) and --yes it asks nothing.
/// A running Manager uses what is saved at once, without a restart.
///
/// Example: tablao setup --data tablao-data --storage /mnt/farm --blender blender --yes
#[derive(Args)]
pub(crate) struct Setup {
    /// The data directory whose tablao.toml is written.
    #[arg(long, value_name = "DIR", default_value = "tablao-data")]
    data: PathBuf,
    /// Set up the Manager at this address instead: its machine is the one that is looked at.
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    url: Option<String>,
    /// A token, where that Manager asks for one.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "TABLAO_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// The shared storage, as the Manager's machine sees it.
    #[arg(long, value_name = "FOLDER")]
    storage: Option<String>,
    /// The command or path that starts Blender on Workers.
    #[arg(long, value_name = "COMMAND", conflicts_with = "no_blender")]
    blender: Option<String>,
    /// Leave Blender to each Worker: `blender` on its PATH.
    #[arg(long)]
    no_blender: bool,
    /// Save without asking.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Setup {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self)?;
        let asks = std::io::stdin().is_terminal() && !self.json;
        let storage = self.storage(&place, asks)?;
        let blender = self.blender(&place, asks)?;
        if !self.json {
            output::line(&format!(
                "\nshared storage  {}\nBlender         {} ({})\nwritten to      {}",
                storage.path,
                shown(&blender),
                blender.cause,
                place.name()
            ))?;
        }
        if !self.yes {
            if !asks {
                return Err(usage("say --yes to save this without being asked"));
            }
            let answer = ask("Save this? [Y/n] ")?;
            if !matches!(answer.to_lowercase().as_str(), "" | "y" | "yes") {
                return Err(Exit::new(Code::Failed, "nothing was saved").into());
            }
        }
        place.save(&storage.path, &blender)?;
        if self.json {
            output::json(&json!({
                "storage": storage, "blender": blender, "written_to": place.name(),
            }))
        } else {
            output::line("saved; a running Manager uses it at once")
        }
    }

    fn storage(&self, place: &Place, asks: bool) -> anyhow::Result<PathCheck> {
        if let Some(folder) = &self.storage {
            let folder = place.whole(folder);
            let checked = place.check_storage(&folder)?;
            return if checked.is_usable {
                Ok(checked)
            } else {
                let words = format!("the folder {folder:?} cannot be used: {}", checked.cause);
                Err(Exit::new(Code::Failed, words).into())
            };
        }
        if !asks {
            return Err(usage("name the shared storage with --storage FOLDER"));
        }
        output::line(
            "The shared storage is a folder that the Manager, all Workers and the artists' \
             machines can reach: scenes and rendered frames lie there.",
        )?;
        loop {
            let folder = place.whole(&ask("Folder, as this machine sees it: ")?);
            let checked = place.check_storage(&folder)?;
            output::line(&format!("  {}", checked.cause))?;
            if checked.is_usable {
                return Ok(checked);
            }
        }
    }

    fn blender(&self, place: &Place, asks: bool) -> anyhow::Result<BlenderCheck> {
        if self.no_blender {
            return Ok(default_blender());
        }
        if let Some(command) = &self.blender {
            let checked = place.check_blender(command)?;
            return if checked.is_usable {
                Ok(checked)
            } else {
                let words = format!(
                    "{command:?} cannot be used: {}; or say --no-blender if only Workers have it",
                    checked.cause
                );
                Err(Exit::new(Code::Failed, words).into())
            };
        }
        let found = place.find_blender()?;
        if !asks {
            return Ok((found.into_iter().next()).unwrap_or_else(default_blender));
        }
        for (number, blender) in (1..).zip(&found) {
            output::line(&format!("  {number}  {} ({})", blender.path, blender.cause))?;
        }
        loop {
            let answer = ask(
                "Which Blender? A number above, a command, a path, or nothing to leave it to the \
                 Workers: ",
            )?;
            if answer.is_empty() {
                return Ok(default_blender());
            }
            let number = answer.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            if let Some(blender) = number.and_then(|position| found.get(position)) {
                return Ok(blender.clone());
            }
            let checked = place.check_blender(&answer)?;
            output::line(&format!("  {}", checked.cause))?;
            if checked.is_usable {
                return Ok(checked);
            }
        }
    }
}

/// The machine that is set up.
enum Place {
    /// A data directory on this one.
    Here(PathBuf),
    /// A Manager's.
    There(Box<Farm>, tokio::runtime::Runtime),
}

impl Place {
    fn of(asked: &Setup) -> anyhow::Result<Self> {
        Ok(match &asked.url {
            Some(url) => {
                let farm = Farm::new(&Address {
                    url: url.clone(),
                    token: asked.token.clone(),
                })?;
                // One for all questions: connections belong to the one that made them.
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("start the runtime")?;
                Self::There(Box::new(farm), runtime)
            }
            None => Self::Here(asked.data.clone()),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Here(data) => data.join(FILE_NAME).display().to_string(),
            Self::There(farm, _) => format!("the configuration of {}", farm.base()),
        }
    }

    /// A path as the file needs it: whatever this shell's folder is.
    fn whole(&self, folder: &str) -> String {
        match self {
            Self::Here(_) if !folder.is_empty() && !folder.starts_with('\\') => {
                let whole = std::path::absolute(folder).ok();
                let whole = whole.and_then(|path| path.to_str().map(str::to_owned));
                whole.unwrap_or_else(|| folder.to_owned())
            }
            Self::Here(_) | Self::There(..) => folder.to_owned(),
        }
    }

    fn check_storage(&self, folder: &str) -> anyhow::Result<PathCheck> {
        match self {
            Self::Here(data) => Ok(setup::check_storage(folder, data)),
            Self::There(farm, runtime) => {
                let path = "/api/v3/configuration/check/shared-storage";
                let answer = runtime.block_on(farm.post(path, &json!({ "path": folder })))?;
                serde_json::from_value(answer).context("read the Manager's answer")
            }
        }
    }

    fn check_blender(&self, command: &str) -> anyhow::Result<BlenderCheck> {
        match self {
            Self::Here(_) => block_on(async { Ok(setup::check_blender(command).await) }),
            Self::There(farm, runtime) => {
                let path = "/api/v3/configuration/check/blender";
                let answer = runtime.block_on(farm.post(path, &json!({ "path": command })))?;
                serde_json::from_value(answer).context("read the Manager's answer")
            }
        }
    }

    fn find_blender(&self) -> anyhow::Result<Vec<BlenderCheck>> {
        match self {
            Self::Here(_) => block_on(async { Ok(setup::find_blender().await) }),
            Self::There(farm, runtime) => {
                let answer =
                    runtime.block_on(farm.get("/api/v3/configuration/check/blender", &[]))?;
                serde_json::from_value(answer).context("read the Manager's answer")
            }
        }
    }

    fn save(&self, storage: &str, blender: &BlenderCheck) -> anyhow::Result<()> {
        match self {
            Self::Here(data) => {
                let choice = Choice::new(storage, blender, data)
                    .map_err(|what| Exit::new(Code::Failed, what))?;
                setup::save(&choice, &data.join(FILE_NAME))?;
            }
            Self::There(farm, runtime) => {
                let body = json!({ "storageLocation": storage, "blenderExecutable": blender });
                let path = "/api/v3/configuration/setup-assistant";
                runtime.block_on(farm.post(path, &body))?;
            }
        }
        Ok(())
    }
}

/// Blender is whatever each Worker has.
fn default_blender() -> BlenderCheck {
    BlenderCheck {
        source: "default".to_owned(),
        is_usable: true,
        cause: "whatever each Worker has".to_owned(),
        ..BlenderCheck::default()
    }
}

fn shown(blender: &BlenderCheck) -> &str {
    match blender.path.as_str() {
        "" => "blender",
        path => path,
    }
}

fn usage(words: &str) -> anyhow::Error {
    Exit::new(Code::Usage, words).into()
}

fn ask(question: &str) -> anyhow::Result<String> {
    let mut output = std::io::stdout().lock();
    write!(output, "{question}")?;
    output.flush()?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer)?;
    if read == 0 {
        return Err(Exit::new(Code::Failed, "nothing was saved").into());
    }
    Ok(answer.trim().to_owned())
}
