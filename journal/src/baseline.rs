// SPDX-License-Identifier: GPL-3.0-or-later
//! Baselines: what the retired beginning of a journal came to, in a file beside its segments.
//!
//! The state is the caller's, opaque here. What the journal vouches for is that it is the state
//! which somebody made of exactly this history: identity, position and chain value stand beside
//! its hash. Which segments go, and when, is `retire`. Layout: FORMAT.md, "Baseline".

use crate::error::{Damage, Doing, Error};
use crate::files::{Access, FileStore, read_from};
use crate::flaw::field;
use crate::mark::write_whole;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::reader::Reader;
use crate::segment::segment_name;

const MAGIC: [u8; 8] = *b"TABLAOBL";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 128;
const PREFIX: &str = "baseline-";
const SUFFIX: &str = ".state";

/// A state in place of the records before a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Of which journal.
    pub journal_id: JournalId,
    /// The incarnation of the last record that it covers.
    pub incarnation: u32,
    /// The first position that it does not cover.
    pub next: Lsn,
    /// Time of the last record that it covers.
    pub time_us: u64,
    /// The chain value before `next`.
    pub chain: ChainValue,
    /// Which shape the state has, in the caller's numbering.
    pub state_version: u32,
    /// What the caller made of the records before `next`.
    pub state: Vec<u8>,
}

impl Baseline {
    /// BLAKE3 of the state.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.state).as_bytes()
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.state.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        bytes.extend_from_slice(&self.journal_id.0);
        bytes.extend_from_slice(&self.next.get().to_le_bytes());
        bytes.extend_from_slice(&self.time_us.to_le_bytes());
        bytes.extend_from_slice(&self.chain.0);
        bytes.extend_from_slice(&(self.state.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.state_version.to_le_bytes());
        bytes.extend_from_slice(&self.digest());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&self.state);
        bytes
    }

    /// Reads what `encode` made, and believes none of it that its checksums do not prove.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let wrong = |offset: usize, what: &str| {
            Error::Damage(Damage {
                segment: name.to_owned(),
                offset: offset as u64,
                lsn: baseline_next(name).unwrap_or_default(),
                what: what.to_owned(),
            })
        };
        if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
            return Err(wrong(0, "it is not a baseline"));
        }
        if crc32c::crc32c(&bytes[..HEADER_BYTES - 4]) != field::u32(bytes, HEADER_BYTES - 4) {
            return Err(wrong(0, "the baseline's header has a wrong checksum"));
        }
        let version = field::u16(bytes, 8);
        if version != VERSION {
            return Err(Error::NewerFormat {
                file: name.to_owned(),
                found: version,
                known: VERSION,
            });
        }
        let state = &bytes[HEADER_BYTES..];
        let baseline = Self {
            incarnation: field::u32(bytes, 12),
            journal_id: JournalId(field::bytes(bytes, 16)),
            next: Lsn::new(field::u64(bytes, 32)),
            time_us: field::u64(bytes, 40),
            chain: ChainValue(field::bytes(bytes, 48)),
            state_version: field::u32(bytes, 88),
            state: state.to_vec(),
        };
        let hash: [u8; 32] = field::bytes(bytes, 92);
        if state.len() as u64 != field::u64(bytes, 80) || baseline.digest() != hash {
            return Err(wrong(
                HEADER_BYTES,
                "the baseline's state is not what was saved",
            ));
        }
        Ok(baseline)
    }

    /// Puts the baseline beside the segments, durable, and reads it back.
    pub fn write(&self, files: &dyn FileStore) -> Result<(), Error> {
        let name = baseline_name(self.next);
        write_whole(files, &name, &self.encode())?;
        if Self::read(files, self.next)? == *self {
            return Ok(());
        }
        Err(Error::Damage(Damage {
            segment: name,
            offset: 0,
            lsn: self.next,
            what: "the baseline reads back as another one".to_owned(),
        }))
    }

    /// It has to be of this journal, and of the history that this journal goes on from.
    pub(crate) fn check(&self, reader: &Reader) -> Result<(), Error> {
        if self.journal_id != reader.journal_id() {
            return Err(Error::WrongJournal {
                expected: reader.journal_id(),
                found: self.journal_id,
            });
        }
        match reader.chain_before(self.next)? {
            Some(ours) if ours == self.chain => Ok(()),
            ours => Err(Error::Damage(Damage {
                segment: baseline_name(self.next),
                offset: 48,
                lsn: self.next,
                what: match ours {
                    Some(_) => "the baseline is of another history than the segments".to_owned(),
                    None => "no batch begins where the baseline ends".to_owned(),
                },
            })),
        }
    }

    /// Reads the baseline that covers everything before `next`.
    pub(crate) fn read(files: &dyn FileStore, next: Lsn) -> Result<Self, Error> {
        let name = baseline_name(next);
        let file = files.open(&name, Access::Read).doing("open", &name)?;
        let bytes = read_from(file.as_ref(), 0).doing("read", &name)?;
        let baseline = Self::decode(&bytes, &name)?;
        if baseline.next == next {
            return Ok(baseline);
        }
        Err(Error::Damage(Damage {
            segment: name,
            offset: 32,
            lsn: next,
            what: format!("the baseline is that of position {}", baseline.next),
        }))
    }
}

/// The name of the file whose state covers everything before `next`.
pub(crate) fn baseline_name(next: Lsn) -> String {
    let segment = segment_name(next);
    let number = segment.strip_suffix(".seg").unwrap_or(&segment);
    format!("{PREFIX}{number}{SUFFIX}")
}

fn baseline_next(name: &str) -> Option<Lsn> {
    let number = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    number.parse().ok().map(Lsn::new)
}

/// What the baselines of a folder cover up to, ascending.
pub(crate) fn list_baselines(files: &dyn FileStore) -> Result<Vec<Lsn>, Error> {
    let names = files.list().doing("list", "the journal folder")?;
    let mut found: Vec<Lsn> = names
        .iter()
        .filter_map(|name| baseline_next(name))
        .collect();
    found.sort_unstable();
    Ok(found)
}
