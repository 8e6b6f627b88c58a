// SPDX-License-Identifier: GPL-3.0-or-later
//! Speaks for one attempt: collects its log into chunks and puts its reports into the outbox.
//!
//! It knows when a chunk is due and what belongs into a report; the outbox makes it durable and
//! the sender delivers it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::outbox::{Entry, Outbox, OutboxFailed, Pending, Seq};
use crate::wire::{FailureReport, FrameFinding, FrameReport, TaskUpdate, UpdateExtension};

/// A chunk is sent when it is larger than this.
const CHUNK_BYTES: usize = 10 * 1024;

/// Log text beyond this is left out while the Manager does not take it: a program that prints
/// without end must fill neither memory nor disk of the Worker.
const LOG_BACKLOG_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
struct Log {
    /// Text that is in no report yet.
    chunk: String,
    /// Bytes of this attempt's log before `chunk`.
    offset: u64,
    /// Bytes left out since the last line that was taken.
    left_out: u64,
}

/// The reports of one attempt.
#[derive(Debug)]
pub(crate) struct Reporter {
    outbox: Outbox,
    task: String,
    attempt: String,
    log: Mutex<Log>,
    steps: AtomicU32,
    peak_memory_bytes: AtomicU64,
    software: Mutex<Option<String>>,
    /// Whether the files of the command that runs are frames of the job.
    tells_frames: AtomicBool,
}

impl Reporter {
    pub(crate) fn new(outbox: Outbox, task: &str, attempt: &str) -> Self {
        Self {
            outbox,
            task: task.to_owned(),
            attempt: attempt.to_owned(),
            log: Mutex::default(),
            steps: AtomicU32::new(0),
            peak_memory_bytes: AtomicU64::new(0),
            software: Mutex::default(),
            tells_frames: AtomicBool::new(true),
        }
    }

    /// Says whether what the next command publishes are frames of the job. Files that only later
    /// tasks read count as steps alone.
    pub(crate) fn tell_frames(&self, tell: bool) {
        self.tells_frames.store(tell, Ordering::Relaxed);
    }

    /// Whether what is published now are frames of the job.
    pub(crate) fn tells_frames(&self) -> bool {
        self.tells_frames.load(Ordering::Relaxed)
    }

    pub(crate) fn task(&self) -> &str {
        &self.task
    }

