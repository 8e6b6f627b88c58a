// SPDX-License-Identifier: GPL-3.0-or-later
//! Checkpoints of the read model: what they promise, and when they are not believed.
//!
//! A checkpoint is a cache. It is used only if its stamp fits the journal that is there
//! (identity, incarnation, chain value at its position) and its rows are bit for bit those that
//! were written. Its pieces lie in pack files (`pack.rs`) and are shared with other checkpoints;
//! its seal in sled names the list of pieces by hash and is made durable last, so a crash while
//! saving leaves the checkpoints before. How the store is opened and healed is in `store.rs`,
//! which checkpoints are kept in `spacing.rs`.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tablao_core::{
    Lsn, Timestamp,
    codec::{from_bytes, to_bytes},
};

use crate::{
    Error, ReadModel,
    pack::{Held, OpenPacks, Packs, Piece, Place, RawPiece, cut},
    rows::VERSION,
    spacing,
    store::{Store, guarded},
    unpack::unpack,
};

/// Which point of which journal a checkpoint stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The journal.
    pub journal_id: [u8; 16],
    /// Its incarnation.
    pub incarnation: u32,
    /// The position.
    pub lsn: Lsn,
    /// The journal's chain value there.
    pub chain: [u8; 32],
    /// [`VERSION`] of the build that wrote it.
    pub version: u32,
}

impl Stamp {
    /// A stamp of this build.
    pub const fn new(journal_id: [u8; 16], incarnation: u32, lsn: Lsn, chain: [u8; 32]) -> Self {
        Self {
            journal_id,
            incarnation,
            lsn,
            chain,
            version: VERSION,
        }
    }

    /// It is of this build, and of this journal as it stands.
    fn is_of(&self, journal_id: [u8; 16], verify: impl Fn(Lsn) -> Option<[u8; 32]>) -> bool {
        self.journal_id == journal_id
            && self.version == VERSION
            && verify(self.lsn) == Some(self.chain)
    }
}

/// A moment in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After the record at this position.
    Position(Lsn),
    /// After the last record that is not later than this.
    Time(Timestamp),
}

/// A stamp, and the list of pieces that it vouches for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seal {
    stamp: Stamp,
    /// Time of the last record.
    time: Timestamp,
    /// Where the list of pieces lies.
    list: Piece,
    /// The packs of list and pieces, with their sizes.
    packs: BTreeMap<u64, u64>,
}

/// A checkpoint that is ready to be written. Making one needs the model; writing does not.
#[derive(Debug)]
pub struct Encoded {
    stamp: Stamp,
    time: Timestamp,
    pieces: Vec<RawPiece>,
}

/// What writing a checkpoint took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Pieces that were written.
    pub new_pieces: usize,
    /// Pieces that an earlier checkpoint had written.
    pub shared_pieces: usize,
    /// Bytes that were written.
    pub bytes: u64,
}

/// What is known of the store's content.
#[derive(Debug)]
struct State {
    store: Option<Store>,
    /// The pieces of the checkpoint that was written or loaded last.
    held: Arc<Held>,
    /// Sizes of the packs they lie in.
    sizes: BTreeMap<u64, u64>,
    /// Failures since the last checkpoint that was saved.
    failures: u32,
    /// Rises when the store is begun anew: what was written into the old one is no more.
    generation: u64,
    /// Opened only to read: it is left as it is.
    at_rest: bool,
}

/// A store that was begun anew this often and still fails is given up: a disk that is full or
/// read-only does not get better by writing to it after every record.
const FAILURES_MAX: u32 = 3;

impl State {
    /// After a failure of the store: delete it and begin anew, so that the next save works.
    fn heal(&mut self, cause: &Error) {
        self.forget_held();
        self.failures += 1;
        let Some(store) = self.store.take() else {
            return;
        };
        if self.at_rest {
            tracing::debug!(cause = cause as &dyn std::error::Error, "read a checkpoint");
        } else if self.failures < FAILURES_MAX {
            self.store = store.heal(cause);
        } else {
            store.give_up();
        }
    }

    fn forget_held(&mut self) {
        self.held = Arc::default();
        self.sizes = BTreeMap::new();
        self.generation += 1;
    }
}

