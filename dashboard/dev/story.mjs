// SPDX-License-Identifier: GPL-3.0-or-later
// What the fake farm plays: workers, jobs, and a loop in which awake workers take tasks, advance,
// finish frames and sometimes fail. It keeps just enough state to answer the dashboard, and writes
// each change as an event. It imitates no rule of the real scheduler.
import { randomUUID } from "node:crypto";

const TICK_MS = 200;
const NAMES = ["sh010 kitchen wide", "sh020 cat on table", "sh030 window rain", "sh040 street night", "sh050 title card"];

export class Story {
  jobs = new Map();
  workers = new Map();
  tasks = new Map();
  logs = new Map();
  events = [];
  position = 0;
  onEvent = () => {};
  #jobTasks = new Map();
  #frames = new Map();
  #attempts = new Map();
  #began = Date.now();

  constructor({ tasks, jobs, workers, empty }) {
    for (const name of ["alder", "birch", "cedar", "douglas-fir"].slice(0, workers)) this.#addWorker(name);
    if (empty) return;
    for (let n = 0; n < jobs; n += 1) this.#addOldJob(n);
    this.#addJob(`${NAMES[0]} v014`, tasks, 60, 0);
    this.#addJob("sh020 cat on table, look test", 24, 50, 0);
  }

  run(speed) {
    setInterval(() => this.#tick(speed), TICK_MS);
  }

  note(kind, ids, data) {
    this.position += 1;
    const event = { position: String(this.position), time: new Date().toISOString(), kind, ...ids, actor: { kind: "system", via: "api" }, data };
    this.events.push(event);
    this.onEvent(event);
  }

  tasksOf(job) {
    return this.#jobTasks.get(job) ?? [];
  }
  framesOf(job) {
    return [...(this.#frames.get(job) ?? [])];
  }
  attemptsOf(task) {
    return this.#attempts.get(task) ?? [];
  }
  commandsOf(task) {
    return [{ name: "blender-render", parameters: { exe: "{blender}", blendfile: "/mnt/show/scene.blend", args: ["-f", task.frames] }, total_step_count: task.steps_total }];
  }
  farmStatus() {
    return [...this.workers.values()].some((worker) => worker.task) ? "active" : this.workers.size === 0 ? "inoperative" : "idle";
  }

  submit({ name, type, priority, settings }) {
    const count = type === "echo-sleep-test" ? 1 + (settings.sleep_repeats ?? 0) : 7;
    const job = this.#addJob(name, count, priority, 0);
    Object.assign(job, { type, settings });
    if (type === "simple-blender-render") Object.assign(this.tasksOf(job.id).at(-1), { name: "preview-video", type: "ffmpeg" });
    return job;
  }

  setPriority(id, priority) {
    const job = this.jobs.get(id);
    if (!job) return false;
    this.#touch(job).priority = priority;
    this.note("JobPriorityChanged", { job: id }, { to: priority });
    return true;
  }

  askJob(id, status) {
    const job = this.jobs.get(id);
    if (!job) return false;
    const [to, from] = { "pause-requested": ["paused", ["queued", "active"]], "cancel-requested": ["canceled", ["queued", "active", "paused", "soft-failed"]], requeueing: ["queued", job.status === "completed" ? ["completed"] : ["canceled", "failed", "paused"]] }[status];
    const changed = this.tasksOf(id).filter((task) => from.includes(task.status));
    for (const task of changed) this.#setTask(task, to);
    this.note("TasksChanged", { job: id, ...(changed.length <= 100 ? { tasks: changed.map((task) => task.id) } : {}) }, { to });
    this.#setJob(job, to);
    return true;
  }

  askTask(id, status) {
    const task = this.tasks.get(id);
    if (!task) return false;
    this.#setTask(task, status);
    this.note("TasksChanged", { job: task.job, tasks: [id] }, { to: status });
    return true;
  }

  askWorker(id, status, is_lazy) {
    const worker = this.workers.get(id);
    if (!worker) return false;
    worker.status_change = { status, is_lazy };
    this.note("WorkerStatusRequested", { worker: id }, { status, is_lazy });
    return true;
  }

  #addWorker(name) {
    const worker = { id: randomUUID(), name, status: "awake", platform: "linux", task_types: ["blender", "ffmpeg", "file-management", "misc"], tags: [], address: "10.0.0." + (11 + this.workers.size), software: "Tablao 0.1.0", last_seen: new Date().toISOString() };
    this.workers.set(worker.id, worker);
  }

  #addJob(name, count, priority, agoMs) {
    const time = new Date(Date.now() - agoMs).toISOString();
    const job = { id: randomUUID(), name, type: "simple-blender-render", status: "queued", priority, activity: "", created: time, updated: time, user: "ines", project: "Night Shift", settings: { blendfile: "/mnt/show/sh010/scene.blend", chunk_size: 1, frames: `1-${count}`, format: "PNG", render_output_path: "/mnt/show/renders/######" }, metadata: { project: "Night Shift", "user.name": "ines" }, shot: randomUUID(), steps_completed: 0, steps_total: count * 4, task_counts: {} };
    const tasks = Array.from({ length: count }, (_, n) => ({ id: randomUUID(), job: job.id, number: n + 1, index: n + 1, name: `render-${n + 1}`, type: "blender", status: "queued", priority: 50, steps_completed: 0, steps_total: 4, frames: `${n + 1}`, activity: "", created: time, updated: time, failed_by: [] }));
    this.jobs.set(job.id, job);
    this.#jobTasks.set(job.id, tasks);
    for (const task of tasks) this.tasks.set(task.id, task);
    this.#count(job);
    this.note("JobReady", { job: job.id }, {});
    return job;
  }

  #addOldJob(n) {
    const job = this.#addJob(`${NAMES[n % NAMES.length]} v${String(n + 1).padStart(3, "0")}`, 6 + (n % 40), 50, (n + 1) * 3_600_000);
    const end = ["completed", "completed", "failed", "canceled", "paused"][n % 5];
    for (const task of this.tasksOf(job.id)) task.status = end === "failed" && task.index > 2 ? "canceled" : end;
    if (end === "completed") for (const task of this.tasksOf(job.id)) this.#publish(task, { id: "", name: "alder" }, 2_400);
    job.status = end;
    this.#count(job);
  }

