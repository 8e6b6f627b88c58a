// SPDX-License-Identifier: GPL-3.0-or-later
//! A child process of this same program: started, looked at, stopped.
//!
//! It ends when its standard input does, so a bench that dies leaves nothing behind.

use std::path::Path;
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child as Process, Command, Stdio},
    time::Duration,
};

use crate::Error;

/// A running child.
pub(crate) struct Child {
    name: String,
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// What a child has used so far. Zero where the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// Memory that it holds now, in MiB.
    pub(crate) resident_mib: f64,
    /// The most that it held, in MiB.
    pub(crate) resident_max_mib: f64,
    /// Processor time of all of its threads.
    pub(crate) processor: Duration,
}

impl Child {
    /// Starts a Manager on a data directory, at an address of its own.
    pub(crate) fn manager(data: &Path) -> Result<Self, Error> {
        let data = data.to_string_lossy();
        let place = ["manager", "--data", &data, "--listen", "127.0.0.1:0"];
        Self::start(&[&place[..], &["--until-stdin-closes"]].concat())
    }

    /// Starts `tablao ARGUMENTS` and waits until it prints the address that it listens on.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Error> {
        let name = arguments.first().copied().unwrap_or_default().to_owned();
        let program = std::env::current_exe().map_err(Error::system("find this program"))?;
        let mut process = Command::new(program)
            .args(arguments)
            // Warnings only: a log line a request would be measured too.
            .env("TABLAO_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::system("start a child process"))?;
        let output = process.stdout.take();
        let mut lines = BufReader::new(output.expect("its output is piped"));
        let mut said = String::new();
        let address = loop {
            said.clear();
            let read = lines.read_line(&mut said);
            if !matches!(read, Ok(1..)) {
                let _ = process.kill();
                let _ = process.wait();
                let what = "it ended before it listened".to_owned();
                return Err(Error::Child { name, what });
            }
            if let Some(address) = address_in(&said) {
                break address;
            }
        };
        Ok(Self {
            name,
            process,
            address,
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has used so far.
    pub(crate) fn used(&self) -> Used {
        let folder = format!("/proc/{}", self.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        let mib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
                .map_or(0.0, |kib| kib / 1024.0)
        };
        let stat = std::fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
        Used {
            resident_mib: mib("VmRSS:"),
            resident_max_mib: mib("VmHWM:"),
            processor: processor_time(&stat),
        }
    }

    /// Asks it to end in order, and waits.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        drop(self.process.stdin.take());
        let ended = (self.process.wait()).map_err(Error::system("wait for a child process"))?;
        if ended.success() {
            return Ok(());
        }
        Err(Error::Child {
            name: self.name.clone(),
            what: format!("it ended with {ended}"),
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After `stop` it has ended already and this says so.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address in a line such as `listens on http://127.0.0.1:8080/`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split(['/', ' ', '\n']).next()?.parse().ok()
}

/// User and system time from a line of `/proc/PID/stat`, in ticks of a hundredth of a second.
fn processor_time(stat: &str) -> Duration {
    // The name in brackets may hold anything; fields are counted behind it.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return Duration::ZERO;
    };
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address is found in what `tablao manager` prints, and nowhere else.
    #[test]
    fn finds_the_address() {
        let line =
            "Tablao listens on http://127.0.0.1:4711/ (dashboard: http://127.0.0.1:4711/app/)";
        assert_eq!(address_in(line), "127.0.0.1:4711".parse().ok());
        assert_eq!(address_in("http://"), None);
        assert_eq!(address_in("journal opened"), None);
    }

    /// A program's name with brackets and blanks does not shift the fields.
    #[test]
    fn reads_processor_time() {
        let line = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0";
        assert_eq!(processor_time(line), Duration::from_secs(2));
    }
}
