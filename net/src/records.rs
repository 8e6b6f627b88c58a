// SPDX-License-Identifier: GPL-3.0-or-later
//! Between events and journal records: the one place where core and journal meet.
//!
//! Going down, a decision and its events become one draft. Coming up, a record becomes a
//! [`Recorded`], or the reason why this build cannot fold it.

use tablao_core::{Detail, Event, Lsn, Recorded, Timestamp, codec};
use tablao_journal::{Authority, Draft, KIND_MAY_BE_SKIPPED, Record, RecordDraft};

/// Why a record cannot be folded.
#[derive(Debug, thiserror::Error)]
#[error("fold the record at position {lsn}")]
pub struct Error {
    /// The record.
    pub lsn: u64,
    /// What is wrong with it.
    #[source]
    pub source: codec::Error,
}

/// A decision's draft, and the same events as every fold receives them.
pub struct Drafted {
    /// For the journal.
    pub draft: Draft,
    /// For the folds.
    pub records: Vec<Recorded>,
    /// Size of the bodies, in bytes.
    pub bytes: usize,
}

/// Puts a decision's record and its events into one draft that begins at `first`.
pub fn draft(
    events: Vec<(Event, Detail)>,
    first: Lsn,
    at: Timestamp,
    authority: Authority,
) -> Drafted {
    let mut drafts = Vec::with_capacity(events.len());
    let mut records = Vec::with_capacity(events.len());
    let mut bytes = 0;
    for (offset, (event, detail)) in events.into_iter().enumerate() {
        let (facts, detail_bytes, detail_hash) = codec::encode(&event, &detail);
        let kind = event.kind();
        bytes += facts.len() + detail_bytes.as_ref().map_or(0, Vec::len);
        drafts.push(RecordDraft {
            kind: kind.number,
            version: kind.version,
            authority,
            // A decision of more events than this offset can count stays linked to its first ones.
            decision_offset: u16::try_from(offset).unwrap_or(u16::MAX),
            facts,
            detail: detail_bytes,
        });
        records.push(Recorded {
            lsn: first.plus(offset as u64),
            at,
            event,
            detail,
            detail_hash,
        });
    }
    Drafted {
        draft: Draft {
            time_us: at.micros(),
            records: drafts,
        },
        records,
        bytes,
    }
}

/// Reads a record. `None`: of a kind that a build which does not know it may skip.
pub fn read(record: &Record) -> Result<Option<Recorded>, Error> {
    let Some(mut recorded) = read_facts(record)? else {
        return Ok(None);
    };
    if let Some(bytes) = &record.detail {
        recorded.detail = codec::decode_detail(record.kind, bytes).map_err(|source| Error {
            lsn: record.lsn.get(),
            source,
        })?;
    }
    Ok(Some(recorded))
}

/// The same without the details, of which a fold of facts alone needs no more than their hash.
pub fn read_facts(record: &Record) -> Result<Option<Recorded>, Error> {
    let event = match Event::decode_facts(record.kind, record.version, &record.facts) {
        Ok(event) => event,
        Err(codec::Error::UnknownKind { .. }) if record.kind & KIND_MAY_BE_SKIPPED != 0 => {
            return Ok(None);
        }
        Err(source) => {
            let lsn = record.lsn.get();
            return Err(Error { lsn, source });
        }
    };
    Ok(Some(Recorded {
        lsn: Lsn::new(record.lsn.get()),
        at: Timestamp::from_micros(record.time_us),
        event,
        detail: Detail::None,
        detail_hash: record.detail_hash,
    }))
}
