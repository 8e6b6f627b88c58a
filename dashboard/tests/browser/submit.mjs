// SPDX-License-Identifier: GPL-3.0-or-later
// The form that submits a job of any type: its fields are those that the type declares, and what the
// farm refuses is shown at the field that it speaks of.
import { check, same } from "./checks.mjs";

const setting = (view, key) => view.page.locator(`[data-testid="setting"][data-key="${key}"]`);
const field = (view, key) => setting(view, key).locator("input, select").first();
const problem = (view, key) => setting(view, key).getByTestId("setting-problem");

export async function submitInTheBrowser(farm, view) {
  const types = (await (await fetch(`${farm.url}/api/v3/jobs/types`)).json()).job_types;

  await check("every job type of the farm has a field for each of its settings", async () => {
    await view.page.getByRole("link", { name: "Submit", exact: true }).click();
    for (const type of types) {
      await view.find("submit-type").selectOption(type.name);
      const keys = type.settings.map((one) => one.key).sort().join(", ");
      await view.page.waitForFunction(
        (wanted) => [...document.querySelectorAll('[data-testid="setting"]')].map((one) => one.dataset.key).sort().join(", ") === wanted,
        keys,
      );
      same(new URL(view.page.url()).pathname, `/app/submit/${type.name}`, "the address");
    }
  });
  await check("fields have the declared types, choices, limits and defaults", async () => {
    await view.find("submit-type").selectOption("kinds");
    await setting(view, "text").waitFor();
    same(await setting(view, "text").locator("label").textContent(), "What to say*", "label of a required setting");
    same(await field(view, "count").getAttribute("type"), "number", "type of a number");
    same(await field(view, "count").getAttribute("max"), "5", "its limit");
    same(await field(view, "count").inputValue(), "2", "its default");
    same(await field(view, "factor").inputValue(), "0.5", "default of a float");
    same(await field(view, "loud").isChecked(), true, "default of a switch");
    same((await field(view, "quality").locator("option").allTextContents()).join(", "), "(nothing), draft, final, archive", "choices");
    same(await field(view, "quality").inputValue(), "final", "the chosen one");
    same(await field(view, "fixed").getAttribute("readonly"), "", "what is not to be edited");
    same(await field(view, "worked_out").getAttribute("readonly"), null, "what only Blender could work out");
    for (const key of ["on_the_web", "at_submission"]) same(await setting(view, key).isVisible(), true, key);
    same(await setting(view, "secret").isVisible(), false, "a hidden setting before it is asked for");
    await view.shot("submit-form");
  });
  await check("what is required and empty is not sent", async () => {
    await view.find("submit-name").fill("from the browser");
    await view.find("submit-send").click();
    same(await problem(view, "text").textContent(), "required", "what is said at the field");
  });
  await check("what the farm says of a setting is shown at it: its type, and what the script throws", async () => {
    await field(view, "text").fill("hello");
    await field(view, "count").fill("1.5");
    await view.find("submit-check").click();
    await problem(view, "count").filter({ hasText: "must be of type int32, got number 1.5" }).waitFor();
    await field(view, "count").fill("0");
    await view.find("submit-check").click();
    await problem(view, "count").filter({ hasText: "must be at least 1, got 0" }).waitFor();
    same(await view.find("setting-problem").count(), 1, "fields with something wrong");
    await view.shot("submit-refused");
  });
  await check("a hidden setting that is refused comes to light", async () => {
    await field(view, "count").fill("3");
    await view.find("hidden-settings").locator("summary").click();
    await field(view, "secret").fill("");
    await view.find("hidden-settings").locator("summary").click();
    await view.find("submit-send").click();
    await problem(view, "secret").filter({ hasText: "is empty" }).waitFor();
    same(await problem(view, "secret").isVisible(), true, "shown");
  });
  const job = await check("the job is made with just these settings, and is opened", async () => {
    await field(view, "secret").fill("known");
    await field(view, "loud").uncheck();
    await field(view, "quality").selectOption("draft");
    await view.find("submit-user").fill("ines");
    await view.find("submit-metadata").fill("sequence=010\ntake=3=b");
    await view.find("submit-priority").fill("61");
    await view.find("submit-check").click();
    await view.find("submit-said").filter({ hasText: "would take" }).waitFor();
    await view.find("submit-send").click();
    await view.find("job-name").filter({ hasText: "from the browser" }).waitFor();
    const id = new URL(view.page.url()).pathname.split("/")[3];
    const made = await (await fetch(`${farm.url}/api/farm/v1/jobs/${id}`)).json();
    const expected = { text: "hello", quality: "draft", count: 3, factor: 0.5, loud: false, fixed: "always", secret: "known" };
    same(JSON.stringify(Object.entries(made.settings).sort()), JSON.stringify(Object.entries(expected).sort()), "settings");
    same(made.priority, 61, "priority");
    same(made.user, "ines", "user");
    same(made.metadata.take, "3=b", "metadata");
    await view.jobRow(id, "completed").waitFor();
    return id;
  });
  await check("another one like it begins with its settings", async () => {
    await view.find("job-like").click();
    await setting(view, "text").waitFor();
    same(await view.find("submit-type").inputValue(), "kinds", "job type");
    same(await view.find("submit-name").inputValue(), "from the browser", "name");
    same(await field(view, "text").inputValue(), "hello", "a text");
    same(await field(view, "loud").isChecked(), false, "a switch");
    same(await view.find("submit-metadata").inputValue(), "sequence=010\ntake=3=b", "metadata");
    same(new URL(view.page.url()).searchParams.get("from"), job, "the address");
    await view.page.getByRole("link", { name: "Jobs" }).click();
  });
}
