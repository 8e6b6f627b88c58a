// SPDX-License-Identifier: GPL-3.0-or-later
//! Task logs: plain files, `logs/<job>/<task>/<attempt>.log`, one per attempt.
//!
//! Log text is not in the journal. A chunk that comes twice (its answer got lost) is known by
//! its offset and written once. The log of a task is its attempts' logs, one after the other.
//! A long log goes on in further files, `<attempt>+<bytes before>.log`; of one that does not end,
//! the first file and the newest ones are kept, because they tell how it began and why it failed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use tablao_core::{AttemptId, JobId, TaskId};

use crate::deletion::gone;

/// How long a file of a log becomes, and how many of an attempt's are kept: a runaway process must
/// not fill the Manager's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A further file is begun when one is as long as this, in bytes.
    pub file_bytes: u64,
    /// Files of an attempt at most; at least 2.
    pub files_max: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 20,
            files_max: 16,
        }
    }
}

/// The folder of all task logs.
#[derive(Clone, Debug)]
pub struct TaskLogs {
    folder: PathBuf,
    rotation: Rotation,
}

/// A file of an attempt's log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogFile {
    attempt: AttemptId,
    /// Bytes of the attempt's log before it.
    before: u64,
    path: PathBuf,
    size: u64,
}

impl LogFile {
    /// What a file is by its name, or nothing if it is no log.
    fn named(path: PathBuf) -> Option<Self> {
        let stem = path.file_stem()?.to_str()?;
        let (attempt, before) = match stem.split_once('+') {
            Some((attempt, before)) => (attempt, before.parse().ok()?),
            None => (stem, 0),
        };
        Some(Self {
            attempt: attempt.parse().ok()?,
            before,
            size: 0,
            path,
        })
    }
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
        Self::rotating(folder, Rotation::default())
    }

    /// The same with files of another length.
    pub fn rotating(folder: impl Into<PathBuf>, rotation: Rotation) -> Self {
        Self {
            folder: folder.into(),
            rotation,
        }
    }

    fn of_task(&self, job: JobId, task: TaskId) -> PathBuf {
        self.folder.join(job.to_string()).join(task.to_string())
    }

    /// Removes the logs of a job's tasks.
    pub fn erase(&self, job: JobId) -> io::Result<()> {
        gone(fs::remove_dir_all(self.folder.join(job.to_string())))
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
        fs::create_dir_all(self.of_task(job, task))?;
        let end = self.end_of(job, task, attempt)?;
        // What is there already came before. A gap cannot be filled; it is skipped.
        let known = offset.map_or(0, |offset| (end.before + end.size).saturating_sub(offset));
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some(new) = text.as_bytes().get(known..).filter(|new| !new.is_empty()) else {
            return Ok(text.len());
        };
        let path = if end.size < self.rotation.file_bytes {
            end.path
        } else {
            self.make_room(job, task, attempt)?;
            let before = end.before + end.size;
            (end.path).with_file_name(format!("{attempt}+{before}.log"))
        };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(new)?;
        if offset.is_none() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        Ok(known.min(text.len()))
    }

    /// The last file of an attempt's log, which may not be there yet.
    fn end_of(&self, job: JobId, task: TaskId, attempt: AttemptId) -> io::Result<LogFile> {
        let path = self.of_task(job, task).join(format!("{attempt}.log"));
        let size = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let first = LogFile {
            attempt,
            before: 0,
            path,
            size,
        };
        // Nearly every log ends in its first file: then nobody needs to look for others.
        if size < self.rotation.file_bytes {
            return Ok(first);
        }
        let mut files = self.files(job, task)?.into_iter();
        let last = files.rfind(|file| file.attempt == attempt);
        Ok(last.unwrap_or(first))
    }

    /// Removes files of an attempt, but for the first and the newest, so that one more may come.
    fn make_room(&self, job: JobId, task: TaskId, attempt: AttemptId) -> io::Result<()> {
        let mut files = self.files(job, task)?;
        files.retain(|file| file.attempt == attempt);
        let too_many = (files.len() + 1).saturating_sub(self.rotation.files_max.max(2));
        for file in files.iter().skip(1).take(too_many) {
            gone(fs::remove_file(&file.path))?;
        }
        Ok(())
    }

    /// The files of a task's log, in the order of the text.
    fn files(&self, job: JobId, task: TaskId) -> io::Result<Vec<LogFile>> {
        let entries = match fs::read_dir(self.of_task(job, task)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let Some(mut file) = LogFile::named(entry?.path()) else {
                continue;
            };
            // One that was removed in this moment is none.
            if let Ok(found) = fs::metadata(&file.path) {
                file.size = found.len();
                files.push(file);
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Bytes of a task's log from an offset, at most `bytes_max`.
    pub fn read(&self, job: JobId, task: TaskId, offset: u64, bytes_max: u64) -> io::Result<Part> {
        let mut part = Part {
            bytes: Vec::new(),
            size: 0,
        };
        for file in self.files(job, task)? {
            let end = part.size + file.size;
            let wanted_from = offset.max(part.size);
            let room = bytes_max - part.bytes.len() as u64;
            if wanted_from < end && room > 0 {
                read_range(
                    &file.path,
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

    /// A log that does not end takes a bounded part of the disk: its beginning and its end stay,
    /// a chunk that comes twice is known across files, and deletion takes them all.
    #[test]
    fn a_long_log_goes_on_in_further_files() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation {
            file_bytes: 10,
            files_max: 3,
        };
        let logs = TaskLogs::rotating(folder.path(), rotation);
        let job = JobId::new(crate::clock::new_id());
        let task = TaskId::new(crate::clock::new_id());
        let text = |logs: &TaskLogs| {
            let part = logs.read(job, task, 0, 1000).unwrap();
            assert_eq!(part.size, part.bytes.len() as u64);
            String::from_utf8(part.bytes).unwrap()
        };
        let mut offset = 0;
        for n in 0..8 {
            let line = format!("line {n:04}\n");
            for _ in 0..2 {
                logs.append(job, task, attempt(9), Some(offset), &line)
                    .unwrap();
            }
            offset += line.len() as u64;
            if n == 2 {
                assert_eq!(text(&logs), "line 0000\nline 0001\nline 0002\n");
            }
        }
        logs.append(job, task, attempt(12), None, "next").unwrap();
        assert_eq!(text(&logs), "line 0000\nline 0006\nline 0007\nnext\n");
        assert_eq!(logs.tail(job, task, 16).unwrap(), "line 0007\nnext\n");
        logs.erase(job).unwrap();
        logs.erase(job).unwrap();
        assert_eq!(text(&logs), "");
    }
}
