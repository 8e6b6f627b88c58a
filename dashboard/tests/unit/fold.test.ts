// SPDX-License-Identifier: GPL-3.0-or-later
// The fold of events: what is known at once, what must be read again, and that nothing is missed.
import { describe, expect, it } from "vitest";
import { foldBatch } from "../../src/lib/batch";
import { EVENT_KINDS, fold, TASKS_READ_SINGLY_MAX } from "../../src/lib/fold";
import type { FarmEvent } from "../../src/lib/types";

let position = 0;

function event(kind: string, fields: Partial<FarmEvent> = {}): FarmEvent {
  position += 1;
  return { position: String(position), time: "2026-01-01T00:00:00Z", kind, data: {}, ...fields };
}

describe("a single event", () => {
  it("shows a job's new status at once, and still reads the job again", () => {
    // Protects the live list: the status must not wait for a request.
    const consequence = fold(event("JobStatusChanged", { job: "j", data: { from: "queued", to: "active" } }));
    expect(consequence.jobPatch).toEqual({ status: "active" });
    expect(consequence.staleJob).toBe(true);
    expect(consequence.staleTasks).toBe(false);
  });

  it("never shows a status it does not know", () => {
    // Protects against a newer Manager's word ending up as a patch that no style or action knows.
    const consequence = fold(event("JobStatusChanged", { job: "j", data: { to: "levitating" } }));
    expect(consequence.jobPatch).toBeUndefined();
    expect(consequence.staleJob).toBe(true);
  });

  it("reads the whole list where an event touched more tasks than it names", () => {
    // Protects mass changes: `tasks` is absent above a hundred, which must not mean "none".
    const consequence = fold(event("TasksChanged", { job: "j", data: { to: "canceled" } }));
    expect(consequence.tasks).toBe("all");
    expect(consequence.staleTasks).toBe(true);
    expect(consequence.taskPatch).toBeUndefined();
  });

  it("takes a step as the whole fact, without a request per step", () => {
    // Protects the Manager: steps are the most frequent events of all.
    const consequence = fold(event("StepsAdvanced", { job: "j", task: "t", data: { from: 2, to: 3 } }));
    expect(consequence.taskPatch).toEqual({ steps_completed: 3 });
    expect(consequence.staleTasks).toBe(false);
  });

  it("makes everything stale that an unknown kind names", () => {
    // Protects the future: a kind added later must still lead to a correct picture.
    const consequence = fold(event("TaskSmelledFunny", { job: "j", task: "t", worker: "w" }));
    expect(consequence).toMatchObject({ staleJob: true, staleTasks: true, staleWorker: true, tasks: ["t"] });
  });

  it("reads frames for each kind that tells of a frame, and for no other", () => {
    // Protects the frame grid from missing a frame, and the Manager from needless reads.
    const reading = EVENT_KINDS.filter((kind) => fold(event(kind, { job: "j", task: "t" })).staleFrames);
    expect(reading.sort()).toEqual(
      ["FrameFlagged", "FramePublished", "FrameRendered", "FrameSkipped", "FramesWanted", "ThumbnailStored"].sort(),
    );
  });

  it("asks the browser for each kind once", () => {
    // Protects the subscription: a kind listed twice would be folded twice.
    expect(new Set(EVENT_KINDS).size).toBe(EVENT_KINDS.length);
  });
});

describe("a batch", () => {
  it("lets the later event win, and reads each job once", () => {
    // Protects the order of facts within one redraw.
    const batch = foldBatch(
      [
        event("JobStatusChanged", { job: "j", data: { to: "active" } }),
        event("JobPriorityChanged", { job: "j", data: { to: 70 } }),
        event("JobStatusChanged", { job: "j", data: { to: "completed" } }),
      ],
      undefined,
    );
    expect(batch.jobs.get("j")).toEqual({ status: "completed", priority: 70 });
    expect([...batch.staleJobs]).toEqual(["j"]);
  });

  it("leaves the tasks of jobs that are not open alone", () => {
    // Protects memory and the network: nobody looks at those tasks.
    const batch = foldBatch([event("AttemptEnded", { job: "other", task: "t", worker: "w" })], "mine");
    expect(batch.tasks.size).toBe(0);
    expect(batch.staleTasks).toEqual(new Set());
    expect(batch.staleJobs.has("other")).toBe(true);
    expect(batch.staleWorkers.has("w")).toBe(true);
  });

  it("turns many single tasks into one read of the list", () => {
    // Protects the Manager from a request per task when a whole farm finishes at once.
    const ended = Array.from({ length: TASKS_READ_SINGLY_MAX + 1 }, (_, n) =>
      event("AttemptEnded", { job: "j", task: `t${n}` }),
    );
    expect(foldBatch(ended.slice(1), "j").staleTasks).toEqual(
      new Set(ended.slice(1).map((one) => one.task)),
    );
    expect(foldBatch(ended, "j").staleTasks).toBe("all");
  });

  it("keeps 'all' when single tasks follow", () => {
    // Protects against a later, smaller event narrowing what an earlier one made stale.
    const batch = foldBatch(
      [event("TasksAdded", { job: "j" }), event("AttemptAssigned", { job: "j", task: "t" })],
      "j",
    );
    expect(batch.staleTasks).toBe("all");
    expect(batch.tasks.get("t")).toEqual({ status: "active" });
  });
});
