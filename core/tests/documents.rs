// SPDX-License-Identifier: GPL-3.0-or-later
//! The pages of docs/ that describe the core say what the code says: the list of event kinds,
//! and the tables of what may be asked of jobs and tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use tablao_core::{
    JobStatus, TaskStatus,
    kind::{DetailShape, DigestRole, KINDS},
    machine::{job_wish, task_wish_allowed},
};

fn page(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", name]
        .iter()
        .collect();
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of each row below the table whose header begins with `header`.
fn tables(page: &str, header: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with(header) {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("|---") {
            let cells = line.trim_matches('|').split('|');
            rows.push(cells.map(|cell| cell.trim().to_owned()).collect());
        }
    }
    rows
}

/// Protects readers of journals: docs/events.md lists exactly the kinds there are, each with
/// its version, details and what the digest sees.
#[test]
fn the_page_of_events_lists_every_kind() {
    let page = page("events.md");
    let rows = tables(
        &page,
        "| Number | Kind | Version | Since | Details | Digest | Meaning |",
    );
    let listed: BTreeMap<u16, &[String]> = rows
        .iter()
        .map(|row| (row[0].parse().expect("a number"), &row[1..]))
        .collect();
    assert_eq!(listed.len(), rows.len(), "each number is listed once");
    for kind in KINDS {
        let row = listed
            .get(&kind.number)
            .unwrap_or_else(|| panic!("docs/events.md lacks {} {}", kind.number, kind.name));
        let detail = match kind.detail {
            DetailShape::None => "–".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        let digest = match kind.digest {
            DigestRole::Changes => "yes",
            DigestRole::History => "history",
        };
        let version = kind.version.to_string();
        let expected = [kind.name, &version, "0.1", &detail, digest];
        assert_eq!(row[..5], expected, "the row of {}", kind.name);
        assert!(row[5].len() > 10, "{} has a meaning", kind.name);
    }
    assert_eq!(
        listed.len(),
        KINDS.len(),
        "docs/events.md lists a kind that is not there"
    );
}

/// The words in backquotes of a cell.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The pairs (from, wish) that a table of wishes grants.
fn granted(page: &str, section: &str) -> BTreeSet<(String, String)> {
    let (_, rest) = page.split_once(section).expect("the page has this section");
    let end = rest.find("\n#").unwrap_or(rest.len());
    let mut pairs = BTreeSet::new();
    for row in tables(&rest[..end], "| Wish | From | What happens |") {
        for wish in names(&row[0]) {
            pairs.extend(names(&row[1]).into_iter().map(|from| (from, wish.clone())));
        }
    }
    assert!(!pairs.is_empty(), "no table of wishes below {section:?}");
    pairs
}

/// Protects users: what docs/state-machines.md says may be asked of a job is what may be asked.
#[test]
fn the_page_of_state_machines_knows_the_wishes_for_jobs() {
    let mut expected = BTreeSet::new();
    for from in JobStatus::ALL {
        for wish in JobStatus::ALL {
            if job_wish(*from, *wish).is_some() {
                expected.insert((from.to_string(), wish.to_string()));
            }
        }
    }
    let page = page("state-machines.md");
    assert_eq!(granted(&page, "### What may be asked of a job"), expected);
}

/// Protects users: the same for tasks at rest.
#[test]
fn the_page_of_state_machines_knows_the_wishes_for_tasks() {
    let mut expected = BTreeSet::new();
    for from in TaskStatus::ALL {
        for wish in TaskStatus::ALL {
            if task_wish_allowed(*from, *wish) {
                expected.insert((from.to_string(), wish.to_string()));
            }
        }
    }
    let page = page("state-machines.md");
    assert_eq!(granted(&page, "### What may be asked of a task"), expected);
}

/// Protects newcomers: every status has its line.
#[test]
fn every_status_is_explained() {
    let page = page("state-machines.md");
    let jobs = tables(&page, "| Status | Means | Tasks are handed out |");
    let tasks = tables(&page, "| Status | Means |");
    for status in JobStatus::ALL {
        let row = jobs.iter().find(|row| row[0] == format!("`{status}`"));
        let row = row.unwrap_or_else(|| panic!("no line about jobs that are {status}"));
        let handed_out = if status.is_schedulable() { "yes" } else { "no" };
        assert_eq!(row[2], handed_out, "{status}");
    }
    for status in TaskStatus::ALL {
        let explained = tasks.iter().any(|row| row[0] == format!("`{status}`"));
        assert!(explained, "no line about tasks that are {status}");
    }
}
