// SPDX-License-Identifier: GPL-3.0-or-later
//! The journal against the bare disk: how much of `write` + `fdatasync` is left when records are
//! numbered, checksummed, chained and handed between threads.
//!
//! Ceilings and figures are measured in the same run, on the same disk, round by round in turn,
//! and the median of the rounds is what counts, because a shared disk changes its mind. Sync is
//! always on. It measures the journal alone: no engine, no HTTP.

use std::fs::{File, OpenOptions as FileOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tablao_journal::{
    Authority, Draft, FileStore, Journal, JournalId, Lsn, OpenOptions, RealFiles, RecordDraft,
    Report as WriterReport, WriterHandle,
};
use tokio::sync::{Semaphore, oneshot};

use crate::report::{Error, Figure, Machine, Report, Size};

/// What one record brings, without its envelope.
const RECORD_BYTES: usize = 256;
const PRODUCERS: usize = 64;
const IN_FLIGHT: usize = 512;
const LARGE_BATCH: usize = 1024;
/// Bare files are overwritten from the start after this much, so that the ceiling is a disk's and
/// not a growing file's.
const BARE_FILE_BYTES: u64 = 64 << 20;

/// How long and how often.
struct Plan {
    rounds: usize,
    part: Duration,
}

impl Plan {
    fn of(size: Size) -> Self {
        match size {
            Size::Full => Self {
                rounds: 5,
                part: Duration::from_millis(1200),
            },
            Size::Small => Self {
                rounds: 1,
                part: Duration::from_millis(150),
            },
        }
    }
}

/// What one part of a round came to.
#[derive(Clone, Copy, Default)]
struct Rate {
    records_per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Measures the journal and the disk below it.
pub fn run(size: Size, progress: &mut dyn FnMut(&str)) -> Result<Report, Error> {
    let plan = Plan::of(size);
    let folder = bench_folder()?;
    let mut rounds: Vec<Vec<Rate>> = Vec::new();
    for round in 0..plan.rounds {
        progress(&format!("journal: round {} of {}", round + 1, plan.rounds));
        rounds.push(vec![
            bare(folder.path(), 1, plan.part)?,
            bare(folder.path(), PRODUCERS, plan.part)?,
            bare(folder.path(), LARGE_BATCH, plan.part)?,
            growing(folder.path(), PRODUCERS, plan.part)?,
            growing(folder.path(), 1, plan.part)?,
            one_producer(folder.path(), plan.part)?,
            producers(folder.path(), PRODUCERS, plan.part)?,
            in_flight(folder.path(), IN_FLIGHT, plan.part)?,
        ]);
    }
    let median = |part: usize, of: fn(&Rate) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(|round| of(&round[part])).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let rate = |rate: &Rate| rate.records_per_s;
    let p50 = |rate: &Rate| rate.p50_us;
    let p99 = |rate: &Rate| rate.p99_us;
    let (bare_1, bare_64, bare_1024) = (median(0, p50), median(1, rate), median(2, rate));
    let single = "bare write + fdatasync of one record, p50";
    let small = "bare write + fdatasync of 64-record batches";
    let large = "bare write + fdatasync of 1,024-record batches";
    let results = vec![
        Figure::new("one producer, p50", median(5, p50), "us").below(bare_1, single),
        Figure::new("one producer, p99", median(5, p99), "us").below(median(0, p99), "the same, p99"),
        Figure::new("64 producers", median(6, rate), "records/s").below(bare_64, small),
        Figure::new("64 producers, p50", median(6, p50), "us"),
        Figure::new("64 producers, p99", median(6, p99), "us"),
        Figure::new("512 in flight", median(7, rate), "records/s").below(bare_1024, large),
        Figure::new("512 in flight, p50", median(7, p50), "us"),
        Figure::new("512 in flight, p99", median(7, p99), "us"),
        Figure::new("bare, 64-record batches, growing file", median(3, rate), "records/s"),
        Figure::new("bare, one record, growing file, p50", median(4, p50), "us"),
    ];
    let mut dimensions = serde_json::Map::new();
    for (name, value) in [
        ("record_bytes", RECORD_BYTES),
        ("producers", PRODUCERS),
        ("in_flight", IN_FLIGHT),
        ("large_batch_records", LARGE_BATCH),
        ("rounds", plan.rounds),
        ("part_ms", plan.part.as_millis() as usize),
    ] {
        dimensions.insert(name.to_owned(), value.into());
    }
    Ok(Report {
        machine: Machine::this(),
        dimensions,
        results,
    })
}

/// A folder on the disk to be measured: `TABLAO_BENCH_DIR`, or the current folder, because a
/// temporary folder is often in memory and syncs for nothing.
fn bench_folder() -> Result<tempfile::TempDir, Error> {
    let place = std::env::var_os("TABLAO_BENCH_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let folder = tempfile::Builder::new()
        .prefix("tablao-bench-")
        .tempdir_in(place)?;
    Ok(folder)
}

/// The disk alone: one write and one sync a batch, over blocks that are there already.
fn bare(folder: &Path, batch: usize, part: Duration) -> Result<Rate, Error> {
    let path = folder.join("bare");
    let file = FileOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    if file.metadata()?.len() < BARE_FILE_BYTES {
        fill(&file)?;
    }
    write_and_sync(&file, batch, part)
}

/// The same at the end of a file that grows, whose size is then part of every sync.
fn growing(folder: &Path, batch: usize, part: Duration) -> Result<Rate, Error> {
    let path = folder.join("growing");
    let file = File::create(&path)?;
    let rate = write_and_sync(&file, batch, part)?;
    std::fs::remove_file(&path)?;
    Ok(rate)
}

fn fill(file: &File) -> Result<(), Error> {
    let zeros = vec![0; 1 << 20];
    for chunk in 0..BARE_FILE_BYTES >> 20 {
        write_at(file, chunk << 20, &zeros)?;
    }
    file.sync_all()?;
    Ok(())
}

fn write_and_sync(file: &File, batch: usize, part: Duration) -> Result<Rate, Error> {
    let bytes = vec![0xa5; batch * RECORD_BYTES];
    let mut at = 0;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < part {
        let begun = Instant::now();
        write_at(file, at, &bytes)?;
        file.sync_data()?;
        times.push(begun.elapsed());
        at += bytes.len() as u64;
        if at + bytes.len() as u64 > BARE_FILE_BYTES {
            at = 0;
        }
    }
    Ok(rate_of(times, batch, start.elapsed()))
}

#[cfg(unix)]
fn write_at(file: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::{Seek as _, SeekFrom, Write as _};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

fn rate_of(mut times: Vec<Duration>, records_each: usize, elapsed: Duration) -> Rate {
    times.sort_unstable();
    let at = |part: f64| {
        let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Rate {
        records_per_s: (times.len() * records_each) as f64 / elapsed.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
    }
}

type Token = oneshot::Sender<Lsn>;

fn journal(folder: &Path) -> Result<(tempfile::TempDir, WriterHandle<Token>), Error> {
    let folder = tempfile::tempdir_in(folder)?;
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder.path())?);
    let options = OpenOptions::new(JournalId(*b"journal of bench"), 1);
    let opened = Journal::open(files, &options)?;
    let handle = opened.journal.start(|report: WriterReport<Token>| {
        if let WriterReport::Durable(durable) = report {
            for settled in durable.drafts {
                // A producer whose time is up no longer listens.
                let _ = settled.token.send(settled.first);
            }
        }
    })?;
    Ok((folder, handle))
}

fn draft(number: u64) -> Draft {
    let mut facts = vec![0x5a; RECORD_BYTES];
    facts[..8].copy_from_slice(&number.to_le_bytes());
    Draft {
        time_us: 1_750_000_000_000_000 + number,
        records: vec![RecordDraft {
            kind: 34,
            version: 1,
            authority: Authority::Site,
            decision_offset: 0,
            facts,
            detail: None,
        }],
    }
}

/// One caller that waits for each record before it brings the next, from a thread of its own.
fn one_producer(folder: &Path, part: Duration) -> Result<Rate, Error> {
    let (_folder, handle) = journal(folder)?;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < part {
        let begun = Instant::now();
        let (answer, answered) = oneshot::channel();
        handle.append_next(draft(times.len() as u64), answer)?;
        answered.blocking_recv().map_err(|_| Error::Gone)?;
        times.push(begun.elapsed());
    }
    let rate = rate_of(times, 1, start.elapsed());
    handle.close()?;
    Ok(rate)
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::env::var("BT").ok().and_then(|v| v.parse().ok()).unwrap_or(2))
        .build()?;
    Ok(runtime)
}

/// Callers that each wait for their record before they bring the next, as requests do.
fn producers(folder: &Path, count: usize, part: Duration) -> Result<Rate, Error> {
    let (_folder, handle) = journal(folder)?;
    let handle = Arc::new(handle);
    let start = Instant::now();
    let times = runtime()?.block_on(async {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let handle = Arc::clone(&handle);
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while start.elapsed() < part {
                        let begun = Instant::now();
                        let (answer, answered) = oneshot::channel();
                        handle.append_next(draft(times.len() as u64), answer)?;
                        answered.await.map_err(|_| Error::Gone)?;
                        times.push(begun.elapsed());
                    }
                    Ok::<_, Error>(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.map_err(|_| Error::Gone)??);
        }
        Ok::<_, Error>(times)
    })?;
    let rate = rate_of(times, 1, start.elapsed());
    handle.close()?;
    Ok(rate)
}

/// One source that has so many records under way at once, as the engine does.
fn in_flight(folder: &Path, count: usize, part: Duration) -> Result<Rate, Error> {
    let folder = tempfile::tempdir_in(folder)?;
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::create(folder.path())?);
    let options = OpenOptions::new(JournalId(*b"journal of bench"), 1);
    let permits = Arc::new(Semaphore::new(count));
    let (sender, times) = std::sync::mpsc::channel();
    let returned = Arc::clone(&permits);
    let handle = Journal::open(files, &options)?.journal.start(
        move |report: WriterReport<Instant>| {
            if let WriterReport::Durable(durable) = report {
                let now = Instant::now();
                let waited: Vec<Duration> = durable
                    .drafts
                    .iter()
                    .map(|settled| now - settled.token)
                    .collect();
                returned.add_permits(waited.len());
                let _ = sender.send(waited);
            }
        },
    )?;
    let start = Instant::now();
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut number = 0;
        while start.elapsed() < part {
            permits.acquire().await.map_err(|_| Error::Gone)?.forget();
            handle.append_next(draft(number), Instant::now())?;
            number += 1;
        }
        Ok::<_, Error>(())
    })?;
    handle.close()?;
    let elapsed = start.elapsed();
    drop(handle);
    Ok(rate_of(times.iter().flatten().collect(), 1, elapsed))
}
