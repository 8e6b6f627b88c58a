// SPDX-License-Identifier: GPL-3.0-or-later
//! The Worker's HTTP client: one method per endpoint it calls, nothing else.
//!
//! It neither retries nor decides: every outcome goes back to the caller as an answer, a refusal
//! with its status, or "not reached".

use std::sync::{Arc, RwLock};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::health::ManagerClock;
use crate::identity::Identity;
use crate::wire::{
    AssignedTask, HealthAnswer, HealthReport, MayKeepRunning, Registered, Registration, SignOn,
    StatusChanged, StatusRequested, TaskUpdate,
};
use crate::{Error, VERSION};

/// Longest wait for an answer that is not a long poll. Generous: a Manager under load waits
/// rather than answering with an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A call that brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody answered, or the answer broke off.
    #[error("not reached: {0}")]
    Unreachable(#[from] reqwest::Error),
    /// The Manager answered with another status than hoped for.
    #[error("answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// Whether it spoke as a Manager does (a JSON object), unlike some proxy between.
        from_manager: bool,
    },
}

/// What `POST worker/task` can say.
#[derive(Debug)]
pub(crate) enum TaskAnswer {
    /// Run this.
    Task(Box<AssignedTask>),
    /// Nothing to do now.
    Nothing,
    /// This Worker is not awake in the Manager's eyes.
    NotAwake,
    /// Another status is asked of this Worker.
    StatusRequested(String),
}

/// A cheap handle; clones share connections and credentials.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    credentials: Arc<RwLock<Option<Identity>>>,
    clock: ManagerClock,
}

impl Client {
    /// A client for the Manager at `manager_url`; without a scheme it is taken as http.
    pub(crate) fn new(manager_url: &str) -> Result<Self, Error> {
        let with_scheme = if manager_url.contains("://") {
            manager_url.to_owned()
        } else {
            format!("http://{manager_url}")
        };
        let parsed = reqwest::Url::parse(&with_scheme)
            .map_err(|_| Error::ManagerUrl(manager_url.to_owned()))?;
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(Error::ManagerUrl(manager_url.to_owned()));
        }
        let http = reqwest::Client::builder()
            .user_agent(format!("Tablao/{VERSION}"))
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(Error::HttpClient)?;
        Ok(Self {
            http,
            base: parsed.as_str().trim_end_matches('/').into(),
            credentials: Arc::default(),
            clock: ManagerClock::default(),
        })
    }

    pub(crate) fn set_credentials(&self, identity: Identity) {
        *self.credentials.write().expect("no holder panics") = Some(identity);
    }

    /// The Manager's address as it is shown in the log.
    pub(crate) fn address(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .timeout(ANSWER_TIMEOUT);
        match &*self.credentials.read().expect("no holder panics") {
            Some(identity) => {
                request.basic_auth(&identity.worker_id, Some(&identity.worker_secret))
            }
            None => request,
        }
    }

    /// Sends a request, and notes what the Manager's clock shows.
    async fn send(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        let answer = request.send().await?;
        self.clock.note(answer.headers());
        Ok(answer)
    }

    /// The Manager's clock beside this machine's.
    pub(crate) fn clock(&self) -> &ManagerClock {
        &self.clock
    }

    pub(crate) async fn register(&self, body: &Registration) -> Result<Registered, CallError> {
        let request = self.request(Method::POST, "/api/v3/worker/register-worker");
        read(self.send(request.json(body)).await?).await
    }

    pub(crate) async fn sign_on(&self, body: &SignOn) -> Result<StatusRequested, CallError> {
        let request = self.request(Method::POST, "/api/v3/worker/sign-on");
        read(self.send(request.json(body)).await?).await
    }

    pub(crate) async fn sign_off(&self) -> Result<(), CallError> {
        let request = self.request(Method::POST, "/api/v3/worker/sign-off");
        expect_success(self.send(request.timeout(Duration::from_secs(5))).await?).await
    }

    /// The status somebody asks for, `None` when there is nothing to change.
    pub(crate) async fn state(&self) -> Result<Option<StatusRequested>, CallError> {
        let request = self.request(Method::GET, "/api/v3/worker/state");
        let answer = self.send(request).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        read(answer).await.map(Some)
    }

    pub(crate) async fn state_changed(&self, status: &str) -> Result<(), CallError> {
        let body = StatusChanged {
            status: status.to_owned(),
        };
        let request = self.request(Method::POST, "/api/v3/worker/state-changed");
        expect_success(self.send(request.json(&body)).await?).await
    }

    /// Asks for work; the Manager may hold the answer back for `wait` until there is some.
    pub(crate) async fn task(&self, wait: Duration) -> Result<TaskAnswer, CallError> {
        let request = self
            .request(Method::POST, "/api/v3/worker/task")
            .header("Prefer", format!("wait={}", wait.as_secs()))
            .timeout(wait + ANSWER_TIMEOUT);
        let answer = self.send(request).await?;
        match answer.status() {
            StatusCode::NO_CONTENT => Ok(TaskAnswer::Nothing),
            StatusCode::CONFLICT => Ok(TaskAnswer::NotAwake),
            StatusCode::LOCKED => {
                // A refusal with content: 423 carries the status that is asked for.
                let requested: StatusRequested = answer.json().await?;
                Ok(TaskAnswer::StatusRequested(requested.status_requested))
            }
            _ => read(answer)
                .await
                .map(|task| TaskAnswer::Task(Box::new(task))),
        }
    }

    pub(crate) async fn task_update(
        &self,
        task: &str,
        update: &TaskUpdate,
    ) -> Result<(), CallError> {
        let request = self.request(Method::POST, &format!("/api/v3/worker/task/{task}"));
        expect_success(self.send(request.json(update)).await?).await
    }

    pub(crate) async fn may_i_run(
        &self,
        task: &str,
        attempt: &str,
    ) -> Result<MayKeepRunning, CallError> {
        let path = format!("/api/v3/worker/task/{task}/may-i-run");
        let request = self
            .request(Method::GET, &path)
            .header("Tablao-Attempt", attempt);
        read(self.send(request).await?).await
    }

    /// Says how this machine is, and learns what follows.
    pub(crate) async fn health(&self, report: &HealthReport) -> Result<HealthAnswer, CallError> {
        let request = self.request(Method::POST, "/api/farm/v1/worker/health");
        read(self.send(request.json(report)).await?).await
    }

    /// Sends a preview for "last rendered".
    pub(crate) async fn output_produced(
        &self,
        task: &str,
        content_type: &str,
        image: Vec<u8>,
    ) -> Result<(), CallError> {
        let path = format!("/api/v3/worker/task/{task}/output-produced");
        let request = self
            .request(Method::POST, &path)
            .header(header::CONTENT_TYPE, content_type);
        expect_success(self.send(request.body(image)).await?).await
    }

    /// Sends the thumbnail of a frame.
    pub(crate) async fn thumbnail(
        &self,
        shot: &str,
        file_name: &str,
        attempt: &str,
        frame: i64,
        content_type: &str,
        image: Vec<u8>,
    ) -> Result<(), CallError> {
        let path = format!(
            "/api/farm/v1/worker/thumbnails/{}/{}",
            path_segment(shot),
            path_segment(file_name)
        );
        let request = self
            .request(Method::POST, &path)
            .header(header::CONTENT_TYPE, content_type)
            .header("Tablao-Frame", frame)
            .header("Tablao-Attempt", attempt);
        expect_success(self.send(request.body(image)).await?).await
    }
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, CallError> {
    if answer.status().is_success() {
        Ok(answer.json().await?)
    } else {
        Err(refusal(answer).await)
    }
}

