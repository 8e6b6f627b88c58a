// SPDX-License-Identifier: GPL-3.0-or-later
//! Secrets of workers and Managers, hashed, in a file of their own: never in a journal, never replicated.
//!
//! A worker's secret is 32 random bytes that it made itself, so a salted BLAKE3 is as strong
//! as a slow password hash and costs a poll nothing. A new secret is on disk before the
//! registration is acknowledged. Those that come from a Flamenco Manager are bcrypt hashes: they
//! are tried once, off the threads that serve, and then kept in memory as ours.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{Error, data_dir::write_durably};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Ours(Hashed),
    Flamenco { bcrypt: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hashed {
    salt: String,
    #[serde(with = "hex")]
    hash: blake3::Hash,
}

impl Hashed {
    fn of(secret: &str) -> Self {
        let salt = crate::clock::new_id().simple().to_string();
        let hash = hashed(&salt, secret);
        Self { salt, hash }
    }

    fn is(&self, secret: &str) -> bool {
        // blake3's Hash compares in constant time.
        self.hash == hashed(&self.salt, secret)
    }
}

/// Secrets by their owner.
#[derive(Debug)]
pub struct Secrets {
    path: PathBuf,
    known: RwLock<BTreeMap<Uuid, Kept>>,
    /// Those of `known` that were imported and tried: as they would be kept by us.
    tried: RwLock<BTreeMap<Uuid, Hashed>>,
    /// Trying an imported one takes a processor for a while, and anybody can ask for it.
    trying: Arc<Semaphore>,
}

/// Imported secrets that are tried at once.
const TRYING_MAX: usize = 1;

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
            tried: RwLock::default(),
            trying: Arc::new(Semaphore::new(TRYING_MAX)),
        })
    }

    /// Keeps an owner's secret. On disk when it returns.
    pub fn add(&self, owner: Uuid, secret: &str) -> Result<(), Error> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(owner, Kept::Ours(Hashed::of(secret)));
        self.save(&known)
    }

    /// Keeps hashes that a Flamenco Manager made, of owners that have no secret here. On disk
    /// when it returns; the number of those that are new.
    pub fn import(&self, hashes: Vec<(Uuid, String)>) -> Result<usize, Error> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        for (owner, bcrypt) in hashes {
            known.entry(owner).or_insert(Kept::Flamenco { bcrypt });
        }
        if known.len() > before {
            self.save(&known)?;
        }
        Ok(known.len() - before)
    }

    fn save(&self, known: &BTreeMap<Uuid, Kept>) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(known).expect("strings are JSON");
        write_durably(&self.path, &text)
    }

    /// The secret is this owner's. Asked at every call of a worker.
    pub async fn check(&self, owner: Uuid, secret: &str) -> bool {
        let Some(bcrypt) = self.check_at_once(owner, secret) else {
            return true;
        };
        match bcrypt {
            Some(bcrypt) => self.try_imported(owner, secret, bcrypt).await,
            None => false,
        }
    }

    /// The same, of owners that never came from elsewhere, such as Managers.
    pub fn check_ours(&self, owner: Uuid, secret: &str) -> bool {
        self.check_at_once(owner, secret).is_none()
    }

    /// `None` when the secret is right; else the imported hash that it is to be tried with.
    fn check_at_once(&self, owner: Uuid, secret: &str) -> Option<Option<String>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&owner) {
            Some(Kept::Ours(ours)) if ours.is(secret) => None,
            Some(Kept::Flamenco { bcrypt }) => {
                let tried = self.tried.read().unwrap_or_else(PoisonError::into_inner);
                match tried.get(&owner) {
                    Some(ours) if ours.is(secret) => None,
                    // The right one is known by now, and this is another one.
                    Some(_) => Some(None),
                    None => Some(Some(bcrypt.clone())),
                }
            }
            Some(Kept::Ours(_)) | None => Some(None),
        }
    }

    async fn try_imported(&self, owner: Uuid, secret: &str, bcrypt: String) -> bool {
        // It is closed by nobody.
        let Ok(turn) = Arc::clone(&self.trying).acquire_owned().await else {
            return false;
        };
        let given = secret.to_owned();
        let tried = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            bcrypt::verify(given, &bcrypt)
        });
        let is_right = match tried.await {
            Ok(Ok(is_right)) => is_right,
            Ok(Err(error)) => {
                tracing::warn!(%owner, %error, "the imported secret of this worker cannot be read; it has to register anew");
                false
            }
            Err(_) => false,
        };
        if is_right {
            let mut tried = self.tried.write().unwrap_or_else(PoisonError::into_inner);
            tried.insert(owner, Hashed::of(secret));
        }
        is_right
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

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(work)
    }

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
        block_on(async {
            assert!(again.check(a, "one").await && again.check(b, "two").await);
            assert!(!again.check(a, "two").await && !again.check(b, "").await);
        });
        assert!(!std::fs::read_to_string(&path).unwrap().contains("one"));
    }

    /// A secret that a Flamenco Manager hashed goes on working, and is tried the slow way once.
    #[test]
    fn imported_secrets_go_on_working() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let (old, ours) = (crate::clock::new_id(), crate::clock::new_id());
        let secrets = Secrets::open(&path).unwrap();
        secrets.add(ours, "mine").unwrap();
        let hash = bcrypt::hash("worker secret", 4).unwrap();
        let all = vec![(old, hash.clone()), (ours, hash.clone())];
        assert_eq!(secrets.import(all).unwrap(), 1);
        assert_eq!(secrets.import(vec![(old, hash)]).unwrap(), 0);
        let again = Secrets::open(&path).unwrap();
        block_on(async {
            assert!(!again.check(old, "another").await);
            assert!(again.check(old, "worker secret").await);
            assert_eq!(again.check_at_once(old, "worker secret"), None);
            assert_eq!(again.check_at_once(old, "another"), Some(None));
            assert!(again.check(ours, "mine").await && !again.check(ours, "worker secret").await);
        });
        let bad = crate::clock::new_id();
        secrets.import(vec![(bad, "no hash".to_owned())]).unwrap();
        assert!(!block_on(secrets.check(bad, "")));
    }
}
