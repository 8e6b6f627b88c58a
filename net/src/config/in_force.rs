// SPDX-License-Identifier: GPL-3.0-or-later
//! The configuration that a running process uses. A file that cannot be used changes nothing: the
//! last good one stays in force, and what is wrong is kept to be told.
//!
//! Whoever works on something takes one [`InForce`] and keeps to it until that is done.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tokio::sync::watch;

use super::{Config, FILE_NAME, Level, read_file};
use crate::{
    Error,
    variables::{Audience, Resolved, own_platform},
};

/// Three platforms and two audiences exist; the rest is for names that somebody misspelt.
const RESOLVED_MAX: usize = 16;

/// A configuration with what follows from it.
#[derive(Debug)]
pub struct InForce {
    /// The values.
    pub config: Config,
    /// The content store on the shared storage, where there is one.
    pub shaman: Option<tablao_shaman::Store>,
    /// Where jobs' files are.
    storage: String,
    /// The variables, as audiences on platforms that asked see them.
    resolved: Mutex<Vec<(Audience, String, Arc<Resolved>)>>,
}

impl InForce {
    fn new(config: Config, data: &Path, before: Option<&Self>) -> Self {
        // A store knows who sends what at this moment, so the same storage keeps its store.
        let kept = before
            .filter(|before| before.config.shared_storage_path == config.shared_storage_path)
            .and_then(|before| before.shaman.clone());
        let shaman = crate::shaman::store(&config).map(|new| kept.unwrap_or(new));
        let configured = &config.shared_storage_path;
        let path = match &shaman {
            Some(store) => store.checkouts(),
            None if config.is_first_run() => data.join("storage"),
            None => configured.clone(),
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        Self {
            config,
            shaman,
            storage: path.to_string_lossy().into_owned(),
            resolved: Mutex::default(),
        }
    }

    /// Where tasks find the shared files.
    ///
    /// Until a studio says where, a folder in the data directory: right for a farm on one
    /// machine, and said to be a first run, so that nobody takes it for shared.
    pub fn storage(&self) -> &str {
        &self.storage
    }

    /// The variables as somebody sees them. Worked out once.
    pub fn variables(&self, audience: Audience, platform: &str) -> Arc<Resolved> {
        let platform = if platform == "manager" {
            own_platform()
        } else {
            platform
        };
        let mut resolved = (self.resolved.lock()).unwrap_or_else(PoisonError::into_inner);
        let known = (resolved.iter())
            .find(|(known, name, _)| *known == audience && name == platform)
            .map(|(_, _, resolved)| Arc::clone(resolved));
        if let Some(known) = known {
            return known;
        }
        let new = Resolved::new(&self.config.variables, &self.storage, audience, platform);
        let new = Arc::new(new);
        // Platforms come from outside: whatever is asked for, only so many are kept.
        if resolved.len() < RESOLVED_MAX {
            resolved.push((audience, platform.to_owned(), Arc::clone(&new)));
        }
        new
    }
}

/// The configuration of a process, from its start to its end.
#[derive(Debug)]
pub struct Settings {
    path: PathBuf,
    data: PathBuf,
    now: RwLock<Arc<InForce>>,
    /// What is wrong with the file since it was last looked at.
    broken: Mutex<Option<String>>,
    /// Whoever changes the file waits for whoever does so already.
    pub(crate) changing: tokio::sync::Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Settings {
    /// Reads the file in a data directory. A file that cannot be used is an error here: at a
    /// start there is no good one to go on with.
    pub fn open(data: &Path) -> Result<Self, Error> {
        let path = data.join(FILE_NAME);
        let config = Config::load(&path)?;
        Ok(Self {
            path,
            data: data.to_owned(),
            now: RwLock::new(Arc::new(InForce::new(config, data, None))),
            broken: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            changed: watch::channel(0).0,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in force at this moment.
    pub fn now(&self) -> Arc<InForce> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is wrong with the file; nothing, when it is in force.
    pub fn broken(&self) -> Option<String> {
        (self.broken.lock().unwrap_or_else(PoisonError::into_inner)).clone()
    }

    /// Tells of each change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Reads the file anew; gives the configuration if it is another one. An error leaves the
    /// last good one in force and is told once for each new mistake.
    pub(crate) fn look(&self) -> Result<Option<Config>, Error> {
        let looked = read_file(&self.path).and_then(|read| {
            let warnings: Vec<String> = (read.findings.iter())
                .filter(|found| found.level < Level::Error)
                .map(ToString::to_string)
                .collect();
            let config = read.into_config().map_err(|what| Error::Configuration {
                path: self.path.clone(),
                what,
            })?;
            Ok((config, warnings))
        });
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        match looked {
            Ok((config, warnings)) => {
                *broken = None;
                if config == self.now().config {
                    return Ok(None);
                }
                for warning in warnings {
                    tracing::warn!(file = %self.path.display(), "{warning}");
                }
                Ok(Some(config))
            }
            Err(error) => {
                let what = error.to_string();
                if broken.as_ref() != Some(&what) {
                    tracing::error!("{what}\nthe last good configuration stays in use");
                }
                *broken = Some(what);
                Err(error)
            }
        }
    }

    /// Puts a configuration into force.
    pub(crate) fn put(&self, config: Config) {
        let new = InForce::new(config, &self.data, Some(&self.now()));
        tablao_journal::set_background_packing(new.config.pack_journals);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        self.changed.send_modify(|count| *count += 1);
    }
}
