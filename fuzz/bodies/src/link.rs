// SPDX-License-Identifier: GPL-3.0-or-later
//! What a Manager takes from its Server, and a Server from its Managers: batches for a mirror, the
//! events in their records, greetings, and submissions that come as blobs.
//!
//! The other side is known by its key, but it may be of another build, damaged, or taken over.

use std::sync::Arc;

use tablao_core::{codec, request::NewJob};
use tablao_journal::{
    Authority, Draft, Journal, JournalId, Lsn, MemoryFiles, Mirror, MirrorOptions, OpenOptions,
    Reader, RecordDraft,
};
use tablao_net::{
    link::{Hello, LinkFile, Pushed, Welcome, parse_hex_id},
    records,
};

use crate::take::Take;

const ID: JournalId = JournalId([9; 16]);
const RECORDS_MAX: usize = 32;

/// Feeds one of the ways in.
pub fn link(data: &[u8]) {
    let mut take = Take(data);
    match take.byte() % 4 {
        0 => pushed_bytes(take.0),
        1 => pushed_records(&mut take),
        2 => greetings(take.0),
        _ => submission(take.0),
    }
}

/// A body of a push as it comes, and the same behind sound batches.
fn pushed_bytes(data: &[u8]) {
    let (mut mirror, _) = mirror();
    let _ = mirror.append(data);
    let mut raw = journal_of(vec![vec![record(1, 1, b"x", None)]]);
    raw.extend_from_slice(data);
    let (mut mirror, files) = self::mirror();
    // What comes before the damage may have been taken; what was taken is whole.
    let _ = mirror.append(&raw);
    let position = mirror.position();
    drop(mirror);
    if let Ok(reader) = Reader::open(Arc::new(files)) {
        let count = reader.records(Lsn::new(1)).map_or(0, |records| {
            records.fold(0_u64, |count, record| {
                record.expect("a mirror's record is whole");
                count + 1
            })
        });
        assert_eq!(count + 1, position.get(), "a mirror holds what it says");
    }
}

/// Sound batches of records whose kinds and bodies are the input's.
fn pushed_records(take: &mut Take<'_>) {
    let mut decisions = Vec::new();
    while !take.is_empty() && decisions.len() < RECORDS_MAX {
        let (kind, version) = (take.two(), take.byte());
        let length = usize::from(take.byte());
        let facts = take.bytes(length);
        let length = usize::from(take.byte());
        let detail = (length > 0).then(|| take.bytes(length - 1));
        // Most numbers are kinds that nobody knows; small ones are tried more often.
        let kind = if kind & 0x4000 == 0 {
            kind & 0x80ff
        } else {
            kind
        };
        decisions.push(vec![record(kind, version, facts, detail)]);
    }
    let raw = journal_of(decisions);
    let (mut mirror, files) = mirror();
    mirror
        .append(&raw)
        .expect("sound batches are taken, whatever their records say");
    let reader = Reader::open(Arc::new(files)).expect("a mirror can be read");
    for record in reader.records(Lsn::new(1)).expect("it begins at 1") {
        let record = record.expect("a mirror's record is whole");
        let Ok(Some(read)) = records::read(&record) else {
            continue;
        };
        // What this build understands, it writes as it stands: the chain covers these bytes.
        let (facts, detail, _) = codec::encode(&read.event, &read.detail);
        if facts == record.facts {
            let again = tablao_core::Event::decode_facts(record.kind, record.version, &facts);
            assert_eq!(again.ok().as_ref(), Some(&read.event), "facts read back");
        }
        drop(detail);
    }
}

/// Greetings and their answers.
fn greetings(data: &[u8]) {
    let _ = serde_json::from_slice::<Pushed>(data);
    let _ = serde_json::from_slice::<LinkFile>(data);
    if let Ok(hello) = serde_json::from_slice::<Hello>(data) {
        let _ = parse_hex_id(&hello.site_journal);
    }
    if let Ok(welcome) = serde_json::from_slice::<Welcome>(data) {
        let _ = parse_hex_id(&welcome.control_journal);
        let _ = parse_hex_id(&welcome.site_chain);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse_hex_id(text);
    }
}

/// A placed job's submission, as it comes as a blob.
fn submission(data: &[u8]) {
    let Ok(job) = codec::from_bytes::<NewJob>(data) else {
        return;
    };
    let sound = job.chunk.detail.commands_of.len() == job.chunk.tasks.len()
        && job.chunk.detail.names.len() == job.chunk.tasks.len();
    let count = job.chunk.tasks.len();
    let pieces = tablao_net::submission::split(job.chunk);
    if sound {
        let cut: usize = pieces.iter().map(|piece| piece.tasks.len()).sum();
        assert_eq!(cut, count, "no task is lost where a chunk is cut");
    }
}

fn record(kind: u16, version: u8, facts: &[u8], detail: Option<&[u8]>) -> RecordDraft {
    RecordDraft {
        kind,
        version,
        authority: Authority::Site,
        decision_offset: 0,
        facts: facts.to_vec(),
        detail: detail.map(<[u8]>::to_vec),
    }
}

/// The raw batches of a journal with these decisions.
fn journal_of(decisions: Vec<Vec<RecordDraft>>) -> Vec<u8> {
    let files = MemoryFiles::new();
    let opened = Journal::open(Arc::new(files.clone()), &OpenOptions::new(ID, 1));
    let mut journal = opened.expect("memory is there").journal;
    for records in decisions {
        let draft = Draft {
            time_us: 5,
            records,
        };
        let next = journal.next_lsn();
        journal.commit(next, &[&draft]).expect("memory takes it");
    }
    let next = journal.next_lsn();
    if next == Lsn::new(1) {
        return Vec::new();
    }
    let reader = Reader::open(Arc::new(files)).expect("what was written can be read");
    let raw = reader.read_raw(Lsn::new(1), next, usize::MAX);
    raw.expect("what was written can be read").bytes
}

fn mirror() -> (Mirror, MemoryFiles) {
    let files = MemoryFiles::new();
    let opened = Mirror::open(Arc::new(files.clone()), &MirrorOptions::new(ID, 1));
    (opened.expect("memory is there").0, files)
}
