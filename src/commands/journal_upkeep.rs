// SPDX-License-Identifier: GPL-3.0-or-later
//! The parts of `tablao journal` that write: repair into a copy, pack, move to a colder disk,
//! erase details.
//!
//! All but `repair`, which only reads where the damage is, need the data directory for themselves.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use serde_json::{Value, json};
use tablao_core::Request;
use tablao_journal::{
    Error, FileStore, Lsn, Reader, RealFiles, erase_details, move_cold, pack_sealed, salvage,
};
use tablao_net::{
    clock,
    data_dir::{CONTROL_JOURNAL, DataDir, SITE_JOURNAL},
};

use super::{
    backup::{copy_rest, journal_folders, only_into_empty},
    journal_note::note,
};
use crate::{
    exit::{Code, Exit},
    output,
};

fn existing(folder: &Path) -> Arc<dyn FileStore> {
    Arc::new(RealFiles::existing(folder))
}

fn print(rows: Vec<Value>, as_json: bool, line: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({ "journals": rows }));
    }
    for row in &rows {
        output::line(&line(row))?;
    }
    Ok(())
}

/// Saves what can be proven into a new data directory; the damaged one is only read.
pub(super) fn repair(data: &Path, to: &Path, as_json: bool) -> anyhow::Result<()> {
    only_into_empty(to)?;
    let mut rows = Vec::new();
    for folder in journal_folders(data)? {
        if folder != CONTROL_JOURNAL && folder != SITE_JOURNAL {
            // A mirror that is salvaged would be another history than its original's.
            rows.push(json!({ "folder": folder, "saved": false }));
            continue;
        }
        let target = Arc::new(RealFiles::create(to.join(&folder))?);
        let saved = salvage(existing(&data.join(&folder)), target, clock::now().micros())
            .with_context(|| format!("save {folder}"))?;
        let damage = saved.damage.map(|damage| {
            json!({
                "segment": damage.segment, "offset": damage.offset,
                "position": damage.lsn.get(), "what": damage.what,
            })
        });
        rows.push(json!({
            "folder": folder, "saved": true, "first": saved.first.get(),
            "last": saved.next.previous().get(), "incarnation": saved.incarnation,
            "chain": saved.chain.to_string(), "damage": damage,
        }));
    }
    if rows.is_empty() {
        return Err(Exit::new(
            Code::Usage,
            format!("there is no journal in {}", data.display()),
        )
        .into());
    }
    copy_rest(data, to)?;
    print(rows, as_json, |row| {
        let folder = row["folder"].as_str().unwrap_or_default();
        if row["saved"] == false {
            return format!("{folder} is a mirror; it is fetched again from its original");
        }
        let kept = format!(
            "{folder}: positions {} to {} are saved, and go on in incarnation {}",
            row["first"], row["last"], row["incarnation"]
        );
        match &row["damage"] {
            Value::Null => format!("{kept}; nothing is lost"),
            damage => format!(
                "{kept}; lost is everything from position {} on, because segment {} is damaged \
                 at byte {}: {}",
                damage["position"],
                damage["segment"].as_str().unwrap_or_default(),
                damage["offset"],
                damage["what"].as_str().unwrap_or_default()
            ),
        }
    })
}

/// Packs every sealed segment now.
pub(super) fn pack(data: &Path, as_json: bool) -> anyhow::Result<()> {
    let folders = journal_folders(data)?;
    let _alone = DataDir::open(data)?;
    let mut rows = Vec::new();
    for folder in folders {
        let packed =
            pack_sealed(&existing(&data.join(&folder))).map_err(|error| told(&folder, error))?;
        rows.push(json!({
            "folder": folder, "segments": packed.segments,
            "bytes_before": packed.bytes_before, "bytes_after": packed.bytes_after,
        }));
    }
    print(rows, as_json, |row| {
        format!(
            "{}: {} segments packed, {} bytes became {}",
            row["folder"].as_str().unwrap_or_default(),
            row["segments"],
            row["bytes_before"],
            row["bytes_after"]
        )
    })
}

/// Moves sealed segments to another disk; they are read from there.
pub(super) fn to_cold(data: &Path, to: &Path, as_json: bool) -> anyhow::Result<()> {
    let folders = journal_folders(data)?;
    let _alone = DataDir::open(data)?;
    let to = std::path::absolute(to)?;
    let mut rows = Vec::new();
    for folder in folders {
        let moved = move_cold(&data.join(&folder), &to.join(&folder))
            .map_err(|error| told(&folder, error))?;
        rows.push(json!({
            "folder": folder, "segments": moved.segments, "bytes": moved.bytes,
        }));
    }
    print(rows, as_json, |row| {
        format!(
            "{}: {} segments of {} bytes moved to {}",
            row["folder"].as_str().unwrap_or_default(),
            row["segments"],
            row["bytes"],
            to.display()
        )
    })
}

