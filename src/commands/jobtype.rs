// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao jobtype`: write a job type, check it, see what it would make, keep it as it is. Needs
//! no farm: scripts run here as they run in a Manager.

mod case;
mod outcome;
mod scripts;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tablao_jobtypes::authoring;

use self::scripts::Scripts;
use super::settings::{Declared, pair};
use crate::{
    exit::{Code, Exit},
    output,
};

/// Write a job type script, check it, and see what it would make.
///
/// Example:
///   tablao jobtype new shot && tablao jobtype compile shot.js --set frames=1-4
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct JobType {
    #[command(subcommand)]
    verb: Verb,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Write a first script, with declarations for editors and a case to test it by.
    New {
        /// Name of the job type: small letters, digits, dashes.
        #[arg(value_name = "NAME")]
        name: String,
        /// Where; a farm finds its own scripts in `scripts` of its data folder.
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Say whether scripts are usable job types, and where they are not.
    Check {
        /// A script, or a folder of scripts.
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
    },
    /// Print the tasks that a script would make.
    Compile(Compile),
    /// Compare what scripts make with what their cases say (`NAME.WHAT.case.json` or `.toml`).
    Test {
        /// A folder of scripts and cases, or one case.
        #[arg(value_name = "DIR")]
        path: PathBuf,
        /// Write what the scripts make into the cases, instead of comparing.
        #[arg(long)]
        bless: bool,
    },
}

#[derive(Args)]
struct Compile {
    /// The script.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A setting of the job type; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// Metadata of the job; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Name of the job; otherwise the job type's.
    #[arg(long)]
    name: Option<String>,
    /// Show what waits for what as a tree, from the last task down.
    #[arg(long)]
    tree: bool,
}

impl JobType {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::New { name, dir } => new(&name, &dir, self.json),
            Verb::Check { path } => check(&path, self.json),
            Verb::Compile(compile) => compile.run(self.json),
            Verb::Test { path, bless } => case::run(&path, bless, self.json),
        }
    }
}

fn usage(words: String) -> anyhow::Error {
    Exit::new(Code::Usage, words).into()
}

fn new(name: &str, dir: &Path, json: bool) -> anyhow::Result<()> {
    let sound = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_sound =
        name.starts_with(sound) && name.chars().all(|c| sound(c) || c == '-' || c == '_');
    if !is_sound {
        return Err(usage(format!(
            "{name:?} is no name of a job type: use small letters, digits and dashes"
        )));
    }
    let script = dir.join(format!("{}.js", name.replace('-', "_")));
    if script.exists() {
        let words = format!("{} exists already; it is left as it is", script.display());
        return Err(Exit::new(Code::Refused, words).into());
    }
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let example = dir.join(format!("{}.example.case.json", name.replace('-', "_")));
    let settings = json!({ "settings": { "frames": "1-3", "chunk_size": 2, "message": "hello" } });
    let files = [
        (script.clone(), authoring::first_script(name)),
        (
            dir.join("tablao-jobtypes.d.ts"),
            authoring::TYPE_DECLARATIONS.to_owned(),
        ),
        (
            dir.join("jsconfig.json"),
            authoring::EDITOR_PROJECT.to_owned(),
        ),
        (example.clone(), format!("{settings:#}\n")),
    ];
    for (path, text) in &files {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    case::bless(&example)?;
    let written: Vec<String> = (files.iter())
        .map(|(path, _)| path.display().to_string())
        .collect();
    if json {
        return output::json(&json!({ "name": name, "written": written }));
    }
    written
        .iter()
        .try_for_each(|path| output::line(&format!("wrote {path}")))?;
    output::line(&format!(
        "try: tablao jobtype compile {} --set frames=1-4",
        script.display()
    ))
}

fn check(path: &Path, json: bool) -> anyhow::Result<()> {
    let scripts = Scripts::open(path)?;
    let found: Vec<(String, Result<usize, String>)> = (scripts.files.iter())
        .map(|file| (file.clone(), scripts.check(file)))
        .collect();
    let broken = found.iter().filter(|(_, checked)| checked.is_err()).count();
    if json {
        let told = found.iter().map(|(file, checked)| match checked {
            Ok(settings) => json!({ "script": file, "ok": true, "settings": settings }),
            Err(problem) => json!({ "script": file, "ok": false, "problem": problem }),
        });
        output::json(&Value::Array(told.collect()))?;
    } else {
        for (file, checked) in &found {
            match checked {
                Ok(settings) => {
                    output::line(&format!("{file}: a job type with {settings} settings"))?
                }
                Err(problem) => output::line(problem)?,
            }
        }
    }
    if broken == 0 {
        return Ok(());
    }
    let words = format!("{broken} of {} scripts cannot be used", found.len());
    Err(Exit::new(Code::Failed, words).into())
}

impl Compile {
    fn run(self, json: bool) -> anyhow::Result<()> {
        let scripts = Scripts::open(&self.file)?;
        let [file] = scripts.files.as_slice() else {
            return Err(usage(format!("{} is no script", self.file.display())));
        };
        let declared = scripts.declared(file)?;
        let settings = Declared::new(&declared).settings(&self.settings, None)?;
        let metadata: Map<String, Value> = (self.metadata.into_iter())
            .map(|(key, value)| (key, Value::String(value)))
            .collect();
        let name = self.name.as_deref();
        let compiled = scripts.compile(file, name, settings, &metadata);
        let compiled = compiled.map_err(|told| Exit::new(Code::Failed, told))?;
        if json {
            output::json(&outcome::whole(&compiled))
        } else if self.tree {
            output::line(&outcome::tree(&compiled))
        } else {
            output::line(&outcome::list(&compiled))
        }
    }
}
