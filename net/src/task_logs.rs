// SPDX-License-Identifier: GPL-3.0-or-later
//! Task logs: plain files, one per attempt, `logs/<job>/<task>/<attempt>.log`.
//!
//! Log text is not in the journal. A chunk that comes twice (its answer got lost) is known by
//! its offset and written once. The log of a task is its attempts' logs, one after the other.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use tablao_core::{AttemptId, JobId, TaskId};

/// A runaway process must not fill the Manager's disk: beyond this the log of an attempt is cut.
const ATTEMPT_BYTES_MAX: u64 = 256 << 20;

/// The folder of all task logs.
#[derive(Clone, Debug)]
pub struct TaskLogs {
    folder: PathBuf,
}

/// A part of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// The bytes, from the offset asked for.
    pub bytes: Vec<u8>,
    /// Size of the whole log.
    pub size: u64,
}

impl TaskLogs {
    /// Logs below this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    fn of_task(&self, job: JobId, task: TaskId) -> PathBuf {
        self.folder.join(job.to_string()).join(task.to_string())
    }

    /// Appends text to an attempt's log. `offset`: where in the attempt's log it belongs, when
    /// the worker says so. Returns how much of the text was there already, in bytes.
    pub fn append(
        &self,
        job: JobId,
        task: TaskId,
        attempt: AttemptId,
        offset: Option<u64>,
        text: &str,
    ) -> io::Result<usize> {
        if text.is_empty() {
            return Ok(0);
        }
        let folder = self.of_task(job, task);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{attempt}.log"));
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        let mut bytes = text.as_bytes();
        let mut known = 0;
        match offset {
            Some(offset) => {
                // What is there already came before. A gap cannot be filled; it is skipped.
                known = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
                bytes = bytes.get(known..).unwrap_or_default();
            }
            None if !text.ends_with('\n') => {
                file.write_all(bytes)?;
                bytes = b"\n";
            }
            None => {}
        }
        if size + bytes.len() as u64 > ATTEMPT_BYTES_MAX {
            return Ok(text.len());
        }
        file.write_all(bytes)?;
        Ok(known.min(text.len()))
    }

    /// The attempts' files of a task, oldest first.
    fn files(&self, job: JobId, task: TaskId) -> io::Result<Vec<(AttemptId, PathBuf, u64)>> {
        let entries = match fs::read_dir(self.of_task(job, task)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let attempt = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| stem.parse().ok());
            if let Some(attempt) = attempt {
                let size = fs::metadata(&path)?.len();
                files.push((attempt, path, size));
            }
        }
        files.sort_unstable_by_key(|(attempt, _, _)| *attempt);
        Ok(files)
    }

    /// Bytes of a task's log from an offset, at most `bytes_max`.
    pub fn read(&self, job: JobId, task: TaskId, offset: u64, bytes_max: u64) -> io::Result<Part> {
        let mut part = Part {
            bytes: Vec::new(),
            size: 0,
        };
        for (_, path, size) in self.files(job, task)? {
            let end = part.size + size;
            let wanted_from = offset.max(part.size);
            let room = bytes_max - part.bytes.len() as u64;
            if wanted_from < end && room > 0 {
                read_range(
                    &path,
                    wanted_from - part.size,
                    (end - wanted_from).min(room),
                    &mut part.bytes,
                )?;
            }
            part.size = end;
        }
        Ok(part)
    }

    /// The last bytes of a task's log, cut at the start of a line where that leaves something.
    pub fn tail(&self, job: JobId, task: TaskId, bytes_max: u64) -> io::Result<String> {
        let size = self.read(job, task, 0, 0)?.size;
        let part = self.read(job, task, size.saturating_sub(bytes_max), bytes_max)?;
        let text = String::from_utf8_lossy(&part.bytes).into_owned();
        if size > bytes_max
            && let Some((_, rest)) = text.split_once('\n')
            && !rest.is_empty()
        {
            return Ok(rest.to_owned());
        }
        Ok(text)
    }
}

fn read_range(path: &Path, offset: u64, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(into)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tablao_core::Lsn;

    fn attempt(lsn: u64) -> AttemptId {
        AttemptId {
            job_epoch: 1,
            incarnation: 1,
            lsn: Lsn::new(lsn),
        }
    }

    /// A chunk that comes twice is written once; attempts follow each other in order.
    #[test]
    fn chunks_are_written_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let logs = TaskLogs::new(folder.path());
        let job = JobId::new(crate::clock::new_id());
        let task = TaskId::new(crate::clock::new_id());
        logs.append(job, task, attempt(12), None, "second").unwrap();
        logs.append(job, task, attempt(9), Some(0), "one\n")
            .unwrap();
        logs.append(job, task, attempt(9), Some(0), "one\n")
            .unwrap();
        logs.append(job, task, attempt(9), Some(2), "e\ntwo\n")
            .unwrap();
        let part = logs.read(job, task, 0, 1000).unwrap();
        assert_eq!(String::from_utf8_lossy(&part.bytes), "one\ntwo\nsecond\n");
        assert_eq!(part.size, part.bytes.len() as u64);
        let part = logs.read(job, task, 4, 6).unwrap();
        assert_eq!(String::from_utf8_lossy(&part.bytes), "two\nse");
        assert_eq!(logs.tail(job, task, 10).unwrap(), "second\n");
        assert_eq!(logs.tail(job, task, 12).unwrap(), "two\nsecond\n");
    }
}
