// SPDX-License-Identifier: GPL-3.0-or-later
//! A packed segment: the bytes of a sealed one, compressed block by block, read as if they were
//! not.
//!
//! Whoever reads a segment gets a file of its plain bytes, so offsets, checksums, seal and chain
//! are the same for a packed and a plain one. When segments are packed is `pack`'s business.
//! Layout: FORMAT.md, section "Packed segment".

use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::batch::checksum;
use crate::error::{Doing, Error};
use crate::files::StoreFile;
use crate::flaw::field;
use crate::position::{JournalId, Lsn};
use crate::segment::{FORMAT_NEWEST, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, segment_first};

const PACKED_VERSION: u16 = 2;
const CODEC_ZLIB: u32 = 1;
/// Plain bytes of a block: what is unpacked to read one record. Four times as much saves less
/// than 1%.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;
/// Bytes of a block's entry in the table: its packed length and its checksum.
const ENTRY_BYTES: usize = 8;
/// More blocks than this no segment has; a table of them is read at once.
const BLOCKS_MAX: u32 = 1 << 20;

const _: () = assert!(PACKED_VERSION == FORMAT_NEWEST);

/// A packed segment is not what was packed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("unpack the block at byte {offset}: {what}")]
pub(crate) struct BadPack {
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
}

impl BadPack {
    /// Finds one inside what a read returned.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    fn at(offset: u64, what: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self { offset, what })
    }
}

/// The bytes of a packed segment. `rest` is called after each block, and may end it with an error.
pub(crate) fn pack(
    id: JournalId,
    first: Lsn,
    plain: &dyn StoreFile,
    rest: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let plain_bytes = plain.len()?;
    let mut table = Vec::new();
    let mut blocks = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < plain_bytes {
        let count = plain.read_at(at, &mut block)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&block[..count])?;
        let packed = encoder.finish()?;
        let length = u32::try_from(packed.len()).expect("a block packs to less than 4 GiB");
        table.extend_from_slice(&length.to_le_bytes());
        table.extend_from_slice(&checksum(id, &packed).to_le_bytes());
        blocks.extend_from_slice(&packed);
        at += count as u64;
        rest()?;
    }
    let count = u32::try_from(table.len() / ENTRY_BYTES).expect("a segment has few blocks");
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[0..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..10].copy_from_slice(&PACKED_VERSION.to_le_bytes());
    header[10..12].copy_from_slice(&(SEGMENT_HEADER_BYTES as u16).to_le_bytes());
    header[12..16].copy_from_slice(&CODEC_ZLIB.to_le_bytes());
    header[16..32].copy_from_slice(&id.0);
    header[32..40].copy_from_slice(&first.get().to_le_bytes());
    header[40..48].copy_from_slice(&plain_bytes.to_le_bytes());
    header[48..52].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
    header[52..56].copy_from_slice(&count.to_le_bytes());
    header[120..124].copy_from_slice(&checksum(id, &table).to_le_bytes());
    let header_checksum = crc32c::crc32c(&header[..124]);
    header[124..128].copy_from_slice(&header_checksum.to_le_bytes());
    Ok([&header[..], &table, &blocks].concat())
}

/// True if the file is a packed segment, whole or not.
pub(crate) fn is_packed(file: &dyn StoreFile) -> io::Result<bool> {
    let mut bytes = [0; 10];
    let count = file.read_at(0, &mut bytes)?;
    Ok(count == bytes.len()
        && bytes[..8] == SEGMENT_MAGIC
        && field::u16(&bytes, 8) == PACKED_VERSION)
}

/// The file as it is, or, if it is a packed segment, one of its plain bytes.
pub(crate) fn unpacked(file: Box<dyn StoreFile>, name: &str) -> Result<Box<dyn StoreFile>, Error> {
    if !is_packed(file.as_ref()).doing("read", name)? {
        return Ok(file);
    }
    Ok(Box::new(PackedFile::open(file, name)?))
}

/// Where a block lies.
#[derive(Clone, Copy)]
struct Entry {
    offset: u64,
    length: u32,
    checksum: u32,
}

struct PackedFile {
    inner: Box<dyn StoreFile>,
    id: JournalId,
    plain_bytes: u64,
    block_bytes: usize,
    table: Vec<Entry>,
    /// The block that was read last: walks go forward in small steps.
    last: Mutex<Option<(usize, Vec<u8>)>>,
}

