// SPDX-License-Identifier: GPL-3.0-or-later
//! Between a Server and its Managers.
//!
//! All connections are opened from below. A Manager pulls the control journal down and pushes
//! its site journal up, as verified batches that are synced before they count; what the control
//! journal asks of it, it carries out and settles in its own journal. Nobody writes a fact of
//! the other's.

mod caller;
mod carry_out;
mod mirrors;
pub mod protocol;
mod retry;
mod upward;

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tablao_core::ManagerId;
use utoipa::ToSchema;

use crate::{
    Error,
    data_dir::{DataDir, write_durably},
};

pub use mirrors::{Mirrors, Site};
pub use upward::run;

/// What a Manager says when it connects.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hello {
    /// Who it is.
    #[schema(value_type = String)]
    pub manager: ManagerId,
    /// Its name.
    pub name: String,
    /// A link token, at the first time.
    pub link_token: Option<String>,
    /// The key that it has made for itself and that the token is exchanged for.
    pub key: String,
    /// Journal id of its site journal, as 32 hex digits.
    pub site_journal: String,
    /// The position after the last durable one of its site journal.
    pub site_next: u64,
    /// Version of the program.
    pub build: String,
}

/// What the Server answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Welcome {
    /// Who the Server is.
    #[schema(value_type = String)]
    pub server: ManagerId,
    /// The Server's term.
    pub term: u64,
    /// Journal id of the control journal, as 32 hex digits.
    pub control_journal: String,
    /// The position after the last durable one of the control journal.
    pub control_next: u64,
    /// The oldest position that the control journal still has.
    #[serde(default = "from_its_origin")]
    pub control_oldest: u64,
    /// The position of the site journal that the Server wants next.
    pub site_next: u64,
    /// The chain value of its mirror before that position, as 64 hex digits.
    pub site_chain: String,
}

/// A Server that does not say has retired nothing.
fn from_its_origin() -> u64 {
    1
}

/// What the Server says about a push.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pushed {
    /// The position that it wants next.
    pub next: u64,
}

/// The link as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFile {
    /// The Server's address.
    pub url: String,
    /// A token that has not been exchanged yet.
    pub link_token: Option<String>,
    /// The key that the token is exchanged for.
    pub key: Option<String>,
    /// Who the Server is, once it has been met.
    pub server: Option<ManagerId>,
    /// The highest term that was followed. The copy of the control journal may not have it yet.
    #[serde(default)]
    pub term: u64,
}

/// The link to a Server above, on a Manager.
#[derive(Debug)]
pub struct Link {
    path: PathBuf,
    file: Mutex<Option<LinkFile>>,
    trouble: Mutex<Option<String>>,
}

impl Link {
    /// Reads whether this Manager is linked; `wanted` links it or moves the link.
    pub fn open(data: &DataDir, wanted: Option<&(String, Option<String>)>) -> Result<Self, Error> {
        let path = data.path("link.json");
        let mut file: Option<LinkFile> = match std::fs::read(&path) {
            Ok(bytes) => {
                Some(
                    serde_json::from_slice(&bytes).map_err(|error| Error::Configuration {
                        path: path.clone(),
                        what: format!("{error}; remove the file and link the Manager anew"),
                    })?,
                )
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => {
                return Err(Error::File {
                    doing: "read",
                    path,
                    source,
                });
            }
        };
        if let Some((url, token)) = wanted {
            let url = url.trim_end_matches('/').to_owned();
            let old = file.take();
            let same = old.filter(|old| old.url == url || token.is_none());
            let linked = LinkFile {
                url,
                link_token: token.clone(),
                key: same.as_ref().and_then(|old| old.key.clone()),
                term: same.as_ref().map_or(0, |old| old.term),
                server: same.and_then(|old| old.server),
            };
            if linked.link_token.is_none() && linked.key.is_none() {
                return Err(Error::Server {
                    doing: "link to",
                    url: linked.url,
                    what: "a link token is needed at the first time; get one with `tablao managers link-token --url <the Server>` and pass it as --link-token".to_owned(),
                });
            }
            file = Some(linked);
        }
        let link = Self {
            path,
            file: Mutex::new(None),
            trouble: Mutex::new(None),
        };
        if let Some(file) = file {
            link.remember(file)?;
        }
        Ok(link)
    }

    /// A Server above owns the control journal.
    pub fn is_linked(&self) -> bool {
        self.get().is_some()
    }

    /// The link as it is remembered.
    pub fn get(&self) -> Option<LinkFile> {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Why the link is down, and what to do about it; `None` while it holds.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_trouble(&self, what: Option<&str>) {
        let trouble = self.trouble.lock();
        *trouble.unwrap_or_else(PoisonError::into_inner) = what.map(str::to_owned);
    }

    fn remember(&self, file: LinkFile) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(&file).expect("strings are JSON");
        write_durably(&self.path, &text)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }
}

/// A journal id as 32 hex digits.
pub fn hex_id(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).simple().to_string()
}

/// A chain value as 64 hex digits.
pub fn hex_chain(chain: [u8; 32]) -> String {
    blake3::Hash::from_bytes(chain).to_hex().to_string()
}

/// Reads a journal id.
pub fn parse_hex_id(text: &str) -> Option<[u8; 16]> {
    uuid::Uuid::try_parse(text).ok().map(uuid::Uuid::into_bytes)
}
