// SPDX-License-Identifier: GPL-3.0-or-later
//! Kills a process that writes under load, at random moments, again and again, and finds every
//! record it had acknowledged.
//!
//! The child acknowledges over a pipe, after durable. The journal of one life is the next one's,
//! so recovery runs over what kills left. `TABLAO_KILL_ROUNDS` (200) and `TABLAO_KILL_SEED` choose
//! how often and when.
mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use common::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tablao_journal::{Draft, FileStore, Lsn, OpenOptions, Reader, RealFiles, Report};

const CHILD: &str = "--child";
const PRODUCERS: u64 = 6;
/// A new journal every so many kills keeps each small enough for the slow independent reader.
const LIVES_PER_JOURNAL: u64 = 25;
/// From before the journal is open to well under load.
const LIFE_MS_MAX: u64 = 90;

fn kill_options() -> OpenOptions {
    OpenOptions {
        segment_bytes: 20_000,
        ..options()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [child, folder, life] if child == CHILD => write_until_killed(Path::new(folder), life),
        _ if arguments.iter().any(|argument| argument == "--list") => {
            println!("killed_at_random_moments_every_acknowledged_record_is_found: test");
        }
        _ => killed_at_random_moments_every_acknowledged_record_is_found(),
    }
}

/// The child: producers that each wait for their acknowledgement before they go on.
fn write_until_killed(folder: &Path, life: &str) {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder).expect("made"));
    let opened = open(&files, &kill_options());
    let handle = opened
        .journal
        .start(|report: Report<(String, mpsc::Sender<()>)>| {
            let Report::Durable(durable) = report else {
                panic!("the disk failed")
            };
            let mut lines = String::new();
            for settled in &durable.drafts {
                lines.push_str(&format!("{} {}\n", settled.first, settled.token.0));
            }
            // One write, so that a kill leaves at most one line unfinished.
            std::io::stdout()
                .write_all(lines.as_bytes())
                .expect("the parent listens");
            for settled in durable.drafts {
                let _ = settled.token.1.send(());
            }
        })
        .expect("started");
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let handle = &handle;
            scope.spawn(move || {
                let (sender, receiver) = mpsc::channel();
                for number in 0_u64.. {
                    let name = format!("{life}:{producer}:{number}");
                    let filling = vec![producer as u8; (number as usize * 37) % 120];
                    let draft = Draft {
                        time_us: NOW_US,
                        records: vec![
                            record(1, name.as_bytes(), None),
                            record(2, &filling, Some(name.as_bytes())),
                        ],
                    };
                    handle
                        .append_next(draft, (name, sender.clone()))
                        .expect("taken");
                    receiver.recv().expect("acknowledged");
                }
            });
        }
    });
}

/// Every acknowledged record is found after every kill, at its position, with its content, and
/// its decision is whole.
fn killed_at_random_moments_every_acknowledged_record_is_found() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let rounds: u64 = number("TABLAO_KILL_ROUNDS").unwrap_or(200);
    let seed: u64 = number("TABLAO_KILL_SEED").unwrap_or_else(|| rand::rng().random());
    println!("killing {rounds} times; again with TABLAO_KILL_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let (mut acknowledged, mut silent, mut torn) = (0, 0, 0);
    let mut life = 0;
    while life < rounds {
        let folder = tempfile::tempdir().expect("a folder");
        let mut promised = BTreeMap::new();
        for _ in 0..LIVES_PER_JOURNAL.min(rounds - life) {
            let heard = one_life(folder.path(), life, chance.random_range(0..=LIFE_MS_MAX));
            acknowledged += heard.len();
            silent += u64::from(heard.is_empty());
            promised.extend(heard);
            torn += u64::from(check(folder.path(), &promised));
            life += 1;
        }
        let files: Arc<dyn FileStore> = Arc::new(RealFiles::existing(folder.path()));
        both_readers_agree(&files);
    }
    println!(
        "ok: {acknowledged} decisions acknowledged in {rounds} lives, none lost; \
         {silent} lives ended before the first, {torn} left a torn tail"
    );
    assert!(
        silent <= rounds / 2,
        "children ended that should have been under load"
    );
}

/// Starts a child, kills it, and returns what it had acknowledged by then.
fn one_life(folder: &Path, life: u64, life_ms: u64) -> BTreeMap<Lsn, String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .arg(CHILD)
        .arg(folder)
        .arg(life.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut pipe = child.stdout.take().expect("piped");
    let (first_word, first_heard) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut heard = vec![0];
        let count = pipe.read(&mut heard).expect("read");
        heard.truncate(count);
        let _ = first_word.send(());
        pipe.read_to_end(&mut heard).expect("read");
        heard
    });
    // Every other life is counted from its first acknowledgement, so that a slow machine, too,
    // is killed under load; the rest from their start, so that opening is hit as well.
    if life.is_multiple_of(2) {
        first_heard.recv().expect("it speaks or ends");
    }
    // The moment is random, and nothing depends on which it is.
    std::thread::sleep(Duration::from_millis(life_ms));
    child.kill().expect("killed");
    let status = child.wait().expect("ended");
    assert!(!status.success(), "it ended by itself");
    let heard = String::from_utf8(listener.join().expect("heard")).expect("text");
    heard
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .map(|line| {
            let (lsn, name) = line.split_once(' ').expect("a position and a name");
            (lsn.parse().expect("a position"), name.to_owned())
        })
        .collect()
}

/// Recovers the folder and looks for everything promised. True if there was a torn tail.
fn check(folder: &Path, promised: &BTreeMap<Lsn, String>) -> bool {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder).expect("made"));
    let opened = open(&files, &kill_options());
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    let mut found = 0;
    for record in reader.records(Lsn::FIRST).expect("the beginning") {
        let record = record.expect("whole");
        if let Some(name) = promised.get(&record.lsn) {
            assert_eq!(record.facts, name.as_bytes(), "position {}", record.lsn);
            found += 1;
        }
        if record.kind == 2 {
            assert_eq!(record.lsn.get() % 2, 0, "half a decision");
        }
    }
    assert_eq!(found, promised.len(), "acknowledged records are gone");
    assert_eq!(
        opened.recovery.next_lsn.get() % 2,
        1,
        "half a decision at the end"
    );
    opened.recovery.torn.is_some()
}
