// SPDX-License-Identifier: GPL-3.0-or-later
//! Appends finished batch bytes to the newest segment: write, sync, rotate, poison.
//!
//! It does not make batches (`batch`) and does not decide when (`writer`). The order of its calls
//! to the file store is the commit argument of FORMAT.md.

use std::sync::Arc;

use crate::error::{Doing, Error};
use crate::files::{FileStore, StoreFile};
use crate::mark::{CleanMark, write_whole};
use crate::position::{ChainValue, Lsn};
use crate::segment::{SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal, SegmentHeader, segment_name};

/// Where a journal continues. Everything before it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) next: Lsn,
    pub(crate) chain: ChainValue,
    pub(crate) incarnation: u32,
    pub(crate) time_us: u64,
}

/// How far a growing segment is filled with zeros ahead of its batches. A sync that also has to
/// bring a new file size and new blocks to the disk takes half as long again, so small writes go
/// over space that is already there. It bounds what is read at a tail to see that it is empty.
const RESERVE_BYTES: u64 = 256 << 10;

/// The newest segment, open for appending.
pub(crate) struct SegmentWriter {
    files: Arc<dyn FileStore>,
    file: Box<dyn StoreFile>,
    name: String,
    header: SegmentHeader,
    /// Where the next batch goes. Invariant: everything before it was synced.
    end: u64,
    /// The file's size: from `end` to here are zeros.
    reserved: u64,
    /// Reused by every write that reserves.
    with_reserve: Vec<u8>,
    head: Head,
    segment_bytes: u64,
    /// Set by the first failed write or sync and never cleared: after that the page cache is not
    /// to be believed, so the process ends and recovers rather than trying again.
    poisoned: Option<Arc<Error>>,
}

impl SegmentWriter {
    /// Continues a segment that recovery has put in order.
    pub(crate) fn resume(
        files: Arc<dyn FileStore>,
        file: Box<dyn StoreFile>,
        header: SegmentHeader,
        end: u64,
        head: Head,
        segment_bytes: u64,
    ) -> Self {
        Self {
            files,
            file,
            name: segment_name(header.first),
            header,
            end,
            reserved: end,
            with_reserve: Vec::new(),
            head,
            segment_bytes,
            poisoned: None,
        }
    }

    /// Begins a new segment at `head`; one of the same name, which can only be empty, is replaced.
    pub(crate) fn begin(
        files: Arc<dyn FileStore>,
        header: SegmentHeader,
        head: Head,
        segment_bytes: u64,
    ) -> Result<Self, Error> {
        let name = segment_name(header.first);
        write_whole(files.as_ref(), &name, &header.encode())?;
        let file = files
            .open(&name, crate::files::Access::Write)
            .doing("open", &name)?;
        let end = SEGMENT_HEADER_BYTES as u64;
        Ok(Self::resume(files, file, header, end, head, segment_bytes))
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.poisoned {
            Some(cause) => Err(Error::Poisoned(Arc::clone(cause))),
            None => Ok(()),
        }
    }

    /// Makes these whole batches durable; `head` is where the journal stands after them.
    pub(crate) fn append(&mut self, bytes: &[u8], head: Head) -> Result<(), Error> {
        self.guarded(|writer| {
            if writer.end >= writer.segment_bytes && writer.has_batches() {
                writer.rotate(writer.header.mirror)?;
            }
            writer.write(bytes)?;
            sync_before_acknowledging(writer.file.as_ref()).doing("sync", &writer.name)?;
            writer.end += bytes.len() as u64;
            writer.head = head;
            Ok(())
        })
    }

    /// Sees to it that new batches of this incarnation and role may follow: a segment is of one
    /// role, and its header names the incarnation it began in.
    pub(crate) fn take_over(&mut self, incarnation: u32, mirror: bool) -> Result<(), Error> {
        if self.header.incarnation == incarnation && self.header.mirror == mirror {
            return Ok(());
        }
        if mirror && self.header.mirror {
            return Ok(());
        }
        self.guarded(|writer| {
            writer.head.incarnation = incarnation;
            if writer.has_batches() {
                return writer.rotate(mirror);
            }
            let header = SegmentHeader {
                incarnation,
                mirror,
                ..writer.header
            };
            writer.replace(header)
        })
    }

