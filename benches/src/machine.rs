// SPDX-License-Identifier: GPL-3.0-or-later
//! The machine that a figure was measured on. What cannot be found out is left empty.

use std::process::Command;

use serde::Serialize;

use crate::place;

/// Where a figure was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in MiB.
    pub memory_mib: Option<u64>,
    /// Kernel.
    pub kernel: Option<String>,
    /// Name of the processor.
    pub processor: Option<String>,
    /// File system under the measured data.
    pub file_system: Option<String>,
    /// The compiler on this machine, which is what `make bench` builds with.
    pub rustc: Option<String>,
    /// Release or debug.
    pub build: &'static str,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Self {
        let proc = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&proc("/proc/meminfo"), "MemTotal");
        let kernel = proc("/proc/sys/kernel/osrelease").trim().to_owned();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .map(|kib| kib / 1024),
            kernel: (!kernel.is_empty()).then_some(kernel),
            processor: field(&proc("/proc/cpuinfo"), "model name"),
            file_system: file_system(&proc("/proc/self/mounts")),
            rustc: rustc(),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        }
    }
}

/// Type of the mount that holds the data: the longest mount point above it.
fn file_system(mounts: &str) -> Option<String> {
    let folder = std::path::absolute(place::folder()).ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_owned())
}

fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned())
}
