// SPDX-License-Identifier: GPL-3.0-or-later
//! Pack files: the bytes of checkpoints, in pieces that several checkpoints share.
//!
//! Rows in the order of their keys are cut into pieces, at places that depend on the keys alone,
//! so that a change of one row changes one piece. A checkpoint is a list of pieces; those that an
//! earlier one has written are named, not written again. A piece is known by the BLAKE3 of its
//! rows and is never decoded before that was checked. Which checkpoints there are is in sled
//! (`store.rs`); sled itself took seconds for a farm of a million tasks in values of its own.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tablao_core::rows::{PREFIX_END, Row};

use crate::Error;

/// A piece ends at the first key that is a milestone after this many bytes ...
const PIECE_BYTES_MIN: usize = 48 << 10;
/// ... and here in any case, save a row that is larger by itself.
const PIECE_BYTES_MAX: usize = 512 << 10;

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Number of the pack file.
    pub(crate) pack: u64,
    pub(crate) offset: u64,
    /// Bytes in the file.
    pub(crate) stored: u32,
    /// Bytes of rows; the same as `stored` where packing would not have made them fewer.
    pub(crate) raw: u32,
}

/// A piece of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// BLAKE3 of its rows.
    pub(crate) hash: [u8; 32],
    pub(crate) place: Place,
    /// Its rows are the farm's, not the words'.
    pub(crate) facts: bool,
}

/// Rows on their way to a piece.
#[derive(Debug)]
pub(crate) struct RawPiece {
    pub(crate) facts: bool,
    pub(crate) rows: Vec<u8>,
}

/// Cuts rows, which come in a fixed order, into pieces.
pub(crate) fn cut(rows: impl Iterator<Item = Row>) -> Vec<RawPiece> {
    let mut pieces: Vec<RawPiece> = Vec::new();
    let mut open: Option<RawPiece> = None;
    for (key, value) in rows {
        let facts = key.first().is_some_and(|&kind| kind < PREFIX_END);
        let size = key.len() + value.len() + 8;
        let ends = open.as_ref().is_some_and(|piece| {
            piece.facts != facts
                || piece.rows.len() + size > PIECE_BYTES_MAX
                || (piece.rows.len() >= PIECE_BYTES_MIN && is_milestone(&key))
        });
        if ends {
            pieces.extend(open.take());
        }
        let piece = open.get_or_insert_with(|| RawPiece {
            facts,
            rows: Vec::new(),
        });
        for part in [&key, &value] {
            let length = u32::try_from(part.len()).expect("a row is a few megabytes at most");
            piece.rows.extend_from_slice(&length.to_le_bytes());
            piece.rows.extend_from_slice(part);
        }
    }
    pieces.extend(open);
    pieces
}

/// One key in four: pieces keep their ends when rows come and go elsewhere.
fn is_milestone(key: &[u8]) -> bool {
    let mixed = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (mixed >> 32) % 4 == 0
}

/// The rows of a piece, whose hash was checked.
pub(crate) struct Rows<'a>(pub(crate) &'a [u8]);

impl<'a> Rows<'a> {
    fn part(&mut self) -> Result<&'a [u8], Error> {
        const SHORT: Error = Error::Inconsistent("a piece is cut short");
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(SHORT)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (part, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(part)
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let row = self.part().and_then(|key| Ok((key, self.part()?)));
        if row.is_err() {
            self.0 = &[];
        }
        Some(row)
    }
}

/// The folder of the pack files.
#[derive(Clone, Debug)]
pub(crate) struct Packs {
    folder: PathBuf,
}

impl Packs {
    pub(crate) fn in_store(store: &Path) -> Self {
        Self {
            folder: store.join("packs"),
        }
    }

    fn path(&self, pack: u64) -> PathBuf {
        self.folder.join(format!("{pack:020}.pack"))
    }

    /// Numbers of the pack files that are there.
    fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_suffix(".pack")?.parse().ok())
            .collect()
    }

    /// A number that no pack has.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers().into_iter().max().map_or(1, |pack| pack + 1)
    }

    /// Deletes the packs that nobody needs. One that cannot be deleted is tried again later.
    pub(crate) fn sweep(&self, needed: impl Fn(u64) -> bool) {
        for pack in self.numbers().into_iter().filter(|&pack| !needed(pack)) {
            let _ = fs::remove_file(self.path(pack));
        }
    }

    /// Opens packs for reading; whoever holds them can read them even when they are swept.
    pub(crate) fn open(&self, packs: impl IntoIterator<Item = u64>) -> Result<OpenPacks, Error> {
        let files = packs
            .into_iter()
            .map(|pack| {
                let path = self.path(pack);
                let file = File::open(&path).map_err(|source| Error::Files { path, source })?;
                Ok((pack, file))
            })
            .collect::<Result<_, Error>>()?;
        Ok(OpenPacks { files })
    }

    /// Begins a pack file.
    pub(crate) fn create(&self, pack: u64) -> Result<PackWriter, Error> {
        let path = self.path(pack);
        let created = fs::create_dir_all(&self.folder).and_then(|()| File::create_new(&path));
        match created {
            Ok(file) => Ok(PackWriter {
                pack,
                path,
                file,
                length: 0,
            }),
            Err(source) => Err(Error::Files { path, source }),
        }
    }

    /// Makes the names of finished packs durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        #[cfg(unix)]
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| Error::Files {
                path: self.folder.clone(),
                source,
            })?;
        Ok(())
    }
}

