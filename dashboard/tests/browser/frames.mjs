// SPDX-License-Identifier: GPL-3.0-or-later
// Frames that go bad, as a person meets them on the page: seen, checked, rendered anew, and the shot
// played. The job that is open has been rendered by a real Blender.
import { readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { check, same } from "./checks.mjs";

export async function badFrames(view, folder) {
  await check("a frame whose file went bad is shown so when the files are checked", async () => {
    same(await view.find("frame-flaws").count(), 0, "bad frames before");
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".png"));
    await truncate(join(folder, files.sort()[2]), 0);
    await view.find("verify-frames").click();
    await view.find("frame-flaws").first().waitFor();
    same(await view.find("frame-flaws").count(), 1, "bad frames");
    same(await view.find("frame-flaws").textContent(), "empty", "what is wrong");
    await view.shot("frame-flagged");
  });
  await check("frames can be narrowed to those that something is wrong with", async () => {
    await view.find("find-frames").fill("flag:any");
    await view.page.waitForFunction(() => document.querySelectorAll('[data-testid="frame-thumb"]').length === 1);
    same(await view.find("rerender-frames").getAttribute("data-count"), "1", "bad frames of the job");
    await view.find("find-frames").fill("");
    await view.page.waitForFunction(() => document.querySelectorAll('[data-testid="frame-thumb"]').length > 1);
  });
  await check("one click renders it anew, and it is well again", async () => {
    await view.find("rerender-frames").click();
    await view.find("frame-flaws").waitFor({ state: "detached" });
    await view.page.locator('[data-testid="open-job-progress"][aria-valuenow="100"]').waitFor();
  });
  await check("the shot can be played", async () => {
    await view.find("play-shot").click();
    await view.find("flipbook").locator("img").waitFor();
    const number = () => view.find("flipbook-number").textContent();
    const first = await number();
    await view.page.waitForFunction(
      (first) => document.querySelector('[data-testid="flipbook-number"]')?.textContent !== first,
      first,
    );
    await view.shot("flipbook");
    await view.find("flipbook-play").click();
    await view.page.keyboard.press("Escape");
    await view.find("flipbook").waitFor({ state: "detached" });
  });
}
