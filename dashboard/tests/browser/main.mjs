// SPDX-License-Identifier: GPL-3.0-or-later
// The dashboard's tests: its own first, then those in the browser. They watch real jobs on real farms
// through the dashboard, from submission to last frame, across the Manager being killed, and ask the
// farm for changes as a person does.
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { missingFrames, runAgain } from "./again.mjs";
import { LAUNCH } from "./browser.mjs";
import { check, conclude, failures, part, same, skip } from "./checks.mjs";
import { Farm, FRAMES, freePort, makeScene, Process, renderJob, runs, TASKS } from "./farm.mjs";
import { findFrames, findThings } from "./find.mjs";
import { badFrames } from "./frames.mjs";
import { writeJobTypes } from "./job-types.mjs";
import { setUpInTheBrowser } from "./setup.mjs";
import { submitInTheBrowser } from "./submit.mjs";
import { theirOwnTests } from "./units.mjs";
import { View } from "./view.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const binary = resolve(root, process.env.TABLAO_BIN ?? join("target", "debug", "tablao"));
const out = join(root, "target", "browser");

await mkdir(out, { recursive: true });
const temporary = await mkdtemp(join(tmpdir(), "tablao-browser-"));
const started = [];
let browser;

function start(name, ...args) {
  const process = new Process(binary, args, out, name);
  started.push(process);
  return process;
}

async function newView() {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  return new View(page, out);
}

const scene = join(temporary, "scene.blend");
const rendering = await runs("blender", "--version");

async function watchAJob(farm, view) {
  const job = await check("a submitted job appears without a reload", async () => {
    const id = await farm.submit(renderJob("demo", scene, join(temporary, "renders")));
    await view.jobRow(id).waitFor();
    return id;
  });
  await view.openJob(job);
  await check("its tasks are shown as cells", async () => {
    same(await view.count("task-cell", TASKS), TASKS, "cells");
    await view.cells("active").first().waitFor();
  });
  await check("the log of a running task is shown while it runs", async () => {
    await view.cells("active").first().click();
    await view.find("attempt-row").first().waitFor();
    await view.find("task-log").filter({ hasText: /Blender|Fra:|Saved:/ }).waitFor();
    await view.shot("task-running");
  });
  await check("the first frame appears while the job is running", async () => {
    await view.pictures(1);
    await view.jobRow(job, "active").waitFor();
    await view.shot("job-running");
  });
  await check("the job is seen to complete, with a picture of every frame", async () => {
    await view.jobRow(job, "completed").waitFor();
    await view.pictures(FRAMES);
    same(await view.find("frame-thumb").count(), FRAMES, "frames");
    await view.cells("completed").nth(TASKS - 1).waitFor();
    await view.page.locator('[data-testid="open-job-progress"][aria-valuenow="100"]').waitFor();
    await view.shot("job-completed");
  });
  await check("a frame can be enlarged", async () => {
    await view.find("frame-thumb").first().click();
    await view.find("lightbox").locator("img").waitFor();
    await view.shot("frame-enlarged");
    await view.page.keyboard.press("Escape");
    await view.find("lightbox").waitFor({ state: "detached" });
  });
}

