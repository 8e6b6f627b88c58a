// SPDX-License-Identifier: GPL-3.0-or-later
//! What an operator does with a journal that has grown or was damaged, with the real program:
//! backup and restore beside a live farm, repair into a copy, packing, a colder disk, erasure.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

fn tablao(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tablao"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

#[track_caller]
fn json(arguments: &[&str], code: i32) -> Value {
    let output = tablao(arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is UTF-8")
}

/// A farm without workers.
struct Farm {
    child: Child,
    url: String,
}

impl Farm {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tablao"))
            .args(["up", "--until-stdin-closes", "--listen", "127.0.0.1:0"])
            .args(["--workers", "0", "--data", text(data)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("the farm did not start: {line:?}"))
            .trim_end_matches('/')
            .to_owned();
        Self { child, url }
    }

    fn submit(&self, name: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_tablao"))
            .env("TABLAO_URL", &self.url)
            .args([
                "submit",
                "--type",
                "echo-sleep-test",
                "--paused",
                "--name",
                name,
            ])
            .args([
                "--set",
                "message=hello",
                "--set",
                "sleep_duration_seconds=0",
            ])
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("it prints UTF-8")
            .trim()
            .to_owned()
    }

    fn jobs(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_tablao"))
            .env("TABLAO_URL", &self.url)
            .args(["jobs", "list", "--json"])
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn journal<'a>(rows: &'a Value, folder: &str) -> &'a Value {
    rows["journals"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["folder"] == folder))
        .unwrap_or_else(|| panic!("no {folder} in {rows}"))
}

/// Makes a backup, and what the command said.
fn backup(data: &Path, to: &Path) -> Value {
    json(
        &["backup", "--data", text(data), "--to", text(to), "--json"],
        0,
    )
}

/// A backup that is made beside a live farm has every job that was acknowledged before; the farm
/// that is restored from it has them too, goes on in a higher incarnation, and a target that has
/// something in it is refused.
#[test]
fn a_live_farm_is_backed_up_and_restored() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, copy, again) = (path("data"), path("copy"), path("again"));
    let farm = Farm::start(&data);
    let job = farm.submit("before the backup");
    let made = backup(&data, &copy);
    let site = journal(&made, "journal/site");
    assert!(site["last"].as_u64() > Some(2), "{made}");
    let refused = tablao(&["backup", "--data", text(&data), "--to", text(&copy)]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let later = farm.submit("after the backup");
    farm.stop();

    let restored = json(
        &[
            "restore",
            "--from",
            text(&copy),
            "--data",
            text(&again),
            "--json",
        ],
        0,
    );
    let risen = journal(&restored, "journal/site");
    assert_eq!(risen["chain"], site["chain"]);
    assert!(risen["incarnation"].as_u64() > site["incarnation"].as_u64());
    let refused = tablao(&["restore", "--from", text(&copy), "--data", text(&again)]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let farm = Farm::start(&again);
    let jobs = farm.jobs();
    assert!(jobs.contains(&job), "{jobs}");
    assert!(!jobs.contains(&later), "{jobs}");
    farm.submit("in the restored farm");
    farm.stop();
    json(&["journal", "verify", "--data", text(&again), "--json"], 0);
}

/// A backup that was not finished, or whose journals are others than it says, is not restored.
#[test]
fn a_backup_that_is_not_what_it_says_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, copy) = (path("data"), path("copy"));
    let farm = Farm::start(&data);
    farm.submit("a job");
    farm.stop();
    backup(&data, &copy);
    let segment = copy.join("journal/site/00000000000000000001.seg");
    let whole = fs::read(&segment).expect("read");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&segment, &damaged).expect("written");
    let restore = |to: &str| {
        tablao(&["restore", "--from", text(&copy), "--data", text(&path(to))])
            .status
            .code()
    };
    assert_eq!(restore("one"), Some(3), "damaged");
    fs::write(&segment, &whole).expect("written");
    fs::remove_file(copy.join("backup.json")).expect("removed");
    assert_eq!(restore("two"), Some(2), "unfinished");
}

