// SPDX-License-Identifier: GPL-3.0-or-later
// What a status means to a person: its words, and which actions make sense in it.
// The Manager has the last word on every action; this only decides which buttons can be pressed.
import type { JobStatus, TaskStatus, Worker, WorkerStatus } from "./types";

/** In the order in which a summary names them: what is going on first, what is settled last. */
export const TASK_STATUSES: readonly TaskStatus[] = [
  "active",
  "queued",
  "soft-failed",
  "failed",
  "paused",
  "canceled",
  "completed",
];

export const JOB_STATUSES: readonly string[] = [
  "active",
  "canceled",
  "completed",
  "failed",
  "paused",
  "pause-requested",
  "queued",
  "cancel-requested",
  "requeueing",
  "under-construction",
];

const WORKER_STATUSES: readonly string[] = ["starting", "awake", "asleep", "error", "testing", "offline", "restart"];

export function isJobStatus(value: unknown): value is JobStatus {
  return typeof value === "string" && JOB_STATUSES.includes(value);
}

export function isTaskStatus(value: unknown): value is TaskStatus {
  return typeof value === "string" && (TASK_STATUSES as readonly string[]).includes(value);
}

export function isWorkerStatus(value: unknown): value is WorkerStatus {
  return typeof value === "string" && WORKER_STATUSES.includes(value);
}

const PAUSABLE: readonly JobStatus[] = ["active", "queued", "canceled"];
const CANCELABLE: readonly JobStatus[] = ["active", "queued", "failed", "paused", "pause-requested"];
const REQUEUEABLE: readonly JobStatus[] = ["canceled", "completed", "failed", "paused"];

export interface JobAction {
  label: string;
  /** The status to ask for. */
  status: JobStatus;
  allowed: (status: JobStatus) => boolean;
}

export const JOB_ACTIONS: readonly JobAction[] = [
  { label: "Pause", status: "pause-requested", allowed: (status) => PAUSABLE.includes(status) },
  { label: "Cancel", status: "cancel-requested", allowed: (status) => CANCELABLE.includes(status) },
  { label: "Requeue", status: "requeueing", allowed: (status) => REQUEUEABLE.includes(status) },
];

export function canRequeueTask(status: TaskStatus): boolean {
  return status === "canceled" || status === "completed" || status === "failed";
}

export function canCancelTask(status: TaskStatus, job: JobStatus | undefined): boolean {
  return job !== "pause-requested" && (status === "active" || status === "queued" || status === "soft-failed");
}

export interface WorkerAction {
  label: string;
  hint: string;
  status: WorkerStatus;
  is_lazy: boolean;
  allowed: (worker: Worker) => boolean;
}

export const WORKER_ACTIONS: readonly WorkerAction[] = [
  {
    label: "Wake up",
    hint: "Take work again",
    status: "awake",
    is_lazy: false,
    allowed: (worker) => worker.status !== "awake" || worker.status_change !== undefined,
  },
  {
    label: "Sleep",
    hint: "Finish the current task, then take no more work",
    status: "asleep",
    is_lazy: true,
    allowed: (worker) => worker.status !== "asleep" && worker.status_change?.status !== "asleep",
  },
  {
    label: "Shut down",
    hint: "Finish the current task, then end the worker's process",
    status: "offline",
    is_lazy: true,
    allowed: (worker) => worker.status !== "offline" && worker.status_change?.status !== "offline",
  },
];

/** What each farm state says to somebody who does not know the word. */
export const FARM_STATUS_HINTS: Readonly<Record<string, string>> = {
  active: "Workers are rendering",
  idle: "Nothing to do, workers are ready",
  waiting: "There is work, but no worker takes it yet",
  asleep: "All workers are asleep",
  inoperative: "No worker is connected",
  starting: "The Manager has just started",
  unknown: "The Manager has not said",
};
