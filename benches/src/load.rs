// SPDX-License-Identifier: GPL-3.0-or-later
//! Load: callers that do one cycle after another, as fast as they are answered (closed loop) or at
//! a given rate whatever the answers (open loop).
//!
//! In the open loop a cycle's latency counts from the moment at which it was due, not from when
//! its caller got to it: a server that stalls cannot hide the cycles that it kept from starting.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{Error, latency::Latencies};

/// This part of its time the closed loop runs in addition, before it counts.
const WARM_UP_PART: u32 = 8;

/// Somebody who does cycles over a connection of its own.
pub(crate) trait Caller: Send + 'static {
    /// Does one cycle. `due` is when its first call should have been sent.
    fn cycle(
        &mut self,
        due: Instant,
        latencies: &mut CycleLatencies,
    ) -> impl Future<Output = Result<(), Error>>;
}

/// Latencies of a cycle's calls.
#[derive(Debug, Default)]
pub(crate) struct CycleLatencies {
    /// Of the first call.
    pub(crate) ask: Latencies,
    /// Of those after it.
    pub(crate) report: Latencies,
}

impl CycleLatencies {
    /// Takes another's in.
    pub(crate) fn join(&mut self, other: Self) {
        self.ask.join(other.ask);
        self.report.join(other.report);
    }
}

/// What a load came to.
pub(crate) struct Done<C> {
    /// The callers, back.
    pub(crate) callers: Vec<C>,
    /// Cycles that were done while it counted.
    pub(crate) cycles: u64,
    /// How long it counted.
    pub(crate) counted: Duration,
    /// Of cycles that ended while it counted.
    pub(crate) latencies: CycleLatencies,
}

impl<C> Done<C> {
    /// Cycles a second.
    pub(crate) fn rate(&self) -> f64 {
        self.cycles as f64 / self.counted.as_secs_f64()
    }
}

/// The runtime that load is made on: one thread, so that it takes one core at most.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::system("start the runtime"))
}

/// Each caller begins a cycle when its last one is over.
pub(crate) async fn closed<C: Caller>(
    callers: Vec<C>,
    duration: Duration,
) -> Result<Done<C>, Error> {
    let (stop, counting) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let tasks = tokio::task::LocalSet::new();
    let mut running = JoinSet::new();
    for mut caller in callers {
        let (stop, counting) = (Arc::clone(&stop), Arc::clone(&counting));
        let work = async move {
            let (mut cycles, mut latencies) = (0, CycleLatencies::default());
            let mut uncounted = CycleLatencies::default();
            while !stop.load(Ordering::Relaxed) {
                let counts = counting.load(Ordering::Relaxed);
                let into = if counts {
                    &mut latencies
                } else {
                    &mut uncounted
                };
                caller.cycle(Instant::now(), into).await?;
                cycles += u64::from(counts && !stop.load(Ordering::Relaxed));
            }
            Ok::<_, Error>((caller, cycles, latencies))
        };
        running.spawn_local_on(work, &tasks);
    }
    tasks
        .run_until(async move {
            tokio::time::sleep(duration / WARM_UP_PART).await;
            counting.store(true, Ordering::Relaxed);
            let begun = Instant::now();
            tokio::time::sleep(duration).await;
            stop.store(true, Ordering::Relaxed);
            let counted = begun.elapsed();
            gather(running, counted).await
        })
        .await
}

/// Cycles begin at this rate (a second), one caller after another, for this long.
pub(crate) async fn open<C: Caller>(
    callers: Vec<C>,
    rate: u32,
    duration: Duration,
) -> Result<Done<C>, Error> {
    let tasks = tokio::task::LocalSet::new();
    let mut running = JoinSet::new();
    let mut senders = Vec::new();
    for mut caller in callers {
        let (sender, mut due) = mpsc::unbounded_channel::<Instant>();
        senders.push(sender);
        let work = async move {
            let (mut cycles, mut latencies) = (0, CycleLatencies::default());
            while let Some(due) = due.recv().await {
                caller.cycle(due, &mut latencies).await?;
                cycles += 1;
            }
            Ok::<_, Error>((caller, cycles, latencies))
        };
        running.spawn_local_on(work, &tasks);
    }
    // Timers of the runtime are coarse (a millisecond); a thread that sleeps is not.
    let pacer = std::thread::spawn(move || pace(&senders, rate, duration));
    let done = tasks.run_until(gather(running, duration)).await;
    // It has let go of the senders, or gathering would not have ended.
    let _ = pacer.join();
    done
}

fn pace(senders: &[mpsc::UnboundedSender<Instant>], rate: u32, duration: Duration) {
    let begun = Instant::now();
    let total = (duration.as_secs_f64() * f64::from(rate)) as u32;
    for number in 0..total {
        let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sender = &senders[number as usize % senders.len()];
        if sender.send(due).is_err() {
            // Its caller met an error, which is about to be told.
            return;
        }
    }
}

async fn gather<C: 'static>(
    mut running: JoinSet<Result<(C, u64, CycleLatencies), Error>>,
    counted: Duration,
) -> Result<Done<C>, Error> {
    let mut done = Done {
        callers: Vec::new(),
        cycles: 0,
        counted,
        latencies: CycleLatencies::default(),
    };
    while let Some(ended) = running.join_next().await {
        let (caller, cycles, latencies) = ended.map_err(|error| Error::Unsound {
            what: format!("a caller panicked: {error}"),
        })??;
        done.callers.push(caller);
        done.cycles += cycles;
        done.latencies.join(latencies);
    }
    Ok(done)
}
