// SPDX-License-Identifier: GPL-3.0-or-later
// The set-up page: a farm that was started without configuration is set up by a person in the
// browser, and works with what was saved without a restart.
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { check, same } from "./checks.mjs";

/** Sets up a running farm whose data directory is given; `share` is a folder that is made. */
export async function setUpInTheBrowser(farm, view, data, share, hasBlender) {
  await mkdir(share);
  const configuration = async () => (await fetch(`${farm.url}/api/v3/configuration`)).json();
  await check("the set-up page opens, and a folder must be checked first", async () => {
    same((await configuration()).isFirstRun, true, "isFirstRun");
    await view.open(farm.url);
    await view.page.getByRole("link", { name: "Set-up" }).click();
    await view.find("setup-storage").waitFor();
    same(await view.find("setup-save").isDisabled(), true, "the button to save");
  });
  await check("a folder that is not fit is refused in words", async () => {
    await view.find("setup-storage").fill(join(share, "nothing"));
    await view.find("setup-check-storage").click();
    await view.page.locator('[data-testid="setup-storage-said"][data-usable="false"]').waitFor();
    same(await view.find("setup-save").isDisabled(), true, "the button to save");
  });
  await check("a command that is not Blender is refused in words", async () => {
    await view.find("setup-command").fill("/bin/sh");
    await view.find("setup-check-blender").click();
    await view.find("setup-blender-said").filter({ hasText: "blender" }).waitFor();
  });
  if (hasBlender) {
    await check("the Blender of this machine is found and chosen", async () => {
      const found = view.page.locator('[data-testid="setup-blender"][data-source="path_envvar"]');
      await found.waitFor();
      same(await found.isChecked(), true, "chosen");
    });
  }
  await check("a fit folder is saved, and in use without a restart", async () => {
    await view.find("setup-storage").fill(share);
    await view.find("setup-check-storage").click();
    await view.page.locator('[data-testid="setup-storage-said"][data-usable="true"]').waitFor();
    await view.shot("setup");
    await view.find("setup-save").click();
    await view.find("setup-saved").waitFor();
    const now = await configuration();
    same(now.isFirstRun, false, "isFirstRun");
    same(now.storageLocation, join(share, "jobs"), "where jobs' files lie");
    const file = await readFile(join(data, "tablao.toml"), "utf8");
    same(file.includes(`shared_storage_path = "${share}"`), true, "the file names the folder");
  });
}
