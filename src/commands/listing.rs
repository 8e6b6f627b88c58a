// SPDX-License-Identifier: GPL-3.0-or-later
//! What all commands that look at a farm share: its address, `--json`, pages of a list.

use clap::Args;
use serde_json::{Map, Value};

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

/// A query's filters, from options that were or were not given.
pub(crate) fn filters<const N: usize>(
    options: [(&'static str, Option<String>); N],
) -> Vec<(&'static str, String)> {
    let given = options
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
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
        filters: Vec<(&'static str, String)>,
        limit: u32,
    ) -> anyhow::Result<(Vec<Value>, Map<String, Value>)> {
        let farm = self.farm()?;
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
            let mut query = filters.clone();
            query.push(("limit", missing.clamp(1, PAGE_ITEMS_MAX).to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
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
        filters: Vec<(&'static str, String)>,
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
