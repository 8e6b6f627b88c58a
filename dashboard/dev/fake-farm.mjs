#!/usr/bin/env node
// SPDX-License-Identifier: GPL-3.0-or-later
// A developer's tool, not a test's: plays a farm to the dashboard, so that its look can be worked on
// without rendering anything. It serves the built `dist/`, speaks the read API and the event stream,
// and tells a story: jobs that render, fail, are paused. See --help. What it plays is in story.mjs.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Story } from "./story.mjs";
import { gradient } from "./picture.mjs";

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "8099" },
    tasks: { type: "string", default: "240" },
    jobs: { type: "string", default: "12" },
    workers: { type: "string", default: "4" },
    speed: { type: "string", default: "1" },
    empty: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (options.help) {
  console.log(`node dev/fake-farm.mjs [--port 8099] [--tasks 240] [--jobs 12] [--workers 4] [--speed 1] [--empty]

  --tasks N   how many tasks the largest job has (10000 shows whether the grid holds)
  --jobs N    how many other jobs there are
  --workers N how many workers there are
  --speed X   how fast the story runs
  --empty     no jobs yet; POST /api/v3/jobs adds one

While it runs:  curl -X POST localhost:8099/dev/cut      ends all event streams (they come back)
                curl -X POST localhost:8099/dev/forget   makes all positions known so far invalid`);
  process.exit(0);
}

const dist = join(fileURLToPath(new URL("..", import.meta.url)), "dist");
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const story = new Story({ tasks: Number(options.tasks), jobs: Number(options.jobs), workers: Number(options.workers), empty: options.empty });
const streams = new Set();
let oldest = 0;

story.onEvent = (event) => {
  for (const stream of streams) write(stream, event);
};
story.run(Number(options.speed));

function write(stream, event) {
  stream.write(`id: ${event.position}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`);
}

function json(response, status, body) {
  response.writeHead(status, { "Content-Type": status < 400 ? "application/json" : "application/problem+json" });
  response.end(JSON.stringify(body));
}

function page(response, items, query) {
  const start = Number(query.get("cursor") ?? 0);
  const limit = Math.min(1000, Number(query.get("limit") ?? 100));
  const next = start + limit < items.length ? { next: String(start + limit) } : {};
  json(response, 200, { items: items.slice(start, start + limit), position: String(story.position), ...next });
}

/** Of what a list can be asked for, as much as shows that the page sends it. */
function fits(row, query) {
  const is = (key) => !query.has(key) || query.get(key) === row[key];
  const statuses = query.get("status")?.split(",");
  return (statuses?.includes(row.status) ?? true) && is("type") && is("user") && is("project") && row.name.includes(query.get("name") ?? "");
}

const notFound = (response) => json(response, 404, { title: "not found", status: 404, detail: "there is no such thing" });

function events(request, response, query) {
  const after = request.headers["last-event-id"] ?? query.get("after");
  if (after !== null && (!/^\d+$/.test(after) || Number(after) < oldest)) {
    return json(response, 410, { title: "position gone", status: 410, detail: "the journal starts later", hint: "read the lists anew" });
  }
  const missed = story.events.filter((event) => after === null || Number(event.position) > Number(after));
  if (!request.headers.accept?.includes("text/event-stream")) return page(response, missed, query);
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  if (after === null) response.write(`event: hello\ndata: ${JSON.stringify({ position: String(story.position) })}\n\n`);
  else for (const event of missed) write(response, event);
  streams.add(response);
  request.on("close", () => streams.delete(response));
}

async function read(path, query, request, response) {
  const [kind, id, part] = path.split("/");
  if (path === "events") return events(request, response, query);
  if (path === "jobs") return page(response, [...story.jobs.values()].filter((job) => fits(job, query)), query);
  if (path === "workers") return page(response, [...story.workers.values()], query);
  if (path === "frames") return page(response, story.framesOf(query.get("job")).reverse(), query);
  if (kind === "jobs" && story.jobs.has(id)) {
    return part === "tasks" ? page(response, story.tasksOf(id).filter((task) => fits(task, query)), query) : json(response, 200, story.jobs.get(id));
  }
  const task = kind === "tasks" ? story.tasks.get(id) : undefined;
  if (task === undefined) return notFound(response);
  if (part === "attempts") return page(response, story.attemptsOf(id), query);
  if (part === "log") {
    const log = Buffer.from(story.logs.get(id) ?? "");
    response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8", "Tablao-Log-Size": log.length });
    return response.end(log.subarray(Number(query.get("offset") ?? 0)));
  }
  return json(response, 200, { ...task, commands: story.commandsOf(task) });
}

async function change(path, request, response) {
  let text = "";
  for await (const chunk of request) text += chunk;
  const body = JSON.parse(text || "{}");
  if (path === "jobs") return json(response, 200, story.submit(body));
  const [kind, second, third] = path.split("/");
  const done = path.startsWith("worker-mgt/")
    ? story.askWorker(third, body.status, body.is_lazy)
    : kind === "jobs"
      ? third === "setpriority"
        ? story.setPriority(second, body.priority)
        : story.askJob(second, body.status)
      : story.askTask(second, body.status);
  if (!done) return json(response, 404, { code: 404, message: "there is no such thing" });
  response.writeHead(204).end();
}

async function file(path, response) {
  const wanted = normalize(path).replace(/^(\.\.[/\\])+/, "");
  const name = extname(wanted) === "" ? "index.html" : wanted;
  try {
    const content = await readFile(join(dist, name));
    response.writeHead(200, { "Content-Type": types[extname(name)] ?? "application/octet-stream" }).end(content);
  } catch {
    notFound(response);
  }
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://farm");
  const path = url.pathname;
  if (path === "/readyz") response.end();
  else if (path === "/") response.writeHead(307, { Location: "/app/" }).end();
  else if (path.startsWith("/app/")) void file(path.slice(5), response);
  else if (path === "/dev/cut") {
    for (const stream of streams) stream.destroy();
    response.end();
  } else if (path === "/dev/forget") {
    oldest = story.position + 1;
    story.note("JournalOpened", {}, {});
    for (const stream of streams) stream.destroy();
    response.end();
  } else if (path.startsWith("/api/farm/v1/")) void read(path.slice(13), url.searchParams, request, response);
  else if (path === "/api/v3/version") json(response, 200, { name: "Night Shift", version: "0.1.0", shortversion: "3.9-beta1", git: "" });
  else if (path === "/api/v3/status") json(response, 200, { status: story.farmStatus() });
  else if (path.startsWith("/api/v3/") && request.method === "POST") void change(path.slice(8), request, response);
  else if (path.startsWith("/thumbnails/")) {
    const number = Number(/(\d+)_thumbnail/.exec(path)?.[1] ?? 0);
    response.writeHead(200, { "Content-Type": "image/png" }).end(gradient(number));
  } else notFound(response);
});

server.listen(Number(options.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${options.port}/app/`));
