// SPDX-License-Identifier: GPL-3.0-or-later
// Keeps a burst of events from becoming a burst of requests: each key is read at most once per
// interval, never twice at the same time, and always once more when it went stale during a read.
// A read that failed is tried again until it succeeds, because its event will not come twice.

/** How often the same thing is read again, at most. */
export const REFETCH_INTERVAL_MS = 250;

/**
 * A browser opens six connections to one host, and the event stream holds one of them. Four leave
 * one free for the person's own clicks.
 */
export const READS_IN_FLIGHT_MAX = 4;

const RETRY_MS = 1_000;

/** Told of each failed read; says whether it is worth another try. */
export type OnFailure = (key: string, cause: unknown) => boolean;

interface Entry {
  key: string;
  read: () => Promise<void>;
  state: "waiting" | "queued" | "reading" | "resting";
  stale: boolean;
}

export class Refetcher {
  readonly #entries = new Map<string, Entry>();
  readonly #queue: Entry[] = [];
  #inFlight = 0;

  constructor(
    private readonly onFailure: OnFailure,
    private readonly intervalMs: number = REFETCH_INTERVAL_MS,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Says that what `key` names is stale. `read` is run soon, once however often this is called. */
  mark(key: string, read: () => Promise<void>): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) {
      const fresh: Entry = { key, read, state: "queued", stale: false };
      this.#entries.set(key, fresh);
      this.#queue.push(fresh);
      this.#start();
      return;
    }
    entry.read = read;
    if (entry.state === "reading" || entry.state === "resting") entry.stale = true;
  }

  #start(): void {
    while (this.#inFlight < READS_IN_FLIGHT_MAX) {
      const entry = this.#queue.shift();
      if (entry === undefined) return;
      this.#inFlight += 1;
      entry.state = "reading";
      entry.stale = false;
      const begun = this.now();
      void entry
        .read()
        .then(() => 0)
        .catch((cause: unknown) => {
          if (!this.onFailure(entry.key, cause)) return 0;
          entry.stale = true;
          return RETRY_MS;
        })
        .then((restMs) => {
          this.#inFlight -= 1;
          this.#rest(entry, this.now() - begun, restMs);
          this.#start();
        });
    }
  }

  /** A read that took long is given a longer rest, so that a large job cannot keep the page busy. */
  #rest(entry: Entry, tookMs: number, atLeastMs: number): void {
    entry.state = "resting";
    const restMs = Math.max(this.intervalMs - tookMs, tookMs, atLeastMs);
    setTimeout(() => {
      if (entry.stale) {
        entry.state = "queued";
        this.#queue.push(entry);
        this.#start();
        return;
      }
      this.#entries.delete(entry.key);
    }, restMs);
  }
}
