// SPDX-License-Identifier: GPL-3.0-or-later
//! Checkpoints of the read model: what they promise, and when they are not believed.
//!
//! A checkpoint is a cache. It is used only if its stamp fits the journal that is there
//! (identity, incarnation, chain value at its position) and its rows are bit for bit those that
//! were written: a hash over all of them is in the stamp, so no failure of the store can bring a
//! mixture of two checkpoints back. There are two slots, used in turn, and the stamp is made
//! durable after its rows; a crash while saving leaves the former checkpoint.
//!
//! Every row is encoded at every save (that is the cheap part); only rows that differ from what
//! the slot holds are written. How the store is opened and healed is in `store.rs`.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tablao_core::{
    Lsn,
    codec::{from_bytes, to_bytes},
};

use crate::{
    Error, ReadModel,
    rows::VERSION,
    store::{Store, guarded},
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
}

/// A stamp, and the hash of the rows that it vouches for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seal {
    stamp: Stamp,
    rows: [u8; 32],
}

/// BLAKE3 of each row's value, by key: what a slot holds.
type Manifest = BTreeMap<Vec<u8>, [u8; 32]>;

/// One of the two places for a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    A,
    B,
}

impl Slot {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A checkpoint that is ready to be written. Making one needs the model; writing does not.
#[derive(Debug)]
pub struct Encoded {
    stamp: Stamp,
    /// Into which slot; the other one holds the checkpoint before.
    slot: Slot,
    /// Rows that differ from what the slot held.
    changed: Vec<(Vec<u8>, Vec<u8>)>,
    manifest: Manifest,
}

impl Encoded {
    /// How many rows are to be written.
    pub fn changed_rows(&self) -> usize {
        self.changed.len()
    }
}

/// What is known of the store's content.
#[derive(Debug)]
struct State {
    store: Option<Store>,
    /// The slot with the newest checkpoint.
    newest: Option<Slot>,
    /// What slot a and slot b hold; `None` if that is not known.
    held: [Option<Manifest>; 2],
    /// Failures since the last checkpoint that was saved.
    failures: u32,
}

/// A store that was begun anew this often and still fails is given up: a disk that is full or
/// read-only does not get better by writing to it after every record.
const FAILURES_MAX: u32 = 3;

impl State {
    fn held(&mut self, slot: Slot) -> &mut Option<Manifest> {
        match slot {
            Slot::A => &mut self.held[0],
            Slot::B => &mut self.held[1],
        }
    }

    /// After a failure of the store: delete it and begin anew, so that the next save works.
    fn heal(&mut self, cause: &Error) {
        self.newest = None;
        self.held = [None, None];
        self.failures += 1;
        let Some(store) = self.store.take() else {
            return;
        };
        if self.failures < FAILURES_MAX {
            self.store = store.heal(cause);
        } else {
            store.give_up();
        }
    }
}

/// The checkpoints of one farm.
#[derive(Debug)]
pub struct Checkpoints {
    state: Mutex<State>,
}

impl Checkpoints {
    /// Opens the store in a folder of its own. A damaged store is deleted and begun anew; where
    /// that is not possible either, nothing is saved and the journal is replayed whole.
    pub fn open(folder: impl AsRef<Path>) -> Self {
        Self {
            state: Mutex::new(State {
                store: Store::open(folder.as_ref()),
                newest: None,
                held: [None, None],
                failures: 0,
            }),
        }
    }

