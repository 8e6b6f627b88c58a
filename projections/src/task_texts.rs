// SPDX-License-Identifier: GPL-3.0-or-later
//! Names and commands of tasks, packed: what a million tasks say fits in little memory.
//!
//! The command lists of a job differ in a frame number, so a block of tasks shrinks to a tenth.
//! Blocks are packed once, when their tasks are added, and never change; a reader unpacks the
//! block it needs, and the last few unpacked blocks are kept, because workers that ask one after
//! the other are given neighbouring tasks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tablao_core::{
    codec::{from_bytes, to_bytes},
    detail::TasksDetail,
};

use crate::Error;

/// Tasks in a block: unpacking one takes some ten microseconds, and the part of a block that
/// compresses badly (its first task) is shared by enough others.
const BLOCK_TASKS: usize = 64;

/// Unpacked blocks kept: a few megabytes, more blocks than jobs are usually rendered at once.
const KEPT_BLOCKS: usize = 64;

/// The packed texts of tasks that were added together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedTexts {
    blocks: Box<[Box<[u8]>]>,
}

impl PackedTexts {
    /// Packs a chunk's texts.
    pub(crate) fn pack(detail: &TasksDetail) -> Self {
        let blocks = (0..detail.names.len())
            .step_by(BLOCK_TASKS)
            .map(|first| {
                let end = detail.names.len().min(first + BLOCK_TASKS);
                let bytes = to_bytes(&part(detail, first, end));
                lz4_flex::compress_prepend_size(&bytes).into_boxed_slice()
            })
            .collect();
        Self { blocks }
    }

    fn unpack(&self, block: usize) -> Option<TasksDetail> {
        let bytes = self.blocks.get(block)?;
        // Packed by us, or read from a checkpoint whose hash is right: never malformed.
        let bytes = lz4_flex::decompress_size_prepended(bytes).ok()?;
        from_bytes(&bytes).ok()
    }

    /// As one run of bytes: the blocks' lengths, then the blocks.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let lengths: Vec<u32> = (self.blocks.iter())
            .map(|block| u32::try_from(block.len()).expect("a block is some kilobytes"))
            .collect();
        let head = to_bytes(&lengths);
        let size = self.blocks.iter().map(|block| block.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(4 + head.len() + size);
        let head_length = u32::try_from(head.len()).expect("a chunk has some hundred blocks");
        bytes.extend_from_slice(&head_length.to_le_bytes());
        bytes.extend_from_slice(&head);
        self.blocks
            .iter()
            .for_each(|block| bytes.extend_from_slice(block));
        bytes
    }

    /// Out of such a run.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        const BROKEN: Error = Error::Inconsistent("a chunk's texts are cut short");
        let (head_length, rest) = bytes.split_first_chunk::<4>().ok_or(BROKEN)?;
        let head_length = u32::from_le_bytes(*head_length) as usize;
        let (head, mut rest) = rest.split_at_checked(head_length).ok_or(BROKEN)?;
        let lengths: Vec<u32> = from_bytes(head)?;
        let mut blocks = Vec::with_capacity(lengths.len());
        for length in lengths {
            let (block, after) = rest.split_at_checked(length as usize).ok_or(BROKEN)?;
            blocks.push(Box::from(block));
            rest = after;
        }
        Ok(Self {
            blocks: blocks.into(),
        })
    }
}

/// The texts of some tasks of a chunk, with the command lists that they name.
fn part(detail: &TasksDetail, first: usize, end: usize) -> TasksDetail {
    let mut part = TasksDetail {
        names: detail.names[first..end].to_vec(),
        ..TasksDetail::default()
    };
    let mut taken: Vec<u32> = Vec::new();
    for &list in detail.commands_of.get(first..end).unwrap_or_default() {
        let known = taken.iter().rposition(|&known| known == list);
        let place = known.unwrap_or_else(|| {
            let text = detail.command_lists.get(list as usize);
            part.command_lists.push(text.cloned().unwrap_or_default());
            taken.push(list);
            taken.len() - 1
        });
        let place = u32::try_from(place).expect("a block has as many lists as tasks at most");
        part.commands_of.push(place);
    }
    part
}

/// The blocks that were unpacked last.
#[derive(Debug, Default)]
pub(crate) struct TextCache {
    kept: Mutex<VecDeque<Kept>>,
}

/// An unpacked block. It holds on to what it was unpacked from, so that nothing else can be there.
#[derive(Debug)]
struct Kept {
    packed: Arc<PackedTexts>,
    block: usize,
    detail: Arc<TasksDetail>,
}

/// A copy of a model begins with nothing unpacked.
impl Clone for TextCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl TextCache {
    /// The texts of the task at this place of a chunk.
    pub(crate) fn texts(&self, packed: &Arc<PackedTexts>, at: usize) -> TaskTexts {
        let (block, within) = (at / BLOCK_TASKS, at % BLOCK_TASKS);
        let known = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter()
                .find(|kept| kept.block == block && Arc::ptr_eq(&kept.packed, packed))
                .map(|kept| Arc::clone(&kept.detail))
        };
        let detail = known.unwrap_or_else(|| {
            let detail = Arc::new(packed.unpack(block).unwrap_or_default());
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT_BLOCKS {
                kept.pop_front();
            }
            kept.push_back(Kept {
                packed: Arc::clone(packed),
                block,
                detail: Arc::clone(&detail),
            });
            detail
        });
        TaskTexts { detail, within }
    }
}

/// Name and commands of a task.
#[derive(Clone, Debug, Default)]
pub struct TaskTexts {
    detail: Arc<TasksDetail>,
    within: usize,
}

impl TaskTexts {
    /// Its name; empty if it was erased.
    pub fn name(&self) -> &str {
        self.detail
            .names
            .get(self.within)
            .map_or("", String::as_str)
    }

    /// Its commands, as JSON text of a list.
    pub fn commands(&self) -> &str {
        let list = self.detail.commands_of.get(self.within);
        list.and_then(|&list| self.detail.command_lists.get(list as usize))
            .map_or("[]", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Packing is an economy only: every task reads as it was written, whatever lists it
        /// shares with which others, before and after a way through bytes.
        #[test]
        fn tasks_read_as_written(
            lists in prop::collection::vec("[a-z]{0,30}", 1..20),
            tasks in prop::collection::vec(("[a-z0-9]{0,12}", any::<prop::sample::Index>()), 0..300),
        ) {
            let detail = TasksDetail {
                names: tasks.iter().map(|(name, _)| name.clone()).collect(),
                commands_of: tasks.iter().map(|(_, list)| list.index(lists.len()) as u32).collect(),
                command_lists: lists,
            };
            let packed = PackedTexts::pack(&detail);
            let again = PackedTexts::from_bytes(&packed.to_bytes()).expect("its own bytes");
            prop_assert_eq!(&packed, &again);
            let (packed, cache) = (Arc::new(again), TextCache::default());
            for (at, name) in detail.names.iter().enumerate() {
                let texts = cache.texts(&packed, at);
                prop_assert_eq!(texts.name(), name);
                let list = detail.commands_of[at] as usize;
                prop_assert_eq!(texts.commands(), &detail.command_lists[list]);
            }
            // A place that was never written, as after an erasure.
            let none = cache.texts(&packed, detail.names.len() + 64);
            prop_assert_eq!(none.commands(), "[]");
        }
    }
}
