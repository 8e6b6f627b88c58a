// SPDX-License-Identifier: GPL-3.0-or-later
// The frames of all jobs that a query finds, newest first, some at a time: a farm has millions.
// While nobody looks at them nothing is read.
import { api } from "./api";
import { refusedQuery } from "./found.svelte";
import { sameQuery, type Query } from "./query";
import type { Refetcher } from "./refetch";
import type { Frame } from "./types";

const PAGE = 120;
/** How soon after an event they are asked for again: the Manager may have to look at all it has. */
const AFTER_EVENT_MS = 3_000;

export class FoundFrames {
  frames = $state.raw<readonly Frame[]>([]);
  /** Where older ones go on; undefined when all are here. */
  older = $state.raw<string | undefined>(undefined);
  problem = $state("");
  loaded = $state(false);

  #query: Query | undefined;
  #shown = PAGE;
  #soon: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly refetcher: Refetcher) {}

  /** Undefined: nobody looks any more. */
  ask(query: Query | undefined): void {
    if (query !== undefined && this.#query !== undefined && sameQuery(query, this.#query)) return;
    this.#query = query;
    this.#shown = PAGE;
    if (query !== undefined) this.#mark();
    else {
      this.frames = [];
      this.loaded = false;
    }
  }

  more(): void {
    this.#shown += PAGE;
    this.#mark();
  }

  /** Something happened that may have changed the answer. */
  stale(): void {
    if (this.#query === undefined) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#mark();
    }, AFTER_EVENT_MS);
  }

  #mark(): void {
    if (this.#query === undefined) return;
    this.refetcher.mark("frames that were asked for", async () => {
      const query = this.#query;
      if (query === undefined) return;
      const frames: Frame[] = [];
      let cursor: string | undefined;
      let problem = "";
      try {
        do {
          const page = await api.frames(query, Math.min(1000, this.#shown - frames.length), cursor);
          frames.push(...page.items);
          cursor = page.next;
        } while (cursor !== undefined && frames.length < this.#shown);
      } catch (cause) {
        problem = refusedQuery(cause);
      }
      if (query !== this.#query) return;
      this.frames = frames;
      this.older = cursor;
      this.problem = problem;
      this.loaded = true;
    });
  }
}