    pub(crate) fn attempt(&self) -> &str {
        &self.attempt
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Adds a line to the task's log. Never blocks; text that cannot be kept is counted instead.
    pub(crate) fn log(&self, line: &str) {
        let due = {
            let mut log = self.log.lock().expect("no holder panics");
            if self.outbox.log_bytes() + log.chunk.len() > LOG_BACKLOG_BYTES {
                log.left_out += line.len() as u64 + 1;
                return;
            }
            if log.left_out > 0 {
                let note = format!(
                    "tablao: {} bytes of log were left out here, the manager did not take them in time\n",
                    std::mem::take(&mut log.left_out)
                );
                log.chunk.push_str(&note);
            }
            log.chunk.push_str(line);
            log.chunk.push('\n');
            log.chunk.len() > CHUNK_BYTES
        };
        if due {
            self.flush();
        }
    }

    /// Hands the collected log text on, if there is any.
    pub(crate) fn flush(&self) {
        if !self.log.lock().expect("no holder panics").chunk.is_empty() {
            self.put_later(TaskUpdate::default());
        }
    }

    /// Reports one more finished step without waiting for the disk.
    pub(crate) fn step(&self) {
        self.steps(1);
    }

    /// Reports more finished steps without waiting for the disk.
    pub(crate) fn steps(&self, more: u32) {
        self.put_later(self.progress(more));
    }

    /// Reports published or found frames together with the steps they are; durable on return.
    pub(crate) async fn frames(
        &self,
        frames: Vec<FrameReport>,
        more_steps: u32,
    ) -> Result<Seq, OutboxFailed> {
        let mut update = self.progress(more_steps);
        if self.tells_frames() {
            self.extension(&mut update).frames = frames;
        }
        self.put(update).await
    }

    /// Reports what was found wrong with frames, and what right; durable on return.
    pub(crate) async fn findings(&self, findings: Vec<FrameFinding>) -> Result<Seq, OutboxFailed> {
        let mut update = TaskUpdate::default();
        self.extension(&mut update).findings = findings;
        self.put(update).await
    }

    /// Reports that the attempt runs, without waiting for the disk or the Manager.
    pub(crate) fn begin(&self) -> Result<Pending, OutboxFailed> {
        let update = self.status_update("active", "Started", None);
        let mut log = self.log.lock().expect("no holder panics");
        let entry = self.with_log(&mut log, update);
        self.outbox.enqueue(entry)
    }

    /// Reports success; durable on return.
    pub(crate) async fn completed(&self) -> Result<Seq, OutboxFailed> {
        self.status("completed", "Completed", None).await
    }

    /// Reports failure with a reason for people; durable on return.
    pub(crate) async fn failed(
        &self,
        reason: &str,
        failure: FailureReport,
    ) -> Result<Seq, OutboxFailed> {
        let activity = format!("Failed: {reason}");
        self.log(&activity);
        self.status("failed", &activity, Some(failure)).await
    }

    /// Remembers the largest process of the attempt, told with its end.
    pub(crate) fn peak_memory(&self, bytes: Option<u64>) {
        self.peak_memory_bytes
            .fetch_max(bytes.unwrap_or(0), Ordering::Relaxed);
    }

    /// Remembers the program that did the work, told with the attempt's end.
    pub(crate) fn software(&self, software: &str) {
        *self.software.lock().expect("no holder panics") = Some(software.to_owned());
    }

    async fn status(
        &self,
        status: &str,
        activity: &str,
        failure: Option<FailureReport>,
    ) -> Result<Seq, OutboxFailed> {
        self.put(self.status_update(status, activity, failure))
            .await
    }

    fn status_update(
        &self,
        status: &str,
        activity: &str,
        failure: Option<FailureReport>,
    ) -> TaskUpdate {
        let mut update = TaskUpdate {
            task_status: Some(status.to_owned()),
            activity: Some(activity.to_owned()),
            ..TaskUpdate::default()
        };
        let extension = self.extension(&mut update);
        extension.failure = failure;
        extension.software = self.software.lock().expect("no holder panics").clone();
        let peak = self.peak_memory_bytes.load(Ordering::Relaxed);
        extension.peak_memory_bytes = (peak > 0).then_some(peak);
        update
    }

    fn progress(&self, more_steps: u32) -> TaskUpdate {
        let before = self.steps.fetch_add(more_steps, Ordering::Relaxed);
        TaskUpdate {
            activity: Some("Progress".to_owned()),
            steps_completed: Some(before + more_steps),
            ..TaskUpdate::default()
        }
    }

    fn extension<'a>(&self, update: &'a mut TaskUpdate) -> &'a mut UpdateExtension {
        update.tablao.get_or_insert_with(|| UpdateExtension {
            attempt: self.attempt.clone(),
            ..UpdateExtension::default()
        })
    }

    async fn put(&self, update: TaskUpdate) -> Result<Seq, OutboxFailed> {
        // A block, so that the lock is not held while the disk is waited for.
        let pending = {
            let mut log = self.log.lock().expect("no holder panics");
            let entry = self.with_log(&mut log, update);
            self.outbox.enqueue(entry)?
        };
        pending.written().await
    }

    fn put_later(&self, update: TaskUpdate) {
        let mut log = self.log.lock().expect("no holder panics");
        let entry = self.with_log(&mut log, update);
        // A failed outbox ends the Worker by another way; this text is the least of the loss.
        let _ = self.outbox.put_later(entry);
    }

    /// Moves the collected log text into a report, so that one report carries all that is due.
    /// The caller keeps the lock until the report has its place: chunks must stay in order.
    fn with_log(&self, log: &mut Log, mut update: TaskUpdate) -> Entry {
        let extension = self.extension(&mut update);
        if !log.chunk.is_empty() {
            extension.log_offset = Some(log.offset);
            let chunk = std::mem::take(&mut log.chunk);
            log.offset += chunk.len() as u64;
            update.log = Some(chunk);
        }
        let task = self.task.clone();
        Entry::Update { task, update }
    }
}
