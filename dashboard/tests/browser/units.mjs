// SPDX-License-Identifier: GPL-3.0-or-later
// Runs the page's own checks (types, accessibility warnings) and unit tests, and counts each test.
// They need neither a farm nor a browser, so they come first: they say more shortly what is wrong.
import { spawnSync } from "node:child_process";
import { check, count } from "./checks.mjs";

const folder = new URL("../..", import.meta.url).pathname;

function run(program, ...args) {
  return spawnSync("npx", ["--no-install", program, ...args], { cwd: folder, encoding: "utf8", maxBuffer: 1 << 26 });
}

export async function theirOwnTests() {
  await check("types and accessibility hold (svelte-check)", () => {
    const { status, stdout } = run("svelte-check", "--tsconfig", "./tsconfig.json", "--fail-on-warnings", "--output", "human");
    if (status !== 0) throw new Error(stdout.trim().split("\n").slice(-12).join("\n"));
  });
  const { stdout, stderr } = run("vitest", "run", "--reporter=json");
  const begin = stdout.indexOf("{");
  if (begin < 0) throw new Error(`vitest gave no report:\n${stderr}`);
  const report = JSON.parse(stdout.slice(begin));
  for (const test of report.testResults.flatMap((file) => file.assertionResults)) {
    if (test.status !== "passed") console.log(`FAILED  ${test.fullName}\n        ${test.failureMessages[0]?.split("\n")[0] ?? test.status}`);
  }
  count(report.numPassedTests, report.numTotalTests - report.numPassedTests);
  console.log(`ok      ${report.numPassedTests} of ${report.numTotalTests} unit tests`);
  if (!report.success && report.numPassedTests === report.numTotalTests) throw new Error("a file of unit tests could not be run");
}