  #touch(row) {
    row.updated = new Date().toISOString();
    return row;
  }
  #setTask(task, status) {
    this.#touch(task).status = status;
    if (status === "queued") task.steps_completed = 0;
    if (status === "completed") task.steps_completed = task.steps_total;
    this.#count(this.jobs.get(task.job));
  }
  #setJob(job, status) {
    if (job.status === status) return;
    const from = job.status;
    this.#touch(job).status = status;
    this.note("JobStatusChanged", { job: job.id }, { from, to: status });
  }
  #count(job) {
    job.task_counts = {};
    job.steps_completed = 0;
    for (const task of this.tasksOf(job.id)) {
      job.task_counts[task.status] = (job.task_counts[task.status] ?? 0) + 1;
      job.steps_completed += task.status === "completed" ? task.steps_total : task.steps_completed;
    }
  }
  #log(task, line) {
    const at = ((Date.now() - this.#began) / 1000).toFixed(2);
    this.logs.set(task.id, `${this.logs.get(task.id) ?? ""}${at} ${line}\n`);
  }

  #publish(task, worker, took) {
    const job = this.jobs.get(task.job);
    const name = `frame_${String(task.index).padStart(4, "0")}`;
    const frame = { id: `${job.shot}-${task.index}`, job: job.id, task: task.id, worker: { id: worker.id, name: worker.name }, shot: job.shot, number: task.index, name, path: `/mnt/show/renders/${name}.png`, size: 1_480_000, hash: randomUUID(), rendered_at: new Date().toISOString(), render_ms: took, thumbnail: `/thumbnails/${job.shot}/${name}_thumbnail.png`, flags: [] };
    const frames = this.#frames.get(job.id) ?? [];
    this.#frames.set(job.id, [...frames.filter((one) => one.id !== frame.id), frame]);
    job.thumbnail = frame.thumbnail;
    this.note("FramePublished", { job: job.id, task: task.id, worker: worker.id }, { number: task.index });
  }

  #tick(speed) {
    for (const worker of this.workers.values()) {
      worker.last_seen = new Date().toISOString();
      const held = worker.task && this.tasks.get(worker.task.id);
      if (held?.status === "active" && held.worker?.id === worker.id) this.#advance(worker, held, speed);
      else this.#rest(worker);
    }
  }

  #rest(worker) {
    delete worker.task;
    if (worker.status_change) {
      worker.status = worker.status_change.status;
      delete worker.status_change;
      this.note("WorkerStatusChanged", { worker: worker.id }, { to: worker.status });
    }
    if (worker.status !== "awake") return;
    for (const job of this.jobs.values()) {
      const task = ["queued", "active"].includes(job.status) && this.tasksOf(job.id).find((one) => one.status === "queued" || one.status === "soft-failed");
      if (!task) continue;
      this.#setTask(task, "active");
      task.worker = { id: worker.id, name: worker.name };
      worker.task = { id: task.id, name: task.name, job: job.id, status: "active" };
      const attempt = { id: randomUUID(), task: task.id, job: job.id, worker: task.worker, state: "running", assigned: new Date().toISOString(), software: "Blender 4.2.1" };
      this.#attempts.set(task.id, [...this.attemptsOf(task.id), attempt]);
      this.#log(task, `Blender 4.2.1 (hash 396f546c9d82)\nRead blend: "/mnt/show/sh010/scene.blend"`);
      this.note("AttemptAssigned", { job: job.id, task: task.id, worker: worker.id }, {});
      this.#setJob(job, "active");
      return;
    }
  }

  #advance(worker, task, speed) {
    if (Math.random() > 0.5 * speed) return;
    const job = this.jobs.get(task.job);
    task.steps_completed += 1;
    this.#log(task, `Fra:${task.index} Mem:412.50M (Peak 618.20M) | Time:00:0${task.steps_completed}.31 | Sample ${task.steps_completed * 32}/128`);
    this.note("StepsAdvanced", { job: job.id, task: task.id, worker: worker.id }, { steps_completed: task.steps_completed });
    this.#count(job);
    if (task.steps_completed < task.steps_total) return;
    const failed = Math.random() < 0.04;
    const last = this.attemptsOf(task.id).at(-1);
    Object.assign(last, { state: "ended", outcome: failed ? "failed" : "completed", ended: new Date().toISOString(), peak_memory_bytes: 648_000_000 });
    if (failed) Object.assign(last, { failure: { class: "out_of_memory", signal: 9 }, reason: "the render process was ended by the system" });
    this.#log(task, failed ? "Killed" : `Saved: '/mnt/show/renders/frame_${String(task.index).padStart(4, "0")}.png'`);
    if (!failed && task.type === "blender") this.#publish(task, worker, 1_800 + Math.random() * 3_000);
    this.#setTask(task, failed ? "soft-failed" : "completed");
    task.activity = failed ? "Out of memory on " + worker.name : "";
    this.note("AttemptEnded", { job: job.id, task: task.id, worker: worker.id }, { outcome: last.outcome });
    if (this.tasksOf(job.id).every((one) => one.status === "completed")) this.#setJob(job, "completed");
  }
}
