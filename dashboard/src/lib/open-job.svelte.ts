// SPDX-License-Identifier: GPL-3.0-or-later
// The job a person has open: its tasks (page by page, there may be ten thousand), its newest frames,
// either narrowed by a query that the Manager answers, and the attempts of the one task that is open
// in it. The job itself lives in the farm's list.
import { api, Refusal } from "./api";
import { Collection } from "./collection";
import type { Batch } from "./batch";
import { refusedQuery } from "./found.svelte";
import { isEmpty, sameQuery, type Query } from "./query";
import type { Refetcher } from "./refetch";
import type { Attempt, Frame, Task } from "./types";
import { TASKS_READ_SINGLY_MAX } from "./fold";

const FRAMES_PAGE = 60;
/** Bad frames that are counted; of more it is only said that there are more. */
export const FLAWED_COUNTED_MAX = 1000;

const byIndex = (a: Task, b: Task) => a.index - b.index || a.number - b.number;

export class OpenJob {
  tasks = $state.raw(Collection.empty<Task>(byIndex));
  loading = $state(true);
  frames = $state.raw<readonly Frame[]>([]);
  /** Where older frames go on; undefined when all are here. */
  olderFrames = $state.raw<string | undefined>(undefined);
  /** Frames of the whole job that something is wrong with, shown or not. */
  flawed = $state(0);
  attempts = $state.raw<readonly Attempt[]>([]);
  /** The open task as `GET tasks/{id}` gives it, which holds its commands too. */
  task = $state.raw<Task | undefined>(undefined);
  /** Why the Manager does not take what its tasks, or frames, are asked for. */
  taskProblem = $state("");
  frameProblem = $state("");

  #taskQuery: Query = {};
  #frameQuery: Query = {};
  #openTask: string | undefined;
  #framesShown = FRAMES_PAGE;
  #staleTasks = new Set<string>();
  #readingAll = false;
  readonly #cancel = new AbortController();

  constructor(
    readonly id: string,
    private readonly refetcher: Refetcher,
    /** What its lists are asked for from the beginning, so that they never show more. */
    asked: { tasks: Query; frames: Query } = { tasks: {}, frames: {} },
  ) {
    this.#taskQuery = asked.tasks;
    this.#frameQuery = asked.frames;
    this.reload();
  }

  close(): void {
    this.#cancel.abort();
  }

  reload(): void {
    this.#markTasks("all");
    this.#markFrames();
    this.#markFlaws();
    if (this.#openTask !== undefined) this.#markTask(this.#openTask);
  }

  openTask(task: string | undefined): void {
    if (task === this.#openTask) return;
    this.#openTask = task;
    this.attempts = [];
    this.task = undefined;
    if (task !== undefined) this.#markTask(task);
  }

  /** Shows only the tasks that the Manager finds for this. */
  askTasks(query: Query): void {
    if (sameQuery(query, this.#taskQuery)) return;
    this.#taskQuery = query;
    this.#markTasks("all");
  }

  /** Shows only the frames that the Manager finds for this. */
  askFrames(query: Query): void {
    if (sameQuery(query, this.#frameQuery)) return;
    this.#frameQuery = query;
    this.#framesShown = FRAMES_PAGE;
    this.#markFrames();
  }

  moreFrames(): void {
    this.#framesShown += FRAMES_PAGE;
    this.#markFrames();
  }

  /** Takes in what a batch of events said about this job. */
  take(batch: Batch): void {
    this.tasks = this.tasks.patch(batch.tasks);
    // The list being read may be older than these patches, so what they touched is read once more.
    if (this.#readingAll) for (const task of batch.tasks.keys()) this.#staleTasks.add(task);
    this.#markTasks(batch.staleTasks);
    if (batch.staleFrames) this.#markFrames();
    // A frame that was published may have been a bad one; where there was none, none has gone.
    if (batch.staleFlaws || (batch.staleFrames && this.flawed > 0)) this.#markFlaws();
    const open = this.#openTask;
    if (open === undefined) return;
    const touched = batch.staleTasks === "all" || batch.staleTasks.has(open);
    if (touched || batch.staleAttempts.has(open)) this.#markTask(open);
  }

  #markTasks(stale: ReadonlySet<string> | "all"): void {
    if (stale !== "all") {
      if (stale.size === 0) return;
      for (const task of stale) this.#staleTasks.add(task);
      if (this.#readingAll) return;
      // A task that changed may come into a narrowed list, or leave it.
      if (isEmpty(this.#taskQuery) && this.#staleTasks.size <= TASKS_READ_SINGLY_MAX) {
        this.refetcher.mark(`tasks of ${this.id}`, () => this.#readTasks());
        return;
      }
    }
    if (!this.#readingAll) this.#staleTasks.clear();
    this.refetcher.mark(`all tasks of ${this.id}`, () => this.#readAllTasks());
  }

  async #readTasks(): Promise<void> {
    const stale = [...this.#staleTasks];
    this.#staleTasks.clear();
    let rows: (Task | undefined)[];
    try {
      rows = await Promise.all(stale.map((task) => api.task(task).catch(gone)));
    } catch (cause) {
      for (const task of stale) this.#staleTasks.add(task);
      throw cause;
    }
    this.tasks = this.tasks.put(rows.filter((row): row is Task => row !== undefined));
  }

  async #readAllTasks(): Promise<void> {
    const first = this.tasks.items.length === 0;
    const query = this.#taskQuery;
    const all: Task[] = [];
    let problem = "";
    this.#readingAll = true;
    try {
      for await (const page of api.tasks(this.id, query, this.#cancel.signal)) {
        all.push(...page);
        if (query !== this.#taskQuery) return;
        // The first time, show what is there already; later, a half-read list would flicker.
        if (first) this.tasks = Collection.of(all, byIndex);
      }
    } catch (cause) {
      problem = refusedQuery(cause);
    } finally {
      this.#readingAll = false;
      const stale = new Set(this.#staleTasks);
      this.#markTasks(stale);
    }
    if (query !== this.#taskQuery) return;
    this.tasks = Collection.of(all, byIndex);
    this.taskProblem = problem;
    this.loading = false;
  }

  #markFrames(): void {
    this.refetcher.mark(`frames of ${this.id}`, async () => {
      const query = this.#frameQuery;
      const frames: Frame[] = [];
      let cursor: string | undefined;
      let problem = "";
      try {
        do {
          const left = Math.min(1000, this.#framesShown - frames.length);
          const page = await api.frames({ ...query, job: this.id }, left, cursor);
          frames.push(...page.items);
          cursor = page.next;
        } while (cursor !== undefined && frames.length < this.#framesShown);
      } catch (cause) {
        problem = refusedQuery(cause);
      }
      if (query !== this.#frameQuery) return;
      this.frames = frames;
      this.olderFrames = cursor;
      this.frameProblem = problem;
    });
  }

  #markFlaws(): void {
    this.refetcher.mark(`bad frames of ${this.id}`, async () => {
      this.flawed = (await api.frames({ job: this.id, flag: "any" }, FLAWED_COUNTED_MAX)).items.length;
    });
  }

  #markTask(task: string): void {
    this.refetcher.mark(`task ${task}`, async () => {
      const [row, attempts] = await Promise.all([api.task(task), api.attempts(task)]);
      if (task !== this.#openTask) return;
      this.task = row;
      this.attempts = attempts;
    });
  }
}

/** A task that is no longer there is no fault: its job may be going away. Other refusals are. */
function gone(cause: unknown): undefined {
  if (cause instanceof Refusal && cause.status === 404) return undefined;
  throw cause;
}
