// SPDX-License-Identifier: GPL-3.0-or-later
//! A read model as one piece of bytes, for a journal's baseline: what stands in for the records
//! of a beginning that was retired.
//!
//! The same rows as a checkpoint's. A checkpoint may be deleted and this may not, so nothing here
//! deletes or heals: what cannot be read is an error, and so is another version of the rows.

use crate::{Error, ReadModel, rows::VERSION};

/// A block of rows is compressed when it has become this large.
const BLOCK_BYTES: usize = 1 << 20;

impl ReadModel {
    /// Everything as bytes, and the version of their shape.
    pub fn to_baseline(&self) -> (u32, Vec<u8>) {
        let (mut state, mut block) = (Vec::new(), Vec::new());
        for (key, value) in self.to_rows() {
            put(&mut block, &key);
            put(&mut block, &value);
            if block.len() >= BLOCK_BYTES {
                put(&mut state, &lz4_flex::compress_prepend_size(&block));
                block.clear();
            }
        }
        put(&mut state, &lz4_flex::compress_prepend_size(&block));
        (VERSION, state)
    }

    /// Puts a model together from such bytes.
    pub fn from_baseline(version: u32, state: &[u8]) -> Result<Self, Error> {
        if version != VERSION {
            return Err(Error::OtherRows {
                found: version,
                known: VERSION,
            });
        }
        let mut rows = Vec::new();
        let mut state = state;
        while !state.is_empty() {
            let packed = take(&mut state)?;
            let block = lz4_flex::decompress_size_prepended(packed)
                .map_err(|_| Error::Inconsistent("a block of rows does not unpack"))?;
            let mut block = block.as_slice();
            while !block.is_empty() {
                let key = take(&mut block)?.to_vec();
                rows.push((key, take(&mut block)?.to_vec()));
            }
        }
        Self::from_rows(rows)
    }
}

fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a row or block has less than 4 GiB");
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(bytes);
}

fn take<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let cut = || Error::Inconsistent("the rows are cut short");
    let (length, rest) = from.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (bytes, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    *from = rest;
    Ok(bytes)
}
