// SPDX-License-Identifier: GPL-3.0-or-later
//! Every operation of `/api/v3` with every code that its document names, on real nodes over real
//! HTTP: status, content type, emptiness, and the whole body against its schema.
//!
//! Each area lists its cases; the last test holds the lists against the document. What clients
//! do one after the other is in v3.rs, v3_worker.rs and v3_shaman.rs.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod case;
mod failing_store;
#[path = "../../../tests/journal_reader/folder.rs"]
#[allow(dead_code, reason = "shared with tests that use other parts of it")]
mod folder;
mod ground;
mod jobs;
mod meta;
mod not_here_yet;
mod schema;
mod shaman;
mod tasks;
mod worker;
mod worker_mgt;

use std::collections::BTreeSet;

use ground::Grounds;

/// Codes that no case here brings about, and who holds them instead.
const ELSEWHERE: &[(&str, u16, &str)] = &[
    (
        "submitJob",
        507,
        "tests/bad_store.rs fills a disk, which needs a file system of its own",
    ),
    (
        "shamanCheckout",
        507,
        "needs a full disk; shaman/src/error.rs tells it apart",
    ),
    (
        "shamanCheckout",
        409,
        "comes when ten names that were drawn by lot are all taken",
    ),
    (
        "shamanFileStore",
        507,
        "needs a full disk; shaman/src/error.rs tells it apart",
    ),
    ("shamanFileStore", 408, "comes after two minutes of silence"),
    (
        "deleteJob",
        501,
        "needs a job at a linked Manager; net/tests/link.rs",
    ),
    (
        "removeJobBlocklist",
        501,
        "needs a job at a linked Manager; net/tests/link.rs",
    ),
    (
        "setJobTag",
        501,
        "needs a job at a linked Manager; net/tests/link.rs",
    ),
    (
        "setTaskStatus",
        501,
        "needs a job at a linked Manager; net/tests/link.rs",
    ),
];

/// Protects the list of cases from falling behind the document, and the document from naming
/// codes that never come.
#[test]
fn every_code_of_every_operation_is_covered() {
    let grounds = Grounds::default();
    let document = grounds.manager().get_json("/api/v3/openapi3.json");
    let mut documented = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            for code in operation["responses"].as_object().unwrap().keys() {
                documented.insert((id, code.parse::<u16>().unwrap()));
            }
        }
    }
    let areas = [
        meta::CASES,
        worker::CASES,
        worker_mgt::CASES,
        jobs::CASES,
        tasks::CASES,
        shaman::CASES,
    ];
    let cases = areas.into_iter().flatten();
    let mut covered: BTreeSet<(&str, u16)> = cases.map(|(id, code, _)| (*id, *code)).collect();
    for (id, code, reason) in ELSEWHERE {
        assert!(
            covered.insert((id, *code)),
            "{id} {code} is covered here: {reason}"
        );
    }
    let missing: Vec<_> = documented.difference(&covered).collect();
    let invented: Vec<_> = covered.difference(&documented).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "without a case: {missing:?}; not in the document: {invented:?}"
    );
}
