// SPDX-License-Identifier: GPL-3.0-or-later
// What the Manager finds for a query of a list, read again whenever an event may have changed it.
// It narrows nothing itself; a query that the Manager refuses leaves its words to be shown.
import { Refusal } from "./api";
import { isEmpty, sameQuery, type Query } from "./query";
import type { Refetcher } from "./refetch";

/** How soon after an event a list is asked for again: finding costs the Manager more than reading. */
const AFTER_EVENT_MS = 1_000;

export class Found<T> {
  /** In the Manager's order; undefined while nothing is asked for. */
  rows = $state.raw<readonly T[] | undefined>(undefined);
  /** Why the Manager does not take the query. */
  problem = $state("");

  #query: Query = {};
  #soon: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly name: string,
    private readonly refetcher: Refetcher,
    private readonly read: (query: Query) => AsyncGenerator<T[]>,
  ) {}

  ask(query: Query): void {
    if (sameQuery(query, this.#query)) return;
    this.#query = query;
    if (isEmpty(query)) {
      this.rows = undefined;
      this.problem = "";
    } else this.#mark();
  }

  /** Something happened that may have changed the answer. */
  stale(): void {
    if (isEmpty(this.#query)) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      if (!isEmpty(this.#query)) this.#mark();
    }, AFTER_EVENT_MS);
  }

  #mark(): void {
    this.refetcher.mark(this.name, async () => {
      const query = this.#query;
      if (isEmpty(query)) return;
      const all: T[] = [];
      let problem = "";
      try {
        for await (const page of this.read(query)) {
          if (query !== this.#query) return;
          all.push(...page);
        }
      } catch (cause) {
        problem = refusedQuery(cause);
      }
      if (query !== this.#query) return;
      this.rows = all;
      this.problem = problem;
    });
  }
}

/** What the Manager says against a query; anything else that went wrong is thrown on. */
export function refusedQuery(cause: unknown): string {
  if (cause instanceof Refusal && cause.status === 400) return cause.message;
  throw cause;
}
