// SPDX-License-Identifier: GPL-3.0-or-later
//! The journals of a data directory, for the tools that read them: which there are, and opening
//! them read-only, at rest or beside the process that writes them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use tablao_journal::{Error, Reader, RealFiles, Verified};
use tablao_net::data_dir::{CONTROL_JOURNAL, MIRRORS, SITE_JOURNAL};

use crate::exit::{Code, Exit};

/// Whose journal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The Server's part.
    Control,
    /// The Manager's own.
    Site,
    /// A copy of a linked Manager's.
    Mirror {
        /// The Manager's id, as its folder is named.
        manager: String,
    },
}

/// One journal's folder.
pub(crate) struct JournalFolder {
    pub(crate) role: Role,
    pub(crate) folder: PathBuf,
}

impl JournalFolder {
    /// `control`, `site`, `mirror <manager>`.
    pub(crate) fn name(&self) -> String {
        match &self.role {
            Role::Mirror { manager } => format!("mirror {manager}"),
            Role::Control | Role::Site => self.role_name().to_owned(),
        }
    }

    /// The role in one word.
    pub(crate) fn role_name(&self) -> &'static str {
        match &self.role {
            Role::Control => "control",
            Role::Site => "site",
            Role::Mirror { .. } => "mirror",
        }
    }

    /// Opens it for reading.
    pub(crate) fn reader(&self) -> anyhow::Result<Reader> {
        let files = Arc::new(RealFiles::existing(&self.folder));
        Reader::open(files).map_err(|error| self.explain(error))
    }

    /// Checks every byte.
    pub(crate) fn verify(&self) -> anyhow::Result<Verified> {
        let reader = self.reader()?;
        reader.verify().map_err(|error| self.explain(error))
    }

    /// Looks at the newest segment whole. Whoever only reads records stops where they stop making
    /// sense and cannot tell a write that was cut off from damage; this can.
    pub(crate) fn check_end(&self, reader: &Reader) -> anyhow::Result<()> {
        match reader.info() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Puts the journal's name to an error of it; damage ends with its own code.
    pub(crate) fn explain(&self, error: Error) -> anyhow::Error {
        match error {
            Error::Damage(damage) => Exit::new(
                Code::Damage,
                format!(
                    "the {} journal is damaged: segment {}, byte offset {}, position {}: {}. \
                     Nothing was changed; restore that segment from a copy or a mirror",
                    self.name(),
                    self.folder.join(&damage.segment).display(),
                    damage.offset,
                    damage.lsn,
                    damage.what
                ),
            )
            .into(),
            other => anyhow::Error::new(other).context(format!(
                "read the {} journal in {}",
                self.name(),
                self.folder.display()
            )),
        }
    }
}

/// All journals of a data directory: control, site, mirrors.
pub(crate) fn find(data: &Path) -> anyhow::Result<Vec<JournalFolder>> {
    let mut found = Vec::new();
    for (role, part) in [(Role::Control, CONTROL_JOURNAL), (Role::Site, SITE_JOURNAL)] {
        let folder = data.join(part);
        if has_segments(&folder) {
            found.push(JournalFolder { role, folder });
        }
    }
    let mirrors = data.join(MIRRORS);
    if mirrors.is_dir() {
        let entries = std::fs::read_dir(&mirrors)
            .with_context(|| format!("list the mirrors in {}", mirrors.display()))?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        for folder in folders.into_iter().filter(|folder| has_segments(folder)) {
            let manager = folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let role = Role::Mirror { manager };
            found.push(JournalFolder { role, folder });
        }
    }
    if found.is_empty() {
        return Err(Exit::new(
            Code::Usage,
            format!(
                "{} holds no journal; name the data directory of a Server or Manager with --data",
                data.display()
            ),
        )
        .into());
    }
    Ok(found)
}

fn has_segments(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "seg")
            })
        })
    })
}