async fn expect_success(answer: Response) -> Result<(), CallError> {
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(refusal(answer).await)
    }
}

async fn refusal(answer: Response) -> CallError {
    let status = answer.status().as_u16();
    let text = match answer.text().await {
        Ok(text) => text,
        Err(error) => return CallError::Unreachable(error),
    };
    let parsed: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&text).ok();
    let words = parsed.as_ref().and_then(|object| {
        ["message", "detail", "title"]
            .iter()
            .find_map(|key| object.get(*key).and_then(|value| value.as_str()))
    });
    CallError::Status {
        status,
        message: words
            .unwrap_or(text.as_str())
            .chars()
            .take(300)
            .collect::<String>(),
        from_manager: parsed.is_some(),
    }
}

/// Percent-encodes what must not be read as part of the path around it.
fn path_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manager_addresses_are_read_as_people_write_them() {
        // Protects the forms `host`, `host:port` and a URL with a path below which the API lies.
        let address = |text: &str| Client::new(text).map(|client| client.address().to_owned());
        assert_eq!(address("farm:8080").unwrap(), "http://farm:8080");
        assert_eq!(address("farm").unwrap(), "http://farm");
        assert_eq!(
            address("http://farm:8080/sub/").unwrap(),
            "http://farm:8080/sub"
        );
        assert!(matches!(address("http://"), Err(Error::ManagerUrl(_))));
    }

    #[test]
    fn a_file_name_stays_one_path_segment() {
        // Protects the thumbnails endpoint from names with slashes, blanks and other letters.
        assert_eq!(path_segment("a b/ü#1.jpg"), "a%20b%2F%C3%BC%231.jpg");
    }
}
