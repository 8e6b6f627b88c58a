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
