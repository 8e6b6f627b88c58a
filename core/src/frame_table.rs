// SPDX-License-Identifier: GPL-3.0-or-later
//! Published frames, packed: a farm may hold a million of them, and twice.
//!
//! Frames of one shot, output and view lie in blocks of neighbouring numbers, as rows of fixed
//! width. Three hashes of 32 bytes are what a row cannot do without; what many rows share (job,
//! epoch, incarnation) stands once. A [`Frame`] is put together when asked for.

use std::collections::BTreeMap;

use crate::{
    AttemptId, JobId, Lsn, ShotId,
    entity::{Frame, FrameKey},
};

/// Numbers in a block: as many as a word has bits.
const WIDTH: i32 = 64;

/// Bits of [`Row::flags`].
mod flag {
    pub(super) const HAS_THUMBNAIL: u8 = 1;
    pub(super) const HAS_DETAIL: u8 = 1 << 1;
    /// Its leaf is not in the digest's sum. About the digest, not about the frame.
    pub(super) const UNSETTLED: u8 = 1 << 2;
}

/// A frame, but for its number and what it shares with others.
#[derive(Clone, Debug)]
struct Row {
    hash: [u8; 32],
    thumbnail: [u8; 32],
    detail: [u8; 32],
    size: u64,
    lsn: Lsn,
    task: u32,
    publications: u32,
    owner: u32,
    flags: u8,
}

const _: () = assert!(
    size_of::<Row>() <= 128,
    "every byte here counts millions of times"
);

/// Which job published, under which epoch and incarnation.
type Owner = (JobId, u32, u32);

/// Frames whose numbers share all but the last six bits.
#[derive(Clone, Debug)]
struct Block {
    /// Number of the block.
    at: i32,
    /// Which of its numbers there are; as many rows, in the same order.
    present: u64,
    rows: Vec<Row>,
}

/// All frames of one output and view of a shot.
#[derive(Clone, Debug)]
struct Series {
    output: Box<str>,
    view: Box<str>,
    owners: Vec<Owner>,
    /// By number; none is empty.
    blocks: Vec<Block>,
}

/// The frames of a farm, by shot, output, view and number.
#[derive(Clone, Debug, Default)]
pub struct FrameTable {
    /// By output and view.
    shots: BTreeMap<ShotId, Vec<Series>>,
    len: usize,
}

/// The block that a number belongs to, and its bit there.
fn place(number: i32) -> (i32, u32) {
    let bit = number.rem_euclid(WIDTH).cast_unsigned();
    (number.div_euclid(WIDTH), bit)
}

impl Block {
    /// Where the row of this bit is, or would be.
    fn rank(&self, bit: u32) -> Result<usize, usize> {
        let before = (self.present & ((1 << bit) - 1)).count_ones() as usize;
        if self.present >> bit & 1 == 1 {
            Ok(before)
        } else {
            Err(before)
        }
    }

    fn insert(&mut self, bit: u32, rank: usize, row: Row) {
        if self.rows.len() == self.rows.capacity() {
            // Doubled, but no further than a block is wide: a full block has no room to spare.
            let room = self.rows.len().clamp(1, WIDTH as usize / 2);
            self.rows.reserve_exact(room);
        }
        self.present |= 1 << bit;
        self.rows.insert(rank, row);
    }

    fn numbers(&self) -> impl Iterator<Item = i32> + Clone {
        let (first, mut left) = (self.at * WIDTH, self.present);
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros())?;
            left &= left - 1;
            Some(first + bit.cast_signed())
        })
    }
}

impl Series {
    fn row(&self, number: i32) -> Option<&Row> {
        let (at, bit) = place(number);
        let block = self.blocks.binary_search_by_key(&at, |block| block.at);
        let block = &self.blocks[block.ok()?];
        Some(&block.rows[block.rank(bit).ok()?])
    }

    fn row_mut(&mut self, number: i32) -> Option<&mut Row> {
        let (at, bit) = place(number);
        let block = self.blocks.binary_search_by_key(&at, |block| block.at);
        let block = &mut self.blocks[block.ok()?];
        let rank = block.rank(bit).ok()?;
        Some(&mut block.rows[rank])
    }

