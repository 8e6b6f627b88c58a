// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether a command was killed for want of memory, whose memory that was, and how much it held.
//!
//! The kernel tells it of a control group that limits memory; without one it only counts for the
//! whole machine. Nothing is limited here.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt as _;

/// Whose memory it was that ran out when programs were killed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RanOut {
    /// The group had no more.
    Group,
    /// The machine had none left, or a group around this one.
    Machine,
}

/// What had happened before a command was started.
#[derive(Debug)]
pub(super) struct Watch {
    /// The folder of a group that limits memory, and what had happened in it.
    group: Option<(PathBuf, Events)>,
    /// Kills on the whole machine.
    kills: u64,
}

impl Watch {
    pub(super) fn begin(group: Option<&Path>) -> Self {
        let group = group.and_then(|folder| {
            let events = Events::of(folder)?;
            Some((folder.to_path_buf(), events))
        });
        Self {
            group,
            kills: kills_on_machine(),
        }
    }

    /// Whose memory ran out since, if the command that ended like this was killed for it.
    pub(super) fn ran_out(&self, status: ExitStatus) -> Option<RanOut> {
        if let Some((folder, before)) = &self.group {
            return Events::of(folder)?.ran_out_since(*before);
        }
        let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
        (is_killed && kills_on_machine() > self.kills).then_some(RanOut::Machine)
    }

    /// The most memory held: by all in the group together when they outgrew it, else by the
    /// largest process. A group that is not full counts files that the kernel kept, which say
    /// nothing of what a program needs.
    pub(super) fn peak_bytes(&self, ran_out: Option<RanOut>) -> Option<u64> {
        let of_group = self.group.as_ref().and_then(|(folder, _)| {
            // Kernels before 5.19 do not tell it.
            let text = std::fs::read_to_string(folder.join("memory.peak")).ok()?;
            text.trim().parse().ok()
        });
        of_group
            .filter(|_| ran_out == Some(RanOut::Group))
            .or_else(largest_process_bytes)
    }
}

/// What the kernel has counted in a group since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Events {
    /// Times that something was to be killed because the group was full.
    full: u64,
    /// Processes of the group that were killed for want of memory, whoever lacked it.
    killed: u64,
}

impl Events {
    /// So far; none where the group does not limit memory.
    fn of(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join("memory.events")).ok()?;
        Some(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        Self {
            full: counted(text, "oom"),
            killed: counted(text, "oom_kill"),
        }
    }

    fn ran_out_since(self, before: Self) -> Option<RanOut> {
        let is_of_group = self.full > before.full;
        (self.killed > before.killed).then_some(if is_of_group {
            RanOut::Group
        } else {
            RanOut::Machine
        })
    }
}

/// How many processes the system has killed since it started because memory ran out.
fn kills_on_machine() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    counted(&counters, "oom_kill")
}

/// The number behind a name in the kernel's lists of counters; 0 where there is none.
fn counted(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let line = lines.find(|(named, _)| *named == name);
    line.and_then(|(_, count)| count.trim().parse().ok())
        .unwrap_or(0)
}

fn largest_process_bytes() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    // macOS counts bytes here, the others kibibytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.max_rss()).ok().map(|rss| rss * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_for_want_of_memory_is_told_from_others() {
        // Protects tasks from being called too large because of what happened to others: what was
        // counted before, elsewhere, or without a death is not theirs.
        let old = Events::read("low 0\nhigh 0\nmax 55\noom 2\noom_kill 3\n");
        let events = |full, killed| Events { full, killed };
        assert_eq!(old, events(2, 3));
        assert_eq!(events(3, 7).ran_out_since(old), Some(RanOut::Group));
        assert_eq!(events(2, 4).ran_out_since(old), Some(RanOut::Machine));
        assert_eq!(events(3, 3).ran_out_since(old), None);
        assert_eq!(old.ran_out_since(old), None);
        // A newer kernel says more, another one nothing.
        let text = "max 9\noom 1\noom_kill 4\noom_group_kill 1\n";
        assert_eq!(Events::read(text), events(1, 4));
        assert_eq!(Events::read(""), events(0, 0));
    }

    #[test]
    fn a_peak_is_that_of_the_group_only_when_it_was_full() {
        // Protects the figure that people size their machines by: a group's own counts what the
        // kernel kept of files that were read, up to the limit.
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("memory.events", "oom 0\noom_kill 0\n");
        let watch = Watch::begin(Some(dir.path()));
        write("memory.peak", "123456789012345\n");
        let killed = ExitStatus::from_raw(9);
        assert_eq!(watch.ran_out(killed), None);
        assert_ne!(watch.peak_bytes(None), Some(123_456_789_012_345));
        write("memory.events", "oom 1\noom_kill 2\n");
        let ran_out = watch.ran_out(killed);
        assert_eq!(ran_out, Some(RanOut::Group));
        assert_eq!(watch.peak_bytes(ran_out), Some(123_456_789_012_345));
        std::fs::remove_file(dir.path().join("memory.peak")).unwrap();
        assert_eq!(watch.peak_bytes(ran_out), largest_process_bytes());
    }
}
