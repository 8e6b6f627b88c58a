// SPDX-License-Identifier: GPL-3.0-or-later
// Running something again: regeneration of a job, and its tasks requeued by some sign. Each can be
// asked with `preview`, which changes nothing. What runs is the Manager's to say.
import { ask, call, json, pages, query } from "./api";
import type { Frame, Job } from "./types";

const FARM = "/api/farm/v1";
const REASON = "asked for in the dashboard";
const id = encodeURIComponent;

export interface SomeTasks {
  count: number;
  /** The first hundred. */
  names: string[];
}

export interface Regenerated {
  preview: boolean;
  generation: number;
  kept: number;
  again: number;
  changed: SomeTasks;
  added: SomeTasks;
  vanished: SomeTasks;
  stopped: number;
  inputs: string[];
}

/** How a job is compiled anew. */
export interface Anew {
  /** Settings that change. */
  settings: Record<string, unknown>;
  submitter_platform: string;
  everything: boolean;
}

/** What regeneration would do, and the name of just that. */
export interface RegenerationPreview {
  told: Regenerated;
  etag: string;
}

export interface Requeued {
  preview: boolean;
  count: number;
  /** The first hundred. */
  tasks: { id: string; name: string; status: string }[];
}

/** Which tasks of a job. */
export type Which =
  | { which: "failed" | "missing"; dependants: boolean }
  | { which: "rendered-by"; worker: string; since?: string; dependants: boolean };

async function regenerate(job: string, anew: Anew, preview: boolean, etag?: string): Promise<RegenerationPreview> {
  const response = await call(`${FARM}/jobs/${id(job)}/regenerate`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(etag === undefined ? {} : { "If-Match": etag }) },
    body: JSON.stringify({ ...anew, preview, reason: REASON }),
  });
  return { told: await json<Regenerated>(response), etag: response.headers.get("ETag") ?? "" };
}

export const again = {
  previewRegeneration: (job: string, anew: Anew) => regenerate(job, anew, true),
  /** Does what the preview said; refused with 412 if something else would happen by now. */
  regenerate: (job: string, anew: Anew, etag: string) => regenerate(job, anew, false, etag),

  tasksOfJob: (job: string, which: Which, preview: boolean) =>
    ask<Requeued>(`${FARM}/jobs/${id(job)}/requeue`, { ...which, preview, reason: REASON }),
  task: (task: string, how: { dependants: boolean; overwrite: boolean }, preview: boolean) =>
    ask<Requeued>(`${FARM}/tasks/${id(task)}/requeue`, { ...how, preview, reason: REASON }),

  /** Jobs that a worker may have rendered something of since a time. */
  jobsOf: async (worker: string, since: string): Promise<Map<string, string>> => {
    const found = new Map<string, string>();
    for await (const page of pages<Job>(`${FARM}/jobs${query({ worker })}`)) {
      for (const job of page) if (job.updated >= since) found.set(job.id, job.name);
    }
    // Another worker may have run the task last, and yet left the frame.
    for await (const page of pages<Frame>(`${FARM}/frames${query({ worker, since })}`)) {
      for (const frame of page) if (!found.has(frame.job)) found.set(frame.job, "");
    }
    return found;
  },
};
