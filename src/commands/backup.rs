// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao backup` and `tablao restore`: a consistent copy of a data directory, also beside the
//! process that holds it, and a data directory made of such a copy.
//!
//! Journals first, then everything that their records name: blobs and scripts are written before
//! the events that speak of them. What can be rebuilt (checkpoints) or is not a farm's state
//! (renders, task logs) is left out.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tablao_journal::{FileStore, RealFiles, copy_journal, raise_incarnation};
use tablao_net::{
    clock,
    data_dir::{CONTROL_JOURNAL, MIRROR_OF_SERVER, MIRRORS, SITE_JOURNAL, write_durably},
};

use crate::{
    exit::{Code, Exit},
    output,
};

/// Written last: a backup without it was not finished.
const MANIFEST: &str = "backup.json";
const MANIFEST_FORMAT: u64 = 1;
/// Left out: rebuilt by the next start, of the running process only, or not a farm's state.
const LEFT_OUT: &[&str] = &[
    "journal",
    "checkpoints",
    "lock",
    "logs",
    "storage",
    "workers",
];

/// Copy a data directory, also beside the process that holds it.
///
/// Example: tablao backup --data tablao-data --to /mnt/backup/monday
#[derive(Args)]
pub(crate) struct Backup {
    /// The data directory of a Server or Manager.
    #[arg(long, value_name = "DIR", default_value = "tablao-data")]
    data: PathBuf,
    /// Where the copy goes; a folder that is empty or not there.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Make a data directory of a backup. Its journals go on in a new incarnation, so no position is
/// given out twice.
///
/// Example: tablao restore --from /mnt/backup/monday --data tablao-data
#[derive(Args)]
pub(crate) struct Restore {
    /// A folder that `tablao backup` made.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The new data directory; a folder that is empty or not there.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let journals = journal_folders(&self.data)?;
        if journals.is_empty() {
            return Err(Exit::new(
                Code::Usage,
                format!("there is no journal in {}", self.data.display()),
            )
            .into());
        }
        only_into_empty(&self.to)?;
        let copied = copy_all(&journals, &self.data, &self.to)?;
        let manifest = json!({ "format": MANIFEST_FORMAT, "journals": copied });
        write_durably(&self.to.join(MANIFEST), manifest.to_string().as_bytes())?;
        if self.json {
            return output::json(&manifest);
        }
        tell(&copied, "copied")
    }
}

impl Restore {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let promised = self.manifest()?;
        only_into_empty(&self.data)?;
        let journals = journal_folders(&self.from)?;
        let mut restored = copy_all(&journals, &self.from, &self.data)?;
        // Of one backup two farms may be made that never hear of each other.
        let fence = (clock::seed() & 0x7fff) as u16;
        if promised["journals"] != json!(restored) {
            return Err(Exit::new(
                Code::Damage,
                format!(
                    "the journals in {} are whole, and not those that were backed up; nothing \
                     was started with them, and {} can be deleted",
                    self.from.display(),
                    self.data.display()
                ),
            )
            .into());
        }
        for (row, folder) in restored.iter_mut().zip(&journals) {
            // A mirror goes on where its original does.
            if folder == CONTROL_JOURNAL || folder == SITE_JOURNAL {
                let files: Arc<dyn FileStore> =
                    Arc::new(RealFiles::existing(self.data.join(folder)));
                let incarnation = raise_incarnation(files, clock::now().micros(), fence)
                    .with_context(|| format!("begin a new incarnation of {folder}"))?;
                row["incarnation"] = json!(incarnation);
            }
        }
        if self.json {
            return output::json(&json!({ "journals": restored }));
        }
        tell(&restored, "restored")
    }

    fn manifest(&self) -> anyhow::Result<Value> {
        let path = self.from.join(MANIFEST);
        let refuse = |what: String| anyhow::Error::new(Exit::new(Code::Usage, what));
        let bytes = fs::read(&path).map_err(|error| {
            refuse(format!(
                "{} is no finished backup: read {}: {error}",
                self.from.display(),
                path.display()
            ))
        })?;
        let manifest: Value =
            serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?;
        match manifest["format"].as_u64() {
            Some(MANIFEST_FORMAT) => Ok(manifest),
            _ => Err(refuse(format!(
                "{} was made by a newer tablao; restore it with one at least as new",
                self.from.display()
            ))),
        }
    }
}