/// A damaged farm is repaired into a copy: what lies before the damage is there, what was lost is
/// said, the damaged one is as it was, and the copy runs.
#[test]
fn a_damaged_farm_is_repaired_into_a_copy() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (data, saved) = (path("data"), path("saved"));
    let farm = Farm::start(&data);
    let early = farm.submit("early");
    for _ in 0..4 {
        farm.submit("more");
    }
    farm.stop();
    let segment = data.join("journal/site/00000000000000000001.seg");
    let mut bytes = fs::read(&segment).expect("read");
    let place = bytes.len() * 3 / 4;
    bytes[place] ^= 4;
    fs::write(&segment, &bytes).expect("written");
    let verify = ["journal", "verify", "--data", text(&data)];
    assert_eq!(tablao(&verify).status.code(), Some(3));
    let repaired = json(
        &[
            "journal",
            "repair",
            "--data",
            text(&data),
            "--to",
            text(&saved),
            "--json",
        ],
        0,
    );
    let site = journal(&repaired, "journal/site");
    assert!(site["damage"]["position"].is_u64(), "{repaired}");
    assert_eq!(journal(&repaired, "journal/control")["damage"], Value::Null);
    assert_eq!(fs::read(&segment).expect("read"), bytes, "it was touched");
    json(&["journal", "verify", "--data", text(&saved), "--json"], 0);
    let farm = Farm::start(&saved);
    assert!(farm.jobs().contains(&early));
    farm.stop();
}

/// Erased details are gone from the journal and from what the next start makes of it; the chain
/// is the same. A farm that runs is not tended.
#[test]
fn details_are_erased_and_a_running_farm_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let farm = Farm::start(&data);
    farm.submit("a name nobody may read");
    let erase = [
        "journal",
        "erase",
        "--data",
        text(&data),
        "--positions",
        "1-500",
        "--json",
    ];
    for running in [
        &erase[..],
        &["journal", "pack", "--data", text(&data)],
        &[
            "journal",
            "move-cold",
            "--data",
            text(&data),
            "--to",
            "cold",
        ],
    ] {
        let refused = tablao(running);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains("process"),
            "{refused:?}"
        );
    }
    farm.stop();
    let name = "a name nobody may read";
    assert!(is_in_journal(&data, name));
    let why = ["--why", "she asked for it"];
    let before = json(&[&erase[..], &why].concat(), 0);
    assert!(!is_in_journal(&data, name));
    let after = json(&["journal", "verify", "--data", text(&data), "--json"], 0);
    let chain = |rows: &Value| {
        let rows = rows["journals"].as_array().expect("rows");
        let site = rows.iter().find(|row| row["role"] == "site");
        site.expect("a site journal")["chain"].clone()
    };
    let erased = journal(&before, "journal/site");
    assert_eq!(erased["chain"], chain(&after));
    // Who erased what, and why, is part of the history.
    let said = tablao(&[
        "journal",
        "cat",
        "--data",
        text(&data),
        "--kind",
        "DetailErased",
        "--json",
    ]);
    let said: Value = serde_json::from_slice(&said.stdout).expect("one record");
    assert_eq!(
        said["facts"]["ranges"],
        serde_json::json!([[1, 500]]),
        "{said}"
    );
    assert!(is_in_journal(&data, "she asked for it"));
    let farm = Farm::start(&data);
    assert!(!farm.jobs().contains(name));
    farm.stop();
}

/// Restores a backup, and what the command said of the site journal.
fn restore(copy: &Path, to: &Path) -> Value {
    let restore = [
        "restore",
        "--from",
        text(copy),
        "--data",
        text(to),
        "--json",
    ];
    journal(&json(&restore, 0), "journal/site").clone()
}

fn replay(data: &Path) -> Value {
    let mut said = json(&["replay", "--data", text(data), "--json"], 0);
    // The same farm, whatever the machine was doing.
    said["records_per_s"] = Value::Null;
    said
}

