// SPDX-License-Identifier: GPL-3.0-or-later
//! The demo's farm: `tablao up` as a process of its own, as anybody would run it.
//!
//! It ends when its standard input does, so it never outlives the demo, however that ends.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::tools::{Home, last_lines};
use crate::{
    client::{Address, Farm},
    exit::{Code, Exit},
};

/// Recovery of a demo's journals takes moments; this is for a very busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Workers give their tasks back before the farm ends.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A farm that runs beside the demo.
pub(super) struct RunningFarm {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub(super) url: String,
}

impl RunningFarm {
    /// Starts it on a free port.
    pub(super) fn start(
        data: &Path,
        log: &Path,
        home: &Home,
        workers: u32,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program's own file")?;
        let log_file = File::create(log).with_context(|| format!("write {}", log.display()))?;
        let mut child = Command::new(program)
            .args(["up", "--until-stdin-closes", "--listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(data)
            .args(["--workers", &workers.to_string()])
            .envs(home.variables())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .context("start the farm")?;
        // Its first line says where it listens; none comes if it could not start.
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .context("read the farm's first line")?;
        }
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .map(|url| url.trim_end_matches('/').to_owned());
        match url {
            Some(url) => Ok(Self {
                child,
                log: log.to_owned(),
                url,
            }),
            None => {
                let _ = child.wait();
                Err(died("did not start", log))
            }
        }
    }

    /// A client for it, once it is ready.
    pub(super) async fn ready(&mut self) -> anyhow::Result<Farm> {
        let farm = Farm::new(&Address {
            url: self.url.clone(),
            token: None,
        })?;
        let begun = Instant::now();
        while !farm.is_ready().await {
            self.check()?;
            if begun.elapsed() > READY_WITHIN {
                return Err(died("is not ready", &self.log));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(farm)
    }

    /// An error if it has ended.
    fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("look after the farm")? {
            Some(_) => Err(died("ended", &self.log)),
            None => Ok(()),
        }
    }

    /// Ends it in order: workers sign off, the journals are closed.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("wait for the farm")? {
                anyhow::ensure!(status.success(), died("did not end in order", &self.log));
                return Ok(());
            }
            if begun.elapsed() > STOPPED_WITHIN {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(died("did not end when asked and was killed", &self.log));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

fn died(how: &str, log: &Path) -> anyhow::Error {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    Exit::new(
        Code::Failed,
        format!(
            "the demo's farm {how}; the end of its log ({}):\n{}",
            log.display(),
            last_lines(&text, 15)
        ),
    )
    .into()
}
