// SPDX-License-Identifier: GPL-3.0-or-later
//! Judges the bytes of one segment: whole, torn at the tail, or damaged.
//!
//! A pure function of the bytes and of what is known to have been durable. It changes nothing;
//! `recovery` acts on its verdict and `verify` reports it. The table it implements is in
//! FORMAT.md, section "Recovery".

use crate::batch::{BATCH_MAGIC, RawBatch};
use crate::error::{Damage, Error};
use crate::flaw::Flaw;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::segment::{
    FORMAT_NEWEST, SEAL_BYTES, SEAL_MAGIC, SEGMENT_HEADER_BYTES, Seal, SegmentHeader,
};

/// The most a mirror writes between two syncs. A tear is never longer than that, so what is
/// whole further behind proves that the broken place had been synced.
pub(crate) const MIRROR_WRITE_BYTES_MAX: usize = 4 << 20;

/// What is known about a segment before it is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) name: &'a str,
    pub(crate) header: SegmentHeader,
    /// No segment follows: a tail may be torn.
    pub(crate) newest: bool,
    /// The journal was once closed in order with this as its next position and this chain value.
    pub(crate) closed_at: Option<(Lsn, ChainValue)>,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// With its last batch or seal.
    Whole,
    /// With zeros: the reserve of its writer.
    Zeros,
    /// With bytes that were never acknowledged.
    Torn(Flaw),
}

/// What a segment holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanned {
    pub(crate) next: Lsn,
    pub(crate) chain: ChainValue,
    pub(crate) incarnation: u32,
    pub(crate) time_us: u64,
    /// Byte offset after everything whole.
    pub(crate) end: u64,
    /// From this offset to `end`, nothing proves that the bytes had been synced.
    pub(crate) unproven: u64,
    pub(crate) sealed: bool,
    pub(crate) tail: Tail,
}

/// Walks a segment, calling `visit` with every whole batch and its byte offset.
pub(crate) fn scan(
    bytes: &[u8],
    expected: Expected<'_>,
    mut visit: impl FnMut(&RawBatch<'_>, u64),
) -> Result<Scanned, Error> {
    let id = expected.header.id;
    let mut found = Scanned {
        next: expected.header.first,
        chain: expected.header.chain,
        incarnation: expected.header.incarnation,
        time_us: expected.header.created_us,
        end: SEGMENT_HEADER_BYTES as u64,
        unproven: SEGMENT_HEADER_BYTES as u64,
        sealed: false,
        tail: Tail::Whole,
    };
    let mut at = SEGMENT_HEADER_BYTES;
    let mut last_batch = None;
    let flaw = loop {
        check_closed_chain(expected, &found)?;
        if at == bytes.len() {
            break None;
        }
        if let Some(seal) = Seal::decode(&bytes[at..], id) {
            check_seal(expected, &found, &seal)?;
            found.sealed = true;
            found.time_us = found.time_us.max(seal.time_us);
            at += SEAL_BYTES;
            found.end = at as u64;
            break (at < bytes.len()).then_some(Flaw::NotABatch);
        }
        let raw = match take_batch(&bytes[at..], id, &found) {
            Ok(raw) => raw,
            Err(flaw) => break Some(flaw),
        };
        visit(&raw, at as u64);
        let proves = raw.header.durable_upto == found.next.previous();
        let closed_here = expected
            .closed_at
            .is_some_and(|(next, _)| next == found.next);
        if proves || closed_here {
            found.unproven = at as u64;
        }
        last_batch = Some(raw);
        at += raw.bytes.len();
        found.next = raw.header.next();
        found.chain = raw.chain();
        found.incarnation = raw.header.incarnation;
        found.end = at as u64;
    };
    if let Some(raw) = last_batch {
        found.time_us = found.time_us.max(raw.last_time_us());
    }
    if expected.header.mirror {
        let reach = MIRROR_WRITE_BYTES_MAX as u64;
        found.unproven = (SEGMENT_HEADER_BYTES as u64).max(found.end.saturating_sub(reach));
    }
    judge(bytes, expected, &mut found, flaw)?;
    Ok(found)
}

fn take_batch<'a>(bytes: &'a [u8], id: JournalId, so_far: &Scanned) -> Result<RawBatch<'a>, Flaw> {
    let raw = RawBatch::parse(bytes, id)?;
    if raw.header.incarnation < so_far.incarnation {
        return Err(Flaw::IncarnationFell);
    }
    raw.verify(so_far.next, so_far.chain)?;
    Ok(raw)
}