/// Two farms that are restored of one backup do not go on in the same incarnation: what one of
/// them gives out afterwards is never taken for the other's.
#[test]
fn two_restores_of_one_backup_can_be_told_apart() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let farm = Farm::start(&path("data"));
    farm.submit("a job");
    farm.stop();
    backup(&path("data"), &path("copy"));
    // By chance two of them may be the same; five never are.
    let risen: std::collections::BTreeSet<u64> = (0..5)
        .map(|number| restore(&path("copy"), &path(&format!("farm {number}"))))
        .map(|site| site["incarnation"].as_u64().expect("a number"))
        .collect();
    assert!(risen.len() > 1, "{risen:?}");
}

/// A farm whose old segments were retired is the farm that it was: same digest, it starts, goes
/// on, is verified from where it begins, backed up, restored and retired again. What goes is told
/// before, goes into the archive, and does not go while the farm runs.
#[test]
fn a_farm_goes_on_from_a_baseline() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (first, data, archive) = (path("first"), path("data"), path("archive"));
    let farm = Farm::start(&first);
    let old = farm.submit("an old job");
    farm.stop();
    // A restored farm begins a new segment, so the one before it is sealed.
    backup(&first, &path("copy"));
    restore(&path("copy"), &data);
    let retire = |more: &[&str], code| {
        let mut arguments = vec!["journal", "retire", "--data", text(&data), "--json"];
        arguments.extend(["--keep-bytes", "0"]);
        arguments.extend(more);
        json(&arguments, code)
    };
    let archived = ["--archive", text(&archive)];
    let farm = Farm::start(&data);
    retire(&archived, 1);
    farm.stop();
    let before = replay(&data);
    let planned = retire(&["--dry-run"], 0);
    assert_eq!(planned["segments"], 1);
    assert_eq!(replay(&data), before, "it was only planned");
    assert!(is_in_journal(&data, "an old job"));
    let verify = ["journal", "verify", "--data", text(&data)];
    let said = |arguments: &[&str]| {
        let output = tablao(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    };
    assert!(!said(&verify).contains("proof begins"));
    let done = retire(&archived, 0);
    assert_eq!(done["baseline"], planned["baseline"]);
    assert!(said(&verify).contains(&format!("proof begins at position {}", done["begins"])));
    assert!(
        archive
            .join("journal/site/00000000000000000001.seg")
            .exists()
    );
    assert!(!data.join("journal/site/00000000000000000001.seg").exists());
    let same = |data: &Path| {
        let (mut now, mut then) = (replay(data), before.clone());
        for rows in [&mut now, &mut then] {
            // The note of the baseline is one decision more.
            for count in ["records", "position", "time"] {
                rows[count] = Value::Null;
            }
        }
        assert_eq!(now, then);
    };
    same(&data);
    // The next start must not live on a checkpoint.
    fs::remove_dir_all(data.join("checkpoints")).expect("removed");
    let farm = Farm::start(&data);
    assert!(farm.jobs().contains(&old) && farm.jobs().contains("an old job"));
    let new = farm.submit("a new job");
    backup(&data, &path("copy of it"));
    farm.stop();
    let again = path("again");
    restore(&path("copy of it"), &again);
    let farm = Farm::start(&again);
    assert!(farm.jobs().contains(&old) && farm.jobs().contains(&new));
    farm.stop();
    let last = [
        "--data",
        text(&again),
        "--keep-bytes",
        "0",
        "--delete",
        "--json",
    ];
    let retired = json(&[&["journal", "retire"], &last[..]].concat(), 0);
    assert_eq!(retired["segments"], 1, "{retired}");
    let farm = Farm::start(&again);
    assert!(farm.jobs().contains(&old) && farm.jobs().contains(&new));
    farm.stop();
    json(&["journal", "verify", "--data", text(&again), "--json"], 0);
}

/// Whether these words stand in a file of the site journal, which is not packed here.
fn is_in_journal(data: &Path, words: &str) -> bool {
    let files = fs::read_dir(data.join("journal/site")).expect("the site journal");
    files.flatten().any(|file| {
        let bytes = fs::read(file.path()).expect("a file");
        bytes
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    })
}
