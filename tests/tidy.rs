// SPDX-License-Identifier: GPL-3.0-or-later
//! The rules of this house that neither the compiler nor clippy can say, checked on the files
//! that git knows or would add. Each message says what to do about it.
//!
//! Patterns that must not occur are put together from halves, so that this file does not
//! find itself. Every rule has an example beside it that it must catch (the last test).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files longer than this have more than one duty.
const LINES_MAX: usize = 600;

/// Endings of files in which people write code.
const CODE: &[&str] = &[
    ".rs", ".py", ".c", ".ts", ".js", ".mjs", ".svelte", ".css", ".html", ".sh", ".toml",
];

/// Endings of files that are held to the length limit.
const LIMITED: &[&str] = &[".rs", ".py", ".ts", ".js", ".mjs", ".svelte"];

/// Which of our crates each crate may stand on. A new arrow is a decision: see ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("journal", &[]),
    ("projections", &["core", "journal"]),
    ("jobtypes", &["core"]),
    ("shaman", &[]),
    ("pictures", &[]),
    (
        "net",
        &[
            "core",
            "journal",
            "projections",
            "jobtypes",
            "shaman",
            "pictures",
        ],
    ),
    ("agent", &["core", "net", "journal", "pictures"]),
    (
        "benches",
        &["core", "journal", "projections", "jobtypes", "net", "agent"],
    ),
    (
        "fuzz/bodies",
        &["core", "journal", "projections", "jobtypes", "net"],
    ),
    ("tests/simulation", &["core", "journal", "net"]),
];

struct File {
    path: String,
    text: String,
}

impl File {
    fn ends_with_any(&self, endings: &[&str]) -> bool {
        endings.iter().any(|ending| self.path.ends_with(ending))
    }

    fn is_script(&self) -> bool {
        self.text.starts_with("#!")
    }

    fn is_code(&self) -> bool {
        self.ends_with_any(CODE) || self.is_script() || self.path.ends_with("Makefile")
    }

