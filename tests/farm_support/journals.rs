// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads a data directory's journals from outside, at rest or beside a live process.
//!
//! Uses the same reader and fold as the program, and counts what the journal says for itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tablao_core::entity::FrameKey;
use tablao_core::{Digest, Event, Lsn, Recorded};
use tablao_journal::{FileStore, Lsn as JournalLsn, Reader, RealFiles, Verified};
use tablao_net::{engine, records};
use tablao_projections::ReadModel;

/// The folders of the journals in a data directory that stands alone.
pub(crate) fn folders(data: &Path) -> [PathBuf; 2] {
    [data.join("journal/control"), data.join("journal/site")]
}

pub(crate) fn reader(folder: &Path) -> Reader {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::existing(folder));
    Reader::open(files).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// Checks every byte and every chain value of every journal.
pub(crate) fn verify_all(data: &Path) -> Vec<Verified> {
    folders(data)
        .iter()
        .map(|folder| {
            let verified = reader(folder).verify();
            verified.unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        })
        .collect()
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

/// The site journal folded from its beginning.
pub(crate) fn fold(data: &Path) -> ReadModel {
    let mut model = ReadModel::new();
    engine::fold(&reader(&folders(data)[1]), &mut model, None).expect("a journal that folds");
    model
}

/// Where the site journal stands and what the farm is there.
pub(crate) fn site_digest(data: &Path) -> (Lsn, Digest) {
    let model = fold(data);
    (model.farm().position(), model.farm().digest())
}
