// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `pickup`: from a submission's answer to the start of the task's process, at a real Worker
//! that is idle, in `tablao up`.
//!
//! The process says that it started by writing into a named pipe, which is where the clock stops:
//! a shell's own start is part of the figure.

use crate::{Error, Progress, Report, Size};

/// Measures it.
#[cfg(unix)]
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    unix::run(size, progress)
}

/// Measures nothing: there are no named pipes to hear from the process.
#[cfg(not(unix))]
pub(crate) fn run(_size: Size, _progress: Progress<'_>) -> Result<Report, Error> {
    let what = "the part `pickup` is measured on unix only".to_owned();
    Err(Error::Unsound { what })
}

#[cfg(unix)]
mod unix {
    use std::{
        io::Read as _,
        net::SocketAddr,
        path::Path,
        time::{Duration, Instant},
    };

    use serde_json::{Value, json};

    use crate::{
        Error, Progress, Report, Size,
        child::Child,
        http::{Connection, request},
        latency::Latencies,
        load, place,
    };

    /// A job of one task that starts one program.
    const SCRIPT: &str = r#"// SPDX-License-Identifier: GPL-3.0-or-later
const JOB_TYPE = { label: "Bench", settings: [{ key: "pipe", type: "string", required: true }] };
function compileJob(job) {
  const task = author.Task("say", "misc");
  const args = ["-c", `echo > '${job.settings.pipe}'`];
  task.addCommand(author.Command("exec", { exe: "/bin/sh", args }));
  job.addTask(task);
}
"#;
    /// The Worker asks again when it has said everything about the last task.
    const BETWEEN: Duration = Duration::from_millis(30);
    /// What hangs is told, not waited for.
    const PATIENCE: Duration = Duration::from_secs(60);

    pub(super) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
        let rounds: u32 = size.pick(300, 5);
        let mut report = Report::new();
        report.dimension("rounds", rounds);
        report.dimension("idle_workers", 1);
        report.dimension("sync", "every answer");
        let folder = place::scratch("pickup")?;
        let data = std::path::absolute(folder.path()).map_err(Error::system("find the folder"))?;
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            let parent = path.parent().unwrap_or(&data);
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&path, text))
                .map_err(|source| Error::File {
                    doing: "write",
                    path: path.clone(),
                    source,
                })
        };
        write("farm/scripts/bench_process.js", SCRIPT)?;
        let pipe = data.join("started");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600))
            .map_err(|error| Error::system("make a named pipe")(error.into()))?;
        progress("starting a farm with one worker");
        let farm = data.join("farm").to_string_lossy().into_owned();
        let arguments = ["up", "--data", &farm, "--listen", "127.0.0.1:0"];
        let child = Child::start(&[&arguments[..], &["--until-stdin-closes"]].concat())?;
        let runtime = load::runtime()?;
        let measured = runtime.block_on(measure(child.address, &pipe, rounds, progress));
        let mut latencies = measured?;
        child.stop()?;
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("most", 1.0)] {
            let value = latencies.percentile_ms(share);
            report.figure(
                format!("submission's answer to process start, {name}"),
                value,
                "ms",
            );
        }
        report.figure(
            "a shell's start alone, p50",
            shell_start(&pipe, size)?,
            "ms",
        );
        Ok(report)
    }

    async fn measure(
        address: SocketAddr,
        pipe: &Path,
        rounds: u32,
        progress: Progress<'_>,
    ) -> Result<Latencies, Error> {
        let mut connection = Connection::open(address).await?;
        let begun = Instant::now();
        while !is_awake(&mut connection).await? {
            late(begun, "the worker to sign on")?;
            tokio::time::sleep(BETWEEN).await;
        }
        progress("submitting one job after the other");
        let mut latencies = Latencies::default();
        for round in 0..rounds {
            let started = listen(pipe);
            tokio::time::sleep(BETWEEN).await;
            let job = json!({
                "name": format!("round {round}"), "type": "bench-process",
                "submitter_platform": "linux", "priority": 50,
                "settings": { "pipe": pipe.to_string_lossy() }, "metadata": {},
            });
            let bytes = request("POST", "/api/v3/jobs", "", &job.to_string());
            let answer = connection.call(&bytes).await?.expect("a submission", 200)?;
            let answered = Instant::now();
            let job = text(answer.body, "id")?;
            let started = tokio::time::timeout(PATIENCE, started).await;
            let Ok(Ok(Ok(started))) = started else {
                let what = "the task's process was never heard of".to_owned();
                return Err(Error::Unsound { what });
            };
            // The process may be there before the submission's answer has been read.
            latencies.note(started.saturating_duration_since(answered));
            until_completed(&mut connection, &job).await?;
        }
        Ok(latencies)
    }

    /// When somebody opens the pipe for writing and says something.
    fn listen(pipe: &Path) -> tokio::task::JoinHandle<std::io::Result<Instant>> {
        let pipe = pipe.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut said = [0];
            std::fs::File::open(pipe)?.read_exact(&mut said)?;
            Ok(Instant::now())
        })
    }

    async fn is_awake(connection: &mut Connection) -> Result<bool, Error> {
        let path = "/api/v3/worker-mgt/workers";
        let bytes = request("GET", path, "", "");
        let answer = connection.call(&bytes).await?.expect(path, 200)?;
        let workers: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        Ok(workers["workers"][0]["status"] == "awake")
    }

    async fn until_completed(connection: &mut Connection, job: &str) -> Result<(), Error> {
        let path = format!("/api/v3/jobs/{job}");
        let bytes = request("GET", &path, "", "");
        let begun = Instant::now();
        loop {
            let answer = connection.call(&bytes).await?.expect(&path, 200)?;
            if text(answer.body, "status")? == "completed" {
                return Ok(());
            }
            late(begun, "a job to complete")?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn text(body: &[u8], field: &str) -> Result<String, Error> {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        (value[field].as_str().map(str::to_owned)).ok_or_else(|| Error::Unsound {
            what: format!("an answer has no {field}"),
        })
    }

    fn late(begun: Instant, what: &str) -> Result<(), Error> {
        if begun.elapsed() < PATIENCE {
            return Ok(());
        }
        let what = format!("waited in vain for {what}");
        Err(Error::Unsound { what })
    }

    /// The part of the figure that no farm can do without.
    fn shell_start(pipe: &Path, size: Size) -> Result<f64, Error> {
        let mut latencies = Latencies::default();
        for _ in 0..size.pick(100, 3) {
            let reader = std::thread::spawn({
                let pipe = pipe.to_owned();
                move || {
                    let mut said = [0];
                    std::fs::File::open(pipe)?.read_exact(&mut said)?;
                    Ok::<_, std::io::Error>(Instant::now())
                }
            });
            let command = format!("echo > '{}'", pipe.display());
            let begun = Instant::now();
            let ended = std::process::Command::new("/bin/sh")
                .args(["-c", &command])
                .status();
            ended.map_err(Error::system("start a shell"))?;
            if let Ok(Ok(started)) = reader.join() {
                latencies.note(started.saturating_duration_since(begun));
            }
        }
        Ok(latencies.percentile_ms(0.5))
    }
}
