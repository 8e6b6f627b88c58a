// SPDX-License-Identifier: GPL-3.0-or-later
// Running things again, as a person does: each way shows first what it would do, and then does that.
import { writeFile } from "node:fs/promises";
import { check, same } from "./checks.mjs";
import { changeSecondPart } from "./job-types.mjs";

const count = (view, wanted) => view.page.locator(`[data-testid="again-count"][data-count="${wanted}"]`).waitFor();

/** Waits until the preview says just this. */
async function told(view, kept, queued, retired) {
  const sort = (word, count) => `[data-testid="regenerate-${word}"][data-count="${count}"]`;
  const all = [sort("kept", kept), sort("queued", queued), sort("retired", retired)];
  await view.page.waitForFunction((wanted) => wanted.every((one) => document.querySelector(one) !== null), all);
}

export async function runAgain(farm, view, data, marker) {
  const read = async (path) => (await fetch(`${farm.url}/api/farm/v1/${path}`)).json();
  const tasks = async (job) => (await read(`jobs/${job}/tasks`)).items;
  const named = async (job, name) => (await tasks(job)).find((task) => task.name === name);
  const attempts = async (task) => (await read(`tasks/${task.id}/attempts`)).items.length;
  const submit = (name, settings) => farm.submit({ name, type: "parts", settings: { parts: 3, marker: "", ...settings } });

  /** Waits for the farm, not for the page, which may still show how it was. */
  const isDone = async (job) => {
    while ((await tasks(job)).some((task) => task.status !== "completed")) await view.page.waitForTimeout(100);
    await view.jobRow(job, "completed").waitFor();
  };

  const failing = await submit("fails at first", { marker });
  await view.jobRow(failing, "failed").waitFor();
  await view.openJob(failing);
  await check("what failed is shown, and only that and what it took along runs again", async () => {
    const before = await attempts(await named(failing, "part-2"));
    await view.find("job-again").click();
    await count(view, (await tasks(failing)).filter((task) => task.status !== "completed").length);
    await view.find("again-dialog").getByText("part-1").waitFor();
    await view.shot("again-failed");
    await writeFile(marker, "");
    await view.find("again-run").click();
    await view.jobRow(failing, "completed").waitFor();
    if (before > 0) same(await attempts(await named(failing, "part-2")), before, "attempts of a task that had not failed");
  });
  await check("nothing is offered where nothing is missing", async () => {
    await view.find("job-again").click();
    await view.find("again-missing").check();
    await count(view, 0);
    same(await view.find("again-run").isDisabled(), true, "the button");
  });
  await check("what one worker rendered is shown and runs again", async () => {
    await view.find("again-rendered-by").check();
    await view.find("again-worker").selectOption({ index: 1 });
    await count(view, 4);
    const part = await named(failing, "part-2");
    const before = await attempts(part);
    await view.find("again-run").click();
    await view.find("again-dialog").waitFor({ state: "detached" });
    while ((await attempts(part)) === before) await view.page.waitForTimeout(100);
    await isDone(failing);
  });
  await check("one task runs again with all that depends on it", async () => {
    const [part, last] = [await named(failing, "part-3"), await named(failing, "last")];
    const before = [await attempts(part), await attempts(last)];
    await view.page.locator(`[data-testid="task-cell"][data-task-id="${part.id}"]`).click();
    await view.find("task-again").click();
    await count(view, 2);
    await view.find("again-dependants").uncheck();
    await count(view, 1);
    await view.find("again-dependants").check();
    await count(view, 2);
    await view.shot("again-task");
    await view.find("again-run").click();
    while ((await attempts(last)) === before[1]) await view.page.waitForTimeout(100);
    same(await attempts(part), before[0] + 1, "attempts of the task");
    await isDone(failing);
  });

  const job = await submit("changes", {});
  const same_way = await submit("does not change", { parts: 1 });
  for (const id of [job, same_way]) await view.jobRow(id, "completed").waitFor();
  await view.openJob(job);
  await check("a regeneration says first what would be kept, queued and retired", async () => {
    await view.find("job-regenerate").click();
    await told(view, 4, 0, 0);
    await view.page.keyboard.press("Escape");
    await changeSecondPart(farm, data, "changed", job);
    await view.find("job-regenerate").click();
    await told(view, 2, 2, 2);
    await view.shot("regenerate");
    same((await read(`jobs/${job}`)).generation, 1, "generation, as nothing was done yet");
  });
  await check("a setting that is changed there changes the preview", async () => {
    await view.find("regenerate-settings").locator("summary").click();
    const parts = view.page.locator('[data-testid="setting"][data-key="parts"] input');
    await parts.fill("5");
    await told(view, 2, 4, 2);
    await parts.fill("1.5");
    await view.page.locator('[data-key="parts"] [data-testid="setting-problem"]').filter({ hasText: "int32" }).waitFor();
    same(await view.find("regenerate-run").isDisabled(), true, "the button");
    await view.shot("regenerate-refused");
    await parts.fill("4");
    await told(view, 2, 3, 2);
  });
  await check("what has become something else since the preview is not done", async () => {
    await changeSecondPart(farm, data, "part", job);
    await view.find("regenerate-run").click();
    await view.find("regenerate-overtaken").waitFor();
    await told(view, 3, 2, 1);
    same((await read(`jobs/${job}`)).generation, 1, "generation");
  });
  await check("confirmed, just that is done", async () => {
    await view.find("regenerate-run").click();
    await view.find("regenerate-dialog").waitFor({ state: "detached" });
    const now = await read(`jobs/${job}`);
    same(now.generation, 2, "generation");
    same(now.settings.parts, 4, "the changed setting");
    await view.count("task-cell", 5);
    await view.jobRow(job, "completed").waitFor();
  });
  await check("what was retired can be looked at", async () => {
    await view.find("find-tasks").fill("retired:true");
    await view.page.waitForFunction(() => document.querySelectorAll('[data-testid="task-cell"]').length === 1);
    same(await view.find("task-cell").getAttribute("aria-label"), "Task 4, last, completed", "the retired task");
    await view.find("find-tasks").fill("");
  });
  await check("what a worker rendered in all jobs runs again, but for the jobs that are left out", async () => {
    const [one, other] = [await named(job, "part-1"), await named(same_way, "part-1")];
    const before = [await attempts(one), await attempts(other)];
    await view.page.getByRole("link", { name: "Workers" }).click();
    await view.find("worker-again").click();
    const choice = (name) => view.find("worker-again-dialog").locator("li", { hasText: name }).getByTestId("again-job");
    await choice("does not change").uncheck();
    await view.shot("again-worker");
    await view.find("again-run").click();
    await view.find("worker-again-dialog").waitFor({ state: "detached" });
    while ((await attempts(one)) === before[0]) await view.page.waitForTimeout(100);
    same(await attempts(other), before[1], "attempts in the job that was left out");
    await view.page.getByRole("link", { name: "Jobs" }).click();
  });
}

/** Frames that nobody published: a job that is canceled before anything is rendered. */
export async function missingFrames(farm, view, job, wanted) {
  const id = await farm.submit({ ...job, initial_status: "paused" });
  await view.jobRow(id, "paused").waitFor();
  await view.openJob(id);
  await check("tasks that ended without their frames are offered", async () => {
    await view.find("job-cancel").click();
    await view.jobRow(id, "canceled").waitFor();
    await view.find("job-again").click();
    await view.find("again-missing").check();
    await count(view, wanted);
    await view.page.keyboard.press("Escape");
  });
}
