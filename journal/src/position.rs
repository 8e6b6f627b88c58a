// SPDX-License-Identifier: GPL-3.0-or-later
//! The names of places in a journal: `Lsn` (a record's position), `JournalId` and `ChainValue`.
//!
//! Arithmetic on positions happens here only, so a position can not be mixed up with a count,
//! a byte offset or a time. How positions look to the outside is not decided here.

use std::fmt;
use std::str::FromStr;

/// Position of a record in its journal. The first record is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// "Before the first record": what an empty journal has reached.
    pub const ORIGIN: Self = Self(0);
    /// The first record of a journal that was not started anew from a baseline.
    pub const FIRST: Self = Self(1);
    /// Beyond every record: an upper bound that never binds.
    pub const MAX: Self = Self(u64::MAX);

    /// The position with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The position before this one; `ORIGIN` stays `ORIGIN`.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The position `count` records later.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(
            self.0
                .checked_add(count)
                .expect("a journal cannot outlive u64 records"),
        )
    }

    /// How many records lie from `earlier` (inclusive) to here (exclusive); 0 if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Lsn {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What tells one journal from every other. Chosen by the caller when the journal is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub [u8; 16]);

/// BLAKE3 over everything a journal holds up to some batch: equal values, equal journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainValue(pub [u8; 32]);

/// The text was not the right number of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse hexadecimal digits: expected {expected_digits} of them")]
pub struct HexError {
    expected_digits: usize,
}

fn write_hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes
        .iter()
        .try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let wrong = HexError {
        expected_digits: N * 2,
    };
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong);
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(index * 2..index * 2 + 2).ok_or(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
    }
    Ok(bytes)
}

impl fmt::Display for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

impl FromStr for JournalId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        parse_hex(text).map(Self)
    }
}

impl fmt::Display for ChainValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

impl FromStr for ChainValue {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        parse_hex(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain value printed by one tool must be readable by another.
    #[test]
    fn chain_values_and_ids_parse_back_as_they_print() {
        let chain = ChainValue(std::array::from_fn(|index| (index * 7 + 3) as u8));
        assert_eq!(chain.to_string().parse(), Ok(chain));
        let id = JournalId(std::array::from_fn(|index| 255 - index as u8));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("zz".parse::<JournalId>().is_err());
    }
}