fn damage(expected: Expected<'_>, found: &Scanned, what: String) -> Error {
    Error::Damage(Damage {
        segment: expected.name.to_owned(),
        offset: found.end,
        lsn: found.next,
        what,
    })
}

fn check_closed_chain(expected: Expected<'_>, found: &Scanned) -> Result<(), Error> {
    match expected.closed_at {
        Some((next, chain)) if next == found.next && chain != found.chain => Err(damage(
            expected,
            found,
            format!(
                "the journal was closed here with chain {chain}, and now it has {}",
                found.chain
            ),
        )),
        _ => Ok(()),
    }
}

fn check_seal(expected: Expected<'_>, found: &Scanned, seal: &Seal) -> Result<(), Error> {
    if seal.next == found.next && seal.chain == found.chain {
        return Ok(());
    }
    Err(damage(
        expected,
        found,
        format!("the seal continues at position {}", seal.next),
    ))
}

/// Decides what the end of the segment means.
fn judge(
    bytes: &[u8],
    expected: Expected<'_>,
    found: &mut Scanned,
    flaw: Option<Flaw>,
) -> Result<(), Error> {
    if !expected.newest && flaw.is_none() && !found.sealed {
        return Err(damage(
            expected,
            found,
            "the segment ends without its seal although another follows".to_owned(),
        ));
    }
    if let Some((next, _)) = expected.closed_at
        && next > found.next
        && expected.newest
    {
        let because = flaw.map_or(String::new(), |flaw| format!(", and {flaw}"));
        return Err(damage(
            expected,
            found,
            format!("the journal was closed in order before position {next}{because}"),
        ));
    }
    let Some(flaw) = flaw else {
        return Ok(());
    };
    let rest = &bytes[found.end as usize..];
    if flaw == Flaw::Newer {
        return Err(Error::NewerFormat {
            file: format!("{} at byte {}", expected.name, found.end),
            found: FORMAT_NEWEST + 1,
            known: FORMAT_NEWEST,
        });
    }
    if !expected.newest || never_by_a_tear(flaw) || (found.sealed && !all_zero(rest)) {
        return Err(damage(expected, found, flaw.to_string()));
    }
    // What a recovery finds nearly always, and looks through fastest.
    if all_zero(rest) {
        found.tail = Tail::Zeros;
        return Ok(());
    }
    if let Some(proof) = proof_of_durability(rest, expected.header, found.next) {
        return Err(damage(expected, found, format!("{flaw}, and {proof}")));
    }
    found.tail = Tail::Torn(flaw);
    Ok(())
}

fn all_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(64)
        .all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Flaws under a right checksum: whoever wrote that meant it.
pub(crate) fn never_by_a_tear(flaw: Flaw) -> bool {
    match flaw {
        Flaw::LengthImpossible | Flaw::Records | Flaw::IncarnationFell => true,
        Flaw::HeaderCutShort
        | Flaw::NotABatch
        | Flaw::HeaderChecksum
        | Flaw::PastTheEnd
        | Flaw::BodyChecksum
        | Flaw::OutOfSequence
        | Flaw::Chain
        | Flaw::Newer => false,
    }
}

/// Looks behind a broken place for something that was only written after it had been synced.
pub(crate) fn proof_of_durability(
    rest: &[u8],
    header: SegmentHeader,
    broken: Lsn,
) -> Option<String> {
    let mut at = 0;
    while let Some(found) = find_structure(&rest[at..]) {
        at += found;
        let bytes = &rest[at..];
        if let Some(seal) = Seal::decode(bytes, header.id)
            && seal.next > broken
        {
            return Some("a seal follows it".to_owned());
        }
        if let Ok(raw) = RawBatch::parse(bytes, header.id) {
            let first = raw.header.first;
            let later_write = header.mirror && at >= MIRROR_WRITE_BYTES_MAX && first > broken;
            let knew_it_durable = !header.mirror && raw.header.durable_upto >= broken;
            if later_write || knew_it_durable {
                return Some(format!(
                    "the whole batch at position {first} was written after that had been synced"
                ));
            }
            if first < broken {
                return Some(format!("an older batch, of position {first}, follows it"));
            }
        }
        at += 1;
    }
    None
}

/// Offset of the next magic of a batch or a seal.
pub(crate) fn find_structure(bytes: &[u8]) -> Option<usize> {
    const { assert!(BATCH_MAGIC[0] == SEAL_MAGIC[0]) }
    memchr::memchr_iter(BATCH_MAGIC[0], bytes)
        .find(|&at| bytes[at..].starts_with(&BATCH_MAGIC) || bytes[at..].starts_with(&SEAL_MAGIC))
}
