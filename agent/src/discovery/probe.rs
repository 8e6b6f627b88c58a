// SPDX-License-Identifier: GPL-3.0-or-later
//! Asking an address whether a Manager is there, and whether it knows this Worker.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::{Error, VERSION, identity::Identity};

/// A Manager on this network answers in this time.
const PATIENCE: Duration = Duration::from_secs(3);

/// What an address turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A Manager for this Worker.
    Manager {
        /// Its name for people.
        name: String,
        /// Its version, as it says it.
        version: String,
    },
    /// A Manager that does not know this Worker.
    Stranger,
    /// No Manager.
    Nobody,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    name: String,
}

/// Asks addresses.
#[derive(Clone)]
pub(super) struct Probe {
    http: reqwest::Client,
    identity: Option<Identity>,
}

impl Probe {
    pub(super) fn new(identity: Option<Identity>) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .user_agent(format!("Tablao/{VERSION}"))
            .timeout(PATIENCE)
            // The identity goes to the address that was asked, and no further.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::HttpClient)?;
        Ok(Self { http, identity })
    }

    pub(super) async fn ask(&self, url: &str) -> Verdict {
        self.try_to_ask(url).await.unwrap_or(Verdict::Nobody)
    }

    async fn try_to_ask(&self, url: &str) -> Result<Verdict, reqwest::Error> {
        let base = url.trim_end_matches('/');
        let answer = self.http.get(format!("{base}/api/v3/version")).send();
        let Version { version, name } = answer.await?.error_for_status()?.json().await?;
        let manager = Verdict::Manager { name, version };
        let Some(identity) = &self.identity else {
            return Ok(manager);
        };
        let state = (self.http.get(format!("{base}/api/v3/worker/state")))
            .basic_auth(&identity.worker_id, Some(&identity.worker_secret));
        Ok(match state.send().await?.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => manager,
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Verdict::Stranger,
            _ => Verdict::Nobody,
        })
    }
}
