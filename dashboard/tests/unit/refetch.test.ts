// SPDX-License-Identifier: GPL-3.0-or-later
// The refetcher: few reads, never none. Time is the test runner's own, so nothing here waits.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { READS_IN_FLIGHT_MAX, REFETCH_INTERVAL_MS, Refetcher } from "../../src/lib/refetch";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const quiet = () => new Refetcher(() => true, REFETCH_INTERVAL_MS, () => Date.now());

describe("the refetcher", () => {
  it("reads at once, and then at most once per interval however many events come", async () => {
    // Protects the Manager from a burst of events becoming a burst of requests.
    const read = vi.fn(async () => undefined);
    const refetcher = quiet();
    for (let n = 0; n < 100; n += 1) refetcher.mark("job", read);
    await vi.advanceTimersByTimeAsync(0);
    expect(read).toHaveBeenCalledTimes(1);
    for (let n = 0; n < 100; n += 1) {
      refetcher.mark("job", read);
      await vi.advanceTimersByTimeAsync(10);
    }
    // One second of steady events: four intervals.
    expect(read.mock.calls.length).toBeLessThanOrEqual(5);
    expect(read.mock.calls.length).toBeGreaterThanOrEqual(4);
  });

  it("reads once more when something changed during a read", async () => {
    // Protects the last event: the answer that was under way may be older than it.
    let answer: () => void = () => undefined;
    const read = vi.fn(() => new Promise<void>((done) => (answer = done)));
    const refetcher = quiet();
    refetcher.mark("job", read);
    refetcher.mark("job", read);
    expect(read).toHaveBeenCalledTimes(1);
    answer();
    await vi.advanceTimersByTimeAsync(REFETCH_INTERVAL_MS);
    expect(read).toHaveBeenCalledTimes(2);
  });

  it("tries a failed read again without a new event, and gives up where that is pointless", async () => {
    // Protects against a Manager's restart swallowing a read whose event will not come twice.
    let up = false;
    const read = vi.fn(async () => {
      if (!up) throw new Error("down");
    });
    const refetcher = quiet();
    refetcher.mark("job", read);
    await vi.advanceTimersByTimeAsync(1_500);
    up = true;
    await vi.advanceTimersByTimeAsync(5_000);
    const after = read.mock.calls.length;
    expect(after).toBeGreaterThanOrEqual(3);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(read).toHaveBeenCalledTimes(after);

    const refused = vi.fn(async () => {
      throw new Error("gone for good");
    });
    new Refetcher(() => false).mark("job", refused);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(refused).toHaveBeenCalledTimes(1);
  });

  it("keeps a connection free for the person", async () => {
    // Protects clicks from waiting behind reads: a browser opens few connections to one host.
    const answers: (() => void)[] = [];
    const refetcher = quiet();
    for (let n = 0; n < 20; n += 1) {
      refetcher.mark(`job ${n}`, () => new Promise<void>((done) => void answers.push(done)));
    }
    expect(answers).toHaveLength(READS_IN_FLIGHT_MAX);
    answers[0]?.();
    await vi.advanceTimersByTimeAsync(0);
    expect(answers).toHaveLength(READS_IN_FLIGHT_MAX + 1);
  });
});
