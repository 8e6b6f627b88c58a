#!/usr/bin/env node
// SPDX-License-Identifier: GPL-3.0-or-later
// A developer's tool: takes pictures of the dashboard at several sizes, to look at them.
// Use: node dev/look.mjs URL OUT-DIR [light|dark] (the fake farm or a real one must be running; forms
// and dialogs need a real one). With PAGE=dist it looks at the page that was built last.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { LAUNCH } from "../tests/browser/browser.mjs";
import { fromDist } from "../tests/browser/dist.mjs";

const [url = "http://127.0.0.1:8099", out = "../target/browser/look", colorScheme = "dark"] = process.argv.slice(2);
await mkdir(out, { recursive: true });
const browser = await chromium.launch(LAUNCH);
const WIDE = { width: 1500, height: 900 };
const PHONE = { width: 420, height: 860 };
const page = await browser.newPage({ viewport: WIDE, colorScheme });
if (process.env.PAGE === "dist") await page.route(/\/app\//, fromDist);
page.on("console", (message) => message.type() === "error" && console.log("console:", message.text()));
page.on("pageerror", (error) => console.log("page error:", error.message));
const shot = (name) => page.screenshot({ path: join(out, `${name}.png`) });

await page.goto(`${url}/app/`);
await page.getByTestId("connection-state").filter({ hasText: "live" }).waitFor();
await page.waitForTimeout(800);
await shot("list");
if ((await page.getByTestId("job-row").count()) > 0) {
  await page.locator('[data-testid="job-row"]').nth(1).click();
  await page.getByTestId("task-cell").first().waitFor();
  await page.waitForTimeout(1500);
  await page.getByTestId("task-cell").nth(12).hover();
  await shot("job");
  await page.getByTestId("task-cell").nth(3).click();
  await page.waitForTimeout(800);
  await shot("task");
  await page.setViewportSize(PHONE);
  await shot("phone-task");
  await page.goBack();
  await page.waitForTimeout(500);
  await shot("phone-job");
  await page.setViewportSize(WIDE);
  if ((await page.getByTestId("frame-thumb").count()) > 0) {
    await page.getByTestId("frame-thumb").first().click();
    await page.waitForTimeout(300);
    await shot("lightbox");
    await page.keyboard.press("Escape");
  }
}
await page.goto(`${url}/app/workers`);
await page.waitForTimeout(800);
await shot("workers");
await page.setViewportSize(PHONE);
await shot("phone-workers");

for (const place of ["submit", "frames"]) {
  await page.setViewportSize(WIDE);
  await page.goto(`${url}/app/${place}`);
  await page.waitForTimeout(1200);
  await shot(place);
  await page.setViewportSize(PHONE);
  await shot(`phone-${place}`);
}
await page.setViewportSize(WIDE);
await page.goto(`${url}/app/jobs`);
await page.waitForTimeout(800);
await page.getByTestId("find-jobs-filter").click();
await shot("find");
if ((await page.getByTestId("job-row").count()) > 0) {
  await page.getByTestId("job-row").first().click();
  for (const dialog of ["job-regenerate", "job-again"]) {
    await page.getByTestId(dialog).click();
    await page.waitForTimeout(1500);
    await shot(dialog);
    await page.setViewportSize(PHONE);
    await shot(`phone-${dialog}`);
    await page.setViewportSize(WIDE);
    await page.keyboard.press("Escape");
  }
}
await browser.close();
