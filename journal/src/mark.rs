// SPDX-License-Identifier: GPL-3.0-or-later
//! The clean mark: a small file beside the segments that says how far a closed journal had got.
//!
//! It lives beside the journal and not in it, so opening and closing an idle farm adds nothing
//! to any segment. It is never removed: once the journal has grown past it, it still says what
//! was durable, and a journal that is shorter has lost something. Layout: FORMAT.md, "Clean mark".

use crate::error::{Doing, Error};
use crate::files::{Access, FileStore, read_from};
use crate::flaw::field;
use crate::position::{ChainValue, JournalId, Lsn};
use crate::segment::UNFINISHED_SUFFIX;

pub(crate) const MARK_NAME: &str = "clean.mark";
const MARK_MAGIC: [u8; 8] = *b"TABLAOCM";
const MARK_VERSION: u16 = 1;
const MARK_BYTES: usize = 96;

/// Where a journal stood when it was closed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CleanMark {
    pub(crate) id: JournalId,
    pub(crate) incarnation: u32,
    pub(crate) next: Lsn,
    pub(crate) chain: ChainValue,
}

impl CleanMark {
    fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[0..8].copy_from_slice(&MARK_MAGIC);
        bytes[8..10].copy_from_slice(&MARK_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.id.0);
        bytes[32..40].copy_from_slice(&self.next.get().to_le_bytes());
        bytes[40..72].copy_from_slice(&self.chain.0);
        let checksum = crc32c::crc32c(&bytes[..92]);
        bytes[92..96].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let valid = bytes.len() == MARK_BYTES
            && bytes[0..8] == MARK_MAGIC
            && field::u16(bytes, 8) == MARK_VERSION
            && crc32c::crc32c(&bytes[..92]) == field::u32(bytes, 92);
        valid.then(|| Self {
            id: JournalId(field::bytes(bytes, 16)),
            incarnation: field::u32(bytes, 12),
            next: Lsn::new(field::u64(bytes, 32)),
            chain: ChainValue(field::bytes(bytes, 40)),
        })
    }

    /// The folder's mark. One that is unreadable counts as absent: it is evidence, not content,
    /// and a journal without it is opened as after a crash.
    pub(crate) fn read(files: &dyn FileStore) -> Result<Option<Self>, Error> {
        let file = match files.open(MARK_NAME, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("open", MARK_NAME),
        };
        let bytes = read_from(file.as_ref(), 0).doing("read", MARK_NAME)?;
        Ok(Self::decode(&bytes))
    }

    /// Puts the mark in place of the one before.
    pub(crate) fn write(&self, files: &dyn FileStore) -> Result<(), Error> {
        write_whole(files, MARK_NAME, &self.encode())
    }
}

/// Writes a file so that after a crash it is there whole or as it was: temporary name, sync,
/// rename, sync of the folder.
pub(crate) fn write_whole(files: &dyn FileStore, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let unfinished = format!("{name}{UNFINISHED_SUFFIX}");
    match files.remove(&unfinished) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).doing("remove", &unfinished),
    }
    let file = files.create(&unfinished).doing("create", &unfinished)?;
    file.write_at(0, bytes).doing("write", &unfinished)?;
    file.sync().doing("sync", &unfinished)?;
    drop(file);
    files
        .rename(&unfinished, name)
        .doing("rename", &unfinished)?;
    files.sync_dir().doing("sync the folder of", name)
}
