// SPDX-License-Identifier: GPL-3.0-or-later
//! The journal against the bare disk: how much of `write` + `fdatasync` is left when records are
//! numbered, checksummed, chained and handed between threads.
//!
//! Ceilings and figures are measured in the same run, on the same disk, round by round in turn,
//! and the median of the rounds is what counts, because a shared disk changes its mind. Sync is
//! always on. It measures the journal alone: no engine, no HTTP.

use std::fs::{File, OpenOptions as FileOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tablao_journal::{
    Authority, Draft, FileStore, Journal, JournalId, Lsn, OpenOptions, RealFiles, RecordDraft,
    Report as WriterReport, WriterHandle,
};
use tokio::sync::{Semaphore, oneshot};

use crate::no_disk::NoDisk;
use crate::place::scratch;
use crate::{Error, Progress, Report, Size};

/// What one record brings, without its envelope.
const RECORD_BYTES: usize = 256;
const PRODUCERS: usize = 64;
const IN_FLIGHT: usize = 512;
const LARGE_BATCH: usize = 1024;
/// Bare files are overwritten from the start after this much, so that the ceiling is a disk's and
/// not a growing file's.
const BARE_FILE_BYTES: u64 = 64 << 20;

const DISK: &str = "use the disk that is measured";

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
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let plan = Plan::of(size);
    let folder = scratch("journal")?;
    let folder = folder.path();
    let mut rounds: Vec<[Rate; 10]> = Vec::new();
    for round in 0..plan.rounds {
        progress(&format!("round {} of {}", round + 1, plan.rounds));
        let part = plan.part;
        rounds.push([
            bare(folder, 1, part)?,
            bare(folder, PRODUCERS, part)?,
            bare(folder, LARGE_BATCH, part)?,
            growing(folder, 1, part)?,
            growing(folder, PRODUCERS, part)?,
            one_producer(&on_disk(folder)?, part)?,
            producers(&on_disk(folder)?, PRODUCERS, part)?,
            in_flight(&on_disk(folder)?, IN_FLIGHT, part)?,
            producers(&Place::nowhere(), PRODUCERS, part)?,
            in_flight(&Place::nowhere(), IN_FLIGHT, part)?,
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
    let single = "bare write + fdatasync of one record";
    let small = "bare write + fdatasync of 64-record batches";
    let large = "bare write + fdatasync of 1,024-record batches";
    let mut report = Report::new();
    report.figure_beside(
        "one producer, p50",
        median(5, p50),
        "us",
        median(0, p50),
        single,
    );
    report.figure_beside(
        "one producer, p99",
        median(5, p99),
        "us",
        median(0, p99),
        single,
    );
    report.figure_beside(
        "64 producers",
        median(6, rate),
        "records/s",
        median(1, rate),
        small,
    );
    report.figure("64 producers, p50", median(6, p50), "us");
    report.figure("64 producers, p99", median(6, p99), "us");
    report.figure_beside(
        "512 in flight",
        median(7, rate),
        "records/s",
        median(2, rate),
        large,
    );
    report.figure("512 in flight, p50", median(7, p50), "us");
    report.figure("512 in flight, p99", median(7, p99), "us");
    // How fast it would be on a disk that takes no time: what the hand-over between threads, the
    // hashes and the encoding leave.
    report.figure("64 producers, without a disk", median(8, rate), "records/s");
    report.figure(
        "512 in flight, without a disk",
        median(9, rate),
        "records/s",
    );
    // What a journal without a reserve of written space would be held against.
    report.figure(
        "bare, one record at the end of a growing file, p50",
        median(3, p50),
        "us",
    );
    report.figure(
        "bare, 64-record batches at the end of a growing file",
        median(4, rate),
        "records/s",
    );
    report.dimension("record_bytes", RECORD_BYTES);
    report.dimension("producers", PRODUCERS);
    report.dimension("in_flight", IN_FLIGHT);
    report.dimension("large_batch_records", LARGE_BATCH);
    report.dimension("rounds", plan.rounds);
    report.dimension("part_ms", plan.part.as_millis() as u64);
    report.dimension("producers_are", "tasks of a runtime with two threads");
    Ok(report)
}

fn unsound(error: impl std::fmt::Display) -> Error {
    Error::Unsound {
        what: format!("the journal's writer: {error}"),
    }
}

/// The disk alone: one write and one sync a batch, over blocks that are there already.
fn bare(folder: &Path, batch: usize, part: Duration) -> Result<Rate, Error> {
    let path = folder.join("bare");
    let file = FileOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::system(DISK))?;
    if file.metadata().map_err(Error::system(DISK))?.len() < BARE_FILE_BYTES {
        fill(&file)?;
    }
    write_and_sync(&file, batch, part)
}

/// The same at the end of a file that grows, whose size is then part of every sync.
fn growing(folder: &Path, batch: usize, part: Duration) -> Result<Rate, Error> {
    let path = folder.join("growing");
    let file = File::create(&path).map_err(Error::system(DISK))?;
    let rate = write_and_sync(&file, batch, part)?;
    std::fs::remove_file(&path).map_err(Error::system(DISK))?;
    Ok(rate)
}

fn fill(file: &File) -> Result<(), Error> {
    let zeros = vec![0; 1 << 20];
    for chunk in 0..BARE_FILE_BYTES >> 20 {
        write_at(file, chunk << 20, &zeros).map_err(Error::system(DISK))?;
    }
    file.sync_all().map_err(Error::system(DISK))
}

fn write_and_sync(file: &File, batch: usize, part: Duration) -> Result<Rate, Error> {
    let bytes = vec![0xa5; batch * RECORD_BYTES];
    let mut at = 0;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < part {
        let begun = Instant::now();
        write_at(file, at, &bytes)
            .and_then(|()| file.sync_data())
            .map_err(Error::system(DISK))?;
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
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Rate {
        records_per_s: (times.len() * records_each) as f64 / elapsed.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
    }
}

type Token = oneshot::Sender<Lsn>;

/// Where a journal is measured. The folder goes with it.
struct Place {
    files: Arc<dyn FileStore>,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    fn nowhere() -> Self {
        Self {
            files: Arc::new(NoDisk),
            _folder: None,
        }
    }
}

fn on_disk(folder: &Path) -> Result<Place, Error> {
    let folder = tempfile::tempdir_in(folder).map_err(Error::system(DISK))?;
    Ok(Place {
        files: Arc::new(RealFiles::create(folder.path()).map_err(Error::system(DISK))?),
        _folder: Some(folder),
    })
}

fn journal(place: &Place) -> Result<WriterHandle<Token>, Error> {
    let files = Arc::clone(&place.files);
    let options = OpenOptions::new(JournalId(*b"journal of bench"), 1);
    let opened = Journal::open(files, &options).map_err(unsound)?;
    let handle = opened
        .journal
        .start(|report: WriterReport<Token>| {
            if let WriterReport::Durable(durable) = report {
                // Whoever waits is told first; what they brought is let go after.
                let mut drafts = Vec::with_capacity(durable.drafts.len());
                for settled in durable.drafts {
                    // A producer whose time is up no longer listens.
                    let _ = settled.token.send(settled.first);
                    drafts.push(settled.draft);
                }
            }
        })
        .map_err(unsound)?;
    Ok(handle)
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
fn one_producer(place: &Place, part: Duration) -> Result<Rate, Error> {
    let handle = journal(place)?;
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < part {
        let begun = Instant::now();
        let (answer, answered) = oneshot::channel();
        handle
            .append_next(draft(times.len() as u64), answer)
            .map_err(unsound)?;
        answered.blocking_recv().map_err(unsound)?;
        times.push(begun.elapsed());
    }
    let rate = rate_of(times, 1, start.elapsed());
    handle.close().map_err(unsound)?;
    Ok(rate)
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .map_err(Error::system("start a runtime"))?;
    Ok(runtime)
}

/// Callers that each wait for their record before they bring the next, as requests do.
fn producers(place: &Place, count: usize, part: Duration) -> Result<Rate, Error> {
    let handle = journal(place)?;
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
                        handle
                            .append_next(draft(times.len() as u64), answer)
                            .map_err(unsound)?;
                        answered.await.map_err(unsound)?;
                        times.push(begun.elapsed());
                    }
                    Ok::<_, Error>(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.map_err(unsound)??);
        }
        Ok::<_, Error>(times)
    })?;
    let rate = rate_of(times, 1, start.elapsed());
    handle.close().map_err(unsound)?;
    Ok(rate)
}

/// One source that has so many records under way at once, as the engine does.
fn in_flight(place: &Place, count: usize, part: Duration) -> Result<Rate, Error> {
    let files = Arc::clone(&place.files);
    let options = OpenOptions::new(JournalId(*b"journal of bench"), 1);
    let permits = Arc::new(Semaphore::new(count));
    let (sender, times) = std::sync::mpsc::channel();
    let returned = Arc::clone(&permits);
    let handle = Journal::open(files, &options)
        .map_err(unsound)?
        .journal
        .start(move |report: WriterReport<Instant>| {
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
        })
        .map_err(unsound)?;
    let start = Instant::now();
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut number = 0;
        while start.elapsed() < part {
            permits.acquire().await.map_err(unsound)?.forget();
            handle
                .append_next(draft(number), Instant::now())
                .map_err(unsound)?;
            number += 1;
        }
        Ok::<_, Error>(())
    })?;
    handle.close().map_err(unsound)?;
    let elapsed = start.elapsed();
    drop(handle);
    Ok(rate_of(times.iter().flatten().collect(), 1, elapsed))
}
