// SPDX-License-Identifier: GPL-3.0-or-later
//! What all commands that look at a farm share: its address, `--json`, pages of a list.

use std::borrow::Cow;

use clap::Args;
use serde_json::{Map, Value};

use super::settings::pair;
use crate::{
    client::{Address, Farm},
    output::{self, Column},
};

/// As many as the farm gives on one page at most.
const PAGE_ITEMS_MAX: u32 = 1000;

/// Where the farm is and how to print.
#[derive(Args)]
pub(crate) struct Client {
    #[command(flatten)]
    address: Address,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// How much of a list.
#[derive(Args)]
pub(crate) struct Listing {
    /// As many items at most.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
}

/// When.
#[derive(Args)]
pub(crate) struct Time {
    /// Only from this time on, RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Whose and what: what jobs, and frames by their jobs, are looked for by.
#[derive(Args)]
pub(crate) struct OfJob {
    /// Only this job type.
    #[arg(long = "type", value_name = "TYPE")]
    job_type: Option<String>,
    /// Only names with this in them.
    #[arg(long)]
    name: Option<String>,
    /// Only this user's.
    #[arg(long)]
    user: Option<String>,
    /// Only this project's.
    #[arg(long)]
    project: Option<String>,
    /// Only this shot's (name or id).
    #[arg(long)]
    shot: Option<String>,
    /// Only with this worker tag (name or id).
    #[arg(long)]
    tag: Option<String>,
    /// Only what this worker (name or id) ran.
    #[arg(long)]
    worker: Option<String>,
    /// Only with this in the job's metadata; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    #[command(flatten)]
    time: Time,
}

/// Filters of a list, as the farm is asked for them.
pub(crate) type Filters = Vec<(Cow<'static, str>, String)>;

impl Time {
    /// Adds them to a query.
    pub(crate) fn add_to(self, filters_so_far: &mut Filters) {
        filters_so_far.extend(filters([("since", self.since), ("until", self.until)]));
    }
}

impl OfJob {
    /// Adds them to a query.
    pub(crate) fn add_to(self, filters_so_far: &mut Filters) {
        filters_so_far.extend(filters([
            ("type", self.job_type),
            ("name", self.name),
            ("user", self.user),
            ("project", self.project),
            ("shot", self.shot),
            ("tag", self.tag),
            ("worker", self.worker),
        ]));
        let metadata = self.metadata.into_iter();
        filters_so_far.extend(metadata.map(|(key, value)| (format!("meta.{key}").into(), value)));
        self.time.add_to(filters_so_far);
    }
}

/// A query's filters, from options that were or were not given.
pub(crate) fn filters<const N: usize>(options: [(&'static str, Option<String>); N]) -> Filters {
    let given = options
        .into_iter()
        .filter_map(|(name, value)| Some((Cow::Borrowed(name), value?)));
    given.collect()
}

impl Client {
    pub(crate) fn farm(&self) -> anyhow::Result<Farm> {
        Farm::new(&self.address)
    }

    /// Reads a list, page by page.
    pub(crate) async fn read(
        &self,
        path: &str,
        filters: Filters,
        limit: u32,
    ) -> anyhow::Result<(Vec<Value>, Map<String, Value>)> {
        let farm = self.farm()?;
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
            let mut query = filters.clone();
            query.push(("limit".into(), missing.clamp(1, PAGE_ITEMS_MAX).to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor".into(), cursor)));
            let query: Vec<(&str, String)> = (query.iter())
                .map(|(name, value)| (&**name, value.clone()))
                .collect();
            let mut page = match farm.get(path, &query).await? {
                Value::Object(page) => page,
                other => anyhow::bail!("the farm answered {path} with {other}, not with a list"),
            };
            if let Some(Value::Array(found)) = page.remove("items") {
                items.extend(found);
            }
            let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if next.is_none() || items.len() >= limit as usize {
                items.truncate(limit as usize);
                return Ok((items, page));
            }
            cursor = next;
        }
    }

    /// Prints a list.
    pub(crate) async fn list(
        &self,
        path: &str,
        filters: Filters,
        listing: &Listing,
        columns: &[Column],
    ) -> anyhow::Result<()> {
        let (items, rest) = self.read(path, filters, listing.limit).await?;
        if self.json {
            let mut whole = Map::from_iter([("items".to_owned(), Value::Array(items))]);
            whole.extend(rest);
            return output::json(&Value::Object(whole));
        }
        output::table(columns, &items)?;
        if rest.contains_key("next") {
            eprintln!("There are more; --limit shows them.");
        }
        Ok(())
    }

    /// Prints one thing.
    pub(crate) async fn show(&self, path: &str) -> anyhow::Result<()> {
        let found = self.farm()?.get(path, &[]).await?;
        if self.json {
            output::json(&found)
        } else {
            output::fields(&found)
        }
    }

    /// Prints what came of a change.
    pub(crate) fn say(&self, value: &Value, words: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            output::json(value)
        } else {
            output::line(&words())
        }
    }
}
