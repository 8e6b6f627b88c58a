// SPDX-License-Identifier: GPL-3.0-or-later
// The small pure parts: rows by id, rows in view, addresses, and words for times and sizes.
import { describe, expect, it } from "vitest";
import { Collection } from "../../src/lib/collection";
import { ago, bytes, duration, share } from "../../src/lib/format";
import { formatRoute, parseRoute } from "../../src/lib/route.svelte";
import { rowsInView } from "../../src/lib/rows";
import { canCancelTask, JOB_ACTIONS } from "../../src/lib/status";

interface Row {
  id: string;
  rank: number;
  word?: string;
}
const byRank = (a: Row, b: Row) => a.rank - b.rank;

describe("a collection", () => {
  it("keeps its order when rows come, change and go", () => {
    // Protects the lists: a row must be found at its place after any change.
    let rows = Collection.of<Row>([{ id: "b", rank: 2 }, { id: "a", rank: 1 }], byRank);
    rows = rows.put([{ id: "c", rank: 0 }, { id: "b", rank: 2, word: "new" }]);
    expect(rows.items.map((row) => row.id)).toEqual(["c", "a", "b"]);
    expect(rows.get("b")?.word).toBe("new");
    rows = rows.put([{ id: "c", rank: 9 }]);
    expect(rows.items.map((row) => row.id)).toEqual(["a", "b", "c"]);
    expect(rows.get("c")?.rank).toBe(9);
    rows = rows.without("a");
    expect(rows.get("a")).toBeUndefined();
    expect(rows.get("b")?.id).toBe("b");
  });

  it("patches only what is there, and leaves the old collection as it was", () => {
    // Protects rendering: a change must be a new object, and an unknown id must not make a half row.
    const before = Collection.of<Row>([{ id: "a", rank: 1 }], byRank);
    const after = before.patch(new Map([["a", { word: "x" }], ["ghost", { word: "y" }]]));
    expect(after.items).toEqual([{ id: "a", rank: 1, word: "x" }]);
    expect(before.items).toEqual([{ id: "a", rank: 1 }]);
  });
});

describe("rows in view", () => {
  it("covers the view and stays within the list", () => {
    // Protects both ends of a long list: no missing row, none beyond the last.
    expect(rowsInView(10_000, 20, 2_000, 300).first).toBeLessThanOrEqual(100);
    expect(rowsInView(10_000, 20, 2_000, 300).end).toBeGreaterThanOrEqual(115);
    expect(rowsInView(10_000, 20, 2_000, 300).end).toBeLessThan(200);
    expect(rowsInView(3, 20, 0, 300)).toEqual({ first: 0, end: 3 });
    expect(rowsInView(0, 20, 0, 300)).toEqual({ first: 0, end: 0 });
    const afterShrinking = rowsInView(5, 20, 9_000, 300);
    expect(afterShrinking.first).toBeLessThanOrEqual(5);
  });
});

describe("addresses", () => {
  it.each(["/app/jobs", "/app/jobs/j1", "/app/jobs/j1/t1", "/app/workers", "/app/workers/w1", "/app/setup"])(
    "reads %s and writes the same",
    (path) => {
      // Protects bookmarks and the back button.
      expect(formatRoute(parseRoute(path))).toBe(path);
    },
  );

  it("shows the jobs for an address it does not know", () => {
    // Protects old bookmarks: there is always a page.
    expect(parseRoute("/app/")).toEqual({ page: "jobs" });
    expect(parseRoute("/app/tags/x")).toEqual({ page: "jobs" });
  });
});

describe("words", () => {
  it("says times and sizes as people do", () => {
    // Protects the units: a factor of 1000 wrong is hard to see on a page.
    const now = Date.parse("2026-01-01T12:00:00Z");
    expect(ago("2026-01-01T11:59:58Z", now)).toBe("just now");
    expect(ago("2026-01-01T11:58:30Z", now)).toBe("1 min ago");
    expect(ago(undefined, now)).toBe("never");
    expect(duration(950)).toBe("950 ms");
    expect(duration(65_000)).toBe("1 min 5 s");
    expect(duration(3_900_000)).toBe("1 h 5 min");
    expect(bytes(1536)).toBe("1.5 KiB");
  });

  it("calls a job without steps not begun", () => {
    // Protects the progress bar from a division by nothing right after submission.
    expect(share(0, 0)).toBe(0);
    expect(share(5, 4)).toBe(1);
  });
});

describe("actions", () => {
  it("offers what the job's status allows", () => {
    // Protects people from buttons that the Manager would refuse.
    const allowed = (status: "active" | "completed" | "paused") =>
      JOB_ACTIONS.filter((action) => action.allowed(status)).map((action) => action.label);
    expect(allowed("active")).toEqual(["Pause", "Cancel"]);
    expect(allowed("completed")).toEqual(["Requeue"]);
    expect(allowed("paused")).toEqual(["Cancel", "Requeue"]);
    expect(canCancelTask("queued", "pause-requested")).toBe(false);
    expect(canCancelTask("queued", "active")).toBe(true);
  });
});