async function changeThings(farm, view) {
  const job = await farm.submit({
    name: "long sleep",
    type: "echo-sleep-test",
    settings: { message: "good night", sleep_duration_seconds: 2, sleep_repeats: 30 },
  });
  await view.jobRow(job).waitFor();
  await view.openJob(job);
  await check("pausing a job pauses it", async () => {
    await view.jobRow(job, "active").waitFor();
    await view.find("job-pause").click();
    await view.jobRow(job, "paused").waitFor();
  });
  await check("the priority typed is the priority shown", async () => {
    await view.find("job-priority").fill("77");
    await view.find("job-priority").press("Enter");
    await view.jobRow(job).getByText("p77").waitFor();
  });
  await check("requeueing lets it run again", async () => {
    await view.find("job-requeue").click();
    await view.jobRow(job, "active").waitFor();
  });
  await check("canceling ends it and shows its tasks as canceled", async () => {
    await view.find("job-cancel").click();
    await view.jobRow(job, "canceled").waitFor();
    await view.cells("canceled").first().waitFor();
    await view.shot("job-canceled");
  });
  await check("a single task can be requeued", async () => {
    const task = await view.cells("canceled").last().getAttribute("data-task-id");
    const cell = view.page.locator(`[data-testid="task-cell"][data-task-id="${task}"]`);
    await cell.click();
    await view.find("task-requeue").click();
    // Queued, or active already where the worker was quick.
    await view.page.locator(`[data-task-id="${task}"]:not([data-status="canceled"])`).waitFor();
  });
  await check("a worker can be put to sleep and woken", async () => {
    await view.page.getByRole("link", { name: "Workers" }).click();
    const row = view.find("worker-row").first();
    await row.getByTestId("worker-asleep").click();
    await view.page.locator('[data-testid="worker-row"][data-status="asleep"]').waitFor();
    await row.getByTestId("worker-awake").click();
    await view.page.locator('[data-testid="worker-row"][data-status="awake"]').waitFor();
    await view.shot("workers");
  });
  await check("a worker that is kept from work is told with the reason, until it is released", async () => {
    const row = view.find("worker-row").first();
    view.page.once("dialog", (dialog) => dialog.accept("its fan is loud"));
    await row.getByTestId("worker-quarantine").click();
    await row.getByTestId("quarantine").filter({ hasText: "its fan is loud" }).waitFor();
    await view.find("quarantine-notice").filter({ hasText: "1 worker in quarantine" }).waitFor();
    await view.shot("worker-in-quarantine");
    await row.getByTestId("worker-release").click();
    await view.find("quarantine-notice").waitFor({ state: "detached" });
    await row.getByTestId("quarantine").waitFor({ state: "detached" });
  });
}

async function noReloadNoError(view) {
  await check("all of that happened on one page load, without an error on the page", async () => {
    await view.notReloaded();
    same(view.errors.join("\n"), "", "errors on the page");
  });
}

async function wholeFarm() {
  const port = await freePort();
  const farm = new Farm(port);
  const up = start("up", "up", "--data", join(temporary, "up"), "--listen", `127.0.0.1:${port}`, "--workers", "1");
  await check("tablao up starts", () => farm.ready(up));
  const view = await newView();
  await check("the dashboard opens and is live", async () => {
    await view.open(farm.url);
    await view.state("live");
    await view.shot("empty-farm");
  });
  await check("the worker is shown as awake", async () => {
    await view.page.getByRole("link", { name: "Workers" }).click();
    await view.page.locator('[data-testid="worker-row"][data-status="awake"]').waitFor();
    await view.page.getByRole("link", { name: "Jobs" }).click();
  });
  if (rendering) {
    await watchAJob(farm, view);
    await badFrames(view, join(temporary, "renders"));
    await findFrames(farm, view, FRAMES);
  } else skip("watching a job render", "Blender is not on this machine");
  await changeThings(farm, view);
  await noReloadNoError(view);
  await up.stop();
}

/** A farm without Blender's part: what counts is what is asked of it, not what it renders. */
async function formsAndLists() {
  const port = await freePort();
  const farm = new Farm(port);
  const data = join(temporary, "forms");
  await writeJobTypes(data);
  const up = start("forms", "up", "--data", data, "--listen", `127.0.0.1:${port}`, "--workers", "1");
  await farm.ready(up);
  const view = await newView();
  await view.open(farm.url);
  await view.state("live");
  await findThings(farm, view, newView);
  await submitInTheBrowser(farm, view);
  await runAgain(farm, view, data, join(temporary, "marker"));
  await missingFrames(farm, view, renderJob("never rendered", join(temporary, "none.blend"), join(temporary, "none")), TASKS - 1);
  await noReloadNoError(view);
  await up.stop();
}