    /// Puts a row to a number. Gives whether there was none.
    fn put(&mut self, number: i32, row: Row) -> bool {
        let (at, bit) = place(number);
        let found = self.blocks.binary_search_by_key(&at, |block| block.at);
        let index = found.unwrap_or_else(|index| {
            let block = Block {
                at,
                present: 0,
                rows: Vec::new(),
            };
            self.blocks.insert(index, block);
            index
        });
        let block = &mut self.blocks[index];
        match block.rank(bit) {
            Ok(rank) => block.rows[rank] = row,
            Err(rank) => {
                block.insert(bit, rank, row);
                return true;
            }
        }
        false
    }

    fn remove(&mut self, number: i32) -> Option<Row> {
        let (at, bit) = place(number);
        let found = self.blocks.binary_search_by_key(&at, |block| block.at);
        let index = found.ok()?;
        let block = &mut self.blocks[index];
        let rank = block.rank(bit).ok()?;
        block.present &= !(1 << bit);
        let row = block.rows.remove(rank);
        if block.rows.is_empty() {
            self.blocks.remove(index);
        }
        Some(row)
    }

    fn owner(&mut self, owner: Owner) -> u32 {
        // The one that publishes now is nearly always the last that came.
        let known = self.owners.iter().rposition(|known| *known == owner);
        let place = known.unwrap_or_else(|| {
            self.forget_owners();
            self.owners.push(owner);
            self.owners.len() - 1
        });
        u32::try_from(place).expect("fewer owners than frames")
    }

    /// Drops owners of whom no frame is left, before the list becomes longer than what it serves.
    fn forget_owners(&mut self) {
        const FEW: usize = 8;
        let rows = || self.blocks.iter().flat_map(|block| &block.rows);
        if self.owners.len() < FEW || !self.owners.len().is_power_of_two() {
            return;
        }
        let mut place_of: BTreeMap<u32, u32> = rows().map(|row| (row.owner, 0)).collect();
        let mut kept = Vec::with_capacity(place_of.len() + 1);
        for (&old, new) in &mut place_of {
            *new = u32::try_from(kept.len()).expect("no more than there were");
            kept.push(self.owners[old as usize]);
        }
        self.owners = kept;
        for row in self.blocks.iter_mut().flat_map(|block| &mut block.rows) {
            row.owner = place_of[&row.owner];
        }
    }

