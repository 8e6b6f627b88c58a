// SPDX-License-Identifier: GPL-3.0-or-later
// Folds a batch of events into one change per entity: the patches to make, and all that went stale.
// Pure, like the fold of a single event below it; later events of a batch win over earlier ones.
import { fold, TASKS_READ_SINGLY_MAX } from "./fold";
import type { FarmEvent, Job, Task, Worker } from "./types";

const FLAW_KINDS: readonly string[] = ["FrameFlagged", "FramesWanted", "FramesVerified"];

export interface Batch {
  jobs: Map<string, Partial<Job>>;
  tasks: Map<string, Partial<Task>>;
  workers: Map<string, Partial<Worker>>;
  staleJobs: Set<string>;
  staleWorkers: Set<string>;
  /** Of the job that is open: its tasks to read again, or all of them. */
  staleTasks: Set<string> | "all";
  staleFrames: boolean;
  /** What is wrong with frames of the open job may have changed. */
  staleFlaws: boolean;
  staleAttempts: Set<string>;
  /** What lists that the Manager narrows show may have changed. */
  staleLists: boolean;
  /** The same of lists of all frames. */
  staleFrameLists: boolean;
}

function merge<T>(into: Map<string, Partial<T>>, id: string, fields: Partial<T>): void {
  into.set(id, { ...into.get(id), ...fields });
}

/** `openJob` is the job whose tasks and frames the page holds; other jobs' tasks concern nobody. */
export function foldBatch(events: readonly FarmEvent[], openJob: string | undefined): Batch {
  const batch: Batch = {
    jobs: new Map(),
    tasks: new Map(),
    workers: new Map(),
    staleJobs: new Set(),
    staleWorkers: new Set(),
    staleTasks: new Set(),
    staleFrames: false,
    staleFlaws: false,
    staleAttempts: new Set(),
    staleLists: false,
    staleFrameLists: false,
  };
  for (const event of events) {
    const { job, worker, tasks, ...consequence } = fold(event);
    if (job !== undefined) {
      // Steps change no list, and there are many of them.
      batch.staleLists ||= event.kind !== "StepsAdvanced";
      batch.staleFrameLists ||= consequence.staleFrames;
      if (consequence.jobPatch !== undefined) merge(batch.jobs, job, consequence.jobPatch);
      if (consequence.staleJob) batch.staleJobs.add(job);
    }
    if (worker !== undefined) {
      if (consequence.workerPatch !== undefined) merge(batch.workers, worker, consequence.workerPatch);
      if (consequence.staleWorker) batch.staleWorkers.add(worker);
    }
    if (job === undefined || job !== openJob) continue;
    batch.staleFrames ||= consequence.staleFrames;
    batch.staleFlaws ||= FLAW_KINDS.includes(event.kind);
    if (tasks === "all") {
      if (consequence.staleTasks) batch.staleTasks = "all";
      continue;
    }
    for (const task of tasks) {
      if (consequence.taskPatch !== undefined) merge(batch.tasks, task, consequence.taskPatch);
      if (consequence.staleAttempts) batch.staleAttempts.add(task);
      if (consequence.staleTasks && batch.staleTasks !== "all") batch.staleTasks.add(task);
    }
  }
  if (batch.staleTasks !== "all" && batch.staleTasks.size > TASKS_READ_SINGLY_MAX) batch.staleTasks = "all";
  return batch;
}