    /// Texts of others (the licence) and of tools (lock files) keep their own rules.
    fn is_ours(&self) -> bool {
        self.path != "LICENSE"
            && !self.path.ends_with(".lock")
            && !self.path.ends_with("-lock.json")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All text files that git tracks or would add; pictures and other binary files are left out.
fn checkout() -> Vec<File> {
    let listing = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .current_dir(root())
        .output()
        .expect("git runs: the rules are checked on what it lists");
    assert!(
        listing.status.success(),
        "git ls-files failed; run the tests in a clone: {}",
        String::from_utf8_lossy(&listing.stderr)
    );
    let names = String::from_utf8(listing.stdout)
        .expect("file names are UTF-8: rename the one that is not");
    let files: Vec<File> = names
        .split_terminator('\0')
        .filter_map(|path| {
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            Some(File {
                path: path.to_owned(),
                text,
            })
        })
        .collect();
    assert!(
        files.len() > 20,
        "only {} files seen: the listing is not of this repository",
        files.len()
    );
    files
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn missing_licence(file: &File) -> Option<String> {
    let wanted = concat!("SPDX-License-", "Identifier: GPL-3.0-or-later");
    let present = file.text.lines().take(3).any(|line| line.contains(wanted));
    (file.is_code() && file.is_ours() && !present).then(|| {
        format!(
            "{}: write the comment `{wanted}` into its first line (second after #!)",
            file.path
        )
    })
}

fn missing_module_doc(file: &File) -> Option<String> {
    let first = file
        .text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("// ") && !line.starts_with("#!["));
    let opens = first.is_some_and(|line| line.starts_with("//!"));
    (file.path.ends_with(".rs") && !opens).then(|| {
        format!(
            "{}: open it with `//!`, what the file is responsible for and what it is not",
            file.path
        )
    })
}

fn leftovers(file: &File) -> Vec<String> {
    let patterns = [
        (
            concat!("FIX", "ME"),
            "do it now, or file an issue and delete the mark",
        ),
        (
            concat!("XX", "X "),
            "do it now, or file an issue and delete the mark",
        ),
        (
            concat!("to", "do!("),
            "write the code: nothing unfinished lands",
        ),
        (
            concat!("unimple", "mented!("),
            "write the code: nothing unfinished lands",
        ),
        (
            concat!("#[ig", "nore"),
            "assert today's behaviour instead: every test runs",
        ),
        (
            concat!("test.", "skip("),
            "assert today's behaviour instead: every test runs",
        ),
        (
            concat!("it.", "only("),
            "take it away: the other tests must run too",
        ),
        (
            concat!("test.", "only("),
            "take it away: the other tests must run too",
        ),
    ];
    if file.is_code() {
        occurrences(file, &patterns)
    } else {
        Vec::new()
    }
}

fn traces_of_a_workplace(file: &File) -> Vec<String> {
    let advice = "name nothing of the machine it was written on";
    let host = "take it away: package clients know their registries";
    let patterns = [
        (concat!("\"/wo", "rk/"), advice),
        (concat!(" /wo", "rk/"), advice),
        (concat!("`/wo", "rk/"), advice),
        (concat!("=/wo", "rk/"), advice),
        (concat!("../sha", "red/"), advice),
        (concat!("/ro", "ot/"), advice),
        (concat!("registry.npm", "js.org"), host),
        (concat!("index.crates", ".io"), host),
        (concat!("static.crates", ".io"), host),
        (concat!("static.rust-", "lang.org"), host),
        (concat!("pypi", ".org"), host),
        (concat!("python", "hosted.org"), host),
        (concat!("deb.deb", "ian.org"), host),
        (concat!("proxy.go", "lang.org"), host),
    ];
    if file.path != "Cargo.lock" {
        occurrences(file, &patterns)
    } else {
        Vec::new()
    }
}

fn occurrences(file: &File, patterns: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for (pattern, advice) in patterns {
            if line.contains(pattern) {
                found.push(format!(
                    "{}:{}: `{pattern}`: {advice}",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    found
}

fn too_long(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    (file.ends_with_any(LIMITED) && lines > LINES_MAX).then(|| {
        format!(
            "{}: {lines} lines, at most {LINES_MAX}: split it where its duties part",
            file.path
        )
    })
}

/// Dependencies on our crates in a manifest, against the arrows that are allowed.
fn wrong_arrows(folder: &str, manifest: &str, allowed: &[&str]) -> Vec<String> {
    manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tablao-"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !allowed.contains(name))
        .map(|name| {
            format!(
                "{folder}/Cargo.toml: {folder} must not stand on {name} (it may on: {}); move the code, \
                 or change ARCHITECTURE.md and this table in a commit of its own",
                if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") }
            )
        })
        .collect()
}

/// Rows `number v version Name ...` of the table in core/src/kind.rs.
fn event_kinds(source: &str) -> Vec<(u16, String)> {
    source
        .lines()
        .skip_while(|line| !line.starts_with("kinds! {"))
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [number, "v", _version, name, ..] => {
                    Some((number.parse().ok()?, (*name).to_owned()))
                }
                _ => None,
            }
        })
        .collect()
}

fn kind_problems(kinds: &[(u16, String)], page: &str) -> Vec<String> {
    let mut by_number: BTreeMap<u16, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for (number, name) in kinds {
        if let Some(other) = by_number.insert(*number, name) {
            problems.push(format!("core/src/kind.rs: {number} is {other} and {name}: give the newer one the next free number"));
        }
        let row = format!("| {number} | {name} |");
        if !page.lines().any(|line| line.starts_with(&row)) {
            problems.push(format!("docs/events.md: add a row that begins `{row}`"));
        }
    }
    problems
}

/// Targets of relative links in a Markdown page that are not there.
fn dead_links(file: &File) -> Vec<String> {
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    for piece in file.text.split("](").skip(1) {
        let target = piece.split([')', '#', ' ']).next().unwrap_or_default();
        let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
        if !outside && !root().join(folder).join(target).exists() {
            problems.push(format!(
                "{}: the link to `{target}` leads nowhere: correct or remove it",
                file.path
            ));
        }
    }
    problems
}

/// Protects the licence: a file passed on alone still says what may be done with it.
#[test]
fn every_source_file_names_its_licence() {
    report(checkout().iter().filter_map(missing_licence).collect());
}

/// Protects newcomers: each Rust file says its duty before anything else.
#[test]
fn every_rust_file_opens_with_its_duty() {
    report(checkout().iter().filter_map(missing_module_doc).collect());
}

/// Protects the main branch from unfinished work and from tests that do not run.
#[test]
fn nothing_unfinished_is_left() {
    report(checkout().iter().flat_map(leftovers).collect());
}

/// Protects the repository from depending on the machine that somebody wrote it on.
#[test]
fn nothing_names_a_workplace() {
    report(checkout().iter().flat_map(traces_of_a_workplace).collect());
}

/// Protects the "one file, one duty" habit with a hard limit far above the usual length.
#[test]
fn no_file_is_too_long() {
    report(checkout().iter().filter_map(too_long).collect());
}

/// Protects the layering: only the arrows that ARCHITECTURE.md draws exist between the crates.
#[test]
fn the_arrows_between_crates_hold() {
    let mut problems = Vec::new();
    for (folder, allowed) in ARROWS {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml"))
            .unwrap_or_else(|error| {
                panic!("{folder}/Cargo.toml: {error}: take the crate out of ARROWS if it is gone")
            });
        let body = manifest
            .split_once("[dependencies]")
            .map_or("", |(_, body)| body);
        problems.extend(wrong_arrows(folder, body, allowed));
    }
    let workspace =
        std::fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest is there");
    let members = workspace
        .lines()
        .find(|line| line.starts_with("members = "))
        .expect("one line names the members");
    for member in members.split('"').skip(1).step_by(2) {
        if !ARROWS.iter().any(|(folder, _)| *folder == member) {
            problems.push(format!("{member}: a new crate: say in ARROWS (tests/tidy.rs) and ARCHITECTURE.md what it may stand on"));
        }
    }
    report(problems);
}

/// Protects the journal format: a kind number means one thing for ever, and readers can look it up.
#[test]
fn every_event_kind_has_its_own_number_and_is_documented() {
    let table = std::fs::read_to_string(root().join("core/src/kind.rs"))
        .expect("core/src/kind.rs holds the event kinds");
    let kinds = event_kinds(&table);
    assert!(
        kinds.len() > 20,
        "only {} kinds found in core/src/kind.rs: its rows look different now, teach event_kinds()",
        kinds.len()
    );
    let page = std::fs::read_to_string(root().join("docs/events.md"))
        .expect("docs/events.md lists the event kinds");
    report(kind_problems(&kinds, &page));
}

/// Protects readers of the documents from links that lead nowhere.
#[test]
fn links_between_documents_lead_somewhere() {
    report(
        checkout()
            .iter()
            .filter(|file| file.path.ends_with(".md"))
            .flat_map(dead_links)
            .collect(),
    );
}

/// Protects the rules themselves: each one finds what it exists for, so none passes by being blind.
#[test]
fn each_rule_catches_its_example() {
    let file = |path: &str, text: &str| File {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let licence = concat!("// SPDX-License-", "Identifier: GPL-3.0-or-later\n");

    assert!(missing_licence(&file("a.rs", "//! Duty.\n")).is_some());
    assert!(missing_licence(&file("tool", "#!/bin/sh\necho\n")).is_some());
    assert!(missing_licence(&file("a.rs", licence)).is_none());

    assert!(
        missing_module_doc(&file("a.rs", &format!("{licence}use std::fs;\n//! late\n"))).is_some()
    );
    assert!(missing_module_doc(&file("a.rs", licence)).is_some());
    assert!(missing_module_doc(&file("a.rs", &format!("{licence}//! Duty.\n"))).is_none());

    for bad in [
        concat!("// FIX", "ME later"),
        concat!("to", "do!()"),
        concat!("#[ig", "nore]"),
        concat!("#[ig", "nore = \"slow\"]"),
    ] {
        assert_eq!(leftovers(&file("a.rs", bad)).len(), 1, "{bad}");
    }
    for bad in [
        concat!("cd /wo", "rk/x"),
        concat!("\"../sha", "red/x\""),
        concat!("https://registry.npm", "js.org/x"),
    ] {
        assert_eq!(traces_of_a_workplace(&file("a.md", bad)).len(), 1, "{bad}");
    }
    assert!(traces_of_a_workplace(&file("a.md", "the artist's path/work/shot")).is_empty());

    assert!(too_long(&file("a.py", &"x = 1\n".repeat(LINES_MAX + 1))).is_some());
    assert!(too_long(&file("a.py", &"x = 1\n".repeat(LINES_MAX))).is_none());

    assert_eq!(
        wrong_arrows("core", "tablao-net.workspace = true\n", &[]).len(),
        1
    );
    assert_eq!(
        wrong_arrows(
            "net",
            "tablao-agent = { path = \"../agent\" }\ntablao-core.workspace = true\n",
            &["core"]
        )
        .len(),
        1
    );

    let kinds = event_kinds(
        "7 v 1 Outside None Changes,\nkinds! {\n    1 v 1 Started None Changes,\n    1 v 2 Ended None History,\n}\n",
    );
    assert_eq!(
        kinds,
        vec![(1, "Started".to_owned()), (1, "Ended".to_owned())]
    );
    assert_eq!(kind_problems(&kinds, "| 1 | Started | x |\n").len(), 2);

    assert_eq!(
        dead_links(&file(
            "docs/a.md",
            "see [b](no-such-page.md#part) and [c](https://example.org)"
        ))
        .len(),
        1
    );
    assert!(dead_links(&file("docs/a.md", "see [the manifest](../Cargo.toml)")).is_empty());
}
