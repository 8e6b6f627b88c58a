// SPDX-License-Identifier: GPL-3.0-or-later
//! What is said about frames, packed: blocks of neighbouring numbers as rows of some twenty
//! bytes, with everything that many frames share named by a small number.
//!
//! A row is its length, then numbers as near to the block's own as they are. One that changes is
//! written anew in its place. Facts that the farm holds are not here.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tablao_core::{Lsn, Timestamp, WorkerId, detail::FrameDetail, entity::FrameKey};

use crate::{
    Error,
    frames::FrameRow,
    interned::Interned,
    numbers::{Numbers, make_room, put, put_bytes, put_from},
    patterns::Pattern,
};

/// Numbers in a block. Finding one of them passes the rows before it.
const WIDTH: i32 = 64;

/// Bits of a row's marks.
mod mark {
    pub(super) const FOUND: u64 = 1;
    pub(super) const SAMPLES: u64 = 1 << 1;
    pub(super) const PEAK_MEMORY: u64 = 1 << 2;
    pub(super) const THUMBNAIL: u64 = 1 << 3;
    pub(super) const BITS: u32 = 4;
}

/// A frame's words, with numbers in place of what it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its number, from the first of its block.
    offset: u8,
    names: u32,
    worker: u32,
    texts: u32,
    pub(crate) thumbnail: Option<u32>,
    pub(crate) rendered_at: Timestamp,
    pub(crate) render_ms: u32,
    pub(crate) samples: Option<u32>,
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) flags: u16,
    pub(crate) found: bool,
    pub(crate) published: Timestamp,
    pub(crate) position: Lsn,
}

impl Held {
    /// The frame's number in this block.
    pub(crate) fn number(&self, block: i32) -> i32 {
        block * WIDTH + i32::from(self.offset)
    }
}

/// The details of frames that differ in their number only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Texts {
    name: Pattern,
    path: Pattern,
    thumbnail: Pattern,
    blender_version: Box<str>,
    blend_hash: Option<[u8; 32]>,
}

/// What frames share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// Output and view.
    names: Interned<(String, String)>,
    workers: Interned<WorkerId>,
    texts: Interned<Texts>,
    thumbnails: Interned<Pattern>,
}

impl Shared {
    pub(crate) fn hold(&mut self, row: &FrameRow) -> Held {
        let (key, detail) = (&row.key, &row.detail);
        let pattern = |text: &str| Pattern::of(text, key.number);
        Held {
            offset: u8::try_from(key.number.rem_euclid(WIDTH)).expect("below the width"),
            names: self.names.take((key.output.clone(), key.view.clone())),
            worker: self.workers.take(row.worker),
            texts: self.texts.take(Texts {
                name: pattern(&detail.name),
                path: pattern(&detail.path),
                thumbnail: pattern(&detail.thumbnail),
                blender_version: Box::from(detail.blender_version.as_str()),
                blend_hash: detail.blend_hash,
            }),
            thumbnail: (row.thumbnail.as_ref()).map(|file| self.hold_thumbnail(file, key.number)),
            rendered_at: row.rendered_at,
            render_ms: row.render_ms,
            samples: row.samples,
            peak_memory_bytes: row.peak_memory_bytes,
            flags: row.flags,
            found: row.found,
            published: row.published,
            position: row.position,
        }
    }

    pub(crate) fn let_go(&mut self, held: &Held) {
        self.names.let_go(held.names);
        self.workers.let_go(held.worker);
        self.texts.let_go(held.texts);
        self.let_go_thumbnail(held.thumbnail);
    }

    pub(crate) fn hold_thumbnail(&mut self, file: &str, number: i32) -> u32 {
        self.thumbnails.take(Pattern::of(file, number))
    }

    pub(crate) fn let_go_thumbnail(&mut self, thumbnail: Option<u32>) {
        if let Some(thumbnail) = thumbnail {
            self.thumbnails.let_go(thumbnail);
        }
    }

    /// Output and view.
    pub(crate) fn names(&self, held: &Held) -> (&str, &str) {
        let names = self.names.get(held.names);
        names.map_or(("", ""), |(output, view)| (output, view))
    }

    pub(crate) fn worker(&self, held: &Held) -> Option<WorkerId> {
        self.workers.get(held.worker).copied()
    }

    pub(crate) fn detail(&self, held: &Held, number: i32) -> FrameDetail {
        let Some(texts) = self.texts.get(held.texts) else {
            return FrameDetail::default();
        };
        FrameDetail {
            name: texts.name.fill(number),
            path: texts.path.fill(number),
            thumbnail: texts.thumbnail.fill(number),
            blender_version: texts.blender_version.to_string(),
            blend_hash: texts.blend_hash,
        }
    }

    pub(crate) fn thumbnail(&self, held: &Held, number: i32) -> Option<String> {
        let pattern = self.thumbnails.get(held.thumbnail?)?;
        Some(pattern.fill(number))
    }
}

/// Rows of frames whose numbers are near each other, by number, output and view.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// What its rows' moments and positions are told from.
    time: Timestamp,
    position: Lsn,
    /// Position of the frame that was published last.
    newest: Lsn,
    rows: Vec<u8>,
}

impl Block {
    /// Number of the block that a frame belongs to.
    pub(crate) const fn of(number: i32) -> i32 {
        number.div_euclid(WIDTH)
    }

