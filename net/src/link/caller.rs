// SPDX-License-Identifier: GPL-3.0-or-later
//! Calls to the Server above: addresses, the key, and errors that a person can act on.
//!
//! Knows HTTP and the link file; what is said and when is decided elsewhere.

use std::{error::Error as _, time::Duration};

use serde::de::DeserializeOwned;

use super::LinkFile;
use crate::{Error, node::Node};

/// Who calls whom.
pub(super) struct Caller {
    client: reqwest::Client,
    link: LinkFile,
    manager: String,
}

impl Caller {
    pub(super) fn new(node: &Node, link: LinkFile) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("Tablao-Manager/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Server {
                doing: "prepare to call",
                url: link.url.clone(),
                what: in_words(&error),
            })?;
        Ok(Self {
            client,
            link,
            manager: node.manager().to_string(),
        })
    }

    /// The link as it was when this began.
    pub(super) fn link(&self) -> &LinkFile {
        &self.link
    }

    /// An error of the link.
    pub(super) fn error(&self, doing: &'static str, what: impl Into<String>) -> Error {
        Error::Server {
            doing,
            url: self.link.url.clone(),
            what: what.into(),
        }
    }

    pub(super) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(super) fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/farm/v1/replication/{path}", self.link.url)
    }

    /// Sends with the key; anything but success is an error in the Server's own words.
    pub(super) async fn send(
        &self,
        doing: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Error> {
        let answer = request
            .bearer_auth(self.link.key.as_deref().unwrap_or_default())
            .header("tablao-manager", &self.manager)
            .send()
            .await
            .map_err(|error| self.error(doing, in_words(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        let message = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
            .unwrap_or(text);
        Err(self.error(doing, format!("it answered {status}: {message}")))
    }

    /// The same, for an answer in JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Error> {
        let answer = self.send(doing, request).await?;
        let answer = answer.json().await;
        answer.map_err(|error| self.error(doing, in_words(&error)))
    }

    /// The same, for an answer in bytes.
    pub(super) async fn bytes(
        &self,
        doing: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<Vec<u8>, Error> {
        let answer = self.send(doing, request).await?;
        let bytes = answer.bytes().await;
        let bytes = bytes.map_err(|error| self.error(doing, in_words(&error)))?;
        Ok(bytes.to_vec())
    }
}

/// An error with its causes; the address is told beside it.
fn in_words(error: &reqwest::Error) -> String {
    let mut text = match error {
        error if error.is_connect() => "nothing answers there".to_owned(),
        error if error.is_timeout() => "no answer in time".to_owned(),
        error if error.is_decode() => "its answer is not understood".to_owned(),
        _ => "the line broke".to_owned(),
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
