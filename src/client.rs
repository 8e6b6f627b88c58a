// SPDX-License-Identifier: GPL-3.0-or-later
//! How the command line talks to a farm: address, token, requests, and what an error answer means.
//!
//! Answers stay JSON: the commands print what the API says and know no more of it than they show.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::{
    Method, Response, StatusCode,
    header::{ETAG, HeaderValue, IF_MATCH},
};
use serde_json::Value;

use crate::exit::{Code, Exit};

/// A Manager answers within milliseconds; a Server that places a job may wait a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a restarting Manager may take before a submission or a wait gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Which farm, and who asks.
#[derive(Args, Clone)]
pub(crate) struct Address {
    /// The farm's address.
    #[arg(
        long,
        global = true,
        help_heading = "Farm",
        value_name = "URL",
        env = "TABLAO_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) url: String,
    /// A token, where the farm asks for one.
    #[arg(
        long,
        global = true,
        help_heading = "Farm",
        value_name = "TOKEN",
        env = "TABLAO_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

/// A farm that can be asked.
pub(crate) struct Farm {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Farm {
    pub(crate) fn new(address: &Address) -> anyhow::Result<Self> {
        let base = address.url.trim_end_matches('/').to_owned();
        let sound = reqwest::Url::parse(&base).is_ok_and(|url| url.scheme() == "http");
        if !sound {
            return Err(Exit::new(
                Code::Usage,
                format!("{base:?} is not the address of a farm; it looks like http://HOST:8080"),
            )
            .into());
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("Tablao-CLI/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // A farm is on the local network; a proxy for the web does not lead there.
            .no_proxy()
            .build()
            .context("make an HTTP client")?;
        Ok(Self {
            http,
            base,
            token: address.token.clone(),
        })
    }

    /// Where it is, for messages.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Reads JSON; `Null` where the farm has nothing to say.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let request = self.request(Method::GET, path).query(query);
        json(self.checked(request.send().await).await?).await
    }

    /// Reads text.
    pub(crate) async fn text(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<String> {
        let request = self.request(Method::GET, path).query(query);
        let answer = self.checked(request.send().await).await?;
        answer.text().await.context("read the farm's answer")
    }

    /// Reads bytes.
    pub(crate) async fn bytes(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<Vec<u8>> {
        let request = self.request(Method::GET, path).query(query);
        let answer = self.checked(request.send().await).await?;
        let bytes = answer.bytes().await.context("read the farm's answer")?;
        Ok(bytes.to_vec())
    }

    /// Sends a change.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path).json(body);
        json(self.checked(request.send().await).await?).await
    }

    /// Sends a change that is refused unless what it would do is still what an entity tag names.
    /// Gives the answer with its own tag.
    pub(crate) async fn post_if(
        &self,
        path: &str,
        body: &Value,
        if_match: Option<&str>,
    ) -> anyhow::Result<(Value, Option<String>)> {
        let mut request = self.request(Method::POST, path).json(body);
        if let Some(tag) = if_match {
            request = request.header(IF_MATCH, tag);
        }
        let answer = self.checked(request.send().await).await?;
        let tag = answer.headers().get(ETAG);
        let tag = tag.and_then(|tag| Some(tag.to_str().ok()?.to_owned()));
        Ok((json(answer).await?, tag))
    }

    /// Sends a change under a key, again and again while the connection fails: the farm answers
    /// a repeated key with the first answer, so nothing happens twice.
    pub(crate) async fn post_once(
        &self,
        path: &str,
        body: &Value,
        key: &str,
    ) -> anyhow::Result<Value> {
        let begun = std::time::Instant::now();
        loop {
            let request = self.request(Method::POST, path).json(body);
            let sent = request.header("Idempotency-Key", key).send().await;
            match sent {
                Err(error) if !error.is_builder() && begun.elapsed() < PATIENCE => {
                    tracing::warn!(%error, "no answer yet; sending it again");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                sent => return json(self.checked(sent).await?).await,
            }
        }
    }

    /// Deletes.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let request = self.request(Method::DELETE, path);
        self.checked(request.send().await).await?;
        Ok(())
    }

    /// The page's answer is 200.
    pub(crate) async fn is_ready(&self) -> bool {
        let sent = self.request(Method::GET, "/readyz").send().await;
        sent.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        // While the farm asks for no token, this is who it notes down.
        let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME"));
        if let Some(user) = user.ok().and_then(|user| HeaderValue::from_str(&user).ok()) {
            request = request.header("Tablao-User", user);
        }
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn checked(&self, sent: reqwest::Result<Response>) -> anyhow::Result<Response> {
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => {
                let what = innermost(&error);
                return Err(Exit::new(
                    Code::Unreachable,
                    format!(
                        "could not reach the farm at {}: {what}. Is it running? `tablao up` starts \
                         one here; --url or TABLAO_URL says where another one is",
                        self.base
                    ),
                )
                .into());
            }
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        Err(Exit::new(code_of(status), words_of(status, &text)).into())
    }
}

/// What a status of an error answer means on the command line.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        // What was given cannot be used: unknown type, wrong value, not an id.
        400 | 413 => Code::Usage,
        401 | 403 | 409 | 412 | 422 | 423 | 429 | 501 | 507 => Code::Refused,
        502..=504 => Code::Unreachable,
        _ => Code::Failed,
    }
}

/// The words of an error answer, Flamenco's shape or RFC 9457's.
fn words_of(status: StatusCode, text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    let said = field("message").or(field("detail")).or(field("title"));
    let mut words = said.map_or_else(
        || format!("the farm answered {status} {}", text.trim()),
        str::to_owned,
    );
    if let Some(hint) = field("hint") {
        words.push_str(". ");
        words.push_str(hint);
    }
    words.trim_end().to_owned()
}

async fn json(answer: Response) -> anyhow::Result<Value> {
    let text = answer.text().await.context("read the farm's answer")?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).context("read the farm's answer: it is not JSON")
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Runs a client's work to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(work)
}
