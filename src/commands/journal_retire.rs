// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao journal retire`: lets the oldest segments of a journal go once a baseline stands in for
//! them.
//!
//! Only on a data directory at rest, only when asked, only whole sealed segments, and never what
//! a Server's mirror of this Manager may still need. The order of the writes is the journal's.

use std::{path::Path, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tablao_core::{Digest, Lsn, Request};
use tablao_journal::{FileStore, Reader, RealFiles, Retirable, retirable, retire_before};
use tablao_net::{
    clock,
    data_dir::{CONTROL_JOURNAL, DataDir, MIRROR_OF_SERVER, MIRRORS, SITE_JOURNAL},
    past, retention,
};

use super::{backup::journal_folders, journal_note::note, journal_upkeep::told};
use crate::{
    exit::{Code, Exit},
    output,
};

const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

/// What may go, and where to.
#[derive(Args)]
pub(crate) struct Retire {
    /// Of this journal: control or site.
    #[arg(long, value_name = "JOURNAL", default_value = "site")]
    journal: String,
    /// Segments whose last record is older than this many days.
    #[arg(long, value_name = "DAYS", required_unless_present = "keep_bytes")]
    older_than: Option<u64>,
    /// The oldest segments, until the rest takes no more than this many bytes.
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<u64>,
    /// Keep them in this folder. With them brought back no baseline is needed.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["delete", "dry_run"])]
    archive: Option<PathBuf>,
    /// Keep them nowhere.
    #[arg(long, conflicts_with = "archive")]
    delete: bool,
    /// Say what would go, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Retire {
    pub(super) fn run(&self, data: &Path, as_json: bool) -> anyhow::Result<()> {
        let folder = match self.journal.as_str() {
            "control" => CONTROL_JOURNAL,
            "site" => SITE_JOURNAL,
            other => {
                return Err(Exit::new(
                    Code::Usage,
                    format!("segments are retired in control or site, not in {other:?}"),
                )
                .into());
            }
        };
        let alone = DataDir::open(data)?;
        let files: Arc<dyn FileStore> = Arc::new(RealFiles::existing(data.join(folder)));
        let explain = |error| told(folder, error);
        let reader = Reader::open(Arc::clone(&files)).map_err(explain)?;
        // What is to stand for the beginning is made of verified bytes only.
        reader.verify().map_err(explain)?;
        let sealed = retirable(files.as_ref()).map_err(explain)?;
        let needed = needed_elsewhere(data, folder, &alone)?;
        let going = self.choose(&sealed, clock::now().micros(), needed);
        let Some(end) = going.last() else {
            return self.tell(folder, &[], None, as_json);
        };
        let baseline = retention::baseline_at(&reader, end)?;
        let digest = Digest(baseline.digest()).to_string();
        if !self.dry_run {
            let archive = match &self.archive {
                Some(to) => Some(
                    RealFiles::create(to.join(folder))
                        .with_context(|| format!("make {}", to.display()))?,
                ),
                None => None,
            };
            baseline.write(files.as_ref()).map_err(explain)?;
            let request = Request::NoteBaseline {
                next: Lsn::new(end.next.get()),
                state: baseline.digest(),
            };
            note(&alone, folder, request)?;
            let archive = archive.as_ref().map(|archive| archive as &dyn FileStore);
            retire_before(&files, end.next, archive).map_err(explain)?;
        }
        self.tell(folder, going, Some(digest), as_json)
    }

    /// The segments that go: from the oldest on, all that are old enough or too many.
    fn choose<'a>(
        &self,
        sealed: &'a [Retirable],
        now_us: u64,
        needed: Option<u64>,
    ) -> &'a [Retirable] {
        let too_old = |segment: &Retirable| {
            let days = self.older_than.unwrap_or(u64::MAX);
            segment.time_us < now_us.saturating_sub(days.saturating_mul(DAY_US))
        };
        let mut rest: u64 = sealed.iter().map(|segment| segment.bytes).sum();
        let count = sealed
            .iter()
            .take_while(|segment| {
                let too_many = self.keep_bytes.is_some_and(|keep| rest > keep);
                rest -= segment.bytes;
                let free = needed.is_none_or(|needed| segment.next.get() <= needed);
                free && (too_old(segment) || too_many)
            })
            .count();
        &sealed[..count]
    }

    fn tell(
        &self,
        folder: &str,
        going: &[Retirable],
        digest: Option<String>,
        as_json: bool,
    ) -> anyhow::Result<()> {
        let bytes: u64 = going.iter().map(|segment| segment.bytes).sum();
        let begins = going.last().map(|segment| segment.next.get());
        if as_json {
            return output::json(&json!({
                "folder": folder, "dry_run": self.dry_run, "segments": going.len(),
                "bytes": bytes, "begins": begins, "baseline": digest,
            }));
        }
        let (Some(begins), Some(digest)) = (begins, digest) else {
            return output::line(&format!(
                "{folder}: nothing to retire; only sealed segments go that are older or more than \
                 asked for, and that no Server still needs"
            ));
        };
        let verb = if self.dry_run { "would go" } else { "are gone" };
        output::line(&format!(
            "{folder}: {} segments of {bytes} bytes {verb}; proof begins at position {begins}, on a \
             baseline with digest {digest}",
            going.len()
        ))
    }
}

/// The position up to which another process may still need this journal; none if nobody does.
fn needed_elsewhere(data: &Path, folder: &str, alone: &DataDir) -> anyhow::Result<Option<u64>> {
    let folders = journal_folders(data)?;
    if folder == CONTROL_JOURNAL {
        let linked = folders.iter().any(|folder| folder.starts_with(MIRRORS));
        if linked {
            return Err(Exit::new(
                Code::Refused,
                "Managers are linked here, and how far their copies of the control journal have \
                 come is known only to them: it is kept whole",
            )
            .into());
        }
        return Ok(None);
    }
    let mirror = folders
        .iter()
        .find(|folder| folder.starts_with(MIRROR_OF_SERVER));
    let Some(mirror) = mirror else {
        let linked = data.join("link.json").exists();
        return Ok(linked.then_some(0));
    };
    // The Server says in its own journal how far its mirror has come; the copy here may be
    // behind, which only keeps more.
    let files = Arc::new(RealFiles::existing(data.join(mirror)));
    let reader = Reader::open(files).map_err(|error| told(mirror, error))?;
    let mut model = retention::beginning(&reader, Lsn::new(u64::MAX))?;
    past::fold(&reader, &mut model)?;
    let managers = model.farm().managers();
    let known = managers.get(&alone.identity.manager);
    Ok(Some(known.map_or(0, |known| known.origin.next().get())))
}
