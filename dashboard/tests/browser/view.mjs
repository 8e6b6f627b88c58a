// SPDX-License-Identifier: GPL-3.0-or-later
// The dashboard as a person sees it: finds things by their `data-testid`, waits until they are so,
// and notices a reload of the page, which none of these tests allows.
import { join } from "node:path";
import { same } from "./checks.mjs";
import { fromDist } from "./dist.mjs";

/** Renders and restarts take as long as they take on a busy machine; this only bounds a hang. */
const WAIT_MS = Number(process.env.WAIT_S ?? 480) * 1_000;

export class View {
  constructor(page, out) {
    this.page = page;
    this.out = out;
    this.errors = [];
    page.setDefaultTimeout(WAIT_MS);
    page.on("pageerror", (error) => this.errors.push(error.stack ?? error.message));
  }

  async open(url, place = "") {
    if (process.env.PAGE === "dist") await this.page.route(/\/app\//, fromDist);
    await this.page.goto(`${url}/app/${place}`);
    await this.page.evaluate(() => {
      window.loadedOnce = true;
    });
  }

  /** Fails if the page was loaded again since `open`. */
  async notReloaded() {
    same(await this.page.evaluate(() => window.loadedOnce), true, "the mark that a reload would have removed");
  }

  find(testid) {
    return this.page.getByTestId(testid);
  }

  async state(text) {
    await this.find("connection-state").filter({ hasText: new RegExp(`^${text}$`) }).waitFor();
  }

  jobRow(job, status) {
    const wanted = status === undefined ? "" : `[data-status="${status}"]`;
    return this.page.locator(`[data-testid="job-row"][data-job-id="${job}"]${wanted}`);
  }

  async openJob(job) {
    await this.jobRow(job).click();
    await this.find("job-name").waitFor();
  }

  cells(status) {
    const wanted = status === undefined ? "" : `[data-status="${status}"]`;
    return this.page.locator(`[data-testid="task-cell"]${wanted}`);
  }

  async count(testid, wanted) {
    await this.page.waitForFunction(
      ([id, count]) => document.querySelectorAll(`[data-testid="${id}"]`).length >= count,
      [testid, wanted],
    );
    return this.find(testid).count();
  }

  /** Waits until this many thumbnails are there as pictures, not only as places for them. */
  async pictures(wanted) {
    await this.page.waitForFunction((count) => {
      const images = [...document.querySelectorAll('[data-testid="frame-thumb"] img')];
      for (const image of images) image.loading = "eager";
      return images.filter((image) => image.complete && image.naturalWidth > 0).length >= count;
    }, wanted);
  }

  async shot(name) {
    await this.page.screenshot({ path: join(this.out, `${name}.png`) });
  }
}