/// Erases the details of records by position. What is to be erased, by whom and why is recorded
/// first.
pub(super) fn erase(
    data: &Path,
    journal: &str,
    positions: &[String],
    why: &str,
    as_json: bool,
) -> anyhow::Result<()> {
    let folder = match journal {
        "control" => CONTROL_JOURNAL,
        "site" => SITE_JOURNAL,
        other => {
            return Err(Exit::new(
                Code::Usage,
                format!("details are erased in control or site, not in {other:?}: a mirror's go with its original's"),
            )
            .into());
        }
    };
    let ranges = parse_positions(positions)?;
    let is_chosen = |lsn: Lsn| {
        let after = ranges.partition_point(|(first, _)| *first <= lsn);
        after > 0 && ranges[after - 1].1 >= lsn
    };
    let alone = DataDir::open(data)?;
    let files = existing(&data.join(folder));
    // A baseline has the names of everything that it covers, also where the segments were brought
    // back from the archive.
    let covered = Reader::open(Arc::clone(&files))
        .and_then(|reader| reader.baseline(Lsn::new(u64::MAX)))
        .map_err(|error| told(folder, error))?
        .map(|baseline| baseline.next);
    if let (Some(next), Some(&(first, _))) = (covered, ranges.first())
        && first < next
    {
        return Err(Exit::new(
            Code::Usage,
            format!(
                "what was before position {next} of {folder} stands in its baseline, which only a \
                 later baseline replaces, and in the archive, if there is one"
            ),
        )
        .into());
    }
    let noted = |&(first, last): &(Lsn, Lsn)| {
        let position = |lsn: Lsn| tablao_core::Lsn::new(lsn.get());
        (position(first), position(last))
    };
    let request = Request::NoteErasure {
        ranges: ranges.iter().map(noted).collect(),
        reason: why.to_owned(),
    };
    let end = Reader::open(Arc::clone(&files))
        .and_then(|reader| reader.verify())
        .map_err(|error| told(folder, error))?
        .next;
    note(&alone, folder, request)?;
    // What was noted just now stays, also where everything is to go.
    let is_chosen = |lsn: Lsn| lsn < end && is_chosen(lsn);
    let before = Reader::open(Arc::clone(&files))
        .and_then(|reader| reader.verify())
        .map_err(|error| told(folder, error))?;
    let segments = erase_details(files.as_ref(), is_chosen).map_err(|error| told(folder, error))?;
    let after = Reader::open(Arc::clone(&files))
        .and_then(|reader| reader.verify())
        .map_err(|error| told(folder, error))?;
    anyhow::ensure!(
        before.chain == after.chain,
        "the chain changed; restore {folder} from a copy"
    );
    // They may hold what was erased; the next start makes them anew.
    let checkpoints = data.join("checkpoints");
    if checkpoints.is_dir() {
        std::fs::remove_dir_all(&checkpoints)
            .with_context(|| format!("delete {}", checkpoints.display()))?;
    }
    let row = json!({
        "folder": folder, "segments": segments, "chain": after.chain.to_string(),
    });
    print(vec![row], as_json, |row| {
        format!(
            "{folder}: {} segments rewritten, chain {} as before; copies and mirrors still have the details",
            row["segments"],
            row["chain"].as_str().unwrap_or_default()
        )
    })
}

/// Positions and ranges, such as `5` and `9-20`: ascending, none within another.
fn parse_positions(texts: &[String]) -> anyhow::Result<Vec<(Lsn, Lsn)>> {
    let wrong = |text: &str| {
        Exit::new(
            Code::Usage,
            format!("{text:?} is neither a position (5) nor a range of positions (9-20)"),
        )
    };
    let mut ranges = Vec::with_capacity(texts.len());
    for text in texts {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |part: &str| part.trim().parse::<u64>().ok().filter(|&number| number > 0);
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(wrong(text).into());
        };
        if first > last {
            return Err(wrong(text).into());
        }
        ranges.push((Lsn::new(first), Lsn::new(last)));
    }
    ranges.sort_unstable();
    let mut apart: Vec<(Lsn, Lsn)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(before) if first <= before.1.next() => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    Ok(apart)
}

pub(super) fn told(folder: &str, error: Error) -> anyhow::Error {
    match error {
        Error::Damage(damage) => Exit::new(Code::Damage, format!("{folder}: {damage}")).into(),
        other => anyhow::Error::new(other).context(format!("tend {folder}")),
    }
}
