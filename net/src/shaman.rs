// SPDX-License-Identifier: GPL-3.0-or-later
//! The content store in a running Manager: when it is there, when it is collected, and which
//! checkout goes with a job. What a store is stands in the crate `tablao-shaman`.

use std::time::{Duration, SystemTime};

use tablao_core::JobId;
use tablao_shaman::{CheckoutPath, Collection, Error, Garbage, Store};

use crate::{
    config::Config,
    node::{Node, SharedNode},
};

/// The first collection waits until a start has settled.
const FIRST_COLLECTION: Duration = Duration::from_secs(30);

/// The store of this configuration; none when it is switched off, or while nobody has said where
/// the shared storage is.
pub fn store(config: &Config) -> Option<Store> {
    let root = &config.shared_storage_path;
    if !config.shaman.enabled || root.as_os_str().is_empty() {
        return None;
    }
    let root = std::path::absolute(root).unwrap_or_else(|_| root.clone());
    Some(Store::new(&root))
}

/// Collects once, by the configured age.
pub fn collect(store: &Store, config: &Config, dry_run: bool) -> Result<Garbage, Error> {
    store.collect(&Collection {
        now: SystemTime::now(),
        age_max: Duration::from_secs(config.shaman.garbage_collect_age_max_s.into()),
        dry_run,
    })
}

/// Collects now and then, as configured, for ever.
pub(crate) async fn collect_regularly(node: SharedNode) {
    let mut changes = node.settings.changes();
    tokio::time::sleep(FIRST_COLLECTION).await;
    loop {
        let in_force = node.in_force();
        let period = in_force.config.shaman.garbage_collect_period_s;
        let Some(store) = in_force.shaman.clone().filter(|_| period > 0) else {
            // Nothing to collect until somebody says otherwise.
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let collected =
            tokio::task::spawn_blocking(move || collect(&store, &in_force.config, false)).await;
        match collected {
            Ok(Ok(garbage)) => tracing::info!(
                files = garbage.blobs.len(),
                bytes = garbage.bytes,
                in_use = garbage.in_use,
                "collected unused files of the shared storage"
            ),
            Ok(Err(error)) => {
                tracing::warn!(error = %causes(&error), "collect unused files; nothing in doubt was removed");
            }
            Err(error) => tracing::error!(%error, "the collection of unused files panicked"),
        }
        tokio::time::sleep(Duration::from_secs(period.into())).await;
    }
}

/// Deleting this job erases a checkout.
pub fn goes_with(node: &Node, job: JobId) -> bool {
    let found = checkout_of(node, job);
    found.is_some_and(|(store, checkout)| store.has_checkout(&checkout).unwrap_or(false))
}

/// Erases the checkout of a job that is being deleted, if it has one of its own. `true` if there
/// was one. To be called before the job's record of it goes.
pub fn erase_with(node: &Node, job: JobId) -> Result<bool, Error> {
    match checkout_of(node, job) {
        Some((store, checkout)) => store.erase(&checkout),
        None => Ok(false),
    }
}

/// The checkout of a job. A submission may name any checkout, so one that another job's files
/// lie in, or lie below, is not this job's to erase.
fn checkout_of(node: &Node, job: JobId) -> Option<(Store, CheckoutPath)> {
    let store = node.shaman()?;
    let mut own = None;
    let mut others = Vec::new();
    for site in node.sites() {
        let model = site.read();
        for row in model.jobs() {
            let named = &row.detail.shaman_checkout;
            if named.is_empty() {
                continue;
            }
            let Ok(checkout) = CheckoutPath::existing(named) else {
                continue;
            };
            if row.id == job {
                own = Some(checkout);
            } else {
                others.push(checkout);
            }
        }
    }
    let own = own?;
    let shared = others
        .iter()
        .any(|other| own.contains(other) || other.contains(&own));
    (!shared).then_some((store, own))
}

/// An error with its causes, for the log.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
