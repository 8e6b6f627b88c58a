// SPDX-License-Identifier: GPL-3.0-or-later
// A studio's own job types for the tests: one with each kind of setting, and one whose tasks can be
// made to change, to come and go, and to fail.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const KINDS = `
const JOB_TYPE = {
  label: "Every kind",
  description: "Has a setting of each kind",
  settings: [
    { key: "text", type: "string", required: true, label: "What to say", description: "Goes into the log" },
    { key: "folder", type: "string", subtype: "dir_path" },
    { key: "quality", type: "string", choices: ["draft", "final", "archive"], default: "final" },
    { key: "count", type: "int32", default: 2, propargs: { min: 1, max: 5 } },
    { key: "factor", type: "float", default: 0.5 },
    { key: "loud", type: "bool", default: true },
    { key: "on_the_web", type: "string", visible: "web" },
    { key: "at_submission", type: "string", visible: "submission" },
    { key: "fixed", type: "string", editable: false, default: "always" },
    { key: "worked_out", type: "string", editable: false, eval: "C.scene.name" },
    { key: "secret", type: "string", visible: "hidden", default: "hush" },
  ],
};
function compileJob(job) {
  const { text, count, secret } = job.settings;
  if (count < 1) throw "setting 'count' must be at least 1, got " + count;
  if (!secret) throw "setting 'secret' is empty";
  const task = author.Task("say", "misc");
  task.addCommand(author.Command("echo", { message: text }));
  job.addTask(task);
}`;

const parts = (second) => `
const JOB_TYPE = {
  label: "Parts",
  settings: [
    { key: "parts", type: "int32", default: 3 },
    { key: "marker", type: "string", default: "", description: "The first part fails while there is no such file" },
  ],
};
function compileJob(job) {
  const last = author.Task("last", "misc");
  last.addCommand(author.Command("echo", { message: "the end" }));
  for (let part = 1; part <= job.settings.parts; part++) {
    const task = author.Task("part-" + part, "misc");
    task.addCommand(author.Command("echo", { message: part === 2 ? ${JSON.stringify(second)} : "part" }));
    if (part === 1 && job.settings.marker) {
      task.addCommand(author.Command("exec", { exe: "test", args: ["-e", job.settings.marker] }));
    }
    last.addDependency(task);
    job.addTask(task);
  }
  job.addTask(last);
}`;

/** Puts the scripts into a data directory of which no farm is running yet. */
export async function writeJobTypes(data) {
  await mkdir(join(data, "scripts"), { recursive: true });
  await writeFile(join(data, "scripts", "kinds.js"), KINDS);
  await writeFile(join(data, "scripts", "parts.js"), parts("part"));
}

/** Changes what the second part says, and waits until the farm has seen it. */
export async function changeSecondPart(farm, data, words, job) {
  const etag = await wouldBe(farm, job);
  await writeFile(join(data, "scripts", "parts.js"), parts(words));
  while ((await wouldBe(farm, job)) === etag) await pause(100);
}

async function wouldBe(farm, job) {
  const answer = await fetch(`${farm.url}/api/farm/v1/jobs/${job}/regenerate`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ preview: true }),
  });
  return answer.headers.get("ETag");
}