impl PackedFile {
    fn open(inner: Box<dyn StoreFile>, name: &str) -> Result<Self, Error> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let count = inner.read_at(0, &mut header).doing("read", name)?;
        let bad = |offset, what| Err(BadPack::at(offset, what)).doing("read", name);
        let whole = count == header.len()
            && usize::from(field::u16(&header, 10)) == SEGMENT_HEADER_BYTES
            && crc32c::crc32c(&header[..124]) == field::u32(&header, 124);
        if !whole {
            return bad(0, "the segment header's checksum is wrong");
        }
        if field::u32(&header, 12) != CODEC_ZLIB || header[56..120] != [0; 64] {
            return Err(Error::NewerFormat {
                file: name.to_owned(),
                found: PACKED_VERSION + 1,
                known: PACKED_VERSION,
            });
        }
        let id = JournalId(field::bytes(&header, 16));
        let plain_bytes = field::u64(&header, 40);
        let block_bytes = field::u32(&header, 48);
        let blocks = field::u32(&header, 52);
        let possible = segment_first(name) == Some(Lsn::new(field::u64(&header, 32)))
            && block_bytes > 0
            && blocks <= BLOCKS_MAX
            && plain_bytes.div_ceil(u64::from(block_bytes.max(1))) == u64::from(blocks);
        if !possible {
            return bad(0, "the header of the packed segment has impossible fields");
        }
        let mut bytes = vec![0; blocks as usize * ENTRY_BYTES];
        let count = inner
            .read_at(SEGMENT_HEADER_BYTES as u64, &mut bytes)
            .doing("read", name)?;
        if count < bytes.len() || checksum(id, &bytes) != field::u32(&header, 120) {
            return bad(
                SEGMENT_HEADER_BYTES as u64,
                "the checksum of the table of blocks is wrong",
            );
        }
        let mut offset = (SEGMENT_HEADER_BYTES + bytes.len()) as u64;
        let mut table = Vec::with_capacity(blocks as usize);
        for entry in bytes.chunks_exact(ENTRY_BYTES) {
            let length = field::u32(entry, 0);
            table.push(Entry {
                offset,
                length,
                checksum: field::u32(entry, 4),
            });
            offset += u64::from(length);
        }
        if inner.len().doing("measure", name)? != offset {
            return bad(offset, "the file does not end with its last block");
        }
        Ok(Self {
            inner,
            id,
            plain_bytes,
            block_bytes: block_bytes as usize,
            table,
            last: Mutex::new(None),
        })
    }

    fn block(&self, index: usize) -> io::Result<Vec<u8>> {
        let entry = self.table[index];
        let mut packed = vec![0; entry.length as usize];
        let count = self.inner.read_at(entry.offset, &mut packed)?;
        if count < packed.len() || checksum(self.id, &packed) != entry.checksum {
            return Err(BadPack::at(
                entry.offset,
                "the checksum of a packed block is wrong",
            ));
        }
        let start = index as u64 * self.block_bytes as u64;
        let expected = (self.plain_bytes - start).min(self.block_bytes as u64);
        let mut plain = Vec::with_capacity(self.block_bytes);
        // One byte more than there may be, so that a block which is too long is noticed.
        ZlibDecoder::new(packed.as_slice())
            .take(expected + 1)
            .read_to_end(&mut plain)
            .map_err(|_| BadPack::at(entry.offset, "a packed block can not be unpacked"))?;
        if plain.len() as u64 != expected {
            return Err(BadPack::at(entry.offset, "a packed block has another size"));
        }
        Ok(plain)
    }
}

impl StoreFile for PackedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.plain_bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        while filled < buffer.len() {
            let at = offset + filled as u64;
            if at >= self.plain_bytes {
                break;
            }
            let index = usize::try_from(at / self.block_bytes as u64)
                .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
            let block = match last.take() {
                Some((known, block)) if known == index => block,
                _ => self.block(index)?,
            };
            let within = (at % self.block_bytes as u64) as usize;
            let count = (block.len() - within).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&block[within..within + count]);
            filled += count;
            *last = Some((index, block));
        }
        Ok(filled)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}
