// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `operations`: every operation of Flamenco's API, one after the other, on a farm at work.
//!
//! 300 workers go on with their tasks, one client submits a job of 10,000 tasks, deletes and purges
//! it again and again, and another calls each operation with what a studio's clients send. Any
//! answer but the expected one ends the bench. Beside each figure stands the operation that looks
//! nothing up.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::{
    Error, Progress, Report, Size,
    child::Child,
    http::{Connection, request_bytes},
    latency::Latencies,
    load, place,
    render_worker::{RenderWorker, render_job, submit_render_jobs},
};

/// How long one slice of the workers' cycles is.
const SLICE: Duration = Duration::from_millis(200);
/// Rounds in which Blender is looked for: each starts the program.
const BLENDER_ROUNDS: u32 = 3;
/// What is stored in Shaman, and its SHA-256.
const STORED: &[u8] = b"tablao\n";
const STORED_SHA: &str = "4848b53c876a0c7bd588bd7b5d42ac2a35e92d6e2b61b36c6954b0ca62059d49";
/// A picture of one pixel.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// The operation beside which the others stand.
const PLAIN: &str = "getVersion";

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let workers = size.pick(300, 4);
    let rate = size.pick(500, 20);
    let frames = size.pick(10_000, 300);
    let rounds = size.pick(200, 2);
    let runtime = load::runtime()?;
    let mut report = Report::new();
    report.dimension("workers", workers);
    report.dimension("cycles_per_s", rate);
    report.dimension("tasks_of_the_job_that_comes_and_goes", frames + 1);
    report.dimension("rounds", rounds);
    report.dimension("sync", "every answer");

    let folder = place::scratch("operations")?;
    let storage = folder.path().join("storage");
    let data = folder.path().join("data");
    let written = std::fs::create_dir_all(&storage)
        .and_then(|()| std::fs::create_dir_all(&data))
        .and_then(|()| {
            let path = toml_text(&storage);
            std::fs::write(
                data.join("tablao.toml"),
                format!("shared_storage_path = {path}\n"),
            )
        });
    written.map_err(Error::system("write the configuration"))?;
    let manager = Child::manager(&data)?;
    let address = manager.address;
    let latencies = runtime.block_on(async {
        progress("submitting what the workers do");
        submit_render_jobs(address, 2, size.pick(100_000, 3_000)).await?;
        progress("registering the workers");
        let mut callers = Vec::new();
        for number in 0..workers {
            callers.push(RenderWorker::sign_on(address, &format!("w{number}")).await?);
        }
        progress("calling every operation");
        let stop = Arc::new(AtomicBool::new(false));
        let comes_and_goes = aside({
            let stop = Arc::clone(&stop);
            move |runtime| runtime.block_on(come_and_go(address, frames, &stop))
        });
        let called = aside(move |runtime| runtime.block_on(all_rounds(address, &storage, rounds)));
        let mut cycles = 0;
        let latencies = loop {
            let done = load::open(callers, rate, SLICE).await?;
            cycles += done.cycles;
            callers = done.callers;
            match called.try_recv() {
                Ok(latencies) => break latencies?,
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => return Err(panicked()),
            }
        };
        stop.store(true, Ordering::Relaxed);
        let jobs = comes_and_goes.recv().map_err(|_| panicked())??;
        report.figure("cycles of workers meanwhile", cycles as f64, "");
        report.figure(
            "large jobs submitted, deleted and purged",
            f64::from(jobs),
            "",
        );
        Ok::<_, Error>(latencies)
    })?;
    figures(&mut report, latencies);
    report.figure("resident", manager.used().resident_max_mib, "MiB");
    manager.stop()?;
    Ok(report)
}

fn toml_text(path: &Path) -> String {
    // A path in quotes, as JSON and TOML both write it.
    Value::from(path.to_string_lossy()).to_string()
}

fn panicked() -> Error {
    Error::Unsound {
        what: "a calling thread panicked".to_owned(),
    }
}

/// Runs something on a thread and a runtime of its own.
fn aside<T: Send + 'static>(
    work: impl FnOnce(tokio::runtime::Runtime) -> Result<T, Error> + Send + 'static,
) -> mpsc::Receiver<Result<T, Error>> {
    let (teller, told) = mpsc::channel();
    std::thread::spawn(move || {
        // The bench may have ended with an error of its own.
        let _ = teller.send(load::runtime().and_then(work));
    });
    told
}

