// SPDX-License-Identifier: GPL-3.0-or-later
// What the page knows about the farm: jobs, workers, the Manager, and how the connection is.
// It reads lists once, then keeps up through events: a small patch at once, and a coalesced read of
// what an event named. The Manager's answers always win over the patches.
import { api, Refusal } from "./api";
import { foldBatch } from "./batch";
import { Collection } from "./collection";
import { Found } from "./found.svelte";
import { FoundFrames } from "./found-frames.svelte";
import { LiveConnection, watchTheBrowser, type ConnectionState } from "./live";
import { OpenJob } from "./open-job.svelte";
import type { Query } from "./query";
import { Refetcher } from "./refetch";
import { tell } from "./notices.svelte";
import type { FarmEvent, Job, Worker } from "./types";

/** Events that arrive within this time are folded together, and the page is redrawn once. */
const BATCH_MS = 40;
/** Above this many stale jobs, the list is read instead of each of them. */
const READ_SINGLY_MAX = 8;
/** The farm's state changes with time alone too (workers fall silent), which no event tells. */
const FARM_STATUS_EVERY_MS = 30_000;

/** A read that keeps failing while the connection stands is told about, but not at every try. */
const TROUBLE_EVERY_MS = 10_000;

const newestFirst = (a: Job, b: Job) => b.created.localeCompare(a.created) || b.id.localeCompare(a.id);
const byName = (a: Worker, b: Worker) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id);

class Farm {
  jobs = $state.raw(Collection.empty<Job>(newestFirst));
  workers = $state.raw(Collection.empty<Worker>(byName));
  open = $state.raw<OpenJob | undefined>(undefined);
  connection = $state<ConnectionState>("connecting");
  status = $state("unknown");
  manager = $state.raw<{ name: string; version: string } | undefined>(undefined);
  /** Whether the first lists have arrived. Until then, an empty list means nothing. */
  loaded = $state(false);
  /** The Manager came back as another version: this page is of the old one. */
  outdated = $state(false);

  readonly #refetcher = new Refetcher((key, cause) => this.#readFailed(key, cause));
  /** The jobs that the list is asked for. */
  readonly found = new Found<Job>("jobs that were asked for", this.#refetcher, api.findJobs);
  /** The frames that the page of frames is asked for. */
  readonly frames = new FoundFrames(this.#refetcher);
  readonly #live = new LiveConnection({
    onFresh: () => this.#readEverything(),
    onEvent: (event) => this.#receive(event),
    onState: (state) => (this.connection = state),
    onResumed: () => this.#readManager(),
  });
  #inbox: FarmEvent[] = [];
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #snapshots = 0;
  #staleJobs = new Set<string>();
  #troubleToldAt = 0;

  start(): void {
    this.#live.start();
    watchTheBrowser(this.#live);
    setInterval(() => this.#markStatus(), FARM_STATUS_EVERY_MS);
  }

  /** `asked`: what its tasks and frames are asked for. */
  openJob(job: string | undefined, asked?: { tasks: Query; frames: Query }): void {
    if (this.open?.id === job) return;
    this.open?.close();
    this.open = job === undefined ? undefined : new OpenJob(job, this.#refetcher, asked);
  }

  /** Reads a job that was just made, rather than wait for the event that tells of it. */
  learn(job: string): Promise<void> {
    return this.#readJob(job);
  }

  #receive(event: FarmEvent): void {
    this.#inbox.push(event);
    this.#flushTimer ??= setTimeout(() => this.#flush(), BATCH_MS);
  }

  #flush(): void {
    this.#flushTimer = undefined;
    // A list that is being read may be older than these events: it must not overwrite them.
    if (this.#snapshots > 0 || this.#inbox.length === 0) return;
    const batch = foldBatch(this.#inbox, this.open?.id);
    this.#inbox = [];
    this.jobs = this.jobs.patch(batch.jobs);
    this.workers = this.workers.patch(batch.workers);
    this.open?.take(batch);
    if (batch.staleJobs.size > 0) this.#markJobs(batch.staleJobs);
    if (batch.staleWorkers.size > 0) this.#markWorkers();
    if (batch.staleLists) this.found.stale();
    if (batch.staleFrameLists) this.frames.stale();
    if (batch.jobs.size > 0 || batch.staleWorkers.size > 0) this.#markStatus();
  }

  #readEverything(): void {
    this.#readManager();
    this.open?.reload();
    this.found.stale();
    this.frames.stale();
    this.#refetcher.mark("the farm", () =>
      this.#snapshot(async () => {
        await Promise.all([this.#readJobs(), this.#readWorkers()]);
        this.loaded = true;
      }),
    );
  }

  /** Holds events back while lists are read, then folds them over what was read. */
  async #snapshot(read: () => Promise<void>): Promise<void> {
    this.#snapshots += 1;
    try {
      await read();
    } finally {
      this.#snapshots -= 1;
      this.#flush();
    }
  }

  /** A refusal stands; a Manager that cannot be reached or is in trouble is asked again. */
  #readFailed(key: string, cause: unknown): boolean {
    if (cause instanceof DOMException && cause.name === "AbortError") return false;
    if (this.connection === "live" && Date.now() - this.#troubleToldAt > TROUBLE_EVERY_MS) {
      this.#troubleToldAt = Date.now();
      tell(`Could not read ${key}: ${cause instanceof Error ? cause.message : String(cause)}`, true);
    }
    return !(cause instanceof Refusal && cause.status >= 400 && cause.status < 500);
  }

  async #readJobs(): Promise<void> {
    const all: Job[] = [];
    for await (const page of api.jobs()) {
      all.push(...page);
      if (!this.loaded) this.jobs = Collection.of(all, newestFirst);
    }
    this.jobs = Collection.of(all, newestFirst);
  }

  async #readWorkers(): Promise<void> {
    const all: Worker[] = [];
    for await (const page of api.workers()) all.push(...page);
    this.workers = Collection.of(all, byName);
  }

  #readManager(): void {
    this.#markStatus();
    this.#refetcher.mark("manager", async () => {
      const manager = await api.version();
      this.outdated ||= this.manager !== undefined && this.manager.version !== manager.version;
      this.manager = manager;
    });
  }

  #markStatus(): void {
    this.#refetcher.mark("farm status", async () => {
      this.status = await api.farmStatus();
    });
  }

  #markJobs(stale: ReadonlySet<string>): void {
    for (const job of stale) this.#staleJobs.add(job);
    this.#refetcher.mark("jobs", async () => {
      const ids = [...this.#staleJobs];
      this.#staleJobs.clear();
      try {
        if (ids.length > READ_SINGLY_MAX) await this.#snapshot(() => this.#readJobs());
        else await Promise.all(ids.map((id) => this.#readJob(id)));
      } catch (cause) {
        for (const id of ids) this.#staleJobs.add(id);
        throw cause;
      }
    });
  }

  async #readJob(id: string): Promise<void> {
    const row = await readOrGone(() => api.job(id));
    this.jobs = row === undefined ? this.jobs.without(id) : this.jobs.put([row]);
  }

  /** Workers are few enough that the list is always read whole. */
  #markWorkers(): void {
    this.#refetcher.mark("workers", () => this.#snapshot(() => this.#readWorkers()));
  }
}

/** The row, or undefined when the Manager says that there is none (any more). */
async function readOrGone<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof Refusal && cause.status === 404) return undefined;
    throw cause;
  }
}

export const farm = new Farm();
