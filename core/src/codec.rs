// SPDX-License-Identifier: GPL-3.0-or-later
//! How facts and details become bytes: bincode 2, standard configuration, behind this one module.
//!
//! The bytes are ours by document and pinned by golden files; nothing else calls bincode.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Request,
    detail::Detail,
    kind::{DetailShape, Event, kind_of},
};

/// Why bytes are not an event of this build.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kind of a later build.
    #[error("read a record of unknown kind {kind}: upgrade to the build that wrote it")]
    UnknownKind {
        /// The kind's number.
        kind: u16,
    },
    /// A shape of a later build.
    #[error("read version {version} of kind {kind}: upgrade to the build that wrote it")]
    UnknownVersion {
        /// The kind's number.
        kind: u16,
        /// The version met.
        version: u8,
    },
    /// The bytes do not have the shape.
    #[error("decode a record's body")]
    Malformed(#[source] bincode::error::DecodeError),
    /// Bytes are left over.
    #[error("decode a record's body: {0} bytes too many")]
    Trailing(usize),
}

/// Room that most values fit in, so that encoding one asks for memory once.
const USUAL_BYTES: usize = 192;

/// Encodes a value.
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    write_to(value, &mut bytes);
    bytes
}

/// Encodes a value into a writer that cannot fail.
pub(crate) fn write_to<T: Serialize>(value: &T, writer: &mut impl std::io::Write) {
    bincode::serde::encode_into_std_write(value, writer, bincode::config::standard())
        .expect("our own shapes have no untyped or unsized parts that could fail to encode");
}

/// Sixteen or thirty-two bytes as they are, without a length: what an array of bytes is on the
/// wire, but eight bytes in one step instead of eight. Of all that serde can say, only a
/// floating-point number is eight bytes of every value and always eight; it is carried, never
/// calculated with, and its bits stay as they are.
pub(crate) mod raw_bytes {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let word = |at: usize| f64::from_bits(word_of(bytes, at));
        match N {
            _ if serializer.is_human_readable() => serializer.collect_seq(bytes),
            16 => [word(0), word(8)].serialize(serializer),
            32 => [word(0), word(8), word(16), word(24)].serialize(serializer),
            _ => unreachable!("ids have sixteen bytes and hashes thirty-two"),
        }
    }

    fn word_of(bytes: &[u8], at: usize) -> u64 {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
        u64::from_le_bytes(*word.expect("the place is one of an eight of them"))
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let mut bytes = [0; N];
        let mut put = |words: &[f64]| {
            for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
        };
        match N {
            _ if deserializer.is_human_readable() => {
                let list = Vec::<u8>::deserialize(deserializer)?;
                let wrong = |list: Vec<u8>| D::Error::invalid_length(list.len(), &"as many bytes");
                return list.try_into().map_err(wrong);
            }
            16 => put(&<[f64; 2]>::deserialize(deserializer)?),
            32 => put(&<[f64; 4]>::deserialize(deserializer)?),
            _ => unreachable!("ids have sixteen bytes and hashes thirty-two"),
        }
        Ok(bytes)
    }
}

/// Bytes as a whole, instead of a list of numbers one by one: the same on the wire.
pub(crate) mod whole_bytes {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// The most that one value may take in memory. Far above any batch or blob that we write; it
/// keeps a length that is damaged or made up from asking for terabytes, which would abort.
const DECODED_BYTES_MAX: usize = 256 << 20;

/// Decodes a value that fills the bytes exactly.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let config = bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();
    let (value, read) =
        bincode::serde::decode_from_slice(bytes, config).map_err(Error::Malformed)?;
    if read == bytes.len() {
        Ok(value)
    } else {
        Err(Error::Trailing(bytes.len() - read))
    }
}

/// The detail part as bytes, or nothing where there is none.
pub fn encode_detail(detail: &Detail) -> Option<Vec<u8>> {
    Some(match detail {
        Detail::None => return None,
        Detail::Decision(detail) => to_bytes(detail),
        Detail::Job(detail) => to_bytes(detail),
        Detail::Tasks(detail) => to_bytes(detail),
        Detail::Reason(detail) => to_bytes(detail),
        Detail::Worker(detail) => to_bytes(detail),
        Detail::Frame(detail) => to_bytes(detail),
        Detail::Named(detail) => to_bytes(detail),
    })
}

/// Reads the detail part of a record of this kind.
pub fn decode_detail(kind: u16, bytes: &[u8]) -> Result<Detail, Error> {
    let shape = kind_of(kind).ok_or(Error::UnknownKind { kind })?.detail;
    Ok(match shape {
        DetailShape::None => Detail::None,
        DetailShape::Decision => Detail::Decision(from_bytes(bytes)?),
        DetailShape::Job => Detail::Job(from_bytes(bytes)?),
        DetailShape::Tasks => Detail::Tasks(from_bytes(bytes)?),
        DetailShape::Reason => Detail::Reason(from_bytes(bytes)?),
        DetailShape::Worker => Detail::Worker(from_bytes(bytes)?),
        DetailShape::Frame => Detail::Frame(from_bytes(bytes)?),
        DetailShape::Named => Detail::Named(from_bytes(bytes)?),
    })
}

/// A request as it stands in a decision's details.
pub fn encode_request(request: &Request) -> Vec<u8> {
    to_bytes(request)
}

/// Reads a request back.
pub fn decode_request(bytes: &[u8]) -> Result<Request, Error> {
    from_bytes(bytes)
}

/// Hash of an encoded detail part.
pub fn detail_hash(detail: Option<&[u8]>) -> Option<[u8; 32]> {
    detail.map(|bytes| *blake3::hash(bytes).as_bytes())
}

/// Encodes an event with its details: facts, detail bytes, detail hash.
pub fn encode(event: &Event, detail: &Detail) -> (Vec<u8>, Option<Vec<u8>>, Option<[u8; 32]>) {
    let detail = encode_detail(detail);
    let hash = detail_hash(detail.as_deref());
    (event.encode_facts(), detail, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Raw {
        #[serde(with = "raw_bytes")]
        id: [u8; 16],
        #[serde(with = "raw_bytes")]
        hash: [u8; 32],
    }

    /// Protects the frozen shape: raw bytes are on the wire what arrays of bytes are, whatever
    /// the bytes, those among them that as numbers would be no numbers.
    #[test]
    fn raw_bytes_are_the_bytes() {
        let signalling = 0x7ff0_0000_0000_0001_u64.to_le_bytes();
        let quiet = 0xfff8_0000_0000_0002_u64.to_le_bytes();
        for word in [signalling, quiet, [0; 8], [0xff; 8], *b"a number"] {
            let id: [u8; 16] = [word, signalling].concat().try_into().expect("two words");
            let hash: [u8; 32] = [id, id].concat().try_into().expect("four words");
            let raw = Raw { id, hash };
            let bytes = to_bytes(&raw);
            assert_eq!(bytes, to_bytes(&(id, hash)));
            assert_eq!(bytes, [&id[..], &hash[..]].concat());
            assert_eq!(from_bytes::<Raw>(&bytes).expect("its own bytes"), raw);
        }
    }
}