fn tell(rows: &[Value], what: &str) -> anyhow::Result<()> {
    for row in rows {
        output::line(&format!(
            "{what} {}: up to position {}, {} bytes, incarnation {}, chain {}",
            row["folder"].as_str().unwrap_or_default(),
            row["last"],
            row["bytes"],
            row["incarnation"],
            row["chain"].as_str().unwrap_or_default()
        ))?;
    }
    Ok(())
}

/// The journals of a data directory, as paths below it.
pub(super) fn journal_folders(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut folders: Vec<String> = [CONTROL_JOURNAL, SITE_JOURNAL, MIRROR_OF_SERVER]
        .map(str::to_owned)
        .to_vec();
    match fs::read_dir(data.join(MIRRORS)) {
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                folders.push(format!("{MIRRORS}/{}", name.to_string_lossy()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("list the mirrors"),
    }
    folders.sort();
    let has_segment = |folder: &String| {
        let names = RealFiles::existing(data.join(folder)).list();
        names.is_ok_and(|names| names.iter().any(|name| name.ends_with(".seg")))
    };
    folders.retain(has_segment);
    Ok(folders)
}

/// Refuses a target that has something in it.
pub(super) fn only_into_empty(folder: &Path) -> anyhow::Result<()> {
    let occupied = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("look into {}", folder.display())),
    };
    if occupied {
        return Err(Exit::new(
            Code::Refused,
            format!(
                "{} is not empty, and nothing is written over; name a new folder",
                folder.display()
            ),
        )
        .into());
    }
    Ok(())
}

fn copy_all(journals: &[String], from: &Path, to: &Path) -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::with_capacity(journals.len());
    for folder in journals {
        let source: Arc<dyn FileStore> = Arc::new(RealFiles::existing(from.join(folder)));
        let target: Arc<dyn FileStore> = Arc::new(
            RealFiles::create(to.join(folder))
                .with_context(|| format!("make {}", to.join(folder).display()))?,
        );
        let copied = copy_journal(&source, &target).map_err(|error| match error {
            tablao_journal::Error::Damage(damage) => anyhow::Error::new(Exit::new(
                Code::Damage,
                format!(
                    "the journal in {folder} is damaged: segment {}, byte offset {}, position \
                     {}: {}; the copy was not finished",
                    damage.segment, damage.offset, damage.lsn, damage.what
                ),
            )),
            other => anyhow::Error::new(other).context(format!("copy {folder}")),
        })?;
        rows.push(json!({
            "folder": folder,
            "journal_id": copied.verified.journal_id.to_string(),
            "incarnation": copied.verified.incarnation,
            "first": copied.verified.first.get(),
            "last": copied.verified.next.previous().get(),
            "records": copied.verified.records,
            "bytes": copied.bytes,
            "chain": copied.verified.chain.to_string(),
        }));
    }
    copy_rest(from, to)?;
    Ok(rows)
}

/// Everything beside the journals that a farm needs to go on.
pub(super) fn copy_rest(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let left_out = LEFT_OUT.iter().any(|part| name == *part) || name == MANIFEST;
        if !left_out {
            copy_tree(&entry.path(), &to.join(name))?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let doing = || format!("copy {} to {}", from.display(), to.display());
    let kind = fs::symlink_metadata(from).with_context(doing)?.file_type();
    if kind.is_dir() {
        fs::create_dir_all(to).with_context(doing)?;
        for entry in fs::read_dir(from).with_context(doing)? {
            let entry = entry.with_context(doing)?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
        return tablao_net::data_dir::sync_folder(to).with_context(doing);
    }
    if !kind.is_file() {
        return Ok(());
    }
    match fs::copy(from, to) {
        Ok(_) => {}
        // A live process finished or threw away what it was writing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(doing),
    }
    let copy = fs::File::options()
        .write(true)
        .open(to)
        .with_context(doing)?;
    copy.sync_all().with_context(doing)
}