    /// An empty block that this frame is to be put into.
    pub(crate) const fn new(first: &Held) -> Self {
        Self {
            time: first.published,
            position: first.position,
            newest: first.position,
            rows: Vec::new(),
        }
    }

    pub(crate) const fn newest(&self) -> Lsn {
        self.newest
    }

    /// As a row of a checkpoint: as it lies in memory.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(30 + self.rows.len());
        put(&mut bytes, self.time.micros());
        put(&mut bytes, self.position.get());
        put(&mut bytes, self.newest.get());
        bytes.extend_from_slice(&self.rows);
        bytes
    }

    /// Out of such a row.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut numbers = Numbers(bytes);
        let block = Self {
            time: Timestamp::from_micros(numbers.next()),
            position: Lsn::new(numbers.next()),
            newest: Lsn::new(numbers.next()),
            rows: numbers.0.to_vec(),
        };
        if block.rows.is_empty() {
            return Err(Error::Inconsistent("a block of frames is empty"));
        }
        Ok(block)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Held> + '_ {
        let mut rows = Numbers(&self.rows);
        std::iter::from_fn(move || {
            (!rows.0.is_empty()).then(|| self.read(Numbers(rows.next_bytes())))
        })
    }

    pub(crate) fn get(&self, shared: &Shared, key: &FrameKey) -> Option<Held> {
        let offset = u8::try_from(key.number.rem_euclid(WIDTH)).ok()?;
        let names = (key.output.as_str(), key.view.as_str());
        let range = self.find(shared, offset, names).ok()?;
        let row = Numbers(&self.rows[range]).next_bytes();
        Some(self.read(Numbers(row)))
    }

    /// Puts a row in its place. Gives the one that was there.
    pub(crate) fn put(&mut self, shared: &Shared, held: &Held) -> Option<Held> {
        let mut row = Vec::with_capacity(64);
        self.write(held, &mut row);
        let mut whole = Vec::with_capacity(64);
        put_bytes(&mut whole, &row);
        let (range, former) = match self.find(shared, held.offset, shared.names(held)) {
            Ok(range) => {
                let row = Numbers(&self.rows[range.clone()]).next_bytes();
                (range, Some(self.read(Numbers(row))))
            }
            Err(at) => (at..at, None),
        };
        make_room(&mut self.rows, whole.len());
        self.rows.splice(range, whole);
        let was_newest = former.is_some_and(|former| former.position == self.newest);
        self.newest = if was_newest && held.position < self.newest {
            let positions = self.iter().map(|held| held.position);
            positions.max().unwrap_or(held.position)
        } else {
            self.newest.max(held.position)
        };
        former
    }

    /// The bytes of the row of this number and these names, or where it would be.
    fn find(
        &self,
        shared: &Shared,
        offset: u8,
        names: (&str, &str),
    ) -> Result<Range<usize>, usize> {
        let mut rows = Numbers(&self.rows);
        while !rows.0.is_empty() {
            let start = self.rows.len() - rows.0.len();
            let row = rows.next_bytes();
            let order = row
                .first()
                .copied()
                .unwrap_or_default()
                .cmp(&offset)
                .then_with(|| shared.names(&self.read(Numbers(row))).cmp(&names));
            match order {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(start..self.rows.len() - rows.0.len()),
                std::cmp::Ordering::Greater => return Err(start),
            }
        }
        Err(self.rows.len())
    }

    fn write(&self, held: &Held, row: &mut Vec<u8>) {
        row.push(held.offset);
        let mark = |has: bool, mark: u64| if has { mark } else { 0 };
        let marks = mark(held.found, mark::FOUND)
            | mark(held.samples.is_some(), mark::SAMPLES)
            | mark(held.peak_memory_bytes.is_some(), mark::PEAK_MEMORY)
            | mark(held.thumbnail.is_some(), mark::THUMBNAIL);
        put(row, marks | u64::from(held.flags) << mark::BITS);
        for number in [held.names, held.worker, held.texts, held.render_ms] {
            put(row, number.into());
        }
        let present = [
            held.samples.map(u64::from),
            held.peak_memory_bytes,
            held.thumbnail.map(u64::from),
        ];
        present
            .into_iter()
            .flatten()
            .for_each(|number| put(row, number));
        put_from(row, held.published.micros(), self.time.micros());
        put_from(row, held.rendered_at.micros(), held.published.micros());
        put_from(row, held.position.get(), self.position.get());
    }

    fn read(&self, mut row: Numbers<'_>) -> Held {
        let (offset, rest) = row.0.split_first().unwrap_or((&0, &[]));
        row = Numbers(rest);
        let marks = row.next();
        let has = |mark: u64| marks & mark != 0;
        let [names, worker, texts, render_ms] = std::array::from_fn(|_| row.next_small());
        let samples = has(mark::SAMPLES).then(|| row.next_small());
        let peak_memory_bytes = has(mark::PEAK_MEMORY).then(|| row.next());
        let thumbnail = has(mark::THUMBNAIL).then(|| row.next_small());
        let published = row.next_time(self.time);
        Held {
            offset: *offset,
            names,
            worker,
            texts,
            thumbnail,
            render_ms,
            samples,
            peak_memory_bytes,
            flags: u16::try_from(marks >> mark::BITS).unwrap_or_default(),
            found: has(mark::FOUND),
            rendered_at: row.next_time(published),
            published,
            position: Lsn::new(row.next_from(self.position.get())),
        }
    }
}
