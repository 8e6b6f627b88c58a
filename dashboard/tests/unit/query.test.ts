// SPDX-License-Identifier: GPL-3.0-or-later
// What lists are asked for: words, parameters, addresses, and which answer counts.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Refusal } from "../../src/lib/api";
import { Found } from "../../src/lib/found.svelte";
import { Previewed } from "../../src/lib/previewed.svelte";
import { instant, outerOnly, queryOf, readWords, withQuery, wordsOf } from "../../src/lib/query";
import { Refetcher } from "../../src/lib/refetch";
import { formatRoute, keptSearch, parseRoute } from "../../src/lib/route.svelte";

const NOW = Date.parse("2026-05-02T12:00:00Z");

describe("the words of a search field", () => {
  it("become parameters of the API, and the rest a name", () => {
    // Protects the search from sending something else than what was typed.
    expect(readWords('status:failed,paused user:"Ines B" sh010 meta.sequence=010 wide', NOW)).toEqual({
      status: "failed,paused",
      user: "Ines B",
      "meta.sequence": "010",
      name: "sh010 wide",
    });
    expect(readWords('"12:30 shot" meta.take:3 tag: "" ', NOW)).toEqual({ name: "12:30 shot", "meta.take": "3" });
  });

  it("send what nobody knows too, so that the Manager can say so", () => {
    // Protects against a misspelt parameter that quietly finds everything.
    expect(readWords("statsu:failed", NOW)).toEqual({ statsu: "failed" });
  });

  it("say times in the form of the API", () => {
    // Protects shared addresses: a time means the same moment for everybody.
    expect(readWords("since:2h", NOW)).toEqual({ since: "2026-05-02T10:00:00Z" });
    expect(instant("2026-05-01T20:00", NOW)).toBe(new Date("2026-05-01T20:00").toISOString().replace(".000", ""));
    expect(instant("2026-05-01T20:00:00+02:00", NOW)).toBe("2026-05-01T20:00:00+02:00");
    expect(instant("yesterday", NOW)).toBe("yesterday");
  });

  it("come back from the parameters as they were", () => {
    // Protects an address that somebody was sent: the field shows what the list shows.
    const queries: Record<string, string>[] = [
      { name: "sh010 wide", status: "failed", "meta.sequence": "010" },
      { name: "12:30 a:b", user: "Ines B" },
      { since: "2026-05-02T10:00:00Z", worker: "birch" },
      {},
    ];
    for (const query of queries) {
      expect(readWords(wordsOf(query), NOW)).toEqual(query);
    }
  });
});

describe("an address", () => {
  it("keeps the queries of several lists apart", () => {
    // Protects a shared link to a job from narrowing the wrong list.
    let search = withQuery("", "", { status: "failed", "meta.a b": "1&2" });
    search = withQuery(search, "tasks", { status: "active" });
    search = withQuery(search, "frames", { flag: "black" });
    expect(queryOf(search, "")).toEqual({ status: "failed", "meta.a b": "1&2" });
    expect(queryOf(search, "tasks")).toEqual({ status: "active" });
    expect(queryOf(search, "frames")).toEqual({ flag: "black" });
    expect(queryOf(outerOnly(search), "tasks")).toEqual({});
    expect(withQuery(outerOnly(search), "", {})).toBe("");
  });

  it("takes along what is asked of lists that stay in view", () => {
    // Protects a narrowed list from springing open at a click on one of its jobs.
    const search = "?status=failed&tasks.status=active";
    const at = { page: "jobs", job: "a" } as const;
    expect(keptSearch(at, search, { page: "jobs", job: "a", task: "t" })).toBe(search);
    expect(keptSearch(at, search, { page: "jobs", job: "b" })).toBe("?status=failed");
    expect(keptSearch(at, search, { page: "workers" })).toBe("");
  });

  it("leads to every page and back", () => {
    // Protects links that people keep.
    for (const path of ["/app/jobs", "/app/jobs/a/b", "/app/frames", "/app/submit", "/app/submit/a%20b", "/app/workers/w", "/app/setup"]) {
      expect(formatRoute(parseRoute(path))).toBe(path);
    }
  });
});

describe("answers", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("of a list that is asked for something else do not come up any more", async () => {
    // Protects the list from showing what an earlier query found.
    const answers = new Map<string, (rows: string[]) => void>();
    const found = new Found<string>("x", new Refetcher(() => true), async function* (query) {
      yield await new Promise<string[]>((done) => answers.set(query["name"] ?? "", done));
    });
    found.ask({ name: "one" });
    await vi.advanceTimersByTimeAsync(10);
    found.ask({ name: "two" });
    answers.get("one")?.(["1"]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(found.rows).toBeUndefined();
    answers.get("two")?.(["2"]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(found.rows).toEqual(["2"]);
    found.ask({});
    expect(found.rows).toBeUndefined();
  });

  it("that refuse a query are shown, and other failures are tried again", async () => {
    // Protects people from an empty list that says nothing of a mistyped status.
    let status = 400;
    const retried: unknown[] = [];
    const refetcher = new Refetcher((_, cause) => retried.push(cause) < 3);
    const found = new Found<string>("x", refetcher, async function* () {
      if (status > 0) throw new Refusal(status, "status: unknown status \"odd\"");
      yield ["there"];
    });
    found.ask({ status: "odd" });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(found.problem).toContain("odd");
    expect(found.rows).toEqual([]);
    status = 503;
    found.stale();
    await vi.advanceTimersByTimeAsync(1_500);
    expect(retried.length).toBeGreaterThan(0);
    status = 0;
    await vi.advanceTimersByTimeAsync(3_000);
    expect(found.rows).toEqual(["there"]);
    expect(found.problem).toBe("");
  });

  it("to a preview that was overtaken are not what is confirmed", async () => {
    // Protects against confirming what an earlier choice would have done.
    const preview = new Previewed<string>();
    let first: (text: string) => void = () => undefined;
    preview.ask(() => new Promise((done) => (first = done)));
    await vi.advanceTimersByTimeAsync(500);
    preview.ask(async () => "second");
    first("first");
    await vi.advanceTimersByTimeAsync(50);
    expect(preview.told).toBeUndefined();
    await vi.advanceTimersByTimeAsync(500);
    expect(preview.told).toBe("second");
    preview.ask(() => Promise.reject(new Refusal(409, "not now")));
    await vi.advanceTimersByTimeAsync(500);
    expect([preview.told, preview.problem, preview.busy]).toEqual([undefined, "not now", false]);
  });
});
