// SPDX-License-Identifier: GPL-3.0-or-later
//! Packs sealed segments, one after the other, each so that a crash leaves it plain or packed.
//!
//! A segment is read through and verified before, and what was packed is compared with it after,
//! before it takes the plain one's name. Readers that have the plain file open go on with it.
//! One process at a time: the one that writes the journal, or a tool while none does.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cursor::Cursor;
use crate::error::{Damage, Doing, Error};
use crate::files::{Access, FileStore, StoreFile};
use crate::folder::{list_segments, open_segment};
use crate::mark::write_whole;
use crate::packed::{BLOCK_BYTES, is_packed, pack};
use crate::position::Lsn;
use crate::segment::{UNFINISHED_SUFFIX, segment_name};

/// How often a packing thread looks whether another journal's is done.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// How much longer than it works a packing thread rests.
const RESTS: u32 = 4;

/// What packing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// How many segments were packed now.
    pub segments: usize,
    /// Their size before.
    pub bytes_before: u64,
    /// Their size after.
    pub bytes_after: u64,
}

/// Packs every segment that another one follows and that is not packed yet. Stops at the first
/// one that can not be: damage is left as it is, and so is a segment for whose packed form there
/// is no room.
pub fn pack_sealed(files: &Arc<dyn FileStore>) -> Result<Packed, Error> {
    pack_resting(files, &mut || Ok(()))
}

fn pack_resting(
    files: &Arc<dyn FileStore>,
    rest: &mut dyn FnMut() -> io::Result<()>,
) -> Result<Packed, Error> {
    let mut done = Packed::default();
    for pair in list_segments(files.as_ref())?.windows(2) {
        let name = segment_name(pair[0]);
        let file = files.open(&name, Access::Read).doing("open", &name)?;
        if is_packed(file.as_ref()).doing("read", &name)? {
            continue;
        }
        verify(files, pair[0], pair[1])?;
        let (segment, plain) = open_segment(files.as_ref(), pair[0], Access::Read)?;
        let packed = pack(segment.header.id, pair[0], plain.as_ref(), rest).doing("pack", &name)?;
        compare(plain.as_ref(), &packed, &name)?;
        if let Err(error) = write_whole(files.as_ref(), &name, &packed) {
            // Room that is short is needed for records.
            let _ = files.remove(&format!("{name}{UNFINISHED_SUFFIX}"));
            return Err(error);
        }
        done.segments += 1;
        done.bytes_before += plain.len().doing("measure", &name)?;
        done.bytes_after += packed.len() as u64;
    }
    Ok(done)
}

/// Walks a segment to the one that follows it.
fn verify(files: &Arc<dyn FileStore>, first: Lsn, following: Lsn) -> Result<(), Error> {
    let mut cursor = Cursor::at_segment(Arc::clone(files), Arc::default(), first)?;
    cursor.set_limit(following.previous());
    while cursor.next_raw()?.is_some() {}
    if cursor.next_lsn() == following {
        return Ok(());
    }
    Err(Error::Damage(Damage {
        segment: segment_name(first),
        offset: cursor.place().offset,
        lsn: cursor.next_lsn(),
        what: format!("the next segment begins at position {following}"),
    }))
}

/// Unpacks what was packed, to the last byte.
fn compare(plain: &dyn StoreFile, packed: &[u8], name: &str) -> Result<(), Error> {
    let again = crate::packed::unpacked(Box::new(Held(packed.to_vec())), name)?;
    let (mut left, mut right) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut at = 0;
    loop {
        let count = plain.read_at(at, &mut left).doing("read", name)?;
        let other = again.read_at(at, &mut right).doing("unpack", name)?;
        if left[..count] != right[..other] {
            return Err(Error::Damage(Damage {
                segment: name.to_owned(),
                offset: at,
                lsn: Lsn::ORIGIN,
                what: "it does not unpack to what was packed; this machine's memory may be faulty"
                    .to_owned(),
            }));
        }
        if count == 0 {
            return Ok(());
        }
        at += count as u64;
    }
}

/// Bytes in memory, to be read as a file.
struct Held(Vec<u8>);

impl StoreFile for Held {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let count = buffer.len().min(self.0.len() - start);
        buffer[..count].copy_from_slice(&self.0[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _bytes: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Packs beside a writer, on a thread that lives only while there is something to pack.
#[derive(Default)]
pub(crate) struct Packer {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

/// A farm may have many journals, and packing is nobody's hurry: one at a time in a process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static IN_BACKGROUND: AtomicBool = AtomicBool::new(true);

/// Whether journals and mirrors of this process pack sealed segments by themselves. On at first;
/// [`pack_sealed`] does it in any case.
pub fn set_background_packing(on: bool) {
    IN_BACKGROUND.store(on, Ordering::Relaxed);
}

/// Rests after each block, so that packing takes a fifth of one processor from a farm at work.
struct Pace {
    stop: Arc<AtomicBool>,
    since: Instant,
}

impl Pace {
    fn rest(&mut self) -> io::Result<()> {
        std::thread::sleep(self.since.elapsed() * RESTS);
        self.since = Instant::now();
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the journal is being closed"));
        }
        Ok(())
    }
}

/// Waits for its turn; none if the journal is closed before.
fn turn(stop: &AtomicBool) -> Option<MutexGuard<'static, ()>> {
    while !stop.load(Ordering::Relaxed) {
        match ONE_AT_A_TIME.try_lock() {
            Ok(turn) => return Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOKS_EVERY),
        }
    }
    None
}

impl Packer {
    /// A segment was sealed. If the one before is still being packed, this one waits for the next.
    pub(crate) fn sealed(&mut self, files: Arc<dyn FileStore>) {
        if !IN_BACKGROUND.load(Ordering::Relaxed) {
            return;
        }
        if self
            .thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
        {
            return;
        }
        let stop = Arc::clone(&self.stop);
        let mut pace = Pace {
            stop: Arc::clone(&self.stop),
            since: Instant::now(),
        };
        let spawned = std::thread::Builder::new()
            .name("journal-pack".to_owned())
            .spawn(move || {
                // Whoever closes waits for this thread, but not for the others'.
                let Some(_one) = turn(&stop) else {
                    return;
                };
                match pack_resting(&files, &mut || pace.rest()) {
                    Ok(packed) if packed.segments == 0 => {}
                    Ok(packed) => tracing::info!(
                        segments = packed.segments,
                        bytes_before = packed.bytes_before,
                        bytes_after = packed.bytes_after,
                        "packed sealed segments of the journal"
                    ),
                    // Cut short by a close: the next one who opens the journal packs the rest.
                    Err(_) if stop.load(Ordering::Relaxed) => {}
                    // Nothing is lost but room.
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "sealed segments stay as they are");
                    }
                }
            });
        match spawned {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::warn!(%error, "sealed segments stay as they are"),
        }
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        // Whoever opens the folder next may pack, too, and what is left is left to it.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
