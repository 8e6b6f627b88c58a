// SPDX-License-Identifier: GPL-3.0-or-later
// The connection: it comes back after its last position, and starts afresh when that is refused.
// A scripted source stands for the browser's EventSource, and the test runner's time for the clock.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Refusal } from "../../src/lib/api";
import { LiveConnection, type Source } from "../../src/lib/live";
import type { FarmEvent } from "../../src/lib/types";

class ScriptedSource implements Source {
  onopen: ((event: Event) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  closed = false;
  readonly #listeners = new Map<string, (event: MessageEvent<string>) => void>();

  constructor(readonly url: string) {}

  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void {
    this.#listeners.set(type, listener);
  }
  close(): void {
    this.closed = true;
  }
  open(): void {
    this.onopen?.({} as Event);
  }
  fail(): void {
    this.onerror?.({} as Event);
  }
  say(type: string, data: unknown, lastEventId = ""): void {
    this.#listeners.get(type)?.({ data: JSON.stringify(data), lastEventId } as MessageEvent<string>);
  }
}

function setUp(probe: (position: string) => Promise<unknown> = async () => ({})) {
  const sources: ScriptedSource[] = [];
  const events: FarmEvent[] = [];
  const states: string[] = [];
  const fresh = vi.fn();
  const connection = new LiveConnection(
    { onFresh: fresh, onEvent: (event) => events.push(event), onState: (state) => states.push(state), onResumed: () => undefined },
    {
      open: (url) => {
        const source = new ScriptedSource(url);
        sources.push(source);
        return source;
      },
      probe,
    },
  );
  connection.start();
  const newest = () => sources[sources.length - 1] as ScriptedSource;
  return { connection, sources, events, states, fresh, newest };
}

function changed(position: string): FarmEvent {
  return { position, time: "2026-01-01T00:00:00Z", kind: "JobStatusChanged", job: "j", data: { to: "active" } };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the live connection", () => {
  it("reads everything once the stream has told where it starts", () => {
    // Protects the first picture: a list read before the stream stood could miss a change between.
    const farm = setUp();
    farm.newest().open();
    expect(farm.fresh).not.toHaveBeenCalled();
    farm.newest().say("hello", { position: "p1" });
    expect(farm.fresh).toHaveBeenCalledTimes(1);
    expect(farm.states).toEqual(["live"]);
  });

  it("comes back after the last event it was told, without reading everything", async () => {
    // Protects the page across a Manager's restart: nothing missed, nothing reloaded.
    const farm = setUp();
    farm.newest().open();
    farm.newest().say("hello", { position: "p1" });
    farm.newest().say("JobStatusChanged", changed("p2"), "p2");
    farm.newest().fail();
    expect(farm.states).toEqual(["live", "reconnecting"]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(farm.newest().url).toContain("?after=p2");
    farm.newest().open();
    farm.newest().say("JobStatusChanged", changed("p3"), "p3");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(farm.states).toEqual(["live", "reconnecting", "replaying", "live"]);
    expect(farm.events.map((event) => event.position)).toEqual(["p2", "p3"]);
    expect(farm.fresh).toHaveBeenCalledTimes(1);
    expect(farm.connection.position).toBe("p3");
  });

  it("keeps trying while the Manager is away, from the same position", async () => {
    // Protects a long outage: a Manager that cannot be reached has refused nothing.
    const farm = setUp(async () => {
      throw new Refusal(0, "the Manager cannot be reached");
    });
    farm.newest().open();
    farm.newest().say("hello", { position: "p1" });
    for (let n = 0; n < 10; n += 1) {
      farm.newest().fail();
      await vi.advanceTimersByTimeAsync(4_000);
    }
    expect(farm.sources).toHaveLength(11);
    expect(farm.newest().url).toContain("?after=p1");
  });

  it.each([400, 410])("starts afresh when the position is refused with %i", async (status) => {
    // Protects against a restored or replaced journal: the page must not ask for the past for ever.
    const farm = setUp(async () => {
      throw new Refusal(status, "position gone");
    });
    farm.newest().open();
    farm.newest().say("hello", { position: "p1" });
    farm.newest().fail();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(farm.newest().url).not.toContain("after");
    farm.newest().open();
    farm.newest().say("hello", { position: "q1" });
    expect(farm.fresh).toHaveBeenCalledTimes(2);
    expect(farm.states.at(-1)).toBe("live");
  });

  it("listens to the newest stream alone", async () => {
    // Protects against folding an event twice when an old stream still talks.
    const farm = setUp();
    farm.newest().open();
    farm.newest().say("hello", { position: "p1" });
    const old = farm.newest();
    farm.connection.reopen();
    old.say("JobStatusChanged", changed("p2"), "p2");
    expect(old.closed).toBe(true);
    expect(farm.events).toHaveLength(0);
  });
});