/// The checkpoints of one farm.
#[derive(Debug)]
pub struct Checkpoints {
    state: Mutex<State>,
    /// One checkpoint is written at a time; reading goes on meanwhile.
    writing: Mutex<()>,
}

impl Checkpoints {
    /// Opens the store in a folder of its own. A damaged store is deleted and begun anew; where
    /// that is not possible either, nothing is saved and the journal is replayed whole.
    pub fn open(folder: impl AsRef<Path>) -> Self {
        Self::new(Store::open(folder.as_ref()), false)
    }

    /// Opens the store of a farm at rest, to read from it. Nothing is changed or healed; where
    /// there is no store, or it is in use, or it is damaged, there are no checkpoints.
    pub fn open_at_rest(folder: impl AsRef<Path>) -> Self {
        Self::new(Store::open_at_rest(folder.as_ref()), true)
    }

    fn new(store: Option<Store>, at_rest: bool) -> Self {
        Self {
            state: Mutex::new(State {
                store,
                held: Arc::default(),
                sizes: BTreeMap::new(),
                failures: 0,
                generation: 0,
                at_rest,
            }),
            writing: Mutex::new(()),
        }
    }

    /// Deletes all checkpoints: they hold details, so after an erasure from the journal they go.
    pub fn forget(&self) {
        let mut state = self.state();
        state.forget_held();
        state.store = state.store.take().and_then(Store::begin_anew);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left behind is checked by hashes when it is read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves a checkpoint: [`Checkpoints::encode`] and [`Checkpoints::write`] in one.
    pub fn save(&self, stamp: Stamp, model: &ReadModel) -> Result<Written, Error> {
        self.write(Self::encode(stamp, model)?)
    }

    /// Encodes what a checkpoint needs. No I/O: the model may be locked meanwhile.
    pub fn encode(stamp: Stamp, model: &ReadModel) -> Result<Encoded, Error> {
        if model.farm().position() != stamp.lsn {
            return Err(Error::Inconsistent("the stamp is of another position"));
        }
        Ok(Encoded {
            stamp,
            time: model.farm().time(),
            pieces: cut(model.to_rows()),
        })
    }

    /// Writes a checkpoint and makes it durable. After an error the store was begun anew; the
    /// next save writes everything.
    pub fn write(&self, encoded: Encoded) -> Result<Written, Error> {
        self.write_one(encoded, false)
    }

    /// Writes a checkpoint of an earlier moment than the last one, for those who ask for moments
    /// near it again.
    pub fn write_past(&self, encoded: Encoded) -> Result<Written, Error> {
        self.write_one(encoded, true)
    }

    fn write_one(&self, encoded: Encoded, of_past: bool) -> Result<Written, Error> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (packs, held, sizes, generation) = {
            let state = self.state();
            let Some(store) = &state.store else {
                return Ok(Written {
                    new_pieces: 0,
                    shared_pieces: 0,
                    bytes: 0,
                });
            };
            let held = (Arc::clone(&state.held), state.sizes.clone());
            (store.packs(), held.0, held.1, state.generation)
        };
        // Others may read checkpoints while the pieces are written.
        let filled = guarded(|| fill(&packs, encoded, &held, &sizes));
        let mut state = self.state();
        let state = &mut *state;
        let published = filled.and_then(|filled| {
            if state.generation != generation {
                return Err(Error::Inconsistent("it was begun anew meanwhile"));
            }
            let Some(store) = &state.store else {
                return Err(Error::Inconsistent("it was given up meanwhile"));
            };
            guarded(|| publish(store, &filled.seal, of_past))?;
            Ok(filled)
        });
        match published {
            Ok(filled) => {
                // The newest one is never dropped, so the packs of what is held stay.
                if !of_past {
                    state.held = Arc::new(filled.held);
                    state.sizes = filled.seal.packs;
                }
                state.failures = 0;
                Ok(filled.written)
            }
            Err(error) => {
                state.heal(&error);
                Err(error)
            }
        }
    }