    /// Deletes all checkpoints: they hold details, so after an erasure from the journal they go.
    pub fn forget(&self) {
        let mut state = self.state();
        state.newest = None;
        state.held = [None, None];
        state.store = state.store.take().and_then(Store::begin_anew);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left behind is checked by hashes when it is read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves a checkpoint: [`Checkpoints::encode`] and [`Checkpoints::write`] in one.
    pub fn save(&self, stamp: Stamp, model: &ReadModel) -> Result<(), Error> {
        let encoded = self.encode(stamp, model)?;
        self.write(encoded)
    }

    /// Encodes what a checkpoint needs. No I/O: the model may be locked meanwhile.
    pub fn encode(&self, stamp: Stamp, model: &ReadModel) -> Result<Encoded, Error> {
        if model.farm().position() != stamp.lsn {
            return Err(Error::Inconsistent("the stamp is of another position"));
        }
        let mut state = self.state();
        let slot = state.newest.map_or(Slot::A, Slot::other);
        let held = state.held(slot);
        let mut changed = Vec::new();
        let mut manifest = Manifest::new();
        for (key, value) in model.to_rows() {
            let hash = *blake3::hash(&value).as_bytes();
            let same = held.as_ref().and_then(|held| held.get(&key)) == Some(&hash);
            if !same {
                changed.push((key.clone(), value));
            }
            manifest.insert(key, hash);
        }
        Ok(Encoded {
            stamp,
            slot,
            changed,
            manifest,
        })
    }

    /// Writes a checkpoint and makes it durable. After an error the store was begun anew; the
    /// next save writes everything.
    pub fn write(&self, encoded: Encoded) -> Result<(), Error> {
        let mut state = self.state();
        let state = &mut *state;
        if state.newest == Some(encoded.slot) {
            return Err(Error::Inconsistent(
                "another checkpoint was written between encoding and writing this one",
            ));
        }
        let Some(store) = &state.store else {
            return Ok(());
        };
        let slot = encoded.slot;
        let held = match slot {
            Slot::A => state.held[0].take(),
            Slot::B => state.held[1].take(),
        };
        match guarded(|| write(store, &encoded, held.as_ref())) {
            Ok(()) => {
                *state.held(slot) = Some(encoded.manifest);
                state.newest = Some(slot);
                state.failures = 0;
                Ok(())
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
        let mut state = self.state();
        let fits = |stamp: &Stamp| {
            stamp.journal_id == journal_id
                && stamp.incarnation == incarnation
                && stamp.version == VERSION
                && verify(stamp.lsn) == Some(stamp.chain)
        };
        let store = state.store.as_ref()?;
        let found = guarded(|| {
            let mut seals = Vec::new();
            for slot in Slot::BOTH {
                match seal(store, slot)? {
                    Some(seal) if fits(&seal.stamp) => seals.push((slot, seal)),
                    Some(seal) => tracing::info!(
                        position = %seal.stamp.lsn,
                        "a checkpoint is not of this journal as it stands; it is not used"
                    ),
                    None => {}
                }
            }
            seals.sort_by_key(|(_, seal)| std::cmp::Reverse(seal.stamp.lsn));
            Ok(seals)
        });
        let mut damage = None;
        let mut loaded = None;
        match found {
            Ok(seals) => {
                for (slot, seal) in seals {
                    match guarded(|| read(store, slot, &seal)) {
                        Ok((manifest, model)) => {
                            loaded = Some((slot, manifest, seal.stamp, model));
                            break;
                        }
                        Err(error) => damage = Some(error),
                    }
                }
            }
            Err(error) => damage = Some(error),
        }
        // Where a slot was damaged the store is not trusted with the next checkpoint either.
        if let Some(cause) = damage {
            state.heal(&cause);
        } else if let Some((slot, manifest, _, _)) = &mut loaded {
            state.newest = Some(*slot);
            *state.held(*slot) = Some(std::mem::take(manifest));
        }
        loaded.map(|(_, _, stamp, model)| (stamp, model))
    }
}

/// The hash that a seal carries: over all keys and values, in order of the keys.
fn hash_of(manifest: &Manifest) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (key, value) in manifest {
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key);
        hasher.update(value);
    }
    *hasher.finalize().as_bytes()
}

fn write(store: &Store, encoded: &Encoded, held: Option<&Manifest>) -> Result<(), Error> {
    let rows = store.tree(encoded.slot.name())?;
    let seals = store.tree("seals")?;
    // From here until the new seal is durable this slot holds nothing.
    seals.remove(encoded.slot.name())?;
    store.flush()?;
    match held {
        Some(held) => {
            for gone in held
                .keys()
                .filter(|key| !encoded.manifest.contains_key(*key))
            {
                rows.remove(gone)?;
            }
        }
        None => rows.clear()?,
    }
    for (key, value) in &encoded.changed {
        rows.insert(key, value.as_slice())?;
    }
    store.flush()?;
    let seal = to_bytes(&Seal {
        stamp: encoded.stamp,
        rows: hash_of(&encoded.manifest),
    });
    let mut sealed = blake3::hash(&seal).as_bytes().to_vec();
    sealed.extend_from_slice(&seal);
    seals.insert(encoded.slot.name(), sealed)?;
    store.flush()
}

fn seal(store: &Store, slot: Slot) -> Result<Option<Seal>, Error> {
    let Some(bytes) = store.tree("seals")?.get(slot.name())? else {
        return Ok(None);
    };
    match bytes.split_first_chunk::<32>() {
        Some((hash, seal)) if blake3::hash(seal) == *hash => Ok(Some(from_bytes(seal)?)),
        _ => Err(Error::Inconsistent("a seal is broken")),
    }
}

fn read(store: &Store, slot: Slot, seal: &Seal) -> Result<(Manifest, ReadModel), Error> {
    let mut rows = Vec::new();
    let mut manifest = Manifest::new();
    for row in store.tree(slot.name())?.iter() {
        let (key, value) = row?;
        manifest.insert(key.to_vec(), *blake3::hash(&value).as_bytes());
        rows.push((key, value));
    }
    // Checked before anything is decoded: what is not ours bit for bit is not looked at.
    if hash_of(&manifest) != seal.rows {
        return Err(Error::Inconsistent(
            "its rows are not those that it was sealed with",
        ));
    }
    let model = ReadModel::from_rows(rows)?;
    if model.farm().position() != seal.stamp.lsn {
        return Err(Error::Inconsistent("its farm stands elsewhere"));
    }
    Ok((manifest, model))
}
