// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a data directory's journals from outside, at rest or beside a live process.
//!
//! Uses the same reader and fold as the program, and counts what the journal says for itself.

#[allow(
    dead_code,
    reason = "the process tests keep their folders by other means"
)]
#[path = "../journal_reader/folder.rs"]
mod folder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tablao_core::entity::FrameKey;
use tablao_core::{Event, Recorded};
use tablao_journal::{FileStore, Lsn as JournalLsn, Reader, RealFiles, Verified};
use tablao_net::records;

/// The folders of the journals in a data directory that stands alone.
pub(crate) fn folders(data: &Path) -> [PathBuf; 2] {
    [data.join("journal/control"), data.join("journal/site")]
}

pub(crate) fn reader(folder: &Path) -> Reader {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::existing(folder));
    Reader::open(files).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// Checks every byte and every chain value of every journal, with our reader and with the
/// independent one in Python, which must come to the same chain value.
pub(crate) fn verify_all(data: &Path) -> Vec<Verified> {
    folders(data).iter().map(|folder| verify(folder)).collect()
}

/// The same for one journal.
pub(crate) fn verify(folder: &Path) -> Verified {
    // Beside a live process the journal may grow between the two; then both look again.
    super::until("both readers to see the same journal", || {
        let verified = reader(folder).verify();
        let verified = verified.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let python = folder::in_python(folder);
        let same_end = python["next"].as_u64() == Some(verified.next.get());
        if same_end {
            assert_eq!(
                python["chain"],
                verified.chain.to_string(),
                "{}",
                folder.display()
            );
            assert_eq!(python["records"], verified.records, "{}", folder.display());
        }
        same_end.then_some(verified)
    })
}

/// Every event of the site journal.
pub(crate) fn site(data: &Path) -> Vec<Recorded> {
    let reader = reader(&folders(data)[1]);
    let all = reader.records(JournalLsn::FIRST).expect("a journal");
    all.filter_map(|record| {
        let record = record.expect("a whole record");
        records::read(&record).expect("a record of this build")
    })
    .collect()
}

/// How often each frame was published.
pub(crate) fn publications(records: &[Recorded]) -> BTreeMap<FrameKey, u32> {
    let mut count = BTreeMap::new();
    for recorded in records {
        if let Event::FramePublished(facts) = &recorded.event {
            *count.entry(facts.key.clone()).or_default() += 1;
        }
    }
    count
}

/// What `tablao replay` says of a data directory at the position that a live process told.
pub(crate) fn replay_at(data: &Path, live: &serde_json::Value) -> serde_json::Value {
    let output = std::process::Command::new(super::process::TABLAO)
        .args(["replay", "--json", "--at"])
        .arg(live["position"].as_str().expect("a position"))
        .arg("--data")
        .arg(data)
        .output()
        .expect("tablao runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "replay: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