    /// Goes on in a new segment at another place. Only for a journal that has no record yet.
    pub(crate) fn begin_again(&mut self, header: SegmentHeader, head: Head) -> Result<(), Error> {
        self.guarded(|writer| {
            writer.head = head;
            writer.replace(header)
        })
    }

    /// Leaves the clean mark, unless it is already right: closing an idle journal writes nothing.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        self.check()?;
        let mark = CleanMark {
            id: self.header.id,
            incarnation: self.head.incarnation,
            next: self.head.next,
            chain: self.head.chain,
        };
        if CleanMark::read(self.files.as_ref())? == Some(mark) {
            return Ok(());
        }
        self.guarded(|writer| {
            if writer.reserved > writer.end {
                writer.cut_reserve(writer.end)?;
                writer.file.sync().doing("sync", &writer.name)?;
            }
            mark.write(writer.files.as_ref())
        })
    }

    /// Writes at the end, with a new reserve behind it if the old one is used up.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.end + bytes.len() as u64;
        if end <= self.reserved || bytes.len() as u64 >= RESERVE_BYTES {
            self.reserved = self.reserved.max(end);
            return self
                .file
                .write_at(self.end, bytes)
                .doing("write", &self.name);
        }
        let reserved = end.next_multiple_of(RESERVE_BYTES);
        self.with_reserve.clear();
        self.with_reserve.extend_from_slice(bytes);
        let whole = usize::try_from(reserved - self.end).expect("less than two reserves");
        self.with_reserve.resize(whole, 0);
        match self.file.write_at(self.end, &self.with_reserve) {
            Ok(()) => self.reserved = reserved,
            // A reserve is a comfort; the last free bytes of a disk are for records. Of the
            // refused write there may be zeros behind these bytes, which is what a reserve is.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                self.file
                    .write_at(self.end, bytes)
                    .doing("write", &self.name)?;
                self.reserved = self.file.len().doing("measure", &self.name)?.max(end);
            }
            Err(error) => return Err(error).doing("write", &self.name),
        }
        Ok(())
    }

    /// Gives back what of the reserve is not used.
    fn cut_reserve(&mut self, end: u64) -> Result<(), Error> {
        if self.reserved > end {
            self.file.set_len(end).doing("cut", &self.name)?;
            self.reserved = end;
        }
        Ok(())
    }

    fn has_batches(&self) -> bool {
        self.head.next > self.header.first
    }

    /// Seals this segment and begins the next. The seal is durable before the next exists, so a
    /// segment that another follows always has one.
    fn rotate(&mut self, mirror: bool) -> Result<(), Error> {
        let seal = Seal {
            next: self.head.next,
            time_us: self.head.time_us,
            chain: self.head.chain,
            incarnation: self.header.incarnation,
        };
        self.file
            .write_at(self.end, &seal.encode(self.header.id))
            .doing("seal", &self.name)?;
        self.cut_reserve(self.end + SEAL_BYTES as u64)?;
        self.file.sync().doing("sync", &self.name)?;
        self.replace(SegmentHeader {
            id: self.header.id,
            incarnation: self.head.incarnation,
            first: self.head.next,
            chain: self.head.chain,
            created_us: self.head.time_us,
            mirror,
        })
    }

    fn replace(&mut self, header: SegmentHeader) -> Result<(), Error> {
        let files = Arc::clone(&self.files);
        *self = Self::begin(files, header, self.head, self.segment_bytes)?;
        Ok(())
    }

    fn guarded(&mut self, act: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.check()?;
        act(self).map_err(|error| {
            let cause = Arc::new(error);
            self.poisoned = Some(Arc::clone(&cause));
            Error::Poisoned(cause)
        })
    }
}

/// The one sync that every acknowledgement stands on. The feature takes it away, so that the
/// tests which claim to notice its absence can be shown to.
fn sync_before_acknowledging(file: &dyn StoreFile) -> std::io::Result<()> {
    if cfg!(feature = "planted-no-sync") {
        return Ok(());
    }
    file.sync()
}
