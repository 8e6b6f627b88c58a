// SPDX-License-Identifier: GPL-3.0-or-later
//! Lists in pages. A cursor names the key of the last item seen, never a count, so a walk
//! through a list that changes meets every item that stays, and none twice.

use axum::Json;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemKind};
use crate::whole::Whole;

/// Items of a page when the caller does not say.
pub(super) const LIMIT_DEFAULT: usize = 100;
/// Items of a page at most: some 500 KB of tasks, and a lock held for about a millisecond.
pub(super) const LIMIT_MAX: usize = 1000;

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Page<T: ToSchema> {
    /// The items.
    pub(super) items: Vec<T>,
    /// Cursor of the next page. Absent: this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    /// Where the farm stood; events after it are what the list does not show yet.
    pub(super) position: String,
}

/// Which part of a list is wanted.
pub(super) struct Wanted<K> {
    list: &'static str,
    limit: usize,
    after: Option<K>,
}

impl<K: Serialize + DeserializeOwned + Ord> Wanted<K> {
    /// Reads the two parameters that every list has.
    pub(super) fn new(
        list: &'static str,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Self, Problem> {
        Ok(Self {
            list,
            limit: limit_of(limit)?,
            after: cursor.map(|text| decode(list, text)).transpose()?,
        })
    }

    /// The key comes after those already seen.
    pub(super) fn is_after(&self, key: &K) -> bool {
        self.after.as_ref().is_none_or(|after| key > after)
    }

    /// Items on the page at most.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The key of the last item already seen.
    pub(super) fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }

    /// Takes from one site, in order of the keys, as much as could be on the page: one more than
    /// its limit, which tells whether another page follows.
    pub(super) fn take<R>(
        &self,
        rows: impl Iterator<Item = (K, R)>,
    ) -> impl Iterator<Item = (K, R)> {
        rows.filter(|(key, _)| self.is_after(key))
            .take(self.limit + 1)
    }

    /// Makes the page of rows from all sites, and presents those on it.
    pub(super) fn page<R, T: ToSchema>(
        self,
        whole: &Whole<'_>,
        mut rows: Vec<(K, R)>,
        present: impl Fn(R) -> T,
    ) -> Json<Page<T>> {
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|(key, _)| encode(self.list, key));
        Json(Page {
            items: rows.into_iter().map(|(_, row)| present(row)).collect(),
            next,
            position: whole.position().to_string(),
        })
    }
}

/// The number of items on a page.
pub(super) fn limit_of(limit: Option<u32>) -> Result<usize, Problem> {
    match limit.map(|limit| limit as usize) {
        None => Ok(LIMIT_DEFAULT),
        Some(limit @ 1..=LIMIT_MAX) => Ok(limit),
        Some(_) => Err(Problem::new(
            ProblemKind::BadQuery,
            format!("limit: must be from 1 to {LIMIT_MAX}"),
        )),
    }
}

fn encode<K: Serialize>(list: &str, key: &K) -> String {
    let text = serde_json::to_vec(&(list, key)).expect("keys are ids, numbers and names");
    URL_SAFE_NO_PAD.encode(text)
}

fn decode<K: DeserializeOwned>(list: &str, cursor: &str) -> Result<K, Problem> {
    let key = URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<(String, K)>(&bytes).ok())
        .filter(|(of, _)| of == list)
        .map(|(_, key)| key);
    key.ok_or_else(|| {
        Problem::new(
            ProblemKind::BadCursor,
            "cursor: not one that this list gave",
        )
    })
}
