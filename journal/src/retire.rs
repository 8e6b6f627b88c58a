// SPDX-License-Identifier: GPL-3.0-or-later
//! Retires the oldest segments of a journal at rest, once a baseline stands in for them.
//!
//! The order is the safety: the baseline is durable, read back and found to be of this very
//! history before the first segment goes; segments go from the oldest on, each durably before the
//! next, so a crash leaves a journal that begins later and a baseline that fits it. Where they go
//! (nowhere, or into an archive) is the caller's choice; which state the baseline holds, too.

use std::sync::Arc;

use crate::baseline::{Baseline, baseline_name, list_baselines};
use crate::error::{Doing, Error};
use crate::files::{Access, FileStore, read_from};
use crate::folder::linked_segments;
use crate::mark::write_whole;
use crate::position::{ChainValue, Lsn};
use crate::reader::Reader;
use crate::segment::segment_name;

/// A sealed segment, and how the journal stands where it ends: what can be retired up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirable {
    /// Position of its first record.
    pub first: Lsn,
    /// Position of the first record after it.
    pub next: Lsn,
    /// Time of its last record.
    pub time_us: u64,
    /// The chain value after it.
    pub chain: ChainValue,
    /// The incarnation that the segment after it was begun in.
    pub incarnation: u32,
    /// Its size as it lies there.
    pub bytes: u64,
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// How many segments.
    pub segments: usize,
    /// Their size.
    pub bytes: u64,
}

/// The sealed segments of a folder, oldest first.
pub fn retirable(files: &dyn FileStore) -> Result<Vec<Retirable>, Error> {
    let mut found = Vec::new();
    for pair in linked_segments(files)?.windows(2) {
        let file = files
            .open(&pair[0].name, Access::Read)
            .doing("open", &pair[0].name)?;
        found.push(Retirable {
            first: pair[0].header.first,
            next: pair[1].header.first,
            // A segment's header says when the record before it was.
            time_us: pair[1].header.created_us,
            chain: pair[1].header.chain,
            incarnation: pair[1].header.incarnation,
            bytes: file.len().doing("measure", &pair[0].name)?,
        });
    }
    Ok(found)
}

/// Removes every segment that the baseline for `next` covers, and older baselines. With an
/// archive each is copied there first, durably, and read back. Nobody may have the journal open.
pub fn retire_before(
    files: &Arc<dyn FileStore>,
    next: Lsn,
    archive: Option<&dyn FileStore>,
) -> Result<Retired, Error> {
    let baseline = Baseline::read(files.as_ref(), next)?;
    let reader = Reader::open(Arc::clone(files))?;
    baseline.check(&reader)?;
    let mut done = Retired::default();
    for segment in retirable(files.as_ref())? {
        if segment.next > next {
            break;
        }
        let name = segment_name(segment.first);
        if let Some(archive) = archive {
            keep(files.as_ref(), archive, &name)?;
        }
        files.remove(&name).doing("remove", &name)?;
        files.sync_dir().doing("sync the folder of", &name)?;
        done.segments += 1;
        done.bytes += segment.bytes;
    }
    for older in list_baselines(files.as_ref())? {
        if older < next {
            let name = baseline_name(older);
            files.remove(&name).doing("remove", &name)?;
        }
    }
    files.sync_dir().doing("sync", "the journal folder")?;
    Ok(done)
}

/// Copies a segment into the archive, unless it is there already.
fn keep(files: &dyn FileStore, archive: &dyn FileStore, name: &str) -> Result<(), Error> {
    let read = |files: &dyn FileStore| {
        let file = files.open(name, Access::Read).doing("open", name)?;
        read_from(file.as_ref(), 0).doing("read", name)
    };
    let bytes = read(files)?;
    write_whole(archive, name, &bytes)?;
    if read(archive)? == bytes {
        return Ok(());
    }
    Err(Error::Io {
        doing: "read back",
        file: name.to_owned(),
        source: std::io::Error::other("the archive gives back other bytes than it was given"),
    })
}
