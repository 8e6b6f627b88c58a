// SPDX-License-Identifier: GPL-3.0-or-later
//! Secrets of workers and Managers, hashed, in a file of their own: never in a journal, never replicated.
//!
//! A worker's secret is 32 random bytes that it made itself, so a salted BLAKE3 is as strong
//! as a slow password hash and costs a poll nothing. A new secret is on disk before the
//! registration is acknowledged.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, data_dir::write_durably};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hashed {
    salt: String,
    #[serde(with = "hex")]
    hash: blake3::Hash,
}

/// Secrets by their owner.
#[derive(Debug)]
pub struct Secrets {
    path: PathBuf,
    known: RwLock<BTreeMap<Uuid, Hashed>>,
}

impl Secrets {
    /// Reads the file, if there is one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let known = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::Configuration {
                path: path.to_owned(),
                what: format!(
                    "{error}; restore it from a backup, or remove it and workers register anew"
                ),
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => {
                return Err(Error::File {
                    doing: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        Ok(Self {
            path: path.to_owned(),
            known: RwLock::new(known),
        })
    }

    /// Keeps an owner's secret. On disk when it returns.
    pub fn add(&self, owner: Uuid, secret: &str) -> Result<(), Error> {
        let salt = crate::clock::new_id().simple().to_string();
        let hash = hashed(&salt, secret);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(owner, Hashed { salt, hash });
        let text = serde_json::to_vec_pretty(&*known).expect("strings are JSON");
        write_durably(&self.path, &text)
    }

    /// The secret is this owner's. Asked at every call of a worker.
    pub fn check(&self, owner: Uuid, secret: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // blake3's Hash compares in constant time.
        (known.get(&owner)).is_some_and(|known| known.hash == hashed(&known.salt, secret))
    }
}

fn hashed(salt: &str, secret: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(salt.as_bytes());
    hasher.update(secret.as_bytes());
    hasher.finalize()
}

/// A hash as it stands in the file.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &blake3::Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hash.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<blake3::Hash, D::Error> {
        let text = String::deserialize(from)?;
        blake3::Hash::from_hex(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret opens its own worker's door and no other, also after a restart.
    #[test]
    fn secrets_are_kept_and_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let (a, b) = (crate::clock::new_id(), crate::clock::new_id());
        let secrets = Secrets::open(&path).unwrap();
        secrets.add(a, "one").unwrap();
        secrets.add(b, "two").unwrap();
        let again = Secrets::open(&path).unwrap();
        assert!(again.check(a, "one") && again.check(b, "two"));
        assert!(!again.check(a, "two") && !again.check(b, ""));
        assert!(!std::fs::read_to_string(&path).unwrap().contains("one"));
    }
}