fn figures(report: &mut Report, latencies: BTreeMap<&'static str, Latencies>) {
    let mut all = latencies;
    let mut plain = all.remove(PLAIN).unwrap_or_default();
    report.figure("operations called", (all.len() + 1) as f64, "");
    let limit = plain.percentile_ms(0.99);
    report.figure(format!("{PLAIN}, p99"), limit, "ms");
    for (name, mut latencies) in all {
        let p99 = latencies.percentile_ms(0.99);
        report.figure_beside(
            format!("{name}, p99"),
            p99,
            "ms",
            limit,
            "an operation that looks nothing up",
        );
    }
}

/// A large job is submitted, deleted and purged until it is time to stop; gives how often.
async fn come_and_go(address: SocketAddr, frames: u32, stop: &AtomicBool) -> Result<u32, Error> {
    let mut client = Client::open(address).await?;
    let job = render_job(999, frames);
    for times in 0.. {
        if stop.load(Ordering::Relaxed) {
            return Ok(times);
        }
        let made = client.call("", "POST /api/v3/jobs", &job, &[200]).await?;
        let id = text(&made, "id");
        let none = Value::Null;
        let delete = format!("DELETE /api/v3/jobs/{id}");
        client.call("", &delete, &none, &[204]).await?;
        let purge = format!("POST /api/farm/v1/jobs/{id}/purge");
        client.call("", &purge, &none, &[200, 202, 204]).await?;
    }
    Ok(0)
}

async fn all_rounds(
    address: SocketAddr,
    storage: &Path,
    rounds: u32,
) -> Result<BTreeMap<&'static str, Latencies>, Error> {
    let mut client = Client::open(address).await?;
    for round in 0..rounds {
        client.round(round, storage).await?;
    }
    Ok(client.latencies)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// A client that notes how long each operation took.
struct Client {
    connection: Connection,
    /// Header lines of the worker it speaks for.
    headers: String,
    latencies: BTreeMap<&'static str, Latencies>,
}

