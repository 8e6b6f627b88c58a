// SPDX-License-Identifier: GPL-3.0-or-later
//! The attempt that runs now: until when it is surely ours, and how it is kept.
//!
//! The deadline lies on this machine's own monotonic clock and counts from the moment a
//! successful call was *sent*, which is never later than the moment the Manager counted it. The
//! Worker stops a margin earlier, so that its processes are gone when the lease lapses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::Client;
use crate::link::Link;
use crate::stop::{Stop, StopReason};

/// How often the Manager is asked at least, so that a cancelled task stops soon.
const ASK_INTERVAL_MAX: Duration = Duration::from_secs(5);

/// The lease of one attempt; clones are the same lease.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) attempt: Arc<str>,
    pub(crate) task: Arc<str>,
    pub(crate) stop: Stop,
    duration: Duration,
    stop_at: Arc<Mutex<Instant>>,
}

impl Lease {
    /// A lease counted from `from`.
    pub(crate) fn new(
        task: &str,
        attempt: &str,
        stop: Stop,
        duration: Duration,
        from: Instant,
    ) -> Self {
        Self {
            attempt: attempt.into(),
            task: task.into(),
            stop,
            duration,
            stop_at: Arc::new(Mutex::new(from + duration - margin(duration))),
        }
    }

    /// The Manager took a call about this attempt that was sent at `sent`.
    pub(crate) fn renew(&self, sent: Instant) {
        let stop_at = sent + self.duration - margin(self.duration);
        let mut current = self.stop_at.lock().expect("no holder panics");
        *current = (*current).max(stop_at);
    }

    /// Looks at the clock itself: a process that was suspended may come here before the one that
    /// watches the deadline does.
    pub(crate) fn stop_if_over(&self) {
        if Instant::now() >= self.stop_at() {
            self.stop.request(StopReason::LeaseLapsed);
        }
    }

    fn stop_at(&self) -> Instant {
        *self.stop_at.lock().expect("no holder panics")
    }
}

/// The leases of all attempts that this Worker has; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<Vec<Lease>>>);

impl Leases {
    pub(crate) fn add(&self, lease: Lease) {
        self.0.lock().expect("no holder panics").push(lease);
    }

    pub(crate) fn remove(&self, attempt: &str) {
        let mut leases = self.0.lock().expect("no holder panics");
        leases.retain(|lease| &*lease.attempt != attempt);
    }

    pub(crate) fn of(&self, attempt: &str) -> Option<Lease> {
        let leases = self.0.lock().expect("no holder panics");
        let found = leases.iter().find(|lease| &*lease.attempt == attempt);
        found.cloned()
    }

    /// Asks all attempts to stop.
    pub(crate) fn stop_all(&self, reason: &StopReason) {
        for lease in self.0.lock().expect("no holder panics").iter() {
            lease.stop.request(reason.clone());
        }
    }
}

/// Time to end the processes (2 s grace) and to let a publication under way finish.
fn margin(lease: Duration) -> Duration {
    (lease / 6).min(Duration::from_secs(5))
}

/// Asks whether the task may run on, renews its lease, and stops it when it may not. Ends when
/// the task is stopped; is dropped when it is done.
pub(crate) async fn keep(lease: &Lease, client: &Client, link: &Link) {
    let interval = (lease.duration / 3).min(ASK_INTERVAL_MAX);
    let mut next = Instant::now() + interval;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next.min(lease.stop_at())) => {}
            _ = lease.stop.wait() => return,
        }
        lease.stop_if_over();
        if lease.stop.requested().is_some() {
            return;
        }
        let sent = Instant::now();
        next = sent + interval;
        // The deadline moves while reports are taken, so a silent call is given up at the
        // interval and the deadline looked at again.
        let ask = client.may_i_run(&lease.task, &lease.attempt);
        match tokio::time::timeout(interval, ask).await {
            Ok(Ok(answer)) if answer.may_keep_running => {
                link.reached();
                lease.renew(sent);
            }
            Ok(Ok(answer)) => {
                link.reached();
                lease.stop.request(if answer.status_change_requested {
                    StopReason::StatusChange
                } else {
                    StopReason::MayNotRun(answer.reason)
                });
                return;
            }
            Ok(Err(error)) => link.failed("may-i-run", &error),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_without_contact_stops_the_task_before_it_lapses() {
        // Protects a frame from two workers: ours is gone before the Manager gives it away.
        let begun = Instant::now();
        let stop = Stop::new();
        let duration = Duration::from_secs(30);
        let lease = Lease::new("t", "a", stop.clone(), duration, begun);
        // Nobody listens on the discard port of this machine.
        let client = Client::new("http://127.0.0.1:9").unwrap();
        keep(&lease, &client, &Link::new("x")).await;
        assert_eq!(stop.requested(), Some(StopReason::LeaseLapsed));
        assert!(begun.elapsed() < duration, "{:?}", begun.elapsed());
        assert!(begun.elapsed() >= duration / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_process_learns_of_the_end_when_it_looks() {
        // Protects the last look before a publication: nobody else has run since the machine woke.
        let duration = Duration::from_secs(30);
        let lease = Lease::new("t", "a", Stop::new(), duration, Instant::now());
        lease.stop_if_over();
        assert_eq!(lease.stop.requested(), None);
        tokio::time::advance(duration).await;
        assert_eq!(lease.stop.requested(), None);
        lease.stop_if_over();
        assert_eq!(lease.stop.requested(), Some(StopReason::LeaseLapsed));
    }

    #[tokio::test(start_paused = true)]
    async fn renewing_counts_from_when_the_call_was_sent() {
        // Protects against a slow answer stretching the lease beyond the Manager's.
        let begun = Instant::now();
        let duration = Duration::from_secs(30);
        let lease = Lease::new("t", "a", Stop::new(), duration, begun);
        let first = lease.stop_at();
        tokio::time::advance(Duration::from_secs(10)).await;
        lease.renew(begun + Duration::from_secs(4));
        assert_eq!(lease.stop_at(), first + Duration::from_secs(4));
        lease.renew(begun);
        assert_eq!(lease.stop_at(), first + Duration::from_secs(4));
    }
}