async function newFarm() {
  const port = await freePort();
  const farm = new Farm(port);
  const data = join(temporary, "new");
  const up = start("new", "up", "--data", data, "--listen", `127.0.0.1:${port}`, "--workers", "1");
  await farm.ready(up);
  const view = await newView();
  await setUpInTheBrowser(farm, view, data, join(temporary, "share"), rendering);
  await check("a job runs on the farm that was set up", async () => {
    const job = await farm.submit({
      name: "first",
      type: "echo-sleep-test",
      settings: { message: "hello", sleep_duration_seconds: 0, sleep_repeats: 1 },
    });
    await view.page.getByRole("link", { name: "Jobs" }).click();
    await view.jobRow(job, "completed").waitFor();
  });
  await noReloadNoError(view);
  await up.stop();
}

async function killedManager() {
  const port = await freePort();
  const farm = new Farm(port);
  const listen = ["--data", join(temporary, "manager"), "--listen", `127.0.0.1:${port}`];
  let manager = start("manager", "manager", ...listen);
  await farm.ready(manager);
  start("worker", "worker", "--manager", farm.url, "--data", join(temporary, "worker"), "--name", "birch");
  const view = await newView();
  await view.open(farm.url);
  await view.state("live");

  // A picture that was asked for just when the farm went away comes later; here it is the third.
  let asked = 0;
  await view.page.route("**/thumbnails/**", (route) => {
    asked += 1;
    return asked === 3 ? route.abort() : route.continue();
  });

  const tasks = rendering ? TASKS : 11;
  const job = await check("a job is submitted and begins", async () => {
    const id = await farm.submit(
      rendering
        ? renderJob("demo-killed", scene, join(temporary, "renders"))
        : {
            name: "naps",
            type: "echo-sleep-test",
            settings: { message: "hello", sleep_duration_seconds: 1, sleep_repeats: 10 },
          },
    );
    await view.jobRow(id).waitFor();
    await view.openJob(id);
    await view.cells("completed").nth(1).waitFor();
    if (rendering) await view.pictures(1);
    return id;
  });
  await check("kill -9 of the Manager is shown as reconnecting, with the farm still in view", async () => {
    await manager.kill("SIGKILL");
    await view.state("reconnecting");
    same(await view.cells().count(), tasks, "cells in view");
    await view.shot("manager-killed");
  });
  await check("the Manager comes back, and the page is live again by itself", async () => {
    manager = start("manager", "manager", ...listen);
    await farm.ready(manager);
    await view.state("live");
    await view.shot("manager-back");
  });
  await check("the job is seen to complete all the same", async () => {
    await view.jobRow(job, "completed").waitFor();
    await view.cells("completed").nth(tasks - 1).waitFor();
    same(await view.cells().count(), tasks, "cells");
    if (rendering) {
      await view.pictures(FRAMES);
      same(await view.find("frame-thumb").count(), FRAMES, "frames");
    }
    await view.shot("completed-after-kill");
  });
  await noReloadNoError(view);
}

/** For work on the tests: only the part that is named. */
const only = process.env.ONLY;
const wantedPart = (name, act) => (only === undefined || only === name ? part(name, act) : skip(name, "another part was asked for"));

await wantedPart("The page by itself", theirOwnTests);
try {
  browser = await chromium.launch(LAUNCH);
  if (rendering && only !== "Forms and lists") await makeScene(scene);
  await wantedPart("A new farm that is set up in the browser", newFarm);
  await wantedPart("Forms and lists", formsAndLists);
  await wantedPart("A whole farm (tablao up)", wholeFarm);
  await wantedPart("A Manager that is killed under an open page", killedManager);
} catch (cause) {
  await part("Setting up", () => Promise.reject(cause));
} finally {
  await browser?.close();
  await Promise.all(started.map((process) => process.stop()));
}

if (failures() > 0) {
  for (const log of new Set(started.map((process) => process.log))) {
    const text = await readFile(log, "utf8").catch(() => "");
    console.log(`\nthe end of ${log}:\n${text.split("\n").slice(-15).join("\n")}`);
  }
  console.log(`\nwhat the farm left: ${temporary}`);
} else {
  await rm(temporary, { recursive: true, force: true });
}
process.exitCode = conclude();