    /// The newest checkpoint that fits this journal. `verify` gives the journal's chain value at
    /// a position, or nothing where it does not reach.
    pub fn load(
        &self,
        journal_id: [u8; 16],
        incarnation: u32,
        verify: impl Fn(Lsn) -> Option<[u8; 32]>,
    ) -> Option<(Stamp, ReadModel)> {
        let fits = |seal: &Seal| {
            seal.stamp.incarnation == incarnation && seal.stamp.is_of(journal_id, &verify)
        };
        let loaded = self.newest(fits)?;
        let mut state = self.state();
        state.held = Arc::new(loaded.held);
        state.sizes = loaded.seal.packs;
        Some((loaded.seal.stamp, loaded.model))
    }

    /// The last checkpoint before a moment, or at it, that fits this journal. Meant for the past:
    /// what a checkpoint of another incarnation says of it is as true.
    pub fn load_before(
        &self,
        journal_id: [u8; 16],
        moment: Moment,
        verify: impl Fn(Lsn) -> Option<[u8; 32]>,
    ) -> Option<(Stamp, ReadModel)> {
        let fits = |seal: &Seal| {
            let early = match moment {
                Moment::Position(lsn) => seal.stamp.lsn <= lsn,
                // A record after it may have the same time; it is folded then.
                Moment::Time(time) => seal.time <= time,
            };
            early && seal.stamp.is_of(journal_id, &verify)
        };
        let loaded = self.newest(fits)?;
        Some((loaded.seal.stamp, loaded.model))
    }

    /// Where checkpoints stand, oldest first.
    pub fn positions(&self) -> Vec<Lsn> {
        let state = self.state();
        let Some(store) = &state.store else {
            return Vec::new();
        };
        let seals = guarded(|| seals(store)).unwrap_or_default();
        seals.iter().map(|seal| seal.stamp.lsn).collect()
    }

    fn newest(&self, fits: impl Fn(&Seal) -> bool) -> Option<Loaded> {
        let found = {
            let state = self.state();
            let store = state.store.as_ref()?;
            guarded(|| find(store, fits))
        };
        // The lock is free while the pieces are read: a save may go on meanwhile.
        let loaded = found.and_then(|found| match found {
            Some((seal, packs)) => guarded(|| read(seal, packs)).map(Some),
            None => Ok(None),
        });
        match loaded {
            Ok(loaded) => loaded,
            // Where one checkpoint was damaged the store is not trusted with the next either.
            Err(error) => {
                self.state().heal(&error);
                None
            }
        }
    }
}

/// A checkpoint that was read.
struct Loaded {
    seal: Seal,
    model: ReadModel,
    held: Held,
}

/// A checkpoint whose pieces are written.
struct Filled {
    seal: Seal,
    held: Held,
    written: Written,
}

fn fill(
    packs: &Packs,
    encoded: Encoded,
    held: &Held,
    sizes: &BTreeMap<u64, u64>,
) -> Result<Filled, Error> {
    let hashed: Vec<([u8; 32], RawPiece)> = (encoded.pieces.into_iter())
        .map(|piece| (*blake3::hash(&piece.rows).as_bytes(), piece))
        .collect();
    let known = |hash: &[u8; 32]| held.get(hash).copied();
    let mut shared: BTreeMap<u64, u64> = BTreeMap::new();
    for place in hashed.iter().filter_map(|(hash, _)| known(hash)) {
        *shared.entry(place.pack).or_insert(0) += u64::from(place.stored);
    }
    // A pack of which less than half is still in use is left behind, or old packs pile up.
    let worth = |place: &Place| {
        let (used, size) = (shared.get(&place.pack), sizes.get(&place.pack));
        used.zip(size).is_some_and(|(used, size)| used * 2 >= *size)
    };
    let number = packs.next_number();
    let mut writer = packs.create(number)?;
    let mut pieces = Vec::with_capacity(hashed.len());
    let mut new_pieces = 0;
    for (hash, piece) in hashed {
        let place = match known(&hash).filter(worth) {
            Some(place) => place,
            None => {
                new_pieces += 1;
                writer.add(&piece.rows)?
            }
        };
        let facts = piece.facts;
        pieces.push(Piece { hash, place, facts });
    }
    let list = to_bytes(&pieces);
    let list = Piece {
        hash: *blake3::hash(&list).as_bytes(),
        place: writer.add(&list)?,
        facts: false,
    };
    let bytes = writer.finish()?;
    packs.sync()?;
    let mut used: BTreeMap<u64, u64> = (pieces.iter())
        .filter_map(|piece| {
            let pack = piece.place.pack;
            Some((pack, *sizes.get(&pack)?))
        })
        .collect();
    used.insert(number, bytes);
    Ok(Filled {
        written: Written {
            new_pieces,
            shared_pieces: pieces.len() - new_pieces,
            bytes,
        },
        held: held_in(&pieces),
        seal: Seal {
            stamp: encoded.stamp,
            time: encoded.time,
            list,
            packs: used,
        },
    })
}

