// SPDX-License-Identifier: GPL-3.0-or-later
//! Brings a folder back into the state "everything in it is durable and whole", or refuses.
//!
//! The verdict is `scan`'s; this file acts on it: it cuts a torn tail off after keeping its bytes
//! aside, syncs what a killed process had written but not synced, and never touches damage.

use std::sync::Arc;

use crate::batch::genesis_chain;
use crate::error::{Damage, Doing, Error};
use crate::files::{Access, FileStore, StoreFile, read_from};
use crate::flaw::Flaw;
use crate::folder::{Segment, linked_segments, open_segment};
use crate::journal::OpenOptions;
use crate::mark::{CleanMark, write_whole};
use crate::position::{ChainValue, JournalId, Lsn};
use crate::scan::{Expected, Scanned, Tail, scan};
use crate::segment::{
    FORMAT_VERSION, SEGMENT_HEADER_BYTES, SegmentHeader, UNFINISHED_SUFFIX, segment_name,
};
use crate::segment_writer::{Head, SegmentWriter};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Bytes after the last durable record that were cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment they were in.
    pub segment: String,
    /// Where they began.
    pub offset: u64,
    /// How many there were.
    pub bytes: u64,
    /// The position that the first of them would have had.
    pub lsn: Lsn,
    /// The file beside the segments that now has them.
    pub kept_in: Option<String>,
    /// What was wrong with them.
    pub what: String,
}

/// What opening a journal found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Which journal it is.
    pub journal_id: JournalId,
    /// The incarnation it now runs in.
    pub incarnation: u32,
    /// The newest format version in the folder.
    pub format: u16,
    /// True if there was nothing and a journal was begun.
    pub created: bool,
    /// The oldest position that is still here.
    pub oldest: Lsn,
    /// Where the next record goes.
    pub next_lsn: Lsn,
    /// The chain value before it.
    pub chain: ChainValue,
    /// Time of the last record: a clock that shows less is raised to it.
    pub last_time_us: u64,
    /// True if the journal was closed in order at exactly this position, or is new.
    pub clean: bool,
    /// What was cut off, if anything.
    pub torn: Option<TornTail>,
    /// How many segments there are.
    pub segments: usize,
}

/// Opens or begins a journal for appending.
pub(crate) fn recover(
    files: Arc<dyn FileStore>,
    options: &OpenOptions,
    mirror: bool,
) -> Result<(SegmentWriter, RecoveryReport), Error> {
    let segments = linked_segments(files.as_ref())?;
    let mark = CleanMark::read(files.as_ref())?;
    let Some(newest) = segments.last().cloned() else {
        return begin(files, options, mark, mirror);
    };
    let id = newest.header.id;
    if let Some(expected) = options.expect_journal_id
        && expected != id
    {
        return Err(Error::WrongJournal {
            expected,
            found: id,
        });
    }
    // A mark of another journal was left by a careless copy; it says nothing about this one.
    let mark = mark.filter(|mark| mark.id == id);
    let closed_at = mark.map(|mark| (mark.next, mark.chain));
    if options.verify_everything {
        for segment in &segments[..segments.len() - 1] {
            scan_segment(files.as_ref(), segment, false, closed_at)?;
        }
    }
    let (scanned, file) = scan_segment(files.as_ref(), &newest, true, closed_at)?;
    check_incarnation(options, mirror, scanned.incarnation)?;
    remove_unfinished(files.as_ref())?;
    let clean = scanned.tail == Tail::Whole && closed_at == Some((scanned.next, scanned.chain));
    let torn = put_in_order(files.as_ref(), file.as_ref(), &newest, &scanned, clean)?;
    let head = Head {
        next: scanned.next,
        chain: scanned.chain,
        incarnation: scanned.incarnation,
        time_us: scanned.time_us,
    };
    let mut writer = resume(files, file, &newest, &scanned, head, options)?;
    let incarnation = match options.incarnation {
        Some(asked) if !mirror => asked,
        _ => scanned.incarnation,
    };
    writer.take_over(incarnation, mirror)?;
    let report = RecoveryReport {
        journal_id: id,
        incarnation,
        format: FORMAT_VERSION,
        created: false,
        oldest: segments[0].header.first,
        next_lsn: scanned.next,
        chain: scanned.chain,
        last_time_us: scanned.time_us,
        clean,
        torn,
        segments: segments.len(),
    };
    Ok((writer, report))
}

fn check_incarnation(options: &OpenOptions, mirror: bool, found: u32) -> Result<(), Error> {
    match options.incarnation {
        Some(asked) if asked < found && !mirror => Err(Error::IncarnationTooLow { asked, found }),
        _ => Ok(()),
    }
}

fn begin(
    files: Arc<dyn FileStore>,
    options: &OpenOptions,
    mark: Option<CleanMark>,
    mirror: bool,
) -> Result<(SegmentWriter, RecoveryReport), Error> {
    let id = options
        .expect_journal_id
        .unwrap_or(options.journal_id_if_new);
    let (first, chain) = options.start.unwrap_or((Lsn::FIRST, genesis_chain(id)));
    if let Some(mark) = mark.filter(|mark| mark.next > Lsn::FIRST) {
        return Err(Error::Damage(Damage {
            segment: segment_name(Lsn::FIRST),
            offset: 0,
            lsn: Lsn::FIRST,
            what: format!(
                "there is no segment left, and journal {} was closed in order before position {}",
                mark.id, mark.next
            ),
        }));
    }
    remove_unfinished(files.as_ref())?;
    let incarnation = options.incarnation.unwrap_or(1);
    let head = Head {
        next: first,
        chain,
        incarnation,
        time_us: options.now_us,
    };
    let header = SegmentHeader {
        id,
        incarnation,
        first,
        chain,
        created_us: options.now_us,
        mirror,
    };
    let writer = SegmentWriter::begin(files, header, head, options.segment_bytes)?;
    let report = RecoveryReport {
        journal_id: id,
        incarnation,
        format: FORMAT_VERSION,
        created: true,
        oldest: first,
        next_lsn: first,
        chain,
        last_time_us: options.now_us,
        clean: true,
        torn: None,
        segments: 1,
    };
    Ok((writer, report))
}

