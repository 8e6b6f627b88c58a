// SPDX-License-Identifier: GPL-3.0-or-later
// The original Socket.IO client of version 2 and a real mosquitto receive every topic of Flamenco while
// a real Manager and a real Worker work on real jobs; also late, while the broker was away, and at the end.
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { check, conclude, part, same } from "../../dashboard/tests/browser/checks.mjs";
import { Farm, freePort, Process } from "../../dashboard/tests/browser/farm.mjs";
import { configure, listens, PASSWORD, Subscriber, USER } from "./broker.mjs";
import { Client } from "./client.mjs";
import { eventOf, mustFit } from "./shapes.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const binary = resolve(root, process.env.TABLAO_BIN ?? join("target", "debug", "tablao"));
const out = join(root, "target", "events");
const PREFIX = "studio/farm";
const WITHIN_MS = 30_000;
/** The smallest picture there is. */
const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

await mkdir(out, { recursive: true });
const temporary = await mkdtemp(join(tmpdir(), "tablao-events-"));
const endings = [];

/** Waits until something is so; says what was there when it is not. */
async function until(what, holds, seen) {
  const end = Date.now() + WITHIN_MS;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited for ${what}; there was ${JSON.stringify(seen?.(), null, 1)}`);
    await pause(20);
  }
}

class Studio {
  async start() {
    this.brokerPort = await freePort();
    this.webSocketPort = await freePort();
    this.port = await freePort();
    this.farm = new Farm(this.port);
    const broker = join(temporary, "broker");
    await mkdir(broker);
    this.brokerFile = configure(broker, this.brokerPort, this.webSocketPort);
    await this.startBroker();
    this.subscriber = new Subscriber(this.brokerPort);
    endings.push(() => this.subscriber.stop());
    await this.startManager(`tcp://127.0.0.1:${this.brokerPort}`);
  }

  async startBroker() {
    const path = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;
    this.broker = new Process("env", [`PATH=${path}`, "mosquitto", "-c", this.brokerFile], out, "mosquitto");
    endings.push(() => this.broker.stop());
    await listens(this.brokerPort);
  }

  async startManager(broker) {
    const data = join(temporary, "farm");
    await mkdir(data, { recursive: true });
    const mqtt = { enabled: true, broker, client_id: "manager", topic_prefix: PREFIX, username: USER, password: PASSWORD };
    const lines = Object.entries(mqtt).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    await writeFile(join(data, "tablao.toml"), `[mqtt]\n${lines.join("\n")}\n`);
    const listen = ["--data", data, "--listen", `127.0.0.1:${this.port}`, "--workers", "1"];
    this.manager = new Process(binary, ["up", ...listen], out, "tablao");
    endings.push(() => this.manager.stop());
    await this.farm.ready(this.manager);
  }

  async call(method, path, body, headers = {}) {
    const raw = Buffer.isBuffer(body);
    const answer = await fetch(`${this.farm.url}${path}`, {
      method,
      headers: { ...(body && !raw && { "Content-Type": "application/json" }), ...headers },
      body: raw ? body : body && JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    const text = await answer.text();
    return text && JSON.parse(text);
  }

  echo(name, seconds = 0) {
    const settings = { message: "hello from the log", sleep_duration_seconds: seconds, sleep_repeats: 1 };
    return this.farm.submit({ name, type: "echo-sleep-test", settings });
  }

  /** What the broker passed on, by topic behind the prefix. */
  published(topic) {
    const ours = this.subscriber.heard.filter((one) => one.topic === PREFIX + topic);
    return ours.map((one) => one.payload);
  }
}

const studio = new Studio();
const worker = { name: "by hand", secret: randomBytes(32).toString("hex") };

/** A worker that this test plays, so that it can hold a task and send a picture. */
async function registerWorker() {
  const body = { ...worker, platform: "linux", supported_task_types: ["misc"] };
  worker.id = (await studio.call("POST", "/api/v3/worker/register-worker", body)).uuid;
  worker.headers = { Authorization: `Basic ${Buffer.from(`${worker.id}:${worker.secret}`).toString("base64")}` };
  const signOn = { name: worker.name, supported_task_types: ["misc"], software_version: "3.9", can_restart: true };
  await studio.call("POST", "/api/v3/worker/sign-on", signOn, worker.headers);
  await studio.call("POST", "/api/v3/worker/state-changed", { status: "asleep" }, worker.headers);
}

await part("Every topic, to both", async () => {
  await studio.start();
  await check("the broker hears that the Manager starts, and what the farm is doing", async () => {
    await until("the start", () => studio.published("/lifecycle").length === 1, () => studio.subscriber.heard);
    same(studio.published("/lifecycle")[0].type, "manager-startup", "type");
    await until("a status", () => studio.published("/status").some((one) => one.status === "idle"), () => studio.published("/status"));
  });

  const web = new Client(studio.farm.url, ["websocket"]);
  const polling = new Client(studio.farm.url, ["polling"]);
  const upgraded = new Client(studio.farm.url, undefined);
  endings.push(() => [web, polling, upgraded].forEach((client) => client.close()));
  await check("clients of version 2 connect, by WebSocket, by polling, and by way of both", async () => {
    await Promise.all([web.connected, polling.connected, upgraded.connected]);
    same(web.socket.io.engine.transport.name, "websocket", "transport");
    same(polling.socket.io.engine.transport.name, "polling", "transport");
  });
  await check("subscriptions are answered", async () => {
    for (const client of [web, polling, upgraded]) {
      for (const type of ["allJobs", "allWorkers", "allLastRendered", "allWorkerTags"]) {
        same(await client.ask("subscribe", type), "ok", type);
      }
    }
    for (const wrong of [["subscribe", "job"], ["subscribe", "tasklog", "no-uuid"], ["subscribe", "everything"], ["join", "allJobs"]]) {
      const answer = await web.ask(...wrong);
      if (answer === "ok" || typeof answer !== "string") throw new Error(`${wrong}: ${answer}`);
    }
  });

  await registerWorker();
  const tag = await studio.call("POST", "/api/v3/worker-mgt/tags", { name: "big", description: "much memory" });
  await studio.call("POST", `/api/v3/worker-mgt/workers/${worker.id}/settags`, { tag_ids: [tag.id] });
  await studio.call("POST", `/api/v3/worker-mgt/workers/${worker.id}/setstatus`, { status: "awake", is_lazy: true });
  await check("workers and tags are told of", async () => {
    for (const client of [web, polling, upgraded]) {
      const mine = () => client.of("/workers").filter((one) => one.id === worker.id);
      await until("a status asked for", () => mine().some((one) => one.status_change?.status === "awake" && one.status_change.is_lazy), mine);
      const asleep = mine().find((one) => one.status === "asleep");
      same(JSON.stringify([asleep.version, asleep.can_restart, asleep.name]), JSON.stringify(["3.9", true, worker.name]), "worker");
      await until("a tag", () => client.of("/workertags").length === 1);
      same(JSON.stringify(client.of("/workertags")), JSON.stringify([{ tag: { id: tag.id, name: "big", description: "much memory" } }]), "tag");
    }
  });

  // The Worker of the farm sleeps in its task, long enough to subscribe to what it does there.
  const job = await studio.echo("seen whole", 1);
  const tasks = (await studio.call("GET", `/api/v3/jobs/${job}/tasks`)).tasks;
  const other = new Client(studio.farm.url, ["websocket"]);
  endings.push(() => other.close());
  await other.connected;
  for (const client of [web, polling, upgraded]) {
    same(await client.ask("subscribe", "job", job), "ok", "job");
    for (const task of tasks) same(await client.ask("subscribe", "tasklog", task.id), "ok", "log");
  }
  await check("a job is told of from its submission to its end", async () => {
    for (const client of [web, polling, upgraded]) {
      const mine = () => client.of("/jobs").filter((one) => one.id === job);
      await until("its end", () => mine().some((one) => one.status === "completed"), mine);
      same("previous_status" in mine()[0], false, "a new job has a former status");
      const changes = mine().filter((one) => one.previous_status && one.previous_status !== one.status);
      same(changes.map((one) => `${one.previous_status}>${one.status}`).join(" "), "queued>active active>completed", "statuses");
      const last = mine().at(-1);
      same(last.steps_completed, last.steps_total, "steps");
      same(last.name, "seen whole", "name");
    }
  });
  await check("its tasks are told of to those who look at it, with their worker", async () => {
    for (const client of [web, polling, upgraded]) {
      const ended = () => client.of("/task").filter((one) => one.status === "completed" && one.previous_status === "active");
      await until("its tasks", () => ended().length >= tasks.length - 1, () => client.of("/task"));
      for (const one of ended()) same([one.job_id, Boolean(one.worker?.uuid)].join(), [job, true].join(), "task");
    }
  });
  await check("its logs arrive while they are written, to those who follow them", async () => {
    for (const client of [web, polling, upgraded]) {
      await until("a log", () => client.of("/tasklog").length > 0, () => client.heard.map((one) => one.event));
      for (const one of client.of("/tasklog")) same(tasks.some((task) => task.id === one.task_id), true, "task of a log");
    }
    same(other.of("/tasklog").length + other.of("/task").length + other.of("/jobs").length, 0, "to one that did not ask");
  });

  await studio.call("POST", `/api/v3/worker/task/${tasks[0].id}/output-produced`, PICTURE, { ...worker.headers, "Content-Type": "image/png" });
  await check("a new picture is told of, to its job's room and to everybody's", async () => {
    const expected = {
      job_id: job,
      thumbnail: {
        base: `/job-files/job-${job.slice(0, 4)}/${job}`,
        suffixes: ["last-rendered.jpg", "last-rendered-small.jpg", "last-rendered-tiny.jpg"],
      },
    };
    for (const client of [web, polling, upgraded]) {
      await until("the pictures", () => client.of("/last-rendered").length === 2, () => client.of("/last-rendered"));
      same(JSON.stringify(client.of("/last-rendered")), JSON.stringify([expected, expected]), "picture");
    }
    const { base, suffixes } = expected.thumbnail;
    same((await fetch(`${studio.farm.url}${base}/${suffixes[2]}`)).status, 200, "the picture");
  });

  await check("priority, cancelling, and a deletion that is asked for are told of", async () => {
    const second = await studio.echo("changed", 60);
    await studio.call("POST", `/api/v3/jobs/${second}/setpriority`, { priority: 77 });
    await studio.call("POST", `/api/v3/jobs/${second}/setstatus`, { status: "cancel-requested", reason: "test" });
    const mine = () => web.of("/jobs").filter((one) => one.id === second);
    await until("the end", () => mine().some((one) => one.status === "canceled"), mine);
    await studio.call("DELETE", `/api/v3/jobs/${second}`);
    await until("the deletion", () => mine().some((one) => one.delete_requested_at || one.was_deleted), mine);
    same(mine().some((one) => one.priority === 77), true, "priority");
    const asked = mine().find((one) => one.status === "cancel-requested");
    if (asked) same(asked.refresh_tasks, true, "tasks to be read anew");
  });

  await check("one that unsubscribed hears no more, and one that comes late nothing of before", async () => {
    same(await polling.ask("unsubscribe", "allWorkerTags"), "ok", "unsubscribe");
    const told = polling.of("/workertags").length;
    const late = new Client(studio.farm.url, ["websocket"]);
    endings.push(() => late.close());
    await late.connected;
    for (const type of ["allJobs", "allWorkers", "allWorkerTags"]) same(await late.ask("subscribe", type), "ok", type);
    await studio.call("PUT", `/api/v3/worker-mgt/tag/${tag.id}`, { name: "bigger" });
    await studio.call("DELETE", `/api/v3/worker-mgt/tag/${tag.id}`);
    await until("the tag's end", () => late.of("/workertags").some((one) => one.was_deleted), () => late.heard);
    same(late.of("/workertags").map((one) => one.tag.name).join(), "bigger,", "what the late one heard");
    same(late.of("/jobs").length, 0, "jobs of before");
    same(polling.of("/workertags").length, told, "what the other heard");
  });

  await studio.call("DELETE", `/api/v3/worker-mgt/workers/${worker.id}`);
  await check("a worker that is removed is told of", async () => {
    const mine = () => web.of("/workers").filter((one) => one.id === worker.id);
    await until("its end", () => mine().some((one) => one.deleted_at), mine);
  });

  await check("the broker has the same, at least once, not kept, and no logs", async () => {
    const expected = ["/jobs", `/jobs/${job}`, `/jobs/${job}/last-rendered`, "/last-rendered", "/lifecycle", "/status", "/workers", "/workertags"];
    for (const topic of expected) await until(topic, () => studio.published(topic).length > 0, () => studio.subscriber.heard.map((one) => one.topic));
    await until("the worker's end", () => studio.published("/workers").some((one) => one.deleted_at));
    const topics = new Set(studio.subscriber.heard.map((one) => one.topic));
    for (const topic of topics) same(topic.startsWith(`${PREFIX}/`) && !topic.includes("tasklog"), true, topic);
    for (const one of studio.subscriber.heard) same(`${one.quality}${one.retained}`, "10", "quality and kept");
    const statuses = studio.published("/jobs").filter((one) => one.id === job && one.previous_status !== one.status);
    same(statuses.map((one) => one.status).join(" "), "queued active completed", "statuses");
  });

  await check("a broker that was away gets what it missed", async () => {
    await studio.broker.stop();
    const missed = await studio.echo("while the broker was away");
    const ended = () => web.of("/jobs").some((one) => one.id === missed && one.status === "completed");
    await until("the job's end", ended);
    const before = studio.published("/jobs").filter((one) => one.id === missed).length;
    same(before, 0, "told to a broker that is away");
    await studio.startBroker();
    const told = () => studio.published("/jobs").filter((one) => one.id === missed && one.previous_status !== one.status);
    await until("what it missed", () => told().length >= 3, () => studio.subscriber.heard.slice(-9));
    same(told().map((one) => one.status).join(" "), "queued active completed", "statuses");
  });

  await check("the end is told to both before it comes", async () => {
    await studio.manager.stop();
    same(studio.manager.end.code, 0, "exit code");
    same(JSON.stringify(web.of("/lifecycle")), JSON.stringify([{ type: "manager-shutdown" }]), "to clients");
    await until("the end", () => studio.published("/lifecycle").at(-1)?.type === "manager-shutdown", () => studio.published("/lifecycle"));
  });

  await check("clients come back by themselves, and a broker is reached over WebSocket too", async () => {
    const again = new Promise((done) => web.socket.once("connect", done));
    const before = studio.published("/lifecycle").length;
    await studio.startManager(`ws://127.0.0.1:${studio.webSocketPort}`);
    await again;
    await until("the start", () => studio.published("/lifecycle").length > before, () => studio.published("/lifecycle"));
  });

  await check("every payload is as documented, without a null", async () => {
    let looked = 0;
    for (const client of [web, polling, upgraded]) {
      for (const { event, payload } of client.heard) mustFit(event, payload), (looked += 1);
    }
    for (const { topic, payload } of studio.subscriber.heard) mustFit(eventOf(topic.slice(PREFIX.length)), payload), (looked += 1);
    if (looked < 100) throw new Error(`only ${looked} were looked at`);
    console.log(`        ${looked} payloads`);
  });
});

for (const end of endings.reverse()) await end();
await rm(temporary, { recursive: true, force: true });
process.exit(conclude());
