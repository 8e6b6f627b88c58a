// SPDX-License-Identifier: GPL-3.0-or-later
// The open job against a scripted network: pages, and answers that are older than an event.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { foldBatch } from "../../src/lib/batch";
import { OpenJob } from "../../src/lib/open-job.svelte";
import { Refetcher } from "../../src/lib/refetch";
import type { FarmEvent } from "../../src/lib/types";

function task(number: number, status: string) {
  return { id: `t${number}`, job: "j", number, index: number, name: `render-${number}`, status };
}

const json = (body: unknown) => new Response(JSON.stringify(body), { headers: { "Content-Type": "application/json" } });

/** Answers by path; what is not named is an empty list. */
function network(answers: Record<string, (url: URL) => Response | Promise<Response>>) {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (path: string) => {
    const url = new URL(path, "http://farm");
    asked.push(url.pathname + url.search);
    return answers[url.pathname.replace("/api/farm/v1/", "")]?.(url) ?? json({ items: [] });
  });
  return asked;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("the open job", () => {
  it("reads all pages of its tasks", async () => {
    // Protects jobs with more tasks than one page holds.
    network({
      "jobs/j/tasks": (url) =>
        url.searchParams.get("cursor") === null
          ? json({ items: [task(1, "queued")], next: "more" })
          : json({ items: [task(2, "queued")] }),
    });
    const open = new OpenJob("j", new Refetcher(() => true));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(open.tasks.items.map((row) => row.id)).toEqual(["t1", "t2"]);
    expect(open.loading).toBe(false);
  });

  it("never ends with an answer that is older than an event", async () => {
    // Protects against a list, asked for before a task ended, overwriting that it ended.
    let answer: (response: Response) => void = () => undefined;
    network({
      "jobs/j/tasks": () => new Promise<Response>((done) => (answer = done)),
      "tasks/t1": () => json(task(1, "completed")),
    });
    const open = new OpenJob("j", new Refetcher(() => true));
    const ended: FarmEvent = {
      position: "9",
      time: "2026-01-01T00:00:00Z",
      kind: "AttemptEnded",
      job: "j",
      task: "t1",
      data: {},
    };
    open.take(foldBatch([ended], "j"));
    answer(json({ items: [task(1, "active"), task(2, "queued")] }));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(open.tasks.get("t1")?.status).toBe("completed");
    expect(open.tasks.get("t2")?.status).toBe("queued");
  });

  it("reads a task again after the Manager could not be reached", async () => {
    // Protects the last change before a Manager's restart: its event is not told twice.
    let up = true;
    network({
      "jobs/j/tasks": () => json({ items: [task(1, "active")] }),
      "tasks/t1": () => {
        if (!up) throw new TypeError("connection refused");
        return json(task(1, "completed"));
      },
    });
    const open = new OpenJob("j", new Refetcher(() => true));
    await vi.advanceTimersByTimeAsync(1_000);
    up = false;
    open.take(
      foldBatch([{ position: "9", time: "", kind: "AttemptEnded", job: "j", task: "t1", data: {} }], "j"),
    );
    await vi.advanceTimersByTimeAsync(5_000);
    expect(open.tasks.get("t1")?.status).toBe("active");
    up = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(open.tasks.get("t1")?.status).toBe("completed");
  });

  it("asks the Manager for the tasks that are wanted, and again when one of the job changes", async () => {
    // Protects a narrowed list: which tasks are in it is not worked out from those that were loaded.
    let failed = [task(2, "failed")];
    const asked = network({
      "jobs/j/tasks": (url) =>
        json({ items: url.searchParams.get("status") === "failed" ? failed : [task(1, "active"), task(2, "failed")] }),
      "tasks/t1": () => json(task(1, "failed")),
    });
    const open = new OpenJob("j", new Refetcher(() => true));
    await vi.advanceTimersByTimeAsync(1_000);
    open.askTasks({ status: "failed" });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked.at(-1)).toContain("status=failed");
    expect(open.tasks.items.map((row) => row.id)).toEqual(["t2"]);
    failed = [task(1, "failed"), task(2, "failed")];
    open.take(foldBatch([{ position: "9", time: "", kind: "AttemptEnded", job: "j", task: "t1", data: {} }], "j"));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(open.tasks.items.map((row) => row.id)).toEqual(["t1", "t2"]);
  });

  it("that was opened with a query never shows more than what it asks for", async () => {
    // Protects a shared address from flashing up a list that its sender did not see.
    const asked = network({ "jobs/j/tasks": () => json({ items: [task(2, "failed")] }) });
    const open = new OpenJob("j", new Refetcher(() => true), { tasks: { status: "failed" }, frames: { flag: "black" } });
    open.askTasks({ status: "failed" });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked.filter((path) => path.includes("/tasks?"))).toEqual([expect.stringContaining("status=failed")]);
    expect(asked.some((path) => path.includes("flag=black"))).toBe(true);
  });

  it("counts bad frames of the whole job, and again when some were found or are gone", async () => {
    // Protects the offer to render them anew: most frames of a long job are not on the page.
    let bad = 0;
    const asked = network({
      frames: (url) => json({ items: url.searchParams.get("flag") === "any" ? Array.from({ length: bad }, () => ({})) : [] }),
    });
    const counts = () => asked.filter((path) => path.includes("flag=any")).length;
    const happens = async (kind: string) => {
      open.take(foldBatch([{ position: "9", time: "", kind, job: "j", data: {} }], "j"));
      await vi.advanceTimersByTimeAsync(2_000);
    };
    const open = new OpenJob("j", new Refetcher(() => true));
    await vi.advanceTimersByTimeAsync(1_000);
    await happens("FramePublished");
    expect(counts()).toBe(1);
    bad = 3;
    await happens("FrameFlagged");
    expect(open.flawed).toBe(3);
    bad = 0;
    await happens("FramePublished");
    expect(open.flawed).toBe(0);
  });
});
