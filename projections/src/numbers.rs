// SPDX-License-Identifier: GPL-3.0-or-later
//! Numbers in few bytes: seven bits a byte, the least first, and differences of either sign.
//!
//! Rows that a farm holds by the million are written with these, in memory and, as they are, in
//! checkpoints.

use tablao_core::Timestamp;

/// Writes a number.
pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits")]
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than eight bits are left"
    )]
    bytes.push(number as u8);
}

/// Writes how far a number is from another.
pub(crate) fn put_from(bytes: &mut Vec<u8>, number: u64, from: u64) {
    let far = number.wrapping_sub(from).cast_signed();
    put(bytes, ((far << 1) ^ (far >> 63)).cast_unsigned());
}

/// Writes bytes with their length.
pub(crate) fn put_bytes(bytes: &mut Vec<u8>, piece: &[u8]) {
    put(bytes, piece.len() as u64);
    bytes.extend_from_slice(piece);
}

/// Reads what was written. Only bytes that this module wrote are read: where they end, numbers
/// are 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers<'a>(pub(crate) &'a [u8]);

impl<'a> Numbers<'a> {
    pub(crate) fn next(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        while let Some((&byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 || shift > 63 {
                break;
            }
        }
        number
    }

    pub(crate) fn next_from(&mut self, from: u64) -> u64 {
        let number = self.next();
        let far = (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
        from.wrapping_add(far.cast_unsigned())
    }

    pub(crate) fn next_time(&mut self, from: Timestamp) -> Timestamp {
        Timestamp::from_micros(self.next_from(from.micros()))
    }

    pub(crate) fn next_small(&mut self) -> u32 {
        u32::try_from(self.next()).unwrap_or(u32::MAX)
    }

    pub(crate) fn next_bytes(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.next()).unwrap_or(usize::MAX);
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }
}

/// Room for what comes next, an eighth more than there is: bytes that grow row by row do not
/// take twice what they hold.
pub(crate) fn make_room(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more.max(bytes.len() / 8));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is written is read again, one after the other, and nothing is left over.
        #[test]
        fn read_as_written(
            values in prop::collection::vec((any::<u64>(), any::<u64>(), "[a-z]{0,200}"), 0..20)
        ) {
            let mut bytes = Vec::new();
            for (number, from, text) in &values {
                put(&mut bytes, number >> (from % 64));
                put_from(&mut bytes, *number, *from);
                make_room(&mut bytes, text.len() + 2);
                put_bytes(&mut bytes, text.as_bytes());
            }
            let mut numbers = Numbers(&bytes);
            for (number, from, text) in &values {
                prop_assert_eq!(numbers.next(), number >> (from % 64));
                prop_assert_eq!(numbers.next_from(*from), *number);
                prop_assert_eq!(numbers.next_bytes(), text.as_bytes());
            }
            prop_assert!(numbers.0.is_empty());
        }
    }
}