/// A pack being written.
pub(crate) struct PackWriter {
    pack: u64,
    path: PathBuf,
    file: File,
    length: u64,
}

impl PackWriter {
    /// Adds a piece's rows.
    pub(crate) fn add(&mut self, rows: &[u8]) -> Result<Place, Error> {
        let packed = lz4_flex::compress(rows);
        if packed.len() < rows.len() {
            self.add_stored(&packed, rows.len())
        } else {
            self.add_stored(rows, rows.len())
        }
    }

    /// Adds bytes as another pack has them.
    pub(crate) fn add_stored(&mut self, bytes: &[u8], raw: usize) -> Result<Place, Error> {
        let files = |source| Error::Files {
            path: self.path.clone(),
            source,
        };
        self.file.write_all(bytes).map_err(files)?;
        let length = |bytes| u32::try_from(bytes).expect("a piece is a few megabytes at most");
        let place = Place {
            pack: self.pack,
            offset: self.length,
            stored: length(bytes.len()),
            raw: length(raw),
        };
        self.length += bytes.len() as u64;
        Ok(place)
    }

    /// Makes it durable; returns its size.
    pub(crate) fn finish(self) -> Result<u64, Error> {
        self.file.sync_all().map_err(|source| Error::Files {
            path: self.path,
            source,
        })?;
        Ok(self.length)
    }
}

/// Pack files that are open for reading.
#[derive(Debug)]
pub(crate) struct OpenPacks {
    files: BTreeMap<u64, File>,
}

impl OpenPacks {
    /// The bytes at a place as they are stored.
    pub(crate) fn stored(&mut self, place: Place) -> Result<Vec<u8>, Error> {
        const MISSING: Error = Error::Inconsistent("a pack of its is missing");
        let file = self.files.get_mut(&place.pack).ok_or(MISSING)?;
        let mut bytes = Vec::with_capacity(place.stored as usize);
        let read = file
            .seek(SeekFrom::Start(place.offset))
            .and_then(|_| file.take(u64::from(place.stored)).read_to_end(&mut bytes));
        match read {
            Ok(count) if count == place.stored as usize => Ok(bytes),
            Ok(_) => Err(Error::Inconsistent("a pack is cut short")),
            Err(source) => Err(Error::Files {
                path: PathBuf::from(format!("{:020}.pack", place.pack)),
                source,
            }),
        }
    }

    /// The rows of a piece, bit for bit those that were written, or an error.
    pub(crate) fn rows(&mut self, place: Place, hash: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let stored = self.stored(place)?;
        let raw = place.raw as usize;
        let rows = if stored.len() == raw {
            stored
        } else {
            lz4_flex::decompress(&stored, raw)
                .map_err(|_| Error::Inconsistent("a piece cannot be unpacked"))?
        };
        if blake3::hash(&rows) == *hash {
            Ok(rows)
        } else {
            Err(Error::Inconsistent(
                "a piece is not the one that was written",
            ))
        }
    }
}

/// Where the pieces of earlier checkpoints lie, by hash.
pub(crate) type Held = HashMap<[u8; 32], Place>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(seed: u64, count: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        (0..count as u64)
            .map(|number| {
                let hash = blake3::hash(&[seed.to_le_bytes(), number.to_le_bytes()].concat());
                let bytes = hash.as_bytes();
                let key = vec![
                    bytes[0] / 2 + if number % 2 == 0 { 0 } else { 128 },
                    bytes[1],
                    bytes[2],
                ];
                (key, bytes.repeat(1 + bytes[3] as usize * 4))
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Rows come back as they went in, facts apart from words, and one changed row changes
        /// one piece: otherwise each checkpoint would write the whole farm again.
        #[test]
        fn a_change_of_one_row_changes_one_piece(seed: u64, changed: prop::sample::Index) {
            let mut rows = rows(seed, 400);
            let before = cut(rows.clone().into_iter());
            let mut back = Vec::new();
            for piece in &before {
                for row in Rows(&piece.rows) {
                    let (key, value) = row.expect("it was just cut");
                    prop_assert_eq!(key[0] < PREFIX_END, piece.facts);
                    back.push((key.to_vec(), value.to_vec()));
                }
            }
            prop_assert!(back.into_iter().eq(rows.clone()));
            let key = rows.keys().nth(changed.index(rows.len())).expect("it has rows").clone();
            rows.entry(key).and_modify(|value| value[0] ^= 1);
            let after = cut(rows.into_iter());
            prop_assert!(before.len() > 4, "{} pieces", before.len());
            let new = after.iter().filter(|piece| !before.iter().any(|old| old.rows == piece.rows));
            prop_assert_eq!(new.count(), 1);
        }
    }
}