fn scan_segment(
    files: &dyn FileStore,
    segment: &Segment,
    newest: bool,
    closed_at: Option<(Lsn, ChainValue)>,
) -> Result<(Scanned, Box<dyn StoreFile>), Error> {
    let access = if newest { Access::Write } else { Access::Read };
    let (_, file) = open_segment(files, segment.header.first, access)?;
    let bytes = read_from(file.as_ref(), 0).doing("read", &segment.name)?;
    let expected = Expected {
        name: &segment.name,
        header: segment.header,
        newest,
        closed_at,
    };
    Ok((scan(&bytes, expected, |_, _| {})?, file))
}

/// Files that a crash left unfinished under a temporary name hold nothing anybody was told of.
fn remove_unfinished(files: &dyn FileStore) -> Result<(), Error> {
    for name in files.list().doing("list", "the journal folder")? {
        if name.ends_with(UNFINISHED_SUFFIX) {
            files.remove(&name).doing("remove", &name)?;
        }
    }
    Ok(())
}

/// Makes the newest segment end with its last whole batch, and that batch durable.
fn put_in_order(
    files: &dyn FileStore,
    file: &dyn StoreFile,
    segment: &Segment,
    scanned: &Scanned,
    clean: bool,
) -> Result<Option<TornTail>, Error> {
    let name = &segment.name;
    if clean {
        return Ok(None);
    }
    let torn = match scanned.tail {
        Tail::Whole => None,
        // The reserve of a writer that was not closed.
        Tail::Zeros => {
            file.set_len(scanned.end).doing("cut", name)?;
            None
        }
        Tail::Torn(flaw) => Some(cut(files, file, segment, scanned, flaw)?),
    };
    // A killed process may have left batches that it never synced. They are whole, so they are
    // kept, and from here on they count as durable. They are written once more because a sync
    // that failed in that process may have left pages the kernel believes to be clean.
    let mut bytes = read_from(file, scanned.unproven).doing("read", name)?;
    bytes.truncate(usize::try_from(scanned.end - scanned.unproven).unwrap_or(usize::MAX));
    if !bytes.is_empty() {
        file.write_at(scanned.unproven, &bytes)
            .doing("write", name)?;
    }
    file.sync().doing("sync", name)?;
    Ok(torn)
}

fn cut(
    files: &dyn FileStore,
    file: &dyn StoreFile,
    segment: &Segment,
    scanned: &Scanned,
    flaw: Flaw,
) -> Result<TornTail, Error> {
    let mut bytes = read_from(file, scanned.end).doing("read", &segment.name)?;
    // More zeros than a torn batch may well end with are the reserve.
    let written = bytes.iter().rposition(|&byte| byte != 0);
    let written = written.map_or(0, |last| last + 1);
    if bytes.len() - written >= SECTOR_BYTES {
        bytes.truncate(written);
    }
    let kept_in = keep(files, segment, scanned, &bytes)?;
    file.set_len(scanned.end).doing("cut", &segment.name)?;
    file.sync().doing("sync", &segment.name)?;
    let torn = TornTail {
        segment: segment.name.clone(),
        offset: scanned.end,
        bytes: bytes.len() as u64,
        lsn: scanned.next,
        kept_in: Some(kept_in),
        what: flaw.to_string(),
    };
    tracing::warn!(
        segment = %torn.segment,
        offset = torn.offset,
        bytes = torn.bytes,
        position = %torn.lsn,
        kept_in = torn.kept_in.as_deref().unwrap_or("nothing"),
        "cut off a torn tail: {}",
        torn.what
    );
    Ok(torn)
}

/// Puts cut bytes into a file of their own, durable before the cut.
fn keep(
    files: &dyn FileStore,
    segment: &Segment,
    scanned: &Scanned,
    bytes: &[u8],
) -> Result<String, Error> {
    let taken = files.list().doing("list", "the journal folder")?;
    let name = (0_u32..)
        .map(|number| {
            format!(
                "torn-{:020}-{}-{number}.bytes",
                segment.header.first.get(),
                scanned.end
            )
        })
        .find(|name| !taken.contains(name))
        .expect("a folder has fewer than 2^32 files of one name");
    write_whole(files, &name, bytes)?;
    Ok(name)
}

/// Continues the newest segment, or the one after it if it was sealed just before a crash.
fn resume(
    files: Arc<dyn FileStore>,
    file: Box<dyn StoreFile>,
    newest: &Segment,
    scanned: &Scanned,
    head: Head,
    options: &OpenOptions,
) -> Result<SegmentWriter, Error> {
    if !scanned.sealed {
        return Ok(SegmentWriter::resume(
            files,
            file,
            newest.header,
            scanned.end.max(SEGMENT_HEADER_BYTES as u64),
            head,
            options.segment_bytes,
        ));
    }
    let header = SegmentHeader {
        incarnation: head.incarnation,
        first: head.next,
        chain: head.chain,
        created_us: head.time_us,
        ..newest.header
    };
    SegmentWriter::begin(files, header, head, options.segment_bytes)
}
