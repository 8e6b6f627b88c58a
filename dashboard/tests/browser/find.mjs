// SPDX-License-Identifier: GPL-3.0-or-later
// Lists that are asked for something: the query goes to the Manager, stands in the address, and what
// it finds follows the farm.
import { check, same } from "./checks.mjs";

const echo = (name, metadata, more = {}) => ({
  name,
  type: "echo-sleep-test",
  metadata,
  settings: { message: "hello", sleep_duration_seconds: 0, sleep_repeats: 2 },
  ...more,
});

async function shown(view) {
  return (await view.find("job-row").locator(".title").allTextContents()).sort().join(", ");
}

/** Waits until the list shows just these jobs. */
async function listIs(view, names) {
  await view.page.waitForFunction(
    (wanted) => [...document.querySelectorAll('[data-testid="job-row"] .title')].map((one) => one.textContent).sort().join(", ") === wanted,
    names.toSorted().join(", "),
  );
}

/** Types words, and gives the query that the page sends for them. */
async function ask(view, field, words, path) {
  const sent = view.page.waitForRequest((request) => {
    const url = new URL(request.url());
    return url.pathname === path && [...url.searchParams.keys()].some((key) => !["limit", "cursor", "order", "job"].includes(key));
  });
  await view.find(field).fill(words);
  return new URL((await sent).url()).searchParams;
}

export async function findThings(farm, view, newView) {
  const jobs = "/api/farm/v1/jobs";
  const first = await farm.submit(echo("sh010 wide", { "user.name": "ines", sequence: "010", project: "Night" }));
  await farm.submit(echo("sh010 close", { "user.name": "omar", sequence: "010", project: "Night" }));
  const other = await farm.submit(echo("sh020 wide", { "user.name": "ines", sequence: "020" }, { initial_status: "paused" }));
  await view.jobRow(first, "completed").waitFor();
  await view.jobRow(other, "paused").waitFor();

  await check("words are sent to the Manager as its parameters, and what it finds is shown", async () => {
    const sent = await ask(view, "find-jobs", "wide user:ines meta.sequence=010", jobs);
    same(sent.get("name"), "wide", "name");
    same(sent.get("user"), "ines", "user");
    same(sent.get("meta.sequence"), "010", "meta.sequence");
    await listIs(view, ["sh010 wide"]);
  });
  await check("the page narrows nothing itself: what the Manager answers is what is shown", async () => {
    const answer = await (await fetch(`${farm.url}${jobs}?user=omar`)).json();
    await view.page.route("**/api/farm/v1/jobs?user=nobody*", (route) => route.fulfill({ json: answer }));
    await ask(view, "find-jobs", "user:nobody", jobs);
    await listIs(view, ["sh010 close"]);
    await view.page.unroute("**/api/farm/v1/jobs?user=nobody*");
  });
  await check("a misspelt parameter is refused in the Manager's words", async () => {
    await ask(view, "find-jobs", "statsu:failed", jobs);
    await view.find("find-jobs-problem").filter({ hasText: "statsu" }).waitFor();
    await view.shot("find-problem");
  });
  await check("a status chip and the fields ask for the same", async () => {
    await view.find("find-jobs").fill("");
    await listIs(view, ["sh010 close", "sh010 wide", "sh020 wide"]);
    await view.page.getByRole("button", { name: /^paused/ }).click();
    await listIs(view, ["sh020 wide"]);
    same(await view.find("find-jobs").inputValue(), "status:paused", "the words");
    await view.find("find-jobs-filter").click();
    await view.shot("find-fields");
    const fields = view.find("find-jobs-fields");
    same(await fields.locator('[data-field="status"]').inputValue(), "paused", "the field");
    await fields.locator('[data-field="status"]').selectOption("");
    await fields.locator('[data-field="project"]').fill("Night");
    await fields.locator('[data-field="project"]').blur();
    await listIs(view, ["sh010 close", "sh010 wide"]);
    same(await view.find("find-jobs").inputValue(), "project:Night", "the words");
  });
  await check("a job that fits comes up by itself, one that does not stays away", async () => {
    await farm.submit(echo("sh030 elsewhere", { project: "Day" }));
    await farm.submit(echo("sh040 new", { project: "Night" }));
    await listIs(view, ["sh010 close", "sh010 wide", "sh040 new"]);
  });
  await check("the address shows another person the same, also within a job", async () => {
    await view.find("find-jobs").fill("user:ines project:Night");
    await listIs(view, ["sh010 wide"]);
    await view.openJob(first);
    await view.count("task-cell", 3);
    const sent = await ask(view, "find-tasks", "name:ech", `${jobs}/${first}/tasks`);
    same(sent.get("name"), "ech", "name");
    await view.page.waitForFunction(() => document.querySelectorAll('[data-testid="task-cell"]').length === 1);
    await view.shot("find-tasks");
    const address = new URL(view.page.url());
    same(address.searchParams.get("user"), "ines", "the list's query in the address");
    same(address.searchParams.get("tasks.name"), "ech", "the tasks' query in the address");
    const another = await newView();
    await another.open(farm.url, address.pathname.slice("/app/".length) + address.search);
    await listIs(another, ["sh010 wide"]);
    await another.count("task-cell", 1);
    same(await another.find("task-cell").count(), 1, "cells");
    same(await another.find("find-jobs").inputValue(), "user:ines project:Night", "the words");
    same(await another.find("find-tasks").inputValue(), "ech", "the words for tasks");
    await another.page.close();
  });
  await check("without a query all is shown again", async () => {
    await view.find("find-tasks").fill("");
    await view.page.waitForFunction(() => document.querySelectorAll('[data-testid="task-cell"]').length === 3);
    await view.find("find-jobs").fill("");
    await listIs(view, ["sh010 close", "sh010 wide", "sh020 wide", "sh030 elsewhere", "sh040 new"]);
    same(new URL(view.page.url()).search, "", "the address's query");
    same((await shown(view)).split(", ").length, 5, "jobs");
  });
}

/** On a farm where a real Blender has rendered: frames of all jobs, asked for by who rendered them. */
export async function findFrames(farm, view, count) {
  const worker = (await (await fetch(`${farm.url}/api/farm/v1/workers`)).json()).items[0].name;
  await check("frames of all jobs can be asked for, such as those of one worker since a time", async () => {
    await view.page.getByRole("link", { name: "Frames" }).click();
    await view.count("frame-thumb", count);
    const sent = await ask(view, "find-all-frames", `worker:${worker} since:1d`, "/api/farm/v1/frames");
    same(sent.get("worker"), worker, "worker");
    same(/^\d{4}-.*Z$/.test(sent.get("since")), true, "since is a time of the API");
    await view.count("frame-thumb", count);
    await view.shot("frames-page");
    await view.find("frame-thumb").first().click();
    same(await view.find("frame-job").textContent(), "demo", "the job that a frame is of");
    await view.page.keyboard.press("Escape");
    await ask(view, "find-all-frames", "worker:nobody", "/api/farm/v1/frames");
    await view.page.getByText("No frame matches.").waitFor();
    await view.page.getByRole("link", { name: "Jobs" }).click();
  });
}