    fn frame(&self, row: &Row) -> Frame {
        let (job, job_epoch, incarnation) = self.owners[row.owner as usize];
        let has = |flag: u8| row.flags & flag != 0;
        Frame {
            job,
            task: row.task,
            attempt: AttemptId {
                job_epoch,
                incarnation,
                lsn: row.lsn,
            },
            size: row.size,
            hash: row.hash,
            publications: row.publications,
            thumbnail: has(flag::HAS_THUMBNAIL).then_some(row.thumbnail),
            detail: has(flag::HAS_DETAIL).then_some(row.detail),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (i32, &Row)> {
        (self.blocks.iter()).flat_map(|block| block.numbers().zip(&block.rows))
    }
}

impl FrameTable {
    /// How many.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// None at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// There is a frame of this key.
    pub fn contains_key(&self, key: &FrameKey) -> bool {
        self.series(key)
            .is_some_and(|series| series.row(key.number).is_some())
    }

    /// The frame of a key.
    pub fn get(&self, key: &FrameKey) -> Option<Frame> {
        let series = self.series(key)?;
        series.row(key.number).map(|row| series.frame(row))
    }

    /// All of them, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (FrameKey, Frame)> {
        (self.shots.iter()).flat_map(|(&shot, all)| Self::keyed(shot, all))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = FrameKey> {
        self.iter().map(|(key, _)| key)
    }

    /// Those of one shot, in order of their keys.
    pub fn of_shot(&self, shot: ShotId) -> impl Iterator<Item = (FrameKey, Frame)> {
        (self.shots.get(&shot).into_iter()).flat_map(move |all| Self::keyed(shot, all))
    }

    fn keyed(shot: ShotId, all: &[Series]) -> impl Iterator<Item = (FrameKey, Frame)> {
        all.iter().flat_map(move |series| {
            series.iter().map(move |(number, row)| {
                let key = FrameKey {
                    shot,
                    output: series.output.to_string(),
                    view: series.view.to_string(),
                    number,
                };
                (key, series.frame(row))
            })
        })
    }

    fn series(&self, key: &FrameKey) -> Option<&Series> {
        let all = self.shots.get(&key.shot)?;
        all.iter().find(|series| series.is_of(key))
    }

    fn row_mut(&mut self, key: &FrameKey) -> Option<&mut Row> {
        let all = self.shots.get_mut(&key.shot)?;
        let series = all.iter_mut().find(|series| series.is_of(key))?;
        series.row_mut(key.number)
    }

    /// Puts a frame in the place of the one that was there, if any. Whether its leaf waits stays
    /// as it was.
    pub(crate) fn put(&mut self, key: &FrameKey, frame: &Frame) {
        let all = self.shots.entry(key.shot).or_default();
        let order = |series: &Series| {
            (&*series.output, &*series.view).cmp(&(key.output.as_str(), key.view.as_str()))
        };
        let place = all.binary_search_by(order).unwrap_or_else(|place| {
            all.reserve_exact(1);
            let series = Series {
                output: Box::from(key.output.as_str()),
                view: Box::from(key.view.as_str()),
                owners: Vec::new(),
                blocks: Vec::new(),
            };
            all.insert(place, series);
            place
        });
        let series = &mut all[place];
        let attempt = frame.attempt;
        let owner = series.owner((frame.job, attempt.job_epoch, attempt.incarnation));
        let waits = (series.row(key.number)).map_or(0, |row| row.flags & flag::UNSETTLED);
        let flag = |has: bool, flag: u8| if has { flag } else { 0 };
        let row = Row {
            hash: frame.hash,
            thumbnail: frame.thumbnail.unwrap_or_default(),
            detail: frame.detail.unwrap_or_default(),
            size: frame.size,
            lsn: attempt.lsn,
            task: frame.task,
            publications: frame.publications,
            owner,
            flags: waits
                | flag(frame.thumbnail.is_some(), flag::HAS_THUMBNAIL)
                | flag(frame.detail.is_some(), flag::HAS_DETAIL),
        };
        self.len += usize::from(series.put(key.number, row));
    }

    pub(crate) fn set_thumbnail(&mut self, key: &FrameKey, hash: [u8; 32]) {
        if let Some(row) = self.row_mut(key) {
            row.thumbnail = hash;
            row.flags |= flag::HAS_THUMBNAIL;
        }
    }

    pub(crate) fn remove(&mut self, key: &FrameKey) -> Option<Frame> {
        let all = self.shots.get_mut(&key.shot)?;
        let place = all.iter().position(|series| series.is_of(key))?;
        let row = all[place].remove(key.number)?;
        let frame = all[place].frame(&row);
        self.len -= 1;
        if all[place].blocks.is_empty() {
            all.remove(place);
            if all.is_empty() {
                self.shots.remove(&key.shot);
            }
        }
        Some(frame)
    }

    /// The frame's leaf leaves the digest's sum, or is back in it. Gives how it was.
    pub(crate) fn set_unsettled(&mut self, key: &FrameKey, unsettled: bool) -> bool {
        let Some(row) = self.row_mut(key) else {
            return false;
        };
        let before = row.flags & flag::UNSETTLED != 0;
        if unsettled {
            row.flags |= flag::UNSETTLED;
        } else {
            row.flags &= !flag::UNSETTLED;
        }
        before
    }

    pub(crate) fn is_unsettled(&self, key: &FrameKey) -> bool {
        let row = self.series(key).and_then(|series| series.row(key.number));
        row.is_some_and(|row| row.flags & flag::UNSETTLED != 0)
    }
}

impl Series {
    fn is_of(&self, key: &FrameKey) -> bool {
        // Nearly all outputs and views have no name: lengths tell before bytes do.
        self.output.len() == key.output.len()
            && self.view.len() == key.view.len()
            && (key.output.is_empty() || *self.output == *key.output)
            && (key.view.is_empty() || *self.view == *key.view)
    }
}

impl Extend<(FrameKey, Frame)> for FrameTable {
    fn extend<T: IntoIterator<Item = (FrameKey, Frame)>>(&mut self, frames: T) {
        for (key, frame) in frames {
            self.put(&key, &frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: &mut u64) -> u64 {
        *seed = (seed.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1);
        *seed >> 33
    }

    fn some_key(seed: &mut u64) -> FrameKey {
        let name = |number: u64| ["", "", "", "beauty", "left"][number as usize % 5].to_owned();
        FrameKey {
            shot: ShotId::new(uuid::Uuid::from_u128(u128::from(random(seed) % 3))),
            output: name(random(seed)),
            view: name(random(seed)),
            number: i32::try_from(random(seed) % 400).expect("small") - 200,
        }
    }

    fn some_frame(seed: &mut u64) -> Frame {
        let hash = |number: u64| [u8::try_from(number % 251).expect("below"); 32];
        let maybe = |number: u64| (!number.is_multiple_of(3)).then(|| hash(number));
        Frame {
            job: JobId::new(uuid::Uuid::from_u128(u128::from(random(seed) % 20))),
            task: u32::try_from(random(seed)).expect("31 bits"),
            attempt: AttemptId {
                job_epoch: 1,
                incarnation: u32::try_from(random(seed) % 9).expect("small"),
                lsn: Lsn::new(random(seed)),
            },
            size: random(seed),
            hash: hash(random(seed)),
            publications: u32::try_from(random(seed) % 4).expect("small"),
            thumbnail: maybe(random(seed)),
            detail: maybe(random(seed)),
        }
    }

    /// Protects every frame: packing is an economy only. Whatever is put, replaced, marked and
    /// removed, the table reads like a map from keys to frames, in the same order.
    #[test]
    fn like_a_map_of_frames() {
        let mut seed = 7;
        let mut table = FrameTable::default();
        let mut plain: BTreeMap<FrameKey, (Frame, bool)> = BTreeMap::new();
        for _ in 0..20_000 {
            let key = some_key(&mut seed);
            match random(&mut seed) % 6 {
                0 | 1 => {
                    let frame = some_frame(&mut seed);
                    table.put(&key, &frame);
                    let waits = plain.get(&key).is_some_and(|(_, waits)| *waits);
                    plain.insert(key, (frame, waits));
                }
                2 => {
                    table.set_thumbnail(&key, [9; 32]);
                    if let Some((frame, _)) = plain.get_mut(&key) {
                        frame.thumbnail = Some([9; 32]);
                    }
                }
                3 => {
                    let wanted = random(&mut seed).is_multiple_of(2);
                    let before = plain.get_mut(&key).is_some_and(|(_, waits)| {
                        let before = *waits;
                        *waits = wanted;
                        before
                    });
                    assert_eq!(table.set_unsettled(&key, wanted), before);
                }
                _ => {
                    let removed = plain.remove(&key).map(|(frame, _)| frame);
                    assert_eq!(table.remove(&key), removed);
                }
            }
            assert_eq!(table.len(), plain.len());
        }
        let all: Vec<_> = table.iter().collect();
        assert!(
            all.iter()
                .map(|(key, frame)| (key, frame))
                .eq(plain.iter().map(|(key, (frame, _))| (key, frame)))
        );
        assert!(plain.len() > 500, "the test has put something");
        for (key, (frame, waits)) in &plain {
            assert_eq!(table.get(key).as_ref(), Some(frame));
            assert_eq!(table.is_unsettled(key), *waits);
        }
        let shot = plain.keys().next().expect("there are some").shot;
        let of_shot = table.of_shot(shot).map(|(key, _)| key);
        let expected = plain.keys().filter(|key| key.shot == shot).cloned();
        assert!(of_shot.eq(expected));
    }
}