impl Client {
    async fn open(address: SocketAddr) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::open(address).await?,
            headers: String::new(),
            latencies: BTreeMap::new(),
        })
    }

    /// Calls `METHOD path` with JSON; a null is no body. An operation without a name is not noted.
    async fn call(
        &mut self,
        name: &'static str,
        line: &str,
        body: &Value,
        expected: &[u16],
    ) -> Result<Value, Error> {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        self.send(name, line, "application/json", &body, expected)
            .await
    }

    async fn send(
        &mut self,
        name: &'static str,
        line: &str,
        kind: &str,
        body: &[u8],
        expected: &[u16],
    ) -> Result<Value, Error> {
        let (method, path) = line.split_once(' ').unwrap_or(("GET", line));
        let bytes = request_bytes(method, path, &self.headers, kind, body);
        let begun = Instant::now();
        let answer = self.connection.call(&bytes).await?;
        let took = begun.elapsed();
        let status = answer.status;
        if !expected.contains(&status) {
            let wanted = expected.first().copied().unwrap_or(200);
            answer.expect(line, wanted)?;
            return Ok(Value::Null);
        }
        // Some answers are text; nobody reads those here.
        let value = serde_json::from_slice(answer.body).unwrap_or_default();
        if !name.is_empty() {
            self.latencies.entry(name).or_default().note(took);
        }
        Ok(value)
    }

    async fn get(&mut self, name: &'static str, path: &str) -> Result<Value, Error> {
        let none = Value::Null;
        self.call(name, &format!("GET {path}"), &none, &[200, 204])
            .await
    }

    async fn round(&mut self, round: u32, storage: &Path) -> Result<(), Error> {
        self.headers.clear();
        self.configuration(round, storage).await?;
        let tag = self.tags(round).await?;
        let worker = self.worker(round, &tag).await?;
        self.shaman(round).await?;
        let job = self.submit(round, &tag).await?;
        self.run_task(&job).await?;
        self.end(&job, &worker, &tag).await
    }

    async fn configuration(&mut self, round: u32, storage: &Path) -> Result<(), Error> {
        let at = "/api/v3/configuration";
        self.get(PLAIN, "/api/v3/version").await?;
        self.get("getConfiguration", at).await?;
        self.get("getFarmStatus", "/api/v3/status").await?;
        let path = format!("{at}/variables/workers/linux");
        self.get("getVariables", &path).await?;
        let path = format!("{at}/shared-storage/workers/linux");
        self.get("getSharedStorage", &path).await?;
        let file = self
            .get("getConfigurationFile", &format!("{at}/file"))
            .await?;
        let line = format!("PUT {at}/file");
        self.call("updateConfigurationFile", &line, &file, &[204])
            .await?;
        let check = json!({ "path": storage });
        let line = format!("POST {at}/check/shared-storage");
        self.call("checkSharedStoragePath", &line, &check, &[200])
            .await?;
        if round >= BLENDER_ROUNDS {
            return Ok(());
        }
        let path = format!("{at}/check/blender");
        self.get("findBlenderExePath", &path).await?;
        let line = format!("POST {at}/check/blender");
        let blender = json!({ "path": "blender" });
        self.call("checkBlenderExePath", &line, &blender, &[200])
            .await?;
        let line = format!("POST {at}/setup-assistant");
        let choice = json!({
            "storageLocation": storage,
            "blenderExecutable": {
                "input": "", "path": "", "source": "default", "is_usable": true, "cause": "",
            },
        });
        self.call("saveSetupAssistantConfig", &line, &choice, &[204])
            .await?;
        Ok(())
    }

    async fn tags(&mut self, round: u32) -> Result<String, Error> {
        let tag = json!({ "name": format!("bench {round}"), "description": "of a bench" });
        let at = "/api/v3/worker-mgt/tag";
        let made = self
            .call("createWorkerTag", &format!("POST {at}s"), &tag, &[200])
            .await?;
        let id = text(&made, "id");
        self.get("fetchWorkerTags", &format!("{at}s")).await?;
        self.get("fetchWorkerTag", &format!("{at}/{id}")).await?;
        self.call("updateWorkerTag", &format!("PUT {at}/{id}"), &tag, &[204])
            .await?;
        Ok(id)
    }

    /// A worker that takes jobs of the tag.
    async fn worker(&mut self, round: u32, tag: &str) -> Result<String, Error> {
        let secret = blake3::hash(&round.to_le_bytes()).to_hex().to_string();
        let types = ["misc"];
        let registration = json!({
            "name": "bench", "secret": secret, "platform": "linux", "supported_task_types": types,
        });
        let line = "POST /api/v3/worker/register-worker";
        let made = self
            .call("registerWorker", line, &registration, &[200])
            .await?;
        let id = text(&made, "uuid");
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        self.headers = format!("authorization: Basic {basic}\r\n");
        let sign_on = json!({
            "name": "bench", "supported_task_types": types, "software_version": "3.9",
        });
        let line = "POST /api/v3/worker/sign-on";
        self.call("signOn", line, &sign_on, &[200]).await?;
        let awake = json!({ "status": "awake" });
        let line = "POST /api/v3/worker/state-changed";
        self.call("workerStateChanged", line, &awake, &[204])
            .await?;
        self.get("workerState", "/api/v3/worker/state").await?;
        let at = format!("/api/v3/worker-mgt/workers/{id}");
        let tags = json!({ "tag_ids": [tag] });
        self.call(
            "setWorkerTags",
            &format!("POST {at}/settags"),
            &tags,
            &[204],
        )
        .await?;
        self.get("fetchWorkers", "/api/v3/worker-mgt/workers")
            .await?;
        self.get("fetchWorker", &at).await?;
        let schedule = json!({
            "is_active": false, "days_of_week": "mo tu", "start_time": "09:00", "end_time": "17:00",
        });
        let line = format!("POST {at}/sleep-schedule");
        self.call("setWorkerSleepSchedule", &line, &schedule, &[204])
            .await?;
        self.get("fetchWorkerSleepSchedule", &format!("{at}/sleep-schedule"))
            .await?;
        Ok(id)
    }

    async fn shaman(&mut self, round: u32) -> Result<(), Error> {
        let size = STORED.len();
        let file = json!({ "sha": STORED_SHA, "size": size, "path": "scene.blend" });
        let files = json!({ "files": [file] });
        let line = "POST /api/v3/shaman/checkout/requirements";
        self.call("shamanCheckoutRequirements", line, &files, &[200])
            .await?;
        let at = format!("/api/v3/shaman/files/{STORED_SHA}/{size}");
        self.get("shamanFileStoreCheck", &at).await?;
        let (line, kind) = (format!("POST {at}"), "application/octet-stream");
        self.send("shamanFileStore", &line, kind, STORED, &[204, 208])
            .await?;
        let checkout = json!({ "files": [file], "checkoutPath": format!("bench/{round}") });
        let line = "POST /api/v3/shaman/checkout/create";
        self.call("shamanCheckout", line, &checkout, &[200]).await?;
        Ok(())
    }

    async fn submit(&mut self, round: u32, tag: &str) -> Result<String, Error> {
        self.get("getJobTypes", "/api/v3/jobs/types").await?;
        self.get("getJobType", "/api/v3/jobs/type/echo-sleep-test")
            .await?;
        let job = json!({
            "name": format!("bench {round}"), "type": "echo-sleep-test", "priority": 50,
            "submitter_platform": "linux", "worker_tag": tag,
            "settings": { "message": "hello", "sleep_duration_seconds": 0 },
        });
        self.call("submitJobCheck", "POST /api/v3/jobs/check", &job, &[204])
            .await?;
        let made = self
            .call("submitJob", "POST /api/v3/jobs", &job, &[200])
            .await?;
        let id = text(&made, "id");
        let at = format!("/api/v3/jobs/{id}");
        self.get("fetchJobs", "/api/v3/jobs").await?;
        self.get("fetchJob", &at).await?;
        self.get("fetchJobTasks", &format!("{at}/tasks")).await?;
        let path = format!("{at}/what-would-delete-do");
        self.get("deleteJobWhatWouldItDo", &path).await?;
        let priority = json!({ "priority": 60 });
        let line = format!("POST {at}/setpriority");
        self.call("setJobPriority", &line, &priority, &[204])
            .await?;
        let line = format!("POST {at}/settag");
        self.call("setJobTag", &line, &json!({ "id": tag }), &[204])
            .await?;
        Ok(id)
    }

    async fn run_task(&mut self, job: &str) -> Result<(), Error> {
        let none = Value::Null;
        let line = "POST /api/v3/worker/task";
        let assigned = self.call("scheduleTask", line, &none, &[200]).await?;
        let task = text(&assigned, "uuid");
        let at = format!("/api/v3/worker/task/{task}");
        let line = format!("POST {at}");
        let active = json!({ "taskStatus": "active", "activity": "Started", "log": "a line\n" });
        self.call("taskUpdate", &line, &active, &[204]).await?;
        self.get("mayWorkerRun", &format!("{at}/may-i-run")).await?;
        let picture = base64::engine::general_purpose::STANDARD
            .decode(PICTURE)
            .unwrap_or_default();
        let (output, kind) = (format!("POST {at}/output-produced"), "image/png");
        self.send("taskOutputProduced", &output, kind, &picture, &[202, 429])
            .await?;
        let shown = format!("/api/v3/tasks/{task}");
        self.get("fetchTask", &shown).await?;
        self.get("fetchTaskLogInfo", &format!("{shown}/log"))
            .await?;
        self.get("fetchTaskLogTail", &format!("{shown}/logtail"))
            .await?;
        let of_job = format!("/api/v3/jobs/{job}/last-rendered");
        self.get("fetchJobLastRenderedInfo", &of_job).await?;
        let global = "/api/v3/jobs/last-rendered";
        self.get("fetchGlobalLastRenderedInfo", global).await?;
        let failed = json!({ "taskStatus": "failed", "activity": "Failed: a bench" });
        self.call("taskUpdate", &line, &failed, &[204]).await?;
        let again = json!({ "status": "queued", "reason": "again" });
        let line = format!("POST {shown}/setstatus");
        self.call("setTaskStatus", &line, &again, &[204]).await?;
        Ok(())
    }

    async fn end(&mut self, job: &str, worker: &str, tag: &str) -> Result<(), Error> {
        let none = Value::Null;
        let at = format!("/api/v3/jobs/{job}");
        self.get("fetchJobBlocklist", &format!("{at}/blocklist"))
            .await?;
        let entry = json!([{ "worker_id": worker, "task_type": "misc", "worker_name": "bench" }]);
        let line = format!("DELETE {at}/blocklist");
        self.call("removeJobBlocklist", &line, &entry, &[204])
            .await?;
        let cancel = json!({ "status": "cancel-requested", "reason": "the bench is over" });
        let line = format!("POST {at}/setstatus");
        self.call("setJobStatus", &line, &cancel, &[204]).await?;
        self.call("deleteJob", &format!("DELETE {at}"), &none, &[204])
            .await?;
        // Before anything was submitted: none matches, and the others' jobs stay.
        let before = json!({ "last_updated_max": "2000-01-01T00:00:00Z" });
        let line = "DELETE /api/v3/jobs/mass-delete";
        self.call("deleteJobMass", line, &before, &[416]).await?;
        let asleep = json!({ "status": "asleep", "is_lazy": true });
        let line = format!("POST /api/v3/worker-mgt/workers/{worker}/setstatus");
        self.call("requestWorkerStatusChange", &line, &asleep, &[204])
            .await?;
        let line = "POST /api/v3/worker/sign-off";
        self.call("signOff", line, &none, &[204]).await?;
        let line = format!("DELETE /api/v3/worker-mgt/workers/{worker}");
        self.call("deleteWorker", &line, &none, &[204]).await?;
        let line = format!("DELETE /api/v3/worker-mgt/tag/{tag}");
        self.call("deleteWorkerTag", &line, &none, &[204]).await?;
        Ok(())
    }
}