fn held_in(pieces: &[Piece]) -> Held {
    pieces
        .iter()
        .map(|piece| (piece.hash, piece.place))
        .collect()
}

/// Makes a filled checkpoint one that counts, and drops those that are kept no longer.
fn publish(store: &Store, seal: &Seal, of_past: bool) -> Result<(), Error> {
    let bytes = to_bytes(seal);
    let mut sealed = blake3::hash(&bytes).as_bytes().to_vec();
    sealed.extend_from_slice(&bytes);
    let tree = store.tree(SEALS)?;
    tree.insert(key_of(seal.stamp.lsn), sealed)?;
    store.flush()?;
    let own = seal.stamp.lsn;
    let mut kept = seals(store)?;
    let mut dropped: Vec<u64> = Vec::new();
    if !of_past {
        // Made of a journal that was longer: what they know beyond its end never happened.
        dropped.extend(
            (kept.iter().map(|seal| seal.stamp.lsn))
                .filter(|&lsn| lsn > own)
                .map(Lsn::get),
        );
    }
    let positions: Vec<u64> = (kept.iter().map(|seal| seal.stamp.lsn.get()))
        .filter(|position| !dropped.contains(position))
        .collect();
    dropped.extend(spacing::dropped(&positions));
    for gone in dropped.into_iter().map(Lsn::new) {
        tree.remove(key_of(gone))?;
        kept.retain(|seal| seal.stamp.lsn != gone);
    }
    // The seals that named them are gone for good before the packs go.
    store.flush()?;
    store
        .packs()
        .sweep(|pack| kept.iter().any(|seal| seal.packs.contains_key(&pack)));
    Ok(())
}

/// sled's tree of seals, by position.
const SEALS: &str = "seals";

fn key_of(lsn: Lsn) -> [u8; 8] {
    lsn.get().to_be_bytes()
}

/// All seals, oldest first.
fn seals(store: &Store) -> Result<Vec<Seal>, Error> {
    let read = |row: sled::Result<(sled::IVec, sled::IVec)>| {
        let (key, value) = row?;
        let seal: Seal = match value.split_first_chunk::<32>() {
            Some((hash, seal)) if blake3::hash(seal) == *hash => from_bytes(seal)?,
            _ => return Err(Error::Inconsistent("a seal is broken")),
        };
        if *key == key_of(seal.stamp.lsn) {
            Ok(seal)
        } else {
            Err(Error::Inconsistent("a seal is not where it belongs"))
        }
    };
    store.tree(SEALS)?.iter().map(read).collect()
}

/// The newest checkpoint that fits, with its packs open twice, for two threads: open now, before
/// a save can sweep them.
fn find(
    store: &Store,
    fits: impl Fn(&Seal) -> bool,
) -> Result<Option<(Seal, [OpenPacks; 2])>, Error> {
    let mut seals = seals(store)?.into_iter().rev();
    let Some(seal) = seals.find(fits) else {
        return Ok(None);
    };
    let numbers = || seal.packs.keys().copied();
    let packs = store.packs();
    let open = [packs.open(numbers())?, packs.open(numbers())?];
    Ok(Some((seal, open)))
}

fn read(seal: Seal, mut packs: [OpenPacks; 2]) -> Result<Loaded, Error> {
    let list = packs[0].rows(seal.list.place, &seal.list.hash)?;
    let pieces: Vec<Piece> = from_bytes(&list)?;
    let model = unpack(&pieces, packs)?;
    if model.farm().position() != seal.stamp.lsn {
        return Err(Error::Inconsistent("its farm stands elsewhere"));
    }
    let held = held_in(&pieces);
    Ok(Loaded { seal, model, held })
}
