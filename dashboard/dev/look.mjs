#!/usr/bin/env node
// SPDX-License-Identifier: GPL-3.0-or-later
// A developer's tool: takes pictures of the dashboard at several sizes, to look at them.
// Use: node dev/look.mjs URL OUT-DIR (the fake farm or a real one must be running).
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { LAUNCH } from "../tests/browser/browser.mjs";

const [url = "http://127.0.0.1:8099", out = "../target/browser/look"] = process.argv.slice(2);
await mkdir(out, { recursive: true });
const browser = await chromium.launch(LAUNCH);
const page = await browser.newPage({ viewport: { width: 1500, height: 900 } });
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
  await page.setViewportSize({ width: 420, height: 860 });
  await shot("phone-task");
  await page.goBack();
  await page.waitForTimeout(500);
  await shot("phone-job");
  await page.setViewportSize({ width: 1500, height: 900 });
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
await page.setViewportSize({ width: 420, height: 860 });
await shot("phone-workers");
await browser.close();
