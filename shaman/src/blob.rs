// SPDX-License-Identifier: GPL-3.0-or-later
//! What names a stored file: the checksum and the size of its contents.

use std::fmt;

use crate::Error;

/// Contents, by SHA-256 and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId {
    checksum: [u8; 32],
    size: u64,
}

impl BlobId {
    /// Of a checksum that was computed.
    pub fn new(checksum: [u8; 32], size: u64) -> Self {
        Self { checksum, size }
    }

    /// Of a checksum as clients write it: 64 hexadecimal digits, of either case.
    pub fn parse(checksum: &str, size: u64) -> Result<Self, Error> {
        let wrong = || Error::Checksum {
            given: crate::path::shortened(checksum),
        };
        let digits = checksum.as_bytes();
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = digit(pair[0]).ok_or_else(wrong)?;
            let low = digit(pair[1]).ok_or_else(wrong)?;
            *byte = high << 4 | low;
        }
        Ok(Self::new(bytes, size))
    }

    /// The checksum, in digits of lower case.
    pub fn checksum(&self) -> String {
        hexadecimal(&self.checksum)
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn has_checksum(&self, computed: &[u8]) -> bool {
        self.checksum == *computed
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.checksum(), self.size)
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
    }
    text
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checksum becomes part of a file's path: whatever is not 64 digits must be refused.
    #[test]
    fn only_sixty_four_digits_are_a_checksum() {
        let good = "35b0491c27b0333d1fb45fc0789a12ca06b1d640d2569780b807de504d7029e0";
        let id = BlobId::parse(good, 1424).expect("a checksum");
        assert_eq!(id.to_string(), format!("{good}/1424"));
        let upper = BlobId::parse(&good.to_uppercase(), 1424).expect("a checksum");
        assert_eq!(upper, id, "the case of the digits does not matter");
        let wrong = [
            String::new(),
            "a".to_owned(),
            good[..63].to_owned(),
            format!("{good}0"),
            good.replace('3', "g"),
            format!("../{}", &good[..61]),
            format!("{}\u{ff10}", &good[..61]), // a digit zero of three bytes
            format!("+{}", &good[..63]),
        ];
        for text in wrong {
            assert!(BlobId::parse(&text, 1).is_err(), "{text}");
        }
    }
}
